"""Which face tracks can be measured, and the head's rotation over one.

Legend: ``t`` frames, ``m`` of them measured; points are (t, 152, 2) px, NaN where no face was seen;
a rotation is (3, 3), face -> camera (x right, y down, z away).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.faces import FaceTrack, HeadPose, head_pose
from avsafe.types import Gathered

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEN_SHARE = 0.6  # of the frames need a face
ALONE_SHARE = 0.8  # of the frames with a face must show one only: else whose head is it?
LEAST_FACE = 24.0  # px between the eyes below which landmarks say little


def track_of(gathered: Gathered, min_s: float) -> FaceTrack:
    """The face track of a clip that shows one person for long enough.

    Raises Unscorable with the reason: no face, a face in too few frames, several people, a face
    that is too small, too short.
    """
    track = gathered.faces
    if track is None or not len(track):
        raise Unscorable("no face was looked for")
    seen = track.seen
    if not seen.any():
        raise Unscorable(f"no face in {len(track)} frames")
    count = int(seen.sum())
    if count < SEEN_SHARE * len(track):
        raise Unscorable(f"no face in {len(track) - count} of {len(track)} frames")
    several = int((track.faces[seen] > 1).sum())
    if several > (1 - ALONE_SHARE) * count:
        raise Unscorable(
            f"several people: up to {track.people} faces, more than one in {several} of {count} "
            "frames"
        )
    rate = float(track.frame_rate)
    if count / rate < min_s:
        raise Unscorable(
            f"{count / rate:.1f} s with a face ({count} frames); expected at least {min_s:g} s"
        )
    eyes = float(np.nanmedian(eye_distance(track.points[seen])))
    if eyes < LEAST_FACE:
        raise Unscorable(
            f"the face is too small: {eyes:.0f} px between the eyes, expected {LEAST_FACE:.0f}"
        )
    return track


def eye_distance(points: NDArray[Any]) -> NDArray[np.float64]:
    """(t,) px between the centres of the eyes."""
    from avsafe.faces.points import five_of

    five = five_of(points)
    return np.asarray(np.hypot(*np.moveaxis(five[..., 1, :] - five[..., 0, :], -1, 0)), np.float64)


def poses(points: NDArray[Any]) -> list[HeadPose]:
    """The turn of the head in each of (t, 152, 2); NaN where there is no face."""
    return [head_pose(frame) for frame in points]


def angles(points: NDArray[Any]) -> NDArray[np.float64]:
    """(t, 3) yaw, pitch, roll in degrees."""
    found = [(pose.yaw, pose.pitch, pose.roll) for pose in poses(points)]
    return np.array(found, np.float64).reshape(-1, 3)


def rotations(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """(t, 3, 3) from (t, 3) yaw, pitch, roll, as ``avsafe.faces.head_pose`` reads them:
    Rz(roll) Ry(-yaw) Rx(pitch).

    >>> rotations(np.zeros((1, 3)))[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    yaw, pitch, roll = np.radians(degrees).T
    nought, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(*rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.stack([np.stack(row, -1) for row in rows], -2)

    c, s = np.cos(roll), np.sin(roll)
    z = matrix([c, -s, nought], [s, c, nought], [nought, nought, one])
    c, s = np.cos(yaw), np.sin(yaw)
    y = matrix([c, nought, -s], [nought, one, nought], [s, nought, c])
    c, s = np.cos(pitch), np.sin(pitch)
    x = matrix([one, nought, nought], [nought, c, -s], [nought, s, c])
    return np.asarray(z @ y @ x, np.float64)


def turn_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees between rotations (t, 3, 3): the angle of the one turn that leads from a to b.

    >>> ahead = rotations(np.array([[0.0, 0.0, 0.0]]))
    >>> turn_between(ahead, rotations(np.array([[30.0, 0.0, 0.0]]))).round(6).tolist()
    [30.0]
    """
    trace = np.einsum("tij,tij->t", a, b)
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def spread(values: NDArray[Any]) -> float:
    """From the 5th to the 95th percentile: the range that single outliers do not make.

    >>> spread(np.linspace(0, 100, 101))
    90.0
    """
    low, high = np.percentile(values, (5, 95))
    return float(high - low)
