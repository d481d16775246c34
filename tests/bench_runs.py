"""Run folders of made-up systems whose true scores are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# true mean of each system
TRUTH = {
    "sharpness": {"plain": 0.50, "better": 0.60, "twin": 0.50},
    "flicker": {"plain": 4.0, "better": 2.5, "twin": 4.0},
    "sync.offset": {"plain": 10.0, "better": 10.0, "twin": 10.0},
    "safe": {"plain": 0.8, "better": 0.8, "twin": 0.8},
    "speech.quality": {"plain": 3.0, "better": 3.4, "twin": 3.0},
}
_COLUMNS = {
    "sharpness": ("", "", "higher", 0.0, 1.0, "how much fine detail there is"),
    "flicker": ("", "levels", "lower", 0.0, None, "mean change of still places"),
    "sync.offset": ("offset", "ms", "none", None, None, "sound late is positive"),
    "safe": ("", "", "higher", 0.0, 1.0, "whether the mark is read"),
    "speech.quality": ("quality", "", "higher", 1.0, 5.0, "predicted opinion"),
    "frechet": ("", "", "lower", 0.0, None, "distance of the set to the reference"),
}
_FAMILY = {"sharpness": "video", "flicker": "video", "sync": "sync", "safe": "safety",
           "speech": "sound", "frechet": "set", "clip_score": "text"}  # fmt: skip


def metric(name: str, scores: Sequence[str], **more: Any) -> dict[str, Any]:
    columns = []
    for score in scores:
        column, unit, better, low, high, summary = _COLUMNS[score]
        columns.append({"name": column, "score": score, "unit": unit, "better": better,
                        "summary": summary, "low": low, "high": high,
                        "yes_no": score == "safe"})  # fmt: skip
    return {
        "version": "1", "title": name.replace("_", " ").capitalize(), "family": _FAMILY[name],
        "scope": "clip", "experimental": False, "source": "made up", "columns": columns,
        "weights": {}, "not_computed": None, "run": f"{name}-run", **more,
    }  # fmt: skip


def run_json(systems: Sequence[str]) -> dict[str, Any]:
    return {
        "suite": "t2v", "suite_sha256": "5" * 64, "title": "Text to video",
        "made_at": "2026-11-30T00:00:00Z",
        "environment": {"avsafe": "0.1.0", "python": "3.11", "machine": "x86_64, 2 cores"},
        "settings": {"seed": 0, "jobs": 2},
        "headline": ["sharpness", "flicker", "safe", "speech.quality", "frechet"],
        "systems": list(systems), "own_media": dict.fromkeys(systems, False),
        "metrics": {
            "sharpness": metric("sharpness", ["sharpness"]),
            "flicker": metric("flicker", ["flicker"]),
            "sync": metric("sync", ["sync.offset"], experimental=True),
            "safe": metric("safe", ["safe"]),
            "speech": metric("speech", ["speech.quality"], weights={"net": "a" * 64}),
            "frechet": metric("frechet", ["frechet"], scope="set"),
            "clip_score": {
                **metric("clip_score", []), "columns": [{
                    "name": "", "score": "clip_score", "unit": "", "better": "higher",
                    "summary": "how well it fits the prompt", "low": -1.0, "high": 1.0}],
                "not_computed": "weights 'clip' were not given: --weights clip=FILE",
            },
        },
    }  # fmt: skip


def rows(
    systems: Sequence[str], items: int = 24, samples: int = 2, seed: int = 0
) -> list[dict[str, Any]]:
    """Every item has a difficulty that all systems share; two items of three share a cluster."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 1, items)
    made: list[dict[str, Any]] = []
    for system in systems:
        for item in range(items):
            for sample in range(samples):
                name, cluster = f"item {item:02d}", f"prompt {item * 2 // 3:02d}"
                who = {"system": system, "item": name, "sample": sample, "cluster": cluster}
                bad = system == "plain" and item == 3
                made.append({
                    "kind": "clip", **who, "path": f"{system}/{item:02d}-{sample}.mp4",
                    "status": "failed" if bad else "ok",
                    "reason": f"the file ends after {120 + sample} bytes" if bad else None,
                    "text": f"a ball number {item}", "tags": ["ball"], "duration_s": 3.0,
                    "width": 640, "height": 360, "frame_rate": "25", "sha256": f"{item:064x}",
                    "decode_cpu_s": 0.2, "decoded_by": "sandbox, libav 62",
                })  # fmt: skip
                noise = rng.normal(0, 1, 4)
                if bad:
                    continue
                t = {score: truth[system] for score, truth in TRUTH.items()}
                quiet = item % 8 == 5
                values = {
                    "sharpness": {"sharpness": float(np.clip(
                        t["sharpness"] + 0.1 * hard[item] + 0.02 * noise[0], 0, 1))},
                    "flicker": {"flicker": t["flicker"] * float(np.exp(
                        0.2 * hard[item] + 0.1 * noise[1]))},
                    "sync": {"sync.offset": t["sync.offset"] + 20 * float(noise[2])},
                    "safe": {"safe": float(rng.random() < t["safe"])},
                    "speech": {"speech.quality": None if quiet else
                               t["speech.quality"] + 0.2 * float(noise[3])},
                }  # fmt: skip
                for name_of, found in values.items():
                    missing = any(v is None for v in found.values())
                    made.append({
                        "kind": "score", "run": f"{name_of}-run", **who, "metric": name_of,
                        "values": found, "reasons": dict.fromkeys(
                            found, f"no speech in {item} of 75 frames") if missing else {},
                        "status": "unscored" if missing else "ok", "cpu_s": 0.1,
                    })  # fmt: skip
    return made


def sets(systems: Sequence[str]) -> dict[str, Any]:
    return {
        system: {"frechet": {
            "metric": "frechet", "value": 120.0 + 10 * i, "low": 110.0 + 10 * i,
            "high": 131.0 + 10 * i, "n_scored": 46, "n_expected": 48,
            "interval": "95 % bootstrap",
            "details": {"reference_clips": 200, "features": 64, "floor": {
                "mean": 41.5, "high": 44.0, "at_size": 131.5 + 10 * i,
                "low_at_size": 128.0 + 10 * i, "n": 46, "m": 154, "splits": 10, "apart": True}},
        }}
        for i, system in enumerate(systems)
    }  # fmt: skip


def write(
    folder: Path,
    systems: Sequence[str] = ("plain", "better", "twin"),
    *,
    made: Sequence[Mapping[str, Any]] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run or run_json(systems)))
    lines = [json.dumps(row) for row in (rows(systems) if made is None else made)]
    (folder / "scores.jsonl").write_text("".join(line + "\n" for line in lines))
    (folder / "sets.json").write_text(json.dumps(sets(systems)))
    return folder
