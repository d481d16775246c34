"""Where the tiles of a picture lie: a grid over the whole picture, bounded in number.

Legend: ``h`` ``w`` pixels; tiles of 128 px at multiples of 8, so that a codec's blocks lie alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.image.features import TILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIDE = TILE // 2  # px between tiles where the number allows


def grid(h: int, w: int, most: int) -> tuple[list[int], list[int]]:
    """Tops and lefts of at most ``most`` tiles; empty where the picture is too small.

    >>> grid(256, 320, 99)
    ([0, 64, 128], [0, 64, 128, 192])
    >>> grid(3000, 4000, 12)
    ([0, 1440, 2872], [0, 1288, 2584, 3872])
    >>> grid(100, 4000, 12)
    ([], [])
    """
    if min(h, w) < TILE:
        return [], []
    rows, columns = (math.ceil((v - TILE) / STRIDE) + 1 for v in (h, w))
    if rows * columns > most:
        shrink = math.sqrt(most / (rows * columns))
        rows = max(1, min(most, round(rows * shrink)))
        columns = max(1, min(columns, most // rows))
    return _places(h, rows), _places(w, columns)


def _places(length: int, count: int) -> list[int]:
    free = (length - TILE) // 8
    if count == 1:
        return [free // 2 * 8]
    return [round(free * k / (count - 1)) * 8 for k in range(count)]


def cut(picture: NDArray[Any], tops: list[int], lefts: list[int]) -> NDArray[np.uint8]:
    """(rows * columns, 128, 128, 3), row by row."""
    parts = [picture[y : y + TILE, x : x + TILE] for y in tops for x in lefts]
    return np.stack(parts) if parts else np.zeros((0, TILE, TILE, 3), np.uint8)
