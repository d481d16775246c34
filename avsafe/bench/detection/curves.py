"""Curves of scores against labels, and what is read off them. Pure functions.

Legend: ``n`` units, ``d`` draws of a bootstrap, ``u`` different scores; a score is higher for
synthetic. ``weight`` is (n,) or (d, n): how often a unit counts. Curves are (d, u + 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import balanced as balanced
from avsafe.calibration import binned
from avsafe.calibration import ece as ece

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]
    Bool = NDArray[np.bool_]

_CELLS = 4_000_000  # numbers of one block of draws: 32 MB


def roc(score: F64, synthetic: Bool, weight: F64 | None = None) -> tuple[F64, F64]:
    """Share of real (false positive rate) and of synthetic units (true positive rate) at or above
    each different score, from (0, 0) to (1, 1); equal scores are one step.

    >>> fpr, tpr = roc(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    >>> fpr[0].tolist(), tpr[0].tolist()
    ([0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    rows = np.atleast_2d(np.ones(len(score)) if weight is None else weight)[:, order]
    return _rate(rows, ~synthetic[order], ends), _rate(rows, synthetic[order], ends)


def _rate(rows: F64, members: Bool, ends: NDArray[np.int64]) -> F64:
    above = np.cumsum(rows * members, axis=1)[:, ends]
    total = above[:, -1:]
    shares = np.divide(above, total, out=np.zeros_like(above), where=total > 0)
    return np.hstack([np.zeros((len(rows), 1)), shares])


def auc(fpr: F64, tpr: F64) -> F64:
    """(d,) areas under curves: the chance that a synthetic unit scores above a real one, ties half
    (Hanley and McNeil 1982, Radiology 143, p. 29)."""
    return np.asarray(np.sum(np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1))


def eer(fpr: F64, tpr: F64) -> F64:
    """(d,) rates where as many real units pass as synthetic ones miss, on straight lines between
    the points of the curve."""
    gap = fpr - (1 - tpr)  # from -1 to 1, never falling
    after = np.argmax(gap >= 0, axis=1)
    row = np.arange(len(gap))
    before = np.maximum(after - 1, 0)
    low, high = gap[row, before], gap[row, after]
    part = np.divide(-low, high - low, out=np.zeros_like(low), where=high > low)
    return np.asarray(fpr[row, before] + part * (fpr[row, after] - fpr[row, before]))


def tpr_at(fpr: F64, tpr: F64, most: float) -> F64:
    """(d,) highest true positive rates of thresholds that at most a share ``most`` of the real
    units reach; nothing is interpolated."""
    return np.asarray(np.where(fpr <= most + 1e-12, tpr, 0.0).max(axis=1))


def drawn(
    synthetic: Bool, source: NDArray[Any], draws: int, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """Blocks of (d, n) weights: sources drawn with replacement within each class, all units of a
    source together.

    >>> y, of = np.array([False, False, True]), np.array(["a", "a", "b"])
    >>> next(drawn(y, of, 2)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    rng = np.random.default_rng([seed, len(synthetic)])
    at = np.zeros(len(synthetic), np.int64)
    sizes = []
    for label in (False, True):
        names, place = np.unique(source[synthetic == label], return_inverse=True)
        at[synthetic == label] = place
        sizes.append(len(names))
    block = max(1, _CELLS // max(1, len(synthetic)))
    for start in range(0, draws, block):
        count = min(block, draws - start)
        rows = np.zeros((count, len(synthetic)))
        for label, size in zip((False, True), sizes, strict=True):
            if size:
                times = rng.multinomial(size, np.full(size, 1 / size), count).astype(np.float64)
                rows[:, synthetic == label] = times[:, at[synthetic == label]]
        yield rows


# ---------------------------------------------------------------- probabilities


def coverage_risk(probability: F64, synthetic: Bool) -> tuple[F64, F64]:
    """Coverage and risk: of the share of units with the surest probabilities, the share that is
    called wrongly (above one half is synthetic, one half is half wrong). Both classes weigh the
    same; equally sure units enter together (El-Yaniv and Wiener 2010, JMLR 11, p. 1605).

    >>> coverage_risk(np.array([0.9, 0.6, 0.1]), np.array([True, False, False]))[1].tolist()
    [0.0, 0.25]
    """
    p, y = np.asarray(probability, np.float64), np.asarray(synthetic, bool)
    sure = np.round(np.abs(p - 0.5), 12)
    wrong = np.where(p == 0.5, 0.5, (p > 0.5) != y)
    order = np.argsort(-sure, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(sure[order])), len(p) - 1)
    weight = balanced(y)[order]
    covered = np.cumsum(weight)[ends]
    risk = np.cumsum(weight * wrong[order])[ends] / covered
    return covered / covered[-1], risk


def area(coverage: F64, risk: F64) -> float:
    """The area under a coverage-risk curve, 0 best: the mean risk over all coverages, each step at
    its end (AURC; Geifman, Uziel and El-Yaniv 2019, ICLR)."""
    return float(np.sum(np.diff(np.concatenate([[0.0], coverage])) * risk))


def reliability(probability: F64, synthetic: Bool) -> list[dict[str, float]]:
    """What ``ece`` averages, for a plot; ``n`` is units.

    >>> reliability(np.array([0.25, 0.25]), np.array([False, True]))[0]
    {'probability': 0.25, 'share': 0.5, 'n': 1.0}
    """
    _, stated, share, n = binned(probability, synthetic)
    return [
        {"probability": float(a), "share": float(b), "n": float(c)}
        for a, b, c in zip(stated, share, n, strict=True)
    ]
