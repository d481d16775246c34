"""Mean absolute error against a reference.

Legend: ``h`` ``w`` pixels; a frame is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, MetricInfo
from avsafe_metrics.base import PlainMetric
from avsafe_metrics.video.paired import PairedMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_absolute_error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean of absolute differences over pixels and channels as a share of the range.

    >>> mean_absolute_error(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 51, np.uint8))
    0.2
    """
    import cv2

    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size / 255.0


class L1(PlainMetric):
    """L1 distance in RGB, values 0 to 1, mean over frames, as in papers on editing."""

    info = MetricInfo(
        name="l1",
        version="1",
        title="L1 distance",
        columns=(Column("", "", "lower", "0 is equal, 1 swaps black and white", 0.0, 1.0),),
        wants=("rgb",),
        family="video",
        beside="reference",
        source="mean |a - b| over RGB in [0, 1]",
    )

    def open(self, clip: Clip) -> PairedMeter:
        return PairedMeter(
            clip,
            lambda view, beside: (mean_absolute_error(view.rgb, beside.rgb),),
            lambda rows: {"": float(np.mean(rows))},
        )
