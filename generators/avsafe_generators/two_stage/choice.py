"""Several samples of one prompt, and the one that shows most of what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from avsafe_generators.layers import Weights
from avsafe_generators.two_stage import judge, latents, network
from avsafe_generators.world.parse import Description
from avsafe_generators.world.scene import Scene


def chosen(
    text: Description, ids: list[int], weights: Weights, seed: int, *, tries: int, width: int = 512,
    height: int = 512, **how: Any,
) -> Scene:  # fmt: skip
    """Sample ``tries`` scenes and keep the first with the fewest misses (``judge.misses``).

    ``ids`` of ``vocabulary.tokens``; ``how`` goes to ``network.sample``. The rules that choose are
    those that the published figures count with, so figures of one try are the networks' own.
    """
    seeds = [seed + 2**31 * attempt for attempt in range(tries)]
    g, o, m = network.sample(np.array([ids] * tries), seeds, weights, **how)
    scenes = [
        latents.decode(
            g[i], o[i], m[i], width=width, height=height, duration_s=latents.DURATION_S, seed=seed
        )
        for i in range(tries)
    ]
    return min(scenes, key=lambda scene: len(judge.misses(text, scene)))
