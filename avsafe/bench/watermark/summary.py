"""From rows to the figures of the report: ``aggregates.json``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from avsafe.bench import statistics
from avsafe.bench.watermark import attacks, chance, floors
from avsafe.sharding.rows import Row
from avsafe.types import Kind, Score

_WORST = 5


def summarise(rows: Sequence[Row], kind: Kind) -> dict[str, Any]:
    """All figures of one watermarker; ``rows`` are its rows of this run, of all kinds."""
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
    scores, described = by_kind["score"], by_kind["quality"]
    clips = _clips(scores, described)
    return {
        "kind": str(kind),
        "attacks": _attacks(scores, kind),
        "clips": clips,
        "worst": _worst(clips),
        "floors": floors.check(scores, kind),
        "quality_floors": floors.check_quality(described, kind),
        "quality": _quality(described),
        "copy": _copy(by_kind["copy"]),
        "averaging": _averaging(by_kind["averaging"]),
        "chance": chance.summary(by_kind["chance"]),
        "wrong_payloads": sum(bool(row.get("wrong_payload")) for row in scores),
        "refused": _reasons(scores, "refused"),
        "failed": _reasons(scores, "failed"),
        "inapplicable": _reasons(scores, "inapplicable"),
        "cost": _cost(scores, described),
    }


def score_of(row: Row, name: str) -> Score:
    """A row as the Score of one metric: a value, or the reason why there is none."""
    sample = f"{row['clip']}#{row['key']}"
    value = row.get(name) if row["status"] == "ok" else None
    if value is None:
        return Score.unscored(name, sample, str(row.get("reason", "not measured")))
    return Score(name, sample, float(value))


def _attacks(rows: Sequence[Row], kind: Kind) -> list[dict[str, Any]]:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row["attack"]].append(row)
    lines = []
    for name, attack in attacks.table(kind).items():
        found = by_name.get(name)
        if not found:
            continue
        expected = [row for row in found if row["status"] in ("ok", "failed")]
        n = len(expected)
        line: dict[str, Any] = {"name": name, "group": attack.group, "title": attack.title}
        for metric in ("exact", "present"):
            share = statistics.share(metric, (score_of(r, metric) for r in expected), n)
            line[metric] = asdict(share) if share else None
        ber = statistics.mean("ber", (score_of(row, "ber") for row in expected), n)
        line["ber"] = asdict(ber) if ber else None
        line["p_value"] = statistics.quantiles(
            [float(row["p_value"]) for row in expected if row["status"] == "ok"]
        )
        line["p_values"] = sorted(float(r["p_value"]) for r in expected if r["status"] == "ok")
        for status in ("failed", "refused", "inapplicable"):
            line[status] = sum(row["status"] == status for row in found)
        lines.append(line)
    return lines


def _clips(scores: Sequence[Row], described: Sequence[Row]) -> list[dict[str, Any]]:
    about: dict[str, Row] = {}
    nothing: Row = {}
    for row in described:
        about.setdefault(row["clip"], row)
    by_clip: dict[str, list[Row]] = defaultdict(list)
    for row in scores:
        by_clip[row["clip"]].append(row)
    lines = []
    for clip, rows in sorted(by_clip.items()):
        done = [row for row in rows if row["status"] == "ok"]
        cells: dict[str, list[int]] = {}
        for row in done:
            cell = cells.setdefault(row["attack"], [0, 0])
            cell[0] += bool(row["exact"])
            cell[1] += 1
        known = about.get(clip, nothing)
        figures: dict[str, Any] = {
            name: known[name]
            for name in (
                "duration_s", "width", "height", "frame_rate", "rate_hz", "texture", "motion",
                "brightness", "level_dbfs", "silence", "psnr_db", "psnr_least_db", "ssim", "vif",
                "vmaf", "flicker", "snr_db", "pesq_wb", "attempt",
            )
            if name in known
        }  # fmt: skip
        lines.append(
            {
                "clip": clip,
                "n": len(done),
                "exact": sum(k for k, _ in cells.values()),
                "lost": sorted(a for a, (k, n) in cells.items() if k < n),
                "cells": cells,
                "reasons": sorted({str(r["reason"]) for r in rows if r.get("reason")}),
                **figures,
            }
        )
    return lines


def _worst(clips: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The clips that lost most; where they stand among all clips says why."""
    scored = [clip for clip in clips if clip["n"]]
    worst = sorted(scored, key=lambda c: (c["exact"] / c["n"], c["clip"]))[:_WORST]
    lines = []
    for clip in worst:
        if clip["exact"] == clip["n"]:
            continue
        why = [
            sentence
            for name, low, sentence in (
                ("texture", True, "smooth"),
                ("motion", True, "almost still"),
                ("motion", False, "fast motion"),
                ("duration_s", True, "short"),
                ("height", True, "small"),
                ("brightness", True, "dark"),
                ("level_dbfs", True, "quiet"),
                ("silence", False, "many pauses"),
                ("rate_hz", True, "low sample rate"),
            )
            if _extreme(clip, scored, name, low=low)
        ]
        without: dict[str, Any] = {k: v for k, v in clip.items() if k != "cells"}
        lines.append(without | {"share": clip["exact"] / clip["n"], "why": why})
    return lines


def _extreme(
    clip: dict[str, Any], clips: Sequence[dict[str, Any]], name: str, *, low: bool
) -> bool:
    """Whether a clip lies in the lower (upper) quarter of a figure that differs among the clips."""
    values = sorted(float(other[name]) for other in clips if name in other)
    if name not in clip or len(values) < 4 or values[0] == values[-1]:
        return False
    value = float(clip[name])
    if low:
        return value <= values[(len(values) - 1) // 4] and value < values[-1]
    return value >= values[-1 - (len(values) - 1) // 4] and value > values[0]


def _quality(rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (
        "psnr_db", "psnr_least_db", "ssim", "vif", "vmaf", "flicker", "snr_db", "pesq_wb",
    ):  # fmt: skip
        values = [float(row[name]) for row in rows if row.get(name) is not None]
        if values:
            mean = statistics.mean(
                name, [Score(name, str(i), v) for i, v in enumerate(values)], len(rows)
            )
            found[name] = {
                **(asdict(mean) if mean else {}), "least": min(values), "most": max(values)
            }  # fmt: skip
    missing = sorted(
        {f"{name}: {why}" for row in rows for name, why in (row.get("missing") or {}).items()}
    )
    return found | ({"missing": missing} if missing else {})


def _copy(rows: Sequence[Row]) -> list[dict[str, Any]]:
    lines = []
    for attacker in dict.fromkeys(row["attack"] for row in rows):
        done = [r for r in rows if r["attack"] == attacker and r["status"] == "ok"]
        lines.append(
            {
                "attacker": attacker,
                "n": len(done),
                "failed": sum(r["attack"] == attacker and r["status"] == "failed" for r in rows),
                "reads_as_a": sum(bool(r["reads_as_a"]) for r in done),
                "fingerprint_agrees": sum(bool(r["fingerprint_agrees"]) for r in done),
                "accepted": sum(bool(r["forgery_accepted"]) for r in done),
            }
        )
    return lines


def _averaging(rows: Sequence[Row]) -> dict[str, Any] | None:
    done = [row for row in rows if row["status"] == "ok"]
    if not done:
        return None
    return {
        "n": len(done),
        "one_frame": sum(row["one_frame"] for row in done) / len(done),
        "mean_of_frames": sum(row["mean_of_frames"] for row in done) / len(done),
        "most": max(row["mean_of_frames"] for row in done),
    }


def _reasons(rows: Sequence[Row], status: str) -> dict[str, int]:
    counted: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["status"] == status:
            counted[f"{row['clip']}: {row.get('reason', '')}"] += 1
    return dict(sorted(counted.items()))


def _cost(scores: Sequence[Row], described: Sequence[Row]) -> dict[str, float]:
    done = [row for row in scores if row["status"] == "ok"]
    return {
        "attacks_cpu_s": round(sum(row.get("attack_cpu_s", 0.0) for row in done), 1),
        "detect_cpu_s": round(sum(row.get("detect_cpu_s", 0.0) for row in done), 1),
        "mark_cpu_s": round(sum(row.get("mark_cpu_s", 0.0) for row in described), 1),
    }
