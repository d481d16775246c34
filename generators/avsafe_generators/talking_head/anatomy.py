"""The head as numbers: pose, and facial motion in a frame of reference that moves with the head.

Legend: ``t`` frames, ``p`` = 152 landmarks (``avsafe.faces.MESH_INDEX``), lengths in distances
between the eyes, angles in radians. Picture axes: x to the right, y down; z towards the viewer.
Yaw and roll are positive to the right of the picture and clockwise; pitch is positive upwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS, MESH_INDEX

Double = NDArray[np.float64]

PLACE = {mesh: place for place, mesh in enumerate(MESH_INDEX)}
LIPS = (*GROUPS["lips_outer"], *GROUPS["lips_inner"])
BROWS = (*GROUPS["left_brow"], *GROUPS["right_brow"])
CORNERS = (PLACE[61], PLACE[291])
# lids above and below, in pairs that meet when the eye closes
LIDS = {
    "right_eye": ((PLACE[159], PLACE[145]), (PLACE[158], PLACE[153]), (PLACE[160], PLACE[144])),
    "left_eye": ((PLACE[386], PLACE[374]), (PLACE[385], PLACE[380]), (PLACE[387], PLACE[373])),
}
EYE_CORNERS = [PLACE[mesh] for mesh in (33, 133, 362, 263)]
NOSE = [*GROUPS["nose_bridge"], *GROUPS["nose_base"]]
EYES = [*GROUPS["left_eye"], *GROUPS["right_eye"]]
INNER_LIPS = ((PLACE[13], PLACE[14]), (PLACE[82], PLACE[87]), (PLACE[312], PLACE[317]))

MOUTH = 10  # principal components of lips and jaw
BROW = 2
# the channels of the motion latents, in their order
YAW, PITCH, ROLL, BLINK = range(4)
BROW_AT = slice(4, 4 + BROW)
MOUTH_AT = slice(4 + BROW, 4 + BROW + MOUTH)
CHANNELS = 4 + BROW + MOUTH


def rotation(yaw: Any, pitch: Any, roll: Any) -> NDArray[np.float64]:
    """``R = roll · pitch · yaw``: angles (...,) -> (..., 3, 3).

    >>> rotation(0.0, 0.0, 0.0).round(3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    yaw, pitch, roll = (np.asarray(angle, np.float64) for angle in (yaw, pitch, roll))
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(*entries: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(entries, -1).reshape(*yaw.shape, 3, 3)

    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turn = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    nod = matrix(one, zero, zero, zero, cp, -sp, zero, sp, cp)
    tilt = matrix(cr, -sr, zero, sr, cr, zero, zero, zero, one)
    out: NDArray[np.float64] = tilt @ nod @ turn
    return out


def opening(points: NDArray[Any]) -> NDArray[Any]:
    """How far the lips stand apart on the inside: (..., p, 2) -> (...,), in the points' unit."""
    above, below = (list(side) for side in zip(*INNER_LIPS, strict=True))
    out: NDArray[Any] = (points[..., below, 1] - points[..., above, 1]).mean(-1)
    return out


def lid_gap(points: NDArray[Any]) -> NDArray[Any]:
    """How far the lids of both eyes stand apart: (..., p, 2) -> (...,)."""
    pairs = [pair for eye in LIDS.values() for pair in eye]
    above, below = (list(side) for side in zip(*pairs, strict=True))
    out: NDArray[Any] = (points[..., below, 1] - points[..., above, 1]).mean(-1)
    return out


def mouth_width(points: NDArray[Any]) -> NDArray[Any]:
    """Between the corners of the mouth: (..., p, 2) -> (...,)."""
    left, right = CORNERS
    out: NDArray[Any] = np.hypot(
        points[..., right, 0] - points[..., left, 0], points[..., right, 1] - points[..., left, 1]
    )
    return out


def corner_lift(points: NDArray[Any]) -> NDArray[Any]:
    """How high the corners of the mouth lie above the middle of the lips: (..., p, 2) -> (...,)."""
    middle = points[..., [PLACE[0], PLACE[17]], 1].mean(-1)
    out: NDArray[Any] = middle - points[..., list(CORNERS), 1].mean(-1)
    return out


def pose_weights(mean: Double) -> Double:
    """How much each landmark says of the pose: nose, eye corners and upper outline, hardly lips."""
    weight = np.full(len(mean), 1e-3)
    weight[[place for place in GROUPS["oval"] if mean[place, 1] < 0.9]] = 1.0
    weight[NOSE] = 1.5
    weight[EYES] = 0.3
    weight[EYE_CORNERS] = 2.0
    weight /= weight.sum()
    return weight


def solve_pose(track: Double, shape: Double, weight: Double) -> tuple[Double, Double, Double]:
    """Weak perspective, ``track ≈ scale · R[:2] · shape + shift``, by Gauss-Newton.

    ``shape`` (p, 3). Returns yaw, pitch, roll (t, 3), scale (t,), shift (t, 2).
    """
    centre = weight @ shape
    body = shape - centre
    middle = np.einsum("tni,n->ti", track, weight)
    seen = track - middle[:, None]
    spread = np.einsum("ni,nj,n->ij", body, body, weight)
    affine = np.einsum("tni,nj,n->tij", seen, body, weight) @ np.linalg.inv(spread)
    u, _, vt = np.linalg.svd(affine, full_matrices=False)
    first = u @ vt
    third = np.cross(first[:, 0], first[:, 1])
    angles = np.stack(
        [
            np.arctan2(-third[:, 0], third[:, 2]),
            np.arcsin(np.clip(third[:, 1], -1, 1)),
            np.arctan2(-first[:, 0, 1], first[:, 1, 1]),
        ],
        axis=1,
    )

    def project(at: Double) -> Double:
        return np.asarray(np.einsum("tij,nj->tni", rotation(*at.T)[:, :2], body))

    def fit_scale(drawn: Double) -> Double:
        above = np.einsum("tni,tni,n->t", drawn, seen, weight)
        return np.asarray(above / np.einsum("tni,tni,n->t", drawn, drawn, weight))

    step = 1e-4
    for _ in range(6):
        drawn = project(angles)
        scale = fit_scale(drawn)[:, None, None]
        slopes = [(project(angles + step * axis) - drawn) / step * scale for axis in np.eye(3)]
        jacobian = np.stack([*slopes, drawn], -1)
        left = np.einsum("tnik,tnil,n->tkl", jacobian, jacobian, weight) + 1e-9 * np.eye(4)
        right = np.einsum("tnik,tni,n->tk", jacobian, seen - drawn * scale, weight)
        change = np.linalg.solve(left, right[..., None])[:, :3, 0]
        angles = angles + np.clip(change, -0.3, 0.3)
    scale = fit_scale(project(angles))
    shift = middle - scale[:, None] * (rotation(*angles.T)[:, :2] @ centre)
    return angles, scale, shift
