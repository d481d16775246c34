"""CLIPScore: how well a clip's pictures go with its prompt.

Legend: ``k`` frames looked at, ``d`` features of length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter, bounded
from avsafe_metrics.text.shared import ClipMetric, Pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe_metrics.text.clip_backbone import ClipBackbone


def clip_score(images: NDArray[Any], text: NDArray[Any]) -> float:
    """Mean over pictures (k, d) of 100 max(cos, 0) to one text (d,); 0 to 100, higher is closer.

    >>> clip_score(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([1.0, 0.0]))
    33.333333333333336
    """
    return float(np.mean(100.0 * np.maximum(0.0, images.astype(np.float64) @ text)))


class ClipScore(ClipMetric):
    """CLIPScore (Hessel et al. 2021, arXiv:2104.08718, equation 1) as a mean over frames.

    ``frames_per_s`` frames a second are looked at (2; null: all), from the first on.
    ``frame_consistency`` is the mean cosine of each frame looked at to the one before (Esser et
    al. 2023, arXiv:2302.03011, section 4.2, there on all frames): it falls when fewer are looked
    at, so compare it at one rate only.
    """

    info = MetricInfo(
        name="clip_score",
        version="1",
        title="CLIPScore",
        columns=(
            Column("", "", "higher", "100 max(cosine of frame and prompt, 0)", 0.0, 100.0),
            Column("frame_consistency", "", "higher", "cosine of frames in turn", -1.0, 1.0),
        ),
        wants=("rgb",),
        family="text",
        texts=("prompt",),
        weights=("clip",),
        source="Hessel et al. 2021 (arXiv:2104.08718), eq. 1 with w = 100 (the paper: 2.5), and "
        'without its prefix "A photo depicts"; mean over frames',
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self.backbone, clip.sample.text, self.frames_per_s)


class _Meter(QuietMeter):
    def __init__(self, backbone: ClipBackbone, prompt: str, frames_per_s: float | None) -> None:
        self._backbone, self._pick = backbone, Pick(frames_per_s)
        self._text = backbone.texts([prompt])[0]
        self._scores: list[float] = []
        self._turns: list[float] = []
        self._before: NDArray[np.float32] | None = None

    def frame(self, view: View, beside: View | None) -> None:
        if not self._pick(view.time_s):
            return
        image = self._backbone.image(view.rgb)
        self._scores.append(clip_score(image[None], self._text))
        if self._before is not None:
            self._turns.append(float(np.dot(self._before.astype(np.float64), image)))
        self._before = image

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        turns = self._turns
        return {
            "": float(np.mean(self._scores)),
            "frame_consistency": bounded(float(np.mean(turns)), -1.0, 1.0)
            if turns
            else "1 frame was looked at: consistency needs two",
        }
