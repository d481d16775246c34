"""FD motion-texture: the Fréchet distance of weight-free features of windows of video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, Meter, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sets.backbones.motion_texture import LEAST_SIDE, Window
from avsafe_metrics.sets.feeding import Backbone, starts
from avsafe_metrics.sets.figures import FrechetMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

LENGTH = 16  # frames of a window


class FdMotionTexture(FrechetMetric):
    """Distance of how the clips look and move from how the reference does (our own features, see
    ``backbones.motion_texture``; no published metric), over ``windows`` windows of 16 frames."""

    info = MetricInfo(
        name="fd_motion_texture",
        version="1",
        title="FD motion-texture",
        columns=(Column("", "", "lower", "distance of texture and motion, no weights", 0.0),),
        wants=("luma",),
        family="set",
        scope="set",
        source="Fréchet distance of 43 features of our own; docs/metrics/sets.md",
    )
    least_clips = 10

    def __init__(self, *, windows: int = 4) -> None:
        super().__init__()
        self._windows = windows

    def make_backbone(self) -> Backbone:
        return _None()

    def open(self, clip: Clip) -> Meter:
        return _Meter(clip, self._windows)


class _None:
    """Nothing to load."""

    def __init__(self) -> None:
        self.name, self.digests = "motion_texture", dict[str, str]()

    def features(self, given: object) -> dict[str, NDArray[np.float32]]:
        raise NotImplementedError


class _Meter(QuietMeter):
    def __init__(self, clip: Clip, windows: int) -> None:
        shape = clip.shape
        if min(shape.width, shape.height) < LEAST_SIDE:
            raise Unscorable(
                f"{shape.width} x {shape.height} pixels; texture needs {LEAST_SIDE} of each"
            )
        self._rate_hz = float(shape.frame_rate or 25)
        self._starts = starts(shape.frame_count, LENGTH, windows)
        self._window = Window()
        self._rows: list[NDArray[np.float32]] = []

    def frame(self, view: View, beside: View | None) -> None:
        if not self._starts or view.index < self._starts[0]:
            return
        self._window.take(view, self._rate_hz)
        if self._window.frames == LENGTH:
            self._close()

    def finish(self, gathered: Gathered) -> Mapping[str, NDArray[np.float32]]:
        if not self._rows:
            self._close()  # a clip that is shorter than a window is one short window
        if not self._rows:
            raise Unscorable(f"{gathered.frame_count} frames: motion needs three")
        return {"features": np.stack(self._rows)}

    def _close(self) -> None:
        row = self._window.row()
        if row is not None:
            self._rows.append(row)
        self._window = Window()
        self._starts = self._starts[1:]
