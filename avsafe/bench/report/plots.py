"""Plots as SVG that take the page's colours, so that they are right in light and in dark.

Text stays text. matplotlib draws in placeholder colours, which become CSS variables afterwards.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsafe.errors import MissingExtra

# placeholder -> what the page says; no plot uses these colours otherwise
_COLOURS = {
    "#010203": "var(--ink)",
    "#040506": "var(--rule)",
    "#070809": "var(--blue)",
    "#0a0b0c": "var(--orange)",
    "#0d0e0f": "var(--green)",
}
INK, RULE, BLUE, ORANGE, GREEN = _COLOURS
_SIZE = (4.6, 3.1)  # inches: its text is still read on a page of 390 pixels


def drawing() -> tuple[Any, Any]:
    """A figure and its axes in the page's style. MissingExtra without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra(
            "The report needs matplotlib: pip install 'avsafe[bench]'. The figures are in "
            "aggregates.json."
        ) from error
    matplotlib.use("svg")
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "avsafe",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": RULE,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": RULE,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    matplotlib.rcParams.update(style)
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def as_svg(figure: Any, title: str) -> str:
    """For the page; ``title`` tells its ids from those of other plots, and is read aloud."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for placeholder, name in _COLOURS.items():
        text = text.replace(placeholder, name)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(font: [^;"]*?)(\'?)DejaVu Sans\'?[^;"]*', r"\1sans-serif", text)
    width, height = (round(96 * side) for side in _SIZE)
    text = re.sub(r'width="[\d.]+pt"', f'width="{width}"', text, count=1)
    text = re.sub(r'height="[\d.]+pt"', f'height="{height}"', text, count=1)
    # ids of two plots on one page must differ
    unique = re.sub(r"\W+", "-", title)
    text = re.sub(r'id="([^"]+)"', rf'id="{unique}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{unique}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{unique}-\1)", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def crf_curve(points: Sequence[tuple[float, float, float, float]], title: str) -> str:
    """Points are (CRF, share, low, high)."""
    figure, axes = drawing()
    crf = [p[0] for p in points]
    axes.fill_between(
        crf, [100 * p[2] for p in points], [100 * p[3] for p in points], color=BLUE, alpha=0.18,
        linewidth=0,
    )  # fmt: skip
    axes.plot(crf, [100 * p[1] for p in points], color=BLUE, marker="o")
    axes.set(xlabel="H.264 CRF", ylabel="all bits right, % of trials", ylim=(-3, 103))
    axes.set_xticks(crf)
    return as_svg(figure, title)


def p_values(groups: Mapping[str, Sequence[float]], title: str) -> str:
    """The share of trials with a p-value of at most x, for a few attacks, x logarithmic."""
    import math

    figure, axes = drawing()
    least = -1.0
    for (name, values), colour in zip(groups.items(), (BLUE, GREEN, ORANGE), strict=False):
        logs = sorted(math.log10(max(value, 1e-60)) for value in values)
        least = min([least, *logs])
        share = [100 * (i + 1) / len(logs) for i in range(len(logs))]
        axes.step([*logs, 0.0], [*share, share[-1]], where="post", color=colour, label=name)
    axes.axvline(-6, color=INK, linestyle=":", linewidth=1)
    axes.set(
        xlabel="log10 of the p-value", ylabel="% of trials at or below", ylim=(0, 103),
        xlim=(max(least - 1, -60), 0.3),
    )  # fmt: skip
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return as_svg(figure, title)


def uniformity(found: Mapping[str, Any], title: str) -> str:
    """Wrong keys: the measured share of p-values at or below x, against x itself."""
    figure, axes = drawing()
    limits = found["thresholds"]
    axes.plot([1e-6, 1], [1e-6, 1], color=INK, linewidth=1, linestyle="--", label="exactly x")
    n = max(1, found["n"])
    names = {"p_value": "joint p-value", "sync_p_value": "synchronisation alone"}
    for (name, counts), colour in zip(found["below"].items(), (BLUE, ORANGE), strict=False):
        points = [(x, k / n) for x, k in zip(limits, counts, strict=True) if k]
        if points:
            label = names.get(name, name)
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=label)
        else:
            axes.plot(
                [], [], marker="o", color=colour, label=f"{names.get(name, name)}: none < 0.5"
            )
    axes.set(xscale="log", yscale="log", xlabel="x", ylabel="share of wrong keys with p <= x")
    axes.set(xlim=(1e-6, 1.4), ylim=(1e-6, 1.4))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return as_svg(figure, title)


def scatter(
    points: Sequence[tuple[float, float]], xlabel: str, ylabel: str, floor: float | None, title: str
) -> str:
    figure, axes = drawing()
    if points:
        axes.scatter(*zip(*points, strict=True), s=26, color=BLUE, alpha=0.75, linewidth=0)
    if floor is not None:
        axes.axvline(floor, color=ORANGE, linestyle=":", linewidth=1.4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return as_svg(figure, title)
