"""The report on detectors: one HTML file that needs nothing else, in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from avsafe.bench.report import detection_parts as parts
from avsafe.bench.report import detection_plots as plots
from avsafe.bench.report.figures import counted, short_hash
from avsafe.bench.report.parts import percent, table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_LIMIT = 0.05  # of a control set, where no floor says another
Found = Mapping[str, Any]


def write(found: Found, path: Path) -> Path:
    """Draw the page of what aggregates.json holds. MissingExtra without matplotlib."""
    path.write_text(draw(found), encoding="utf-8")
    return path


def draw(found: Found) -> str:
    """The page as text."""
    detectors = found["detectors"]
    body = [
        _head(found),
        f"<section><h2>All detectors</h2>{parts.overview(detectors)}</section>",
        *(_section(name, one) for name, one in detectors.items()),
        _missing(found),
        _origin(found),
    ]
    style = "".join(files("avsafe.bench.report").joinpath(name).read_text(encoding="utf-8")
                    for name in ("page.css", "scores.css", "detection.css"))  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(found['title'])}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(found: Found) -> str:
    lines = [line for one in found["detectors"].values() for line in one["floors"]]
    asked = [line for line in lines if line["met"] is not None]
    met = sum(line["met"] for line in asked)
    silent = len(lines) - len(asked)
    said = f"<b>{met} of {len(asked)} floors met</b>" if asked else "<b>No floor was asked</b>"
    said += f", {silent} not measured" if silent else ""
    n = len(found["detectors"])
    live = found["live"]
    clips = f"; {counted(live['n_clips'], 'clip')} scored here" if live else ""
    return (
        f"<header><p class='quiet'>avsafe bench · {escape(found['suite'])}</p>"
        f"<h1>{escape(found['title'])}</h1><p>{escape(found['summary'])}</p>"
        f"<p class='lead'>{said}. {counted(n, 'detector')}; "
        f"{counted(len(found['protocol']), 'protocol file')}{clips}.</p>"
        "<p class='quiet'>A cell is what a detector was asked under: what the model it was scored "
        "by had not seen. AUC is the chance that a synthetic unit scores above a real one, EER the "
        "rate at which as many real ones pass for synthetic as the other way round. Figures are of "
        "the units that the detector judged; n is beside them. Intervals are 95 % over sources "
        "(people, cameras, packages, generators), of which a few say little about others. "
        f"Measured {escape(found['made_at'])}.</p></header>"
    )


def _section(name: str, one: Found) -> str:
    cells, curves = one["cells"], one["curves"]
    out = [
        f'<section id="{parts.anchor(name)}"><h2>{escape(name)} <small>'
        f"{counted(one['n_units'], 'unit')} of {counted(one['n_sources'], 'source')}, "
        f"{one['n_real']:,} real and {one['n_synthetic']:,} synthetic</small></h2>",
        f"<h3>What was promised</h3>{parts.floors(one['floors'])}",
        f"<h3>Cells</h3>{parts.matrix(cells)}",
        "<details><summary>All figures as a table</summary>"
        f"{parts.every_figure(cells)}</details>",
    ]  # fmt: skip
    if curves:
        out.append(f'<div class="plots three">{"".join(_plots(name, curves))}</div>')
        out.append(f"<p class='quiet'>{_which(curves)}</p>")
    if sets := parts.controls(cells, _limit(one)):
        out.append(
            "<h3>Control sets: nothing here may be flagged</h3><p class='quiet'>The share of each "
            "set that was flagged; the stroke is the limit. What is not judged is not flagged.</p>"
            + sets
        )
    if one["spreads"]:
        out.append(f"<h3>Scores</h3>{parts.scores(one['spreads'], f'{name}: scores')}")
    out.append(f"<h3>What it did not judge, and why</h3>{parts.abstentions(cells)}")
    if one["audits"]:
        out.append(
            "<h3>Shortcuts</h3><p class='quiet'>Can the classes be told apart by file size, "
            "container, length, leading silence, bitrate, frame rate and picture size alone? "
            "Logistic regression, cross-validated by source. Above the limit, good figures on "
            f"these files may be no merit of the detector.</p>{parts.audits(one['audits'])}"
        )
    return "".join(out) + "</section>"


def _limit(one: Found) -> float:
    return min((line["limit"] for line in one["floors"] if line["over"] == "set"), default=_LIMIT)


def _plots(name: str, curves: list[Found]) -> list[str]:
    drawn = (
        ("ROC, false alarms on a logarithmic axis; dotted: 1 %", plots.roc, "roc"),
        ("Reliability; on the diagonal a probability is true", plots.reliability, "reliability"),
        ("Risk against coverage; the dot is where it begins to abstain, the dotted line goes on "
         "with what it would have said", plots.coverage_risk, "coverage"),
    )  # fmt: skip
    return [
        f"<figure>{draw_(curves, f'{name} {what}')}<figcaption>{escape(caption)}</figcaption>"
        "</figure>"
        for caption, draw_, what in drawn
    ]


def _which(curves: list[Found]) -> str:
    names = {"the first cell": "Blue, the first cell", "the worst cell": "orange, the worst",
             "all": "green"}  # fmt: skip
    return "; ".join(f"{names[c['place']]}: {escape(c['title'])}" for c in curves) + "."


# ---------------------------------------------------------------- the back


def _missing(found: Found) -> str:
    items = []
    for name, one in found["detectors"].items():
        for line in one["floors"]:
            if line["met"] is None:
                items.append(f"{escape(name)}, {escape(line['what'])}: no cell of that name and "
                             "condition has a figure")  # fmt: skip
        silent = [c for c in one["cells"]
                  if not c["control"] and c["figures"]["tpr_at_1pct"]["value"] is None]  # fmt: skip
        if silent:
            items.append(f"{escape(name)}: TPR at 1 % FPR in {counted(len(silent), 'cell')} (as "
                         f"{escape(silent[0]['figures']['tpr_at_1pct']['reason'])})")  # fmt: skip
        if one["repeated"]:
            items.append(f"{escape(name)}: {one['repeated']} rows are of units that stand in their "
                         "cell and condition already; they count again")  # fmt: skip
        if one.get("seen"):
            items.append(f"{escape(name)}: {counted(one['seen'], 'clip')} that it was trained on")
    live = found["live"]
    if live:
        items += [f"{escape(name)}: {escape(why)}" for name, why in live["missing"].items()]
        items += [f"which clips {escape(name)} was trained on: it does not say, so that some of "
                  "those scored here may be among them" for name in live["untold"]]  # fmt: skip
        if live["unreadable"]:
            items.append(f"{counted(live['unreadable'], 'clip')} that cannot be read")
        if live["rows_aside"]:
            items.append(f"{counted(live['rows_aside'], 'row')} of other code, settings or clips "
                         "in scores.jsonl")  # fmt: skip
    else:
        items.append("clips scored here: none were given (<code>--media</code>)")
    items += [f"floors of {escape(name)}: nothing of it was given"
              for name in found["floors_of_nobody"]]  # fmt: skip
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f"<section><h2>What is not in here, and why</h2><ul>{listed}</ul></section>"


def _origin(found: Found) -> str:
    rows = [[f"<code>{escape(name)}</code>", short_hash(sha)]
            for name, sha in found["protocol"].items()]  # fmt: skip
    live = found["live"]
    if live:
        groups = ", ".join(
            f"{escape(name)} {one['clips']} ({counted(one['sources'], 'source')})"
            for name, one in live["groups"].items()
        )
        rows.append(["clips scored here", groups])
        rows += [[f"code of {escape(name)}", short_hash(run)] for name, run in live["runs"].items()]
    settings = found["settings"]
    rows.append(["draws of the bootstrap", f"{settings['draws']:,}"])
    if live:
        rows.append(["of damaged clips", f"{settings['seconds']:g} s"])
    rows.append(["suite", short_hash(settings["suite_sha256"])])
    rows += [[escape(k), escape(v)] for k, v in found["environment"].items()]
    command = "avsafe bench run detectors --out OUT"
    command += " --protocol FILES" if found["protocol"] else ""
    command += " --media DIR" if live else ""
    judged = [one["mean"]["coverage"]["value"] for one in found["detectors"].values()]
    known = [value for value in judged if value is not None]
    share = f" On average a detector judges {percent(sum(known) / len(known))}." if known else ""
    return (
        f"<section><h2>Where the figures come from</h2><p>Protocol files hold scores of models "
        f"that had not seen the unit's source; training commands write them.{share}</p>"
        f"<pre>{escape(command)}</pre>{table(['what', 'which'], rows)}</section>"
    )
