"""Pieces of the page as HTML: tables, bars, the heat table. Every name is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from avsafe.bench.report.sheets import AMPLIFIED, Strip


def percent(value: float) -> str:
    """A share for reading: 100 % only when it is exactly all.

    >>> percent(0.9996), percent(1.0), percent(0.5)
    ('99.9 %', '100 %', '50 %')
    """
    if value in (0.0, 1.0):
        return f"{value:.0%}".replace("%", " %")
    shown = min(99.9, max(0.1, round(100 * value, 1)))
    return f"{shown:g} %"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:
    """Cells are HTML already; columns in ``numbers`` stand right."""
    kind = ["num" if i in numbers else "" for i in range(len(head))]
    top = "".join(
        f'<th class="{k}">{h}</th>' if k else f"<th>{h}</th>"
        for h, k in zip(head, kind, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{k}">{cell}</td>' if k else f"<td>{cell}</td>"
            for cell, k in zip(row, kind, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def verdict(met: bool) -> str:
    return f'<b class="{"met" if met else "missed"}">{"met" if met else "missed"}</b>'


def power(value: float) -> str:
    """A small number for reading.

    >>> power(3e-05)
    '3.0 × 10<sup>-5</sup>'
    """
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10<sup>{int(exponent)}</sup>"


def floors(found: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The promises of one watermarker and what was measured."""
    rows, before = [], None
    for line in found["floors"]:
        promise = (line["floor"], line["least_s"])
        if promise != before:
            before = promise
            text = f"{percent(line['floor'])} of clips of {line['least_s']:g} s or more"
            rows.append(f'<tr><th colspan="3" class="promise">{text}</th></tr>')
        rows.append(
            f"<tr><td>{escape(titles.get(line['what'], line['what']))}</td>"
            f'<td class="num">{percent(line["value"])}<small>{line["k"]} of {line["n"]}; '
            f"{percent(line['low'])} to {percent(line['high'])}</small></td>"
            f"<td>{verdict(line['met'])}</td></tr>"
        )
    if found["quality_floors"]:
        rows.append('<tr><th colspan="3" class="promise">Quality, before any codec</th></tr>')
    for line in found["quality_floors"]:
        rows.append(
            f"<tr><td>{escape(line['what'])}, {line['floor']:g} or more</td>"
            f'<td class="num">{line["value"]:.2f}<small>n = {line["n"]}</small></td>'
            f"<td>{verdict(line['met'])}</td></tr>"
        )
    if not rows:
        return "<p>No floor applies to what was measured.</p>"
    head = '<tr><th>what must survive</th><th class="num">measured</th><th></th></tr>'
    return f'<table class="floors"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def bars(lines: Sequence[Mapping[str, Any]]) -> str:
    """All bits right for every attack, as bars with their intervals, by group."""
    out, group = [], None
    for line in lines:
        share = line["exact"]
        if line["group"] != group:
            group = line["group"]
            out.append(f"<h4>{escape(group)}</h4>")
        name = f'<span class="name">{escape(line["title"])}</span>'
        if share is None:
            why = _not_scored(line)
            out.append(f'<div class="bar">{name}<span class="none">{why}</span></div>')
            continue
        value, low, high = (100 * share[k] for k in ("value", "low", "high"))
        level = "good" if value >= 90 else "fair" if value >= 50 else "poor"
        ber = f", BER {line['ber']['value']:.3f}" if line.get("ber") else ""
        seen = line["present"]
        others = _not_scored(line)
        tip = (
            f"{share['value']:.1%} of {share['n_scored']} (of {share['n_expected']} expected), "
            f"interval {low:.1f} to {high:.1f} %, detected {seen['value']:.1%}{ber}"
        )
        counted = f"{round(share['value'] * share['n_scored'])}/{share['n_scored']}"
        out.append(
            f'<div class="bar" title="{escape(tip)}">{name}'
            f'<span class="track"><i class="{level}" style="width:{value:.1f}%"></i>'
            f'<em style="left:{low:.1f}%;width:{max(0.4, high - low):.1f}%"></em></span>'
            f'<span class="value">{percent(share["value"])}'
            f"<small>{counted}{ber}{'; ' + others if others else ''}</small></span></div>"
        )
    return "".join(out)


def _not_scored(line: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{line[status]} {word}"
        for status, word in (
            ("failed", "failed"), ("refused", "refused"), ("inapplicable", "n/a"),
        )
        if line[status]
    )  # fmt: skip


def attack_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Every figure of every attack."""
    rows = []
    for line in lines:
        exact, seen, ber, p = line["exact"], line["present"], line["ber"], line["p_value"]
        rows.append(
            [
                escape(line["title"]),
                percent(exact["value"]) if exact else "-",
                f"{percent(exact['low'])} to {percent(exact['high'])}" if exact else "-",
                f"{exact['n_scored']} of {exact['n_expected']}" if exact else "0",
                percent(seen["value"]) if seen else "-",
                f"{ber['value']:.3f}" if ber else "-",
                power(p["q50"]) if p else "-",
                power(p["q95"]) if p else "-",
                _not_scored(line),
            ]
        )
    head = [
        "attack", "all bits right", "95 % interval", "n", "detected", "coded BER", "median p",
        "95 % of p below", "without a score",
    ]  # fmt: skip
    return table(head, rows, numbers=(1, 2, 3, 4, 5, 6, 7))


def worst(found: Mapping[str, Any]) -> str:
    """The clips that lost most, with the figures that may say why."""
    if not found["worst"]:
        return "<p>No clip lost anything.</p>"
    sound = found["kind"] == "audio"
    cards = []
    for clip in found["worst"]:
        if sound:
            figures = [("duration_s", "{:.1f} s"), ("rate_hz", "{:.0f} Hz"),
                       ("level_dbfs", "{:.0f} dBFS"), ("silence", "silent {:.0%}"),
                       ("snr_db", "SNR {:.1f} dB"), ("pesq_wb", "PESQ {:.2f}")]  # fmt: skip
        else:
            figures = [("duration_s", "{:.1f} s"), ("width", "{:.0f} x "), ("height", "{:.0f}"),
                       ("texture", "texture {:.1f}"), ("motion", "motion {:.1f}"),
                       ("psnr_db", "PSNR {:.1f} dB")]  # fmt: skip
        shown = ", ".join(f.format(clip[name]) for name, f in figures if name in clip)
        lost = clip["lost"]
        names = ", ".join(lost[:12]) + (f" and {len(lost) - 12} more" if len(lost) > 12 else "")
        why = f"<p>Stands out: {escape(', '.join(clip['why']))}.</p>" if clip["why"] else ""
        cards.append(
            f"<div class='card'><b>{escape(clip['clip'])}</b> {percent(clip['share'])} right "
            f"<small>of {clip['n']} trials</small><p>{escape(shown.replace(' x , ', ' x '))}</p>"
            f"{why}<small>lost: {escape(names)}</small></div>"
        )
    return f"<div class='cards'>{''.join(cards)}</div>"


def heat(found: Mapping[str, Any]) -> str:
    """Clip x attack: how many keys read right."""
    names = [line["name"] for line in found["attacks"] if line["exact"]]
    if not names or not found["clips"]:
        return ""
    titles = {line["name"]: line["title"] for line in found["attacks"]}
    top = "".join(f'<th title="{escape(titles[n])}"><span>{escape(n)}</span></th>' for n in names)
    body = []
    for clip in found["clips"]:
        if not clip["cells"]:
            continue  # nothing was scored; its reason stands under the table
        cells = []
        for name in names:
            cell = clip["cells"].get(name)
            if cell is None:
                cells.append('<td class="h-none" title="no score"></td>')
                continue
            k, n = cell
            level = "h-all" if k == n else "h-zero" if k == 0 else "h-some"
            tip = f"{clip['clip']}, {titles[name]}: {k} of {n}"
            text = "" if k == n else ("×" if k == 0 else "·")
            cells.append(f'<td class="{level}" title="{escape(tip)}">{text}</td>')
        body.append(f"<tr><th>{escape(clip['clip'])}</th>{''.join(cells)}</tr>")
    return (
        '<div class="wide heat"><table><thead><tr><th></th>'
        f"{top}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def quality(found: Mapping[str, Any]) -> str:
    names = {
        "psnr_db": "PSNR, mean over the frames, dB", "psnr_least_db": "PSNR of the worst frame, dB",
        "ssim": "SSIM of luma", "vif": "VIF, mean of four scales", "vmaf": "VMAF v0.6.1",
        "flicker": "flicker added, levels from frame to frame", "snr_db": "SNR, dB",
        "pesq_wb": "PESQ, wide band",
    }  # fmt: skip
    digits = {"ssim": 4, "vif": 4, "flicker": 3}
    rows = [
        [names[name]]
        + [f"{value[k]:.{digits.get(name, 2)}f}" for k in ("value", "low", "high", "least", "most")]
        + [f"{value['n_scored']} of {value['n_expected']}"]
        for name in names
        if (value := found["quality"].get(name))
    ]
    head = ["measure", "mean", "interval from", "to", "least", "most", "n"]
    return table(head, rows, numbers=(1, 2, 3, 4, 5, 6)) if rows else ""


def copies(lines: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            escape(line["attacker"]),
            f"{line['reads_as_a']} of {line['n']}",
            f"{line['fingerprint_agrees']} of {line['n']}",
            f"{line['accepted']} of {line['n']}",
            str(line["failed"]),
        ]
        for line in lines
    ]
    head = [
        "estimate by", "B reads as A's number", "fingerprint takes B for A", "forgery accepted",
        "failed",
    ]  # fmt: skip
    return table(head, rows, numbers=(1, 2, 3, 4))


def reasons(found: Mapping[str, int], title: str) -> str:
    if not found:
        return ""
    items = "".join(f"<li>{escape(why)} <small>x {n}</small></li>" for why, n in found.items())
    head = f"{escape(title)} ({sum(found.values())} rows)"
    return f"<details><summary>{head}</summary><ul>{items}</ul></details>"


def sheet(strips: Sequence[Strip]) -> str:
    out = []
    for strip in strips:
        read = "read" if strip.read else "not read"
        pictures = (
            (strip.marked, f"marked, PSNR {strip.psnr_db:.1f} dB"),
            (strip.difference, f"what was added, times {AMPLIFIED}"),
            (strip.attacked, f"{strip.attack}: mark {read}"),
        )
        figures = "".join(
            f'<figure><img src="{uri}" alt="{escape(text)}"><figcaption>{escape(text)}'
            "</figcaption></figure>"
            for uri, text in pictures
        )
        out.append(f'<h4>{escape(strip.prompt)}</h4><div class="strip">{figures}</div>')
    return "".join(out)
