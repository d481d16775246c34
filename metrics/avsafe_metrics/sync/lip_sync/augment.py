"""Training windows: a stretch of a clip, its lips and its sound disturbed, the sound moved.

Legend: as in ``model``; a window has 72 frames. The label is the offset j, 0 .. 2 K, at which the
sound lies.

Edges tell nothing: where the sound of a window ends does not depend on the offset, or a network
would learn that both end together (as they do in every file, in sync or not).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sync.lip_sync import features, model
from avsafe_metrics.sync.lip_sync.features import MELS, PER_FRAME, REACH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from avsafe_metrics.sync.lip_sync.clips import Clip, Track

    Array = NDArray[np.float32]
else:
    Array = Any

FRAMES = 72
FARTHEST = 12  # frames by which the sound is moved, to both sides
_FLIP = np.array([-1, 1], np.float32)


@dataclass
class Example:
    window: model.Window
    label: int


def drawn(
    clip: Clip, clips: Sequence[Clip], rng: np.random.Generator, late: int = 0
) -> Example | None:
    """A training window of a clip whose sound is ``late`` frames late; None where the stretch that
    was drawn is too short."""
    speed = 1.0 if rng.random() < 0.5 or late else (0.87, 1.15)[rng.integers(2)]
    track = clip.tracks[rng.integers(len(clip.tracks))]
    forms = clip.forms[speed]
    energy = forms[rng.integers(len(forms)) if rng.random() < 0.6 else 0]
    lips = _lips(track, speed, energy.shape[1] // PER_FRAME, rng)
    if lips is None:
        return None
    first, mouths = lips
    return _placed(mouths, first + late, energy, clips, rng)


def _lips(
    track: Track, speed: float, heard: int, rng: np.random.Generator
) -> tuple[int, Array] | None:
    """Where a stretch begins (frames of the sound at that speed), and its mouths (72, 49, 2)."""
    runs = [run for run in track.runs if run[1] - run[0] >= FRAMES * speed + 1]
    if not runs:
        return None
    low, high = runs[rng.integers(len(runs))]
    earliest = int(np.ceil(low / speed))
    latest = min(int(np.floor((high - 1) / speed)), heard) - FRAMES
    if latest < earliest:
        return None
    first = int(rng.integers(earliest, latest + 1))
    when = np.clip((first + np.arange(FRAMES) + 0.5) * speed - 0.5, low, high - 1)
    at = np.minimum(when.astype(int), high - 2)
    share = (when - at)[:, None, None].astype(np.float32)
    return first, track.mouths[at] * (1 - share) + track.mouths[at + 1] * share


def _placed(
    mouths: Array, first: int, energy: Array, clips: Sequence[Clip], rng: np.random.Generator
) -> Example | None:
    moved = int(rng.integers(-FARTHEST, FARTHEST + 1))
    heard = energy.shape[1] // PER_FRAME
    low, high = first - REACH - moved, first + FRAMES + REACH - moved
    start, stop = low, high
    if rng.random() < 0.4:  # a file as short as the window
        start = first - moved + int(rng.integers(-2, 4))
        stop = first + FRAMES - moved + int(rng.integers(-3, 3))
    if start < 0:
        start = int(rng.integers(0, 12))
    if stop > heard:
        stop = heard - int(rng.integers(0, 12))
    start, stop = max(start, low), min(stop, high)
    if stop - start < 45:
        return None
    mel = heard_badly(energy[:, start * PER_FRAME : stop * PER_FRAME], clips, rng)
    sound = np.zeros((MELS * PER_FRAME, high - low), np.float32)
    known = np.zeros(high - low, np.float32)
    sound[:, start - low : stop - low] = model.stacked(mel)
    known[start - low : stop - low] = 1
    return Example(
        model.Window(features.shape(seen_badly(mouths, rng)), sound, known), REACH + moved
    )


def heard_badly(energy: Array, clips: Sequence[Clip], rng: np.random.Generator) -> Array:
    """Mel power (40, c) -> log-mel with another response of the microphone, noise, another voice
    behind it, a vocal tract of another length, and parts that are missing."""
    bands, columns = energy.shape
    tilt = 0.125 * np.cumsum(rng.standard_normal((bands, 1)), 0)
    energy = energy * np.exp(tilt + 0.2 * rng.standard_normal((bands, 1)))
    level = energy.mean()
    if rng.random() < 0.5:
        colour = np.exp(0.3 * np.cumsum(rng.standard_normal((bands, 1)), 0))
        noise = colour * rng.exponential(1, energy.shape)
        energy = energy + level * 10 ** (-rng.uniform(5, 30) / 10) * noise
    if rng.random() < 0.3:
        other = clips[int(rng.integers(len(clips)))].forms[1.0][0]
        at = int(rng.integers(max(1, other.shape[1] - columns)))
        other = other[:, at : at + columns]
        gain = level / (other.mean() + 1e-9) * 10 ** (-rng.uniform(8, 25) / 10)
        energy[:, : other.shape[1]] += other * gain
    if rng.random() < 0.4:
        at_band = np.clip(np.arange(bands) + rng.uniform(-2, 2), 0, bands - 1)
        below = at_band.astype(int)
        share = (at_band - below)[:, None]
        energy = energy[below] * (1 - share) + energy[np.minimum(below + 1, bands - 1)] * share
    mel = features.log_mel(energy.astype(np.float32))
    mel = mel + 0.1 * rng.standard_normal(mel.shape).astype(np.float32)
    band = int(rng.integers(bands - 2))
    mel[band : band + int(rng.integers(0, 6))] = 0
    if rng.random() < 0.3:
        column = int(rng.integers(columns - 30))
        mel[:, column : column + int(rng.integers(4, 30))] = 0
    return mel


def seen_badly(mouths: Array, rng: np.random.Generator) -> Array:
    """Mouths (k, 49, 2) mirrored, sheared, drifting, noisy and smoothed, by chance."""
    if rng.random() < 0.5:
        mouths = mouths[:, list(features.MIRRORED)] * _FLIP
    out = mouths @ (np.eye(2) + 0.08 * rng.standard_normal((2, 2)))
    out = out + rng.uniform(0, 0.012) * rng.standard_normal(out.shape)
    drift = np.cumsum(rng.standard_normal((len(out), 1, 2)), 0)
    out = out + 0.003 * rng.random() * drift
    if rng.random() < 0.3:
        inner = 0.25 * out[:-2] + 0.5 * out[1:-1] + 0.25 * out[2:]
        out = np.concatenate([out[:1], inner, out[-1:]])
    return np.asarray(out, np.float32)
