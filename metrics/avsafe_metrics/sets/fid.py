"""FID: the Fréchet distance of Inception features of frames (Heusel et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping

from avsafe.types import Clip, Column, Meter, MetricInfo
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.feeding import Backbone, PictureMeter
from avsafe_metrics.sets.figures import FrechetMetric

EXPECTED = "FID's Inception-v3 of 1008 classes (pt_inception-2015-12-05-6726825d.pth)"


class Fid(FrechetMetric):
    """FID over ``frames`` frames a clip. Weights: ``inception``.

    Frames of one clip are alike, so the interval and the floor deal whole clips. With fewer than
    2048 rows the covariance is singular and the value mostly bias: see the floor, and KID.
    """

    info = MetricInfo(
        name="fid",
        version="1",
        title="FID",
        columns=(Column("", "", "lower", "distance of Inception features of frames", 0.0),),
        wants=("rgb",),
        family="set",
        scope="set",
        weights=("inception",),
        source="Heusel et al. 2017 (arXiv:1706.08500), eq. 6; torch-fidelity's preprocessing",
    )

    def __init__(
        self, *, weights: Mapping[str, str] | None = None, device: str = "cpu", frames: int = 8
    ) -> None:
        super().__init__()
        self._weights, self._device, self._frames = weights, device, frames

    def make_backbone(self) -> Backbone:
        require_torch()
        from avsafe_metrics.sets.backbones.inception import Inception

        return Inception(path_of(self._weights, "inception", EXPECTED), "fid", self._device)

    def open(self, clip: Clip) -> Meter:
        return PictureMeter(self.backbone, clip, self._frames)
