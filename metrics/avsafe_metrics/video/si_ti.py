"""Spatial and temporal information of ITU-T P.910: how much detail, how much change.

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

LIMITED = 219.0 / 255.0  # full range to the 16..235 that the Recommendation's values are on


def spatial_information(luma: NDArray[np.uint8]) -> float:
    """Standard deviation over pixels of the Sobel magnitude, without the outermost pixels, on the
    scale of limited-range luma. Needs 3x3 pixels.

    >>> spatial_information(np.full((8, 8), 77, np.uint8))
    0.0
    """
    import cv2

    if min(luma.shape) < 3:
        raise ValueError(f"{luma.shape[1]}x{luma.shape[0]} pixels: the Sobel filter needs 3x3")
    gx = cv2.Sobel(luma, cv2.CV_32F, 1, 0)[1:-1, 1:-1]
    gy = cv2.Sobel(luma, cv2.CV_32F, 0, 1)[1:-1, 1:-1]
    squares = gx * gx + gy * gy  # whole numbers below 2^24: exact, and so is their sum
    # not OpenCV's meanStdDev, whose last digits depend on where an array lies in memory
    mean = float(np.sqrt(squares).mean(dtype=np.float64))
    variance = float(squares.mean(dtype=np.float64)) - mean**2
    return float(np.sqrt(max(0.0, variance))) * LIMITED


def temporal_information(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Standard deviation over pixels of the difference, on the scale of limited-range luma.

    >>> temporal_information(np.zeros((2, 2), np.uint8), np.full((2, 2), 50, np.uint8))
    0.0
    """
    import cv2

    _, deviation = cv2.meanStdDev(cv2.subtract(after, before, dtype=cv2.CV_16S))
    return float(deviation[0, 0]) * LIMITED


class SiTi(PlainMetric):
    """SI and TI as ITU-T P.910 (04/2008), 7.1 and 7.2, defines them: the largest value over time.
    Beside them the means, which one scene cut or flash does not decide."""

    info = MetricInfo(
        name="si_ti",
        version="1",
        title="Spatial and temporal information",
        columns=(
            Column("si", "", "none", "detail: the largest over frames", 0.0),
            Column("ti", "", "none", "change: the largest over steps", 0.0),
            Column("si_mean", "", "none", "detail: mean over frames", 0.0),
            Column("ti_mean", "", "none", "change: mean over steps", 0.0),
        ),
        wants=("luma",),
        family="video",
        source=(
            "ITU-T P.910 (04/2008), on luma of limited range (a full-range file is scaled by "
            "219/255). The editions since 07/2022 also apply a display model: other numbers"
        ),
    )

    def open(self, clip: Clip) -> _Meter:
        if min(clip.shape.width, clip.shape.height) < 3:
            raise Unscorable(
                f"{clip.shape.width}x{clip.shape.height} pixels: the Sobel filter needs 3x3"
            )
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._si: list[float] = []
        self._ti: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        self._si.append(spatial_information(view.luma))
        if view.previous is not None:
            self._ti.append(temporal_information(view.previous.luma, view.luma))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        one = f"{gathered.frame_count} frame: change needs two"
        return {
            "si": max(self._si),
            "ti": max(self._ti) if self._ti else one,
            "si_mean": float(np.mean(self._si)),
            "ti_mean": float(np.mean(self._ti)) if self._ti else one,
        }
