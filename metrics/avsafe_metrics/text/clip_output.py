"""CLIPout: how well the pictures of an edited clip go with the text of what was wanted.

Legend: ``k`` frames looked at, ``d`` features of length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.text.clip_directional import target_of
from avsafe_metrics.text.shared import ClipMetric, Pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe_metrics.text.clip_backbone import ClipBackbone


def output_similarity(images: NDArray[Any], text: NDArray[Any]) -> float:
    """Mean cosine of pictures (k, d) to a text (d,), all of length 1; -1 to 1, higher is closer.

    >>> output_similarity(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0]))
    0.5
    """
    return float(np.mean(images.astype(np.float64) @ text))


class ClipOutput(ClipMetric):
    """CLIPout of Emu Edit (Sheynin et al. 2023, arXiv:2311.10089, section 5): cosine of the edited
    picture and the caption of the result; mean over frames. Needs no source.

    The caption is the text ``target_prompt`` where the sample has one, else its prompt.
    """

    info = MetricInfo(
        name="clip_output",
        version="1",
        title="CLIPout",
        columns=(Column("", "", "higher", "cosine of frame and target text", -1.0, 1.0),),
        wants=("rgb",),
        family="text",
        texts=("prompt",),
        weights=("clip",),
        source="Emu Edit (arXiv:2311.10089), CLIPout; mean over frames",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(self.backbone, target_of(clip.sample), self.frames_per_s)


class _Meter(QuietMeter):
    def __init__(self, backbone: ClipBackbone, target: str, frames_per_s: float | None) -> None:
        self._backbone, self._pick = backbone, Pick(frames_per_s)
        self._text = backbone.texts([target])[0]
        self._values: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            image = self._backbone.image(view.rgb)
            self._values.append(output_similarity(image[None], self._text))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": float(np.mean(self._values))}
