"""From landmark tracks to motion latents: what the talking head's model learns from.

Legend: ``t`` frames at 25 a second, ``p`` = 152 landmarks, ``c`` channels of motion. A track is
(t, p, 2) in any unit; canonical points are in distances between the eyes, head pose removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS, MIRROR
from avsafe_generators.talking_head import anatomy, features

Doubles = NDArray[np.float64]
_MIRROR = np.array(MIRROR)
_FLIP = np.array([-1.0, 1.0])


@dataclass
class Clip:
    """One clip, ready to be learned from."""

    name: str
    points: Doubles  # canonical, (t, p, 2)
    pose: Doubles  # yaw, pitch, roll, (t, 3)
    mel: NDArray[np.float32]  # (t, 160)


def read_track(path: Path) -> Doubles:
    """The landmarks of a ``talking_crops`` clip in pixels of its crop."""
    with np.load(path) as file:
        return np.asarray(np.cumsum(file["landmarks_delta"].astype(np.float64), 0) / 16)


def read_sound(path: Path) -> NDArray[np.float32]:
    """A sound file as (n,) at 16 kHz."""
    from scipy.signal import resample_poly

    from avsafe.media import decode

    raw = decode(path)
    sound = np.concatenate([block.mean(0) for block in raw.samples or ()])
    if raw.rate_hz != features.RATE_HZ:
        sound = resample_poly(sound, features.RATE_HZ, raw.rate_hz)
    return np.asarray(sound, np.float32)


# ---------------------------------------------------------------- head pose


def _refit(
    track: Doubles, pose: Doubles, scale: Doubles, shift: Doubles, prior: Doubles, hold: Doubles
) -> Doubles:
    """The shape (p, 3) that explains a track best, held to a prior by ``hold`` (3,)."""
    seen = track - shift[:, None]
    turned = anatomy.rotation(*pose.T)[:, :2] * scale[:, None, None]
    unit = (scale**2).mean()
    left = np.einsum("tij,tik->jk", turned, turned) / unit + np.diag(hold * len(track))
    right = np.einsum("tij,tni->nj", turned, seen) / unit + prior * hold * len(track)
    return np.asarray(np.linalg.solve(left, right.T).T)


def _first_guess(tracks: list[Doubles]) -> Doubles:
    """The mean face, with depths of an ellipsoid that has a nose."""
    flat = []
    for track in tracks:
        five = track[:, [*GROUPS["right_eye"], *GROUPS["left_eye"]]].reshape(len(track), 2, 16, 2)
        right, left = five.mean(2)[:, 0], five.mean(2)[:, 1]
        across = (left - right) @ np.array([1, 1j])
        away = (track - ((left + right) / 2)[:, None]) @ np.array([1, 1j]) / across[:, None]
        flat.append(np.stack([away.real, away.imag], -1).mean(0))
    mean = np.mean(flat, 0)
    mean = (mean + mean[_MIRROR] * _FLIP) / 2
    x, y = mean.T
    depth = -1.0 + 1.1 * np.sqrt(np.clip(1 - (x / 1.2) ** 2 - ((y - 0.45) / 1.75) ** 2, 0, 1))
    nose = 0.28 * np.exp(-((x / 0.18) ** 2)) * np.clip((y + 0.1) / 0.65, 0, 1)
    depth[anatomy.NOSE] += nose[anatomy.NOSE]
    return np.column_stack([mean, depth - depth[anatomy.EYE_CORNERS].mean()])


def fit_shape(tracks: list[Doubles], rounds: int = 16) -> Doubles:
    """The symmetric mean head (p, 3) of many tracks: poses and shapes in turn.

    Origin between the eyes, unit the distance of their centres.
    """
    shape = _first_guess(tracks)
    weight = anatomy.pose_weights(shape)
    own = [shape.copy() for _ in tracks]
    for turn in range(rounds):
        hold = np.array([0.02, 0.02, 0.25 if turn < 4 else 0.1])
        says = []
        for i, track in enumerate(tracks):
            pose, scale, shift = anatomy.solve_pose(track, own[i], weight)
            own[i] = _refit(track, pose, scale, shift, shape, hold)
            says.append(min(len(track), 120) * (pose[:, :2].var(0).sum() + 1e-3))
        shape = np.tensordot(np.array(says) / np.sum(says), np.stack(own), 1)
        shape = (shape + shape[_MIRROR] * [-1, 1, 1]) / 2
        shape = shape - shape[anatomy.EYE_CORNERS].mean(0)
        left, right = shape[list(GROUPS["left_eye"])], shape[list(GROUPS["right_eye"])]
        shape = shape / (left.mean(0) - right.mean(0))[0]
    return shape


def canonical(track: Doubles, shape: Doubles) -> tuple[Doubles, Doubles]:
    """Points as a head that looks at the viewer shows them (t, p, 2), and the pose (t, 3)."""
    weight = anatomy.pose_weights(shape)
    own = shape.copy()
    for _ in range(4):
        pose, scale, shift = anatomy.solve_pose(track, own, weight)
        own = _refit(track, pose, scale, shift, shape, np.array([0.02, 0.02, 0.1]))
    pose, scale, shift = anatomy.solve_pose(track, own, weight)
    turn = anatomy.rotation(*pose.T)[:, :2]
    flat = (track - shift[:, None]) / scale[:, None, None]
    flat = flat - np.einsum("ti,n->tni", turn[:, :, 2], own[:, 2])
    return np.einsum("tij,tnj->tni", np.linalg.inv(turn[:, :, :2]), flat), pose


# ---------------------------------------------------------------- facial motion


@dataclass
class Motion:
    """A clip relative to its own rest: lips closed, brows at their median, eyes open."""

    mouth: Doubles  # (t, p, 2): displacements; of use at lips and jaw
    brow: Doubles  # (t, p, 2)
    blink: Doubles  # (t,) 0 open to 1 closed
    pose: Doubles  # (t, 3) relative to the median
    mel: NDArray[np.float32]
    lift: Doubles  # (t,) of the mouth's corners, relative to its mean
    raised: Doubles  # (t,) brows, relative to the median


def motion_of(clip: Clip, mean_width: float) -> Motion:
    """``mean_width``: to which the mouth's width at rest is scaled, whoever speaks."""
    gap = anatomy.opening(clip.points)
    shut = gap <= np.quantile(gap, 0.2)
    rest = clip.points[shut].mean(0)
    size = mean_width / anatomy.mouth_width(rest)
    mouth = _smooth((clip.points - rest) * size, 0.6)
    brow = _smooth(clip.points - np.median(clip.points, 0), 1.0)
    lids = anatomy.lid_gap(clip.points)
    blink = np.clip((1 - lids / np.quantile(lids, 0.8) - 0.08) / 0.72, 0, 1)
    lift = anatomy.corner_lift(mouth) - anatomy.opening(mouth) * 0.0
    return Motion(
        mouth,
        brow,
        blink,
        _smooth(clip.pose - np.median(clip.pose, 0), 1.0),
        clip.mel,
        lift - lift.mean(),
        -brow[:, anatomy.BROWS, 1].mean(1),
    )


def mirrored(motion: Motion) -> Motion:
    """The same speech by the mirror image."""
    return Motion(
        motion.mouth[:, _MIRROR] * _FLIP,
        motion.brow[:, _MIRROR] * _FLIP,
        motion.blink,
        motion.pose * [-1, 1, -1],
        motion.mel,
        motion.lift,
        motion.raised,
    )


def _smooth(x: Doubles, sigma: float) -> Doubles:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(x, sigma, axis=0, mode="nearest"))


def mouth_weight(shape: Doubles) -> Doubles:
    """(p,): which landmarks the components of the mouth explain."""
    weight = np.zeros(len(shape))
    weight[list(anatomy.LIPS)] = 1.0
    for place in GROUPS["oval"]:
        weight[place] = 0.35 * np.clip((shape[place, 1] - 0.8) / 0.5, 0, 1)
    return weight


def components(
    motions: list[Motion], shape: Doubles
) -> tuple[Doubles, Doubles, Doubles, dict[str, float]]:
    """Principal components: mouth (10, p, 2), brows (2, p, 2), their joint scale (12,), shares.

    A component times a latent of unit spread is a displacement in distances between the eyes.
    """
    weight = mouth_weight(shape)
    inside = np.flatnonzero(weight > 0)
    # every clip counts by its length, but not singing more than speech
    data = np.concatenate([m.mouth[:, inside] * weight[inside, None] ** 0.5 for m in motions])
    flat = data.reshape(len(data), -1)
    _, s, vt = np.linalg.svd(flat.T @ flat / len(flat))
    spread = np.sqrt(s[: anatomy.MOUTH])
    mouth = np.zeros((anatomy.MOUTH, len(shape), 2))
    mouth[:, inside] = vt[: anatomy.MOUTH].reshape(anatomy.MOUTH, -1, 2)
    mouth[:, inside] /= weight[inside, None] ** 0.5
    brows = np.concatenate([m.brow[:, list(anatomy.BROWS)] for m in motions])
    flat = brows.reshape(len(brows), -1)
    _, s2, vt2 = np.linalg.svd(flat.T @ flat / len(flat))
    brow = np.zeros((anatomy.BROW, len(shape), 2))
    brow[:, list(anatomy.BROWS)] = vt2[: anatomy.BROW].reshape(anatomy.BROW, -1, 2)
    shares = {
        "mouth": float(s[: anatomy.MOUTH].sum() / s.sum()),
        "brow": float(s2[: anatomy.BROW].sum() / s2.sum()),
    }
    return mouth, brow, np.concatenate([np.sqrt(s2[: anatomy.BROW]), spread]), shares


def latents(motion: Motion, mouth: Doubles, brow: Doubles, shape: Doubles) -> Doubles:
    """(t, c) in the order of ``anatomy``, not yet scaled."""
    weight = mouth_weight(shape)
    inside = np.flatnonzero(weight > 0)
    basis = (mouth[:, inside] * weight[inside, None] ** 0.5).reshape(len(mouth), -1)
    seen = (motion.mouth[:, inside] * weight[inside, None] ** 0.5).reshape(len(motion.mouth), -1)
    at = list(anatomy.BROWS)
    brows = motion.brow[:, at].reshape(len(seen), -1) @ brow[:, at].reshape(len(brow), -1).T
    return np.column_stack([motion.pose, motion.blink, brows, seen @ basis.T])
