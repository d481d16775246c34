"""Inception Score of the frames of a set of clips (Salimans et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from avsafe.types import Aggregate, Column
from avsafe_metrics.sets.fid import Fid
from avsafe_metrics.sets.figures import GROUPS
from avsafe_metrics.sets.inception_score import inception_score
from avsafe_metrics.sets.resampling import jackknife
from avsafe_metrics.sets.rows import table

if TYPE_CHECKING:
    from avsafe_metrics.sets.figures import Items

LEAST_ROWS = 50  # a split; a score is at most the number of rows in one


class InceptionScoreOfFrames(Fid):
    """Inception Score over ``frames`` frames a clip in ``splits`` parts. Weights: ``inception``.

    It knows no reference, and of video it says only how varied and how recognisable single frames
    are to a classifier of ImageNet. Published scores on UCF-101 use a C3D network instead.
    """

    info = replace(
        Fid.info,
        name="inception_score",
        title="Inception Score",
        columns=(Column("", "", "higher", "1 is one class only", 1.0, 1008.0),),
        source="Salimans et al. 2016 (arXiv:1606.03498), section 4; torch-fidelity's splits",
    )

    def __init__(
        self, *, weights: Mapping[str, str] | None = None, device: str = "cpu", frames: int = 8,
        splits: int = 10,
    ) -> None:  # fmt: skip
        super().__init__(weights=weights, device=device, frames=frames)
        self._splits = splits

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        try:
            x = table(items, "logits")
        except ValueError as error:
            return {"": str(error)}
        least = LEAST_ROWS * self._splits
        if len(x.values) < least:
            return {
                "": f"{len(x.values)} frames of {x.samples} clips: the Inception Score in "
                f"{self._splits} splits needs at least {least}"
            }
        score = inception_score(x.values, splits=self._splits)
        interval = jackknife(
            x, score.mean, lambda rows: inception_score(rows, splits=self._splits).mean,
            groups=GROUPS,
        )  # fmt: skip
        details = {
            "rows": len(x.values), "classes": x.width, "splits": self._splits,
            "deviation_of_splits": score.deviation,
        }  # fmt: skip
        return {
            "": Aggregate(
                "inception_score", score.mean, max(1.0, interval.low), interval.high, x.samples,
                len(items), interval.label, details,
            )
        }  # fmt: skip
