"""Sections of the page of a quality suite, as HTML. Every name and reason is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsafe.bench.report import charts
from avsafe.bench.report import figures as fig
from avsafe.bench.report.parts import table
from avsafe.bench.runfolder import Key, RunFolder, take

Figures = Mapping[str, Any]
MOST_AXES = 10
_UNFOLDED = 24  # comparisons


def headline(figures: Figures) -> list[str]:
    return [name for name, info in figures["scores"].items() if info["headline"]]


def name_of(figures: Figures, system: str) -> str:
    place = list(figures["systems"]).index(system)
    dot = f'<span class="dot" style="background:{fig.colour(place)}"></span>'
    return f'<span class="sys">{dot}<bdi>{escape(system)}</bdi></span>'


# ---------------------------------------------------------------- leaderboard


def leaderboard(figures: Figures, names: Sequence[str], ident: str = "") -> str:
    """Systems by scores: value, interval, n; bold only where told apart from every other."""
    head = "".join(
        f'<th class="num" scope="col" title="{escape(figures["scores"][n]["summary"])}">'
        f"{fig.label(figures['scores'][n])} {fig.arrow(figures['scores'][n])}"
        f"{_flag(figures['scores'][n])}</th>"
        for n in names
    )
    body = []
    for system, found in figures["systems"].items():
        cells = "".join(_cell(figures, name, system, found[name]) for name in names)
        body.append(f'<tr><th scope="row">{name_of(figures, system)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="board sortable"{ident}><thead><tr><th scope="col">system'
        f"</th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _flag(info: Mapping[str, Any]) -> str:
    return "<small>experimental</small>" if info["experimental"] else ""


def _cell(figures: Figures, name: str, system: str, figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f'<td class="num none" title="{escape(figure["reason"])}">not scored</td>'
    best = figures["best"].get(name)
    text, mark = fig.value_of(figure), ""
    if best and best["alone"] and best["system"] == system:
        text = f'<b class="best">{text}</b>'
    elif _tied(best, system):
        mark = '<abbr class="tie" title="cannot be told from the best">≈</abbr>'
    n, expected = figure["n_scored"], figure["n_expected"]
    count = f"n {n}" if n == expected else f"n {n} of {expected}"
    short = ' class="short"' if n < expected else ""
    return (
        f'<td class="num" data-v="{figure["value"]!r}">{mark}{text}'
        f"{_mini(figures, name, system)}<small>{fig.span_of(figure)}</small>"
        f"<small{short}>{count}</small></td>"
    )


def _tied(best: Mapping[str, Any] | None, system: str) -> bool:
    if not best or not best["tested"] or best["alone"]:
        return False
    return system in (best["system"], *best["not_told_from"])


def _mini(figures: Figures, name: str, system: str) -> str:
    """The interval on the scale that all intervals of this score share."""
    ends = [(f["low"], f["high"]) for s in figures["systems"].values()
            if (f := s[name])["value"] is not None and f.get("low") is not None]  # fmt: skip
    figure = figures["systems"][system][name]
    if not ends or figure.get("low") is None:
        return ""
    least, most = min(low for low, _ in ends), max(high for _, high in ends)
    if most <= least:
        return ""
    left, right, at = (100 * (figure[k] - least) / (most - least) for k in ("low", "high", "value"))
    place = list(figures["systems"]).index(system)
    return (
        f'<span class="mini" style="color:{fig.colour(place)}"><i style="left:{left:.1f}%;'
        f'width:{max(1.0, right - left):.1f}%"></i><em style="left:{at:.1f}%"></em></span>'
    )


# ---------------------------------------------------------------- profile


def profile(figures: Figures) -> str:
    """The radar of the headline scores, with what its centre and rim mean."""
    axes: list[charts.Axis] = []
    rows: list[list[str]] = []
    without: list[str] = []
    for name in headline(figures):
        info = figures["scores"][name]
        ends = axis_ends(figures, name)
        if isinstance(ends, str):
            without.append(f"{escape(info['title'])}: {escape(ends)}")
            continue
        if len(axes) == MOST_AXES:
            without.append(f"{escape(info['title'])}: the chart holds {MOST_AXES} axes")
            continue
        centre, rim, origin = ends
        axes.append(charts.Axis(info["title"], {
            system: _point(found[name], centre, rim)
            for system, found in figures["systems"].items()
        }))  # fmt: skip
        each = [f[name]["n_scored"] for f in figures["systems"].values()]
        counts = f"{each[0]} each" if len(set(each)) == 1 else ", ".join(map(str, each))
        rows.append([fig.label(info), f"{centre:.4g}", f"{rim:.4g}", origin, counts])
    notes = f"<p class='quiet'>Not on the chart: {'; '.join(without)}.</p>" if without else ""
    if len(axes) < 3:
        return (
            "<p>A profile takes three headline scores with a direction and a range; there "
            f"{'is' if len(axes) == 1 else 'are'} {len(axes)}.</p>{notes}"
        )
    systems = list(figures["systems"])
    if len(systems) <= 4:
        chart = f"<figure>{charts.radar(axes, systems, 'Profile of all systems')}</figure>"
    else:
        chart = '<div class="plots small">' + "".join(
            f"<figure>{charts.radar(axes, systems, f'Profile of {s}', s)}"
            f"<figcaption>{name_of(figures, s)}</figcaption></figure>" for s in systems
        ) + "</div>"  # fmt: skip
    legend = "" if len(systems) > 4 else "".join(
        f"<span>{name_of(figures, s)}</span>" for s in systems
    )  # fmt: skip
    head = ["axis", "centre", "rim", "ends are", "n, by system"]
    return (
        f'<div class="profile"><div>{chart}<p class="legend">{legend}</p></div><div>'
        "<p class='quiet'>Outward is better on every axis; thick bars are 95 % intervals. The area "
        "means nothing: it depends on the order of the axes and on where their ends are put. Read "
        f"the table above for what is told apart.</p>{table(head, rows, numbers=(1, 2))}{notes}"
        "</div></div>"
    )


def axis_ends(figures: Figures, name: str) -> tuple[float, float, str] | str:
    """Centre, rim and where they come from; or why the score is no axis."""
    info = figures["scores"][name]
    if info["better"] == "none":
        return "neither end is better"
    scored = [f[name] for f in figures["systems"].values() if f[name]["value"] is not None]
    if not scored:
        return "no system has a figure"
    low, high, origin = info["low"], info["high"], "documented"
    if low is None or high is None:
        seen = [(f["q05"], f["q95"]) for f in scored if "q05" in f]
        if not seen:
            return "its range has no end, and a set has no clips to take one from"
        low, high = min(a for a, _ in seen), max(b for _, b in seen)
        origin = "observed: 5 to 95 % of all clips"
    if high <= low:
        return "all clips have the same value"
    return (low, high, origin) if info["better"] == "higher" else (high, low, origin)


def _point(
    figure: Mapping[str, Any], centre: float, rim: float
) -> tuple[float, float | None, float | None] | None:
    if figure["value"] is None:
        return None

    def share(value: float | None) -> float | None:
        return None if value is None else (value - centre) / (rim - centre)

    at = (figure["value"] - centre) / (rim - centre)
    return at, share(figure.get("low")), share(figure.get("high"))


# ---------------------------------------------------------------- pairs


def pairs(figures: Figures, family: str) -> str:
    """The comparisons of one family; where they are many, each score folds up."""
    lines = [line for line in figures["pairs"] if line["family"] == family]
    if len(lines) <= _UNFOLDED:
        return _pair_table(figures, lines)
    out = []
    for name in dict.fromkeys(line["score"] for line in lines):
        mine = [line for line in lines if line["score"] == name]
        apart = sum(line["significant"] for line in mine)
        out.append(
            f"<details><summary>{escape(figures['scores'][name]['title'])}: {apart} of "
            f"{fig.counted(len(mine), 'pair')} told apart</summary>{_pair_table(figures, mine)}"
            "</details>"
        )
    return "".join(out)


def _pair_table(figures: Figures, lines: Sequence[Mapping[str, Any]]) -> str:
    if not lines:
        return ""
    limits: dict[str, float] = {}
    for line in lines:
        if line["p"] is not None:
            sizes = [abs(line[k]) for k in ("low", "high", "difference") if line[k] is not None]
            limits[line["score"]] = max([limits.get(line["score"], 0.0), *sizes])
    rows = []
    for line in lines:
        info = figures["scores"][line["score"]]
        who = (
            f"{name_of(figures, line['a'])} <span class='vs'>−</span> {name_of(figures, line['b'])}"
        )
        if line["p"] is None:
            rows.append([fig.label(info), who, "–", escape(line["reason"]), "–", "–", "–", "0"])
            continue
        ends = {"value": line["difference"], "low": line["low"], "high": line["high"]}
        digits = fig.decimals(ends)
        drawn = charts.difference(
            line["low"], line["difference"], line["high"], limits[line["score"]]
        )
        effect = "–" if line["effect"] is None else fig.number(line["effect"], 2)
        rows.append([
            f"{fig.label(info)} {fig.arrow(info)}", who,
            f"{fig.number(line['difference'], digits)}<small>{fig.span_of(ends)}</small>{drawn}",
            told(line, info, digits, figures["families"][line["family"]]),
            fig.p_value(line["p_holm"]), effect,
            f"{100 * line['won']:.0f} %",
            f"{line['n']} of {line['n_expected']}<small>{line['n_clusters']} clusters</small>",
        ])  # fmt: skip
    head = ["score", "systems", "difference", "what follows", "p, Holm", "effect d<sub>z</sub>",
            "first is higher", "items"]  # fmt: skip
    return f'<div class="pairs">{table(head, rows, numbers=(4, 5, 6, 7))}</div>'


def told(line: Mapping[str, Any], info: Mapping[str, Any], digits: int, family: int) -> str:
    """What a comparison of a family of so many says, in words."""
    if line["better"]:
        return f"<b>{escape(line['better'])}</b> is better"
    if line["significant"]:
        return "different; neither end is better"
    if line["least_p"] * family >= 0.05:
        return (
            f"too few to tell<small>{fig.counted(line['n_clusters'], 'cluster')} cannot reach "
            f"p &lt; .05 among {fig.counted(family, 'comparison')}</small>"
        )
    seen = line["detectable"]
    if seen is None or seen <= 0:
        return "not told apart"
    unit = f" {escape(info['unit'])}" if info["unit"] else ""
    return (
        "not told apart<small>a true difference of "
        f"{fig.number(seen, digits)}{unit} would be found 4 times of 5, uncorrected</small>"
    )


# ---------------------------------------------------------------- distributions


def distributions(figures: Figures, found: RunFolder, names: Sequence[str]) -> str:
    out = []
    for name in names:
        info = figures["scores"][name]
        rows = []
        for place, (system, scores) in enumerate(figures["systems"].items()):
            figure = scores[name]
            if figure["value"] is None or "q05" not in figure or fig.is_share(figure):
                continue  # of a yes or no there is no distribution
            quantiles = tuple(figure[k] for k in ("q05", "q25", "q50", "q75", "q95"))
            rows.append(charts.Spread(
                system, place, list(found.of(name, system).values()),
                (quantiles[0], quantiles[1], quantiles[2], quantiles[3], quantiles[4]),
                figure["value"], figure["low"], figure["high"],
                f"n {figure['n_scored']} of {figure['n_expected']}",
            ))  # fmt: skip
        if rows:
            drawn = charts.spreads(rows, f"Distribution of {info['title']}")
            out.append(
                f"<figure><h4>{fig.label(info)} {fig.arrow(info)}{_flag(info)}</h4>{drawn}"
                f"<figcaption>{escape(info['summary'])}</figcaption></figure>"
            )
    return f'<div class="plots">{"".join(out)}</div>' if out else ""


# ---------------------------------------------------------------- clips


def worst(figures: Figures, show: Any) -> str:
    out = []
    for name, lines in figures["worst"].items():
        info = figures["scores"][name]
        cards = []
        for line in lines:
            key: Key = (line["system"], line["item"], line["sample"])
            why = "; ".join(escape(w) for w in line["why"]) or "nothing else stands out"
            others = ("" if line["others"] is None
                      else f" <small>other systems here: {line['others']:.3g}</small>")  # fmt: skip
            cards.append(
                f"<div class='card'>{show(key)}<b>{clip_name(key)}</b><p>"
                f"{name_of(figures, key[0])} · {line['value']:.3g}{others}</p>"
                f"<small>{why}</small></div>"
            )
        out.append(f"<h3>{fig.label(info)} {fig.arrow(info)}</h3>"
                   f"<div class='cards'>{''.join(cards)}</div>")  # fmt: skip
    return "".join(out) or "<p>No headline score of clips has a spread.</p>"


def clip_name(key: Key) -> str:
    which = take(key)
    said = f" <small>take {escape(which)}</small>" if which else ""
    return f"<bdi>{escape(key[1])}</bdi>{said}"


def clips(figures: Figures, found: RunFolder, show: Any, most: int) -> str:
    """Every clip with its headline scores; reasons where there is no number."""
    names = [n for n in headline(figures) if figures["scores"][n]["scope"] == "clip"]
    keys = [key for system in found.systems for key in found.expected(system)]
    keys.sort(key=lambda key: (key[1], key[2], found.systems.index(key[0])))
    shown = {key: show(key) for key in keys[:most]}
    media = any(shown.values())
    head = ["clip", *(["media"] if media else []), "system"]
    top = "".join(f'<th scope="col">{h}</th>' for h in head) + "".join(
        f'<th class="num" scope="col">{fig.label(figures["scores"][n])} '
        f"{fig.arrow(figures['scores'][n])}</th>" for n in names
    )  # fmt: skip
    body = []
    for key in keys[:most]:
        row = found.clips[key]
        text = f"<small><bdi>{escape(str(row.get('text') or '')[:140])}</bdi></small>"
        cells = [f"<td><b>{clip_name(key)}</b>{text}</td>"]
        if media:
            cells.append(f'<td class="shown">{shown[key]}</td>')
        cells.append(f"<td>{name_of(figures, key[0])}</td>")
        if row.get("status", "ok") != "ok":
            why = f"{row['status']}: {row.get('reason') or 'no reason was written'}"
            cells.append(f'<td class="none" colspan="{len(names)}">{escape(why)}</td>')
        else:
            for n in names:
                value = found.values[n].get(key)
                if value is None:
                    reason = found.reasons[n].get(key, "no row")
                    cells.append(f'<td class="num none"><small>{escape(reason)}</small></td>')
                else:
                    cells.append(f'<td class="num" data-v="{value!r}">{value:.4g}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    more = (f"<p class='quiet'>The first {most:,} of {len(keys):,} clips; scores.csv has all.</p>"
            if len(keys) > most else "")  # fmt: skip
    return (
        '<input class="find" type="search" hidden placeholder="Find a clip, system or reason" '
        'aria-label="Find a clip, system or reason"><div class="wide tall">'
        f'<table class="clips sortable"><thead><tr>{top}</tr></thead><tbody>{"".join(body)}'
        f"</tbody></table></div>{more}"
    )
