"""Motion magnitude: how fast things move, from optical flow.

Legend: ``sh`` ``sw`` pixels of the small copy that flow is computed on; flow is (sh, sw, 2)
float32, (dx, dy) in its pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.video.runs import moving_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

LEAST = 16  # pixels of the short side; below it flow is not estimated
TOP = 0.05  # share of the fastest pixels, as in VBench's dynamic degree


def speeds(flow: NDArray[np.float32]) -> tuple[float, float]:
    """Mean length of the flow, and mean over its longest 5 %; in short sides of the picture.

    >>> flow = np.zeros((100, 200, 2), np.float32); flow[:5, :, 0] = 50
    >>> mean, top = speeds(flow)
    >>> round(mean, 4), round(top, 4)
    (0.025, 0.5)
    """
    import cv2

    length = cv2.magnitude(flow[..., 0].copy(), flow[..., 1].copy()).ravel()
    count = max(1, round(TOP * length.size))
    top = np.partition(length, length.size - count)[-count:]
    short = min(flow.shape[:2])
    return float(length.mean()) / short, float(top.mean()) / short


class MotionMagnitude(PlainMetric):
    """Speed of what is seen, the camera's motion included, in short sides of the frame a second:
    the same film at another size or frame rate has the same speed."""

    info = MetricInfo(
        name="motion_magnitude",
        version="1",
        title="Motion magnitude",
        columns=(
            Column("mean", "1/s", "none", "short sides a second, mean over pixels", 0.0),
            Column("top5", "1/s", "none", "of the fastest 5 % of pixels in each step", 0.0),
        ),
        wants=("luma",),
        family="video",
        source=(
            "DIS flow (Kroeger et al. 2016) on luma of 256 pixels; the fastest 5 % as in VBench's "
            "dynamic degree (arXiv:2311.17982), which takes RAFT and a threshold instead"
        ),
    )

    def open(self, clip: Clip) -> _Meter:
        rate = moving_rate(clip)
        if min(clip.shape.width, clip.shape.height) < LEAST:
            raise Unscorable(
                f"{clip.shape.width}x{clip.shape.height} pixels: flow needs {LEAST} a side"
            )
        return _Meter(float(rate))


class _Meter(QuietMeter):
    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._speeds: list[tuple[float, float]] = []

    def frame(self, view: View, beside: View | None) -> None:
        flow = view.flow()
        if flow is not None:
            self._speeds.append(speeds(flow))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._speeds:
            raise Unscorable(f"{gathered.frame_count} frame: motion needs two")
        mean, top = np.mean(np.array(self._speeds), axis=0) * self._rate_hz
        return {"mean": float(mean), "top5": float(top)}
