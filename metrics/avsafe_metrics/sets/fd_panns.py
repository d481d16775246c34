"""FD_PANNs: the Fréchet distance of Cnn14 embeddings of whole sounds."""

from __future__ import annotations

from collections.abc import Mapping

from avsafe.types import Clip, Column, Meter, MetricInfo
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.feeding import Backbone, SoundMeter
from avsafe_metrics.sets.figures import FrechetMetric

EXPECTED = "Cnn14 of PANNs (Cnn14_mAP=0.431.pth, or Cnn14_16k_mAP=0.438.pth for 16 kHz)"


class FdPanns(FrechetMetric):
    """FD_PANNs, one row a clip (its first minute). Weights: ``panns``."""

    info = MetricInfo(
        name="fd_panns",
        version="1",
        title="FD PANNs",
        columns=(Column("", "", "lower", "distance of Cnn14 embeddings", 0.0),),
        wants=("sound",),
        family="set",
        scope="set",
        weights=("panns",),
        source="as in AudioLDM (arXiv:2301.12503) and MMAudio (arXiv:2412.15322), FD_PANNs",
    )

    def __init__(self, *, weights: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        super().__init__()
        self._weights, self._device = weights, device

    def make_backbone(self) -> Backbone:
        require_torch()
        from avsafe_metrics.sets.backbones.panns import Panns

        return Panns(path_of(self._weights, "panns", EXPECTED), self._device)

    def open(self, clip: Clip) -> Meter:
        return SoundMeter(self.backbone, clip.shape)
