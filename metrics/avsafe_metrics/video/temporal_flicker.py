"""Temporal flicker: how steady a picture is from frame to frame.

Legend: ``h`` ``w`` pixels; a frame is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View


def frame_change(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Mean absolute difference of two frames, 0 (equal) to 255.

    >>> frame_change(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 10, np.uint8))
    10.0
    """
    import cv2

    return float(np.mean(cv2.mean(cv2.absdiff(before, after))[: before.shape[2]]))


def steadiness(changes: list[float]) -> float:
    """VBench's temporal flickering: (255 - mean change) / 255; 1 is a still picture.

    >>> steadiness([0.0, 51.0])
    0.9
    """
    return (255.0 - float(np.mean(changes))) / 255.0


class TemporalFlicker(PlainMetric):
    """VBench's "temporal flickering" (Huang et al. 2024, arXiv:2311.17982, section 3.2).

    A still clip scores 1, so it says nothing without a measure of motion beside it.
    """

    info = MetricInfo(
        name="temporal_flicker",
        version="1",
        title="Temporal flicker",
        columns=(Column("", "", "higher", "1 is still, 0 swaps black and white", 0.0, 1.0),),
        wants=("rgb",),
        family="video",
        source="VBench (arXiv:2311.17982), temporal flickering; no filter on static clips",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._changes: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        if view.previous is not None:
            self._changes.append(frame_change(view.previous.rgb, view.rgb))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._changes:
            raise Unscorable(f"{gathered.frame_count} frame: change needs two")
        return {"": steadiness(self._changes)}
