"""Walk the boxes of an ISO base media file (ISO/IEC 14496-12), trusting none of their sizes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avsafe.errors import MediaTooLarge, TruncatedMedia, UnreadableMedia

if TYPE_CHECKING:
    from avsafe.media.limits import Limits
    from avsafe.media.window import Window

_HEADER = struct.Struct(">I4s")
_PLAIN = (  # boxes that hold nothing but boxes
    b"moov trak mdia minf stbl dinf edts udta mvex moof traf mfra ilst sinf schi iprp ipco jumb"
)
_INSIDE = {**dict.fromkeys(_PLAIN.split(), 0), b"stsd": 8}  # bytes before the first inner box
_C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.2, A.5.1
_BARE_RUN = 100_000  # samples of a `trun` that spends no byte on any of them


@dataclass
class _Walk:
    window: Window
    name: str
    limits: Limits
    nested: int = 0
    handler: bytes = b""
    seen: set[bytes] = field(default_factory=set)


def check(window: Window, name: str, limits: Limits) -> None:
    """Refuse what would hang, crash or starve a reader; every step is bounded by ``limits``.

    Raises ``MediaTooLarge``, ``TruncatedMedia``, ``UnreadableMedia``.
    """
    walk = _Walk(window, name, limits)
    offset = count = 0
    while offset + 8 <= window.size:
        count += 1
        if count > limits.max_boxes:
            raise MediaTooLarge(
                f"{name} has more than {limits.max_boxes} top-level boxes (Limits.max_boxes). Such "
                "a file makes readers hang; write it again with fewer fragments."
            )
        kind, body, end = _box(walk, offset, window.size)
        if end > window.size:
            raise TruncatedMedia(
                f"{name} is cut off: its box {_printable(kind)} at byte {offset} needs "
                f"{end - window.size} bytes more than the file has. Pass the whole file."
            )
        walk.seen.add(kind)
        _descend(walk, kind, body, end, 1)
        offset = end
    if not walk.seen & {b"moov", b"meta", b"moof"}:
        raise TruncatedMedia(
            f"{name} has no index (no moov box; found: "
            f"{', '.join(sorted(map(_printable, walk.seen))) or 'no box'}). It was cut off, or its "
            "recording was never finished."
        )


def _box(walk: _Walk, offset: int, parent_end: int) -> tuple[bytes, int, int]:
    """A box's type, where its body begins, and where it ends (perhaps past its parent)."""
    size, kind = _HEADER.unpack(walk.window.at(offset, 8))
    if size == 1:
        large = walk.window.at(offset + 8, 8)
        if len(large) < 8:
            return kind, offset + 8, parent_end + 1
        (size,) = struct.unpack(">Q", large)
        if size < 16:
            raise UnreadableMedia(_bad_size(walk.name, kind, offset, size))
        return kind, offset + 16, offset + size
    if size == 0:
        return kind, offset + 8, parent_end
    if size < 8:
        raise UnreadableMedia(_bad_size(walk.name, kind, offset, size))
    return kind, offset + 8, offset + size


def _descend(walk: _Walk, kind: bytes, body: int, end: int, depth: int) -> None:
    """Look into one box that lies within its parent."""
    _look(walk, kind, body, end)
    first = _first_child(walk, kind, body, end)
    if first is None:
        return
    if depth > walk.limits.max_depth:
        raise MediaTooLarge(
            f"{walk.name} nests boxes more than {walk.limits.max_depth} deep (Limits.max_depth)."
        )
    offset = first
    while offset + 8 <= end:
        walk.nested += 1
        if walk.nested > walk.limits.max_nested_boxes:
            raise MediaTooLarge(
                f"{walk.name} has more than {walk.limits.max_nested_boxes} boxes within boxes "
                "(Limits.max_nested_boxes)."
            )
        if walk.window.at(offset, 4) == b"\0\0\0\0":
            return  # the terminator that QuickTime writes at the end of udta
        child, child_body, child_end = _box(walk, offset, end)
        if child_end > end:
            if kind in (b"udta", b"ilst", b"meta", b"stsd"):
                return  # vendors' own data; readers skip it
            raise UnreadableMedia(
                f"{walk.name} is damaged: its box {_printable(child)} at byte {offset} is larger "
                f"than the box {_printable(kind)} around it."
            )
        _descend(walk, child, child_body, child_end, depth + 1)
        offset = child_end


def _first_child(walk: _Walk, kind: bytes, body: int, end: int) -> int | None:
    if kind in _INSIDE:
        return body + _INSIDE[kind]
    if kind == b"meta":  # with version and flags in ISO files, without in QuickTime files
        return body if walk.window.at(body + 4, 4) == b"hdlr" else body + 4
    if kind == b"uuid" and walk.window.at(body, 16) == _C2PA_UUID:
        purpose = walk.window.at(body + 20, min(64, max(0, end - body - 20)))
        return body + 20 + purpose.find(b"\0") + 1 + 8  # after the purpose, an 8-byte offset
    return None


def _look(walk: _Walk, kind: bytes, body: int, end: int) -> None:
    """The few fields by which a small file can ask for much memory."""
    data = walk.window.at(body, min(32, end - body))
    if kind == b"hdlr" and len(data) >= 12:
        if data[8:12] in (b"vide", b"soun", b"pict"):
            walk.handler = data[8:12]
    elif kind == b"stsz" and len(data) >= 12:
        each, count = struct.unpack(">II", data[4:12])
        needed = count * (each or 1)  # a table of sizes spends 4 bytes on each, a sample at least 1
        if needed > walk.window.size:
            raise UnreadableMedia(
                f"{walk.name} declares {count} samples, more than fit into its {walk.window.size} "
                "bytes. It is damaged or forged."
            )
    elif kind == b"trun" and len(data) >= 8:
        flags, count = struct.unpack(">II", data[:8])
        if not flags & 0xF00 and count > _BARE_RUN:
            raise UnreadableMedia(
                f"{walk.name} declares {count} samples in an empty fragment. It is forged."
            )
    elif walk.handler == b"vide" and len(data) >= 28 and _is_visual_entry(kind):
        width, height = struct.unpack(">HH", data[24:28])
        if width * height > walk.limits.max_pixels:
            raise MediaTooLarge(too_many_pixels(walk.name, width, height, walk.limits))
    elif kind == b"ispe" and len(data) >= 12:
        width, height = struct.unpack(">II", data[4:12])
        if width * height > walk.limits.max_pixels:
            raise MediaTooLarge(too_many_pixels(walk.name, width, height, walk.limits))


_VISUAL = frozenset(
    b"avc1 avc2 avc3 avc4 hev1 hvc1 mp4v vp08 vp09 av01 mjpa mjpb jpeg png apcn apch apcs apco "
    b"ap4h ap4x encv s263 mpg1 mpg2 raw rle cvid dvc dvcp AVdn".split()
)


def _is_visual_entry(kind: bytes) -> bool:
    return kind.rstrip() in _VISUAL


def too_many_pixels(name: str, width: int, height: int, limits: Limits) -> str:
    """The sentence for a picture over the limit."""
    return (
        f"{name} declares {width} x {height} pixels; the limit is {limits.max_pixels} "
        "(Limits.max_pixels)."
    )


def _bad_size(name: str, kind: bytes, offset: int, size: int) -> str:
    return (
        f"{name} is damaged: its box {_printable(kind)} at byte {offset} claims a size of {size} "
        "bytes, less than its own header."
    )


def _printable(kind: bytes) -> str:
    return repr(kind.decode("latin-1"))
