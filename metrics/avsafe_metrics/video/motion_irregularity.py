"""Motion irregularity: whether what moves goes on moving the same way.

Legend: ``sh`` ``sw`` pixels of the small copy that flow is computed on; flow is (sh, sw, 2)
float32, (dx, dy) in its pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.video.motion_magnitude import LEAST
from avsafe_metrics.video.runs import moving_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

STILL = 0.05  # pixels of the small copy a frame: below it there is no motion to judge


def turn(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Mean length of the change of motion, and mean length of the motion, both in pixels.

    ``first`` leads from frame 0 to 1, ``second`` from 1 to 2; the second is read where the first
    leads to. Pixels that leave the picture count for neither.

    >>> steady = np.full((32, 32, 2), 2, np.float32)
    >>> [round(value, 3) for value in turn(steady, steady) + turn(steady, -steady)]
    [0.0, 2.828, 5.657, 2.828]
    """
    import cv2

    sh, sw = first.shape[:2]
    ys, xs = np.mgrid[0:sh, 0:sw].astype(np.float32)
    xs, ys = xs + first[..., 0], ys + first[..., 1]
    there = cv2.remap(second, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (xs >= 0) & (ys >= 0) & (xs <= sw - 1) & (ys <= sh - 1)
    if not inside.any():
        return 0.0, 0.0
    change = np.hypot(*(there - first)[inside].T)
    length = 0.5 * (np.hypot(*first[inside].T) + np.hypot(*there[inside].T))
    return float(change.mean(dtype=np.float64)), float(length.mean(dtype=np.float64))


class MotionIrregularity(PlainMetric):
    """Change of motion from one step to the next against the motion itself, over the whole clip:
    0 is uniform motion, 2 reverses at every frame. Judder, doubled, dropped and swapped frames
    raise it, and so does lively motion: compare clips of the same content.

    Not VBench's motion smoothness, which compares frames with a network's interpolation.
    """

    info = MetricInfo(
        name="motion_irregularity",
        version="1",
        title="Motion irregularity",
        columns=(Column("", "", "lower", "0 is uniform motion, 2 reverses every frame", 0.0, 2.0),),
        wants=("luma",),
        family="video",
        source="own definition: sum of |v(t+1) along the path - v(t)| over sum of |v|; DIS flow",
    )

    def open(self, clip: Clip) -> _Meter:
        moving_rate(clip)
        if min(clip.shape.width, clip.shape.height) < LEAST:
            raise Unscorable(
                f"{clip.shape.width}x{clip.shape.height} pixels: flow needs {LEAST} a side"
            )
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._turns: list[tuple[float, float]] = []

    def frame(self, view: View, beside: View | None) -> None:
        flow = view.flow()
        if flow is not None and self._last is not None:
            self._turns.append(turn(self._last, flow))
        self._last = flow

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._turns:
            raise Unscorable(f"{gathered.frame_count} frames: a change of motion needs three")
        change, length = np.mean(np.array(self._turns), axis=0)
        if length < STILL:
            raise Unscorable(f"nothing moves ({length:.3f} pixels a frame at 256 lines)")
        return {"": min(2.0, float(change / length))}
