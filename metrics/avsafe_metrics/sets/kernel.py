"""Squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13) between two sets of features.

Legend: ``n`` ``m`` rows of the two sets, ``d`` features; k(a, b) a kernel.

KID (Bińkowski et al. 2018, arXiv:1801.01401, eq. 3) takes k(a, b) = (a·b / d + 1)³ and the unbiased
estimator; CMMD (Jayasumana et al. 2024, arXiv:2401.09603) takes a Gaussian kernel of sigma 10 on
CLIP embeddings of length 1, the biased estimator, and multiplies by 1000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Kernel = Callable[[Array, Array], Array]

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0  # as in the published code of CMMD
_BLOCK = 1024  # rows of the kernel matrix that are in memory at once


def polynomial(a: NDArray[Any], b: NDArray[Any]) -> Array:
    """KID's kernel: (n, d), (m, d) -> (n, m).

    >>> polynomial(np.ones((1, 2)), np.ones((1, 2)))
    array([[8.]])
    """
    return np.asarray((a @ b.T / a.shape[1] + 1.0) ** 3, np.float64)


def gaussian(sigma: float) -> Kernel:
    """exp(-|a - b|² / (2 sigma²)).

    >>> gaussian(1.0)(np.zeros((1, 3)), np.zeros((1, 3)))
    array([[1.]])
    """

    def kernel(a: Array, b: Array) -> Array:
        squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None] - 2 * (a @ b.T)
        return np.asarray(np.exp(-np.maximum(squares, 0.0) / (2 * sigma * sigma)), np.float64)

    return kernel


@dataclass(frozen=True)
class Subsets:
    """KID over random subsets, as it is published."""

    mean: float
    deviation: float
    subsets: int
    size: int


def mmd2(x: NDArray[Any], y: NDArray[Any], kernel: Kernel = polynomial) -> float:
    """The unbiased estimator over all pairs; about 0 for equal distributions, and below it too.

    Uses every pair once, so it varies less than the mean over subsets. Memory does not grow with
    n m. Raises ValueError for fewer than two rows.

    >>> x = np.array([[1.0], [-1.0]])  # k = 8 on the diagonal, 0 off it
    >>> mmd2(x, np.zeros((2, 1)))  # 0 + 1 - 2 * 1
    -1.0
    """
    x, y = _rows(x), _rows(y)
    n, m = len(x), len(y)
    own = _sum(x, x, kernel) - _diagonal(x, kernel)
    other = _sum(y, y, kernel) - _diagonal(y, kernel)
    return float(own / (n * (n - 1)) + other / (m * (m - 1)) - 2 * _sum(x, y, kernel) / (n * m))


def mmd2_biased(x: NDArray[Any], y: NDArray[Any], kernel: Kernel = polynomial) -> float:
    """The estimator with the diagonal, which is never negative: 0 for equal sets."""
    x, y = _rows(x), _rows(y)
    n, m = len(x), len(y)
    return float(
        _sum(x, x, kernel) / n**2 + _sum(y, y, kernel) / m**2 - 2 * _sum(x, y, kernel) / (n * m)
    )


def mmd2_without(
    x: NDArray[Any], group: NDArray[np.int64], y: NDArray[Any], kernel: Kernel = polynomial,
    *, biased: bool = False,
) -> NDArray[np.float64]:  # fmt: skip
    """``mmd2`` of x less each of its groups in turn, (g,), from one table of kernel sums.

    >>> x = np.array([[1.0], [-1.0], [5.0]])
    >>> found = mmd2_without(x, np.array([0, 0, 1]), np.zeros((2, 1)))
    >>> float(found[1]) == mmd2(x[:2], np.zeros((2, 1))), float(found[0])  # one row has no pair
    (True, nan)
    """
    x, y = _rows(x), _rows(y)
    order = np.argsort(group, kind="stable")
    x, group = x[order], np.asarray(group)[order]
    counts = np.bincount(group)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rows = np.stack(
        [np.add.reduceat(_sums(x, part, kernel), first) for part in np.split(x, first[1:])]
    )
    diagonal = np.add.reduceat(np.array([kernel(r[None], r[None])[0, 0] for r in x]), first)
    cross = np.add.reduceat(_sums(x, y, kernel), first)
    other = _sum(y, y, kernel)
    n, m = len(x) - counts, len(y)
    own = rows.sum() - 2 * rows.sum(axis=1) + np.diag(rows)
    across = cross.sum() - cross
    with np.errstate(divide="ignore", invalid="ignore"):
        if biased:
            return np.asarray(own / n**2 + other / m**2 - 2 * across / (n * m), np.float64)
        own = (own - (diagonal.sum() - diagonal)) / (n * (n - 1))
        other = (other - _diagonal(y, kernel)) / (m * (m - 1))
        return np.asarray(own + other - 2 * across / (n * m), np.float64)


def kid_subsets(
    x: NDArray[Any], y: NDArray[Any], *, subsets: int = 100, size: int = 1000, seed: int = 2020
) -> Subsets:
    """KID as published: mean and standard deviation of ``mmd2`` over random subsets of both sets.

    The draws are torch-fidelity's (Mersenne twister, ``seed`` 2020), so equal features in equal
    order give its numbers. Raises ValueError when a set is smaller than a subset.
    """
    x, y = _rows(x), _rows(y)
    least = min(len(x), len(y))
    if least < size:
        raise ValueError(f"subsets of {size} rows from {least}; choose a smaller size")
    rng = np.random.RandomState(seed)
    found = [
        mmd2(x[rng.choice(len(x), size, replace=False)], y[rng.choice(len(y), size, replace=False)])
        for _ in range(subsets)
    ]
    return Subsets(float(np.mean(found)), float(np.std(found)), subsets, size)


def cmmd(x: NDArray[Any], y: NDArray[Any], *, sigma: float = CMMD_SIGMA) -> float:
    """CMMD of CLIP image embeddings (n, d), (m, d): rows are brought to length 1 first.

    Range 0 (equal) to 2000, lower is better. Raises ValueError for a row of length 0.

    >>> x = np.eye(3)
    >>> round(cmmd(x, x), 9)
    0.0
    """
    return CMMD_SCALE * mmd2_biased(unit(x), unit(y), gaussian(sigma))


def unit(rows: NDArray[Any]) -> Array:
    """Rows of length 1."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (length > 0).all():
        raise ValueError("an embedding of length 0 has no direction")
    return np.asarray(rows / length, np.float64)


def _rows(x: NDArray[Any]) -> Array:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(
            f"features of shape {x.shape}; expected (rows, features), two rows or more"
        )
    return x


def _sum(x: Array, y: Array, kernel: Kernel) -> float:
    return float(sum(float(kernel(x[i : i + _BLOCK], y).sum()) for i in range(0, len(x), _BLOCK)))


def _sums(x: Array, y: Array, kernel: Kernel) -> Array:
    """For each row of x, the sum over y."""
    parts = [kernel(x[i : i + _BLOCK], y).sum(axis=1) for i in range(0, len(x), _BLOCK)]
    return np.concatenate(parts)


def _diagonal(x: Array, kernel: Kernel) -> float:
    return float(sum(float(kernel(row[None], row[None])[0, 0]) for row in x))
