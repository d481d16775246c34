"""report.md: floors, cells and audits of every detector, to be read without a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Found = Mapping[str, Any]


def report(found: Found) -> str:
    """The text, from what aggregates.json holds."""
    lines = [
        f"# {_safe(found['title'])}", "",
        f"{_safe(found['summary'])} Made by `avsafe bench run detectors`; report.html has plots, "
        "groups and reasons. What the words mean: docs/bench-detectors.md.", "",
        *_overview(found),
    ]  # fmt: skip
    for name, one in found["detectors"].items():
        lines += _section(name, one)
    lines += _live(found["live"])
    if found["floors_of_nobody"]:
        lines += ["## Not measured", "", "Floors of detectors without a file or a clip: "
                  f"{_safe(', '.join(found['floors_of_nobody']))}.", ""]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _overview(found: Found) -> list[str]:
    lines = [
        "| detector | floors met | mean AUC | worst AUC | worst cell | worst control set | units | "
        "sources |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found["detectors"].items():
        asked = [f for f in one["floors"] if f["met"] is not None]
        met = f"{sum(f['met'] for f in asked)} of {len(asked)}"
        low = worst_cell(one)
        control = one["worst"]["control"]
        lines.append(_row(
            name, met, plain(one["mean"]["auc"]["value"], 3),
            plain(low["figures"]["auc"]["value"], 3) if low else "–",
            f"{low['cell']}, {low['condition']}" if low else "–",
            f"{control['group']} ({control['cell']}): {percent(control['share'])} flagged"
            if control else "–",
            f"{one['n_units']:,}", f"{one['n_sources']:,}",
        ))  # fmt: skip
    return [*lines, ""]


def _section(name: str, one: Found) -> list[str]:
    lines = [f"## {_safe(name)}", ""]
    if one["floors"]:
        lines += ["| promised | limit | measured | |", "|---|---|---|---|"]
        for line in one["floors"]:
            lines.append(_row(line["what"], promise(line), measured(line, short=True), _met(line)))
        lines.append("")
    lines += [
        "| cell | condition | AUC | with abstained | EER | TPR at 1 % FPR | flagged: real | "
        "synthetic | ECE | judged | real | synthetic | sources | below a floor |",
        "|" + "---|" * 14,
    ]
    for cell in one["cells"]:
        f = cell["figures"]
        lines.append(_row(
            cell["cell"], cell["condition"], _figure(f["auc"]),
            plain(cell["with_abstained"]["auc"]["value"], 3), _figure(f["eer"], share=True),
            _figure(f["tpr_at_1pct"], share=True), _figure(f["fpr"], share=True),
            _figure(f["tpr"], share=True), _figure(f["ece"]), percent(cell["coverage"]),
            f"{cell['n_real_judged']} of {cell['n_real']}",
            f"{cell['n_synthetic_judged']} of {cell['n_synthetic']}",
            f"{cell['n_real_sources']} + {cell['n_synthetic_sources']}",
            "; ".join(cell["missed"]),
        ))  # fmt: skip
    lines.append("")
    for of, audit in one["audits"].items():
        lines += [f"Shortcuts, {of}: {_safe(audited(audit))}.", ""]
    return lines


def _live(live: Found) -> list[str]:
    if not live:
        return []
    seen = ", ".join(f"{_safe(name)} {n}" for name, n in live["seen"].items()) or "none"
    groups = ", ".join(f"{_safe(name)} {one['clips']}" for name, one in live["groups"].items())
    untold = f" Not said by {_safe(', '.join(live['untold']))}." if live["untold"] else ""
    return ["## Clips scored here", "",
            f"{live['n_clips']} clips ({groups}); left out, because a detector was trained on "
            f"them: {seen}.{untold}", ""]  # fmt: skip


# ---------------------------------------------------------------- words


def promise(line: Found) -> str:
    """What a floor asks, in words.

    >>> promise({"figure": "eer", "limit": .04, "least": False, "over": "each", "below": "",
    ...          "coverage": 0, "or_abstained": None})
    'EER ≤ 4.0 %'
    """
    names = {"auc": "AUC", "eer": "EER", "ece": "ECE", "fpr": "real flagged", "aurc": "AURC",
             "tpr": "synthetic flagged", "tpr_at_1pct": "TPR at 1 % FPR",
             "coverage": "judged"}  # fmt: skip
    sign = "≥" if line["least"] else "≤"
    share = line["figure"] in ("eer", "fpr", "tpr", "tpr_at_1pct", "coverage")
    limit = percent(line["limit"]) if share else f"{line['limit']:g}"
    said = f"{'mean ' if line['over'] == 'mean' else ''}{names[line['figure']]} {sign} {limit}"
    if line["below"]:
        said = f"{'mean ' if line['over'] == 'mean' else ''}{names[line['figure']]} at most " \
               f"{line['limit']:g} lower than {line['below']}"  # fmt: skip
    if line["over"] == "set":
        said = f"{limit} of a set flagged at most"
    if line["coverage"]:
        said += f", {percent(line['coverage'])} judged"
    if line["or_abstained"] is not None:
        said += f", or abstains on {percent(line['or_abstained'])}"
    return said


def measured(line: Found, *, short: bool = False) -> str:
    """What was found, in words; with ``short``, without whether the floor is met."""
    if line["met"] is None:
        return "not measured" if not line["n_asked"] else "no figure in any of its cells"
    share = line["figure"] in ("eer", "fpr", "tpr", "tpr_at_1pct", "coverage")
    value = line["value"]
    shown = "–" if value is None else percent(value) if share else f"{value:.3f}"
    if line.get("low") is not None:
        ends = (percent(line[k]) if share else f"{line[k]:.3f}" for k in ("low", "high"))
        shown += f" [{', '.join(ends)}]"
    if line["over"] == "mean":
        shown += f", mean of {line['n_cells']}"
    elif line["over"] == "set":
        shown += (f" of {line['n']}, {line['n_judged']} judged ({line['group']}; {line['cell']}, "
                  f"{line['condition']})")  # fmt: skip
    else:
        shown += f" ({line['cell']}, {line['condition']})"
    if line["coverage"] or line["or_abstained"] is not None:
        shown += f", {percent(line['covered'])} judged"
    if line.get("by_chance") is not None:
        shown += f", {line['by_chance']:.3f} by chance"
    if 0 < line["n_cells"] < line["n_asked"]:
        shown += (
            f"; {line['n_asked'] - line['n_cells']} of {line['n_asked']} cells without a figure"
        )
    if line.get("excused"):
        shown += f"; {line['excused']} of {line['n_cells']} cells excused: it abstains"
    if line.get("n_missed", 0) > 1:
        shown += f"; {line['n_missed']} of {line['n_cells']} cells miss it"
        if line.get("n_chance"):
            shown += f", {line['n_chance']} of them by no more than chance would"
    return shown if short else f"{shown}: {_met(line)}"


def audited(audit: Found) -> str:
    """The audit in one line."""
    found = audit["all"]
    if found["value"] is None:
        return f"not audited, {found['reason']}"
    ends = f" [{plain(found.get('low'), 2)}, {plain(found.get('high'), 2)}]"
    verdict = "met" if audit["met"] else "MISSED"
    return (f"AUC {found['value']:.2f}{ends} from outside alone (n = {found['n']}), limit "
            f"{audit['limit']:g}: {verdict}")  # fmt: skip


def worst_cell(one: Found) -> Found | None:
    """The cell with the lowest AUC, where one was measured."""
    low = one["worst"]["cell"]
    if not low:
        return None
    same = (low["cell"], low["condition"])
    return next((c for c in one["cells"] if (c["cell"], c["condition"]) == same), None)


def _met(line: Found) -> str:
    return "not measured" if line["met"] is None else "met" if line["met"] else "MISSED"


def _figure(figure: Found, *, share: bool = False) -> str:
    if figure["value"] is None:
        return "–"

    def shown(value: float) -> str:
        return percent(value) if share else f"{value:.3f}"

    if figure.get("low") is None:
        return shown(figure["value"])
    return f"{shown(figure['value'])} [{shown(figure['low'])}, {shown(figure['high'])}]"


def percent(value: float) -> str:
    """100 % and 0 % only when it is exactly all or nothing.

    >>> percent(0.004), percent(0.5), percent(0.9999), percent(1.0)
    ('0.4 %', '50 %', '99.9 %', '100 %')
    """
    if value in (0.0, 1.0):
        return f"{100 * value:.0f} %"
    shown = min(99.9, max(0.1, 100 * value))
    return f"{shown:.0f} %" if 10 <= shown < 99 else f"{shown:.1f} %"


def plain(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _row(*texts: str) -> str:
    return f"| {' | '.join(_safe(text).replace('|', chr(92) + '|') for text in texts)} |"


def _safe(text: str) -> str:
    """Names come from files of others: no markup, one line."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
