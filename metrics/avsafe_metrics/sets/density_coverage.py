"""Density and coverage, precision and recall over any backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Aggregate, Column, MetricInfo
from avsafe_metrics.sets.any_backbone import FREE, OverBackbone, known, wants
from avsafe_metrics.sets.figures import GROUPS, SPLITS, figure
from avsafe_metrics.sets.neighbours import neighbours
from avsafe_metrics.sets.resampling import around, deals

if TYPE_CHECKING:
    from avsafe_metrics.sets.figures import Items

COLUMNS = ("density", "coverage", "precision", "recall")


class DensityCoverage(OverBackbone):
    """Density, coverage (Naeem et al. 2020), precision and recall (Kynkäänniemi et al. 2019) of
    features of ``backbone``, with balls up to the ``k``-th neighbour.

    Density and precision fall when clips look like nothing in the reference, coverage and recall
    when they leave parts of it out. ``halves`` in the
    details is what halves of the reference score, and what as many of these clips score then.
    """

    info = MetricInfo(
        name="density_coverage",
        version="1",
        title="Density and coverage",
        columns=(
            Column("density", "", "higher", "about 1 for equal distributions", 0.0),
            Column("coverage", "", "higher", "share of the reference that is met", 0.0, 1.0),
            Column("precision", "", "higher", "share of rows inside the reference", 0.0, 1.0),
            Column("recall", "", "higher", "share of the reference inside the rows", 0.0, 1.0),
        ),
        wants=wants("motion_texture"),
        family="set",
        scope="set",
        source="Naeem et al. 2020 (arXiv:2002.09797), eq. 3-4; Kynkäänniemi et al. 2019",
    )

    def __init__(
        self, *, backbone: str = "motion_texture", weights: Mapping[str, str] | None = None,
        device: str = "cpu", frames: int = 8, windows: int = 1, architecture: str = "", k: int = 5,
    ) -> None:  # fmt: skip
        super().__init__(backbone, weights, device, frames, windows, architecture)
        self._k = k
        self.info = replace(
            DensityCoverage.info,
            title=f"Density and coverage over {known(backbone)}",
            wants=wants(backbone),
            weights=() if backbone in FREE else (backbone,),
        )

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        found = self.both(items, reference)
        if isinstance(found, str):
            return dict.fromkeys(COLUMNS, found)
        x, y = found
        dealt = np.random.default_rng(0).permutation(x.samples)
        groups = min(GROUPS, x.samples)
        rests = [x.without(dealt[group::groups]) for group in range(groups)]
        least = min(map(len, rests))
        if min(least, len(y.values)) <= self._k:
            return dict.fromkeys(
                COLUMNS,
                f"{len(x.values)} rows, {least} where clips are left out, and {len(y.values)} in "
                f"the reference: a neighbour of rank {self._k} needs more; give more clips or a "
                "smaller k",
            )
        values = vars(neighbours(x.values, y.values, k=self._k))
        left = [vars(neighbours(rest, y.values, k=self._k)) for rest in rests]
        halves = [
            (vars(neighbours(half, rest, k=self._k)), vars(neighbours(drawn, rest, k=self._k)))
            for half, rest, drawn in deals(x, y, splits=SPLITS)
            if min(len(half), len(rest), len(drawn)) > self._k
        ]
        out: dict[str, Aggregate | str] = {}
        for column in self.info.columns:
            name = column.name
            interval = around(values[name], np.array([some[name] for some in left]))
            interval = replace(
                interval, low=max(0.0, interval.low),
                high=interval.high if column.high is None else min(1.0, interval.high),
            )  # fmt: skip
            real = [one[name] for one, _ in halves]
            ours = [other[name] for _, other in halves]
            split = {
                "real_mean": float(np.mean(real)), "real_low": min(real),
                "at_size": float(np.mean(ours)), "splits": len(real),
            } if halves else None  # fmt: skip
            out[name] = figure(
                self.info.score_name(column), x, y, values[name], interval, len(items), None,
                backbone=self.name, k=self._k, halves=split,
            )  # fmt: skip
        return out
