"""Identity similarity: how alike the face of a clip and that of its reference are, and how alike
a clip's face stays to itself, by an embedding network that the user gives.

Legend: ``k`` faces, ``d`` features of length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, Meter, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.talking import face_embedding
from avsafe_metrics.talking.tracks import ALONE_SHARE, SEEN_SHARE
from avsafe_metrics.text.shared import FRAMES_PER_S, Pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe.types import Frame
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


class _Faces:
    """The faces of some frames of one stream."""

    def __init__(self, embedder: FaceEmbedder, what: str) -> None:
        self._embedder, self._what = embedder, what
        self._vectors: list[NDArray[np.float32]] = []
        self._looked = self._several = 0
        self._last: Frame | None = None

    def take(self, frame: Frame) -> None:
        if frame is self._last:  # a still that plays beside
            return
        self._last = frame
        self._looked += 1
        face, count = face_embedding.main_face(frame)
        if face is not None:
            self._several += count > 1
            self._vectors.append(self._embedder.vector(frame, face))

    def vectors(self) -> NDArray[np.float32]:
        """(k, d); Unscorable with the reason where there are too few."""
        seen = len(self._vectors)
        if not seen or seen < SEEN_SHARE * self._looked:
            raise Unscorable(
                f"no face in {self._looked - seen} of {self._looked} frames of the {self._what}"
            )
        if self._several > (1 - ALONE_SHARE) * seen:
            raise Unscorable(
                f"several people: more than one face in {self._several} of {seen} frames of the "
                f"{self._what}"
            )
        return np.stack(self._vectors)


class _Embedded:
    info: MetricInfo

    def __init__(
        self, weights: Mapping[str, str] | None = None, frames_per_s: float | None = FRAMES_PER_S
    ) -> None:
        self._path, self.frames_per_s = dict(weights or {}).get("face", ""), frames_per_s
        self._embedder: FaceEmbedder | None = None
        Pick(frames_per_s)

    def prepare(self) -> None:
        if not self._path:
            raise MissingExtra(
                'no weights "face" were given, and avsafe has none: it knows nobody. Give the path '
                'of an ONNX face embedding network, as in weights: {face: "arcface.onnx"}, or use '
                "face_geometry_drift, which needs none."
            )
        from avsafe.faces import detector_weights

        detector_weights()
        self._embedder = face_embedding.load(self._path)

    @property
    def embedder(self) -> FaceEmbedder:
        if self._embedder is None:
            self._embedder = face_embedding.load(self._path)
        return self._embedder

    def digests(self) -> Mapping[str, str]:
        return self.embedder.digests

    def open(self, clip: Clip) -> Meter:
        raise NotImplementedError


class IdentitySimilarity(_Embedded):
    """Mean cosine of the clip's face to the reference's (a portrait, or a clip of the person).

    The largest face of ``frames_per_s`` frames a second (2) is found, laid on ArcFace's places by
    its five points and embedded. What counts as alike depends on the network: quote it.
    """

    info = MetricInfo(
        name="identity_similarity",
        version="1",
        title="Identity similarity",
        columns=(Column("", "", "higher", "cosine to the reference's face", -1.0, 1.0),),
        wants=("rgb",),
        family="talking",
        beside="reference",
        weights=("face",),
        source="CSIM with a network that the user gives (ArcFace, arXiv:1801.07698); faces by "
        "CenterFace",
    )

    def open(self, clip: Clip) -> _Against:
        return _Against(self.embedder, self.frames_per_s)


class _Against(QuietMeter):
    def __init__(self, embedder: FaceEmbedder, frames_per_s: float | None) -> None:
        self._pick = Pick(frames_per_s)
        self._clip, self._reference = (_Faces(embedder, what) for what in ("clip", "reference"))

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            self._clip.take(view.rgb)
            if beside is not None:
                self._reference.take(beside.rgb)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        value = similarity_to(self._clip.vectors(), self._reference.vectors())
        return {"": min(1.0, max(-1.0, value))}


class IdentityConsistency(_Embedded):
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
        self._pick, self._clip = Pick(frames_per_s), _Faces(embedder, "clip")

    def frame(self, view: View, beside: View | None) -> None:
        if self._pick(view.time_s):
            self._clip.take(view.rgb)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        vectors = self._clip.vectors()
        if len(vectors) < 2:
            raise Unscorable("1 face was looked at: consistency needs two")
        return {"": min(1.0, max(-1.0, self_similarity(vectors)))}
