"""Subject consistency: whether what a clip shows stays itself, by DINO features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter, bounded
from avsafe_metrics.text.shared import DinoMetric, Pick, Steadiness

if TYPE_CHECKING:
    from avsafe.media.view import View
    from avsafe_metrics.text.dino_backbone import DinoBackbone


class SubjectConsistency(DinoMetric):
    """VBench's "subject consistency" (Huang et al. 2024, arXiv:2311.17982, section 3.2) on the
    weights that the user gives; VBench takes DINO ViT-B/16. A still clip scores 1.

    Every frame is looked at, as in VBench, unless ``frames_per_s`` says otherwise.
    """

    info = MetricInfo(
        name="subject_consistency",
        version="1",
        title="Subject consistency",
        columns=(Column("", "", "higher", "cosine to the frame before and the first", 0.0, 1.0),),
        wants=("rgb",),
        family="text",
        weights=("dino",),
        source="VBench (arXiv:2311.17982), subject consistency, and its preparation of pictures",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self.backbone, self.frames_per_s)


class _Meter(QuietMeter):
    def __init__(self, backbone: DinoBackbone, frames_per_s: float | None) -> None:
        self._backbone, self._pick, self._steady = backbone, Pick(frames_per_s), Steadiness()

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            self._steady.take(self._backbone.image(view.rgb))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": bounded(self._steady.value(), 0.0, 1.0)}
