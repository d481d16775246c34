"""What ships, in numpy: small networks on statistics of an utterance.

Legend: ``w`` windows of 1.92 s, ``f`` 216 bins, ``d`` statistics of a part or window; scores are
log-odds of "made" (synthetic or re-rendered) against "real".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import features, fine
from avsafe_detectors.speech.network import LAYERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

PART = 400  # frames: 4 s
WEIGHTS = Path(__file__).parent / "weights" / "speech.safetensors"


@dataclass(frozen=True, eq=False)
class Judgement:
    score: float  # log-odds of made against real, of the whole
    rendered: float  # if it is made: how far it looks re-rendered, 0 to 1
    summaries: F32  # (p, d) statistics of its parts of at most 4 s
    windows: F32  # (w,) log-odds of each window
    first: NDArray[np.int64]  # (w,) first frame among the heard ones


@lru_cache(maxsize=1)
def load() -> Mapping[str, F32]:
    from safetensors.numpy import load_file

    return {k: v.astype(np.float32) if v.dtype == np.float16 else v
            for k, v in load_file(WEIGHTS).items()}  # fmt: skip


def network(z: F32, weights: Mapping[str, F32], prefix: str) -> F32:
    """Standardised statistics (n, d) -> logits (n, 3)."""
    for number in range(LAYERS):
        z = z @ weights[f"{prefix}kernel{number}"] + weights[f"{prefix}bias{number}"]
        if number < LAYERS - 1:
            z = np.maximum(z, 0)
    return np.asarray(z, np.float32)


def made(logits: F32) -> F32:
    """(..., 3) -> log-odds of synthetic or re-rendered against real."""
    both = np.logaddexp(logits[..., 1], logits[..., 2])
    return np.asarray(both - logits[..., 0], np.float32)


def standardised(summary: F32, mean: F32, spread: F32) -> NDArray[np.float64]:
    """Statistics (..., d) as ``Region`` wants them; what lies far out is held at 4 deviations."""
    return np.clip((np.asarray(summary, np.float64) - mean) / spread, -4, 4)


def logits(x: F32, weights: Mapping[str, F32]) -> F32:
    """Statistics (n, d) -> (n, 3), the networks' mean."""
    z = standardised(x, weights["summary.mean"], weights["summary.spread"]).astype(np.float32)
    members = sorted({k.split(".")[0] for k in weights if k.startswith("net")})
    return np.asarray(np.mean([network(z, weights, f"{m}.") for m in members], 0), np.float32)


def scores(x: F32, weights: Mapping[str, F32]) -> F32:
    """Statistics (n, d) -> (n,) log-odds of made against real."""
    return made(logits(x, weights))


def judged(x: F32, moments: NDArray[np.uint8], weights: Mapping[str, F32]) -> Judgement:
    """Normalised levels of the heard frames (t, f) and their moments (10 t, 6) -> what the
    networks say.

    The whole is judged in parts of at most 4 s, as long as what was learned from, and the mean of
    what the networks say taken.
    """
    count = max(1, -(-len(x) // PART))
    edges = np.linspace(0, len(x), count + 1).astype(int).tolist()
    parts = _each(x, moments, list(itertools.pairwise(edges)))
    spans = features.windows(len(x))
    whole = logits(parts, weights).mean(0)
    return Judgement(
        score=float(made(whole)),
        rendered=float(1 / (1 + np.exp(whole[1] - whole[2]))),
        summaries=parts,
        windows=scores(_each(x, moments, spans), weights),
        first=np.array([first for first, _ in spans]),
    )


def _each(x: F32, moments: NDArray[np.uint8], spans: list[tuple[int, int]]) -> F32:
    n = fine.PER_FRAME
    return np.stack([features.statistics(x[a:b], moments[n * a : n * b]) for a, b in spans])
