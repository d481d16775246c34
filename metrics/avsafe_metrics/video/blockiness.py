"""Blockiness: steps at the borders of the 8x8 blocks that JPEG and video codecs work in.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

BLOCK = 8  # pixels
LEAST = 4 * BLOCK
_FLOOR = 0.25  # levels; below it the mean step of a picture is that of nothing at all


def blockiness(luma: NDArray[np.uint8]) -> float:
    """How much larger steps are on the best 8-pixel grid than between, in mean steps of the
    picture; mean of both directions. 0 without a grid. Needs 32x32 pixels.

    Each step |x(i+1) - x(i)| first loses the mean of its two neighbours, so that edges and texture
    leave little; the grid may start anywhere, so a crop does not hide it (scaling does).

    >>> rng = np.random.default_rng(0)
    >>> blocks = np.kron(rng.integers(90, 110, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    >>> blockiness(blocks) > 4, blockiness(np.full((64, 64), 9, np.uint8))
    (True, 0.0)
    """
    import cv2

    if min(luma.shape) < LEAST:
        raise ValueError(f"{luma.shape[1]}x{luma.shape[0]} pixels: blockiness needs {LEAST} a side")
    found = []
    for along in (1, 0):
        ahead = luma[:, 1:] if along else luma[1:]
        steps = cv2.absdiff(ahead, luma[:, :-1] if along else luma[:-1])
        profile = cv2.reduce(steps, 1 - along, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
        excess = profile[1:-1] - 0.5 * (profile[:-2] + profile[2:])
        count = excess.size // BLOCK * BLOCK
        phases = excess[:count].reshape(-1, BLOCK).mean(axis=0)
        found.append((phases.max() - np.median(phases)) / max(float(profile.mean()), _FLOOR))
    return float(np.mean(found))


class Blockiness(PlainMetric):
    """Excess of steps on an 8x8 grid, mean over frames. Finds JPEG, MJPEG, MPEG-2 and MPEG-4 at
    usual qualities; H.264 smooths its borders and is found from about CRF 36 on."""

    info = MetricInfo(
        name="blockiness",
        version="1",
        title="Blockiness",
        columns=(Column("", "", "lower", "0 has no 8x8 grid; JPEG quality 10 gives about 2", 0.0),),
        wants=("luma",),
        family="video",
        source="own definition, after the blocking measure of Wang, Sheikh and Bovik 2002",
    )

    def open(self, clip: Clip) -> _Meter:
        width, height = clip.shape.width, clip.shape.height
        if min(width, height) < LEAST:
            raise Unscorable(f"{width}x{height} pixels: blockiness needs {LEAST} a side")
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._values: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        self._values.append(blockiness(view.luma))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": float(np.mean(self._values))}
