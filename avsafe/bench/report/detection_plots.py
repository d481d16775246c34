"""Plots of detectors: ROC, reliability, coverage and risk. Curves are as aggregates.json has them.

The first cell is blue, the worst orange, all together green, in every plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avsafe.bench.report.plots import BLUE, GREEN, INK, ORANGE, as_svg, drawing

COLOURS = {"the first cell": BLUE, "the worst cell": ORANGE, "all": GREEN}
_LEAST = 1e-3  # where the logarithmic axis of false alarms begins
Curve = Mapping[str, Any]


def roc(found: Sequence[Curve], title: str) -> str:
    """True against false positives, false ones on a logarithmic axis; dotted at 1 %."""
    figure, axes = drawing()
    for curve in found:
        if "roc" in curve:
            # A curve enters at the left edge with what is reached below it.
            reached = max((y for x, y in curve["roc"] if x <= _LEAST), default=0.0)
            points = [(_LEAST, reached), *((x, y) for x, y in curve["roc"] if x > _LEAST)]
            axes.step(*zip(*points, strict=True), where="post", color=COLOURS[curve["place"]],
                      label=_named(curve))  # fmt: skip
    chance = [_LEAST * 10 ** (i / 20) for i in range(61)]
    axes.plot(chance, chance, color=INK, linewidth=1, linestyle="--")
    axes.axvline(0.01, color=INK, linestyle=":", linewidth=1)
    axes.set(xscale="log", xlim=(_LEAST, 1), ylim=(0, 1.02), xlabel="real called synthetic",
             ylabel="synthetic found")  # fmt: skip
    axes.set_xticks([0.001, 0.01, 0.1, 1], ["0.1 %", "1 %", "10 %", "100 %"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    _legend(figure)
    return as_svg(figure, title)


def reliability(found: Sequence[Curve], title: str) -> str:
    """The share that is synthetic among units of one probability; on the diagonal it is true."""
    figure, axes = drawing()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    for curve in found:
        colour = COLOURS[curve["place"]]
        if "judged" in curve:
            bins = curve["judged"]["reliability"]
            axes.plot([b["probability"] for b in bins], [b["share"] for b in bins], marker="o",
                      markersize=4, color=colour, label=_named(curve))  # fmt: skip
        if curve["place"] == "all" and "all" in curve:
            bins = curve["all"]["reliability"]
            axes.plot([b["probability"] for b in bins], [b["share"] for b in bins], color=colour,
                      linestyle=":", marker="o", markersize=4, fillstyle="none",
                      label="the same, with abstained")  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability that was stated",
             ylabel="share that is synthetic")  # fmt: skip
    _legend(figure)
    return as_svg(figure, title)


def coverage_risk(found: Sequence[Curve], title: str) -> str:
    """How often the surest are wrong, against how many are judged."""
    figure, axes = drawing()
    most = 0.05
    for curve in found:
        colour = COLOURS[curve["place"]]
        if "judged" in curve:
            judged = curve["judged"]
            of = judged["n"] / max(1, curve.get("all", judged)["n"])
            points = [(x * of, y) for x, y in judged["coverage_risk"]]
            most = max([most, *(y for _, y in points)])
            axes.plot(*zip(*points, strict=True), color=colour, label=_named(curve))
            axes.plot(*points[-1], marker="o", markersize=5, color=colour)
        if "all" in curve and curve["all"]["n"] > curve.get("judged", {"n": 0})["n"]:
            points = curve["all"]["coverage_risk"]
            most = max([most, *(y for _, y in points)])
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=":")
    axes.set(xlim=(0, 1.02), ylim=(0, min(1.0, 1.1 * most)), xlabel="share that is judged",
             ylabel="share of it that is wrong")  # fmt: skip
    _legend(figure)
    return as_svg(figure, title)


def _named(curve: Curve) -> str:
    names = {"the first cell": "first cell", "the worst cell": "worst cell", "all": "all together"}
    return f"{names[curve['place']]} (n = {curve['n']:,})"


def _legend(figure: Any) -> None:
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
