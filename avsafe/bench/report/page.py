"""The report of a run: one HTML file that needs nothing else, in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.bench.report import parts, plots, sheets
from avsafe.bench.watermark import attacks
from avsafe.types import Kind

if TYPE_CHECKING:
    from avsafe.bench.watermark.suite import Options

_CRF = (("h264_crf23", 23.0), ("h264_crf28", 28.0), ("h264_crf35", 35.0), ("h264_crf40", 40.0))
_SHOWN_P = {
    "video": ("h264_crf28", "h264_crf35", "social"),
    "image": ("jpeg_75", "resize_360", "jpeg_30"),
    "audio": ("aac_64k", "noise_20db", "tempo_plus_5"),
}
_PROOF = {
    "org.avsafe": "Counting cannot show a rate of 10<sup>-6</sup>; the bound of our own marks "
    "rests on a proof. Under a wrong key the message that the linear code gives is uniformly "
    "distributed, whatever the picture or sound, so its CRC32 fits with a chance of "
    "2<sup>-32</sup> a message tried; the p-value multiplies this by all that a search tries. "
    "docs/watermark.md has it.",
}
NEVER = (
    "a recording of a screen or a loudspeaker: it needs a camera and a room, not a program",
    "a listening or viewing test: PESQ, VMAF, VIF and SSIM stand in for it",
    "the mean over many clips with one key (docs/watermark.md says what it would reveal)",
)


def write(figures: Mapping[str, Any], path: Path, options: Options) -> None:
    """Draw the page. MissingExtra without matplotlib."""
    sections = [_section(name, found) for name, found in figures["watermarkers"].items()]
    pictures = [
        f"<h3>{escape(name)}</h3>{shown}"
        for name in figures["watermarkers"]
        if not options.attacks and (shown := parts.sheet(sheets.strips(name, options.seed)))
    ]
    body = "".join(
        [
            _head(figures),
            _promises(figures),
            *sections,
            "<section><h2>How it looks</h2><p>Clips made by our own generator; no picture of a "
            "measured clip is in this page.</p>" + "".join(pictures) + "</section>"
            if pictures
            else "",
            _missing(figures),
            _rerun(figures),
        ]
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Robustness of the marks</title><style>{_style()}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _head(figures: Mapping[str, Any]) -> str:
    s = figures["settings"]
    lines = [
        line
        for found in figures["watermarkers"].values()
        for line in (*found["floors"], *found["quality_floors"])
    ]
    met = sum(line["met"] for line in lines)
    kept = f"<b>{met} of {len(lines)} floors met.</b> " if lines else ""
    length = f"the first {s['seconds']:g} s" if s["seconds"] else "all"
    partly = (
        " <b>A partial run</b>: not all attacks or clips." if s["quick"] or s["attacks"] != "all"
        or s["limit"] else ""
    )  # fmt: skip
    return (
        f"<header><h1>Robustness of the marks</h1><p class='lead'>{kept}"
        f"{s['clips']} clips, {s['keys']} fresh {'key' if s['keys'] == 1 else 'keys'} each; of "
        f"every clip {length} of the picture and {s['audio_seconds']:g} s of the sound.{partly}</p>"
        f"<p class='quiet'>Measured {escape(figures['made_at'])}. A trial is right only when every "
        "bit of the payload is. After its damage a clip is stored as H.264 CRF 23, a picture as "
        "JPEG 90 and sound as 16-bit WAV, unless the row names another codec.</p></header>"
    )


def _promises(figures: Mapping[str, Any]) -> str:
    out = ['<section><h2>What was promised</h2><div class="two">']
    for name, found in figures["watermarkers"].items():
        titles = {a.name: a.title for a in attacks.table(Kind(found["kind"])).values()}
        out.append(f"<div><h3>The {escape(name)} mark</h3>{parts.floors(found, titles)}")
        trials = found["chance"]
        if trials:
            out.append(f"<p>{_chance_sentence(trials)}</p>")
        if found["wrong_payloads"]:
            out.append(
                f"<p><b class='missed'>{found['wrong_payloads']} trials read a wrong payload.</b>"
                "</p>"
            )
        out.append("</div>")
    return "".join(out) + "</div></section>"


def _chance_sentence(trials: Mapping[str, Any]) -> str:
    return (
        f"Wrong keys on unmarked clips: <b>{len(trials['found'])} found in {trials['n']:,} "
        f"searches</b>, so the rate is at most {parts.power(trials['bound'])} (95 %). Showing "
        f"10<sup>-6</sup> by counting alone would take {trials['trials_for_1e-6']:,} searches."
    )


def _section(name: str, found: Mapping[str, Any]) -> str:
    mark = f"{escape(found['algorithm'])}, {found['payload_bits']} bits"
    out = [f"<section><h2>The {escape(name)} mark <small>{mark}</small></h2>"]
    out.append(
        "<h3>What it survives</h3><p class='quiet'>The bar is the share of trials with every bit "
        "right; the thin line is its Wilson 95 % interval; n/a counts trials that cannot be (no "
        "sound, too short).</p>"
    )
    out.append(parts.bars(found["attacks"]))
    out.append(
        "<details><summary>All figures as a table</summary>"
        f"{parts.attack_table(found['attacks'])}</details>"
    )
    out.append('<div class="plots">' + "".join(_plots(name, found)) + "</div>")
    out.append(f"<h3>The worst clips</h3>{parts.worst(found)}")
    out.append(f"<h3>Quality</h3>{parts.quality(found)}")
    if found["copy"]:
        out.append(
            "<h3>A copied mark</h3><p>The mark of clip A, estimated and added to clip B at 38 dB. "
            "<code>verify</code> believes a mark only where the fingerprint of the release agrees."
            f"</p>{parts.copies(found['copy'])}"
        )
    if found["averaging"]:
        a = found["averaging"]
        out.append(
            "<h3>Averaging to see it</h3><p>Correlation of an estimate with what was really added: "
            f"{a['one_frame']:.3f} from one frame, {a['mean_of_frames']:.3f} from the mean of all "
            f"frames (at most {a['most']:.3f}; {a['n']} clips). The closer the second is to 1, the "
            "more averaging reveals.</p>"
        )
    heat = parts.heat(found)
    if heat:
        out.append(
            "<h3>Every clip, every attack</h3><p class='quiet'>Green: every key read right; "
            f"· some; × none; blank: no score.</p>{heat}"
        )
    for status, title in (
        ("failed", "Failed"),
        ("refused", "Refused by the mark"),
        ("inapplicable", "Not applicable"),
    ):
        out.append(parts.reasons(found[status], title))
    return "".join(out) + "</section>"


def _plots(name: str, found: Mapping[str, Any]) -> list[str]:
    by_name = {line["name"]: line for line in found["attacks"]}
    out = []
    points = [
        (crf, *(by_name[attack]["exact"][k] for k in ("value", "low", "high")))
        for attack, crf in _CRF
        if attack in by_name and by_name[attack]["exact"]
    ]
    if len(points) > 1:
        out.append(_plot("Recovery against compression", plots.crf_curve(points, f"{name} crf")))
    groups = {
        by_name[attack]["title"].partition(":")[0]: by_name[attack]["p_values"]
        for attack in _SHOWN_P[found["kind"]]
        if attack in by_name and by_name[attack]["p_values"]
    }
    if groups:
        out.append(_plot("p-values of marked clips (dotted: 1e-6)",
                         plots.p_values(groups, f"{name} p-values")))  # fmt: skip
    if found["chance"]:
        out.append(
            _plot("p-values of wrong keys: a point under the line errs on the safe side",
                  plots.uniformity(found["chance"], f"{name} chance"))
        )  # fmt: skip
    measure, label, floor = (
        ("pesq_wb", "PESQ, wide band", 4.2)
        if found["kind"] == "audio"
        else ("psnr_db", "PSNR, dB", 44.0)
    )
    clips = [c for c in found["clips"] if measure in c and c["n"]]
    if clips:
        pairs = [(c[measure], 100 * c["exact"] / c["n"]) for c in clips]
        drawn = plots.scatter(pairs, label, "all bits right, % of trials", floor, f"{name} quality")
        out.append(_plot("Quality and survival: one point a clip (dotted: the floor)", drawn))
    return out


def _plot(caption: str, svg: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _missing(figures: Mapping[str, Any]) -> str:
    items = [escape(text) for text in NEVER]
    for name, found in figures["watermarkers"].items():
        items += [f"{escape(name)}: {escape(x)}" for x in found["quality"].get("missing", [])]
        if not any(line["ber"] for line in found["attacks"]):
            items.append(
                f"{escape(name)}: coded bit error rate; this watermarker offers no "
                "<code>bit_error_rate(features, key, payload)</code>"
            )
        if not found["copy"] and found["kind"] == "video":
            items.append(f"{escape(name)}: the copy attack; it needs two clips and a full run")
        if not found["chance"]:
            items.append(f"{escape(name)}: wrong keys (<code>--false-positives 0</code>)")
        left_out = [
            a.title for a in attacks.table(Kind(found["kind"])).values()
            if a.name not in {line["name"] for line in found["attacks"]}
        ]  # fmt: skip
        if left_out:
            items.append(f"{escape(name)}: {len(left_out)} attacks were not asked for or cannot be "
                         f"written by this FFmpeg: {escape(', '.join(left_out))}")  # fmt: skip
    notes = "".join(
        f"<p>{text}</p>"
        for prefix, text in _PROOF.items()
        if any(f["algorithm"].startswith(prefix) for f in figures["watermarkers"].values())
    )
    aside = figures["rows_of_other_runs"]
    if aside:
        items.append(f"{aside} rows of other code, settings, clips or keys lie in scores.jsonl and "
                     "are not in these figures")  # fmt: skip
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f"<section><h2>What is not in here, and why</h2>{notes}<ul>{listed}</ul></section>"


def _rerun(figures: Mapping[str, Any]) -> str:
    s = figures["settings"]
    options = [f"--keys {s['keys']}", f"--seconds {s['seconds']:g}",
               f"--audio-seconds {s['audio_seconds']:g}",
               f"--false-positives {s['false_positives']}", f"--seed {s['seed']}"]  # fmt: skip
    if s["limit"]:
        options.append(f"--limit {s['limit']}")
    if s["quick"]:
        options = ["--quick"]
    if s["attacks"] != "all":
        options.append(f"--attacks {','.join(s['attacks'])}")
    options += [f"--watermarker {name}" for name in figures["watermarkers"]]
    command = "avsafe bench run watermark --media DIR --out OUT " + " ".join(options)
    versions = [[escape(k), escape(v)] for k, v in figures["environment"].items()]
    runs = [[f"code and settings of {escape(n)}", f["run"]]
            for n, f in figures["watermarkers"].items()]  # fmt: skip
    costs = [
        [f"CPU-seconds of {escape(n)}",
         ", ".join(f"{k.removesuffix('_cpu_s')} {v:,.0f}" for k, v in f["cost"].items())]
        for n, f in figures["watermarkers"].items()
    ]  # fmt: skip
    folders = ", ".join(map(escape, s["folders"]))
    return (
        f"<section><h2>Run it again</h2><p>Clips from: {folders}.</p><pre>{escape(command)}</pre>"
        "<p class='quiet'>Rows already measured with the same code and settings are not repeated."
        f"</p>{parts.table(['what', 'which'], versions + runs + costs)}</section>"
    )


def _style() -> str:
    return files("avsafe.bench.report").joinpath("page.css").read_text(encoding="utf-8")
