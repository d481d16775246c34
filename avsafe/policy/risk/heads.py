"""Linear heads over text features: one per category, and one for "would a person refuse this".

The category heads say *what* a text is about, the refusal head says *how bad* it is; a category
scores the refusal probability times its share of the strongest category. A refusal that no category
can account for (all below ``least_category``) counts in part: most of those are harmless lines of a
kind that the heads have not seen. Weights are plain arrays in an ``.npz`` file (never pickle);
``train.py`` makes them.

Legend: ``n`` texts, ``d`` features, ``k`` heads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.policy.risk.report import CATEGORIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMBEDDING_HEADS = Path(__file__).with_name("heads_embedding.npz")
NGRAM_HEADS = Path(__file__).with_name("heads_ngrams.npz")
HARM = "harm"  # the refusal head
OWN_SCORE = ("minor", "ip")  # facts, not harms: their own probability counts
LEARNED = tuple(name for name in CATEGORIES if name != "obfuscated")
HEADS = (HARM, *LEARNED)
SCALE = 10.0  # e5 cosines lie in 0.7-1.0: centred vectors are short


@dataclass(frozen=True)
class Heads:
    """``probability = sigmoid((features - mean) * SCALE @ weights + bias)``."""

    mean: NDArray[np.float32]  # (d,)
    weights: NDArray[np.float32]  # (d, k)
    bias: NDArray[np.float32]  # (k,)
    about: Mapping[str, Any]

    def scores(self, features: NDArray[np.float32]) -> list[dict[str, int]]:
        """Scores 0-100 per learned category, one dictionary a text."""
        logits = (features - self.mean) * SCALE @ self.weights + self.bias
        probabilities = 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))
        return combine(probabilities, float(self.about.get("least_category", 0.0)))

    def save(self, path: Path) -> None:
        np.savez_compressed(
            path,
            mean=self.mean.astype(np.float16),
            weights=self.weights.astype(np.float16),
            bias=self.bias.astype(np.float32),
            about=np.array(json.dumps(self.about, sort_keys=True)),
        )

    @classmethod
    @lru_cache(maxsize=4)
    def load(cls, path: Path) -> Heads:
        """Raises ValueError when the file is for other categories than the code."""
        with np.load(path, allow_pickle=False) as data:
            about = json.loads(str(data["about"]))
            heads = cls(
                data["mean"].astype(np.float32),
                data["weights"].astype(np.float32),
                data["bias"].astype(np.float32),
                about,
            )
        expected = (len(heads.mean), len(HEADS))
        if tuple(about["heads"]) != HEADS or heads.weights.shape != expected:
            raise ValueError(f"{path.name} does not fit this version; run the training again.")
        if not all(np.isfinite(item).all() for item in (heads.mean, heads.weights, heads.bias)):
            raise ValueError(f"{path.name} holds values that are not finite.")
        return heads


def combine(probabilities: NDArray[Any], least_category: float = 0.0) -> list[dict[str, int]]:
    """Probabilities ``(n, k)`` in the order of HEADS -> scores 0-100 per category.

    Where even the strongest category is below ``least_category`` (0..1), all scores shrink.
    """
    found = []
    harms = [name for name in LEARNED if name not in OWN_SCORE]
    for row in probabilities:
        chance = dict(zip(HEADS, map(float, row), strict=True))
        strongest = max(least_category, 1e-6, *(chance[name] for name in harms))
        scores = {name: chance[HARM] * chance[name] / strongest for name in harms}
        scores |= {name: chance[name] for name in OWN_SCORE}
        found.append({name: round(100 * value) for name, value in scores.items()})
    return found
