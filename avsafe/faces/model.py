"""Landmarks of one face: our own small network on an upright crop, looked at three times.

Legend: points are (152, 2) px in the frame. The first look lies on the detector's five points; the
second on the landmarks of the first, and once more in the mirror. The answer is the mean of the
last two; how far they lie apart is the ``doubt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.faces.alignment import crop_matrix, inverse, moved, warped, weights
from avsafe.faces.detection import check_frame
from avsafe.faces.network import SIZE, forward
from avsafe.faces.points import MIRROR, Face, Landmarks

if TYPE_CHECKING:
    from avsafe.types import Frame


def landmarks(frame: Frame, face: Face | Landmarks) -> Landmarks:
    """The 152 landmarks of a face that was found, or that was there a frame before.

    Source: MediaPipe Face Mesh's points, learned by a network of our own (docs/faces.md has its
    accuracy). Raises UsageError for a frame that is none, or a face without size.
    """
    check_frame(frame)
    matrix = crop_matrix(face, SIZE)
    first = moved(forward(warped(frame, matrix, SIZE)[None], weights())[0], inverse(matrix))
    if not Landmarks(first).interocular > 0.5:  # a network's answer on pixels that hold nothing
        return Landmarks(first, doubt=float("inf"))
    matrix = crop_matrix(Landmarks(first), SIZE)
    crop = warped(frame, matrix, SIZE)
    straight, mirrored = forward(np.stack([crop, crop[:, ::-1]]), weights())
    mirrored = mirrored[list(MIRROR)] * np.array([-1, 1], np.float32)
    mirrored[:, 0] += SIZE - 1
    second = Landmarks(moved((straight + mirrored) / 2, inverse(matrix)))
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2].astype(np.float64)))))
    apart = float(np.hypot(*(straight - mirrored).T).mean()) / scale
    return Landmarks(second.points, doubt=apart / max(second.interocular, 1e-3))
