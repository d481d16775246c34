"""DINO identity: how much of the source's subject and structure is left in an edited clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe.types import Clip, Column, MetricInfo
from avsafe_metrics.text.shared import DinoMetric, PairMeter, cosine

if TYPE_CHECKING:
    from avsafe.types import Frame
    from avsafe_metrics.text.dino_backbone import DinoBackbone


class DinoIdentity(DinoMetric):
    """Cosine of DINO's class token in source and edited frame, mean over frames: "DINO" of Emu Edit
    (Sheynin et al. 2023, arXiv:2311.10089, section 5; after Ruiz et al. 2022, arXiv:2208.12242).

    A clip that was not edited scores 1. Pictures are scaled to 224 pixels of the short side and not
    cropped; DreamBooth crops a square of 224 from 256.
    """

    info = MetricInfo(
        name="dino_identity",
        version="1",
        title="DINO similarity to the source",
        columns=(Column("", "", "higher", "cosine of source and edited frame", -1.0, 1.0),),
        wants=("rgb",),
        family="text",
        beside="source",
        weights=("dino",),
        source="Emu Edit (arXiv:2311.10089), DINO; mean over frames; no square crop",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self.backbone, self.frames_per_s)


class _Meter(PairMeter):
    def __init__(self, backbone: DinoBackbone, frames_per_s: float | None) -> None:
        super().__init__(frames_per_s)
        self._backbone = backbone

    def compare(self, edited: Frame, source: Frame) -> float:
        return cosine(self._backbone.image(edited), self._backbone.image(source))
