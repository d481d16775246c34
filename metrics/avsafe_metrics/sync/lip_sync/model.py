"""Two small encoders in numpy: lips and sound, each frame a point on a sphere, and how they agree.

Legend: ``w`` frames of a window at 25 a second, ``K`` = 15 offsets to each side, ``e`` = 64
dimensions, ``j`` = 0 .. 2 K the offsets from -K (sound early) to K (sound late).

One network of fixed shape; training (``train``) folds its normalisations into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sync.lip_sync import features
from avsafe_metrics.sync.lip_sync.features import PER_FRAME, REACH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

WEIGHTS = Path(__file__).with_name("weights") / "lip_sync.safetensors"
HIDDEN, WIDTH, OUT = 64, 96, 64  # channels: after the first product, of the convolutions, at last
TAPS = 5  # frames that a convolution sees
DEPTH = 3  # convolutions; all but the first are added to their input
INPUTS = {"lips": 4 * features.POINTS, "sound": features.MELS * PER_FRAME}
LEAST_PAIRS = 20  # frames; an offset with fewer counts as if it had them


@dataclass(frozen=True)
class Window:
    """What the model is shown at once: ``lips`` (196, w); ``sound`` (160, w + 2 K) from K frames
    before to K frames after, zeros where the file has none; ``heard`` (w + 2 K,) 1 where it has."""

    lips: Array
    sound: Array
    heard: Array


def stacked(mel: Array) -> Array:
    """(40, 4 k) -> (160, k): the four columns of a frame side by side.

    >>> stacked(np.arange(8, dtype=np.float32).reshape(1, 8)).tolist()
    [[0.0, 4.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]
    """
    bands, columns = mel.shape
    frames = columns // PER_FRAME
    parts = mel[:, : frames * PER_FRAME].reshape(bands, frames, PER_FRAME).transpose(0, 2, 1)
    return parts.reshape(bands * PER_FRAME, frames)


def window(mouths: Array, energy: Array, first: int, end: int, *, offset: int = 0) -> Window:
    """Frames ``first`` to ``end`` of a clip: mouths (k, 49, 2), mel power (40, 4 ka).

    ``offset`` moves the sound: what is looked for lies that many frames later.
    """
    heard_to = energy.shape[1] // PER_FRAME
    low, high = first - REACH + offset, end + REACH + offset
    start, stop = min(max(0, low), heard_to), min(max(0, high), heard_to)
    sound = np.zeros((INPUTS["sound"], high - low), np.float32)
    heard = np.zeros(high - low, np.float32)
    if stop > start:
        part = features.log_mel(energy[:, start * PER_FRAME : stop * PER_FRAME])
        sound[:, start - low : stop - low] = stacked(part)
        heard[start - low : stop - low] = 1
    return Window(features.shape(mouths[first:end]), sound, heard)


def starts(runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Windows (first, end) of 3 s, one a second, and the last one at the end of each run; a run
    that is shorter gives one, down to 1.6 s.

    >>> starts([(0, 110), (120, 165), (170, 180)])
    [(0, 75), (25, 100), (35, 110), (120, 165)]
    """
    out: list[tuple[int, int]] = []
    for first, end in runs:
        if end - first < features.LEAST:
            continue
        last = max(first, end - features.WINDOW)
        at = [*range(first, last, features.HOP), last]
        out += [(start, min(end, start + features.WINDOW)) for start in at]
    return out


def convolved(x: Array, kernel: Array, bias: Array) -> Array:
    """Cross-correlation of (k, c) along time with a kernel (taps * c, out), zeros around.

    >>> x = np.array([[1.0], [2.0], [4.0]], np.float32)
    >>> convolved(x, np.array([[1.0], [0.0], [-1.0]], np.float32), np.zeros(1)).ravel().tolist()
    [-2.0, -3.0, 2.0]
    """
    taps = kernel.shape[0] // x.shape[1]
    padded = np.pad(x, ((taps // 2, taps // 2), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=0)  # k, c, taps
    columns = views.transpose(0, 2, 1).reshape(len(x), -1)
    return np.asarray(columns @ kernel + bias, np.float32)


def encoded(x: Array, weights: Mapping[str, Array], side: str) -> Array:
    """(c, k) -> (k, e), each of length 1. ``side`` is "lips" or "sound"."""
    y = x.T @ weights[f"{side}.into.kernel"] + weights[f"{side}.into.bias"]
    for depth in range(DEPTH):
        name = f"{side}.conv{depth}"
        z = np.maximum(convolved(y, weights[f"{name}.kernel"], weights[f"{name}.bias"]), 0)
        # the normalisation comes before the rectifier, so it lies in kernel and bias
        y = y + z if depth else z
    y = y @ weights[f"{side}.out.kernel"] + weights[f"{side}.out.bias"]
    return np.asarray(y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12), np.float32)


def agreement(lips: Array, sound: Array, heard: Array) -> Array:
    """(2 K + 1,) mean cosine of lips (w, e) and sound (w + 2 K, e) at each offset.

    The mean is over the frames that have sound, at least 20.

    >>> eye = np.eye(40, dtype=np.float32)
    >>> late = np.concatenate([np.zeros((17, 40), np.float32), eye, np.zeros((13, 40), np.float32)])
    >>> int(agreement(eye, late, np.ones(70, np.float32)).argmax()) - REACH
    2
    """
    w = len(lips)
    sound = sound * heard[:, None]
    out = np.empty(2 * REACH + 1, np.float32)
    for j in range(2 * REACH + 1):
        pairs = max(float(LEAST_PAIRS), float(heard[j : j + w].sum()))
        out[j] = float(np.einsum("te,te->", lips, sound[j : j + w])) / pairs
    return out


def evidence(
    windows: Sequence[Window], weights: Mapping[str, Array], members: Sequence[str] = ("",)
) -> Array:
    """(n, 2 K + 1) log-odds of each offset in each window, up to a constant: the agreement times
    the network's own scale, mean over the networks named ``members`` (prefixes of weights)."""
    out = np.zeros((len(windows), 2 * REACH + 1), np.float32)
    for member in members:
        own = {k.removeprefix(member): v for k, v in weights.items() if k.startswith(member)}
        scale = float(own["scale"][0]) / len(members)
        for row, seen in enumerate(windows):
            lips, sound = encoded(seen.lips, own, "lips"), encoded(seen.sound, own, "sound")
            out[row] += scale * agreement(lips, sound, seen.heard)
    return out


def members_of(weights: Mapping[str, Array]) -> tuple[str, ...]:
    """Prefixes of the networks in a file of weights: "0.", "1.", ..."""
    return tuple(sorted(k.removesuffix("scale") for k in weights if k.endswith("scale")))


@lru_cache(maxsize=2)
def load(path: Path = WEIGHTS) -> Mapping[str, Array]:
    """The arrays of the shipped networks, float32."""
    from safetensors.numpy import load_file

    return {name: value.astype(np.float32) for name, value in load_file(path).items()}
