"""The classifier that runs everywhere: hashed character n-grams and linear heads, NumPy only.

Weaker than the embedding (docs/policy.md has the figures of both), so the policy reviews more where
it has to stand alone.

Legend: ``n`` texts, ``b`` buckets.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avsafe.policy.risk.normalise import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORER = "char-ngrams+heads-2"
BUCKETS = 4096
SIZES = (3, 4, 5)  # characters; words are padded with a space on either side


def featurise(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors ``(n, b)`` of log-damped counts, hashed with a sign (Weinberger et al. 2009,
    arXiv:0902.2206). The same on every machine: CRC-32, not Python's seeded hash.
    """
    rows = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(rows, texts, strict=True):
        counts: Counter[str] = Counter()
        words = re.findall(r"[^\W_]+", fold(text))
        counts.update(f"w:{word}" for word in words)
        for word in words:
            padded = f" {word} "
            for size in SIZES:
                counts.update(padded[i : i + size] for i in range(len(padded) - size + 1))
        for gram, count in counts.items():
            code = zlib.crc32(gram.encode())
            row[code % BUCKETS] += (1 if code >> 31 else -1) * np.log1p(count)
        norm = np.linalg.norm(row)
        if norm:
            row /= norm
    return rows
