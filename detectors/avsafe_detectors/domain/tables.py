"""The quantisation table of luma that a JPEG file states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_READ = 4 << 20  # bytes: large metadata may stand before the tables
_SEGMENTS = 2000


def _zigzag() -> list[int]:
    """Place in a row-by-row table of the n-th coefficient (ITU-T T.81, figure A.6)."""
    places = [(u + v, u if (u + v) % 2 else v, 8 * u + v) for u in range(8) for v in range(8)]
    return [place for _, _, place in sorted(places)]


def luma_table(path: Path) -> NDArray[np.int64]:
    """Table 0 of the file, (8, 8) row by row; (0, 0) where there is none that can be read."""
    none = np.zeros((0, 0), np.int64)
    try:
        with path.open("rb") as file:
            data = file.read(_READ)
    except OSError:
        return none
    return none if (found := table_of(data)) is None else found


def table_of(data: bytes) -> NDArray[np.int64] | None:
    """Of the first bytes of a JPEG file.

    >>> segment = b"\\xff\\xdb\\x00\\x43\\x00" + bytes(range(1, 65))
    >>> table_of(b"\\xff\\xd8" + segment)[0].tolist()
    [1, 2, 6, 7, 15, 16, 28, 29]
    """
    at = 2
    for _ in range(_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            return None
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in (0xDA, 0xD9) or size < 2:
            return None
        if marker == 0xDB and (found := _table(data[at + 4 : at + 2 + size])) is not None:
            return found
        at += 2 + size
    return None


def _table(segment: bytes) -> NDArray[np.int64] | None:
    at = 0
    while at < len(segment):
        wide, number = segment[at] >> 4, segment[at] & 15
        length = 128 if wide else 64
        values = segment[at + 1 : at + 1 + length]
        if len(values) < length or wide > 1:
            return None
        if number == 0:
            found = np.zeros(64, np.int64)
            found[_zigzag()] = np.frombuffer(values, ">u2" if wide else "u1")
            return found.reshape(8, 8)
        at += 1 + length
    return None
