"""What ships, in numpy: a linear model and boosted trees on the measures of a window.

Legend: ``n`` windows, ``d`` measures; a score is the log-odds of generated against filmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

WEIGHTS = Path(__file__).parent / "weights" / "video.safetensors"
CALIBRATION = Path(__file__).parent / "weights" / "calibration.json"
_FARTHEST = 4.0  # spreads: a measure beyond is taken for this far, so that none decides alone


@lru_cache(maxsize=1)
def load() -> Mapping[str, F32]:
    """The weights that ship. Raises FileNotFoundError."""
    from safetensors.numpy import load_file

    return load_file(WEIGHTS)


def standardised(x: F32, weights: Mapping[str, F32]) -> F32:
    """(n, d) in spreads from the centre of training windows, within +-4."""
    z = (x - weights["centre"]) / weights["spread"]
    return np.asarray(np.clip(z, -_FARTHEST, _FARTHEST), np.float32)


def scores(x: F32, weights: Mapping[str, F32]) -> F32:
    """(n, d) measures -> (n,) log-odds of generated, mean of both models."""
    z = standardised(x, weights)
    linear = z @ weights["linear.weight"] + weights["linear.bias"][0]
    share = float(weights["share"][0])
    if share <= 0:
        return np.asarray(linear, np.float32)
    return np.asarray((1 - share) * linear + share * trees(z, weights), np.float32)


def trees(z: F32, weights: Mapping[str, F32]) -> F32:
    """(n, d) -> (n,): boosted trees; a row of ``feature``, ``threshold``, ``left``, ``right``,
    ``value`` holds one tree's nodes; a leaf has feature -1 and no children."""
    feature, value = weights["trees.feature"].astype(int), weights["trees.value"]
    threshold = weights["trees.threshold"]
    left, right = weights["trees.left"].astype(int), weights["trees.right"].astype(int)
    out = np.full(len(z), float(weights["trees.base"][0]))
    rows = np.arange(len(z))
    for tree in range(len(feature)):
        node = np.zeros(len(z), int)
        while (of := feature[tree, node]).max(initial=-1) >= 0:
            low = z[rows, np.maximum(of, 0)] <= threshold[tree, node]
            node = np.where(of < 0, node, np.where(low, left[tree, node], right[tree, node]))
        out += value[tree, node]
    return out.astype(np.float32)


def condition_of(x: F32, weights: Mapping[str, F32]) -> tuple[int, float]:
    """Number of the measured condition that windows (n, d) look like, and its probability."""
    z = standardised(x, weights).mean(0)
    logits = z @ weights["condition.weight"] + weights["condition.bias"]
    p = np.exp(logits - logits.max())
    p = p / p.sum()
    best = int(np.argmax(p))
    return best, float(p[best])
