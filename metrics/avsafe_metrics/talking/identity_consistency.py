"""Identity consistency: how alike the face of a clip stays to itself, by an embedding network
that the user gives.

Legend: ``k`` faces, ``d`` features of length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter, bounded
from avsafe_metrics.talking.face_embedding import EmbeddedMetric, Faces
from avsafe_metrics.text.shared import Pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe_metrics.talking.face_embedding import FaceEmbedder


def self_similarity(faces: NDArray[np.float32]) -> float:
    """Mean cosine over all pairs of faces (k, d), k >= 2.

    >>> x, y = np.eye(2, dtype=np.float32)
    >>> round(self_similarity(np.stack([x, x, y])), 6)
    0.333333
    """
    k = len(faces)
    whole = float(np.sum(faces.astype(np.float64).sum(0) ** 2))
    own = float(np.sum(faces.astype(np.float64) ** 2))
    return (whole - own) / (k * (k - 1))


class IdentityConsistency(EmbeddedMetric):
    """Mean cosine over all pairs of faces of one clip: whether it stays one person. As
    ``identity_similarity``, without a reference."""

    info = MetricInfo(
        name="identity_consistency",
        version="1",
        title="Identity consistency",
        columns=(Column("", "", "higher", "cosine over pairs of the clip's faces", -1.0, 1.0),),
        wants=("rgb",),
        family="talking",
        weights=("face",),
        source="mean pairwise cosine with a network that the user gives; faces by CenterFace",
    )

    def open(self, clip: Clip) -> _Within:
        return _Within(self.embedder, self.frames_per_s)


class _Within(QuietMeter):
    def __init__(self, embedder: FaceEmbedder, frames_per_s: float | None) -> None:
        self._pick, self._clip = Pick(frames_per_s), Faces(embedder, "clip")

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            self._clip.take(view.rgb)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        vectors = self._clip.vectors()
        if len(vectors) < 2:
            raise Unscorable("1 face was looked at: consistency needs two")
        return {"": bounded(self_similarity(vectors), -1.0, 1.0)}
