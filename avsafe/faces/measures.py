"""What landmarks say of a face: how far the mouth and the eyes are open, how the head is turned.

Legend: functions take one Landmarks, or points (..., 152, 2) px, and give arrays of the leading
shape; NaN points give NaN. Openings are lengths divided by lengths: no pixels, no distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces.alignment import template
from avsafe.faces.points import GROUPS, Landmarks, five_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.faces.points import Points

    Values = NDArray[np.float64]
else:
    Points = Values = Any


def _points(face: Landmarks | Points) -> Points:
    return face.points if isinstance(face, Landmarks) else np.asarray(face)


def _length(a: Points, b: Points) -> Values:
    return np.asarray(np.hypot(*np.moveaxis(np.asarray(a, np.float64) - b, -1, 0)))


def _gap(points: Points, group: str, pairs: int) -> Values:
    """Mean distance between the lower and the upper edge of a closed contour, ``pairs`` places
    around its middle; the contour runs below from corner to corner and back above.
    """
    contour = points[..., list(GROUPS[group]), :]
    count = contour.shape[-2]
    middle, reach = count // 4, pairs // 2
    below = [middle + k for k in range(-reach, reach + 1)]
    above = [count - place for place in below]
    return np.asarray(_length(contour[..., below, :], contour[..., above, :]).mean(-1))


def mouth_opening(face: Landmarks | Points) -> Values:
    """Height of the gap between the lips over the distance between the corners of the mouth.

    0 closed, about 0.3 an open vowel, above 0.7 a shout; the mean of five places around the middle.
    """
    points = _points(face)
    lips = points[..., list(GROUPS["lips_inner"]), :]
    return np.asarray(
        _gap(points, "lips_inner", 5) / (_length(lips[..., 0, :], lips[..., 10, :]) + 1e-6)
    )


def mouth_width(face: Landmarks | Points) -> Values:
    """Distance between the corners of the mouth over the distance between the eyes: about 0.6 at
    rest, less when rounded or in profile, more in a smile.
    """
    points = _points(face)
    lips, five = points[..., list(GROUPS["lips_outer"]), :], five_of(points)
    eyes = _length(five[..., 0, :], five[..., 1, :])
    return np.asarray(_length(lips[..., 0, :], lips[..., 10, :]) / (eyes + 1e-6))


def eye_opening(face: Landmarks | Points) -> tuple[Values, Values]:
    """(the person's left, right): gap between the lids over the width of the eye.

    Below about 0.12 an eye is closed, 0.25 to 0.4 open. After Soukupova & Cech 2016 (eye aspect
    ratio), with five places instead of two.
    """
    points = _points(face)
    values = []
    for group in ("left_eye", "right_eye"):
        eye = points[..., list(GROUPS[group]), :]
        width = _length(eye[..., 0, :], eye[..., 8, :])
        values.append(np.asarray(_gap(points, group, 5) / (width + 1e-6)))
    return values[0], values[1]


@dataclass(frozen=True)
class HeadPose:
    """How a head is turned, in degrees; all 0 looks straight into the camera.

    yaw: positive when the face looks to the right of the picture. pitch: positive when it looks
    down. roll: positive when the head leans clockwise as one sees it. ``scale``: distance between
    the eyes in px, as it would be from the front.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float


_NOWHERE = HeadPose(float("nan"), float("nan"), float("nan"), float("nan"))

# Points that lie on bone: neither the mouth nor the jaw nor the lids move them.
_FIRM = (
    *(GROUPS["nose_bridge"]),
    *(GROUPS["nose_base"]),
    *(GROUPS[eye][k] for eye in ("left_eye", "right_eye") for k in (0, 8)),
    *(GROUPS["oval"][k] for k in range(-9, 10)),  # from ear to ear over the forehead
)


def head_pose(face: Landmarks | Points) -> HeadPose:
    """Turn of the head from one face's landmarks (152, 2), by an orthographic camera.

    The mean face in three dimensions is laid under the firm points (nose, corners of the eyes,
    forehead to ears) by least squares, and the nearest turn taken from that. The zero of pitch is a
    face whose forehead and chin are equally far. NaN for points that are not finite.
    """
    points = np.asarray(_points(face), np.float64)
    firm = list(_FIRM)
    if points.shape != (len(template()), 2) or not np.isfinite(points[firm]).all():
        return _NOWHERE
    model = template()[firm].astype(np.float64)
    model = model - model.mean(0)
    image = points[firm] - points[firm].mean(0)
    camera = np.linalg.lstsq(model, image, rcond=None)[0].T  # (2, 3)
    u, s, vt = np.linalg.svd(camera, full_matrices=False)
    if s[0] < 1e-9:
        return _NOWHERE
    turn = np.vstack([u @ vt, np.cross(*(u @ vt))])  # the nearest rotation, face -> camera
    # Read as Rz(roll) Ry(-yaw) Rx(pitch) with x right, y down, z away from the viewer.
    yaw = np.arcsin(np.clip(turn[2, 0], -1, 1))
    pitch = np.arctan2(turn[2, 1], turn[2, 2])
    roll = np.arctan2(turn[1, 0], turn[0, 0])
    degrees = np.degrees([yaw, pitch, roll]).tolist()
    return HeadPose(degrees[0], degrees[1], degrees[2], float(s.mean()))
