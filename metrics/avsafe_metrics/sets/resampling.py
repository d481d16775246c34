"""How much of a figure of a set is chance: intervals, the floor of two halves, and its limit.

Legend: ``x`` rows of the clips under test, ``y`` of the reference; samples are clips, and all rows
of one clip go together, since frames of one clip are no independent draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_metrics.sets.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Of = Callable[[NDArray[Any]], float]
    Between = Callable[[NDArray[Any], NDArray[Any]], float]


_MOST_ROWS = 4000  # a table of their distances takes 128 MB


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    label: str


def jackknife(rows: Rows, value: float, of: Of, *, groups: int = 20, seed: int = 0) -> Interval:
    """95 % interval of ``value = of(rows)``: the delete-a-group jackknife over samples.

    Samples are dealt into groups, each is left out once; t with groups - 1 degrees of freedom
    (Shao and Tu 1995, section 5.1.2). A bootstrap would repeat rows, which lowers the rank of a
    covariance and pushes a Fréchet distance up. The reference counts as given: the interval is of
    the clips under test alone. Fewer than two samples: the value twice.
    """
    groups = min(groups, rows.samples)
    if groups < 2:
        return Interval(value, value, "none: one clip")
    dealt = np.random.default_rng(seed).permutation(rows.samples)
    found = np.array([of(rows.without(dealt[group::groups])) for group in range(groups)])
    return around(value, found)


def dealt_groups(rows: Rows, *, groups: int = 20, seed: int = 0) -> NDArray[np.int64]:
    """The group of ``jackknife`` that each row is in, (n,)."""
    groups = min(groups, rows.samples)
    of_sample = np.zeros(rows.samples, np.int64)
    dealt = np.random.default_rng(seed).permutation(rows.samples)
    for group in range(groups):
        of_sample[dealt[group::groups]] = group
    return of_sample[rows.owner]


def around(value: float, found: NDArray[np.float64]) -> Interval:
    """The interval of a jackknife from its figures with each group left out."""
    from scipy.stats import t as student

    groups = len(found)
    error = float(np.sqrt((groups - 1) / groups * np.sum((found - found.mean()) ** 2)))
    reach = float(student.ppf(0.975, groups - 1)) * error
    return Interval(value - reach, value + reach, f"95 % jackknife, {groups} groups of clips")


@dataclass(frozen=True)
class Floor:
    """What chance alone gives between ``n`` and ``m`` clips of the reference, and what the clips
    under test give at just that size."""

    mean: float
    high: float  # the largest of the splits
    at_size: float  # ``n`` of the clips under test against the same ``m`` of the reference
    low_at_size: float  # the smallest of the splits
    n: int
    m: int
    splits: int

    @property
    def apart(self) -> bool:
        """Every draw of the clips under test lies further off than every split of the reference."""
        return self.low_at_size > self.high


def split_half(
    x: Rows, y: Rows, between: Between, *, splits: int = 10, seed: int = 0
) -> Floor | None:
    """The split-half floor: what a perfect generator would score.

    The reference's samples are split at random into ``m`` and ``n`` (a half, or as many as there
    are clips under test, if those are fewer); their distance is what clips that are real would
    score with that many. The same ``m`` are then compared with ``n`` of the clips under test, so
    that the two differ in nothing but what is measured. None for fewer than four samples.
    """
    dealt = list(deals(x, y, splits=splits, seed=seed))
    if not dealt:
        return None
    floors = [between(half, rest) for half, rest, _ in dealt]
    found = [between(drawn, rest) for _, rest, drawn in dealt]
    n = min(y.samples // 2, x.samples)
    return Floor(
        float(np.mean(floors)), max(floors), float(np.mean(found)), min(found),
        n, y.samples - n, splits,
    )  # fmt: skip


def deals(
    x: Rows, y: Rows, *, splits: int = 10, seed: int = 0
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Rows of ``n`` samples of y, of the rest of y, and of ``n`` of x, ``splits`` times; nothing
    for fewer than four samples."""
    n = min(y.samples // 2, x.samples)
    rng = np.random.default_rng(seed)
    for _ in range(splits if n >= 2 else 0):
        dealt, drawn = rng.permutation(y.samples), rng.permutation(x.samples)[:n]
        yield y.of(dealt[:n]), y.without(dealt[:n]), x.of(drawn)


@dataclass(frozen=True)
class TwoSample:
    energy: float  # energy distance, 0 for equal sets
    p_value: float  # chance of one as large where clips and reference are of one distribution
    permutations: int


def two_sample(x: Rows, y: Rows, *, permutations: int = 999, seed: int = 0) -> TwoSample | None:
    """Whether clips and reference differ at all: the energy distance (Székely and Rizzo 2013, J.
    Statistical Planning and Inference 143) with a permutation test over whole clips.

    For few clips it tells more than a Fréchet distance against its floor, since no covariance is
    estimated; like that it also answers to other subjects. None for more rows than fit in a table.

    >>> rows = Rows(np.arange(8.0)[:, None], np.arange(8))
    >>> two_sample(rows, Rows(rows.values + 100, rows.owner)).p_value < 0.01
    True
    """
    from scipy.spatial.distance import cdist

    rows = np.concatenate([x.values, y.values])
    if len(rows) > _MOST_ROWS or min(x.samples, y.samples) < 2:
        return None
    owner = np.concatenate([x.owner, y.owner + x.samples])
    samples = x.samples + y.samples
    share = np.zeros((samples, len(rows)))
    share[owner, np.arange(len(rows))] = 1.0
    share /= share.sum(axis=1, keepdims=True)  # every clip counts alike, however many rows it has
    apart = share @ cdist(rows, rows) @ share.T

    def energy(mine: NDArray[np.bool_]) -> float:
        own, other = apart[np.ix_(mine, mine)].mean(), apart[np.ix_(~mine, ~mine)].mean()
        return float(2 * apart[np.ix_(mine, ~mine)].mean() - own - other)

    mine = np.arange(samples) < x.samples
    found, rng = energy(mine), np.random.default_rng(seed)
    as_large = sum(
        energy(rng.permutation(mine)) >= found * (1 - 1e-12) for _ in range(permutations)
    )
    return TwoSample(found, (1 + as_large) / (permutations + 1), permutations)


def extrapolated(
    x: Rows, y: Rows, between: Between, *, points: Sequence[float] = (0.4, 0.55, 0.7, 0.85, 1.0),
    draws: int = 3, seed: int = 0,
) -> float:  # fmt: skip
    """The distance that endless clips would have: a line through distances of parts of ``x`` over
    1/n, at 1/n = 0 (FID-infinity; Chong and Forsyth 2020, arXiv:1911.07023).

    Takes out the bias of a finite ``x``, not that of a finite reference. Needs n well above d:
    below it the distance is no straight line in 1/n.
    """
    rng = np.random.default_rng(seed)
    at, found = [], []
    for point in points:
        size = max(2, round(point * x.samples))
        for _ in range(draws if size < x.samples else 1):
            part = x.of(rng.permutation(x.samples)[:size])
            at.append(1 / len(part))
            found.append(between(part, y.values))
    _slope, limit = np.polyfit(np.asarray(at), np.asarray(found), 1)
    return float(limit)
