"""What is promised of detectors, from the suite file, and whether the measured cells keep it.

A floor names cells and conditions by patterns (``*`` stands for anything). Every cell that it
names must keep it, or their mean, or every set of a control cell (of which at most a share may be
flagged; what is not judged is not flagged). A cell may be excused where the detector abstains, if
the floor says so. A floor that names nothing that was measured is "not measured", never met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsafe.bench.located import Located

# Where a higher figure is better and a floor says "least"; of the others it says "most".
HIGHER = ("auc", "tpr_at_1pct", "tpr", "coverage")
LOWER = ("eer", "ece", "fpr", "aurc")
_FIELDS = ("detector", "what", "cells", "conditions", "figure", "least", "most", "over", "below",
           "coverage", "or_abstained", "judged")  # fmt: skip


@dataclass(frozen=True)
class Floor:
    """One promise. ``below`` is a condition: the figure is then how much lower it is than there."""

    detector: str  # a pattern
    what: str  # for reading
    cells: tuple[str, ...]
    conditions: tuple[str, ...]
    figure: str
    limit: float
    over: str = "each"  # each | mean | set
    below: str = ""
    coverage: float = 0.0  # least share of units judged
    or_abstained: float | None = None  # a cell with at least so many abstentions is excused
    judged: int = 0  # units of each class that a cell must have judged to be asked

    @property
    def least(self) -> bool:
        """Whether the limit is the least that will do (else the most)."""
        return self.figure in HIGHER and not self.below


def parse(place: Located) -> tuple[Floor, ...]:
    """The field ``floors`` of a suite file. UsageError with the line for a mistake."""
    found = []
    for entry in place.sequence():
        fields = entry.mapping(_FIELDS)
        for name in ("detector", "figure"):
            if name not in fields:
                entry.fail(f"the field {name!r} is missing.")
        figure = fields["figure"].filled()
        if figure not in HIGHER + LOWER:
            fields["figure"].fail(f"{figure!r} is no figure (known: {', '.join(HIGHER + LOWER)}).")
        below = fields["below"].filled() if "below" in fields else ""
        bound = "least" if figure in HIGHER and not below else "most"
        if bound not in fields or {"least", "most"} <= fields.keys():
            entry.fail(f"a floor of {figure}{' below another' if below else ''} has {bound!r}.")
        over = fields["over"].filled() if "over" in fields else "each"
        if over not in ("each", "mean", "set"):
            fields["over"].fail(f"{over!r}: expected each, mean or set.")
        if over == "set" and figure != "fpr":
            fields["figure"].fail("a floor over sets is of 'fpr'.")
        found.append(
            Floor(
                detector=fields["detector"].filled(),
                what=fields["what"].filled() if "what" in fields else "",
                cells=fields["cells"].texts() if "cells" in fields else ("*",),
                conditions=fields["conditions"].texts() if "conditions" in fields else ("*",),
                figure=figure,
                limit=fields[bound].number(),
                over=over,
                below=below,
                coverage=fields["coverage"].number() if "coverage" in fields else 0.0,
                or_abstained=fields["or_abstained"].number() if "or_abstained" in fields else None,
                judged=fields["judged"].whole() if "judged" in fields else 0,
            )
        )
    return tuple(found)


# ---------------------------------------------------------------- whether they are kept


def check(
    floors: Sequence[Floor], detector: str, cells: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """One line for every floor of a detector; writes into ``cells`` which of them miss it.

    ``cells`` as ``avsafe.bench.detection.cells`` makes them. ``met`` is None where nothing that the
    floor names was measured.
    """
    lines = []
    for floor in floors:
        if not fnmatchcase(detector, floor.detector):
            continue
        asked = [c for c in cells if _matches(c, floor)]
        if floor.over == "set":
            lines.append(_sets(floor, asked))
        elif floor.over == "mean":
            lines.append(_mean(floor, asked, cells))
        else:
            lines.append(_each(floor, asked, cells))
    return lines


def _matches(cell: Mapping[str, Any], floor: Floor) -> bool:
    return _named(cell["cell"], floor.cells) and _named(cell["condition"], floor.conditions)


def _named(name: str, patterns: Sequence[str]) -> bool:
    """Capitals count for nothing: "CRF 35" is "crf 35"."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def _line(floor: Floor, **found: Any) -> dict[str, Any]:
    return {
        "what": floor.what or ", ".join(floor.cells),
        "figure": floor.figure,
        "limit": floor.limit,
        "least": floor.least,
        "over": floor.over,
        "below": floor.below,
        "coverage": floor.coverage,
        "or_abstained": floor.or_abstained,
    } | found


def _each(
    floor: Floor, asked: Sequence[dict[str, Any]], cells: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The worst cell stands for all: the first that misses, else the one nearest to the limit."""
    seen = []
    for cell in asked:
        value = _value(floor, cell, cells)
        excused = floor.or_abstained is not None and 1 - cell["coverage"] >= floor.or_abstained
        if value is None and not excused:
            continue
        kept = excused or (
            value is not None
            and _kept(floor, value)
            and cell["coverage"] >= floor.coverage
        )  # fmt: skip
        if not kept:
            cell["missed"].append(floor.what or floor.figure)
        seen.append((kept, excused, value, cell))
    if not seen:
        return _line(floor, met=None, value=None, n_cells=0, n_asked=len(asked))
    sign = 1 if floor.least else -1
    kept, excused, value, cell = min(
        seen, key=lambda s: (s[0], s[1], sign * (s[2] if s[2] is not None else 0.0))
    )
    figure = {} if floor.below else cell["figures"][floor.figure]
    return _line(
        floor,
        met=all(one[0] for one in seen),
        value=value,
        by_chance=(figure.get("details") or {}).get("by_chance"),
        low=figure.get("low"),
        high=figure.get("high"),
        cell=cell["cell"],
        condition=cell["condition"],
        covered=cell["coverage"],
        excused=sum(one[1] for one in seen),
        n_cells=len(seen),
        n_asked=len(asked),
        n_missed=sum(not one[0] for one in seen),
        n_chance=sum(not one[0] and _of_chance(floor, one[3]) for one in seen),
    )


def _of_chance(floor: Floor, cell: Mapping[str, Any]) -> bool:
    """Whether a figure that misses is no higher than true probabilities may have."""
    figure = cell["figures"].get(floor.figure) or {}
    most = (figure.get("details") or {}).get("by_chance_95")
    return most is not None and not floor.below and figure["value"] <= most


def _mean(
    floor: Floor, asked: Sequence[dict[str, Any]], cells: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    pairs = [(value, cell) for cell in asked if (value := _value(floor, cell, cells)) is not None]
    if not pairs:
        return _line(floor, met=None, value=None, n_cells=0, n_asked=len(asked))
    mean = sum(value for value, _ in pairs) / len(pairs)
    covered = sum(cell["coverage"] for _, cell in pairs) / len(pairs)
    return _line(
        floor,
        met=_kept(floor, mean) and covered >= floor.coverage,
        value=mean,
        covered=covered,
        n_cells=len(pairs),
        n_asked=len(asked),
    )


def _sets(floor: Floor, asked: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seen = [(group["share"], group, cell) for cell in asked if cell["control"]
            for group in cell["groups"]]  # fmt: skip
    if not seen:
        return _line(floor, met=None, value=None, n_cells=0, n_asked=0)
    for cell in {id(cell): cell for value, _, cell in seen if not _kept(floor, value)}.values():
        cell["missed"].append(floor.what or floor.figure)
    value, group, cell = max(seen, key=lambda one: one[0])
    return _line(
        floor,
        met=_kept(floor, value),
        value=value,
        cell=cell["cell"],
        condition=cell["condition"],
        group=group["group"],
        n=group["n"],
        n_judged=group["n_judged"],
        covered=cell["coverage"],
        n_cells=len(seen),
        n_asked=len(seen),
        n_missed=sum(not _kept(floor, one[0]) for one in seen),
    )


def _value(
    floor: Floor, cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]
) -> float | None:
    value = _figure(floor, cell)
    if not floor.below or value is None:
        return value
    for other in cells:
        if other["cell"] == cell["cell"] and _named(other["condition"], (floor.below,)):
            there = _figure(floor, other)
            return None if there is None else there - value
    return None


def _figure(floor: Floor, cell: Mapping[str, Any]) -> float | None:
    if floor.figure == "coverage":
        return float(cell["coverage"])
    figure = cell["figures"][floor.figure]
    fewer = min(cell["n_real_judged"], cell["n_synthetic_judged"])
    if figure["value"] is None or fewer < floor.judged:
        return None
    return float(figure["value"])


def _kept(floor: Floor, value: float) -> bool:
    """A figure that is at the limit, to the last bit of the arithmetic, keeps it."""
    return value >= floor.limit - 1e-9 if floor.least else value <= floor.limit + 1e-9
