"""The timeline as a few lines of text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from avsafe.calibration import CAP
from avsafe.maps.details import Lane, Unfit, details_of, lane_of
from avsafe.maps.drawing import printable
from avsafe.maps.timeline import Columns, columns, duration_of, runs, ticks
from avsafe.types import Evidence

LONGEST_S = 86_400.0
MOST_LANES = 16
_BLOCKS, _FLAG, _SILENT = "▁▂▃▄▅▆", "█", "·"
_PLAIN, _PLAIN_FLAG, _PLAIN_SILENT = "_.:-=+", "#", "?"
_TOLD = 4  # flagged stretches that are spelled out


def timeline_text(evidence: Iterable[Evidence], width: int = 80, *, plain: bool = False) -> str:
    """A line of blocks for each source with a timeline, an axis of seconds, and what is flagged.

    The higher the block, the more like synthetic; a full one (and only that) is flagged, so that it
    is seen without colours. ``width`` is that of the terminal, 40 at least. ``plain`` keeps to
    ASCII. The text has rich's markup; "" when no evidence has a timeline that can be drawn.

    >>> from avsafe.calibration import segment
    >>> from avsafe.types import EvidenceStatus
    >>> parts = [segment(0, 5, -3, flagged=False), segment(5, 10, 3, flagged=True)]
    >>> e = Evidence("detector.speech", EvidenceStatus.PRESENT, "", details={"timeline": parts})
    >>> print(timeline_text([e], 44, plain=True).replace("[bold yellow]", "").replace("[/]", ""))
    speech  __________________##################
            0 s               5 s           10 s
            flagged: 5-10 s
    """
    lanes = list(_lanes(evidence))[:MOST_LANES]
    if not lanes:
        return ""
    width = max(40, min(width, 400))
    names = [printable(lane.source.removeprefix("detector."))[: width // 4] for lane in lanes]
    gutter = max(map(len, names)) + 2
    k = width - gutter
    duration_s = duration_of(lanes)
    lines: list[str] = []
    for name, lane in zip(names, lanes, strict=True):
        seen = columns(lane, k, duration_s)
        lines.append(f"{_escaped(name)}{' ' * (gutter - len(name))}{_blocks(seen, plain)}")
    lines.append(" " * gutter + _axis(duration_s, k))
    for name, lane in zip(names, lanes, strict=True):
        if lane.flagged.any():
            of = f"{_escaped(name)} " if len(lanes) > 1 else ""
            lines.append(f"{' ' * gutter}{of}flagged: {_stretches(lane)}")
    return "\n".join(line.rstrip() for line in lines)


def _lanes(evidence: Iterable[Evidence]) -> Iterable[Lane]:
    for item in evidence:
        if "timeline" in details_of(item):
            try:
                yield lane_of(item, LONGEST_S)
            except Unfit:  # the picture's warnings say so
                continue


def _blocks(seen: Columns, plain: bool) -> str:
    scale, flag, silent = (
        (_PLAIN, _PLAIN_FLAG, _PLAIN_SILENT) if plain else (_BLOCKS, _FLAG, _SILENT)
    )
    share = np.clip((np.nan_to_num(seen.llr) + CAP) / (2 * CAP), 0, 1)
    level = np.minimum((share * len(scale)).astype(int), len(scale) - 1)
    judged = np.isfinite(seen.llr)
    letters = [
        flag if f else scale[n] if j else silent if c else " "
        for f, j, c, n in zip(
            seen.flagged.tolist(), judged.tolist(), seen.covered.tolist(), level.tolist(),
            strict=True,
        )
    ]  # fmt: skip
    for first, past in reversed(runs(seen.flagged)):
        letters[first:past] = ["[bold yellow]", *letters[first:past], "[/]"]
    return "".join(letters)


def _axis(duration_s: float, k: int) -> str:
    """Times under their columns; the last one may stand a little to the left of its own."""
    line = [" "] * k
    free = 0
    for time_s in ticks(duration_s, max(2, k // 9)):
        text = f"{time_s:g} s"
        at = min(round(time_s / duration_s * k), k - len(text))
        if at >= free:
            line[at : at + len(text)] = text
            free = at + len(text) + 1
    return "".join(line)


def _stretches(lane: Lane) -> str:
    """Flagged segments, those that touch joined."""
    order = np.argsort(lane.start_s, kind="stable")
    joined: list[list[float]] = []
    for index in order[lane.flagged[order]]:
        start_s, end_s = float(lane.start_s[index]), float(lane.end_s[index])
        if joined and start_s <= joined[-1][1] + 1e-6:
            joined[-1][1] = max(joined[-1][1], end_s)
        else:
            joined.append([start_s, end_s])
    said = [f"{_time(a)}-{_time(b)} s" for a, b in joined[:_TOLD]]
    more = len(joined) - _TOLD
    return ", ".join(said) + (f" and {more} more" if more > 0 else "")


def _time(time_s: float) -> str:
    return f"{round(time_s, 1):.10g}"  # :g would write an hour as 3.6e+03


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
