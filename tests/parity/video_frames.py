"""The frames and random weights that record_video.py and the tests both use."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from avsafe.testing import textured_clip
from avsafe_metrics.video.lpips import NETS


def steps() -> list[np.ndarray]:
    """Six frames (180, 240, 3) uint8 of a moving scene."""
    clip = textured_clip(0.24, 240, 180, Fraction(25), seed=3, sound=False)
    return [frame.copy() for frame in clip.frames]


def pair() -> tuple[np.ndarray, np.ndarray]:
    """A frame, and the same with noise and a shade."""
    one = steps()[0]
    rng = np.random.default_rng(5)
    shade = np.linspace(0.85, 1.05, one.shape[1])[None, :, None]
    other = np.clip(one * shade + rng.normal(0, 12, one.shape), 0, 255).round().astype(np.uint8)
    return one, other


def backbone(net: str) -> dict[str, np.ndarray]:
    """Random convolutions of LPIPS' backbone (He initialisation), by their usual names."""
    rng = np.random.default_rng(11)
    state = {}
    for layer in NETS[net]:
        if not isinstance(layer, str):
            index, inner, outer, kernel = layer[:4]
            spread = np.sqrt(2 / (inner * kernel * kernel))
            weight = rng.standard_normal((outer, inner, kernel, kernel), np.float32) * spread
            state[f"features.{index}.weight"] = weight.astype(np.float32)
            state[f"features.{index}.bias"] = 0.05 * rng.standard_normal(outer, np.float32)
    return state
