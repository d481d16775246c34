"""One vector of figures for a stretch of a talking face: how it looks, blinks, and moves.

Legend: ``t`` frames at ``rate`` a second, ``k`` looks at the pixels, ``r`` regions, ``f`` figures
(see ``regions``); ``d`` = ``len(NAMES)``. A figure that can't be had is NaN.

Pixels: differences between regions of the same frame, so that codec, light and size, which change
all of a frame, mostly cancel (after Li et al. 2020, Face X-ray: the inner face went through another
chain than what is around it). Blinks after Li, Chang & Lyu 2018; heads and mouths that do not move
as people do after Agarwal et al. 2019, "Protecting world leaders against deep fakes".
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces import GROUPS, eye_opening, head_pose, mouth_opening, mouth_width
from avsafe_detectors.audio_visual.events import level_db
from avsafe_detectors.talking.regions import FIGURES, REGIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.audio_visual.lips import Talk

    F64 = NDArray[np.float64]

LEAST_S = 2.0  # of a stretch
PAIRS = (("mouth", "upper"), ("jaw", "upper"), ("mouth", "jaw"), ("upper", "around"))
LOOKS = ("fine", "middle", "coarse", "noise", "blue", "red", "colour", "stays")
PIXELS = (
    *(f"{a}-{b}.{name}" for a, b in PAIRS for name in LOOKS),
    *(f"{a}-{b}.{name}.varies" for a, b in PAIRS[:2] for name in ("fine", "noise", "stays")),
)
MOTION = (
    "blinks_per_minute", "blink_depth", "eyes_open", "eyes_vary", "eyes_apart",
    "turn", "turn_speed", "turn_jerk", "turn_fast", "turn_axes",
    "mouth_opens", "mouth_speed", "mouth_jerk", "mouth_fast", "mouth_shape",
    "jaw_follows", "brow_moves", "shape_shakes", "sound_mouth", "sound_head",
)  # fmt: skip
NAMES = (*PIXELS, *MOTION)
CLOSED = 0.6  # of the usual opening: below is a blink
_BONE = (*GROUPS["nose_bridge"], *(GROUPS[e][i] for e in ("left_eye", "right_eye") for i in (0, 8)))


def measured(talk: Talk, regions: NDArray[Any], at: NDArray[Any]) -> F64:
    """(d,) of a stretch: its track and sound, the looks (k, r, f) and their frames (k,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, as wanted
        return np.concatenate([pixels(regions), motion(talk)])


def pixels(regions: NDArray[Any]) -> F64:
    """The figures of PIXELS from looks (k, r, f)."""
    looks = np.asarray(regions, np.float64).reshape(-1, len(REGIONS), len(FIGURES))
    if len(looks) < 3:
        return np.full(len(PIXELS), np.nan)
    out = []
    apart = {pair: looks[:, REGIONS.index(pair[0])] - looks[:, REGIONS.index(pair[1])]
             for pair in PAIRS}  # fmt: skip
    for pair in PAIRS:
        out += [float(np.nanmedian(apart[pair][:, FIGURES.index(name)])) for name in LOOKS]
    for pair in PAIRS[:2]:
        for name in ("fine", "noise", "stays"):
            values = apart[pair][:, FIGURES.index(name)]
            out.append(float(np.nanmean(np.abs(np.diff(values)))))
    return np.array(out, np.float64)


def motion(talk: Talk) -> F64:
    """The figures of MOTION; NaN for less than two seconds with a face."""
    rate, seen = talk.rate, talk.seen
    if not rate or seen.sum() < LEAST_S * rate:
        return np.full(len(MOTION), np.nan)
    points = _filled(talk.points, seen)
    left, right = (np.asarray(v) for v in eye_opening(points))
    eyes = (left + right) / 2
    usual = float(np.quantile(eyes, 0.7))
    shut = eyes < CLOSED * usual
    blinks = int((np.diff(shut.astype(int)) == 1).sum())
    turn = np.array([(p.yaw, p.pitch, p.roll) for p in map(head_pose, points)]).reshape(-1, 3)
    opening, width = np.asarray(mouth_opening(points)), np.asarray(mouth_width(points))
    scale = _eyes_apart(points)
    chin = _length(points[:, GROUPS["oval"][18]] - points[:, GROUPS["nose_bridge"][0]]) / scale
    brow = np.mean([
        _length(points[:, GROUPS[f"{s}_brow"][2]] - points[:, GROUPS[f"{s}_eye"][8]]) / scale
        for s in ("left", "right")
    ], axis=0)  # fmt: skip
    level = level_db(talk.sound, rate, len(points))
    sounding = level.max(initial=-100.0) > -60.0 and level.std() > 1e-6
    speed = np.linalg.norm(np.diff(turn, axis=0), axis=1) * rate
    head = np.concatenate([speed[:1], speed]) if len(speed) else np.zeros(len(points))
    return np.array([
        blinks / (len(points) / rate) * 60, 1 - float(eyes.min()) / (usual + 1e-6), usual,
        float(np.quantile(eyes, 0.9) - np.quantile(eyes, 0.1)), float(np.abs(left - right).mean()),
        _log(turn.std(0).mean()), _log(speed.mean()), _jerk(turn), _fast(turn, rate),
        _correlation(np.diff(turn[:, 0]), np.diff(turn[:, 2])),
        _log(opening.std()), _log(np.abs(np.diff(opening)).mean() * rate), _jerk(opening[:, None]),
        _fast(opening[:, None], rate), _correlation(opening, width),
        _correlation(opening, chin), _log(brow.std()), _log(_shaking(points, scale)),
        _lagged(level, opening, rate) if sounding else np.nan,
        _lagged(level, head, rate) if sounding else np.nan,
    ], np.float64)  # fmt: skip


def _filled(points: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[Any]:
    """Frames without a face take the points of the nearest one before."""
    index = np.maximum.accumulate(np.where(seen, np.arange(len(seen)), -1))
    index[index < 0] = int(np.argmax(seen))
    return np.asarray(points[index], np.float64)


def _length(vectors: F64) -> F64:
    return np.asarray(np.hypot(vectors[..., 0], vectors[..., 1]))


def _eyes_apart(points: F64) -> F64:
    left = points[:, list(GROUPS["left_eye"])].mean(1)
    return np.maximum(_length(left - points[:, list(GROUPS["right_eye"])].mean(1)), 1e-3)


def _log(value: Any) -> float:
    return float(np.log(float(value) + 1e-4))


def _jerk(values: F64) -> float:
    """Second differences over first ones: near 2 for noise, small for smooth motion."""
    first = np.diff(values, axis=0)
    return float(np.diff(first, axis=0).std() / (first.std() + 1e-9)) if len(first) > 2 else 0.0


def _fast(values: F64, rate: float) -> float:
    """Share of the power of motion above 4 Hz."""
    power = np.square(np.abs(np.fft.rfft(values - values.mean(0), axis=0))).sum(1)
    hz = np.fft.rfftfreq(len(values), 1 / rate)
    return float(power[hz > 4].sum() / (power[hz > 0.2].sum() + 1e-12))


def _correlation(a: F64, b: F64) -> float:
    if len(a) < 3 or min(a.std(), b.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _lagged(a: F64, b: F64, rate: float) -> float:
    """The largest correlation within 0.2 s."""
    reach = max(1, round(0.2 * rate))
    return max(_correlation(a[reach:-reach], b[reach + k : len(b) - reach + k])
               for k in range(-reach, reach + 1))  # fmt: skip


def _shaking(points: F64, scale: F64) -> float:
    """Change of shape of what bone holds, frame to frame, in distances between the eyes."""
    bone = points[:, list(_BONE)]
    apart = _length(bone[:, :, None] - bone[:, None]) / scale[:, None, None]
    return float(np.abs(np.diff(apart, axis=0)).mean()) if len(apart) > 1 else 0.0
