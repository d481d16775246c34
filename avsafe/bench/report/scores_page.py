"""The report of a quality suite: one HTML file that needs nothing else, in light and in dark.

Everything is there without a script; a small one inside the page sorts and filters tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from avsafe.bench import runfolder
from avsafe.bench.report import figures as fig
from avsafe.bench.report import scores_back as back
from avsafe.bench.report import scores_parts as parts
from avsafe.bench.report.players import Players
from avsafe.bench.runfolder import RunFolder
from avsafe.errors import UsageError

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "media-src data:"
)


def write(
    folder: Path | str, *, embed_mb: float = 24.0, pictures: int = 400, rows: int = 1000
) -> Path:
    """Draw report.html of a run folder that ``aggregate`` has been called on.

    ``embed_mb`` bounds the media of our own clips inside the page, ``pictures`` their pictures,
    ``rows`` the table of clips. UsageError where aggregates.json is not there.
    """
    found = runfolder.read(Path(folder))
    path = found.folder / "aggregates.json"
    if not path.exists():
        raise UsageError(f"{found.folder.name} has no aggregates.json: aggregate the run first.")
    figures = runfolder.read_json(path)
    votes = found.folder / "votes.json"
    tally = runfolder.read_json(votes) if votes.exists() else None
    page = draw(figures, found, Players(found, round(embed_mb * 1e6), pictures), rows, tally)
    report = found.folder / "report.html"
    report.write_text(page, encoding="utf-8")
    return report


def draw(
    figures: Mapping[str, Any],
    found: RunFolder,
    players: Players,
    rows: int,
    tally: Mapping[str, Any] | None,
) -> str:
    """The page as text."""
    names = parts.headline(figures) or list(figures["scores"])
    sections = [
        ("Leaderboard", "leaderboard", _board(figures, names)),
        ("Profile", "profile", parts.profile(figures)),
        ("Paired comparisons", "pairs", _pairs(figures)),
        ("Distributions", "distributions", _distributions(figures, found, names)),
        ("Whole sets", "sets", back.set_figures(figures)),
        ("Human votes", "votes", _votes(tally)),
        ("Worst clips", "worst", parts.worst(figures, players.of)),
        ("All clips", "clips", parts.clips(figures, found, players.of, rows)),
        ("Failed and unscored", "failures", back.failures(figures)),
        ("What was not computed, and why", "missing", back.not_computed(figures, found)),
        ("Where the figures come from", "provenance", back.provenance(figures, found)),
    ]
    shown = [one for one in sections if one[2]]
    links = " · ".join(f'<a href="#{ident}">{title}</a>' for title, ident, _ in shown)
    body = "".join(
        f'<section id="{ident}"><h2>{title}</h2>{inside}</section>'
        for title, ident, inside in shown
    )
    if players.left_out:
        body += (f"<p class='quiet'>{fig.counted(players.left_out, 'clip')} of our own without a "
                 "player: the page has no room for more.</p>")  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(figures['title'])}</title><style>{_file('page.css')}"
        f"{_file('scores.css')}</style></head><body><main>{_head(figures, found)}"
        f'<nav class="quiet">{links}</nav>{body}</main><script>{_file("scores.js")}</script>'
        "</body></html>\n"
    )


def _head(figures: Mapping[str, Any], found: RunFolder) -> str:
    items = {key[1] for key in found.clips}
    clusters = {found.cluster(key) for key in found.clips}
    bad = [row for row in found.clips.values() if row.get("status", "ok") != "ok"]
    asked = (
        f"{fig.counted(len(found.systems), 'system')} on {fig.counted(len(items), 'item')} of "
        f"{fig.counted(len(clusters), 'prompt or person', 'prompts or persons')}: "
        f"{fig.counted(len(found.clips), 'clip')} expected"
    )
    failed = f", <b class='missed'>{len(bad)} not scored</b>" if bad else ", all read"
    computed = len(found.run["metrics"]) - len(figures["not_computed"])
    absent = len(figures["not_computed"])
    metrics = f"{fig.counted(computed, 'metric')} computed" + (
        f", <a href='#missing'>{absent} not</a>" if absent else ""
    )
    intro = str(found.run.get("question") or found.run.get("summary") or "")
    asks = f"<p>{escape(intro)}</p>" if intro else ""
    return (
        f"<header><p class='quiet'>avsafe bench · {escape(str(figures['suite']))}</p>"
        f"<h1>{escape(figures['title'])}</h1>{asks}<p class='lead'>{asked}{failed}; {metrics}.</p>"
        f"{findings(figures)}<p class='quiet'>Measured "
        f"{escape(str(figures.get('made_at') or 'at a time not recorded'))}.</p></header>"
    )


def findings(figures: Mapping[str, Any]) -> str:
    """What can be said, in sentences: who is told apart from everybody, and where nobody is."""
    if len(figures["systems"]) < 2:
        return ""
    won: dict[str, list[str]] = {}
    open_: list[str] = []
    for name in parts.headline(figures):
        best = figures["best"].get(name)
        if not best or not best["tested"]:
            continue
        title = figures["scores"][name]["title"]
        if best["alone"]:
            won.setdefault(best["system"], []).append(title)
        else:
            open_.append(title)
    said = [
        f"<li><b>{parts.name_of(figures, system)}</b> is better than every other system on "
        f"{escape(fig.listed(titles))}.</li>"
        for system, titles in won.items()
    ]
    if open_:
        said.append(f"<li>No system is best beyond doubt on {escape(fig.listed(open_))}.</li>")
    return f"<ul class='findings'>{''.join(said)}</ul>" if said else ""


def _board(figures: Mapping[str, Any], names: list[str]) -> str:
    rest = [name for name in figures["scores"] if name not in names]
    note = (
        "<p class='quiet'>Mean over clips with its 95 % interval for new prompts of this kind, and "
        "n, the clips scored. <b class='best'>Bold</b>: told apart from every other system "
        "(sign-flip test of common items, p &lt; .05 after Holm's correction). "
        "<abbr class='tie'>≈</abbr>: cannot be told from the best. Shares are in %. There is no "
        "total: how much a score matters is yours to say.</p>"
    )
    more = ""
    if rest:
        more = (f"<details><summary>{fig.counted(len(rest), 'more score')}</summary>"
                f"{parts.leaderboard(figures, rest)}</details>")  # fmt: skip
    return note + parts.leaderboard(figures, names) + more


def _pairs(figures: Mapping[str, Any]) -> str:
    if len(figures["systems"]) < 2:
        return (
            "<p>One system: there is nothing to compare. <code>avsafe bench compare</code> takes "
            "two runs.</p>"
        )
    if not any(line.get("n") for line in figures["pairs"]):
        return (
            "<p>No item was scored for two systems (their clips have other names), so nothing can "
            "be paired. Intervals above are of each system alone.</p>"
        )
    sizes = figures["families"]
    note = (
        "<p class='quiet'>Differences of the first system minus the second, item by item, on items "
        "that both scored. p is of a sign-flip test of whole clusters (a prompt or a person), "
        f"corrected by Holm over the {fig.counted(sizes['headline'], 'comparison')} of the "
        "headline scores; intervals are not corrected. d<sub>z</sub> is the mean "
        "difference over its standard deviation between items: about 0.2 small, 0.5 medium, 0.8 "
        "large (Cohen 1988).</p>"
    )
    other = parts.pairs(figures, "other")
    more = (
        f"<details><summary>The other scores: {fig.counted(sizes['other'], 'comparison')}, a "
        f"family of their own</summary>{other}</details>"
        if other
        else ""
    )
    return (
        note + (parts.pairs(figures, "headline") or "<p>No headline score is of clips.</p>") + more
    )


def _distributions(figures: Mapping[str, Any], found: RunFolder, names: list[str]) -> str:
    families: dict[str, list[str]] = {}
    for name, info in figures["scores"].items():
        if name not in names:
            families.setdefault(info["family"] or "other", []).append(name)
    more = "".join(
        f"<details><summary>{escape(family)}: {fig.counted(len(inside), 'score')}</summary>{drawn}"
        "</details>"
        for family, inside in families.items()
        if (drawn := parts.distributions(figures, found, inside))
    )
    note = (
        "<p class='quiet'>A dot is a clip (160 at most, evenly by rank), the box holds the middle "
        "half, the line 90 %, the stroke is the median; ◆ is the mean with its interval.</p>"
    )
    return note + parts.distributions(figures, found, names) + more


def _votes(tally: Mapping[str, Any] | None) -> str:
    if tally is None:
        return ""
    from avsafe.bench.report import votes_part

    return votes_part.section(tally)


def _file(name: str) -> str:
    return files("avsafe.bench.report").joinpath(name).read_text(encoding="utf-8")
