"""Faces as 128 numbers each: dlib's recognition network (King 2017, CC0) on faces found by avsafe.

Legend: ``k`` faces; a picture is (h, w, 3) uint8 RGB, a chip (150, 150, 3) likewise. Two faces of
one person lie nearer than two people do, by Euclidean distance.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra
from avsafe.types import EmbedderInfo, Features, Frame, Media, Picture, Samples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from avsafe.faces import Landmarks

SIDE = 150
DIMENSIONS = 128
# Outer and inner corner of the eye on the right of the picture, of the one on the left, and the
# nose under its tip, in a face of width 1; a quarter is added on each side (dlib 20.0,
# image_transforms/interpolation.h, get_face_chip_details).
_PLACES = np.array(
    [[0.8595674595992, 0.2134981538014], [0.6460604764104, 0.2289674387677],
     [0.1205750620789, 0.2137274526848], [0.3340850613712, 0.2290642403242],
     [0.4901123135679, 0.6277975316475]]
)  # fmt: skip
_PADDING = 0.25
PLACES = ((_PADDING + _PLACES) / (2 * _PADDING + 1) * SIDE).astype(np.float32)
MIN_WIDTH = 40.0  # px of a face: below, what the network says of it is not known
LOOKS_S = 0.5  # seconds between two looks at a video
MOST_LOOKS = 8
MOST_FACES = 8  # of one picture


class DlibFace:
    """For ``avsafe.embedders``."""

    info = EmbedderInfo(
        name="dlib-face",
        version="resnet-v1",
        modality="face",
        dimensions=DIMENSIONS,
        same_below=0.45,
        other_above=0.60,
        licence="CC0-1.0",
        source="dlib_face_recognition_resnet_model_v1 (King 2017)",
    )
    extractor = "avsafe_metrics.people.dlib_face:FaceVectors"

    def prepare(self) -> None:
        """Raises MissingExtra."""
        from avsafe.faces import detector_weights

        detector_weights()
        _network()


class FaceVectors:
    """A FeatureExtractor: every face of a picture, or of some frames of a clip.

    Features ``types.LikenessEmbedder`` says.
    """

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._vectors: list[NDArray[np.float32]] = []
        self._seen_in: list[int] = []
        self._looks = 0
        self._next_s = 0.0

    def start(self, media: Media) -> None:
        """Looks are spread over the whole clip."""
        self._step_s = max(LOOKS_S, (media.duration_s or 0.0) / MOST_LOOKS)

    def wants(self, time_s: float) -> bool:
        return self._looks < MOST_LOOKS and time_s + 1e-6 >= self._next_s

    def frame(self, frame: Frame, time_s: float) -> None:
        for vector in vectors(frame):
            self._vectors.append(vector)
            self._seen_in.append(self._looks)
        self._looks += 1
        self._next_s = time_s + self._step_s

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound is not listened to."""

    def finish(self) -> Features:
        found = np.stack(self._vectors) if self._vectors else np.empty((0, DIMENSIONS), np.float32)
        return {
            "vectors": found,
            "look": np.array(self._seen_in, np.int64),
            "looks": np.array([self._looks], np.int64),
        }


def vectors(frame: Frame) -> Iterable[NDArray[np.float32]]:
    """One (128,) for each face of a picture, the surest first."""
    from avsafe.faces import detect, landmarks

    network = _network()
    for face in detect(frame)[:MOST_FACES]:
        found = landmarks(frame, face)
        yield np.asarray(network.compute_face_descriptor(chip(frame, found)), np.float32)


def chip(frame: Frame, face: Landmarks) -> Frame:
    """The face as the network learned it: five points on its places, in the least squares."""
    import cv2

    from avsafe.faces.alignment import similarity

    matrix = similarity(five(face), PLACES)
    # Warping does not average: a large face is first made about as large as the chip.
    width = float(np.hypot(*(five(face)[0] - five(face)[2])))
    shrink = max(1, int(width / 90.0))
    if shrink > 1:
        frame = np.asarray(
            cv2.resize(
                frame, (frame.shape[1] // shrink, frame.shape[0] // shrink),
                interpolation=cv2.INTER_AREA,
            )
        )  # fmt: skip
        matrix = matrix.copy()
        matrix[:, :2] *= shrink
    cut = cv2.warpAffine(frame, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(cut, np.uint8)


def five(face: Landmarks) -> NDArray[np.float32]:
    """dlib's five points (5, 2): corners of the eyes, the nose under its tip."""
    left, right = face.group("left_eye"), face.group("right_eye")  # the person's own
    nose = face.group("nose_base")
    return np.stack(
        [left[left[:, 0].argmax()], left[left[:, 0].argmin()], right[right[:, 0].argmin()],
         right[right[:, 0].argmax()], nose.mean(0)]
    )  # fmt: skip


@lru_cache(maxsize=1)
def _network() -> Any:
    from avsafe_metrics.sound.shipped import needed, shipped

    path = shipped(
        "face_recognition_models",
        "models/dlib_face_recognition_resnet_model_v1.dat",
        "face_recognition_models",
    )
    try:
        return needed("dlib", "dlib-bin").face_recognition_model_v1(str(path))
    except RuntimeError as error:
        raise MissingExtra(f"{path.name} is not dlib's network, or is damaged: {error}.") from error
