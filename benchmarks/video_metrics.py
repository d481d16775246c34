"""Do the video metrics measure what they say? Ladders of known damage on real and generated clips.

    python benchmarks/video_metrics.py --out reports/video_metrics [--clips 4] [--only cost]

Every clip is shown clean and under each damage at three strengths; all metrics see it in one pass.

- **Spearman**: of strength (0 clean to 3) against the value, within a clip; mean over clips. +1 or
  -1 is a ladder that is climbed on every clip, whatever its content.
- **AUC**: of damaged against clean clips over all contents, with one threshold for all: what the
  number is worth without knowing the clip. 0.5 is nothing.
- **Cost**: CPU-ms for each 720p frame, OpenCV on one thread, of each metric alone and of all in one
  pass; the playing of the clip itself is taken off.

The clips are shared test media and the `world` generator's, cut to `--frames` frames and scaled to
at most `--side` pixels of the short side; no picture is written.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2  # noqa: TID253  a program, imported by nobody
import numpy as np
from scipy.stats import spearmanr  # noqa: TID253

from avsafe.media import replayed
from avsafe.media.replay import Replay
from avsafe.metering import measure
from avsafe.testing import media_folder
from avsafe.types import GenerationRequest, Kind, Metric, Principal, RawMedia, Sample, Task
from avsafe_generators.world import World
from avsafe_metrics.video.black import Black
from avsafe_metrics.video.blockiness import Blockiness
from avsafe_metrics.video.colourfulness import Colourfulness
from avsafe_metrics.video.exposure import Exposure
from avsafe_metrics.video.freeze import Freeze
from avsafe_metrics.video.l1 import L1
from avsafe_metrics.video.motion_irregularity import MotionIrregularity
from avsafe_metrics.video.motion_magnitude import MotionMagnitude
from avsafe_metrics.video.ms_ssim import MSSSIM
from avsafe_metrics.video.nss_distance import NSSDistance
from avsafe_metrics.video.psnr import PSNR
from avsafe_metrics.video.scene_cuts import SceneCuts
from avsafe_metrics.video.sharpness import Sharpness
from avsafe_metrics.video.si_ti import SiTi
from avsafe_metrics.video.ssim import SSIM
from avsafe_metrics.video.temporal_flicker import TemporalFlicker
from avsafe_metrics.video.warp_error import WarpError

Frames = list[np.ndarray]
SKIP = 30  # frames at the start of a clip
REAL = (
    "ask_yoga.mp4", "cotracker_bear.mp4", "da_dolphins.mp4", "difffoley_drum.mp4",
    "foley_vgg_1.mp4", "mmaction_skel.mp4", "sam2_dog.mp4", "videollama_dog_barking.mp4",
)  # fmt: skip
MORE = (  # for the temporal damages only
    "ask_baseball.mp4", "cotracker_pillow.mp4", "foley_vgg_0.mp4", "intel_asl_walk.mkv",
    "sam2_cups.mp4", "videollama_birthday.mp4", "videollava_1.mp4", "c2pa_video1_nomanifest.mp4",
)  # fmt: skip
WORLDS = ("a red rubber ball bouncing by the sea at sunset", "three gold stars in the forest, rain")
ALONE: tuple[type[Any], ...] = (
    TemporalFlicker, MotionMagnitude, MotionIrregularity, Freeze, Black, SiTi, WarpError, Sharpness,
    Blockiness, Colourfulness, Exposure, SceneCuts, NSSDistance,
)  # fmt: skip
PAIRED: tuple[type[Any], ...] = (PSNR, SSIM, MSSSIM, L1)
TEMPORAL = (TemporalFlicker, MotionIrregularity, WarpError)


# ------------------------------------------------------------ damage: frames, strength 1-3, rng


def blur(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    return [cv2.GaussianBlur(f, (0, 0), (0.7, 1.5, 3.0)[k]) for f in frames]


def noise(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    s = (3, 8, 16)[k]
    return [np.clip(f + rng.normal(0, s, f.shape), 0, 255).astype(np.uint8) for f in frames]


def jpeg(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    quality = [cv2.IMWRITE_JPEG_QUALITY, (70, 40, 15)[k]]
    return [cv2.imdecode(cv2.imencode(".jpg", f, quality)[1], cv2.IMREAD_COLOR) for f in frames]


def h264(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", "mp4") as out:
        stream = out.add_stream("libx264", 25, options={"crf": str((28, 36, 44)[k])})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for f in frames:
            picture = np.ascontiguousarray(f[:height, :width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode())
    buffer.seek(0)
    found = []
    with av.open(buffer) as file:
        for picture in file.decode(video=0):
            whole = frames[0].copy()
            whole[:height, :width] = picture.to_ndarray(format="rgb24")
            found.append(whole)
    return found


def grey(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    share = (0.3, 0.6, 0.9)[k]
    return [
        cv2.addWeighted(
            f, 1 - share,
            cv2.cvtColor(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), share, 0,
        )
        for f in frames
    ]  # fmt: skip


def dark(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    return [(f * (0.7, 0.45, 0.2)[k]).astype(np.uint8) for f in frames]


def jitter(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    s = (0.01, 0.02, 0.04)[k]
    return [np.clip(f * (1 + rng.normal(0, s, 3)), 0, 255).astype(np.uint8) for f in frames]


def boil(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    found = []
    for f in frames:
        coarse = rng.normal(0, (1.5, 3.0, 6.0)[k], (8, 8)).astype(np.float32)
        shade = cv2.resize(coarse, f.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        found.append(np.clip(f + shade[..., None], 0, 255).astype(np.uint8))
    return found


def restyle(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    found, levels, share = [], np.arange(256), (0.1, 0.2, 0.4)[k]
    for f in frames:
        palette = np.sort(rng.uniform(0, 255, 6))
        table = palette[np.abs(levels[:, None] - palette).argmin(axis=1)].astype(np.uint8)
        found.append(cv2.addWeighted(f, 1 - share, table[f], share, 0))
    return found


def swap(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    found, every = list(frames), (11, 6, 3)[k]
    for at in range(1, len(found) - 1, every):
        found[at], found[at + 1] = found[at + 1], found[at]
    return found


def judder(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    every = (6, 4, 3)[k]
    return [frames[at - 1] if at % every == every - 1 else frames[at] for at in range(len(frames))]


def hold(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    start, stop = len(frames) // 8, len(frames) * (5, 7, 10)[k] // 12
    return [frames[start] if start <= at < stop else f for at, f in enumerate(frames)]


def blackout(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    start, stop = len(frames) // 6, len(frames) * (3, 5, 8)[k] // 12
    return [np.zeros_like(f) if start <= at < stop else f for at, f in enumerate(frames)]


def cut(frames: Frames, k: int, rng: np.random.Generator) -> Frames:
    """Another picture (mirrored, negative) from each of 1, 2 or 3 places on."""
    places = [len(frames) * quarter // 4 for quarter in range(1, k + 2)]
    return [
        np.ascontiguousarray(255 - f[::-1, ::-1]) if sum(p <= at for p in places) % 2 else f
        for at, f in enumerate(frames)
    ]


DAMAGES: dict[str, Callable[[Frames, int, np.random.Generator], Frames]] = {
    "blur": blur, "noise": noise, "jpeg": jpeg, "h264": h264, "grey": grey, "dark": dark,
    "jitter": jitter, "boil": boil, "restyle": restyle, "swap": swap, "judder": judder,
    "hold": hold, "blackout": blackout, "cut": cut,
}  # fmt: skip
IN_TIME = ("jitter", "boil", "restyle", "noise", "swap", "judder")


# ------------------------------------------------------------ clips


def real(name: str, frames: int, side: int) -> Frames:
    folder = media_folder()
    if folder is None:
        raise SystemExit("the shared test media are not here (set AVSAFE_TEST_MEDIA)")
    found: Frames = []
    with av.open(str(folder / "real_general" / name)) as file:
        for at, frame in enumerate(file.decode(video=0)):
            if at >= SKIP:
                found.append(smaller(frame.to_ndarray(format="rgb24"), side))
            if len(found) == frames:
                break
    return found


def smaller(frame: np.ndarray, side: int) -> np.ndarray:
    scale = side / min(frame.shape[:2])
    if scale >= 1:
        return frame
    return cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def world(prompt: str, frames: int, side: int) -> Frames:
    request = GenerationRequest(
        Principal("benchmark"), Task.TEXT_TO_VIDEO, "world", prompt, width=640, height=360,
        duration_s=1.0,
    )  # fmt: skip
    made = World().generate(request).frames or ()
    return [smaller(frame, side).copy() for frame in islice(made, frames)]


def as_raw(frames: Frames) -> RawMedia:
    height, width = frames[0].shape[:2]
    return RawMedia(
        Kind.VIDEO, Replay(lambda: iter(frames)), Fraction(24), len(frames), width, height
    )


# ------------------------------------------------------------ measuring


def made(classes: Iterable[type[Any]]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {kind.info.name: kind() for kind in classes}
    for metric in metrics.values():
        metric.prepare()
    return metrics


def values(metrics: dict[str, Metric], frames: Frames, clean: Frames) -> dict[str, Any]:
    others = {"reference": replayed(as_raw(clean))}
    found = measure(metrics, Sample("clip", {}), replayed(as_raw(frames)), others)
    return {name: value for each in found.values() for name, value in each.values.items()}


def ladders(count: int, frames: int, side: int, path: Path) -> list[dict[str, Any]]:
    """A row for each clip, damage and strength; those that ``path`` has are not measured again."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["clip"], row["damage"], row["strength"]) for row in rows}
    clips = [(name, real, tuple(DAMAGES)) for name in REAL[:count]]
    clips += [(name, real, IN_TIME) for name in MORE[:count]]
    clips += [(prompt, world, tuple(DAMAGES)) for prompt in WORLDS]
    for name, load, damages in clips:
        wanted = [("none", 0), *((damage, k) for damage in damages for k in (1, 2, 3))]
        wanted = [(damage, k) for damage, k in wanted if (name, damage, k) not in done]
        clean = load(name, frames, side) if wanted else []
        metrics = made((*ALONE, *PAIRED) if damages is not IN_TIME else TEMPORAL)
        for damage, k in wanted:
            rng = np.random.default_rng(7)
            damaged = DAMAGES[damage](clean, k - 1, rng) if k else clean
            rows.append({"clip": name, "damage": damage, "strength": k,
                         "values": values(metrics, damaged, clean)})  # fmt: skip
            with path.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
        print(name, flush=True)
    return rows


def auc(damaged: list[float], clean: list[float]) -> float:
    a, b = np.array(damaged)[:, None], np.array(clean)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    clips = list(dict.fromkeys(row["clip"] for row in rows))
    columns = list(dict.fromkeys(name for row in rows for name in row["values"]))
    table = {(r["clip"], r["damage"], r["strength"]): r["values"] for r in rows}
    for column in columns:
        for damage in DAMAGES:
            climbs, levels = [], [[], [], [], []]
            for clip in clips:
                keys = [(clip, "none", 0), *((clip, damage, k) for k in (1, 2, 3))]
                seen = [table.get(key, {}).get(column) for key in keys]
                if not all(isinstance(value, float) for value in seen):
                    continue
                rho = 0.0 if len(set(seen)) == 1 else spearmanr(range(4), seen).statistic
                climbs.append(float(rho))
                for level, value in zip(levels, seen, strict=True):
                    level.append(value)
            if climbs:
                found.append(
                    {"metric": column, "damage": damage, "clips": len(climbs),
                     "spearman": round(float(np.mean(climbs)), 3),
                     "monotone": round(float(np.mean(np.abs(climbs) > 0.999)), 3),
                     "auc": [round(auc(level, levels[0]), 3) for level in levels[1:]],
                     "median": [float(f"{np.median(level):.4g}") for level in levels]}
                )  # fmt: skip
    return found


def cost() -> dict[str, Any]:
    """CPU-ms for each 720p frame."""
    frames = [
        cv2.resize(f, (1280, 720), interpolation=cv2.INTER_CUBIC)
        for f in real("sam2_dog.mp4", 12, 720)
    ]
    raw = as_raw(frames)

    def timed(metrics: dict[str, Metric]) -> float:
        began = time.process_time()
        measure(metrics, Sample("c", {}), replayed(raw), {"reference": replayed(raw)})
        return (time.process_time() - began) / len(frames) * 1e3

    timed(made(ALONE[:1]))
    began = time.process_time()
    for _ in replayed(raw):
        pass
    play = (time.process_time() - began) / len(frames) * 1e3
    each = {}
    for kind in (*ALONE, *PAIRED):
        playing = play * (2 if kind in PAIRED else 1)
        each[kind.info.name] = round(max(0.0, timed(made([kind])) - playing), 2)
    together = {
        "without reference": round(timed(made(ALONE)) - play, 2),
        "with reference": round(timed(made((*ALONE, *PAIRED))) - 2 * play, 2),
    }
    return {"each": each, "together": together}


def report(found: dict[str, Any]) -> str:
    lines = ["# Video metrics under known damage", "", __doc__.split("\n\n", 2)[2].strip(), ""]
    if "summary" in found:
        run = ", ".join(f"--{name} {value}" for name, value in found["run"].items())
        lines += [f"This run: {run}.", ""]
        index = {(s["metric"], s["damage"]): s for s in found["summary"]}
        columns = list(dict.fromkeys(s["metric"] for s in found["summary"]))
        clips = max(s["clips"] for s in found["summary"])
        lines += [f"## Spearman of strength and value (up to {clips} clips)", "",
                  "| metric | " + " | ".join(DAMAGES) + " |",
                  "|---" * (len(DAMAGES) + 1) + "|"]  # fmt: skip
        for column in columns:
            cells = [index.get((column, damage)) for damage in DAMAGES]
            shown = [f"{c['spearman']:+.2f}" if c else "" for c in cells]
            lines.append(f"| {column} | " + " | ".join(shown) + " |")
        lines += ["", "## Damage in time: AUC against clean clips, by strength", "",
                  "`plain difference` is 1 - temporal_flicker: the same frames without a warp.", "",
                  "| metric | " + " | ".join(IN_TIME) + " |",
                  "|---" * (len(IN_TIME) + 1) + "|"]  # fmt: skip
        for column in ("temporal_flicker", "warp_error.mse", "warp_error.flicker",
                       "motion_irregularity"):  # fmt: skip
            plain = column == "temporal_flicker"
            shown = []
            for damage in IN_TIME:
                cell = index.get((column, damage))
                ends = [round(1 - a, 3) if plain else a for a in cell["auc"]] if cell else []
                shown.append(" / ".join(f"{a:.2f}" for a in ends))
            label = "plain difference" if plain else column
            lines.append(f"| {label} | " + " | ".join(shown) + " |")
        lines += ["", "## Damage in the picture: AUC against clean clips, by strength", ""]
        lines += ["| metric | damage | AUC | median: clean, 1, 2, 3 |", "|---|---|---|---|"]
        for column, damage in (
            ("sharpness.db", "blur"), ("sharpness.db", "noise"), ("sharpness.noise", "noise"),
            ("blockiness", "jpeg"), ("blockiness", "h264"), ("nss_distance", "blur"),
            ("nss_distance", "noise"), ("nss_distance", "jpeg"), ("nss_distance", "h264"),
            ("colourfulness", "grey"), ("exposure.mean", "dark"), ("freeze.share", "hold"),
            ("freeze.share", "judder"), ("black.share", "blackout"), ("scene_cuts.count", "cut"),
            ("psnr.y", "h264"), ("ssim", "h264"), ("ms_ssim", "h264"), ("l1", "h264"),
        ):  # fmt: skip
            cell = index.get((column, damage))
            if cell:
                ends = " / ".join(f"{a:.2f}" for a in cell["auc"])
                medians = ", ".join(f"{m:g}" for m in cell["median"])
                lines.append(f"| {column} | {damage} | {ends} | {medians} |")
    if "cost" in found:
        lines += ["", "## CPU-ms for each 720p frame", "", "| metric | alone |", "|---|---|"]
        lines += [f"| {name} | {ms} |" for name, ms in found["cost"]["each"].items()]
        total = round(sum(found["cost"]["each"].values()), 1)
        lines += [f"| sum of all alone | {total} |"]
        lines += [f"| one pass, {name} | {ms} |" for name, ms in found["cost"]["together"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--side", type=int, default=360)
    parser.add_argument("--rows", type=Path, help="folder of the rows, if not that of the report")
    parser.add_argument("--only", choices=("ladders", "cost", "report"))
    given = parser.parse_args()
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "figures.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if given.only in (None, "cost"):
        found["cost"] = cost()
    if given.only != "cost":
        found["run"] = {"clips": given.clips, "frames": given.frames, "side": given.side}
        name = f"{given.frames}x{given.side}.jsonl"  # takes up where a stopped run left off
        rows_path = (given.rows or given.out) / name
        if given.only == "report":
            rows = [json.loads(line) for line in rows_path.read_text().splitlines()]
        else:
            rows = ladders(given.clips, given.frames, given.side, rows_path)
        found["summary"] = summary(rows)
    path.write_text(json.dumps(found, indent=1) + "\n")
    (given.out / "report.md").write_text(report(found))


if __name__ == "__main__":
    main()
