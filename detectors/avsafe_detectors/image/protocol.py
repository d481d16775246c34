"""The cells of the protocol: who is left out, and what is said of those left out.

Folds are by source (photograph or clip; every re-synthesis of a photograph is in its fold). A cell
leaves its makers out of training and judges them, and the real pictures, fold by fold.

Legend: ``r`` rows, ``f`` folds; scores are higher for synthetic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.image import fitting, judging, model
from avsafe_detectors.image.autoencoders import AUTOENCODERS, RESAMPLERS
from avsafe_detectors.image.damage import CELLS
from avsafe_detectors.image.pool import Row, seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
FOLDS = 5
GENERATORS = ("lumiere", "cogvideox", "lavie", "sora", "loopy", "omnihuman", "ours")
IN_DOMAIN, ALL_OUT, RESAMPLING_OUT = "in domain", "all autoencoders out", "resampling out"
STEPS = 800
_PAIRS = [(0, 1), (2, 3), (4,)]
MIXED = "mixed"


def cells() -> dict[str, tuple[str, ...]]:
    """Cell -> groups left out of training and tested."""
    return {
        IN_DOMAIN: (),
        ALL_OUT: AUTOENCODERS,
        **{f"autoencoder out: {name}": (name,) for name in AUTOENCODERS},
        RESAMPLING_OUT: RESAMPLERS,
        **{f"generator out: {name}": (name,) for name in GENERATORS},
    }


def fold_of(source: str) -> int:
    """Fixed by the name alone."""
    return seed_of(f"fold {source}") % FOLDS


@dataclass(frozen=True, eq=False)
class Table:
    """All rows as arrays. ``x`` (t, d) tiles, ``row`` (t,) the row of each."""

    rows: Sequence[Row]
    x: Any
    row: NDArray[np.int64]
    synthetic: NDArray[np.bool_]
    group: NDArray[Any]
    source: NDArray[Any]
    cell: NDArray[Any]
    control: NDArray[np.bool_]
    video: NDArray[np.bool_]
    fold: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Row], features: Sequence[Any]) -> Table:
        counts = [len(x) for x in features]
        return cls(
            rows, np.concatenate(features), np.repeat(np.arange(len(rows)), counts),
            np.array([r.synthetic for r in rows]), np.array([r.group for r in rows]),
            np.array([r.source for r in rows]), np.array([r.cell for r in rows]),
            np.array([bool(r.benign) for r in rows]), np.array([r.video for r in rows]),
            np.array([fold_of(r.source) for r in rows]),
        )  # fmt: skip

    @property
    def condition(self) -> NDArray[Any]:
        """By what was done; "" for mixed damages. Frames of clips as they are, and everything
        coded as H.264, are frames of a video."""
        named = np.array([CELLS.get(c, "") for c in self.cell], dtype=object)
        named[self.video & (self.cell == "clean")] = judging.VIDEO
        return named

    @property
    def trainable(self) -> NDArray[np.bool_]:
        """Photographs and their re-syntheses. Frames of real clips and of generators are judged,
        but not trained on: with them everything else fell (JPEG 50 from .95 to .93), and
        generators that were left out stayed at .60."""
        return np.asarray(~self.control & ~self.video & (self.group != "ours"))

    def fitted(self, chosen: NDArray[np.bool_], *, steps: int, seed: int, members: int = 1) -> Any:
        """Weights from the rows chosen."""
        index = np.flatnonzero(chosen)
        keep = np.isin(self.row, index)
        row = np.searchsorted(index, self.row[keep])
        weight = fitting.weights_of(self.synthetic[index], self.source[index], self.group[index])
        return fitting.trained(self.x[keep], row, self.synthetic[index], weight,
                               steps=steps, seed=seed, members=members)  # fmt: skip

    def scores(self, chosen: NDArray[np.bool_], weights: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Of rows chosen: scores (n,), and of their tiles the logits and the row."""
        keep = chosen[self.row]
        logit = model.logits(self.x[keep], weights)
        row = self.row[keep]
        clipped = np.clip(logit, -6, 6)
        total = np.bincount(row, clipped, len(self.rows))
        count = np.bincount(row, minlength=len(self.rows))
        score = total[chosen] / np.maximum(count[chosen], 1)
        return score, logit, row

    def summaries(self, weights: Mapping[str, Any]) -> Any:
        """(r, d): ``judging.summary`` of every row."""
        z = model.standardised(self.x, weights)
        starts = np.searchsorted(self.row, np.arange(len(self.rows)))
        count = np.bincount(self.row, minlength=len(self.rows))[:, None]
        return np.add.reduceat(z, starts, axis=0) / np.maximum(count, 1)


def run(
    table: Table, keep: Path, *, steps: int = STEPS,
    wanted: Callable[[str], bool] = lambda cell: True,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Cell -> ``row`` (indices judged), ``score``; in domain also ``tile_row``, ``tile_logit``.
    Kept as files, so that a cell is computed once."""
    out: dict[str, dict[str, Any]] = {}
    keep.mkdir(parents=True, exist_ok=True)
    for cell, left_out in cells().items():
        path = keep / f"{cell.replace(':', '').replace(' ', '_')}.npz"
        if not path.is_file():
            if not wanted(cell):
                continue
            if left_out and set(left_out) <= set(GENERATORS) and IN_DOMAIN in out:
                np.savez(path, **_part_of(table, out[IN_DOMAIN], left_out))
            else:
                np.savez(path, **_cell(table, left_out, steps))
            log.info("%s done", cell)
        out[cell] = dict(np.load(path))
    return out


def _part_of(table: Table, found: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    """The scores in domain of real pictures and of ``groups``: no generator is trained on."""
    row = found["row"]
    at = ~table.control[row] & (~table.synthetic[row] | np.isin(table.group[row], groups))
    return {"row": row[at], "score": found["score"][at]}


def _cell(table: Table, left_out: Sequence[str], steps: int) -> dict[str, Any]:
    tested = np.isin(table.group, left_out) if left_out else table.synthetic
    parts: dict[str, list[Any]] = {"row": [], "score": [], "tile_row": [], "tile_logit": []}
    # two folds at a time where a maker is left out as well: three trainings instead of five
    for folds in _PAIRS if left_out else [(k,) for k in range(FOLDS)]:
        held = np.isin(table.fold, folds)
        barred = np.isin(table.group, left_out)
        weights = table.fitted(~held & ~barred & table.trainable, steps=steps, seed=folds[0])
        judged = held & (tested | ~table.synthetic)
        if left_out:
            judged &= ~table.control
        score, logit, row = table.scores(judged, weights)
        parts["row"].append(np.flatnonzero(judged))
        parts["score"].append(score)
        if not left_out:
            parts["tile_row"].append(row)
            parts["tile_logit"].append(logit)
    return {name: np.concatenate(v) for name, v in parts.items() if v}


# ---------------------------------------------------------------- figures


def auc(real: Any, made: Any) -> float:
    """Area under the curve; 0.5 is chance, ties count half."""
    from scipy.stats import rankdata

    if not len(real) or not len(made):
        return float("nan")
    ranks = rankdata(np.concatenate([real, made]))[len(real) :]
    return float((ranks.sum() - len(made) * (len(made) + 1) / 2) / (len(real) * len(made)))


def figures(table: Table, found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Lines of cell, damage, n real, n synthetic, AUC."""
    out: list[tuple[str, ...]] = []
    for cell, one in found.items():
        row, score = one["row"], one["score"]
        ok = ~table.control[row]
        for damage in (*CELLS, "all"):
            at = ok & ((table.cell[row] == damage) if damage != "all" else table.cell[row] != MIXED)
            real, made = at & ~table.synthetic[row], at & table.synthetic[row]
            out.append((cell, damage, str(real.sum()), str(made.sum()),
                        f"{auc(score[real], score[made]):.3f}"))  # fmt: skip
    return out
