"""FD_PaSST: the Fréchet distance of PaSST embeddings of 10 s of sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from avsafe.types import Clip, Column, Meter
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.fd_panns import FdPanns
from avsafe_metrics.sets.feeding import Backbone, SoundMeter
from avsafe_metrics.sets.figures import FrechetMetric

EXPECTED = "PaSST-S in hear21passt's layout (passt-s-f128-p16-s10-ap.476-swa.pt)"


class FdPasst(FrechetMetric):
    """FD_PaSST, a row each 10 s of the first minute. Weights: ``passt``."""

    info = replace(
        FdPanns.info,
        name="fd_passt",
        title="FD PaSST",
        columns=(Column("", "", "lower", "distance of PaSST embeddings", 0.0),),
        weights=("passt",),
        source="as in MMAudio (arXiv:2412.15322), FD_PaSST; hear21passt's front end",
    )

    def __init__(self, *, weights: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        super().__init__()
        self._weights, self._device = weights, device

    def make_backbone(self) -> Backbone:
        require_torch()
        from avsafe_metrics.sets.backbones.passt import Passt

        return Passt(path_of(self._weights, "passt", EXPECTED), self._device)

    def open(self, clip: Clip) -> Meter:
        return SoundMeter(self.backbone, clip.shape)
