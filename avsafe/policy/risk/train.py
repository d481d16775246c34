"""Train the heads from ``prompts.jsonl``: ``python -m avsafe.policy.risk.train``.

Logistic regression with an L2 penalty and soft targets: a borderline prompt has target 0.5, not a
side by chance.

Legend: ``n`` prompts, ``d`` features, ``k`` heads.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.policy.risk import embedding, ngrams
from avsafe.policy.risk.heads import EMBEDDING_HEADS, HARM, HEADS, NGRAM_HEADS, SCALE, Heads
from avsafe.policy.risk.normalise import clean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_log = logging.getLogger(__name__)

PROMPTS = Path(__file__).with_name("prompts.jsonl")
DISGUISED = ("obfuscated", "disguised-benign")  # kinds that are evaluated, never trained on
REFUSAL = {"allow": 0.0, "review": 0.5, "deny": 1.0}


@dataclass(frozen=True)
class Recipe:
    """How one set of heads is trained; chosen by grouped cross-validation (reports/prompt_risk)."""

    l2: float
    category_weight: float  # of a positive in a category head: categories are 3-12 % of the prompts
    refusal_shift: float  # added to the refusal logit: moves 70 to the wanted false-denial rate
    least_category: float = 0.0  # heads.combine; pays where category heads are sharp


EMBEDDING_RECIPE = Recipe(l2=3.0, category_weight=6.0, refusal_shift=1.1, least_category=0.08)
NGRAM_RECIPE = Recipe(l2=1.0, category_weight=6.0, refusal_shift=-0.4)


@dataclass(frozen=True)
class Prompt:
    """One labelled prompt. ``group`` ties translations and disguises of one prompt together."""

    id: str
    group: str
    language: str
    kind: str  # benign | near | borderline | harm | obfuscated | disguised-benign
    effect: str  # what the default policy should say
    scores: dict[str, int]
    text: str
    disguise: str | None = None
    form: str = "visual"  # visual (what is to be seen) | spoken | edit | sound


def read_prompts(path: Path = PROMPTS) -> list[Prompt]:
    """The labelled prompts, in file order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Prompt(**json.loads(line)) for line in lines if line.strip()]


def targets(prompts: Sequence[Prompt]) -> NDArray[np.float64]:
    """Soft targets ``(n, k)`` in 0..1, in the order of HEADS."""
    rows = [
        [REFUSAL[prompt.effect]] + [prompt.scores.get(name, 0) / 100 for name in HEADS[1:]]
        for prompt in prompts
    ]
    return np.array(rows)


def fit(
    features: NDArray[np.float32],
    wanted: NDArray[np.float64],
    recipe: Recipe,
    about: dict[str, Any] | None = None,
) -> Heads:
    """Train all heads on features ``(n, d)`` and soft targets ``(n, k)``."""
    from scipy.sparse import csr_matrix

    mean = features.mean(axis=0)
    rows = csr_matrix(features, dtype=np.float64)  # of the n-grams, one in forty is not zero
    columns, bias = [], []
    for j, head in enumerate(HEADS):
        weight = 1.0 if head == HARM else recipe.category_weight
        solution, intercept = _logistic(rows, mean, wanted[:, j], recipe.l2, weight)
        columns.append(solution)
        bias.append(intercept + (recipe.refusal_shift if head == HARM else 0.0))
    return Heads(
        mean.astype(np.float32),
        np.stack(columns, axis=1).astype(np.float32),
        np.array(bias, np.float32),
        {"heads": list(HEADS), "least_category": recipe.least_category, **(about or {})},
    )


def _logistic(
    rows: csr_matrix,
    mean: NDArray[np.float32],
    y: NDArray[np.float64],
    l2: float,
    positive_weight: float,
) -> tuple[NDArray[np.float64], float]:
    """argmin sum_i w_i crossentropy(y_i, sigmoid(x_i b + c)) + l2/2 |b|^2, by L-BFGS from zero,
    where ``x = (rows - mean) * SCALE`` is never written out: centred, it would have no zeros.
    """
    from scipy.optimize import minimize

    weights = 1.0 + (positive_weight - 1.0) * y
    columns = rows.T.tocsr()

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        b = at[:-1]
        z = SCALE * (rows @ b - mean @ b) + at[-1]
        value = (weights * (np.logaddexp(0, z) - y * z)).sum() + 0.5 * l2 * (b @ b)
        slope = weights * (1.0 / (1.0 + np.exp(-np.clip(z, -30, 30))) - y)
        total = slope.sum()
        return float(value), np.append(SCALE * (columns @ slope - mean * total) + l2 * b, total)

    found = minimize(
        loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 400}
    )
    return found.x[:-1], float(found.x[-1])


def embed_all(texts: Sequence[str]) -> NDArray[np.float32]:
    """Features of cleaned texts ``(n, d)`` for the heads that use the embedding."""
    return embedding.featurise([clean(text)[: embedding.MAX_TEXT_CHARS] for text in texts])


def ngrams_all(texts: Sequence[str]) -> NDArray[np.float32]:
    return ngrams.featurise([clean(text) for text in texts])


def train(prompts: Sequence[Prompt]) -> None:
    """Write both heads next to this file."""
    used = [prompt for prompt in prompts if prompt.kind not in DISGUISED]
    wanted = targets(used)
    about = {
        "prompts": len(used),
        "prompts_sha256": hashlib.sha256(PROMPTS.read_bytes()).hexdigest(),
    }
    jobs: tuple[tuple[str, Callable[[Sequence[str]], NDArray[np.float32]], Recipe, Path], ...] = (
        (ngrams.SCORER, ngrams_all, NGRAM_RECIPE, NGRAM_HEADS),
        (embedding.SCORER, embed_all, EMBEDDING_RECIPE, EMBEDDING_HEADS),
    )
    for name, featurise, recipe, path in jobs:
        features = featurise([prompt.text for prompt in used])
        fit(features, wanted, recipe, {"scorer": name, **about}).save(path)
        _log.info("%s: %d prompts -> %s", name, len(used), path.name)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(read_prompts())
