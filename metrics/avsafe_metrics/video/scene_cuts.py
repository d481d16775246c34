"""Scene cuts: how often the picture is another one all at once.

Legend: ``sh`` ``sw`` pixels of a small copy; luma is (sh, sw) float32, 0 to 255.
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

SIDE = 64  # pixels
LEVELS = 12.0  # of 255: the least change that can be a cut
TIMES = 3.0  # a cut changes this much more than the steps around it
NEAR = 4  # steps before and after that are "around"


def change(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Mean absolute change of luma once the change of the mean is taken off: a flash or a fade
    that lights the picture evenly is no cut. Levels of 255.

    >>> change(np.zeros((4, 4), np.float32), np.full((4, 4), 200, np.float32))
    0.0
    """
    step = after - before
    return float(np.abs(step - step.mean()).mean())


def cuts(changes: NDArray[np.float64]) -> list[int]:
    """Steps that are cuts: changes of at least 12 levels, three times the median of the four on
    either side, and the largest among them.

    >>> cuts(np.array([1, 1, 2, 40, 1, 2, 1.0]))
    [3]
    """
    found = []
    for at in np.flatnonzero(changes >= LEVELS):
        around = np.concatenate([changes[max(0, at - NEAR) : at], changes[at + 1 : at + 1 + NEAR]])
        if around.size and changes[at] >= TIMES * np.median(around) and changes[at] > around.max():
            found.append(int(at))
    return found


class SceneCuts(PlainMetric):
    """Number of hard cuts. Fades and dissolves are not counted."""

    info = MetricInfo(
        name="scene_cuts",
        version="1",
        title="Scene cuts",
        columns=(
            Column("count", "", "none", "hard cuts in the clip", 0.0),
            Column("per_minute", "1/min", "none", "hard cuts a minute", 0.0),
        ),
        wants=("luma",),
        family="video",
        source="own definition: change of small luma against that of the steps around it",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(float(moving_rate(clip)))


class _Meter(QuietMeter):
    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._last: NDArray[np.float32] | None = None
        self._changes: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        small = view.small(SIDE)
        if self._last is not None:
            self._changes.append(change(self._last, small))
        self._last = small

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._changes:
            raise Unscorable(f"{gathered.frame_count} frame: a cut needs two")
        count = len(cuts(np.array(self._changes)))
        minutes = gathered.frame_count / self._rate_hz / 60
        return {"count": float(count), "per_minute": count / minutes}
