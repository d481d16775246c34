"""A bounded look at a file's structure before any library reads it. Pure Python, no decoding.

What it finds costs nothing to find and much to decode: an empty or cut-off file, 100,000 boxes,
sizes of 2^62, a 1 KB picture of 65,535 x 65,535 pixels, a sample table that asks for gigabytes.
"""

from __future__ import annotations

import logging
import struct
from pathlib import Path

from avsafe.errors import (
    EmptyFile,
    MediaTooLarge,
    TruncatedMedia,
    UnreadableMedia,
    UnsupportedMedia,
)
from avsafe.media import boxes, matroska
from avsafe.media.boxes import too_many_pixels
from avsafe.media.containers import CONTAINERS, head_of, id3_bytes, sniff_bytes
from avsafe.media.limits import Limits
from avsafe.media.window import Window

log = logging.getLogger(__name__)

_TAIL = 1 << 20  # a JPEG may carry a second picture after its end marker; look this far back


def prescan(path: Path | str, limits: Limits | None = None) -> None:
    """Look at a file's structure; returns nothing when a reader may see it.

    Takes under 0.1 s whatever the file holds. A wrong suffix is no error (content decides) but is
    logged as a warning; ``mislabelled`` gives the sentence.

    Raises ``EmptyFile``, ``TruncatedMedia``, ``UnsupportedMedia``, ``MediaTooLarge``,
    ``UnreadableMedia``.

    >>> prescan("clip.mp4")  # doctest: +SKIP
    """
    path = Path(path)
    limits = limits or Limits()
    if not path.is_file():
        raise UnreadableMedia(f"{path} is not a file. Pass the path of a media file.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            _check_size(path.name, size, limits)
            container = sniff_bytes(head_of(file), path.name)
            window = Window(file, size)
            _check(container, window, path.name, limits)
    except OSError as error:
        raise UnreadableMedia(f"{path} cannot be opened: {error.strerror}.") from error
    wrong = _wrong_suffix(path, container)
    if wrong:
        log.warning("%s", wrong)


def mislabelled(path: Path | str) -> str | None:
    """A sentence when a file's suffix promises another container than its content shows."""
    path = Path(path)
    with path.open("rb") as file:
        return _wrong_suffix(path, sniff_bytes(head_of(file), path.name))


def _wrong_suffix(path: Path, container: str) -> str | None:
    suffix = path.suffix.lower()
    known = {end for item in CONTAINERS.values() for end in item.suffixes}
    here = CONTAINERS[container]
    relatives = {  # one structure under several names
        end for item in CONTAINERS.values() if item.demuxer == here.demuxer for end in item.suffixes
    }
    allowed = relatives if here.demuxer else set(here.suffixes)
    if suffix not in known or suffix in allowed:
        return None
    return (
        f"{path.name} is named {suffix} but holds {container} ({here.mime}); it is read by its "
        "content."
    )


def _check_size(name: str, size: int, limits: Limits) -> None:
    if size == 0:
        raise EmptyFile(f"{name} is empty (0 bytes). Pass a media file.")
    if size > limits.max_file_bytes:
        raise MediaTooLarge(
            f"{name} has {size} bytes; the limit is {limits.max_file_bytes} "
            "(Limits.max_file_bytes)."
        )


def _check(container: str, window: Window, name: str, limits: Limits) -> None:
    demuxer = CONTAINERS[container].demuxer
    if demuxer == "mov" or container == "avif":
        boxes.check(window, name, limits)
    elif demuxer == "matroska":
        matroska.check(window, name, limits)
    elif container in ("wav", "avi", "webp"):
        _check_riff(container, window, name, limits)
    elif container in ("png", "apng"):
        _check_png(window, name, limits)
    elif container == "jpeg":
        _check_jpeg(window, name, limits)
    elif container == "gif":
        _check_gif(window, name, limits)
    elif container == "flac":
        _check_flac(window, name, limits)
    elif container == "mp3":
        _check_id3(window, name)


def _cut_off(name: str, what: str) -> TruncatedMedia:
    return TruncatedMedia(f"{name} is cut off: {what}. Pass the whole file.")


def _count(count: int, name: str, limits: Limits, what: str) -> None:
    if count > limits.max_nested_boxes:
        raise MediaTooLarge(
            f"{name} has more than {limits.max_nested_boxes} {what} (Limits.max_nested_boxes)."
        )


def _pixels(name: str, width: int, height: int, limits: Limits) -> None:
    if width == 0 or height == 0:
        raise UnreadableMedia(f"{name} declares a picture of {width} x {height} pixels.")
    if width * height > limits.max_pixels:
        raise MediaTooLarge(too_many_pixels(name, width, height, limits))


# ------------------------------------------------- RIFF: WAV, AVI, WebP (Microsoft, 1991; RFC 9649)

_STREAMED = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # a writer that could not seek back leaves one of these


def _check_riff(container: str, window: Window, name: str, limits: Limits) -> None:
    (declared,) = struct.unpack("<I", window.at(4, 4))
    if container == "webp" and declared + 8 > window.size:
        raise _cut_off(name, f"it declares {declared + 8} bytes and has {window.size}")
    offset, count, kinds = 12, 0, set()
    while offset + 8 <= window.size:
        count += 1
        _count(count, name, limits, "chunks")
        kind, size = struct.unpack("<4sI", window.at(offset, 8))
        kinds.add(kind)
        body = window.at(offset + 8, 48)
        if kind == b"RIFF" or (container == "avi" and kind == b"LIST" and body[:4] == b"hdrl"):
            offset += 12  # a further part of a long AVI, or its header list: look inside
            continue
        _look_riff(kind, body, name, limits)
        if offset + 8 + size > window.size:
            if container == "wav" and kind == b"data" and size in _STREAMED:
                return
            raise _cut_off(name, f"its chunk {kind.decode('latin-1')!r} ends after the file")
        offset += 8 + size + size % 2
    needed = {"wav": b"fmt ", "avi": b"avih"}.get(container)
    if needed and needed not in kinds:
        raise _cut_off(name, f"it has no chunk {needed.decode()!r}")
    if container == "wav" and b"data" not in kinds:
        raise _cut_off(name, "it has no chunk 'data'")


def _look_riff(kind: bytes, body: bytes, name: str, limits: Limits) -> None:
    if kind == b"avih" and len(body) >= 40:
        width, height = struct.unpack("<II", body[32:40])
        _pixels(name, width, height, limits)
    elif kind == b"VP8X" and len(body) >= 10:
        if body[0] & 2:
            raise UnsupportedMedia(f"{name} is an animated WebP. Convert it to GIF or MP4.")
        width = int.from_bytes(body[4:7], "little") + 1
        _pixels(name, width, int.from_bytes(body[7:10], "little") + 1, limits)
    elif kind == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        _pixels(name, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, limits)
    elif kind == b"VP8 " and len(body) >= 10:
        width, height = struct.unpack("<HH", body[6:10])
        _pixels(name, width & 0x3FFF, height & 0x3FFF, limits)


# ------------------------------------------------- pictures: PNG (W3C), JPEG (T.81), GIF89a


def _check_png(window: Window, name: str, limits: Limits) -> None:
    offset, count = 8, 0
    while True:
        head = window.at(offset, 8)
        if len(head) < 8:
            raise _cut_off(name, "it has no end chunk (IEND)")
        size, kind = struct.unpack(">I4s", head)
        count += 1
        _count(count, name, limits, "chunks")
        if offset + 12 + size > window.size:
            raise _cut_off(name, f"its chunk {kind.decode('latin-1')!r} ends after the file")
        if count == 1:
            if kind != b"IHDR" or size != 13:
                raise UnreadableMedia(f"{name} is damaged: a PNG begins with an IHDR chunk.")
            width, height = struct.unpack(">II", window.at(offset + 8, 8))
            _pixels(name, width, height, limits)
        if kind == b"IEND":
            return
        offset += 12 + size


def _check_jpeg(window: Window, name: str, limits: Limits) -> None:
    offset, count = 2, 0
    while True:
        head = window.at(offset, 4)
        if len(head) < 4:
            raise _cut_off(name, "it ends before its picture data")
        if head[0] != 0xFF:
            raise UnreadableMedia(f"{name} is damaged: no JPEG marker at byte {offset}.")
        if head[1] == 0xFF:  # fill byte
            offset += 1
            continue
        count += 1
        _count(count, name, limits, "segments")
        size = int.from_bytes(head[2:4], "big")
        if 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", window.at(offset + 5, 4).ljust(4, b"\0"))
            _pixels(name, width, height, limits)
        if head[1] == 0xDA:
            break
        if size < 2 or offset + 2 + size > window.size:
            raise _cut_off(name, f"its segment {head[1]:02x} ends after the file")
        offset += 2 + size
    start = max(offset, window.size - _TAIL)
    if b"\xff\xd9" not in window.at(start, window.size - start):
        raise _cut_off(name, "it has no end marker")


def _check_gif(window: Window, name: str, limits: Limits) -> None:
    width, height, flags = struct.unpack("<HHB", window.at(6, 5).ljust(5, b"\0"))
    _pixels(name, width, height, limits)
    offset, count = 13 + _table(flags), 0
    while True:
        count += 1
        if count > limits.max_nested_boxes:
            return  # long and regular so far; the decoder has its own limits
        kind = window.at(offset, 1)
        if kind == b"\x3b":
            return
        if kind == b"\x21":
            offset += 2
        elif kind == b"\x2c":
            body = window.at(offset + 1, 9)
            if len(body) < 9:
                raise _cut_off(name, "it ends within a picture")
            width, height = struct.unpack("<HH", body[4:8])
            _pixels(name, width, height, limits)
            offset += 11 + _table(body[8])
        elif kind == b"":
            raise _cut_off(name, "it has no end byte")
        else:
            raise UnreadableMedia(f"{name} is damaged: unknown GIF block at byte {offset}.")
        while size := window.at(offset, 1):
            offset += 1 + size[0]
            count += 1
            if size == b"\0" or count > limits.max_nested_boxes:
                break


def _table(flags: int) -> int:
    """The size in bytes of a GIF colour table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# ------------------------------------------------- sound: FLAC (RFC 9639), ID3v2


def _check_flac(window: Window, name: str, limits: Limits) -> None:
    _check_id3(window, name)
    offset, last, count = id3_bytes(window.at(0, 10)) + 4, False, 0
    while not last:
        head = window.at(offset, 4)
        if len(head) < 4:
            raise _cut_off(name, "it ends within its header")
        count += 1
        _count(count, name, limits, "header blocks")
        last = bool(head[0] & 0x80)
        offset += 4 + int.from_bytes(head[1:4], "big")
    if offset >= window.size:
        raise _cut_off(name, "it has a header and no sound")


def _check_id3(window: Window, name: str) -> None:
    if id3_bytes(window.at(0, 10)) >= window.size:
        raise _cut_off(name, "its ID3 tag is longer than the file")
