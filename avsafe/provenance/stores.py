"""Where the manifest store lies in a file, and how to put one of the same size in its place.

Most containers keep the store in one piece, so its own first box (JUMBF, ISO 19566-5) finds it. A
JPEG cuts it into segments of 64 KB; a PNG chunk has a checksum.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avsafe.errors import UnsupportedMedia

_STORE_TYPE = bytes.fromhex("63327061001100108000")  # the JUMBF type of a manifest store: "c2pa"
_CHUNK = 1 << 20
_MAX_STORE = 1 << 26  # bytes; ours are about 14 KB


@dataclass(frozen=True)
class StoreLocation:
    """The pieces of the file, in order, that make up the store."""

    pieces: tuple[tuple[int, int], ...]  # (offset, length)
    checksum: int | None = None  # offset of the CRC-32 of a PNG chunk

    @property
    def size(self) -> int:
        return sum(length for _, length in self.pieces)


def locate(path: Path) -> StoreLocation:
    """Find the store. Raises UnsupportedMedia when it does not lie in the file as expected."""
    with path.open("rb") as file:
        head = file.read(8)
        if head.startswith(b"\xff\xd8"):
            location = StoreLocation(tuple(_jpeg(file)))
        elif head.startswith(b"GIF8"):  # cut into blocks of 255 bytes
            location = StoreLocation(())
        else:
            start = _search(file)
            length = _length(file, start) if start is not None else 0
            png = head.startswith(b"\x89PNG")
            checksum = start + length if start is not None and png else None
            location = StoreLocation(((start or 0, length),), checksum)
        data = _read(file, location)
    if not 0 < location.size <= _MAX_STORE or data[4:8] != b"jumb" or _STORE_TYPE not in data[:64]:
        raise UnsupportedMedia(
            f"{path.name}: a credential cannot be time-stamped in this container. Use another one "
            "(GIF: make it a WebP or MP4)."
        )
    return location


def read_store(path: Path, location: StoreLocation) -> bytes:
    """The bytes of the store."""
    with path.open("rb") as file:
        return _read(file, location)


def write_store(path: Path, location: StoreLocation, store: bytes) -> None:
    """Put a store of the same size in its place, in the file itself: work on a copy."""
    if len(store) != location.size:
        raise ValueError("a store of another size would move the media")
    with path.open("r+b") as file:
        position = 0
        for offset, length in location.pieces:
            file.seek(offset)
            file.write(store[position : position + length])
            position += length
        if location.checksum is not None:
            file.seek(location.checksum)
            file.write(struct.pack(">I", zlib.crc32(b"caBX" + store)))


def unwrapped(box: bytes) -> bytes:
    """The store inside a uuid box of an ISO base media file."""
    at = box.find(b"jumb") - 4
    if at < 0 or box.find(_STORE_TYPE) != at + 16:
        raise UnsupportedMedia("The box holds no manifest store.")
    return box[at : at + struct.unpack(">I", box[at : at + 4])[0]]


def active_manifest(store: bytes) -> str:
    """The label of the last manifest in a store: the one that counts (C2PA 2.x, "Locating the
    active manifest"). Raises UnsupportedMedia for what is no store."""
    label, position = b"", 8 + _u32(store, 8)  # after the store's own description box
    while position + 8 <= len(store):
        size = _u32(store, position)
        if size < 8:
            break  # padding
        if store[position + 4 : position + 8] == b"jumb":
            name = position + 8 + 8 + 16 + 1  # two box headers, the type, the toggles
            label = store[name : store.find(b"\0", name)]
        position += size
    if not label.startswith((b"urn:c2pa:", b"urn:uuid:")):
        raise UnsupportedMedia("The store names no active manifest.")
    return label.decode("latin-1")


def _u32(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 4], "big")


def _search(file: BinaryIO) -> int | None:
    """The offset of the first manifest store: its type stands 16 bytes into its first box."""
    file.seek(0)
    tail, base = b"", 0
    while chunk := file.read(_CHUNK):
        window = tail + chunk
        found = window.find(_STORE_TYPE)
        while found >= 0:
            if found >= 16 and window[found - 12 : found - 8] == b"jumb":
                return base + found - 16
            found = window.find(_STORE_TYPE, found + 1)
        base += len(window) - min(len(window), 64)
        tail = window[-64:]
    return None


def _length(file: BinaryIO, start: int) -> int:
    file.seek(start)
    return int(struct.unpack(">I", file.read(4))[0])


def _jpeg(file: BinaryIO) -> list[tuple[int, int]]:
    """APP11 segments: marker 2, length 2, "JP" 2, instance 2, number 4, then the box; every segment
    but the first repeats the 8 bytes of the box header."""
    pieces: list[tuple[int, int]] = []
    position = 2
    while True:
        file.seek(position)
        head = file.read(32)
        if len(head) < 12 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            return pieces
        length = struct.unpack(">H", head[2:4])[0]
        if head[1] == 0xEB and head[4:6] == b"JP":
            skip = 12 if struct.unpack(">I", head[8:12])[0] == 1 else 20
            pieces.append((position + skip, length + 2 - skip))
        position += 2 + length


def _read(file: BinaryIO, location: StoreLocation) -> bytes:
    parts = []
    for offset, length in location.pieces:
        if length > _MAX_STORE:
            return b""
        file.seek(offset)
        parts.append(file.read(length))
    return b"".join(parts)
