"""What the lip-sync model sees: lips and chin at 25 frames a second, and a log-mel spectrogram.

Legend: ``t`` frames of the file, ``k`` frames at 25 a second, ``p`` = 49 points of lips and chin,
``m`` = 40 mel bands; one frame is 4 columns of the spectrogram.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces.alignment import template
from avsafe.faces.points import GROUPS, MESH_INDEX, MIRROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

RATE = 25  # frames a second, whatever the file has
REACH = 15  # offsets looked at, in frames to both sides: 600 ms
WINDOW = 75  # frames that are judged at once: 3 s
HOP = 25  # ... and how far the next window is
LEAST = 40  # frames with a face that a window needs: 1.6 s, shorter ones tell little
GAP = 3  # frames without a face that are bridged
AUDIO_HZ = 16_000
COLUMN = 160  # samples: 10 ms
PER_FRAME = 4
MELS = 40
FFT = 512
TAPER = 400  # samples: 25 ms

_CHIN = (148, 149, 150, 152, 176, 377, 378, 379, 400)
LIPS: tuple[int, ...] = tuple(sorted({*GROUPS["lips_outer"], *GROUPS["lips_inner"]}))
CHIN: tuple[int, ...] = tuple(MESH_INDEX.index(mesh) for mesh in _CHIN)
PLACES: tuple[int, ...] = LIPS + CHIN  # rows of the 152 landmarks that the model sees
POINTS = len(PLACES)
# Points of the skull, which tell where the head is whatever the mouth does.
STEADY: tuple[int, ...] = tuple(
    sorted({*GROUPS["left_eye"], *GROUPS["right_eye"], *GROUPS["nose_bridge"]})
)
MIRRORED: tuple[int, ...] = tuple(PLACES.index(MIRROR[place]) for place in PLACES)


def mouth(points: Array) -> Array:
    """Landmarks (t, 152, 2) px -> lips and chin (t, 49, 2) in distances between the eyes, with the
    head's place, turn in the picture and size taken out; NaN where there is no face.

    The similarity is fitted to the eyes and the bridge of the nose (Umeyama 1991), frame by frame;
    its scale is the median of five frames, so that a blink does not move the lips.

    >>> mouth(np.full((2, 152, 2), np.nan, np.float32)).shape
    (2, 49, 2)
    """
    target = template()[list(STEADY), :2].astype(np.float64)
    target = (target - target.mean(0)) @ np.array([1, 1j])
    steady = points[:, list(STEADY)].astype(np.float64)
    centre = steady.mean(1, keepdims=True)
    there = (steady - centre) @ np.array([1, 1j])
    power = np.maximum((there.conj() * there).real.sum(1), 1e-12)
    with np.errstate(invalid="ignore"):  # NaN where there is no face
        turn = (there.conj() * target).sum(1) / power
    size = np.abs(turn)
    seen = np.isfinite(size)
    if seen.any():
        turn = turn / np.where(seen & (size > 0), size, 1) * _median(size)
    shown = (points[:, list(PLACES)].astype(np.float64) - centre) @ np.array([1, 1j])
    shown = shown * turn[:, None]
    return np.stack([shown.real, shown.imag], axis=-1).astype(np.float32)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5)
    known = np.isfinite(windows)
    filled = np.where(known, windows, np.where(known, windows, 0).sum(1, keepdims=True)
                      / np.maximum(known.sum(1, keepdims=True), 1))  # fmt: skip
    return np.asarray(np.median(filled, axis=1))


def at_rate(
    values: Array, rate: float, cuts: Sequence[int] = (), gap: int = GAP
) -> tuple[Array, tuple[tuple[int, int], ...]]:
    """Values (t, p, 2) at ``rate`` a second -> (k, p, 2) at 25, and runs (first, end) of frames in
    which there is a face and no cut. Frame i stands for the time (i + 0.5) / rate. Gaps of up to
    ``gap`` frames of 25 a second are bridged by a straight line.

    >>> at_rate(np.zeros((60, 1, 2), np.float32), 30.0)[1]
    ((0, 50),)
    """
    count = len(values)
    total = round(count * RATE / rate)
    out = np.full((total, *values.shape[1:]), np.nan, np.float32)
    runs: list[tuple[int, int]] = []
    seen = np.flatnonzero(np.isfinite(values).all(axis=(1, 2)))
    edges = [0, *sorted(c for c in cuts if 0 < c < count), count]
    for low, high in pairwise(edges):
        inside = seen[(seen >= low) & (seen < high)]
        if not inside.size:
            continue
        far = np.flatnonzero(np.diff(inside) > gap * rate / RATE + 1)
        for part in np.split(inside, far + 1):
            first = max(0, int(np.ceil(part[0] * RATE / rate - 0.5)))
            end = min(total, int(np.floor((part[-1] + 1) * RATE / rate + 0.5)))
            if runs:
                first = max(first, runs[-1][1])
            if end <= first:
                continue
            when = (np.arange(first, end) + 0.5) * rate / RATE - 0.5
            flat = values[part].reshape(len(part), -1)
            at = np.clip(np.searchsorted(part, when, side="right") - 1, 0, max(0, len(part) - 2))
            after = np.minimum(at + 1, len(part) - 1)
            width = np.maximum(part[after] - part[at], 1)
            share = np.clip((when - part[at]) / width, 0, 1)[:, None].astype(np.float32)
            line = flat[at] * (1 - share) + flat[after] * share
            out[first:end] = line.reshape(-1, *values.shape[1:])
            runs.append((first, end))
    return out, tuple(runs)


@lru_cache(maxsize=1)
def mel_bank() -> Array:
    """(40, 257) triangles, 60 to 7600 Hz, equally wide on the mel scale 2595 lg(1 + f / 700)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (60.0, 7600.0))
    edges = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    bins = np.arange(FFT // 2 + 1) * AUDIO_HZ / FFT
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


def power(sound: Array) -> Array:
    """Sound (n,) at 16 kHz -> mel power (40, 4 k) of its k whole frames; column c is centred on
    sample 160 c + 80. The loudest sound gives about 1: a sound of root mean square 0.05.

    >>> power(np.zeros(16000, np.float32)).shape
    (40, 100)
    """
    count = len(sound) // (COLUMN * PER_FRAME) * PER_FRAME
    if not count:
        return np.zeros((MELS, 0), np.float32)
    before = FFT // 2 - COLUMN // 2
    padded = np.pad(sound[: count * COLUMN].astype(np.float32), (before, FFT))
    bank = mel_bank()
    margin = (FFT - TAPER) // 2
    taper = np.pad(np.hanning(TAPER + 1)[:-1], (margin, FFT - TAPER - margin)).astype(np.float32)
    out = np.empty((MELS, count), np.float32)
    for start in range(0, count, 2000):  # 20 s at once: memory does not grow with the clip
        stop = min(count, start + 2000)
        chunk = padded[start * COLUMN : (stop - 1) * COLUMN + FFT]
        windows = np.lib.stride_tricks.sliding_window_view(chunk, FFT)[::COLUMN]
        spectrum = np.fft.rfft(windows * taper, axis=1)
        energy = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        out[:, start:stop] = bank @ energy.T
    return out


FLOOR = 1e-3  # of the mean power: noise 30 dB below speech is not seen


def log_mel(energy: Array) -> Array:
    """Mel power (40, c) -> log, a mean of 0 in each band and a deviation of 1 over all.

    What is 30 dB below the mean of its window counts as silence, so gain does not matter.
    """
    level = float(energy.mean()) + 1e-9
    values = np.log(energy / level + FLOOR)
    values = values - values.mean(1, keepdims=True)
    return np.asarray(values / (values.std() + 1e-2), np.float32)


def shape(mouths: Array) -> Array:
    """Mouths (k, 49, 2) of one window -> (196, k): places and speeds about their mean.

    The deviation over the window is 1, save for a face that hardly moves: 1 % of the distance
    between the eyes is added to it, or noise would look like speech.
    """
    flat = mouths.reshape(len(mouths), -1)
    flat = flat - flat.mean(0)
    flat = flat / (flat.std() + STILL)
    speed = np.diff(flat, axis=0, prepend=flat[:1]) * 2
    return np.asarray(np.concatenate([flat, speed], axis=1).T, np.float32)


STILL = 0.01
