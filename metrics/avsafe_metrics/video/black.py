"""Black frames.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.video.runs import longest_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

PIXEL_LEVEL = 25  # of 255: a tenth of the range, as FFmpeg's blackdetect has it
PICTURE_SHARE = 0.98  # of the pixels, as there


def is_black(luma: NDArray[np.uint8]) -> bool:
    """Whether at least 98 % of the pixels lie in the lowest tenth of the range.

    >>> is_black(np.full((4, 4), 25, np.uint8)), is_black(np.full((4, 4), 26, np.uint8))
    (True, False)
    """
    return bool(np.count_nonzero(luma <= PIXEL_LEVEL) >= PICTURE_SHARE * luma.size)


class Black(PlainMetric):
    """How much of a clip is black. A fade from black at the start counts too."""

    info = MetricInfo(
        name="black",
        version="1",
        title="Black frames",
        columns=(
            Column("share", "", "lower", "share of frames that are black", 0.0, 1.0),
            Column("longest_s", "s", "lower", "longest time that is black", 0.0),
        ),
        wants=("luma",),
        family="video",
        source="thresholds of FFmpeg's blackdetect: pixel 0.10 of the range, picture 0.98",
    )

    def open(self, clip: Clip) -> _Meter:
        rate = clip.shape.frame_rate
        return _Meter(1.0 / float(rate) if rate else None)


class _Meter(QuietMeter):
    def __init__(self, period_s: float | None) -> None:
        self._period_s = period_s
        self._black: list[bool] = []

    def frame(self, view: View, beside: View | None) -> None:
        self._black.append(is_black(view.luma))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        longest: float | str = "a still picture has no duration"
        if self._period_s is not None:
            longest = longest_run(self._black) * self._period_s
        return {"share": sum(self._black) / len(self._black), "longest_s": longest}
