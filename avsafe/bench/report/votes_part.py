"""The section of human votes, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from avsafe.bench.report import charts
from avsafe.bench.report import figures as fig
from avsafe.bench.report.parts import table


def section(found: Mapping[str, Any]) -> str:
    """Win rates, agreement, reasons and what was left out."""
    note = (
        f"<p class='quiet'>{found['n_votes']} of {found['n_expected']} votes on blinded pairs, one "
        "winner each. The interval is Wilson's at the effective number of votes: votes on one item "
        "are not independent. p is of a sign-flip test of items, corrected by Holm over all "
        "comparisons.</p>"
    )
    return (
        note
        + _wins(found)
        + f"<h3>Do raters agree?</h3>{_agreement(found)}"
        + f"<h3>Why they chose</h3>{_reasons(found)}"
        + f"<details><summary>Raters, checks and sides</summary>{_raters(found)}</details>"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _span(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{_share(low)} to {_share(high)}"


def _wins(found: Mapping[str, Any]) -> str:
    rows = []
    for line in found["lines"]:
        a, b = escape(line["a"]), escape(line["b"])
        who = f"<bdi>{a}</bdi> <span class='vs'>over</span> <bdi>{b}</bdi>"
        if line["p"] is None:
            rows.append([escape(line["criterion"]), who, "no vote", "–", "–", "–", "0"])
            continue
        best = line["a"] if line["value"] > 0.5 else line["b"]
        told = f"<b>{escape(best)}</b> is preferred" if line["significant"] else "not told apart"
        if not line["significant"] and line["least_p"] > 0.05:
            told = f"{line['clusters']} items are too few to tell"
        low = None if line["low"] is None else line["low"] - 0.5
        high = None if line["high"] is None else line["high"] - 0.5
        drawn = charts.difference(low, line["value"] - 0.5, high, 0.5)
        rows.append([
            escape(line["criterion"]), who,
            f"{_share(line['value'])}<small>{_span(line['low'], line['high'])}</small>{drawn}",
            told, fig.p_value(line["p_holm"]),
            f"{line['items_a']} : {line['items_b']}<small>of {line['items']}</small>",
            f"{line['n_votes']} of {line['n_expected']}",
        ])  # fmt: skip
    head = ["asked", "pair", "wins", "what follows", "p, Holm", "items won", "votes"]
    return table(head, rows, numbers=(4, 5, 6))


def _agreement(found: Mapping[str, Any]) -> str:
    def shown(value: float | str) -> str:
        return (
            fig.number(value, 2) if isinstance(value, float) else f"<small>{escape(value)}</small>"
        )

    rows = [
        [f"<b>{escape(name)}</b><small>{escape(found['criteria'][name])}</small>",
         shown(one["krippendorff_alpha"]), shown(one["fleiss_kappa"]),
         _share(one["equal_pairs"]) if isinstance(one["equal_pairs"], float)
         else escape(one["equal_pairs"])]
        for name, one in found["agreement"].items()
    ]  # fmt: skip
    head = ["asked", "Krippendorff's alpha", "Fleiss' kappa", "pairs of votes that are equal"]
    return (
        "<p class='quiet'>1 is full agreement, 0 is what chance gives. Low values are usual where "
        "clips are close, and widen what the votes can tell.</p>"
        f"{table(head, rows, numbers=(1, 2, 3))}"
    )


def _reasons(found: Mapping[str, Any]) -> str:
    systems = found["systems"]
    rows = [
        [escape(name), escape(line["text"]), *(str(line["by_winner"].get(s, 0)) for s in systems)]
        for name, lines in found["reasons"].items()
        for line in lines
    ]
    head = ["asked", "reason", *(f"for {escape(s)}" for s in systems)]
    return table(head, rows, numbers=tuple(range(2, 2 + len(systems))))


def _raters(found: Mapping[str, Any]) -> str:
    rows = []
    for rater, one in found["raters"].items():
        left = one["left"]
        rows.append([
            escape(rater), f"{one['voted']} of {one['given']}",
            "{} of {}".format(*one["checks"]), "{} of {}".format(*one["repeats"]),
            f"{_share(left['value'])}<small>{_span(left['low'], left['high'])}</small>",
            "–" if one["median_s"] is None else f"{one['median_s']:g} s",
            f"<b class='missed'>left out: {escape(one['left_out'])}</b>"
            if one["left_out"] else "counted",
        ])  # fmt: skip
    side = found["side"]
    items = "".join(f"<li>{n} votes {escape(why)}</li>" for why, n in found["not_counted"].items())
    dropped = f"<p>Not counted:</p><ul>{items}</ul>" if items else ""
    head = ["rater", "voted", "checks right", "same on repeats", "chose left", "median time", ""]
    return (
        f"<p>Left was chosen in {_share(side['value'])} of votes "
        f"({_span(side['low'], side['high'])}); half of all pairs had each system left.</p>"
        f"{table(head, rows, numbers=(1, 2, 3, 4, 5))}{dropped}"
    )
