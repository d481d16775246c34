"""An embedding network for faces that the user gives: a face as one unit vector.

Legend: ``d`` features; a picture is (h, w, 3) uint8 RGB, a crop (112, 112, 3) likewise.

avsafe has no such weights and learns none: a project that measures its own clips may bring them.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.faces import Face, detect
from avsafe.faces.alignment import similarity
from avsafe.types import Clip, Meter, MetricInfo
from avsafe_metrics.talking.tracks import ALONE_SHARE, SEEN_SHARE
from avsafe_metrics.text.shared import FRAMES_PER_S, Pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

SIDE = 112
# Where ArcFace (Deng et al. 2018, arXiv:1801.07698) has eyes, nose and corners of the mouth in a
# crop of 112 px, as one sees them: left, right, nose, left, right.
PLACES = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]], np.float32,
)  # fmt: skip


def face_crop(frame: Frame, points: NDArray[np.float32], side: int = SIDE) -> Frame:
    """The face with its five points laid on ArcFace's places by a similarity (least squares):
    (side, side, 3); black outside of the frame."""
    import cv2

    matrix = similarity(points, PLACES * (side / SIDE))
    crop = cv2.warpAffine(
        frame, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(crop, np.uint8)


def main_face(frame: Frame) -> tuple[Face | None, int]:
    """The largest face of a frame, and how many there are."""
    found = detect(frame)
    return max(found, key=lambda face: face.width * face.height, default=None), len(found)


class FaceEmbedder:
    """An ONNX network: input (1, 3, side, side) or (1, side, side, 3), RGB as (value - 127.5) /
    127.5, as ArcFace's; first output (1, d)."""

    def __init__(self, path: Path) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session: Any = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            (given,) = self._session.get_inputs()
        except Exception as error:
            raise MissingExtra(
                f"{path.name} is no face embedding network: {str(error)[:200]}. Expected an ONNX "
                "file with one input (1, 3, 112, 112), such as ArcFace's."
            ) from error
        shape = list(given.shape)
        self._last = len(shape) == 4 and shape[3] == 3
        side = shape[1] if self._last else shape[-1]
        self._name, self.side = given.name, side if isinstance(side, int) else SIDE
        with path.open("rb") as file:
            self.digests = {path.name: hashlib.file_digest(file, "sha256").hexdigest()}

    def vector(self, frame: Frame, face: Face) -> NDArray[np.float32]:
        """(d,) of length 1."""
        crop = face_crop(frame, face.points, self.side)
        batch = (crop[None].astype(np.float32) - 127.5) / 127.5
        if not self._last:
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        found = np.asarray(self._session.run(None, {self._name: batch})[0], np.float32).ravel()
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-12), np.float32)


@lru_cache(maxsize=1)
def load(weights: str) -> FaceEmbedder:
    """A network from the path of an ONNX file. Raises MissingExtra where it or onnxruntime is
    absent."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise MissingExtra(
            f"face embedding: there is no file {weights}. Give the path of an ONNX network, as "
            "ArcFace's; avsafe has none and fetches none."
        )
    return FaceEmbedder(path)


def _runtime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtra(
            "onnxruntime is not installed; it runs the face embedding network: "
            "pip install onnxruntime"
        ) from error


class Faces:
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
        face, count = main_face(frame)
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


class EmbeddedMetric:
    """A metric on a face embedding network: ``weights={"face": PATH}``."""

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
        self._embedder = load(self._path)

    @property
    def embedder(self) -> FaceEmbedder:
        if self._embedder is None:
            self._embedder = load(self._path)
        return self._embedder

    def digests(self) -> Mapping[str, str]:
        return self.embedder.digests

    def open(self, clip: Clip) -> Meter:
        raise NotImplementedError
