"""CLIPdir: whether an edit changed the pictures the way its texts changed.

Legend: ``d`` features of length 1; a change is the difference of two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Sample
from avsafe_metrics.text.shared import ClipMetric, PairMeter, cosine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame
    from avsafe_metrics.text.clip_backbone import ClipBackbone

SAME = 1e-6  # a change of features below this is none


def directional_similarity(
    source: NDArray[Any], edited: NDArray[Any], text_source: NDArray[Any], text_target: NDArray[Any]
) -> float:
    """Cosine of the change of pictures and the change of texts, all (d,) of length 1; -1 to 1,
    higher follows the text better; 0 where the picture did not change, as in the published code.

    >>> x, y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    >>> round(directional_similarity(x, y, x, y), 6)
    1.0
    """
    change = edited.astype(np.float64) - source
    if float(np.linalg.norm(change)) < SAME:
        return 0.0
    return cosine(change, text_target.astype(np.float64) - text_source)


def target_of(sample: Sample) -> str:
    """The text of the result: ``target_prompt``, or the prompt where there is none.

    >>> target_of(Sample("a", {}, "make it snow", texts={"target_prompt": "a town in snow"}))
    'a town in snow'
    """
    target = sample.texts.get("target_prompt", "")
    return target if target.strip() else sample.text


class ClipDirectional(ClipMetric):
    """CLIPdir (Gal et al. 2021, arXiv:2108.00946, equation 2; used on edits by Brooks et al. 2022,
    arXiv:2211.09800, and Emu Edit); mean over frames, each with the one that the source shows then.

    Needs the text ``source_prompt`` (what the source shows) and ``target_prompt`` (what the result
    should show), or the prompt in its place: captions, not an instruction.
    """

    info = MetricInfo(
        name="clip_directional",
        version="1",
        title="CLIPdir",
        columns=(Column("", "", "higher", "cosine of change in picture and text", -1.0, 1.0),),
        wants=("rgb",),
        family="text",
        beside="source",
        texts=("prompt", "source_prompt"),
        weights=("clip",),
        source="Gal et al. 2021 (arXiv:2108.00946), eq. 2; Brooks et al. 2022 (arXiv:2211.09800); "
        "mean over frames",
    )

    def open(self, clip: Clip) -> _Meter:
        source = clip.sample.texts["source_prompt"]
        return _Meter(self.backbone, source, target_of(clip.sample), self.frames_per_s)


class _Meter(PairMeter):
    def __init__(
        self, backbone: ClipBackbone, source: str, target: str, frames_per_s: float | None
    ) -> None:
        super().__init__(frames_per_s)
        self._backbone = backbone
        self._texts = backbone.texts([source, target])
        if float(np.linalg.norm(self._texts[1] - self._texts[0])) < SAME:
            raise Unscorable("source prompt and prompt are the same text: there is no direction")
        self._changed = False

    def compare(self, edited: Frame, source: Frame) -> float:
        before, after = self._backbone.image(source), self._backbone.image(edited)
        self._changed |= not float(np.linalg.norm(after - before)) < SAME  # NaN is a change too
        return directional_similarity(before, after, self._texts[0], self._texts[1])

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        values = super().finish(gathered)
        if not self._changed:
            raise Unscorable("no frame differs from the source: the edit has no direction")
        return values
