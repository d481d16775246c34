"""Pieces of the page on detectors as HTML. Every name and reason is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsafe.bench.detection import markdown
from avsafe.bench.report.charts import Spread, spreads
from avsafe.bench.report.figures import counted, number
from avsafe.bench.report.parts import percent, table, verdict

Found = Mapping[str, Any]
FEW = 0.2  # share judged below which a cell is drawn pale: it hardly speaks
_GROUPS = 12  # of a plot of scores


# ---------------------------------------------------------------- overview


def overview(found: Mapping[str, Found]) -> str:
    """A line a detector."""
    head = ("detector", "floors", "mean AUC", "worst cell", "worst control set", "judged",
            "shortcuts", "units")  # fmt: skip
    rows = []
    for name, one in found.items():
        low, control = markdown.worst_cell(one), one["worst"]["control"]
        judged = one["mean"]["coverage"]["value"]
        cells = [
            f'<a href="#{anchor(name)}">{escape(name)}</a>',
            met_of(one),
            number(one["mean"]["auc"]["value"], 3)
            + f"<small>of {counted(one['mean']['auc']['n'], 'cell')}</small>",
            f"{number(low['figures']['auc']['value'], 3)}<small>{_place(low)}</small>"
            if low else "–",
            f"{percent(control['share'])} flagged<small>{escape(control['group'])} "
            f"({_place(control)}), {control['n_judged']} of {control['n']} judged</small>"
            if control else "–",
            "–" if judged is None else percent(judged),
            "<br>".join(_audit_word(a) for a in one["audits"].values()) or "–",
            f"{one['n_units']:,}<small>{counted(one['n_sources'], 'source')}</small>",
        ]  # fmt: skip
        rows.append("".join(f'<td data-h="{h}">{c}</td>' for h, c in zip(head, cells, strict=True)))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    top = "".join(f"<th>{h}</th>" for h in head)
    return (f'<div class="wide sum"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody>'
            "</table></div>")  # fmt: skip


def met_of(one: Found) -> str:
    asked = [line for line in one["floors"] if line["met"] is not None]
    if not one["floors"]:
        return "none"
    met = sum(line["met"] for line in asked)
    colour = "met" if asked and met == len(asked) else "missed"
    silent = len(one["floors"]) - len(asked)
    more = f"<small>{silent} not measured</small>" if silent else ""
    return f'<b class="{colour}">{met} of {len(asked)}</b>{more}'


def _audit_word(audit: Found) -> str:
    if audit["met"] is None:
        return "not audited"
    return f"{number(audit['all']['value'], 2)} {verdict(audit['met'])}"


def _place(cell: Found) -> str:
    return f"{escape(cell['cell'])}, {escape(cell['condition'])}"


def anchor(name: str) -> str:
    """The id of a detector's section.

    >>> anchor("my <b> net")
    'd-my-b-net'
    """
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
    return "d-" + "-".join(part for part in letters.split("-") if part)


# ---------------------------------------------------------------- floors and cells


def floors(lines: Sequence[Found]) -> str:
    rows = []
    for line in lines:
        said = '<span class="none">not measured</span>' if line["met"] is None else (
            verdict(line["met"]))  # fmt: skip
        rows.append(
            f"<tr><td>{escape(line['what'])}<small>{escape(markdown.promise(line))}</small></td>"
            f"<td>{escape(markdown.measured(line, short=True))}</td><td>{said}</td></tr>"
        )
    if not rows:
        return "<p>The suite file promises nothing of this detector.</p>"
    head = "<tr><th>promised</th><th>measured</th><th></th></tr>"
    return f'<table class="floors"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def matrix(cells: Sequence[Found]) -> str:
    """Cells by conditions: the area under the curve, and how much was judged."""
    mixed = [c for c in cells if not c["control"]]
    if not mixed:
        return "<p>No cell has real and synthetic units.</p>"
    by_place = {(c["cell"], c["condition"]): c for c in mixed}
    names = list(dict.fromkeys(c["cell"] for c in mixed))
    conditions = list(dict.fromkeys(c["condition"] for c in mixed))
    top = "".join(f"<th>{escape(c)}</th>" for c in conditions)
    body = "".join(
        f"<tr><th scope='row'>{escape(name)}</th>"
        + "".join(_square(by_place.get((name, condition))) for condition in conditions)
        + "</tr>"
        for name in names
    )
    key = (
        "<p class='quiet key'><i class='good'></i>AUC .9 or more <i class='fair'></i>.75 or more "
        "<i class='poor'></i>below <i class='few'></i>judges less than a fifth, or one class only "
        "<i class='miss'></i>below a floor. In small: the share judged, and EER. In brackets: AUC "
        "with what it did not judge.</p>"
    )
    return (f'<div class="wide"><table class="cells"><thead><tr><th></th>{top}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>{key}")  # fmt: skip


def _square(cell: Found | None) -> str:
    if cell is None:
        return '<td class="nil"></td>'
    auc, eer = cell["figures"]["auc"], cell["figures"]["eer"]
    missed = " miss" if cell["missed"] else ""
    if auc["value"] is None:
        every = cell["with_abstained"]["auc"]["value"]
        shown = "–" if every is None else f"({number(every, 3)})"
        return (f'<td class="few{missed}" title="{escape(_tip(cell))}">{shown}'
                f"<small>{markdown.percent(cell['coverage'])} judged</small></td>")  # fmt: skip
    level = "good" if auc["value"] >= 0.9 else "fair" if auc["value"] >= 0.75 else "poor"
    level = "few" if cell["coverage"] < FEW else level
    small = f"{markdown.percent(cell['coverage'])} · {markdown.percent(eer['value'])}"
    return (
        f'<td class="{level}{missed}" title="{escape(_tip(cell))}">{number(auc["value"], 3)}'
        f"<small>{small}</small></td>"
    )


def _tip(cell: Found) -> str:
    auc = cell["figures"]["auc"]
    said = f"{cell['cell']}, {cell['condition']}: {markdown.plain(auc['value'], 3)}"
    if auc.get("low") is not None:
        said += f" ({auc['low']:.3f} to {auc['high']:.3f})"
    said += (f"; judged {cell['n_real_judged']} of {cell['n_real']} real, "
             f"{cell['n_synthetic_judged']} of {cell['n_synthetic']} synthetic; "
             f"{cell['n_real_sources']} and {cell['n_synthetic_sources']} sources")  # fmt: skip
    return said + (f"; below: {', '.join(cell['missed'])}" if cell["missed"] else "")


def every_figure(cells: Sequence[Found]) -> str:
    """All figures of all cells; of what is left out the reasons stand in the cell."""
    head = ["cell", "condition", "judged", "AUC", "with abstained", "EER", "TPR at 1 % FPR",
            "real flagged", "synthetic flagged", "ECE", "with abstained", "AURC", "sources",
            "below"]  # fmt: skip
    rows = []
    for cell in cells:
        f, every = cell["figures"], cell["with_abstained"]
        rows.append([
            escape(cell["cell"]), escape(cell["condition"]),
            f"{cell['n_judged']} of {cell['n']}<small>{cell['n_real_judged']} real, "
            f"{cell['n_synthetic_judged']} synthetic</small>",
            _figure(f["auc"]), _figure(every["auc"]), _figure(f["eer"], share=True),
            _figure(f["tpr_at_1pct"], share=True), _figure(f["fpr"], share=True),
            _figure(f["tpr"], share=True), _figure(f["ece"]), _figure(every["ece"]),
            _figure(f["aurc"]), f"{cell['n_real_sources']} + {cell['n_synthetic_sources']}",
            escape("; ".join(cell["missed"])),
        ])  # fmt: skip
    drawn = table(head, rows, numbers=range(2, 13))
    return drawn.replace('class="wide"', 'class="wide tall all"', 1)


def _figure(figure: Found, *, share: bool = False) -> str:
    if figure["value"] is None:
        return f'<abbr class="none" title="{escape(figure.get("reason", ""))}">–</abbr>'

    def shown(value: float) -> str:
        return percent(value) if share else number(value, 3)

    if figure.get("low") is None:
        return f"{shown(figure['value'])}<small>one source</small>"
    return (
        f"{shown(figure['value'])}<small>{shown(figure['low'])} to {shown(figure['high'])}</small>"
    )


# ---------------------------------------------------------------- controls, scores, reasons


def controls(cells: Sequence[Found], limit: float) -> str:
    """Sets of real media of which nothing may be flagged: the share that is."""
    out = []
    for cell in cells:
        if not cell["control"]:
            continue
        out.append(f"<h4>{_place(cell)}</h4>")
        for group in sorted(cell["groups"], key=lambda g: (-g["share"], g["group"])):
            share = group["share"]
            level = "good" if share <= limit else "poor"
            k = round(share * group["n"])
            out.append(
                f'<div class="bar"><span class="name">{escape(group["group"])}</span>'
                f'<span class="track"><i class="{level}" style="width:{100 * share:.1f}%"></i>'
                f'<b style="left:{100 * limit:g}%"></b></span>'
                f'<span class="value">{percent(share)}<small>{k} of {group["n"]}; '
                f"{group['n_judged']} judged</small></span></div>"
            )
    return f'<div class="sets">{"".join(out)}</div>' if out else ""


def scores(groups: Sequence[Found], title: str) -> str:
    """Scores by group: real ones blue, synthetic ones orange."""
    if not groups:
        return ""
    rows = [
        Spread(g["group"], int(g["synthetic"]), g["values"], tuple(g["quantiles"]), g["mean"],
               None, None, f"{g['n']:,} of {g['n_expected']:,}")
        for g in groups
    ]  # fmt: skip
    ends = min(min(row.values) for row in rows), max(max(row.values) for row in rows)
    halves = [[row for row in rows if row.place == place] for place in (0, 1)]
    drawn = "".join(
        f"<figure>{spreads(half[:_GROUPS], f'{title} {place}', ends)}{_rest(half, title, ends)}"
        "</figure>"
        for place, half in enumerate(halves)
        if half
    )
    return (
        "<p class='quiet'>A dot is a unit that was judged (80 at most, evenly by rank), the box "
        "holds the middle half, the line 90 %, the stroke is the median, ◆ the mean. "
        "<b style='color:var(--s1)'>Real</b>, <b style='color:var(--s2)'>synthetic</b>; all cells "
        f'and conditions.</p><div class="two">{drawn}</div>'
    )


def _rest(half: Sequence[Spread], title: str, ends: tuple[float, float]) -> str:
    rest = half[_GROUPS:]
    if not rest:
        return ""
    return (f"<details><summary>{counted(len(rest), 'more group')}</summary>"
            f"{spreads(rest, f'{title}, further groups', ends)}</details>")  # fmt: skip


def abstentions(cells: Sequence[Found]) -> str:
    """Why units were not judged, over all cells and conditions."""
    count: dict[str, int] = {}
    example: dict[str, str] = {}
    for cell in cells:
        for one in cell["reasons"]:
            count[one["reason"]] = count.get(one["reason"], 0) + one["n"]
            example.setdefault(one["reason"], one["example"])
    n = sum(cell["n"] for cell in cells)
    silent = sum(cell["n"] - cell["n_judged"] for cell in cells)
    if not silent:
        return f"<p>It judged every one of {n:,} units.</p>"
    rows = [
        [escape(reason) + ("" if example[reason] == reason
                           else f"<small>such as: {escape(example[reason])}</small>"),
         f"{k:,}", percent(k / n)]
        for reason, k in sorted(count.items(), key=lambda item: -item[1])
    ]  # fmt: skip
    return (f"<p>{silent:,} of {n:,} ({percent(silent / n)}), over all cells and conditions.</p>"
            f"{table(['reason', 'units', 'share'], rows, numbers=(1, 2))}")  # fmt: skip


def audits(found: Mapping[str, Found]) -> str:
    """What the outside of the files gives away."""
    out = []
    for of, audit in found.items():
        out.append(f"<p>Of {escape(of)}: {escape(markdown.audited(audit))}.</p>")
        rows = [
            [escape(name.replace("_", " ")),
             number(one["value"], 3) if one["value"] is not None else "–",
             f"{number(one['low'], 3)} to {number(one['high'], 3)}"
             if one.get("low") is not None else escape(one.get("reason", "no interval"))]
            for name, one in audit["each"].items()
        ]  # fmt: skip
        if rows:
            out.append("<details><summary>Each alone</summary>"
                       f"{table(['from outside', 'AUC', '95 %'], rows, numbers=(1, 2))}"
                       "</details>")  # fmt: skip
    return "".join(out)
