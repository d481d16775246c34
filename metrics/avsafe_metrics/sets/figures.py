"""From rows of features to figures with an interval, a floor and an n, or to a reason.

Legend: ``x`` rows of the clips under test, ``y`` of the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Aggregate, Clip, Meter, MetricInfo
from avsafe_metrics.sets.frechet import distance, frechet_distance, gaussian
from avsafe_metrics.sets.kernel import kid_subsets, mmd2, mmd2_without
from avsafe_metrics.sets.resampling import (
    Floor,
    Interval,
    around,
    dealt_groups,
    jackknife,
    split_half,
    two_sample,
)
from avsafe_metrics.sets.rows import Rows, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_metrics.sets.feeding import Backbone

    Items = Mapping[str, Mapping[str, NDArray[Any]]]

GROUPS, SPLITS = 20, 10


class SetMetricBase:
    """A metric of a set: a subclass makes its backbone and its meters, and reduces."""

    info: MetricInfo
    least_clips = 20  # below it neither interval nor floor means anything

    def __init__(self) -> None:
        self.backbone: Any = None

    def make_backbone(self) -> Backbone:
        raise NotImplementedError

    def prepare(self) -> None:
        if self.backbone is None:
            self.backbone = self.make_backbone()

    def digests(self) -> Mapping[str, str]:
        return {} if self.backbone is None else dict(self.backbone.digests)

    def open(self, clip: Clip) -> Meter:
        raise NotImplementedError

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        raise NotImplementedError

    def both(self, items: Items, reference: Items) -> tuple[Rows, Rows] | str:
        """The rows of both sets, or why there are too few."""
        if not reference:
            return f"{self.info.title} needs a reference: a folder of real clips (--reference DIR)"
        try:
            x, y = table(items), table(reference)
        except ValueError as error:
            return str(error)
        for rows, what in ((x, ""), (y, " in the reference")):
            if rows.samples < self.least_clips:
                return (
                    f"{_clips(rows.samples)}{what}: {self.info.title} needs at least "
                    f"{self.least_clips}"
                )
        if x.width != y.width:
            return f"{x.width} features a row, and {y.width} in the reference: other weights"
        return x, y


def figure(
    name: str, x: Rows, y: Rows, value: float, interval: Interval, n_expected: int,
    floor: Floor | None, **details: Any,
) -> Aggregate:  # fmt: skip
    """One figure between two sets with everything that it takes to read it."""
    test = two_sample(x, y)
    return Aggregate(
        name, value, interval.low, interval.high, x.samples, n_expected, interval.label,
        details={
            "rows": len(x.values), "reference_rows": len(y.values),
            "reference_clips": y.samples, "features": x.width,
            "floor": None if floor is None else {**asdict(floor), "apart": floor.apart},
            "two_sample": None if test is None else asdict(test),
            **details,
        },
    )  # fmt: skip


class FrechetMetric(SetMetricBase):
    """The Fréchet distance over a backbone; a subclass says which."""

    ddof = 1

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        found = self.both(items, reference)
        if isinstance(found, str):
            return {"": found}
        x, y = found
        known = gaussian(y.values, ddof=self.ddof)  # factored once for all that follow

        def of(rows: NDArray[Any]) -> float:
            return distance(gaussian(rows, ddof=self.ddof), known)

        def between(one: NDArray[Any], other: NDArray[Any]) -> float:
            return frechet_distance(one, other, ddof=self.ddof)

        value = of(x.values)
        interval = jackknife(x, value, of, groups=GROUPS)
        interval = replace(interval, low=max(0.0, interval.low))
        details: dict[str, Any] = {"estimator": f"Gaussian fit, covariance over n - {self.ddof}"}
        least = min(len(x.values), len(y.values))
        if least <= x.width:
            details["note"] = (
                f"{least} rows for {x.width} features: the covariance has no full rank, so the "
                "value is mostly its bias. Compare it with the floor and with figures of equal n "
                "only."
            )
        return {
            "": figure(
                self.info.name, x, y, value, interval, len(items),
                split_half(x, y, between, splits=SPLITS), **details,
            )
        }  # fmt: skip


class KernelMetric(SetMetricBase):
    """KID's polynomial MMD over a backbone; unbiased, so of use for fewer clips."""

    subset_size = 1000

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        found = self.both(items, reference)
        if isinstance(found, str):
            return {"": found}
        x, y = found
        value = mmd2(x.values, y.values)
        left = mmd2_without(x.values, dealt_groups(x, groups=GROUPS), y.values)
        details: dict[str, Any] = {"estimator": "unbiased MMD², (a·b / d + 1)³, all pairs"}
        if min(len(x.values), len(y.values)) >= self.subset_size:
            subsets = kid_subsets(x.values, y.values, size=self.subset_size)
            details["subsets"] = asdict(subsets)
        floor = split_half(x, y, mmd2, splits=SPLITS)
        interval = around(value, left)
        return {"": figure(self.info.name, x, y, value, interval, len(items), floor, **details)}


def over_clips(
    name: str, values: NDArray[np.float64], n_expected: int, **details: Any
) -> Aggregate:
    """The mean of one number a clip, with a jackknife over clips."""
    rows = Rows(values[:, None], np.arange(len(values), dtype=np.int64))
    value = float(values.mean())
    interval = jackknife(rows, value, lambda some: float(some.mean()), groups=len(values))
    return Aggregate(
        name, value, interval.low, interval.high, len(values), n_expected, interval.label,
        details=details,
    )  # fmt: skip


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"
