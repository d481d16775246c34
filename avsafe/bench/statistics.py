"""Shares, means and bounds with their intervals. Pure functions.

Legend: ``k`` successes among ``n`` trials; intervals are two-sided 95 % unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from avsafe.types import Aggregate, Score

_Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal


def wilson(k: int, n: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927, JASA 22, p. 209). No trial: (0, 1).

    >>> [round(x, 3) for x in wilson(19, 20)]
    [0.764, 0.991]
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes among {n} trials make no sense.")
    if n == 0:
        return 0.0, 1.0
    share, z2 = k / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def rate_bound(k: int, n: int) -> float:
    """The one-sided 95 % upper bound of a rate (Clopper and Pearson 1934); for k = 0 close to the
    rule of three, 3 / n. No trial: 1.

    >>> round(rate_bound(0, 100_000) * 1e5, 2)
    3.0
    """
    from scipy.stats import beta

    if not 0 <= k <= n:
        raise ValueError(f"{k} events among {n} trials make no sense.")
    return 1.0 if k >= n else float(beta.ppf(0.95, k + 1, n - k))


def bootstrap_mean(
    values: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979). One value: that value twice.

    >>> low, high = bootstrap_mean([1.0, 2.0, 3.0, 4.0])
    >>> 1.0 <= low < 2.5 < high <= 4.0
    True
    """
    if not values:
        raise ValueError("There is no value to average.")
    data = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (draws, len(data)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def quantiles(values: Sequence[float], at: Sequence[float] = (0.05, 0.5, 0.95)) -> dict[str, float]:
    """Name -> quantile; empty without values.

    >>> quantiles([1, 2, 3], at=(0.5,))
    {'q50': 2.0}
    """
    if not values:
        return {}
    found = np.quantile(np.asarray(values, np.float64), at)
    return {f"q{round(100 * a)}": float(q) for a, q in zip(at, found, strict=True)}


def share(metric: str, scores: Iterable[Score], n_expected: int) -> Aggregate | None:
    """The share of scores that are 1, with Wilson's interval. None when nothing was scored."""
    values = [score.value for score in scores if score.value is not None]
    if not values:
        return None
    k = sum(value >= 0.5 for value in values)
    low, high = wilson(k, len(values))
    return Aggregate(metric, k / len(values), low, high, len(values), n_expected, "95 % Wilson")


def mean(metric: str, scores: Iterable[Score], n_expected: int) -> Aggregate | None:
    """The mean of scores, with a bootstrap interval. None when nothing was scored."""
    values = [score.value for score in scores if score.value is not None]
    if not values:
        return None
    low, high = bootstrap_mean(values)
    return Aggregate(metric, float(np.mean(values)), low, high, len(values), n_expected)
