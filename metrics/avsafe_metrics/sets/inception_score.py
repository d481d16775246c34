"""Inception Score: how sure a classifier is of each picture, and how much pictures differ.

Legend: ``n`` pictures, ``c`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class InceptionScore:
    mean: float
    deviation: float  # over the splits
    splits: int


def inception_score(
    logits: NDArray[Any], *, splits: int = 10, seed: int | None = 2020
) -> InceptionScore:
    """exp(mean KL(p(y|x) || p(y))) over each of ``splits`` parts (Salimans et al. 2016, section 4).

    ``logits`` (n, c) float; range 1 to min(c, n / splits), higher is better. It knows no reference:
    it says nothing of realism where the classes of the classifier are not those of the clips, and
    it is low for few pictures. Rows are shuffled as torch-fidelity does (``seed`` 2020), or left as
    they are with None.

    >>> round(inception_score(100 * np.eye(4), splits=1).mean, 9)
    4.0
    >>> inception_score(np.zeros((4, 7)), splits=2).mean
    1.0
    """
    logits = np.asarray(logits, np.float64)
    n = len(logits)
    if logits.ndim != 2 or n < splits:
        raise ValueError(f"logits of shape {logits.shape}; expected (n, c) with n >= {splits}")
    if seed is not None:
        logits = logits[np.random.RandomState(seed).permutation(n)]
    log_p = log_softmax(logits)
    p = np.exp(log_p)
    found = []
    for part in range(splits):
        chunk = slice(part * n // splits, (part + 1) * n // splits)
        mean = p[chunk].mean(axis=0, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p[chunk] > 0, p[chunk] * (log_p[chunk] - np.log(mean)), 0.0)
        found.append(float(np.exp(terms.sum(axis=1).mean())))
    return InceptionScore(float(np.mean(found)), float(np.std(found)), splits)


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Over the last axis.

    >>> np.exp(log_softmax(np.zeros((1, 4))))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float64)
