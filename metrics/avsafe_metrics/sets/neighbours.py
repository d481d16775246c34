"""Precision, recall, density and coverage: whether each set lies where the other is dense.

Legend: ``x`` rows of the clips under test (n, d), ``y`` of the reference (m, d), ``k`` neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BLOCK = 512  # rows of the table of distances that are in memory at once


@dataclass(frozen=True)
class Neighbours:
    precision: float  # share of x inside some ball of y, 0 to 1
    recall: float  # share of y inside some ball of x, 0 to 1
    density: (
        float  # how many balls of y hold a row of x, over k; about 1 where equal, may exceed it
    )
    coverage: float  # share of balls of y that hold a row of x, 0 to 1


def neighbours(x: NDArray[Any], y: NDArray[Any], *, k: int = 5) -> Neighbours:
    """All four of rows x (n, d) against reference y (m, d); higher is better.

    A ball is around a row, up to its k-th nearest neighbour in its own set. Precision and recall:
    Kynkäänniemi et al. 2019 (arXiv:1904.06991); density and coverage: Naeem et al. 2020
    (arXiv:2002.09797, eq. 3 and 4). For equal distributions coverage tends to 1 - 0.5^k.
    Raises ValueError when a set has no more than ``k`` rows.

    >>> y = np.array([[0.0], [1.0], [2.0], [10.0]])
    >>> neighbours(y[1:3], y, k=1)
    Neighbours(precision=1.0, recall=0.75, density=3.0, coverage=1.0)
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features of shapes {x.shape} and {y.shape}; expected (n, d) and (m, d)")
    if min(len(x), len(y)) <= k:
        raise ValueError(f"{min(len(x), len(y))} rows have no {k}-th neighbour each")
    radius_x, radius_y = radii(x, k), radii(y, k)
    held = np.zeros(len(y), bool)  # balls of y that hold a row of x
    inside_x = np.zeros(len(y), bool)  # rows of y inside a ball of x
    hits = np.zeros(len(x))
    for start in range(0, len(x), _BLOCK):
        stop = min(len(x), start + _BLOCK)
        distance = _distances(x[start:stop], y)
        within = distance <= radius_y[None]
        hits[start:stop] = within.sum(axis=1)
        held |= within.any(axis=0)
        inside_x |= (distance <= radius_x[start:stop, None]).any(axis=0)
    return Neighbours(
        float((hits > 0).mean()), float(inside_x.mean()), float(hits.mean() / k),
        float(held.mean()),
    )  # fmt: skip


def radii(rows: Array, k: int) -> Array:
    """Distance of each row to its k-th nearest other row, (n,).

    >>> radii(np.array([[0.0], [1.0], [3.0]]), 1)
    array([1., 1., 2.])
    """
    found = np.zeros(len(rows))
    for start in range(0, len(rows), _BLOCK):
        distance = _distances(rows[start : start + _BLOCK], rows)
        for index in range(len(distance)):  # itself, at 0 exactly
            distance[index, start + index] = 0.0
        found[start : start + _BLOCK] = np.partition(distance, k, axis=1)[:, k]
    return found


def _distances(a: Array, b: Array) -> Array:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(a, b), np.float64)
