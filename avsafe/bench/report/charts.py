"""Charts drawn as small SVG in the page's colours: profile (radar), distributions, differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from avsafe.bench.report.figures import colour

_DOTS = 160  # of one row of a distribution


@dataclass(frozen=True)
class Axis:
    """A spoke: what its centre and its rim mean. ``points`` are (value, low, high) by system, as
    shares of the way from centre to rim; None where a system has no figure."""

    title: str
    points: Mapping[str, tuple[float, float | None, float | None] | None]


def radar(axes: Sequence[Axis], systems: Sequence[str], title: str, only: str = "") -> str:
    """Systems as closed lines over three axes or more; a line is broken where a figure is absent.
    The short bars across a corner are its interval. ``only`` draws one system over pale others."""
    if len(axes) < 3:
        raise ValueError(f"A radar takes three axes; there are {len(axes)}.")
    cx, cy, radius = 230.0, 165.0, 112.0
    spokes = [2 * math.pi * i / len(axes) - math.pi / 2 for i in range(len(axes))]

    def at(index: int, share: float, aside: float = 0.0) -> tuple[float, float]:
        cos, sin = math.cos(spokes[index]), math.sin(spokes[index])
        r = radius * min(1.0, max(0.0, share))
        return cx + r * cos - aside * sin, cy + r * sin + aside * cos

    out = [_open(460, 330, title)]
    for ring in (0.25, 0.5, 0.75, 1.0):
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(i, ring) for i in range(len(axes))))
        out.append(f'<polygon points="{corners}" fill="none" stroke="var(--rule)"/>')
    for i, axis in enumerate(axes):
        x, y = at(i, 1)
        out.append(f'<line x1="{cx}" y1="{cy}" x2="{x:.1f}" y2="{y:.1f}" stroke="var(--rule)"/>')
        out.append(_axis_label(axis.title, at(i, 1.09), math.cos(spokes[i]), math.sin(spokes[i])))
    for place, system in enumerate(systems):
        pale = bool(only) and system != only
        ink, width = ("var(--rule)", 1.2) if pale else (colour(place), 2.2)
        dash = "" if only else f' stroke-dasharray="{("0", "7 3", "2 3", "9 3 2 3")[place % 4]}"'
        for i, axis in enumerate(axes):
            here, there = axis.points.get(system), axes[(i + 1) % len(axes)].points.get(system)
            if here and there:
                (x1, y1), (x2, y2) = at(i, here[0]), at((i + 1) % len(axes), there[0])
                out.append(
                    f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                    f'stroke="{ink}" stroke-width="{width}"{dash}/>'
                )
            if here is None or pale:
                continue
            x, y = at(i, here[0])
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{ink}"/>')
            if here[1] is not None and here[2] is not None:
                aside = 4.0 * (place - (len(systems) - 1) / 2) if not only else 0.0
                (x1, y1), (x2, y2) = at(i, here[1], aside), at(i, here[2], aside)
                out.append(
                    f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                    f'stroke="{ink}" stroke-width="3.5" opacity=".45"/>'
                )
    return "".join(out) + "</svg>"


def _axis_label(text: str, place: tuple[float, float], cos: float, sin: float) -> str:
    anchor = "middle" if abs(cos) < 0.3 else "start" if cos > 0 else "end"
    lines = _wrapped(text, 16)
    x, y = place
    top = y - (len(lines) - 1) * (14 if sin < -0.5 else 0 if sin > 0.5 else 7) + 4 + 6 * sin
    spans = "".join(
        f'<tspan x="{x:.1f}" dy="{14 if i else 0}">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    return f'<text x="{x:.1f}" y="{top:.1f}" text-anchor="{anchor}" font-size="14">{spans}</text>'


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, width) or [""]
    if len(lines) > 2:
        lines = [lines[0], textwrap.shorten(" ".join(lines[1:]), width + 3, placeholder="…")]
    return lines


@dataclass(frozen=True)
class Spread:
    """The clips of one system on one score."""

    system: str
    place: int  # of the system in the run
    values: Sequence[float]
    quantiles: tuple[float, float, float, float, float]  # .05 .25 .5 .75 .95
    mean: float
    low: float | None
    high: float | None
    note: str  # n of n


def spreads(rows: Sequence[Spread], title: str, ends: tuple[float, float] | None = None) -> str:
    """One line a system: every clip a dot, a box over the middle half, a line from 5 to 95 %, the
    median a stroke, the mean with its interval a diamond above. ``ends`` are those of an axis that
    several plots share."""
    least, most = _ends(ends or [v for row in rows for v in row.values])
    wide, left, right, high = 520.0, 8.0, 512.0, 62.0
    span = most - least

    def x(value: float) -> float:
        return left + (right - left) * (min(max(value, least), most) - least) / span

    out = [_open(wide, high * len(rows) + 26, title)]
    bottom = high * len(rows)
    for tick in ticks(least, most):
        out.append(
            f'<line x1="{x(tick):.1f}" y1="0" x2="{x(tick):.1f}" y2="{bottom:.0f}" '
            f'stroke="var(--rule)" stroke-width=".7"/><text x="{x(tick):.1f}" '
            f'y="{bottom + 18:.0f}" text-anchor="{_edge(x(tick), wide)}" font-size="15" '
            f'opacity=".8">{_tick(tick)}</text>'
        )
    for i, row in enumerate(rows):
        ink, y = colour(row.place), high * i + 42
        q05, q25, q50, q75, q95 = (x(q) for q in row.quantiles)
        out.append(
            f'<text x="{left}" y="{y - 21:.0f}" font-size="15"><tspan font-weight="600" '
            f'style="fill:{ink}">{escape(row.system)}</tspan> <tspan opacity=".75">'
            f"{escape(row.note)}</tspan></text>"
            f'<line x1="{q05:.1f}" y1="{y}" x2="{q95:.1f}" y2="{y}" stroke="{ink}"/>'
            f'<rect x="{q25:.1f}" y="{y - 7}" width="{max(1.0, q75 - q25):.1f}" height="14" '
            f'fill="{ink}" opacity=".22"/>'
            f'<line x1="{q50:.1f}" y1="{y - 7}" x2="{q50:.1f}" y2="{y + 7}" stroke="{ink}" '
            'stroke-width="2"/>'
        )
        for j, value in enumerate(_thinned(row.values)):
            aside = ((j * 7) % 11 - 5) * 1.3  # spread without chance
            out.append(f'<circle cx="{x(value):.1f}" cy="{y + aside:.1f}" r="1.9" fill="{ink}" '
                       'opacity=".5"/>')  # fmt: skip
        m = x(row.mean)
        if row.low is not None and row.high is not None:
            out.append(
                f'<line x1="{x(row.low):.1f}" y1="{y - 13}" x2="{x(row.high):.1f}" y2="{y - 13}" '
                'stroke="var(--ink)" stroke-width="1.6"/>'
            )
        out.append(f'<path d="M{m:.1f} {y - 17}l4 4-4 4-4-4z" fill="var(--ink)"/>')
    return "".join(out) + "</svg>"


def _thinned(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    if len(order) <= _DOTS:
        return order
    return [order[round(i * (len(order) - 1) / (_DOTS - 1))] for i in range(_DOTS)]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    least, most = min(values), max(values)
    if most - least < 1e-12 * max(1.0, abs(most)):
        pad = max(0.5, abs(most) * 0.1)
        return least - pad, most + pad
    pad = 0.03 * (most - least)
    return least - pad, most + pad


def ticks(least: float, most: float, count: int = 5) -> list[float]:
    """Round numbers between two ends.

    >>> ticks(0.03, 1.02)
    [0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (most - least) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
    first = math.ceil(least / step)
    return [round(i * step, 10) for i in range(first, math.floor(most / step) + 1)]


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _edge(x: float, wide: float) -> str:
    return "start" if x < 20 else "end" if x > wide - 20 else "middle"


def difference(low: float | None, value: float, high: float | None, limit: float) -> str:
    """A difference and its interval on a line whose middle is no difference."""
    limit = limit or 1.0

    def x(number: float) -> float:
        return 60 + 56 * min(1.0, max(-1.0, number / limit))

    bar = ""
    if low is not None and high is not None:
        bar = (f'<line x1="{x(low):.1f}" y1="9" x2="{x(high):.1f}" y2="9" stroke="var(--blue)" '
               'stroke-width="3" opacity=".55"/>')  # fmt: skip
    return (
        '<svg class="fork" viewBox="0 0 120 18" width="120" height="18" aria-hidden="true">'
        '<line x1="4" y1="9" x2="116" y2="9" stroke="var(--rule)"/>'
        '<line x1="60" y1="2" x2="60" y2="16" stroke="var(--quiet)"/>'
        f'{bar}<circle cx="{x(value):.1f}" cy="9" r="3.6" fill="var(--blue)"/></svg>'
    )


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-family="inherit">'
    )
