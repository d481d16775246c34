"""The back of the page: failures, sets, what was not computed, where figures come from."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from avsafe.bench.report import figures as fig
from avsafe.bench.report.parts import table
from avsafe.bench.report.scores_parts import name_of
from avsafe.bench.runfolder import RunFolder

Figures = Mapping[str, Any]


def failures(figures: Figures) -> str:
    lines = figures["failures"]
    if not lines:
        return (
            "<p>Every clip was read, and every metric that was computed gave a number for it.</p>"
        )
    rows = []
    for line in lines:
        metric = f"<code>{escape(line['metric'])}</code>" if line["metric"] else "<b>the clip</b>"
        example = (
            ""
            if line["example"] == line["reason"]
            else f"<small>such as: {escape(line['example'])}</small>"
        )
        more = line["count"] - len(line["clips"])
        names = escape(", ".join(line["clips"])) + (f" and {more} more" if more > 0 else "")
        rows.append([name_of(figures, line["system"]), metric, escape(line["status"]),
                     f"{escape(line['reason'])}{example}", str(line["count"]),
                     f"<small>{names}</small>"])  # fmt: skip
    return table(["system", "what", "status", "reason", "clips", "which"], rows, numbers=(4,))


def set_figures(figures: Figures) -> str:
    """Figures of whole sets with what is needed to judge them: floor, sizes, notes."""
    rows = []
    for name, info in figures["scores"].items():
        if info["scope"] != "set":
            continue
        for system, found in figures["systems"].items():
            figure = found[name]
            if figure["value"] is None:
                continue
            details = dict(figure.get("details") or {})
            floor = details.pop("floor", None)
            rest = "; ".join(f"{escape(_words(k))} {escape(_short(v))}" for k, v in details.items())
            rows.append([
                f"{fig.label(info)} {fig.arrow(info)}", name_of(figures, system),
                f"{fig.value_of(figure)}<small>{fig.span_of(figure)}</small>",
                *_against_floor(floor), f"{figure['n_scored']} of {figure['n_expected']}",
                f"<small>{rest}</small>",
            ])  # fmt: skip
    if not rows:
        return ""
    head = ["score", "system", "figure", "split-half floor", "at its size", "what follows",
            "clips", "details"]  # fmt: skip
    return (
        "<p class='quiet'>One figure for a whole set: no clip has one, so there is no paired test. "
        "The split-half floor is the distance between two parts of the reference itself: what "
        "clips as good as the reference would score. Beside it the system at just that size, for "
        "distances between few clips are biased upwards; the small figures are the highest floor "
        "and the lowest distance of all splits. Compare the figures of two systems only where n is "
        f"the same.</p>{table(head, rows, numbers=(2, 3, 4, 6))}"
    )


def _against_floor(floor: Any) -> tuple[str, str, str]:
    """The floor, the system at the floor's size, and whether they are apart."""
    if not isinstance(floor, Mapping) or floor.get("mean") is None:
        return "not given", "–", ""
    n = f"{floor.get('n', '?')} and {floor.get('m', '?')} clips"
    told = "beyond the reference's own spread" if floor.get("apart") else "not told from chance"
    return (
        f"{_short(floor['mean'])}<small>up to {_short(floor.get('high', '?'))}; {n}</small>",
        f"{_short(floor.get('at_size', '?'))}<small>from {_short(floor.get('low_at_size', '?'))}"
        "</small>",
        told,
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if value is None:
        return "not given"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(k))} {_short(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_short(v) for v in value[:8]) + (" …" if len(value) > 8 else "")
    return str(value)


def not_computed(figures: Figures, found: RunFolder) -> str:
    items = [escape(str(note)) for note in found.run.get("notes") or ()]
    items += [f"<code>{escape(metric)}</code>: {escape(why)}"
             for metric, why in figures["not_computed"].items()]  # fmt: skip
    if figures["tables"]["why"]:
        items.append(f"scores.parquet: {escape(figures['tables']['why'])}")
    empty = [
        (system, name) for system, scores in figures["systems"].items()
        for name, figure in scores.items()
        if figure["value"] is None
        and figures["scores"][name]["metric"] not in figures["not_computed"]
    ]  # fmt: skip
    for system, name in empty:
        why = figures["systems"][system][name]["reason"]
        items.append(f"<code>{escape(name)}</code> of {name_of(figures, system)}: {escape(why)}")
    undirected = [escape(info["title"]) for info in figures["scores"].values()
                  if info["better"] == "none" and info["scope"] == "clip"]  # fmt: skip
    if undirected:
        items.append(f"comparisons of scores that only describe: {', '.join(undirected)}")
    if figures["rows_aside"]:
        items.append(
            f"{fig.counted(figures['rows_aside'], 'row')} of other metric versions, settings or "
            "systems in scores.jsonl"
        )
    if not all((found.run.get("own_media") or {}).get(s) for s in figures["systems"]):
        items.append("pictures and players of clips that are not our own: names and figures only")
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def provenance(figures: Figures, found: RunFolder) -> str:
    run = found.run
    rows = [
        [
            "suite",
            f"<code>{escape(str(run['suite']))}</code> {fig.short_hash(run.get('suite_sha256'))}",
        ]
    ]
    rows.append(["measured", escape(str(run.get("made_at") or "not said"))])
    for name in ("environment", "settings"):
        for key, value in (run.get(name) or {}).items():
            rows.append([escape(_words(str(key))), escape(_short(value))])
    decoders: dict[str, int] = {}
    for row in found.clips.values():
        if row.get("decoded_by"):
            decoders[str(row["decoded_by"])] = decoders.get(str(row["decoded_by"]), 0) + 1
    for decoder, n in sorted(decoders.items()):
        rows.append(["decoded by", f"{escape(decoder)} ({fig.counted(n, 'clip')})"])
    cost = sum(float(row.get("decode_cpu_s") or 0) for row in found.clips.values())
    if cost:
        rows.append(["CPU-seconds of decoding", f"{cost:,.0f}"])
    s = figures["statistics"]
    rows.append(["statistics", f"seed {s['seed']}, {s['draws']:,} draws of the bootstrap, exact "
                 f"sign flips up to 13 clusters, else {s['flips']:,}"])  # fmt: skip
    metrics = []
    for name, info in run["metrics"].items():
        weights = "<br>".join(
            f"{escape(k)} {fig.short_hash(v)}" for k, v in (info.get("weights") or {}).items()
        )
        cpu = found.cpu_s.get(name)
        trial = "<small>experimental</small>" if info.get("experimental") else ""
        metrics.append([
            f"<code>{escape(name)}</code>{trial}",
            escape(str(info.get("version") or "")), weights or "none",
            f"<small>{escape(str(info.get('source') or ''))}</small>",
            "" if cpu is None else f"{cpu:,.1f}", fig.short_hash(info.get("run") or "–"),
        ])  # fmt: skip
    head = ["metric", "version", "weights, SHA-256", "source", "CPU-s", "run"]
    return f"{table(['what', 'which'], rows)}<h3>Metrics</h3>{table(head, metrics, numbers=(4,))}"
