"""Figures of one detector on one set of units, each with its interval and what it stands on.

Units of one source (a person, a camera, a package, a generator) are not independent: sources, and
not units, are drawn again. A figure that cannot be given is a reason, never a number.

Legend: ``n`` units; a score is higher for synthetic; a probability is of synthetic at a prior of
one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.bench import inference
from avsafe.bench.detection import curves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]
    Bool = NDArray[np.bool_]

ALARMS = 0.01  # share of false alarms at which hits are counted
LEAST_REAL = 100  # real units for it: one in a hundred
DRAWS = 400
_ECE_DRAWS = 100  # each is a sort of all units


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0  # units that it stands on
    n_expected: int = 0  # units that were there
    n_sources: int = 0
    reason: str = ""
    interval: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON; empty fields are left out."""
        return {k: v for k, v in asdict(self).items() if v not in ("", {}) or k == "value"}


@dataclass(frozen=True, eq=False)
class Judged:
    """Units with a label and a number; ``n_expected`` counts those without a number too."""

    value: F64  # score or probability
    synthetic: Bool
    source: NDArray[Any]
    n_expected: int

    @property
    def n_sources(self) -> int:
        """A source that has real and synthetic units counts once for each."""
        return sum(map(len, self._sources()))

    @property
    def fewest(self) -> int:
        """Sources of the class that has fewer."""
        return min(map(len, self._sources()))

    def _sources(self) -> list[set[str]]:
        return [set(self.source[self.synthetic == label].tolist()) for label in (False, True)]

    def lacks(self) -> str:
        """Why nothing can be compared; "" where it can."""
        n_made = int(self.synthetic.sum())
        if not len(self.value):
            return "no unit was judged"
        if n_made in (0, len(self.value)):
            return f"no {'real' if n_made else 'synthetic'} unit was judged"
        return ""

    def none(self, reason: str) -> Figure:
        return Figure(None, None, None, len(self.value), self.n_expected, self.n_sources, reason)


# ---------------------------------------------------------------- of scores


def ranking(judged: Judged, draws: int = DRAWS) -> dict[str, Figure]:
    """``auc``, ``eer`` and ``tpr_at_1pct`` of scores.

    >>> one = Judged(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]),
    ...              np.array(list("abcd")), 5)
    >>> found = ranking(one)
    >>> found["auc"].value, found["eer"].value, found["auc"].n, found["auc"].n_expected
    (1.0, 0.0, 4, 5)
    >>> found["tpr_at_1pct"].reason
    '1 % of 2 real units cannot be seen: at least 100 must be judged'
    """
    if lacks := judged.lacks():
        return {name: judged.none(lacks) for name in ("auc", "eer", "tpr_at_1pct")}
    reads: dict[str, Callable[[F64, F64], F64]] = {
        "auc": curves.auc,
        "eer": curves.eer,
        "tpr_at_1pct": lambda fpr, tpr: curves.tpr_at(fpr, tpr, ALARMS),
    }
    n_real = int((~judged.synthetic).sum())
    few = n_real < LEAST_REAL
    if few:
        del reads["tpr_at_1pct"]
    whole = curves.roc(judged.value, judged.synthetic)
    blocks: dict[str, list[F64]] = {name: [] for name in reads}
    if judged.fewest > 1:
        for weight in curves.drawn(judged.synthetic, judged.source, draws):
            drawn = curves.roc(judged.value, judged.synthetic, weight)
            for name, read in reads.items():
                blocks[name].append(read(*drawn))
    found = {
        name: _figure(float(read(*whole)[0]), blocks[name], judged) for name, read in reads.items()
    }
    if few:
        found["tpr_at_1pct"] = judged.none(
            f"1 % of {n_real} real units cannot be seen: at least {LEAST_REAL} must be judged"
        )
    return found


def _figure(value: float, blocks: Sequence[F64], judged: Judged) -> Figure:
    low, high, said = ends(value, blocks, judged.fewest)
    return Figure(
        value, low, high, len(judged.value), judged.n_expected, judged.n_sources, interval=said
    )


def ends(
    value: float, blocks: Sequence[F64], fewest: int
) -> tuple[float | None, float | None, str]:
    """95 % of draws over sources, widened for few (Hesterberg 2015, The American Statistician 69,
    p. 371, section 3.3); where all draws are alike, Wilson's interval as of so many sources."""
    if fewest < 2 or not blocks:
        return None, None, "none: one source tells nothing of others"
    drawn = np.concatenate(blocks)
    if float(np.ptp(drawn)) < 1e-12:
        low, high = inference.wilson_at(value, float(fewest))
        return min(low, value), max(high, value), f"95 % Wilson, {fewest} sources"
    low, high = np.quantile(drawn, _levels(fewest))
    return (
        min(float(low), value), max(float(high), value),
        f"95 % bootstrap over sources, {fewest} of the class with fewer",
    )  # fmt: skip


def _levels(g: int) -> tuple[float, float]:
    from scipy.stats import norm, t

    low = float(norm.cdf(math.sqrt(g / (g - 1)) * t.ppf(0.025, g - 1)))
    return low, 1 - low


# ---------------------------------------------------------------- of probabilities


def calibrated(judged: Judged, draws: int = _ECE_DRAWS) -> dict[str, Figure]:
    """``ece`` (bins of equal number, both classes weighing the same) and ``aurc``, the area under
    the coverage-risk curve.

    >>> one = Judged(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]),
    ...              np.array(list("abcd")), 4)
    >>> [figure.value for figure in calibrated(one).values()]
    [0.0, 0.0]
    """
    if lacks := judged.lacks():
        return {name: judged.none(lacks) for name in ("ece", "aurc")}

    def read(p: F64, y: Bool) -> tuple[float, float]:
        return curves.ece(p, y), curves.area(*curves.coverage_risk(p, y))

    values = read(judged.value, judged.synthetic)
    drawn: list[tuple[float, float]] = []
    if judged.fewest > 1:
        for weight in curves.drawn(judged.synthetic, judged.source, draws):
            for row in weight:
                index = np.repeat(np.arange(len(row)), row.astype(np.int64))
                drawn.append(read(judged.value[index], judged.synthetic[index]))
    columns = np.array(drawn).T if drawn else np.zeros((2, 0))
    found = {
        name: _figure(value, [column] if len(column) else [], judged)
        for name, value, column in zip(("ece", "aurc"), values, columns, strict=True)
    }
    mean, most = by_chance(judged.value, judged.synthetic)
    found["ece"].details.update(by_chance=mean, by_chance_95=most)
    return found


def by_chance(probability: F64, synthetic: Bool, draws: int = _ECE_DRAWS) -> tuple[float, float]:
    """The mean and the 95 % quantile of the ECE of as many units with such probabilities if every
    one of them were true: what bins of a few units make of nothing. Units are drawn one by one, so
    that dependence within sources would add to it.

    >>> 0.05 < by_chance(np.linspace(0, 1, 40), np.arange(40) >= 20)[0] < 0.2
    True
    """
    p, y = np.asarray(probability, np.float64), np.asarray(synthetic, bool)
    weight = curves.balanced(y)
    parts = []
    for label, likely in ((False, weight * (1 - p)), (True, weight * p)):
        if likely.sum() <= 0:
            return 0.0, 0.0
        parts.append((int((y == label).sum()), likely / likely.sum()))
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(parts[0][0], bool), np.ones(parts[1][0], bool)])
    errors = [
        curves.ece(np.concatenate([rng.choice(p, n, p=of) for n, of in parts]), labels)
        for _ in range(draws)
    ]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


# ---------------------------------------------------------------- shares


def share(values: Bool, source: NDArray[Any], n_expected: int) -> Figure:
    """The share of units that are so, by source (Wilson's interval at the effective number).

    >>> share(np.array([True, False, False, False]), np.array(list("abcd")), 6).value
    0.25
    """
    if not len(values):
        return Figure(None, n_expected=n_expected, reason="no unit was judged")
    found = inference.clustered_share([float(v) for v in values], source.tolist())
    low, high = (None if v is None else round(v, 12) for v in (found.low, found.high))
    return Figure(
        found.value, low, high, found.n, n_expected, found.n_clusters, interval=found.method
    )
