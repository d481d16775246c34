"""The metrics of sets as torchmetrics: for a training loop, apart from any benchmark.

A figure does not depend on how the work was divided: every row carries the id of its sample and its
place within it, and ``compute`` sorts by them before it adds anything. One process, seven, in any
order, or the same sample given twice (as a distributed sampler does to fill its last batch) give
the same bits.

This module imports torch; import it where torch is there anyway.

Legend: ``n`` rows, ``d`` features; ``ids`` name the sample of each row.

>>> import torch
>>> metric = FrechetDistance()
>>> x = torch.arange(12.0).reshape(6, 2) ** 2
>>> metric.update(x, list("abcdef"), real=True)
>>> metric.update(x + 3, list("abcdef"), real=False)
>>> round(float(metric.compute()), 6)
18.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253  the classes below are modules of torch
from torch import Tensor  # noqa: TID253
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from avsafe_metrics.sets import kernel
from avsafe_metrics.sets.frechet import frechet_distance
from avsafe_metrics.sets.inception_score import inception_score
from avsafe_metrics.sets.neighbours import Neighbours, neighbours
from avsafe_metrics.sets.posterior_kl import posterior_kl
from avsafe_metrics.sets.rows import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAME = 1e-3  # two runs of a network on one sample differ by less, relative to the largest feature
_OURS, _REAL = 0, 1


class KeyedRows(Metric):
    """Rows of features with the sample each belongs to, in two sets: clips under test and real.

    Subclasses give ``figure(x, y)``. States are lists that torchmetrics concatenates across
    processes: ``rows`` (n, d) and ``keys`` (n, 4) int64: set, two halves of the id's digest, place.
    Every process must have given a row before they synchronise.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better: bool | None = False
    rows: list[Tensor]
    keys: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("keys", default=[], dist_reduce_fx="cat")

    def update(
        self,
        features: Tensor,
        ids: Sequence[str],
        *,
        real: bool = False,
        places: Sequence[int] | None = None,
    ) -> None:
        """Features (n, d) of samples ``ids`` (n). Rows of one sample have places 0, 1, 2... in the
        order given; name ``places`` where the rows of one sample come in several calls."""
        if features.ndim != 2 or len(features) != len(ids):
            raise ValueError(
                f"features of shape {tuple(features.shape)} for {len(ids)} ids; expected (n, d) "
                "and n ids"
            )
        if places is None:
            places = _counted(ids)
        elif len(places) != len(ids):
            raise ValueError(f"{len(places)} places for {len(ids)} ids")
        keys = np.array(
            [
                (_REAL if real else _OURS, *np.frombuffer(digest(name), ">i8"), place)
                for name, place in zip(ids, places, strict=True)
            ],
            np.int64,
        ).reshape(-1, 4)
        self.rows.append(features.detach())
        self.keys.append(torch.from_numpy(keys).to(features.device))

    def tables(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows of the clips under test and of the real ones, each in the one order."""
        rows, keys = self._whole()
        ours, real = keys[:, 0] == _OURS, keys[:, 0] == _REAL
        return _ordered(rows[ours], keys[ours])[0], _ordered(rows[real], keys[real])[0]

    def compute(self) -> Any:
        x, y = self.tables()
        for rows, what in ((x, "of clips under test"), (y, "real (update(..., real=True))")):
            if len(rows) < 2:
                raise ValueError(f"{len(rows)} row {what}; give two or more before compute()")
        return self.figure(x, y)

    def figure(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Any:
        raise NotImplementedError

    def _whole(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if isinstance(self.rows, list) and not self.rows:
            return np.zeros((0, 0)), np.zeros((0, 4), np.int64)
        rows = dim_zero_cat(self.rows).cpu().numpy().astype(np.float64)
        return rows, dim_zero_cat(self.keys).cpu().numpy().astype(np.int64).reshape(-1, 4)


class FrechetDistance(KeyedRows):
    """Squared Fréchet distance of any features; ``ddof`` 1 as FID has it, 0 as cd-fvd's FVD."""

    def __init__(self, *, ddof: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ddof = ddof

    def figure(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Tensor:
        return _number(frechet_distance(x, y, ddof=self.ddof))


class KernelDistance(KeyedRows):
    """Unbiased squared MMD with KID's polynomial kernel, over all pairs."""

    def figure(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Tensor:
        return _number(kernel.mmd2(x, y))


class ClipMMD(KeyedRows):
    """CMMD: of CLIP image embeddings, which are brought to length 1."""

    def figure(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Tensor:
        return _number(kernel.cmmd(x, y))


class DensityCoverage(KeyedRows):
    """Precision, recall, density and coverage, as a dictionary."""

    higher_is_better = True

    def __init__(self, *, k: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def figure(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, Tensor]:
        found: Neighbours = neighbours(x, y, k=self.k)
        return {name: _number(value) for name, value in vars(found).items()}


class InceptionScore(KeyedRows):
    """Of logits (n, c); it takes no real rows."""

    higher_is_better = True

    def __init__(self, *, splits: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.splits = splits

    def compute(self) -> Tensor:
        return _number(inception_score(self.tables()[0], splits=self.splits).mean)


class PosteriorKL(KeyedRows):
    """Mean KL(real || clip) of the logits of samples that both sets have."""

    def compute(self) -> Tensor:
        rows, keys = self._whole()
        ours, real = keys[:, 0] == _OURS, keys[:, 0] == _REAL
        x, of_x = _ordered(rows[ours], keys[ours])
        y, of_y = _ordered(rows[real], keys[real])
        place = {tuple(key): index for index, key in enumerate(of_y[:, 1:].tolist())}
        pairs = [
            (index, place[tuple(key)])
            for index, key in enumerate(of_x[:, 1:].tolist())
            if tuple(key) in place
        ]
        if not pairs:
            raise ValueError("no id is in both sets: KL compares a clip with its own reference")
        mine, theirs = np.array(pairs).T
        values = posterior_kl(x[mine], y[theirs])
        return _number(math.fsum(values) / len(values))


class ClipScores(Metric):
    """The mean of a number per clip; NaN stands for a clip that has none.

    The sum is exact (``math.fsum``), so it knows no order. ``n_scored`` and ``n_expected`` say of
    how many clips it is the mean.

    >>> metric = ClipScores()
    >>> metric.update([1.0, float("nan"), 2.0], ["a", "b", "c"])
    >>> float(metric.compute()), metric.n_scored, metric.n_expected
    (1.5, 2, 3)
    """

    full_state_update = False
    is_differentiable = False
    rows: list[Tensor]
    keys: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("keys", default=[], dist_reduce_fx="cat")

    def update(self, values: Sequence[float] | Tensor, ids: Sequence[str]) -> None:
        """One number for each id; an id that comes twice counts once."""
        rows = torch.as_tensor(values, dtype=torch.float64).detach().reshape(-1, 1)
        if len(rows) != len(ids):
            raise ValueError(f"{len(rows)} values for {len(ids)} ids")
        halves = [np.frombuffer(digest(name), ">i8") for name in ids]
        keys = np.array([(0, *half, 0) for half in halves], np.int64).reshape(-1, 4)
        self.rows.append(rows)
        self.keys.append(torch.from_numpy(keys).to(rows.device))

    def values(self) -> NDArray[np.float64]:
        """One value a clip, in the one order; NaN where there is none."""
        if isinstance(self.rows, list) and not self.rows:
            return np.zeros(0)
        rows = dim_zero_cat(self.rows).cpu().numpy().reshape(-1, 1)
        return _ordered(rows, dim_zero_cat(self.keys).cpu().numpy().reshape(-1, 4))[0][:, 0]

    @property
    def n_expected(self) -> int:
        return len(self.values())

    @property
    def n_scored(self) -> int:
        return int(np.isfinite(self.values()).sum())

    def compute(self) -> Tensor:
        values = self.values()
        scored = values[np.isfinite(values)]
        if not len(scored):
            raise ValueError(f"none of {len(values)} clips has a number")
        return _number(math.fsum(scored) / len(scored))


def _counted(ids: Sequence[str]) -> list[int]:
    seen: dict[str, int] = {}
    found = []
    for name in ids:
        found.append(seen.get(name, 0))
        seen[name] = found[-1] + 1
    return found


def _ordered(
    rows: NDArray[np.float64], keys: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows by key, each key once. Where a key comes again, its rows must agree, and of rows that
    differ in their last digits the one that sorts first is kept, whichever came first."""
    if not len(rows):
        return rows, keys
    halves = keys[:, 1:3].view(np.uint64)  # digests sort as unsigned bytes
    order = np.lexsort((keys[:, 3], halves[:, 1], halves[:, 0]))
    rows, keys = rows[order], keys[order]
    again = np.zeros(len(rows), bool)
    again[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    if again.any():
        for first in np.flatnonzero(again & ~np.append(False, again[:-1])) - 1:
            stop = first + 1
            while stop < len(rows) and again[stop]:
                stop += 1
            tied = rows[first:stop]
            rows[first:stop] = tied[np.lexsort(tied.T[::-1])]
        scale = float(np.nanmax(np.abs(rows))) if np.isfinite(rows).any() else 1.0
        place = np.flatnonzero(again)
        apart = np.abs(rows[place] - rows[place - 1])
        if (np.nan_to_num(apart, nan=0.0) > _SAME * max(scale, 1e-12)).any():
            raise ValueError(
                "one id came twice with different rows. Ids must name one sample each; give "
                "`places` where the rows of one sample come in several updates."
            )
    return np.ascontiguousarray(rows[~again]), keys[~again]


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
