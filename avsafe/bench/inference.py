"""How sure a figure is: clustered intervals, paired tests, corrections, what could have been seen.

Legend: ``v`` values of clips, ``g`` clusters (all clips of one prompt or person), ``d`` differences
of two systems on the same item. Intervals are two-sided 95 %. Clips of one cluster are not
independent, so clusters, and not clips, are resampled and flipped. Sums are exact (``fsum``) over
sorted clusters and random numbers depend on the seed and on counts only: the order of rows changes
no bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avsafe.bench.statistics import wilson

DRAWS = 4000  # of the bootstrap
FLIPS = 9999  # of the sign-flip test where all flips are too many: the least p is 1e-4
_EXACT_UP_TO = 13  # clusters: 4096 flips, since a flip and its mirror weigh the same
_FEWEST = 8  # clusters for the bootstrap; below it, Student's t
_POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A mean or share with its ends; the ends are None where nothing can be said of them."""

    value: float
    low: float | None
    high: float | None
    n: int
    n_clusters: int
    method: str


@dataclass(frozen=True)
class Paired:
    """System a against system b on the items that both scored; differences are a - b."""

    difference: float
    low: float | None
    high: float | None
    p: float  # sign-flip test; exact for up to 13 clusters
    least_p: float  # the smallest p that so few clusters can give
    n: int  # common items
    n_clusters: int
    mean_a: float
    mean_b: float
    effect: float | None  # Cohen's d_z: mean difference over its standard deviation
    won: float  # share of items where a has the higher value, ties half
    won_low: float
    won_high: float
    detectable: float | None  # the difference seen with 80 % power at p < 0.05, uncorrected
    method: str


# ---------------------------------------------------------------- sums over clusters


def cluster_sums(
    values: Sequence[float], clusters: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and count of each cluster, ``(g,)`` both, in the order of the clusters' names.

    >>> cluster_sums([1.0, 5.0, 3.0], ["b", "a", "b"])
    (array([5., 4.]), array([1., 2.]))
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters: give one for each.")
    if not values:
        raise ValueError("There is no value to average.")
    groups: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(float(value))
    names = sorted(groups)
    sums = np.array([math.fsum(groups[name]) for name in names])
    return sums, np.array([float(len(groups[name])) for name in names])


def robust_error(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """The standard error of a mean of ``counts.sum()`` clips by leaving out one cluster at a time:
    the jackknife, also called CR3 (MacKinnon, Nielsen and Webb 2023, Journal of Econometrics 232,
    p. 272), which errs least where clusters are few and of unequal size. One cluster: nan.

    With one clip a cluster it is sd / sqrt(n):

    >>> round(robust_error(np.array([1.0, 2.0, 3.0]), np.ones(3)) * math.sqrt(3), 9)
    1.0
    """
    g = len(sums)
    if g < 2:
        return math.nan
    without = _without_each(sums, counts)
    return math.sqrt((g - 1) / g * math.fsum((without - math.fsum(without) / g) ** 2))


def _without_each(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    left_out: NDArray[np.float64] = (math.fsum(sums) - sums) / (math.fsum(counts) - counts)
    return left_out


# ---------------------------------------------------------------- intervals


def clustered_mean(
    values: Sequence[float],
    clusters: Sequence[str],
    *,
    low: float | None = None,
    high: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """The mean of ``values`` with an interval for new clusters of the same kind.

    Eight clusters or more: BCa bootstrap of clusters (Efron 1987, JASA 82, p. 171, eq. 6.8),
    widened for few clusters as Hesterberg 2015 (The American Statistician 69, p. 371, section 3.3)
    says; of its ends and those of Student's t with the cluster-robust error, the outer ones: on
    skewed values of 8 to 50 clusters each alone covers 88 to 95 %, both together 91 to 95 %. Two to
    seven clusters: t alone. One cluster: no interval. ``low`` and ``high`` are the ends of the
    score's range, which an interval never leaves.

    >>> found = clustered_mean([0.1, 0.3, 0.2, 0.4], ["p", "p", "q", "r"])
    >>> round(found.value, 3), found.n, found.n_clusters, found.method
    (0.25, 4, 3, '95 % t, 3 clusters')
    """
    sums, counts = cluster_sums(values, clusters)
    g, n = len(sums), len(values)
    mean = math.fsum(sums) / n
    if g == 1:
        return Interval(mean, None, None, n, 1, "none: one cluster tells nothing of others")
    half = _t_quantile(0.975, g - 1) * robust_error(sums, counts)
    left, right, method = mean - half, mean + half, "95 % t"
    if g >= _FEWEST:
        first, last = bca(sums, counts, draws=draws, seed=seed)
        left, right, method = min(left, first), max(right, last), "95 % BCa bootstrap and t"
    method += f", {g} clusters" if g < n else ""
    left = left if low is None else max(low, left)
    right = right if high is None else min(high, right)
    return Interval(mean, min(left, mean), max(right, mean), n, g, method)


def bca(
    sums: NDArray[np.float64], counts: NDArray[np.float64], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The ends of the BCa interval of a mean, from the sum and count of each cluster.

    >>> low, high = bca(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4))
    >>> 1 <= low < 2.5 < high <= 4
    True
    """
    from scipy.stats import norm

    g = len(sums)
    mean = math.fsum(sums) / math.fsum(counts)
    chosen = _resamples(g, draws, seed)
    means = np.sort(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    near = 1e-12 * max(1.0, abs(mean))
    if means[-1] - means[0] <= near:
        return mean, mean
    below = (np.sum(means < mean - near) + np.sum(means <= mean + near)) / (2 * draws)
    bias = float(norm.ppf(np.clip(below, 1 / draws, 1 - 1 / draws)))
    without = _without_each(sums, counts)
    pull = math.fsum(without) / g - without
    spread = math.fsum(pull**2)
    skew = math.fsum(pull**3) / (6 * spread**1.5) if spread > 0 else 0.0
    z = math.sqrt(g / (g - 1)) * _t_quantile(0.975, g - 1)
    at = [_adjusted(bias, skew, sign * z) for sign in (-1.0, 1.0)]
    low, high = np.quantile(means, [float(norm.cdf(a)) for a in at])
    return float(low), float(high)


def _adjusted(bias: float, skew: float, z: float) -> float:
    moved = bias + z
    return bias + moved / max(0.1, 1 - skew * moved)


def clustered_share(values: Sequence[float], clusters: Sequence[str]) -> Interval:
    """The share of ones among zeros and ones, with Wilson's interval; where clusters hold several
    clips, at the effective sample size n / design effect, shrunk for few clusters (Korn and
    Graubard 1998, Survey Methodology 24, p. 193, with Wilson's in place of the exact interval). All
    equal: the design effect is unknown and a cluster counts as one.

    >>> found = clustered_share([1, 1, 0, 1], ["a", "b", "c", "d"])
    >>> (found.low, found.high) == wilson(3, 4)
    True
    """
    if any(value not in (0, 1) for value in values):
        raise ValueError("A share is of zeros and ones; use clustered_mean for other values.")
    sums, counts = cluster_sums(values, clusters)
    g, n = len(sums), len(values)
    share = math.fsum(sums) / n
    if g == n:
        low, high = wilson(round(math.fsum(sums)), n)
        return Interval(share, low, high, n, g, "95 % Wilson")
    if g == 1:
        return Interval(share, None, None, n, 1, "none: one cluster tells nothing of others")
    effective = float(g)
    if 0 < share < 1:
        plain = share * (1 - share) / n
        effect = max(1.0, robust_error(sums, counts) ** 2 / plain)
        shrunk = (_t_quantile(0.975, n - 1) / _t_quantile(0.975, g - 1)) ** 2
        effective = max(1.0, n / effect * shrunk)
    low, high = wilson_at(share, effective)
    return Interval(share, low, high, n, g, f"95 % Wilson, {g} clusters")


def wilson_at(share: float, n: float) -> tuple[float, float]:
    """Wilson's interval of a share of ``n`` trials, where ``n`` need not be whole.

    >>> [round(x, 3) for x in wilson_at(0.95, 20)]
    [0.764, 0.991]
    """
    z2 = 1.959963984540054**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


# ---------------------------------------------------------------- comparisons


def sign_flip(
    sums: Sequence[float], *, flips: int = FLIPS, seed: int = 0
) -> tuple[float, float, str]:
    """Two-sided p that the differences are as far from 0, when the sign of each cluster is a coin's
    (Fisher's randomisation test of pairs). -> p, the least p it can give, the method's name.

    Exact up to 13 clusters; beyond, (1 + as extreme) / (1 + flips), which is never too small
    (Phipson and Smyth 2010, SAGMB 9, eq. 2).

    >>> sign_flip([1.0, 1.0, 1.0, 1.0])
    (0.125, 0.125, 'exact sign-flip')
    """
    data = np.asarray(sums, np.float64)
    g = len(data)
    if g == 0:
        raise ValueError("There is no difference to test.")
    near = 1e-9 * max(1e-300, math.fsum(np.abs(data)))
    reached = abs(math.fsum(data)) - near
    if g <= _EXACT_UP_TO:
        signs = _all_signs(g)
        extreme = int(np.sum(np.abs((signs * data).sum(axis=1)) >= reached))
        return extreme / len(signs), 1 / len(signs), "exact sign-flip"
    signs = _some_signs(g, flips, seed)
    extreme = 0
    for start in range(0, flips, 1000):  # bounded memory
        block = signs[start : start + 1000]
        extreme += int(np.sum(np.abs((block * data).sum(axis=1)) >= reached))
    return (1 + extreme) / (1 + flips), 1 / (1 + flips), f"sign-flip, {flips} flips"


def paired(
    a: Mapping[str, float],
    b: Mapping[str, float],
    clusters: Mapping[str, str],
    *,
    draws: int = DRAWS,
    flips: int = FLIPS,
    seed: int = 0,
) -> Paired | None:
    """System a against b: item -> mean value over its clips. None without a common item.

    >>> found = paired({"x": 2.0, "y": 3.0}, {"x": 1.0, "y": 1.0, "z": 9.0}, {"x": "x", "y": "y"})
    >>> found.difference, found.n, found.p, found.won
    (1.5, 2, 0.5, 1.0)
    """
    items = sorted(a.keys() & b.keys())
    if not items:
        return None
    differences = [a[item] - b[item] for item in items]
    groups = [clusters.get(item) or item for item in items]
    found = clustered_mean(differences, groups, draws=draws, seed=seed)
    sums, counts = cluster_sums(differences, groups)
    p, least, method = sign_flip(list(sums), flips=flips, seed=seed)
    n = len(items)
    sd = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    scale = 1e-12 * max(1.0, max(abs(a[i]) + abs(b[i]) for i in items))
    wins = [1.0 if x > scale else 0.0 if x < -scale else 0.5 for x in differences]
    won = math.fsum(wins) / n
    won_low, won_high = wilson_at(won, float(len(sums)))
    return Paired(
        difference=found.value,
        low=found.low,
        high=found.high,
        p=p,
        least_p=least,
        n=n,
        n_clusters=found.n_clusters,
        mean_a=math.fsum(a[i] for i in items) / n,
        mean_b=math.fsum(b[i] for i in items) / n,
        effect=found.value / sd if sd > scale else None,
        won=won,
        won_low=won_low,
        won_high=won_high,
        detectable=detectable(robust_error(sums, counts), len(sums)) if len(sums) > 1 else None,
        method=f"{method}; {found.method}",
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the order given (Holm 1979, Scandinavian Journal of
    Statistics 6, p. 65): below 0.05 for as many as may be called different with 5 % risk of any
    false one.

    >>> [round(p, 4) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: (p_values[i], i))
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def detectable(error: float, n: int, *, alpha: float = 0.05, power: float = _POWER) -> float:
    """The true mean difference that a two-sided paired t test of ``n`` clusters finds with
    ``power``, when the standard error is ``error`` (noncentral t).

    >>> round(detectable(1 / math.sqrt(34), 34), 3)  # Cohen's d of 0.5 takes 34 pairs
    0.495
    """
    return _noncentrality(n, alpha, power) * error


@lru_cache(maxsize=256)
def _noncentrality(n: int, alpha: float, power: float) -> float:
    from scipy.optimize import brentq
    from scipy.stats import nct

    if n < 2:
        raise ValueError(f"{n} cluster: a spread takes two.")
    limit = _t_quantile(1 - alpha / 2, n - 1)

    def short_of(shift: float) -> float:
        beyond = float(nct.sf(limit, n - 1, shift))
        other = float(nct.cdf(-limit, n - 1, shift))
        return beyond + (0.0 if math.isnan(other) else other) - power

    return float(brentq(short_of, 0.01, 4 * limit + 10))


# ---------------------------------------------------------------- random numbers, drawn once


@lru_cache(maxsize=512)
def _t_quantile(at: float, degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(at, degrees))


@lru_cache(maxsize=8)
def _resamples(g: int, draws: int, seed: int) -> NDArray[np.int32]:
    return np.random.default_rng([seed, g, draws]).integers(0, g, (draws, g), dtype=np.int32)


@lru_cache(maxsize=8)
def _some_signs(g: int, flips: int, seed: int) -> NDArray[np.int8]:
    coins = np.random.default_rng([seed, g, flips, 1]).integers(0, 2, (flips, g), dtype=np.int8)
    return (2 * coins - 1).astype(np.int8)


@lru_cache(maxsize=16)
def _all_signs(g: int) -> NDArray[np.int8]:
    """Every sign of all clusters but the first, whose mirror images weigh the same."""
    codes = np.arange(2 ** (g - 1))[:, None] >> np.arange(g - 1)[None, :]
    signs = np.ones((2 ** (g - 1), g), np.int8)
    signs[:, 1:] = 1 - 2 * (codes & 1)
    return signs
