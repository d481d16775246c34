"""What ships, in numpy: networks and trees on the levels of an utterance.

Legend: ``w`` windows of 128 frames, ``f`` 216 bins, ``d`` numbers; scores are log-odds of "made"
(synthetic or re-rendered) against "real".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import features
from avsafe_detectors.speech.network import LAYERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

WEIGHTS = Path(__file__).parent / "weights" / "speech.safetensors"


@dataclass(frozen=True, eq=False)
class Judgement:
    score: float  # log-odds of made against real, of the whole
    rendered: float  # of what is made, the share that looks re-rendered, 0 to 1
    embedding: F32  # (d,)
    windows: F32  # (w,) log-odds of each window
    first: NDArray[np.int64]  # (w,) first frame among the heard ones


@lru_cache(maxsize=1)
def load() -> Mapping[str, F32]:
    from safetensors.numpy import load_file

    return {k: v.astype(np.float32) if v.dtype == np.float16 else v
            for k, v in load_file(WEIGHTS).items()}  # fmt: skip


def convolved(x: F32, kernel: F32, bias: F32, side: int, strides: tuple[int, int]) -> F32:
    """(n, t, f, c) with (side * side * c, out), zeros around, strides over t and f."""
    pad = side // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    seen = seen[:, :: strides[0], :: strides[1]].transpose(0, 1, 2, 4, 5, 3)
    n, t, f = seen.shape[:3]
    return np.asarray(seen.reshape(n * t * f, -1) @ kernel + bias, np.float32).reshape(n, t, f, -1)


def network(x: F32, weights: Mapping[str, F32], prefix: str) -> tuple[F32, F32]:
    """(w, 128, f) -> logits (w, 3) and embeddings (w, 64)."""
    logits, embedded = [], []
    for at in range(0, len(x), 16):  # memory does not grow with the file
        y = x[at : at + 16, :, :, None]
        for number, (_, _, side, over_t, over_f) in enumerate(LAYERS):
            kernel, bias = (weights[f"{prefix}conv{number}.{n}"] for n in ("kernel", "bias"))
            y = np.maximum(convolved(y, kernel, bias, side, (over_t, over_f)), 0)
        y = np.maximum(_linear(y.reshape(*y.shape[:2], -1), weights, prefix + "frame"), 0)
        a = _linear(y, weights, prefix + "attention")
        a = np.exp(a - a.max(1, keepdims=True))
        a /= a.sum(1, keepdims=True)
        mean = (a * y).sum(1)
        spread = np.sqrt((a * (y - mean[:, None]) ** 2).sum(1) + 1e-5)
        z = np.maximum(_linear(np.concatenate([mean, spread], 1), weights, prefix + "embed"), 0)
        embedded.append(z)
        logits.append(_linear(z, weights, prefix + "out"))
    return np.concatenate(logits), np.concatenate(embedded)


def _linear(x: F32, weights: Mapping[str, F32], name: str) -> F32:
    return np.asarray(x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"], np.float32)


def trees(x: F32, weights: Mapping[str, F32], prefix: str = "trees.") -> F32:
    """(n, d) statistics -> (n,) log-odds: boosted trees, all nodes of one tree in a row of
    ``feature``, ``threshold``, ``left``, ``right``, ``value``; a leaf has feature -1."""
    feature, value = weights[prefix + "feature"].astype(int), weights[prefix + "value"]
    threshold = weights[prefix + "threshold"]
    left, right = weights[prefix + "left"].astype(int), weights[prefix + "right"].astype(int)
    out = np.full(len(x), float(weights[prefix + "base"][0]))
    rows = np.arange(len(x))
    for tree in range(len(feature)):
        node = np.zeros(len(x), int)
        while True:
            of = feature[tree, node]
            if (of < 0).all():
                break
            low = x[rows, np.maximum(of, 0)] <= threshold[tree, node]
            step = np.where(low, left[tree, node], right[tree, node])
            node = np.where(of < 0, node, step)
        out += value[tree, node]
    return out.astype(np.float32)


def made(logits: F32) -> F32:
    """(..., 3) -> log-odds of synthetic or re-rendered against real."""
    both = np.logaddexp(logits[..., 1], logits[..., 2])
    return np.asarray(both - logits[..., 0], np.float32)


def judged(x: F32, weights: Mapping[str, F32]) -> Judgement:
    """Normalised levels of the heard frames (t, f) -> what the ensemble says."""
    first, seen = features.windows(x)
    members = sorted({k.split(".")[0] for k in weights if k.startswith("net")})
    runs = [network(seen, weights, f"{name}.") for name in members]
    logits = np.mean([run[0] for run in runs], 0)
    each = made(logits)
    whole = logits.mean(0)
    score = float(made(whole))
    share = float(weights["mix"][0])
    if share > 0:
        score = (1 - share) * score + share * float(trees(features.summary(x)[None], weights)[0])
    rendered = float(1 / (1 + np.exp(whole[1] - whole[2])))
    embedding = np.concatenate([run[1].mean(0) for run in runs])
    return Judgement(score, rendered, embedding, each, first)
