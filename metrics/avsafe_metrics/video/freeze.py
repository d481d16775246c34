"""Freeze: frames that only repeat the one before.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.video.runs import longest_run, moving_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

MEAN_LEVELS = 0.255  # of 255: the default of FFmpeg's freezedetect, 0.001 (-60 dB)
BLOCKS = 32  # blocks along the short side
BLOCK_LEVELS = 1.0  # a small thing that moves changes its block by more, a whole picture by less


def is_repeat(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Whether ``after`` shows nothing new: the mean change of luma is at most 0.255 of 255 levels,
    and in no block of 1/32 of the short side is it above 1 level.

    >>> grey = np.full((64, 64), 90, np.uint8)
    >>> moved = grey.copy(); moved[:2, :2] += 9
    >>> is_repeat(grey, grey), is_repeat(grey, moved), is_repeat(grey, grey + np.uint8(1))
    (True, False, False)
    """
    import cv2

    change = cv2.absdiff(before, after)
    if cv2.mean(change)[0] > MEAN_LEVELS:
        return False
    side = max(1, min(change.shape) // BLOCKS)
    size = (max(1, change.shape[1] // side), max(1, change.shape[0] // side))
    blocks = cv2.resize(change.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return bool(blocks.max() <= BLOCK_LEVELS)


class Freeze(PlainMetric):
    """How much of a clip stands still. Where it is still on purpose (a slide, a photograph) that is
    no fault; film of 12 frames stored at 24 repeats every second frame and scores 0.5."""

    info = MetricInfo(
        name="freeze",
        version="1",
        title="Frozen frames",
        columns=(
            Column("share", "", "lower", "share of steps that show nothing new", 0.0, 1.0),
            Column("longest_s", "s", "lower", "longest time without anything new", 0.0),
        ),
        wants=("luma",),
        family="video",
        source="mean threshold of FFmpeg's freezedetect (n=0.001); the test by blocks is our own",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(1.0 / float(moving_rate(clip)))


class _Meter(QuietMeter):
    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._repeats: list[bool] = []

    def frame(self, view: View, beside: View | None) -> None:
        if view.previous is not None:
            self._repeats.append(is_repeat(view.previous.luma, view.luma))

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        if not self._repeats:
            raise Unscorable(f"{gathered.frame_count} frame: a repeat needs two")
        return {
            "share": sum(self._repeats) / len(self._repeats),
            "longest_s": longest_run(self._repeats) * self._period_s,
        }
