"""When in the file detectors saw signs: a row for each on one axis of seconds, and a list of the
stretches above the threshold, for whoever does not see the picture.

What detectors wrote is checked by ``avsafe.maps``; here it becomes bars in percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from avsafe.calibration import CAP
from avsafe.maps import timeline
from avsafe.maps.details import Lane, Unfit, details_of, lane_of, number
from avsafe.types import Evidence

COLUMNS = 300  # that a row is drawn in
MOST_ROWS = 16
MOST_LISTED = 40  # stretches
_LONGEST_S = 1e6


@dataclass(frozen=True)
class Bar:
    """``left`` and ``width`` in percent; ``shade`` 0..10, None where nothing was judged."""

    left: float
    width: float
    shade: int | None
    flagged: bool


@dataclass(frozen=True)
class Row:
    source: str
    bars: tuple[Bar, ...]
    flagged: tuple[tuple[float, float], ...]  # seconds, apart from each other


@dataclass(frozen=True)
class When:
    rows: tuple[Row, ...]
    length_s: float
    ticks: tuple[tuple[float, float], ...]  # (percent, seconds)

    @property
    def listed(self) -> list[tuple[str, float, float]]:
        """(source, start, end) of the stretches above the threshold, as far as they are listed."""
        found = [(row.source, *stretch) for row in self.rows for stretch in row.flagged]
        return found[:MOST_LISTED]

    @property
    def unlisted(self) -> int:
        return sum(len(row.flagged) for row in self.rows) - len(self.listed)


def when(evidence: Iterable[Evidence]) -> When | None:
    """The rows of all evidence that has a timeline; None when none has one that can be drawn."""
    lanes: list[Lane] = []
    file_s = 0.0
    for one in evidence:
        if one.source == "domain":
            file_s = min(_LONGEST_S, number(details_of(one).get("duration_s")) or 0.0)
        try:
            lanes.append(lane_of(one, _LONGEST_S))
        except Unfit:
            continue
    lanes = lanes[:MOST_ROWS]
    if not lanes:
        return None
    length_s = max(file_s, timeline.duration_of(lanes))
    rows = tuple(Row(lane.source, _bars(lane, length_s), tuple(_flagged(lane))) for lane in lanes)
    ticks = [(100 * t / length_s, t) for t in timeline.ticks(length_s, 6)]
    return When(rows, length_s, tuple(ticks))


def _bars(lane: Lane, length_s: float) -> tuple[Bar, ...]:
    """Columns that look the same, joined."""
    seen = timeline.columns(lane, COLUMNS, length_s)
    with np.errstate(invalid="ignore"):
        shades = np.rint(5 + 5 * np.clip(seen.llr / CAP, -1, 1))
    looks = [
        (bool(covered), None if np.isnan(shade) else int(shade), bool(flagged))
        for covered, shade, flagged in zip(seen.covered, shades, seen.flagged, strict=True)
    ]
    bars, first = [], 0
    for (covered, shade, flagged), same in groupby(looks):
        n = len(list(same))
        if covered:
            left, width = 100 * first / COLUMNS, 100 * n / COLUMNS
            bars.append(Bar(round(left, 3), round(width, 3), shade, flagged))
        first += n
    return tuple(bars)


def _flagged(lane: Lane) -> Sequence[tuple[float, float]]:
    """Stretches above the threshold; those that touch are one."""
    found: list[tuple[float, float]] = []
    order = np.argsort(lane.start_s[lane.flagged], kind="stable")
    starts, ends = lane.start_s[lane.flagged][order], lane.end_s[lane.flagged][order]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if found and start <= found[-1][1] + 0.05:  # seconds; ends of frames are rounded
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
