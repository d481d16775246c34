"""Walk the elements of a Matroska or WebM file (RFC 8794, RFC 9559), trusting no size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from avsafe.errors import MediaTooLarge, TruncatedMedia, UnreadableMedia
from avsafe.media.boxes import too_many_pixels

if TYPE_CHECKING:
    from avsafe.media.limits import Limits
    from avsafe.media.window import Window

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_MASTERS = frozenset((_SEGMENT, 0x1654AE6B, 0xAE, 0xE0))  # Segment, Tracks, TrackEntry, Video
_WIDTH, _HEIGHT = 0xB0, 0xBA


@dataclass
class _Walk:
    window: Window
    name: str
    limits: Limits
    count: int = 0
    width: int = 0


def check(window: Window, name: str, limits: Limits) -> None:
    """Refuse what would hang or starve a reader.

    Raises ``MediaTooLarge``, ``TruncatedMedia``, ``UnreadableMedia``.
    """
    _level(_Walk(window, name, limits), 0, window.size, 0)


def _level(walk: _Walk, offset: int, end: int, depth: int) -> None:
    top = depth <= 1  # the file itself, and what lies directly in its segment
    while offset < end:
        walk.count += 1
        if walk.count > walk.limits.max_nested_boxes:
            raise MediaTooLarge(
                f"{walk.name} has more than {walk.limits.max_nested_boxes} elements "
                "(Limits.max_nested_boxes)."
            )
        found = _element(walk.window, offset)
        if found is None:
            raise UnreadableMedia(f"{walk.name} is damaged: no EBML element at byte {offset}.")
        kind, body, size = found
        if size is None:  # unknown: a live stream; it lasts to the end of its parent
            if kind != _SEGMENT:
                return  # the length of a live cluster is only known by decoding
            body_end = end
        else:
            body_end = body + size
        if body_end > end:
            if top:
                raise TruncatedMedia(
                    f"{walk.name} is cut off: an element at byte {offset} needs {body_end - end} "
                    "bytes more than the file has. Pass the whole file."
                )
            raise UnreadableMedia(f"{walk.name} is damaged at byte {offset}.")
        if kind in _MASTERS:
            _level(walk, body, body_end, depth + 1)
        elif kind == _WIDTH:
            walk.width = int.from_bytes(walk.window.at(body, min(8, body_end - body)), "big")
        elif kind == _HEIGHT:
            height = int.from_bytes(walk.window.at(body, min(8, body_end - body)), "big")
            if walk.width * height > walk.limits.max_pixels:
                raise MediaTooLarge(too_many_pixels(walk.name, walk.width, height, walk.limits))
        offset = body_end


def _element(window: Window, offset: int) -> tuple[int, int, int | None] | None:
    """An element's id, where its body begins, and its size (None: unknown)."""
    head = window.at(offset, 12)
    if not head or head[0] < 0x08:
        return None  # ids have at most four bytes (RFC 8794, section 5)
    id_bytes = 9 - head[0].bit_length()
    rest = head[id_bytes:]
    if not rest or rest[0] == 0:
        return None
    size_bytes = 9 - rest[0].bit_length()
    if len(rest) < size_bytes:
        return None
    size = int.from_bytes(rest[:size_bytes], "big") & (1 << 7 * size_bytes) - 1
    unknown = size == (1 << 7 * size_bytes) - 1
    kind = int.from_bytes(head[:id_bytes], "big")
    return kind, offset + id_bytes + size_bytes, None if unknown else size
