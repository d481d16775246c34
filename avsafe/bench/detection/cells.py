"""The table of cells of one detector: each cell and condition with its figures, mean and worst.

A cell is what a detector was asked under: "in domain", "engine out: kokoro". One with real units
only is a control: nothing in it may be flagged. Legend: ``n`` units, ``p`` probabilities.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.bench.detection import curves, figures
from avsafe.bench.detection.figures import Judged
from avsafe.bench.detection.floors import Floor, check
from avsafe.bench.detection.units import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bool = NDArray[np.bool_]

RANKED = ("auc", "eer", "tpr_at_1pct")
LEAST = 8  # judged units of each class for a cell to be the worst: of fewer anything comes out
_POINTS = 120  # of a curve that is drawn
_DOTS = 80  # scores of a group that are drawn
_REASONS = 12


def described(
    units: Units, floors: tuple[Floor, ...] = (), *, draws: int = figures.DRAWS
) -> dict[str, Any]:
    """Everything that a report says of one detector, as plain data."""
    made = set(units.cell[units.synthetic].tolist())  # cells with synthetic units, anyhow damaged
    cells = [
        _cell(name, condition, rows, draws) | {"control": name not in made}
        for name, condition, rows in units.cells()
    ]
    lines = check(floors, units.detector, cells)
    worst = _worst(cells)
    return {
        "detector": units.detector,
        "n_rows": len(units),
        "n_units": len(set(units.unit.tolist())),
        "n_real": len(set(units.unit[~units.synthetic].tolist())),
        "n_synthetic": len(set(units.unit[units.synthetic].tolist())),
        "n_sources": len(set(units.source.tolist())),
        "repeated": _repeated(units),
        "cells": cells,
        "mean": _mean(cells),
        "worst": worst,
        "floors": lines,
        "curves": _curves(units, cells, worst),
        "spreads": _spreads(units),
    }


def _cell(name: str, condition: str, rows: Units, draws: int) -> dict[str, Any]:
    judged = rows.judged
    finite = np.isfinite(rows.score)
    n, y = len(rows), rows.synthetic
    ranked = figures.ranking(_of(rows, rows.score, judged), draws)
    ranked_all = figures.ranking(_of(rows, rows.score, finite), draws)
    known = np.isfinite(rows.probability)
    sure = figures.calibrated(_of(rows, rows.probability, judged & known))
    sure_all = figures.calibrated(_of(rows, rows.probability, known))
    shares = {
        "fpr": figures.share(rows.flagged[judged & ~y], rows.source[judged & ~y], int((~y).sum())),
        "tpr": figures.share(rows.flagged[judged & y], rows.source[judged & y], int(y.sum())),
        "abstained": figures.share(~judged, rows.source, n),
    }
    return {
        "cell": name,
        "condition": condition,
        "n": n,
        "n_judged": int(judged.sum()),
        "coverage": float(judged.mean()),
        "n_real": int((~y).sum()),
        "n_synthetic": int(y.sum()),
        "n_real_judged": int((judged & ~y).sum()),
        "n_synthetic_judged": int((judged & y).sum()),
        "n_real_sources": len(set(rows.source[~y].tolist())),
        "n_synthetic_sources": len(set(rows.source[y].tolist())),
        "figures": {k: f.plain() for k, f in (ranked | sure | shares).items()},
        "with_abstained": {k: f.plain() for k, f in (ranked_all | sure_all).items()},
        "reasons": reasons(rows.abstained[~judged].tolist()),
        "groups": _groups(rows),
        "missed": [],
    }


def _of(rows: Units, values: NDArray[np.float64], members: Bool) -> Judged:
    return Judged(values[members], rows.synthetic[members], rows.source[members], len(rows))


def reasons(said: list[str]) -> list[dict[str, Any]]:
    """Why units were not judged, the most frequent first; reasons that differ in numbers only are
    one, with an example.

    >>> reasons(["it has 0.4 s of speech", "it has 0.9 s of speech"])
    [{'reason': 'it has # s of speech', 'example': 'it has 0.4 s of speech', 'n': 2}]
    """
    example: dict[str, str] = {}
    count: Counter[str] = Counter()
    for text in said:
        alike = re.sub(r"\d+(?:[.,]\d+)*", "#", text)
        example.setdefault(alike, text)
        count[alike] += 1
    return [
        {"reason": alike, "example": example[alike], "n": n}
        for alike, n in sorted(count.items(), key=lambda item: (-item[1], item[0]))[:_REASONS]
    ]


def _groups(rows: Units) -> list[dict[str, Any]]:
    """Generators and sets: how many of each are flagged, among those judged."""
    found = []
    for label in (False, True):
        for name in dict.fromkeys(rows.group[rows.synthetic == label].tolist()):
            mine = (rows.group == name) & (rows.synthetic == label)
            judged = mine & rows.judged
            found.append({
                "group": name,
                "synthetic": label,
                "n": int(mine.sum()),
                "n_judged": int(judged.sum()),
                "share": float(rows.flagged[judged].sum() / mine.sum()),  # of all of them
                "flagged": figures.share(
                    rows.flagged[judged], rows.source[judged], int(mine.sum())
                ).plain(),
            })  # fmt: skip
    return found


def _repeated(units: Units) -> int:
    """Rows of units that stand in a cell and condition more than once."""
    rows = list(zip(*(getattr(units, a).tolist() for a in ("cell", "condition", "unit")),
                    strict=True))  # fmt: skip
    return len(rows) - len(set(rows))


# ---------------------------------------------------------------- mean and worst


def _measured(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [c for c in cells if c["figures"]["auc"]["value"] is not None
            and min(c["n_real_judged"], c["n_synthetic_judged"]) >= LEAST]  # fmt: skip


def _mean(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Over cells and conditions that have both classes, each the same."""
    mixed = [c for c in cells if not c["control"]]
    found: dict[str, Any] = {"n_cells": len(mixed)}
    for name in ("auc", "eer", "ece", "fpr", "tpr"):
        values = [v for c in mixed if (v := c["figures"][name]["value"]) is not None]
        found[name] = {"value": sum(values) / len(values) if values else None, "n": len(values)}
    shares = [c["coverage"] for c in mixed]
    found["coverage"] = {"value": sum(shares) / len(shares) if shares else None, "n": len(shares)}
    return found


def _worst(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The cell with the lowest area under the curve, and the control most of which is flagged."""
    found: dict[str, Any] = {"cell": None, "control": None}
    if measured := _measured(cells):
        low = min(measured, key=lambda c: c["figures"]["auc"]["value"])
        found["cell"] = {"cell": low["cell"], "condition": low["condition"]}
    sets = [
        (group["share"], cell, group)
        for cell in cells if cell["control"] for group in cell["groups"]
    ]  # fmt: skip
    if sets:
        value, cell, group = max(sets, key=lambda one: one[0])
        found["control"] = {
            "cell": cell["cell"], "condition": cell["condition"], "group": group["group"],
            "share": value, "n": group["n"], "n_judged": group["n_judged"],
        }  # fmt: skip
    return found


# ---------------------------------------------------------------- what is drawn


def _curves(
    units: Units, cells: list[dict[str, Any]], worst: dict[str, Any]
) -> list[dict[str, Any]]:
    """Curves of the first cell that has both classes, of the worst, and of all rows together."""
    mixed = [c for c in cells if not c["control"] and c["figures"]["auc"]["value"] is not None]
    if not mixed:
        return []
    picked = [("the first cell", mixed[0]["cell"], mixed[0]["condition"])]
    low = worst["cell"]
    if low and (low["cell"], low["condition"]) != picked[0][1:]:
        picked.append(("the worst cell", low["cell"], low["condition"]))
    found = [
        _curve(f"{cell}, {condition}", place, units.only(
            (units.cell == cell) & (units.condition == condition)))
        for place, cell, condition in picked
    ]  # fmt: skip
    names = {c["cell"] for c in mixed}
    if len(mixed) > 1:
        together = units.only(np.isin(units.cell, list(names)))
        found.append(_curve("all cells and conditions", "all", together))
    return found


def _curve(title: str, place: str, rows: Units) -> dict[str, Any]:
    judged = rows.judged & np.isfinite(rows.score)
    y = rows.synthetic
    found: dict[str, Any] = {"title": title, "place": place, "n": int(judged.sum())}
    if y[judged].any() and not y[judged].all():
        fpr, tpr = curves.roc(rows.score[judged], y[judged])
        found["roc"] = _thinned(fpr[0], tpr[0], log=True)
    for name, members in (("judged", rows.judged), ("all", np.ones(len(rows), np.bool_))):
        known = members & np.isfinite(rows.probability)
        if y[known].any() and not y[known].all():
            p, label = rows.probability[known], y[known]
            coverage, risk = curves.coverage_risk(p, label)
            found[name] = {
                "n": int(known.sum()),
                "reliability": curves.reliability(p, label),
                "coverage_risk": _thinned(coverage, risk),
            }
    return found


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], *, log: bool = False
) -> list[list[float]]:
    """At most ``_POINTS`` points, both ends kept; ``log`` keeps those near 0."""
    if len(x) > _POINTS:
        at = np.log10(np.maximum(x, 1e-4)) if log else x
        wanted = np.linspace(at[0], at[-1], _POINTS)
        keep = np.unique([0, *np.clip(np.searchsorted(at, wanted, "right") - 1, 0, None),
                          len(x) - 1])  # fmt: skip
        x, y = x[keep], y[keep]
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)]


def _spreads(units: Units) -> list[dict[str, Any]]:
    """Scores by group, over all rows that were judged: real groups first."""
    found = []
    for label in (False, True):
        mine = units.judged & np.isfinite(units.score) & (units.synthetic == label)
        for name in sorted(set(units.group[units.synthetic == label].tolist())):
            scores = np.sort(units.score[mine & (units.group == name)])
            if not len(scores):
                continue
            keep = np.linspace(0, len(scores) - 1, min(_DOTS, len(scores))).round().astype(int)
            found.append({
                "group": name, "synthetic": label, "n": len(scores),
                "n_expected": int(((units.group == name) & (units.synthetic == label)).sum()),
                "values": [float(f"{v:.4g}") for v in scores[keep]],
                "quantiles": [float(q) for q in np.quantile(scores, (.05, .25, .5, .75, .95))],
                "mean": float(scores.mean()),
            })  # fmt: skip
    return found
