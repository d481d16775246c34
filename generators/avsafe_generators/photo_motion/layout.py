"""A depth-like map from a picture alone: cues of layout, no measurement and no network.

0 is far and 1 is near, as inverse depth is: a camera that moves sideways shifts a pixel by its
value. The cues: lower in the frame is nearer; a smooth bright or blue part that hangs from the top
border is sky; haze (bright in the darkest channel, pale) is far; what is sharp is nearer than what
isn't; a subject that a mask cuts out stands upright on the ground at its foot, and one that is
guessed is nearer than what is around it.

Legend: a picture ``(h, w, 3)`` uint8 RGB, maps ``(h, w)`` float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avsafe_generators.cinemagraph.fields import Field, Picture
from avsafe_generators.photo_motion.subject import Subject, guided

_SIDE = 256
_GUESS = 0.75  # how far a guessed subject goes from its place to that of its foot


@dataclass(frozen=True)
class Layout:
    ground: Field  # nearness of what lies behind the subject; smooth
    front: Field  # nearness of the subject, constant on each of its parts
    sky: Field  # 1 where the sky was found
    cues: dict[str, float]  # cue -> its weight, or what it found


def sky_of(small: Picture) -> Field:
    """Sky: connected to the top border, smooth, bright or blue; zeros where there is none."""
    import cv2

    h, w = small.shape[:2]
    lum = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rough = cv2.boxFilter(
        np.abs(cv2.Laplacian(cv2.GaussianBlur(lum, (0, 0), 1.0), cv2.CV_32F)), -1, (7, 7)
    )
    red, blue = small[..., 0].astype(np.float32), small[..., 2].astype(np.float32)
    likely = (rough < 2.2) & ((blue > red + 8) | (lum > 165)) & (lum > 45)
    likely[int(0.75 * h) :] = False
    number, labels, stats, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8))
    out: Field = np.zeros((h, w), np.float32)
    for part in range(1, number):
        here = labels == part
        if here[:2].sum() >= 0.12 * w and stats[part, cv2.CC_STAT_AREA] >= 0.06 * h * w:
            out[here] = 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    out = cv2.morphologyEx(out, cv2.MORPH_CLOSE, disc)
    # a wall has straight sides and reaches far down; sky gets brighter or paler to its foot
    rows = np.nonzero(out.any(axis=1))[0]
    if rows.size and blue[out > 0].mean() < red[out > 0].mean() + 4:
        return np.zeros((h, w), np.float32)
    return np.asarray(out, np.float32)


def layout(picture: Picture, subject: Subject | None) -> Layout:
    """The depth-like map of a picture, its subject apart."""
    import cv2

    h, w = picture.shape[:2]
    scale = min(1.0, _SIDE / max(h, w))
    size = (max(16, round(w * scale)), max(16, round(h * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    sh, sw = size[1], size[0]
    sky = sky_of(small)
    rows = (np.arange(sh, dtype=np.float32) + 0.5) / sh
    foot = float(np.nonzero(sky.any(axis=1))[0].max() + 1) / sh if sky.any() else 0.0
    horizon = min(0.6, max(0.25, 0.9 * foot)) if foot else 0.3
    ramp = np.clip((rows - horizon) / (1 - horizon), 0, 1) ** 0.9
    ramp = np.repeat((0.12 + 0.88 * ramp)[:, None], sw, axis=1).astype(np.float32)

    lum = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    dark = cv2.erode(small.min(axis=-1), np.ones((9, 9), np.uint8)).astype(np.float32) / 255
    haze = cv2.GaussianBlur(dark, (0, 0), 0.03 * sw)
    clear = 1 - _spread(haze)
    detail = np.abs(cv2.Laplacian(lum, cv2.CV_32F))
    sharp = _spread(np.log1p(60 * cv2.GaussianBlur(detail, (0, 0), 0.035 * sw)))
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].astype(np.float32) - 128
    warm = _spread(cv2.GaussianBlur(colour.sum(axis=-1), (0, 0), 0.03 * sw))
    weights = {"height": 0.62, "sharpness": 0.16, "haze": 0.14, "warmth": 0.08}
    near: Field = (
        weights["height"] * ramp
        + weights["sharpness"] * sharp
        + weights["haze"] * clear
        + weights["warmth"] * warm
    )
    near = near * (1 - sky) + 0.02 * sky
    near = guided(lum, near.astype(np.float32), max(3, round(0.04 * sw)), 2e-2)
    if subject is not None and not subject.cuts:  # a guess: nearer there, softly, and upright
        matte = cv2.resize(subject.matte, size, interpolation=cv2.INTER_AREA)
        near = near + _GUESS * matte * (_standing(near, subject, size) + 0.12 - near)
    elif subject is not None:  # behind it the ground goes on
        matte = cv2.resize(subject.matte, size, interpolation=cv2.INTER_AREA)
        away = 1 - cv2.dilate(matte, np.ones((5, 5), np.uint8))
        blur = 0.06 * sw
        filled = cv2.GaussianBlur(near * away, (0, 0), blur) / (
            cv2.GaussianBlur(away, (0, 0), blur) + 1e-3
        )
        near = near * away + np.minimum(filled, near.max()) * (1 - away)
    # one sheet without tears: only slow changes, so that it never folds or stretches visibly
    near = cv2.GaussianBlur(near, (0, 0), 0.045 * max(sw, sh))
    near = np.clip(near, 0, 1).astype(np.float32)
    front = _standing(near, subject, size) if subject is not None and subject.cuts else near
    cues: dict[str, float] = dict(weights)
    cues["sky_share"] = round(float(sky.mean()), 3)
    return Layout(
        cv2.resize(near, (w, h), interpolation=cv2.INTER_CUBIC).astype(np.float32),
        cv2.resize(front, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32),
        cv2.resize(sky, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32),
        cues,
    )


def _standing(near: Field, subject: Subject, size: tuple[int, int]) -> Field:
    """Each part of the subject is as near as the ground at its foot, so that it doesn't slide, and
    a little nearer than what is around it."""
    import cv2

    matte = cv2.resize(subject.matte, size, interpolation=cv2.INTER_AREA)
    number, labels = cv2.connectedComponents((matte > 0.3).astype(np.uint8))
    total = np.zeros_like(near)
    weight = np.full_like(near, 1e-4)
    h = near.shape[0]
    for part in range(1, number):
        here = labels == part
        rows = np.nonzero(here.any(axis=1))[0]
        foot = here & (
            np.arange(h)[:, None] >= rows.max() - max(1, (rows.max() - rows.min()) // 12)
        )
        value = max(float(near[foot].mean()), float(near[here].mean()) + 0.12)
        soft = cv2.GaussianBlur(here.astype(np.float32), (0, 0), 3.0)
        total += soft * min(1.0, value)
        weight += soft
    # between the parts: the nearest one's value, smoothly
    wide_t, wide_w = (cv2.GaussianBlur(f, (0, 0), 0.05 * h) for f in (total, weight))
    spread = wide_t / np.maximum(wide_w, 1e-6)
    sure = np.clip(weight, 0, 1)
    return np.asarray((total / weight) * sure + spread * (1 - sure), np.float32)


def _spread(field: Field) -> Field:
    low, high = np.quantile(field, [0.03, 0.97])
    return np.asarray(np.clip((field - low) / max(1e-4, float(high - low)), 0, 1), np.float32)
