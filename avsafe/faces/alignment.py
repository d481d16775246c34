"""Similarity transforms between a frame, the mean face and an upright crop.

Legend: a matrix is (2, 3) float32, ``[x', y'] = matrix @ [x, y, 1]`` in pixels; the template is the
mean face, (152, 3) in distances between the eyes: x to the person's left, y down, z away from the
viewer, its origin at the mean of all points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.faces.points import GROUPS, Face, Landmarks, five_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from avsafe.faces.points import Points
    from avsafe.types import Frame

    Matrix = NDArray[np.float32]  # (2, 3)
else:
    Points = Matrix = Any

FILL = 0.72  # height of the mean face's oval in a crop: room for hats, chins and wrong boxes


@lru_cache(maxsize=1)
def weights() -> Mapping[str, NDArray[Any]]:
    """The arrays of the landmark model and its template, float32."""
    from safetensors.numpy import load_file

    stored = load_file(Path(__file__).with_name("weights") / "landmarks.safetensors")
    return {name: value.astype(np.float32) for name, value in stored.items()}


def template() -> NDArray[np.float32]:
    """The mean face in three dimensions, (152, 3), in distances between the eyes."""
    return np.asarray(weights()["template"])


def similarity(source: Points, target: Points) -> Matrix:
    """The shift, turn and scale that brings points (n, 2) nearest to others in the mean square.

    Umeyama 1991, equation 40 to 42, in two dimensions and without reflection. Points that all lie
    in one place give a matrix of scale 1.

    >>> import numpy as np
    >>> square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    >>> np.abs(similarity(square, 2 * square + 3)).round(3).tolist()
    [[2.0, 0.0, 3.0], [0.0, 2.0, 3.0]]
    """
    a = np.asarray(source, np.float64)
    b = np.asarray(target, np.float64)
    mean_a, mean_b = a.mean(0), b.mean(0)
    za = (a - mean_a) @ np.array([1, 1j])
    zb = (b - mean_b) @ np.array([1, 1j])
    power = float(np.vdot(za, za).real)
    turn = complex(np.vdot(za, zb) / power) if power > 1e-12 else 1 + 0j
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, mean_b - linear @ mean_a]).astype(np.float32)


def inverse(matrix: Matrix) -> Matrix:
    """The matrix that undoes a similarity. Raises UsageError when it has no size."""
    linear = matrix[:, :2].astype(np.float64)
    if abs(np.linalg.det(linear)) < 1e-12:
        raise UsageError("the face has no size: its points lie in one place")
    back = np.linalg.inv(linear)
    return np.column_stack([back, -back @ matrix[:, 2]]).astype(np.float32)


def moved(points: Points, matrix: Matrix) -> Points:
    """Points (..., 2) through a matrix."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


@lru_cache(maxsize=8)
def upright(size: int, fill: float = FILL) -> Points:
    """Where the landmarks of the mean face lie in a crop of ``size`` px, (152, 2)."""
    flat = template()[:, :2]
    oval = flat[list(GROUPS["oval"])]
    low, high = oval.min(0), oval.max(0)
    scale = fill * size / (high[1] - low[1])
    placed = (flat - (low + high) / 2) * scale + (size - 1) / 2
    placed.setflags(write=False)
    return np.asarray(placed, np.float32)


def crop_matrix(face: Landmarks | Face, size: int, fill: float = FILL) -> Matrix:
    """Frame -> crop, from all landmarks, or from the five points of a detection. Raises UsageError
    for points that lie in one place or nowhere.
    """
    if not np.isfinite(face.points).all():
        raise UsageError("the face has points that are not finite numbers")
    if float(np.ptp(face.points, axis=0).max()) < 0.5:
        raise UsageError("the face has no size: its points lie in one place")
    if isinstance(face, Landmarks):
        return similarity(face.points, upright(size, fill))
    return similarity(face.points, five_of(upright(size, fill)))


@dataclass(frozen=True, eq=False)
class AlignedCrop:
    """An upright face: the picture, and the matrix that brought it there from the frame."""

    picture: Frame  # (size, size, 3)
    matrix: Matrix  # (2, 3), frame -> crop; ``inverse(matrix)`` leads back

    def back(self, points: Points) -> Points:
        """Points (n, 2) of the crop in px of the frame."""
        return moved(points, inverse(self.matrix))


def aligned_crop(
    frame: Frame, face: Landmarks | Face, size: int = 128, *, fill: float = FILL
) -> AlignedCrop:
    """The face turned upright in a square of ``size`` px, where the oval of a mean face is
    ``fill`` times as high as the square. What lies outside the frame is grey.

    Raises UsageError for a frame of another kind, or a face without size.
    """
    from avsafe.faces.detection import check_frame

    check_frame(frame)
    if not 8 <= size <= 4096 or not 0.1 <= fill <= 2:
        raise UsageError(f"size={size}, fill={fill}: expected 8 to 4096 px and 0.1 to 2")
    matrix = crop_matrix(face, size, fill)
    return AlignedCrop(warped(frame, matrix, size), matrix)


def warped(frame: Frame, matrix: Matrix, size: int) -> Frame:
    """The part of a frame that a matrix brings into a square; shrinking averages pixels."""
    import cv2

    if not np.isfinite(matrix).all():
        raise UsageError("the face has points that are not finite numbers")
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2].astype(np.float64)))))
    if scale < 1e-6:
        raise UsageError("the face has no size: its points lie in one place")
    height, width = frame.shape[:2]
    corners = moved(
        np.array([(0, 0), (size, 0), (0, size), (size, size)], np.float32), inverse(matrix)
    )
    # Only the part that is needed is touched: cv2 refuses sides above 32,767 px.
    x0, y0 = (int(v) for v in np.clip(np.floor(corners.min(0)) - 2, 0, [width - 1, height - 1]))
    x1, y1 = (
        int(v) for v in np.clip(np.ceil(corners.max(0)) + 3, [x0 + 1, y0 + 1], [width, height])
    )
    part = frame[y0:y1, x0:x1]
    local = matrix.astype(np.float64)
    local[:, 2] += local[:, :2] @ [x0, y0]
    if scale < 0.5:  # halving by areas first, or the warp would skip pixels
        step = int(1 / scale)
        small_h, small_w = max(1, part.shape[0] // step), max(1, part.shape[1] // step)
        ratio = np.array([part.shape[1] / small_w, part.shape[0] / small_h])
        shrunk = cv2.resize(part, (small_w, small_h), interpolation=cv2.INTER_AREA)
        part = np.asarray(shrunk, np.uint8)
        local[:, 2] += local[:, :2] @ ((ratio - 1) / 2)
        local[:, :2] *= ratio
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(part),
            local,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(127, 127, 127),
        ),
        np.uint8,
    )


def from_five_points(points: Sequence[Sequence[float]] | Points) -> Landmarks:
    """Landmarks without any model: the mean face laid on five points that a person gave.

    ``points`` are the eye on the left of the picture, the eye on the right, the tip of the nose,
    the corners of the mouth on the left and on the right, in px. A mean face is only near the
    true one: the mouth is moved to its corners, everything else follows one similarity. Raises
    UsageError for anything but five separate finite points.

    >>> face = from_five_points([(40, 50), (80, 50), (60, 75), (45, 95), (75, 95)])
    >>> round(face.interocular, 1)
    40.0
    """
    try:
        five = np.asarray(points, np.float32)
    except (TypeError, ValueError):
        five = np.empty(0, np.float32)
    if five.shape != (5, 2) or not np.isfinite(five).all():
        raise UsageError(
            "expected five points (x, y): both eyes, tip of the nose, both corners of the mouth"
        )
    if np.hypot(*(five[1] - five[0])) < 1 or np.hypot(*(five[4] - five[3])) < 1:
        raise UsageError("the two eyes, or the two corners of the mouth, lie in one place")
    mean = np.asarray(template()[:, :2], np.float32)
    laid = moved(mean, similarity(five_of(mean), five))
    laid = _with_part(laid, (*GROUPS["lips_outer"], *GROUPS["lips_inner"]), (3, 4), five)
    for eye, brow, place in (("right_eye", "right_brow", 0), ("left_eye", "left_brow", 1)):
        laid = _with_part(laid, (*GROUPS[eye], *GROUPS[brow]), (place,), five)
    return Landmarks(_with_part(laid, (*GROUPS["nose_bridge"], *GROUPS["nose_base"]), (2,), five))


def _with_part(laid: Points, places: Sequence[int], which: tuple[int, ...], five: Points) -> Points:
    """Some points moved so that some of the five lie exactly where they were given."""
    here = five_of(laid)[list(which)]
    result = laid.copy()
    rows = list(places)
    if len(which) > 1:
        result[rows] = moved(laid[rows], similarity(here, five[list(which)]))
    else:
        result[rows] = laid[rows] + (five[which[0]] - here[0])
    return result
