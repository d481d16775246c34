"""CLIPimg: how much of the source's content is left in an edited clip.

Legend: ``d`` features of length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe.types import Clip, Column, MetricInfo
from avsafe_metrics.text.shared import ClipMetric, PairMeter, cosine

if TYPE_CHECKING:
    from avsafe.types import Frame
    from avsafe_metrics.text.clip_backbone import ClipBackbone


class ClipImage(ClipMetric):
    """CLIPimg of Emu Edit (Sheynin et al. 2023, arXiv:2311.10089, section 5; "CLIP image
    similarity" of Brooks et al. 2022, arXiv:2211.09800, figure 8): cosine of source and edited
    picture; mean over frames, each with the one that the source shows at that time.

    A clip that was not edited scores 1: read it beside ``clip_directional``.
    """

    info = MetricInfo(
        name="clip_image",
        version="1",
        title="CLIPimg",
        columns=(Column("", "", "higher", "cosine of source and edited frame", -1.0, 1.0),),
        wants=("rgb",),
        family="text",
        beside="source",
        weights=("clip",),
        source="Emu Edit (arXiv:2311.10089), CLIPimg; mean over frames",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self.backbone, self.frames_per_s)


class _Meter(PairMeter):
    def __init__(self, backbone: ClipBackbone, frames_per_s: float | None) -> None:
        super().__init__(frames_per_s)
        self._backbone = backbone

    def compare(self, edited: Frame, source: Frame) -> float:
        return cosine(self._backbone.image(edited), self._backbone.image(source))
