"""Give an ISO base media file the form that is signed in place, without moving its media data.

    [ftyp][credential][free][moov][mdat]

The index goes to the front (players start at once, and nothing follows the media data), the mdat
header gets its 64-bit form, and chunk offsets follow when the data moved. The 64-bit header is what
makes two verifiers agree: the standard excludes 16 bytes of mdat, and with a header of 8 bytes
c2pa-rs counts the first leaf from byte 16 and encypher-c2pa from byte 8.

Legend: *payload* is the content of mdat, a half-open range of file offsets; *room* is the bytes
between ftyp and moov. Boxes: ISO/IEC 14496-12.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

LARGE_HEADER = 16  # bytes: size 1, type, 64-bit size
FREE_HEADER = 8
_MAX_INDEX = 256 << 20  # bytes of moov: 10 million samples
_MAX_BOXES = 64  # at the top; ours have five
_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl"))
_EMPTY = frozenset((b"free", b"skip", b"wide"))
# Inside moov: offsets that we do not follow, or an index that is only a part of it.
_REFUSED = (b"mvex", b"saio", b"iloc", b"cmov")
CREDENTIAL = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.x, "Embedding in BMFF"
_COPY = 1 << 20


class Unsuited(Exception):
    """The file has another form than this module arranges; the message is a reason to show."""


@dataclass(frozen=True)
class Movie:
    """What is kept of a file: two boxes, and where the media data lie."""

    ftyp: bytes
    moov: bytes
    payload: tuple[int, int]

    def start_with(self, room: int) -> int:
        """Where the payload starts when ``room`` bytes lie between ftyp and moov."""
        return len(self.ftyp) + room + len(self.moov) + LARGE_HEADER

    def front(self, start: int) -> tuple[bytes, bytes, int]:
        """What stands before and after the room of a file whose payload starts at ``start``, and
        the room's size. Raises Unsuited when a chunk offset does not fit any more."""
        moov = _moved(self.moov, self.payload, start - self.payload[0])
        size = LARGE_HEADER + self.payload[1] - self.payload[0]
        after = moov + struct.pack(">I4sQ", 1, b"mdat", size)
        return self.ftyp, after, start - len(self.ftyp) - len(after)


def survey(file: BinaryIO, *, credential: bool = False, base: int = 0) -> Movie:
    """The parts of a file with one index and one piece of media data. Raises Unsuited.

    ``file`` must be unbuffered: ``rearrange`` moves bytes under it. With ``credential``, one is
    counted as empty space; else a file that has one is refused. ``base``: the boxes begin there,
    and chunk offsets count from there (``RoomyFile``).
    """
    end = file.seek(0, os.SEEK_END)
    ftyp = moov = b""
    payload: tuple[int, int] | None = None
    for number, (kind, start, body, stop) in enumerate(_top(file, base, end)):
        if number > _MAX_BOXES:
            raise Unsuited("it has many boxes at the top")
        if kind == b"mdat" and payload is None:
            payload = (body, stop)
        elif kind == b"moov" and not moov:
            if stop - start > _MAX_INDEX:
                raise Unsuited("its index is very large")
            moov = _bytes(file, start, stop)
        elif kind == b"ftyp" and number == 0 and stop - start < 1 << 16:
            ftyp = _bytes(file, start, stop)
        elif credential and kind == b"uuid" and _bytes(file, body, body + 16) == CREDENTIAL:
            pass
        elif kind not in _EMPTY:
            # Several mdat among them: c2pa-rs 0.91 pairs their hashes in a random order, so that
            # one and the same file verifies now and fails then.
            raise Unsuited(f"it has a box {kind.decode('latin-1')!r} of no known use here")
    if not ftyp or not moov or payload is None or payload[0] >= payload[1]:
        raise Unsuited("it is not one index and one piece of media data")
    if moov[:4] == b"\0\0\0\1" or any(name in moov for name in _REFUSED):
        raise Unsuited("its index is of a kind that is not rearranged")
    moov = _moved(moov, (payload[0] - base, payload[1] - base), base)
    return Movie(ftyp, moov, payload)


def rearrange(file: BinaryIO, movie: Movie, room: int) -> tuple[int, int] | None:
    """Bring the file itself into the form; returns (room's start, its real size).

    Nothing is copied. None when there is less than ``room`` in front of the media data: then
    ``copy``. (Inserting blocks with ``fallocate`` was measured on ext4: it cost more CPU
    than the copy, decision 0014.) The file must be nobody
    else's: it is no media file for a moment.
    """
    start = movie.payload[0]
    if movie.start_with(room) > start:
        return None
    os.ftruncate(file.fileno(), movie.payload[1])
    return _write_front(file, movie, start)


def index_last(file: BinaryIO, movie: Movie) -> None:
    """The form for an index that has no room in front: [ftyp][free][mdat][moov]."""
    start, end = movie.payload
    header = struct.pack(">I4sQ", 1, b"mdat", LARGE_HEADER + end - start)
    room = start - len(movie.ftyp) - len(header)
    if room < FREE_HEADER:
        raise Unsuited("there is no room for a free box")
    file.seek(0)
    free = struct.pack(">I4s", room, b"free") + bytes(room - FREE_HEADER)
    _put(file, movie.ftyp + free + header)
    file.seek(end)
    _put(file, movie.moov)
    os.ftruncate(file.fileno(), end + len(movie.moov))


def copy(source: BinaryIO, target: BinaryIO, movie: Movie, room: int) -> tuple[int, int]:
    """The same into another file, empty so far."""
    start = movie.start_with(room)
    placed = _write_front(target, movie, start)
    position, end = movie.payload
    target.seek(start)
    target.flush()
    source.seek(position)
    while position < end:
        count = _copied(source, target, position, start, end - position)
        if count == 0:
            raise Unsuited("it was cut short while it was read")
        position, start = position + count, start + count
    return placed


def fill(file: BinaryIO, start: int, room: int, box: bytes) -> bool:
    """Put the credential's box into the room, and a free box into what is left of it; False when it
    does not fit."""
    left = room - len(box)
    if left != 0 and left < FREE_HEADER:
        return False
    free = struct.pack(">I4s", left, b"free") if left else b""
    file.seek(start)
    _put(file, box + free)
    return True


def _write_front(file: BinaryIO, movie: Movie, start: int) -> tuple[int, int]:
    before, after, room = movie.front(start)
    file.seek(0)
    _put(file, before + struct.pack(">I4s", room, b"free"))
    # Old boxes may lie there: what is hidden in a free box is no longer free of content.
    left = room - FREE_HEADER
    while left > 0:
        _put(file, bytes(min(left, _COPY)))
        left -= _COPY
    _put(file, after)
    return len(before), room


def _top(file: BinaryIO, position: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """(type, start, start of the content, end) of each box at the top."""
    while position < end:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            raise Unsuited("bytes follow its last box")
        size, kind = struct.unpack(">I4s", head[:8])
        header = 8
        if size == 1 and len(head) == 16:
            size, header = struct.unpack(">Q", head[8:])[0], 16
        if size < header or position + size > end:
            raise Unsuited("a box has no plain size")
        yield kind, position, position + header, position + size
        position += size


def _moved(moov: bytes, payload: tuple[int, int], shift: int) -> bytes:
    """The index with its chunk offsets shifted; they must lie in the payload."""
    moved = bytearray(moov)
    for kind, start, end in _inside(moov):
        if kind not in (b"stco", b"co64"):
            continue
        code, width = ("I", 4) if kind == b"stco" else ("Q", 8)
        offsets = array(code)
        count = int.from_bytes(moov[start + 4 : start + 8], "big")
        if end - start < 8 or start + 8 + count * width > end or offsets.itemsize != width:
            raise Unsuited("a table of chunk offsets is cut short")
        offsets.frombytes(moov[start + 8 : start + 8 + count * width])
        if sys.byteorder == "little":
            offsets.byteswap()
        if not offsets:
            continue
        if min(offsets) < payload[0] or max(offsets) >= payload[1]:
            raise Unsuited("its index points beside the media data")
        if max(offsets) + shift >= 1 << (8 * width):
            raise Unsuited("its 32-bit chunk offsets are too short")
        offsets = array(code, [offset + shift for offset in offsets])
        if sys.byteorder == "little":
            offsets.byteswap()
        moved[start + 8 : start + 8 + count * width] = offsets.tobytes()
    return bytes(moved)


def _inside(moov: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of the content, end) of each box inside moov that may hold an offset."""
    stack = [(8, len(moov))]
    while stack:
        position, end = stack.pop()
        while position + 8 <= end:
            size, kind = struct.unpack_from(">I4s", moov, position)
            if size == 0 and position + 8 >= end - 4:
                break  # the terminator of QuickTime
            if size < 8 or position + size > end:
                raise Unsuited("a box in its index has no plain size")
            if kind in _CONTAINERS:
                stack.append((position + 8, position + size))
            yield kind, position + 8, position + size
            position += size


def _copied(source: BinaryIO, target: BinaryIO, position: int, start: int, left: int) -> int:
    """Bytes copied from one offset to another: by the kernel where it can, else through us."""
    count = min(left, 64 << 20)
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source.fileno(), target.fileno(), count, position, start)
        except OSError:  # another file system, or one that cannot
            pass
    source.seek(position)
    block = source.read(min(count, _COPY))
    target.seek(start)
    _put(target, block)
    return len(block)


def _put(file: BinaryIO, data: bytes) -> None:
    """All of it, or an OSError: one unbuffered write may take less, on a disk that fills."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    file.flush()


def _bytes(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)
