"""Background consistency: whether the scene of a clip stays itself, by CLIP features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter, bounded
from avsafe_metrics.text.pictures import prepared
from avsafe_metrics.text.shared import ClipMetric, Pick, Steadiness

if TYPE_CHECKING:
    from avsafe.media.view import View
    from avsafe_metrics.text.clip_backbone import ClipBackbone


class BackgroundConsistency(ClipMetric):
    """VBench's "background consistency" (Huang et al. 2024, arXiv:2311.17982, section 3.2) on the
    weights that the user gives; VBench takes OpenAI's CLIP ViT-B/32. A still clip scores 1.

    Every frame is looked at, as in VBench, unless ``frames_per_s`` says otherwise. Pictures are
    prepared as VBench does (bicubic without smoothing), not as ``clip_score`` does. Its features
    are those of the whole picture: the name is VBench's, no background is cut out.
    """

    info = MetricInfo(
        name="background_consistency",
        version="1",
        title="Background consistency",
        columns=(Column("", "", "higher", "cosine to the frame before and the first", 0.0, 1.0),),
        wants=("rgb",),
        family="text",
        weights=("clip",),
        source="VBench (arXiv:2311.17982), background consistency, and its preparation of pictures",
    )

    def __init__(
        self,
        weights: Mapping[str, str] | None = None,
        architecture: str = "",
        frames_per_s: float | None = None,
        device: str = "cpu",
        allow_download: bool = False,
    ) -> None:
        super().__init__(weights, architecture, frames_per_s, device, allow_download)

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self.backbone, self.frames_per_s)


class _Meter(QuietMeter):
    def __init__(self, backbone: ClipBackbone, frames_per_s: float | None) -> None:
        self._backbone, self._pick, self._steady = backbone, Pick(frames_per_s), Steadiness()

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            net = self._backbone
            batch = prepared(view.rgb, net.side, "bicubic", net.mean, net.std, square=True)
            self._steady.take(net.prepared(batch)[0])

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": bounded(self._steady.value(), 0.0, 1.0)}
