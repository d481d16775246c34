"""The network that scores tiles, in numpy, and what a picture's tiles say together.

Legend: ``n`` tiles, ``d`` features; a logit is higher for generated or re-synthesised pixels.
"""

from __future__ import annotations

import math
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

WEIGHTS = Path(__file__).with_name("weights") / "image.safetensors"
CALIBRATION = Path(__file__).with_name("weights") / "calibration.json"
CLIP = 5.0  # standard deviations of a feature
LAYERS = ("0", "1", "2")


def standardised(x: F32, weights: Mapping[str, F32]) -> F32:
    """(n, d), mean 0 and deviation 1 over the training tiles, within +-5."""
    return np.asarray(np.clip((x - weights["mean"]) / weights["deviation"], -CLIP, CLIP))


def logits(x: F32, weights: Mapping[str, F32]) -> F32:
    """(n, d) features -> (n,) logits, mean over the members."""
    z = standardised(x, weights)
    members = sorted({k.split(".")[0] for k in weights if k.startswith("m")} - {"mean"})
    out = np.zeros(len(z), np.float32)
    for member in members:
        y = z
        for layer in LAYERS:
            y = y @ weights[f"{member}.{layer}.weight"] + weights[f"{member}.{layer}.bias"]
            if layer != LAYERS[-1]:
                y = y / (1 + np.exp(-np.clip(y, -30, 30)))  # SiLU
        out += y[:, 0] / len(members)
    return out


def pooled(tile_logits: F32) -> float:
    """A picture's score: the mean over its tiles, each within +-6; NaN without tiles.

    >>> pooled(np.array([1.0, 3.0, 90.0], np.float32))
    3.3333332538604736
    """
    kept = tile_logits[np.isfinite(tile_logits)]
    return float(np.clip(kept, -6, 6).mean()) if len(kept) else math.nan


def tile_p(tile_logits: F32, null: F32) -> NDArray[np.float64]:
    """Share of real tiles that score as high, (k + 1) / (n + 1); NaN stays NaN. ``null`` ascends.

    >>> tile_p(np.array([0.5, 9.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [0.75, 0.25]
    """
    above = len(null) - np.searchsorted(null, tile_logits, side="left")
    p = (above + 1.0) / (len(null) + 1.0)
    return np.asarray(np.where(np.isfinite(tile_logits), p, np.nan))


@lru_cache(maxsize=2)
def load(path: Path = WEIGHTS) -> Mapping[str, F32]:
    """The arrays that ship: the network, ``region.*`` and ``null.CONDITION``."""
    from safetensors.numpy import load_file

    return {name: value.astype(np.float32) for name, value in load_file(path).items()}
