"""From out-of-fold scores to what ships: conditions, the null of tiles, the region, and the table
of the protocol.

Legend: ``r`` rows of the pool; scores are higher for synthetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe import calibration as c
from avsafe_detectors.image import judging, model
from avsafe_detectors.image.protocol import FOLDS, IN_DOMAIN, MIXED, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

STILLS = [n for n in judging.CONDITIONS if n != judging.VIDEO]
NULL = 2000  # logits of real tiles kept for each condition
NAME = "image"


@dataclass(frozen=True, eq=False)
class Assigned:
    """Of each row of the pool: the condition by which a file like it is judged, and its distance
    from the region, in limits; both from the other folds."""

    condition: NDArray[Any]
    distance: NDArray[np.float64]


def softmax_fit(
    s: Any, label: NDArray[np.int64], classes: int, *, steps: int = 400, seed: int = 0
) -> tuple[Any, Any]:
    """Multinomial logistic regression of summaries (r, d): weight (d, classes), bias (classes,)."""
    import torch

    torch.manual_seed(seed)
    x, y = torch.from_numpy(np.asarray(s, np.float32)), torch.from_numpy(label)
    count = torch.bincount(y, minlength=classes).clamp(min=1).float()
    layer = torch.nn.Linear(x.shape[1], classes)
    optimiser = torch.optim.AdamW(layer.parameters(), 0.02, weight_decay=0.1)
    balance = (1 / count) / (1 / count).mean()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * (1 - step / steps)
        loss = torch.nn.functional.cross_entropy(layer(x), y, weight=balance)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return (np.ascontiguousarray(layer.weight.detach().numpy().T),
            layer.bias.detach().numpy().copy())  # fmt: skip


def conditions_fit(table: Table, s: Any, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """``condition.weight`` and ``condition.bias`` from rows of known damage."""
    named = table.condition
    usable = chosen & ~table.control & np.isin(named, STILLS)
    label = np.array([STILLS.index(n) for n in named[usable]], np.int64)
    weight, bias = softmax_fit(s[usable], label, len(STILLS))
    return {"condition.weight": weight, "condition.bias": bias}


def region_fit(table: Table, s: Any, chosen: NDArray[np.bool_]) -> c.Region:
    """Of measured pictures, real and synthetic, all damages."""
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(chosen & ~table.control)
    return c.Region.around(rng.permutation(s[rows].astype(np.float64)))


def assigned(table: Table, s: Any) -> Assigned:
    condition = np.full(len(table.rows), "", object)
    distance = np.zeros(len(table.rows))
    film = table.condition == judging.VIDEO
    for fold in range(FOLDS):
        held = table.fold == fold
        weights = conditions_fit(table, s, ~held)
        names = s[held] @ weights["condition.weight"] + weights["condition.bias"]
        condition[held] = [STILLS[k] for k in names.argmax(1)]
        distance[held] = region_fit(table, s, ~held).distance(s[held])
    condition[film] = judging.VIDEO
    return Assigned(condition, distance)


def conditions(
    table: Table, found: Mapping[str, Any], given: Assigned, *, without: int | None = None
) -> dict[str, c.Condition]:
    """Condition by name from the scores in domain; without a fold, for what is said of it."""
    row, score = found["row"], found["score"]
    ok = ~table.control[row] & (given.distance[row] <= 1)
    if without is not None:
        ok &= table.fold[row] != without
    out = {}
    for name in judging.CONDITIONS:
        at = ok & (given.condition[row] == name)
        real, made = at & ~table.synthetic[row], at & table.synthetic[row]
        if real.sum() < 60 or made.sum() < 60:
            continue
        # A re-synthesis of a photograph is of the source "photograph by family".
        source = np.where(table.synthetic[row], _joined(table, row), table.source[row])
        out[name] = c.fit(name, score[at], table.synthetic[row][at], source[at].tolist())
    return out


def _joined(table: Table, row: Any) -> Any:
    return np.array([f"{table.group[k]}|{table.source[k]}" for k in row])


def nulls(table: Table, found: Mapping[str, Any], given: Assigned) -> dict[str, Any]:
    """``null.K``: ascending logits of real tiles of condition K: the highest 600, and quantiles."""
    row, logit = found["tile_row"], found["tile_logit"]
    ok = ~table.synthetic[row] & ~table.control[row] & (given.distance[row] <= 1)
    out = {}
    for number, name in enumerate(judging.CONDITIONS):
        own = np.sort(logit[ok & (given.condition[row] == name)])
        if len(own) > NULL:
            own = np.quantile(own, (np.arange(NULL) + 0.5) / NULL)
        out[f"null.{number}"] = own.astype(np.float32)
    return out


# ---------------------------------------------------------------- the table of the protocol


def written(
    table: Table, found: Mapping[str, Mapping[str, Any]], given: Assigned,
    unfit: Mapping[str, str], path: Path,
) -> dict[str, Any]:  # fmt: skip
    """Writes the parquet of the protocol; gives its columns. ``unfit``: unit -> why the domain gate
    would not have it judged. Probabilities and thresholds come without the unit's fold."""
    by_fold = [conditions(table, found[IN_DOMAIN], given, without=k) for k in range(FOLDS)]
    columns: dict[str, list[Any]] = {k: [] for k in (
        "detector", "cell", "condition", "unit", "source", "group", "synthetic", "score",
        "probability", "abstained", "flagged")}  # fmt: skip
    for cell, one in found.items():
        for k, score in zip(one["row"].tolist(), one["score"].tolist(), strict=True):
            row = table.rows[k]
            if row.cell == MIXED:
                continue
            condition = by_fold[int(table.fold[k])].get(str(given.condition[k]))
            reason = unfit.get(row.unit.split("+")[0], "")
            if not reason and given.distance[k] > 1:
                reason = "unlike all measured"
            if not reason and str(given.condition[k]) in judging.REFUSED:
                reason = f"refused: {given.condition[k]}"
            if not reason and condition is None:
                reason = "no measured condition"
            p = c.probability(condition.llr(score)) if condition else 0.5
            above = condition is not None and not reason and score > condition.threshold
            group = row.benign or row.group
            for name, value in (
                ("detector", NAME), ("cell", cell), ("condition", row.cell), ("unit", row.unit),
                ("source", row.source), ("group", group), ("synthetic", row.synthetic),
                ("score", score), ("probability", p), ("abstained", reason), ("flagged", above),
            ):  # fmt: skip
                columns[name].append(value)
    _parquet(columns, path)
    return columns


def _parquet(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name, values in columns.items():
        if name in ("score", "probability"):
            arrays[name] = pa.array(np.asarray(values, np.float32))
        elif name in ("synthetic", "flagged"):
            arrays[name] = pa.array(np.asarray(values, bool))
        else:
            arrays[name] = pa.array([str(v) for v in values]).dictionary_encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, compression="zstd", compression_level=19)


def shipped(table: Table, found: Mapping[str, Any], given: Assigned, weights: dict[str, Any],
            folder: Path) -> c.Calibration:  # fmt: skip
    """Writes image.safetensors and calibration.json."""
    import hashlib

    from safetensors.numpy import save, save_file

    s = table.summaries(weights)
    everyone = np.ones(len(table.rows), bool)
    arrays = {
        **weights, **conditions_fit(table, s, everyone), **nulls(table, found, given),
        **region_fit(table, s, everyone).arrays(),
    }  # fmt: skip
    arrays = {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / model.WEIGHTS.name)
    measured = conditions(table, found, given)
    known = c.Calibration(
        NAME, NAME, f"image-{hashlib.sha256(save(arrays)).hexdigest()[:12]}",
        tuple(measured.values()),
    )  # fmt: skip
    known.save(folder / model.CALIBRATION.name)
    return known


def unfit_units(packages: Path, media: Path, kept: Path) -> dict[str, str]:
    """Unit -> why the domain gate would not have it judged ("no photograph: drawn"), for all
    originals; "" is left out. Kept as a file."""
    import json

    from avsafe_detectors.domain import classes, picture
    from avsafe_detectors.image import pool
    from avsafe_detectors.image.detector import LEAST_PHOTO

    if kept.is_file():
        return dict(json.loads(kept.read_text()))
    forest = classes.forests()["picture"]
    out = {}
    for one, _ in pool.originals(packages, media, kept.parent):
        p = forest.probabilities(picture.look(one.picture)[None])[0]
        scores = dict(zip(classes.PICTURES, p.tolist(), strict=True))
        if scores["photo"] < LEAST_PHOTO:
            best = max(scores, key=lambda k: scores[k])
            for copy in range(2):
                out[f"{one.name}~{copy}"] = f"no photograph: {best}"
    kept.write_text(json.dumps(out))
    return out
