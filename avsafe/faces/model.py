"""Landmarks of one face: our own small network on an upright crop, looked at twice.

Legend: points are (152, 2) px in the frame. The first look lies on the detector's five points, the
second on the landmarks of the first; how far the two lie apart is the ``doubt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import UsageError
from avsafe.faces.alignment import crop_matrix, inverse, moved, warped, weights
from avsafe.faces.detection import check_frame
from avsafe.faces.network import SIZE, forward
from avsafe.faces.points import Face, Landmarks, Points

if TYPE_CHECKING:
    from avsafe.types import Frame


def landmarks(frame: Frame, face: Face | Landmarks) -> Landmarks:
    """The 152 landmarks of a face that was found, or that was there a frame before.

    Source: MediaPipe Face Mesh's points, learned by a network of our own (docs/faces.md has its
    accuracy). Raises UsageError for a frame that is none, or a face without size.
    """
    check_frame(frame)
    if not np.isfinite(face.points).all():
        raise UsageError("the face has points that are not finite numbers")
    first = Landmarks(_look(frame, face))
    if not first.interocular > 0.5:  # a network's answer on pixels that hold nothing
        return Landmarks(first.points, doubt=float("inf"))
    second = Landmarks(_look(frame, first))
    apart = np.hypot(*(second.points - first.points).T)
    return Landmarks(second.points, doubt=float(np.mean(apart) / max(second.interocular, 1e-3)))


def _look(frame: Frame, face: Face | Landmarks) -> Points:
    matrix = crop_matrix(face, SIZE)
    crop = warped(frame, matrix, SIZE)
    return moved(forward(crop[None], weights())[0], inverse(matrix))
