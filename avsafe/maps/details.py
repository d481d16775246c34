"""``details["heatmap"]`` and ``details["timeline"]`` of evidence, checked: what can be drawn.

Legend: ``r`` rows and ``c`` columns of tiles; ``s`` segments of a timeline; ``llr`` is a natural
logarithm, positive for synthetic, NaN where nothing was judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_TILES = 1 << 16
MOST_SEGMENTS = 20_000  # an hour in windows of a second, and room; the rest is left out


class Unfit(ValueError):
    """Why something in ``details`` cannot be drawn."""


@dataclass(frozen=True, eq=False)
class Heat:
    """Tiles (r, c) over ``box`` (x0, y0, x1, y1), 0 to 1 of the picture."""

    llr: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    box: tuple[float, float, float, float]
    fdr: float | None
    time_s: float | None


@dataclass(frozen=True, eq=False)
class Lane:
    """The timeline of one source: (s,) each, in the order given."""

    source: str
    status: str
    condition: str
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    llr: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    left_out: str = ""  # what of it cannot be drawn


def details_of(evidence: Evidence) -> Mapping[str, Any]:
    """``details``, or nothing where a plugin put something else there."""
    return evidence.details if isinstance(evidence.details, Mapping) else {}


def source_of(evidence: Evidence) -> str:
    return evidence.source if isinstance(evidence.source, str) else "unnamed"


def condition_of(evidence: Evidence) -> str:
    """The name of the condition by which the evidence was judged; "" without one."""
    condition = details_of(evidence).get("condition")
    name = condition.get("name") if isinstance(condition, Mapping) else condition
    return name if isinstance(name, str) else ""


def heat_of(evidence: Evidence, longest_s: float) -> Heat:
    """The heat map of evidence. Raises Unfit.

    >>> from avsafe.types import EvidenceStatus
    >>> tiles = {"box": [0, 0, 1, 1], "llr": [[1.5, None]], "flagged": [[True, False]], "fdr": 0.05}
    >>> e = Evidence("detector.image", EvidenceStatus.PRESENT, "", details={"heatmap": tiles})
    >>> heat_of(e, 60).llr.tolist()
    [[1.5, nan]]
    """
    given = details_of(evidence).get("heatmap")
    if not isinstance(given, Mapping):
        raise Unfit(f"it is {type(given).__name__}, not an object with box, llr and flagged")
    llr = _grid(given.get("llr"), "llr")
    flagged = _grid(given.get("flagged"), "flagged")
    if llr.shape != flagged.shape:
        raise Unfit(f"llr has {_size(llr)} tiles and flagged {_size(flagged)}")
    fdr = number(given.get("fdr"))
    time_s = None
    if given.get("time_s") is not None:
        time_s = number(given["time_s"])
        if time_s is None or not 0 <= time_s <= longest_s:
            raise Unfit("its time_s is no time in the clip")
    return Heat(
        llr,
        (flagged == 1) & np.isfinite(llr),
        _box(given.get("box")),
        fdr if fdr is not None and 0 < fdr < 1 else None,
        time_s,
    )


def lane_of(evidence: Evidence, longest_s: float) -> Lane:
    """The timeline of evidence. Raises Unfit where nothing of it can be drawn."""
    given = details_of(evidence).get("timeline")
    if not isinstance(given, list | tuple):
        raise Unfit(f"it is {type(given).__name__}, not a list of segments")
    rows = [row for entry in given[:MOST_SEGMENTS] if (row := _segment(entry, longest_s))]
    if not rows:
        raise Unfit(f"none of its {len(given)} segments has a start and an end within the clip")
    start_s, end_s, llr, flagged = (np.array(column, np.float64) for column in zip(*rows))  # noqa: B905
    lost = len(given) - len(rows)
    return Lane(
        source_of(evidence),
        str(evidence.status),
        condition_of(evidence),
        start_s,
        end_s,
        llr,
        (flagged == 1) & np.isfinite(llr),
        f"{lost} of {len(given)} segments" if lost else "",
    )


def number(value: Any) -> float | None:
    """A finite number; None for anything else, truth values too.

    >>> number(2), number(True), number(float("nan")), number(10**400)
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    try:
        as_float = float(value)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def _segment(entry: Any, longest_s: float) -> tuple[float, float, float, float] | None:
    if not isinstance(entry, Mapping):
        return None
    start_s, end_s = number(entry.get("start_s")), number(entry.get("end_s"))
    if start_s is None or end_s is None or not 0 <= start_s <= end_s <= longest_s:
        return None
    llr = number(entry.get("llr"))
    return start_s, end_s, math.nan if llr is None else llr, float(_true(entry.get("flagged")))


def _true(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) and bool(value)


def _grid(given: Any, name: str) -> NDArray[np.float64]:
    """Rows of numbers (NaN for what is none) or of truth values (1 and 0)."""
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.size <= MOST_TILES:
        given = given.tolist()
    if not isinstance(given, list | tuple) or not given:
        raise Unfit(f"its {name} is not a list of rows")
    width = len(given[0]) if isinstance(given[0], list | tuple) else 0
    if not width or any(not isinstance(row, list | tuple) or len(row) != width for row in given):
        raise Unfit(f"the rows of its {name} are not lists of one length")
    if len(given) * width > MOST_TILES:
        raise Unfit(f"its {name} has {len(given)} x {width} tiles; {MOST_TILES} can be drawn")
    return np.array([[_cell(value) for value in row] for row in given], np.float64)


def _cell(value: Any) -> float:
    if isinstance(value, bool | np.bool_):
        return float(value)
    as_float = number(value)
    return math.nan if as_float is None else as_float


def _box(given: Any) -> tuple[float, float, float, float]:
    numbers = [number(v) for v in given] if isinstance(given, list | tuple) else []
    x0, y0, x1, y1 = numbers if len(numbers) == 4 else [None] * 4
    if x0 is None or y0 is None or x1 is None or y1 is None:
        raise Unfit("its box is not x0, y0, x1, y1")
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise Unfit("its box does not lie within the picture (0 to 1)")
    return x0, y0, x1, y1


def _size(grid: NDArray[np.float64]) -> str:
    return f"{grid.shape[0]} x {grid.shape[1]}"
