"""FVD: the Fréchet distance of I3D logits of windows of video (Unterthiner et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping

from avsafe.types import Clip, Column, Meter, MetricInfo
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.feeding import Backbone, WindowMeter
from avsafe_metrics.sets.figures import FrechetMetric

EXPECTED = "I3D of Kinetics-400 in pytorch-i3d's layout (i3d_pretrained_400.pt)"


class Fvd(FrechetMetric):
    """FVD over ``windows`` windows of ``frames`` consecutive frames a clip, the first from the
    first frame. Weights: ``i3d``.

    The covariance divides by n, as cd-fvd and the code of StyleGAN-V do; ``ddof=1`` is the other
    convention and gives another number. Clips of another frame rate give another number too.
    """

    info = MetricInfo(
        name="fvd",
        version="1",
        title="FVD",
        columns=(Column("", "", "lower", "distance of I3D logits of windows", 0.0),),
        wants=("rgb",),
        family="set",
        scope="set",
        weights=("i3d",),
        source="Unterthiner et al. 2019 (arXiv:1812.01717); cd-fvd's preprocessing and covariance",
    )

    def __init__(
        self, *, weights: Mapping[str, str] | None = None, device: str = "cpu", frames: int = 16,
        windows: int = 1, ddof: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self._weights, self._device = weights, device
        self._frames, self._windows, self.ddof = frames, windows, ddof

    def make_backbone(self) -> Backbone:
        require_torch()
        from avsafe_metrics.sets.backbones.i3d import I3D

        return I3D(path_of(self._weights, "i3d", EXPECTED), self._device, self._frames)

    def open(self, clip: Clip) -> Meter:
        return WindowMeter(self.backbone, clip, self._windows)
