"""The page of the gallery: players, strips, levels, cost, marks, verdicts; works offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from avsafe.cli.gallery.run import Seen, Work

_TITLES = {
    "text-to-image": "Text to image", "text-to-video": "Text to video",
    "image-to-video": "Image to video", "cinemagraph": "Cinemagraph",
    "stylize-video": "Stylised video", "inpaint-video": "Inpainted video",
    "edit-video": "Edited video", "video-to-audio": "Video to audio",
    "text-to-speech": "Text to speech", "talking-head": "Talking head",
}  # fmt: skip
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--bad:#c0392b;--good:#1e8449}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1.5rem;max-width:76rem}
h1{font-size:1.7rem;margin:.2em 0}h2{margin:2rem 0 .6rem;border-bottom:1px solid var(--line)}
.works{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1.2rem}
article{border:1px solid var(--line);border-radius:.6rem;padding:.8rem;background:var(--soft)}
audio{width:100%}video,.still{width:100%;border-radius:.3rem;background:#000;display:block}
.strip{width:100%;display:block;margin:.4rem 0;border-radius:.2rem}
.prompt{font-weight:600;margin:.5rem 0 .2rem}.by{color:#888;font-size:.85rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .7rem}
dl{font-size:.85rem;margin:.5rem 0 0}
dt{color:#888}dd{margin:0;overflow-wrap:anywhere}
svg{width:100%;height:2.2rem;display:block}.bad{color:var(--bad);font-weight:600}
.good{color:var(--good)}table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right}.wide{overflow-x:auto}
"""


def write(works: Sequence[Work], path: Path, version: str) -> None:
    """Write the page beside the files that it shows."""
    made = [work for work in works if work.file]
    body = [
        "<h1>What avsafe generates</h1>",
        "<p>Every work below was asked for by the prompt that stands under it, decided by the "
        "policy, made by an embedded generator on two processor cores without a network, "
        "marked in picture and sound, signed with C2PA, written to the ledger, and verified "
        "again from the file. Inputs are works of this same page: no person and no footage of "
        "others is in it. The keys were made for this page and thrown away.</p>",
        _summary(works),
    ]
    for task, group in groupby(made, key=lambda work: work.entry.task):
        body.append(f"<h2>{_TITLES[task]}</h2><div class=works>")
        body += [_article(work) for work in group]
        body.append("</div>")
    rest = [work for work in works if not work.file]
    if rest:
        body.append("<h2>Not made</h2><div class=works>")
        body += [_article(work) for work in rest]
        body.append("</div>")
    body.append(
        f"<p class=by>Made by <code>avsafe gallery --out FOLDER</code>, avsafe {escape(version)}. "
        "CPU-seconds of the process with its children, at one run on a shared machine.</p>"
    )
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>avsafe gallery</title><style>{_STYLE}</style></head><body>"
        + "".join(body)
        + "</body></html>\n",
        encoding="utf-8",
    )


def _summary(works: Iterable[Work]) -> str:
    rows = []
    for work in works:
        seen, entry = work.seen, work.entry
        length = f"{seen.duration_s:.1f}" if seen and seen.duration_s else ""
        ratio = f"{work.cpu_s / seen.duration_s:.1f}" if seen and seen.duration_s else ""
        state = "; ".join(work.wrong) or (work.label if work.file or work.label else "not made")
        kind = "bad" if work.wrong or (not work.file and not work.label) else "good"
        rows.append(
            f"<tr><td><a href='#{entry.key}'>{entry.key}</a></td><td>{entry.task}</td>"
            f"<td>{entry.generator}</td><td class=n>{length}</td>"
            f"<td class=n>{work.cpu_s:.1f}</td><td class=n>{ratio}</td>"
            f"<td class={kind}>{escape(state)}</td></tr>"
        )
    return (
        "<div class=wide><table><tr><th>work</th><th>task</th><th>generator</th>"
        "<th class=n>seconds</th><th class=n>CPU-s</th><th class=n>CPU-s per second</th>"
        "<th>verify</th></tr>" + "".join(rows) + "</table></div>"
    )


def _article(work: Work) -> str:
    entry, parts = work.entry, [f"<article id='{work.entry.key}'>"]
    if work.file and entry.suffix == ".png":
        parts.append(f"<img class=still src='{work.file}' alt='{escape(entry.prompt)}'>")
    elif work.file and work.seen and work.seen.brightness is None:
        parts.append(f"<audio controls preload=metadata src='{work.file}'></audio>")
    elif work.file:
        parts.append(
            f"<video controls loop playsinline preload=metadata src='{work.file}'></video>"
            f"<img class=strip src='{entry.key}.jpg' alt='six frames of the clip'>"
        )
    parts.append(f"<p class=prompt>{escape(entry.prompt) or '(no prompt)'}</p>")
    given = [f"{role}: {key}" for role, key in entry.inputs.items()]
    given += [f"{name} {value}" for name, value in entry.parameters.items()]
    parts.append(f"<p class=by>{entry.generator}{''.join(f' · {escape(g)}' for g in given)}</p>")
    if work.seen and work.seen.wave:
        parts.append(_wave(work.seen))
    parts.append(f"<dl>{''.join(_facts(work))}</dl></article>")
    return "".join(parts)


def _facts(work: Work) -> Iterable[str]:
    if work.reason:
        yield _fact("gate" if work.label else "reason", work.reason)
    if work.wrong:
        yield f"<dt>wrong</dt><dd class=bad>{escape('; '.join(work.wrong))}</dd>"
    if work.release is None or work.seen is None:
        return
    steps = {k: v for k, v in work.release.cost.items() if k != "total_cpu_s" and v >= 0.005}
    cost = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in steps.items())
    yield _fact("cost", f"{work.cpu_s:.2f} CPU-s ({cost})")
    for mark in work.release.marks:
        quality = (
            f"PSNR {mark.psnr_db:.1f} dB" if mark.psnr_db else f"SNR {mark.snr_db or 0:.1f} dB"
        )
        yield _fact("mark", f"{mark.modality}: {quality}")
    if work.seen.level_dbfs is not None:
        yield _fact(
            "sound",
            f"{work.seen.level_dbfs:.1f} dBFS RMS, peak {work.seen.peak_dbfs:.1f} dBFS, "
            f"{work.seen.silent_share:.0%} of it silent",
        )
    yield _fact("verify", f"{work.label}: {work.evidence}")
    yield _fact("decision", ", ".join(work.release.decision.rules))
    for key in ("caption", "sync", "ignored"):
        if value := work.release.details.get(key):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield _fact(key, text)
    for warning in work.release.warnings:
        if "avsafe keys" not in warning:  # of this page's keys, which are gone
            yield _fact("note", warning)


def _fact(name: str, text: str) -> str:
    return f"<dt>{name}</dt><dd>{escape(text)}</dd>"


def _wave(seen: Seen) -> str:
    n = len(seen.wave)
    bars = "".join(
        f"M{i + 0.5} {20 - 19 * value:.1f}V{20 + 19 * value:.1f}"
        for i, value in enumerate(seen.wave)
    )
    return (
        f"<svg viewBox='0 0 {n} 40' preserveAspectRatio=none role=img "
        f"aria-label='the sound: peaks over time'><path d='{bars}' stroke='currentColor' "
        "stroke-width='.7' fill='none'/></svg>"
    )
