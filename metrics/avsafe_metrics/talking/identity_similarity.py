"""Identity similarity: how alike the face of a clip and that of its source are, by an embedding
network that the user gives.

Legend: ``k`` faces, ``d`` features of length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter, bounded
from avsafe_metrics.talking.face_embedding import EmbeddedMetric, Faces
from avsafe_metrics.text.shared import Pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe_metrics.talking.face_embedding import FaceEmbedder


def similarity_to(faces: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Mean cosine of faces (k, d) to the mean of the reference's (j, d); -1 to 1, higher is more
    alike. With one reference picture this is the CSIM of re-enactment papers.

    >>> x, y = np.eye(2, dtype=np.float32)
    >>> similarity_to(np.stack([x, y]), x[None])
    0.5
    """
    mean = reference.astype(np.float64).mean(0)
    return float(np.mean(faces.astype(np.float64) @ mean) / max(float(np.linalg.norm(mean)), 1e-12))


class IdentitySimilarity(EmbeddedMetric):
    """Mean cosine of the clip's face to the source's: the portrait that was made to speak, or a
    clip of the person.

    The largest face of ``frames_per_s`` frames a second (2) is found, laid on ArcFace's places by
    its five points and embedded. What counts as alike depends on the network: quote it.
    """

    info = MetricInfo(
        name="identity_similarity",
        version="1",
        title="Identity similarity",
        columns=(Column("", "", "higher", "cosine to the source's face", -1.0, 1.0),),
        wants=("rgb",),
        family="talking",
        beside="source",
        weights=("face",),
        source="CSIM with a network that the user gives (ArcFace, arXiv:1801.07698); faces by "
        "CenterFace",
    )

    def open(self, clip: Clip) -> _Against:
        return _Against(self.embedder, self.frames_per_s)


class _Against(QuietMeter):
    def __init__(self, embedder: FaceEmbedder, frames_per_s: float | None) -> None:
        self._pick = Pick(frames_per_s)
        self._clip, self._source = (Faces(embedder, what) for what in ("clip", "source"))

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            self._clip.take(view.rgb)
            if beside is not None:
                self._source.take(beside.rgb)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        value = similarity_to(self._clip.vectors(), self._source.vectors())
        return {"": bounded(value, -1.0, 1.0)}
