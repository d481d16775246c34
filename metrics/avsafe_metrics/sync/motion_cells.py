"""What moves where: speed, change of speed and change of light in the cells of a grid.

Legend: ``t`` frames, ``c`` = 64 cells (8 rows of 8), ``f`` = 4 features; speeds in short sides of
the picture per second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.media.view import FLOW_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

GRID = 8
CELLS = GRID * GRID
FEATURES = ("speed", "jolt", "light", "change")
CUT = 24.0  # mean grey difference of the cells that is a new scene, as in avsafe.faces


class MotionCells:
    """Feed views in order; keeps 512 bytes a frame.

    ``speed`` is the mean length of the optical flow less the camera's (the median flow); ``jolt``
    the mean length of its change since the interval before; ``light`` the signed change of mean
    luma; ``change`` the mean absolute change of luma. Luma is in units of 1/255. Row ``i`` compares
    frames ``i - 1`` and ``i``; it is 0 for the first frame, and over a cut.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._rows: list[NDArray[np.float16]] = []
        self._flow: NDArray[np.float32] | None = None
        self.cuts: list[int] = []

    def take(self, view: View) -> None:
        flow = view.flow()
        if flow is None or view.previous is None:
            self._rows.append(np.zeros((CELLS, len(FEATURES)), np.float16))
            self._flow = None
            return
        before, after = view.previous.small(FLOW_SIDE), view.small(FLOW_SIDE)
        light = _cells(after) - _cells(before)
        if float(np.abs(light - light.mean()).mean()) > CUT:
            self.cuts.append(view.index)
            self._rows.append(np.zeros((CELLS, len(FEATURES)), np.float16))
            self._flow = None
            return
        side = min(after.shape)
        camera = np.median(flow[::4, ::4].reshape(-1, 2), axis=0)
        own = np.asarray(flow - camera, np.float32)
        jolt = np.zeros(CELLS) if self._flow is None else _cells(_length(own - self._flow))
        row = np.stack(
            [
                _cells(_length(own)) * (self.rate / side),
                jolt * (self.rate / side),
                light * (self.rate / 255 / 25),
                _cells(np.abs(after - before)) * (self.rate / 255 / 25),
            ],
            axis=-1,
        )
        self._rows.append(row.astype(np.float16))
        self._flow = own

    def rows(self) -> NDArray[np.float32]:
        """(t, c, f)."""
        if not self._rows:
            return np.zeros((0, CELLS, len(FEATURES)), np.float32)
        return np.stack(self._rows).astype(np.float32)


def _cells(picture: NDArray[Any]) -> NDArray[np.float32]:
    """(sh, sw) -> (c,) means over the cells."""
    import cv2

    small = cv2.resize(np.asarray(picture, np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(small.ravel(), np.float32)


def _length(flow: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(np.hypot(flow[..., 0], flow[..., 1]), np.float32)


def at_rate(rows: NDArray[Any], rate: float, wanted: float) -> NDArray[np.float32]:
    """(t, ...) at ``rate`` -> the same signal at ``wanted`` Hz, straight lines between frames.

    >>> at_rate(np.array([0.0, 2.0, 4.0]), 10, 20).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    """
    count = round(len(rows) * wanted / rate)
    at = np.clip(np.arange(count) * (rate / wanted), 0, max(0, len(rows) - 1))
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(rows) - 1)
    share = (at - low).reshape(-1, *[1] * (rows.ndim - 1)).astype(np.float32)
    return np.asarray((1 - share) * rows[low] + share * rows[high], np.float32)
