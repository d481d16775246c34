"""The cells of the protocol: which generators are left out, and what is said of them and of films.

Five folds by source: a person, a place, a prompt or a filmed original is in one fold with all that
was made of it. A cell "generator out: F" is judged by models that saw neither the family F nor
the fold; its real films are those of the fold, which no model of the fold saw.

Legend: ``n`` windows, ``u`` units (files; the mean of their windows), ``k`` folds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import Condition, Region, fit, probability
from avsafe_detectors.video import fitting, model
from avsafe_detectors.video.clips import CONDITIONS
from avsafe_detectors.video.controls import MADE
from avsafe_detectors.video.measuring import Table, family_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

FOLDS = 5
SHOWN = ("clean", "CRF 35", "480 px")  # the conditions' names in the table
IN_DOMAIN = "in domain"
CONTROLS = "benign controls"
PARTIAL = "partly generated"
_OUT = "generator out: "


@dataclass(frozen=True, eq=False)
class Units:
    """Files, with what is needed to judge them. ``x`` (u, d) holds means of windows' measures."""

    source: NDArray[Any]
    family: NDArray[Any]
    group: NDArray[Any]
    category: NDArray[Any]
    name: NDArray[Any]
    synthetic: NDArray[np.bool_]
    trained: NDArray[np.bool_]  # neither a control nor a partly generated clip
    control: NDArray[Any]  # name of the benign set, "" for none
    condition: NDArray[np.int64]
    still: NDArray[np.bool_]
    rate: F64
    size: F64
    number: NDArray[np.int64]
    fold: NDArray[np.int64]
    unfit: NDArray[Any]  # why the detector would not judge it, "" for none


def fold_of(source: str) -> int:
    """Fixed by the name alone."""
    return zlib.crc32(f"fold {source}".encode()) % FOLDS


def units(table: Table, reasons: Mapping[int, str] | None = None) -> Units:
    """``reasons``: clip number -> why it is not judged."""
    first = np.unique(table.unit, return_index=True)[1]
    clips = table.clip[first]
    made = np.array(["", "", *MADE])[table.version[first]]
    use = np.array([c.use for c in clips])
    group = np.array([c.group for c in clips])
    control = np.where(use == "control", group, made)
    still = np.ones(len(first), bool)
    np.logical_and.at(still, table.unit, table.still)
    return Units(
        np.array([c.source for c in clips]), np.array([family_of(c) for c in clips]), group,
        np.array([c.category for c in clips]),
        np.array([f"{c.name} {v} {k}" for c, v, k in
                  zip(clips, table.version[first], table.condition[first], strict=True)]),
        np.array([c.synthetic for c in clips]), (use == "train") & (control == ""), control,
        table.condition[first], still, table.rate[first], table.size[first],
        np.array([c.number for c in clips]), np.array([fold_of(c.source) for c in clips]),
        np.array([(reasons or {}).get(c.number, "") for c in clips]),
    )  # fmt: skip


def out_of_fold(
    table: Table, u: Units, left_out: str | None, *, share: float = fitting.SHARE
) -> tuple[F64, F64]:
    """(u,) scores and region distances of every unit, by the models that did not see it."""
    score, distance = np.full(len(u.source), np.nan), np.full(len(u.source), np.nan)
    fold, trained = u.fold[table.unit], u.trained[table.unit] & ~table.still
    family, source = u.family[table.unit], u.source[table.unit]
    synthetic = u.synthetic[table.unit]
    benign = table.made & ~table.still  # benign films made from filmed clips are filmed ones
    for k in range(FOLDS):
        chosen = (trained | benign) & (fold != k) & (family != left_out)
        w = fitting.fitted(
            table.x[chosen], synthetic[chosen],
            fitting.weights_of(synthetic[chosen], source[chosen], family[chosen]),
            share=share, seed=k)  # fmt: skip
        region = region_of(table, u, w, (u.fold != k) & (u.family != left_out) & u.trained)
        tested = fold == k
        values = model.scores(table.x[tested], w)
        z = model.standardised(table.x[tested], w)
        own = np.flatnonzero(u.fold == k)
        score[own] = mean_of(values, table.unit[tested], len(u.source))[own]
        distance[own] = region.distance(mean_of(z, table.unit[tested], len(u.source))[own])
    return score, distance


def mean_of(values: NDArray[Any], unit: NDArray[np.int64], n: int) -> F64:
    """(w, ...) values of windows -> (n, ...) means of units; NaN for a unit without windows."""
    total = np.zeros((n, *values.shape[1:]))
    np.add.at(total, unit, values.astype(np.float64))
    count = np.bincount(unit, minlength=n).astype(np.float64)
    count[count == 0] = np.nan
    return total / count.reshape(n, *[1] * (values.ndim - 1))


def region_of(table: Table, u: Units, w: dict[str, Any], chosen: NDArray[np.bool_]) -> Region:
    """Where filmed and generated files lie, in spreads."""
    z = mean_of(model.standardised(table.x, w), table.unit, len(u.source))[chosen]
    # halves of a region are taken in turn: by source, so that they share none
    order = np.argsort([zlib.crc32(s.encode()) for s in u.source[chosen]], kind="stable")
    half = np.empty(len(order), np.int64)
    half[0::2], half[1::2] = order[: (len(order) + 1) // 2], order[(len(order) + 1) // 2 :]
    return Region.around(z[half], k=24)


def run(
    table: Table, u: Units, keep: Path, spent: Callable[[], bool] = lambda: False
) -> dict[str, tuple[F64, F64]] | None:
    """Cell -> scores and distances of all units; None where time was up before all were there.

    Kept as files named by the number of windows, so that a cell is computed once.
    """
    families = sorted(set(u.family[u.synthetic & u.trained].tolist()))
    found = {}
    folder = keep / f"cells-{len(table.x)}"
    folder.mkdir(parents=True, exist_ok=True)
    for family in (None, *families):
        path = folder / f"{family or 'all'}.npz"
        if not path.exists():
            if spent():
                return None
            score, distance = out_of_fold(table, u, family)
            np.savez(path, score=score, distance=distance)
        with np.load(path) as kept:
            cell = IN_DOMAIN if family is None else _OUT + family
            found[cell] = (kept["score"], kept["distance"])
    return found


def auc(u: Units, score: F64, chosen: NDArray[np.bool_]) -> float:
    """Every source weighs the same in its class; NaN where a class is missing."""
    from sklearn.metrics import roc_auc_score

    y = u.synthetic[chosen]
    if not y.any() or y.all():
        return float("nan")
    weight = np.zeros(len(y))
    for label in (False, True):
        _, at, count = np.unique(u.source[chosen][y == label], return_inverse=True,
                                 return_counts=True)  # fmt: skip
        weight[y == label] = 1 / count[at]
    return float(roc_auc_score(y, score[chosen], sample_weight=weight))


def shortcuts(u: Units) -> dict[str, float]:
    """AUC of frame rate and of bytes a second, each alone and both (logistic, by folds)."""
    from sklearn.linear_model import LogisticRegression

    ok = u.trained & (u.condition == 0) & ~u.still
    columns = {"frame rate": np.log(u.rate)[:, None], "bit rate": np.log(u.size)[:, None]}
    columns["both"] = np.concatenate(list(columns.values()), 1)
    found = {}
    for name, x in columns.items():
        score = np.full(len(u.source), np.nan)
        for k in range(FOLDS):
            chosen, tested = ok & (u.fold != k), ok & (u.fold == k)
            if len(set(u.synthetic[chosen].tolist())) < 2 or not tested.any():
                continue
            line = LogisticRegression(class_weight="balanced").fit(x[chosen], u.synthetic[chosen])
            score[tested] = line.decision_function(x[tested])
        found[name] = auc(u, score, ok & np.isfinite(score))
    return found


def members(u: Units, cell: str) -> NDArray[np.bool_]:
    """Units of a cell: its generators' and the filmed ones."""
    real = ~u.synthetic & u.trained
    if cell == IN_DOMAIN:
        return real | (u.synthetic & u.trained)
    if cell == CONTROLS:
        return np.asarray(u.control != "", bool)
    if cell == PARTIAL:
        return u.synthetic & ~u.trained
    return np.asarray(
        real | (u.synthetic & u.trained & (u.family == cell.removeprefix(_OUT))), bool
    )


def unseen(u: Units, found: dict[str, tuple[F64, F64]]) -> F64:
    """(u,) scores for calibration: a generated file by the models that never saw its family, a
    filmed one by the mean of the models of all cells."""
    score = np.array(found[IN_DOMAIN][0])
    outs = [s for cell, (s, _) in found.items() if cell.startswith(_OUT)]
    real = ~u.synthetic
    if outs:
        score[real] = np.mean([s[real] for s in outs], 0)
    for cell, (s, _) in found.items():
        own = u.synthetic & (u.family == cell.removeprefix(_OUT))
        if cell.startswith(_OUT):
            score[own] = s[own]
    return score


def conditions(u: Units, score: F64, chosen: NDArray[np.bool_] | None = None) -> list[Condition]:
    """One of each preparation, from the scores of unseen families."""
    result = []
    for k, name in enumerate(CONDITIONS):
        made = np.isin(u.control, list(MADE))  # benign films made of filmed ones count as filmed
        ok = (u.trained | made) & (u.condition == k) & ~u.still & np.isfinite(score)
        ok &= u.unfit == ""
        if chosen is not None:
            ok &= chosen
        side, crf = CONDITIONS[name]
        where = {"side": float(side), "crf": float(crf)}
        result.append(fit(name, score[ok], u.synthetic[ok], u.source[ok].tolist(), where=where))
    return result


def judged(u: Units, found: dict[str, tuple[F64, F64]]) -> dict[str, list[Any]]:
    """The table of the protocol: every unit of every cell. Probability and threshold of a unit come
    from units of other folds and, in "generator out", of other families."""
    columns: dict[str, list[Any]] = {k: [] for k in (
        "cell", "condition", "unit", "source", "group", "synthetic", "score", "probability",
        "abstained", "flagged")}  # fmt: skip
    calibrated = unseen(u, found)
    for cell in (*found, CONTROLS, PARTIAL):
        score, distance = found.get(cell, found[IN_DOMAIN])
        family = cell.removeprefix(_OUT)
        for k in range(FOLDS):
            own = members(u, cell) & (u.fold == k) & np.isfinite(score)
            if not own.any():
                continue
            rest = (u.fold != k) & ~(u.synthetic & (u.family == family))
            fitted = conditions(u, calibrated, rest)
            for i in np.flatnonzero(own):
                one = fitted[int(u.condition[i])]
                reason = "nothing moves" if u.still[i] else str(u.unfit[i])
                if not reason and distance[i] > 1:
                    reason = "unlike all films measured"
                values = (cell, SHOWN[int(u.condition[i])], str(u.name[i]), str(u.source[i]),
                          str(u.control[i] or u.group[i]), bool(u.synthetic[i]), float(score[i]),
                          probability(one.llr(float(score[i]))), reason,
                          bool(not reason and score[i] > one.threshold))  # fmt: skip
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    return columns


def written(columns: dict[str, list[Any]], path: Path) -> None:
    """As parquet (pyarrow)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays: dict[str, Any] = {"detector": pa.array(["video"] * len(columns["cell"]))}
    arrays |= {k: pa.array(v, pa.float32()) if k in ("score", "probability") else pa.array(v)
               for k, v in columns.items()}  # fmt: skip
    arrays = {k: v.dictionary_encode() if v.type == pa.string() else v for k, v in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, compression="zstd")
