"""Do the metrics of sound against picture tell sound in sync from sound that is not?

    python benchmarks/av_alignment.py --out reports/av_alignment [--media FOLDER] [--kept FOLDER]

Each clip is scored with its own sound, and with the same sound 200 and 400 ms earlier and later
(filled up with silence). AUC is the chance that a clip in sync scores above a shifted one, over all
pairs; its interval is a bootstrap over clips (2000 draws). Windows are 3 s long, 1.5 s apart, and
belong to their clip. ``unrelated``: the picture of each real clip with the sound of each other one;
there p-values must be uniform.

World: clips of the ``world`` generator at seeds from 9000, which served no training. Real: clips of
FOLDER/real_general with sound; whether their sound is in sync, and whether it comes from what
moves, nobody certifies. Figures only leave this program. ``--kept`` keeps features between runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Unscorable
from avsafe.media import play
from avsafe.metering import measure
from avsafe.testing import media_folder
from avsafe.types import Clip, Column, MetricInfo, Sample
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sync import onset_motion_alignment as oma
from avsafe_metrics.sync.event_sync import judge, lag_scores, watched
from avsafe_metrics.sync.event_sync import train as training
from avsafe_metrics.sync.event_sync.features import RATE_HZ, EventFeatures, in_step

Array = NDArray[Any]
SHIFTS_MS = (-400, -200, 200, 400)
WORLD_FIRST, WORLD_COUNT = 9000, 24
WINDOW_S, HOP_S = 3.0, 1.5
DRAWS = 2000
REAL = (
    "c2pa_video1_nomanifest", "difffoley_drum", "difffoley_gun", "foley_avsync_0", "foley_vgg_0",
    "foley_vgg_1", "sam2_cups", "sam2_dog", "vggsound_0B4dYTMsgHA_000130", "videollama_applause",
    "videollama_dog_barking", "videollava_1",
)  # fmt: skip


class Speed(PlainMetric):
    """The curve that onset_motion_alignment looks for peaks in."""

    info = MetricInfo(
        "speed", "1", "Speed", (Column("", "", "none", ""),), ("luma",), "sync", scope="set"
    )

    def open(self, clip: Clip) -> QuietMeter:
        class Meter(oma._Meter):  # the very curve, not a copy of its formula
            def finish(self, gathered: Any) -> Any:
                return {"speed": np.array(self._speed)}

        return Meter(float(clip.shape.frame_rate or 1))


def real_clip(path: Path, kept: Path | None) -> dict[str, Array]:
    stored = kept / f"{path.stem}.npz" if kept else None
    if stored is not None and stored.exists():
        return dict(np.load(stored))
    clip = play(path, pictures=("luma",), trusted=True)
    found = measure({"events": EventFeatures(), "speed": Speed()}, Sample(path.stem, {}), clip)
    arrays = {**found["events"].features, **found["speed"].features}
    if stored is not None:
        np.savez(stored, **arrays)  # type: ignore[arg-type]
    return arrays


def delayed(sound: Array, shift_ms: float, rate_hz: float = 16_000) -> Array:
    """The sound ``shift_ms`` later, as long as before."""
    n = round(abs(shift_ms) * rate_hz / 1000)
    if not n:
        return sound
    silence = np.zeros(n, sound.dtype)
    return np.r_[silence, sound[:-n]] if shift_ms > 0 else np.r_[sound[n:], silence]


def auc(positive: Array, negative: Array) -> float:
    wins = (positive[:, None] > negative[None]) + 0.5 * (positive[:, None] == negative[None])
    return float(wins.mean())


def table(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """AUC by shift with a bootstrap over clips; rows have ``clip`` and score by shift."""
    names = sorted({row["clip"] for row in rows})
    rng = np.random.default_rng(0)
    out: dict[str, Any] = {"clips": len(names), "items": len(rows)}
    for reach in (200, 400):

        def value(chosen: list[dict[str, Any]], reach: int = reach) -> float:
            here = np.array([row[key]["0"] for row in chosen])
            away = np.array([row[key][str(s)] for row in chosen for s in (-reach, reach)])
            return auc(here, away)

        by_clip = {name: [row for row in rows if row["clip"] == name] for name in names}
        drawn = [
            value([row for name in rng.choice(names, len(names)) for row in by_clip[name]])
            for _ in range(DRAWS if len(rows) < 60 else 300)
        ]
        low, high = np.percentile(drawn, [2.5, 97.5])
        out[f"auc_{reach}"] = [round(v, 3) for v in (value(rows), low, high)]
    return out


def scored(score: Callable[[Array], float], sound: Array) -> dict[str, float]:
    return {str(ms): score(delayed(sound, ms)) for ms in (0, *SHIFTS_MS)}


def event_row(name: str, cells: Array, rate: float, sound: Array) -> dict[str, Any]:
    spectra = watched(in_step(cells, rate, sound)[0])

    def score(moved: Array) -> float:
        return judge(lag_scores(*in_step(cells, rate, moved), spectra)).in_sync

    found = judge(lag_scores(*in_step(cells, rate, sound), spectra))
    return {
        "clip": name, "in_sync": scored(score, sound), "p_value": round(found.p_value, 4),
        "offset_ms": round(found.offset_ms), "confidence": round(found.confidence, 2),
    }  # fmt: skip


def onset_row(name: str, speed: Array, rate: float, sound: Array) -> dict[str, Any]:
    duration_s = min(len(speed) / rate, sound.size / 16_000)
    seen = oma.motion_events(speed, rate)

    def ious(moved: Array) -> Array:
        heard = oma.sound_events(moved)
        if min(len(heard), len(seen)) < oma.LEAST_EVENTS:
            raise Unscorable(f"{len(heard)} onsets, {len(seen)} peaks")
        return oma.shifted_ious(heard[heard < duration_s], seen[seen < duration_s], duration_s)

    def score(moved: Array) -> float:
        return oma.shifted_null.excess(ious(moved), round(oma.NEAR_S / oma.SHIFT_S))

    found = ious(sound)
    return {
        "clip": name, "excess": scored(score, sound), "iou": round(float(found[0]), 3),
        "null": round(float(found.mean()), 3),
        "p_value": round(oma.shifted_null.p_value(found), 4),
    }  # fmt: skip


def windows(name: str, cells: Array, rate: float, sound: Array) -> list[dict[str, Any]]:
    rows = []
    seconds = min(len(cells) / rate, sound.size / 16_000)
    for start in np.arange(0, seconds - WINDOW_S + 1e-6, HOP_S):
        first, last = round(start * rate), round((start + WINDOW_S) * rate)
        whole = np.zeros(round(WINDOW_S * 16_000), np.float32)
        spectra = watched(in_step(cells[first:last], rate, whole)[0])

        def score(moved: Array, at: float = start, clip: Any = (first, last, spectra)) -> float:
            piece = moved[round(at * 16_000) : round((at + WINDOW_S) * 16_000)]
            mine = in_step(cells[clip[0] : clip[1]], rate, piece)
            same = len(mine[0]) == 2 * (clip[2].shape[1] - 1)
            return judge(lag_scores(*mine, clip[2] if same else None)).in_sync

        try:
            rows.append({"clip": name, "in_sync": scored(score, sound)})
        except Unscorable:
            continue
    return rows


def unrelated(clips: dict[str, dict[str, Array]]) -> dict[str, Any]:
    from scipy.stats import kstest

    found = []
    for one, a in clips.items():
        known: dict[int, Array] = {}  # by length
        for other, b in clips.items():
            if one == other:
                continue
            cells, mel = in_step(a["cells"].astype(np.float32), float(a["rate"][0]), b["sound"])
            if len(cells) not in known:
                known[len(cells)] = watched(cells)
            try:
                scores = lag_scores(cells, mel, known[len(cells)])
            except Unscorable:
                continue
            found.append(judge(scores).p_value)
    return {
        "pairs": len(found), "below_0.05": round(float(np.mean(np.array(found) < 0.05)), 3),
        "below_0.2": round(float(np.mean(np.array(found) < 0.2)), 3),
        "ks_p": round(float(kstest(found, "uniform").pvalue), 3),
    }  # fmt: skip


def group(clips: dict[str, dict[str, Array]], unscored: dict[str, str]) -> dict[str, Any]:
    events, onsets, pieces = [], [], []
    for name, clip in clips.items():
        rate = float(clip["rate"][0])
        cells, sound = clip["cells"].astype(np.float32), clip["sound"]
        try:
            events.append(event_row(name, cells, rate, sound))
            pieces += windows(name, cells, rate, sound)
        except Unscorable as error:
            unscored[f"{name}, event_sync"] = str(error)
        if "speed" not in clip:
            continue
        try:
            onsets.append(onset_row(name, clip["speed"], rate, sound))
        except Unscorable as error:
            unscored[f"{name}, onset_motion_alignment"] = str(error)
    near = np.array([abs(row["offset_ms"]) <= 80 for row in events])
    report = {
        "event_sync": table(events, "in_sync"),
        "event_sync, 3 s windows": table(pieces, "in_sync"),
        "offset_within_80_ms": round(float(near.mean()), 3),
        "p_below_0.05": round(float(np.mean([row["p_value"] < 0.05 for row in events])), 3),
        "median_abs_offset_ms": float(np.median([abs(row["offset_ms"]) for row in events])),
    }
    if onsets:
        report["onset_motion_alignment"] = table(onsets, "excess")
        report["onsets"] = onsets
    return {**report, "events": events}


def written(report: dict[str, Any]) -> str:
    lines = ["# Sound against picture", "", "`python benchmarks/av_alignment.py`", ""]
    lines += ["| clips | metric | n | AUC, 0 against +-200 ms | AUC, 0 against +-400 ms |",
              "|---|---|---|---|---|"]  # fmt: skip
    for name in ("world", "real"):
        for metric in ("event_sync", "event_sync, 3 s windows", "onset_motion_alignment"):
            row = report.get(name, {}).get(metric)
            if row:
                cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*row[f"auc_{r}"]) for r in (200, 400)]
                lines.append(f"| {name} | {metric} | {row['items']} of {row['clips']} clips | "
                             f"{cells[0]} | {cells[1]} |")  # fmt: skip
    for name in ("world", "real"):
        if name in report:
            got = report[name]
            lines += ["", f"{name}: offset within 80 ms in {got['offset_within_80_ms']:.0%} of "
                      f"clips, p < .05 in {got['p_below_0.05']:.0%}."]  # fmt: skip
    if "real" in report:
        lines += ["", "| real clip | event_sync p | offset ms | in sync (sd) | onset IoU | null "
                  "| p |", "|---|---|---|---|---|---|---|"]  # fmt: skip
        onsets = {row["clip"]: row for row in report["real"].get("onsets", [])}
        for row in report["real"]["events"]:
            other = onsets.get(row["clip"])
            tail = (f"{other['iou']:.2f} | {other['null']:.2f} | {other['p_value']:.2f}"
                    if other else "- | - | -")  # fmt: skip
            lines.append(f"| {row['clip']} | {row['p_value']:.3f} | {row['offset_ms']} | "
                         f"{row['in_sync']['0']:.1f} | {tail} |")  # fmt: skip
        got = report["unrelated"]
        lines += ["", f"Picture of one, sound of another: {got['pairs']} pairs, p < .05 in "
                  f"{got['below_0.05']:.0%}, p < .2 in {got['below_0.2']:.0%}, "
                  f"Kolmogorov-Smirnov p {got['ks_p']:.2f}."]  # fmt: skip
    lines += ["", "Not scored:", ""]
    lines += [f"- {name}: {reason}" for name, reason in report["unscored"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--media", type=Path, default=media_folder())
    parser.add_argument("--kept", type=Path, help="folder for features between runs")
    asked = parser.parse_args()
    kept = asked.kept or asked.out / "features"
    kept.mkdir(parents=True, exist_ok=True)
    unscored: dict[str, str] = {}
    report: dict[str, Any] = {"steps_per_s": RATE_HZ, "unscored": unscored}
    world = {}
    training.clips(kept, WORLD_FIRST, WORLD_COUNT)
    for path in sorted(kept.glob("world_*.npz")):
        with np.load(path) as found:
            if "cells" in found:
                world[path.stem] = dict(found)
    report["world"] = group(world, unscored)
    folder = asked.media / "real_general" if asked.media else None
    if folder is not None and folder.is_dir():
        real = {n: real_clip(folder / f"{n}.mp4", kept) for n in REAL}
        report["real"] = group(real, unscored)
        report["unrelated"] = unrelated(real)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "figures.json").write_text(json.dumps(report, indent=1) + "\n")
    (asked.out / "report.md").write_text(written(report))
    print(written(report))


if __name__ == "__main__":
    main()
