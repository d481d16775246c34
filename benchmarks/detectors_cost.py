"""What detectors add to one `avsafe verify`, start to finish: CPU-seconds and memory of all its
processes.

    python benchmarks/detectors_cost.py [--clip FILE] [--runs 3] [--lengths 10,30,60]
                                        [--out reports/detectors/cost]

A clip of 1280 x 720 at 30 frames/s with sound: FILE scaled to that and repeated to the length, or
without --clip a texture with a babble of voices, in which most detectors find nothing to judge. Of
the first length, `--detectors none`, each detector (the domain gate goes with it) and all; of the
others none and all. Resident memory is the sum over the process tree, sampled 20 times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any

from bench_cost import make_clip, resident
from verify_cost import CLI

SIZE = (1280, 720)
RATE = Fraction(30)
BUDGET_CPU_S, BUDGET_MB = 15.0, 1000  # of all detectors together, for 10 s


def scaled(source: Path, path: Path, seconds: float) -> None:
    """The pictures and sound of a file at the size, rate and length that is measured."""
    import cv2
    import numpy as np

    from avsafe import media
    from avsafe.media.replay import Replay
    from avsafe.types import Kind, RawMedia

    raw = media.decode(source, trusted=True)
    if raw.frames is None or raw.samples is None or raw.frame_rate is None:
        raise SystemExit(f"{source.name}: expected pictures and sound.")
    rate, frames, samples = raw.frame_rate, raw.frames, raw.samples
    count = round(seconds * RATE)

    def pictures() -> Iterable[Any]:
        index, shown, small = -1, None, None
        endless = chain.from_iterable(repeat(frames))
        for k in range(count):
            place = int(k / RATE * rate)
            while index < place:
                shown, small, index = next(endless), None, index + 1
            if small is None:
                small = np.ascontiguousarray(cv2.resize(shown, SIZE, interpolation=cv2.INTER_AREA))
            yield small

    def sound() -> Iterable[Any]:
        left = round(seconds * raw.rate_hz)
        for block in chain.from_iterable(repeat(samples)):
            yield np.ascontiguousarray(block[:, :left])
            left -= block.shape[1]
            if left <= 0:
                return

    whole = RawMedia(Kind.VIDEO, Replay(lambda: iter(pictures())), RATE, count, *SIZE,
                     Replay(lambda: iter(sound())), raw.rate_hz, raw.channels)  # fmt: skip
    media.encode(whole, path)


def verified(path: Path, detectors: str, environment: dict[str, str]) -> dict[str, Any]:
    """One verification: CPU-seconds of all processes, peak of their memory, what was judged."""
    before = getrusage(RUSAGE_CHILDREN)
    words = ["verify", "--json", "--detectors", detectors, str(path)]
    process = subprocess.Popen(
        [sys.executable, "-c", CLI, *words], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = process.communicate()
    stop.set()
    watcher.join()
    after = getrusage(RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    evidence = json.loads(said)[0]["evidence"]
    found = {e["source"]: e["status"] for e in evidence if e["source"].startswith("detector.")}
    return {"cpu_s": cpu_s, "rss_mb": peak[0] / 1e6, "found": found}


def measured(path: Path, detectors: str, runs: int, environment: dict[str, str]) -> dict[str, Any]:
    found = [verified(path, detectors, environment) for _ in range(runs)]
    return {
        "cpu_s": round(median(one["cpu_s"] for one in found), 2),
        "cpu_s_worst": round(max(one["cpu_s"] for one in found), 2),
        "rss_mb": round(max(one["rss_mb"] for one in found)),
        "found": found[-1]["found"],
        "runs": runs,
    }


def figures(clip: Path | None, runs: int, lengths: list[float]) -> dict[str, Any]:
    from avsafe import plugins

    names = sorted(plugins.catalogue("detectors"), key=lambda n: (n != "domain", n))
    result: dict[str, Any] = {"clip": clip.name if clip else "texture and babble", "lengths": {}}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "AVSAFE_HOME": str(Path(folder) / "home"), "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }  # fmt: skip
        for place, seconds in enumerate(lengths):
            path = Path(folder) / f"{seconds:g}.mp4"
            if clip is None:
                make_clip(path, seconds, *SIZE)
            else:
                scaled(clip, path, seconds)
            asked = ["none", *(names if place == 0 else ()), "all"]
            result["lengths"][f"{seconds:g}"] = {
                name: measured(path, name, runs, environment) for name in asked
            }
    return result


def report(found: dict[str, Any]) -> str:
    first, *others = found["lengths"]
    table = found["lengths"][first]
    none, every = table["none"], table["all"]
    added = every["cpu_s"] - none["cpu_s"]
    kept = "within" if added <= BUDGET_CPU_S and every["rss_mb"] <= BUDGET_MB else "ABOVE"
    lines = [
        "# What detectors cost", "",
        f"`avsafe verify` of {first} s of 1280 x 720 at 30 frames/s with sound ({found['clip']}), "
        "CPU-seconds of all processes from start to finish; memory is the peak of the sum over the "
        "process tree. Made by `python benchmarks/detectors_cost.py`.", "",
        f"All detectors add {added:.1f} CPU-s and reach {every['rss_mb']} MB: {kept} the limits of "
        f"{BUDGET_CPU_S:g} CPU-s and {BUDGET_MB} MB.", "",
        "| detectors | CPU-s | worst run | added | times none | peak MB | judged |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, one in table.items():
        judged = sum(status in ("present", "absent") for status in one["found"].values())
        lines.append(
            f"| {name} | {one['cpu_s']:.2f} | {one['cpu_s_worst']:.2f} | "
            f"{one['cpu_s'] - none['cpu_s']:.2f} | {one['cpu_s'] / none['cpu_s']:.2f} | "
            f"{one['rss_mb']} | {judged} of {len(one['found'])} |"
        )
    if others:
        lines += ["", "## Growth with length", "",
                  "| seconds | none, CPU-s | all, CPU-s | added a second of clip | none, peak MB | "
                  "all, peak MB |", "|---|---|---|---|---|---|"]  # fmt: skip
        for seconds in (first, *others):
            a, b = (found["lengths"][seconds][k] for k in ("none", "all"))
            added = (b["cpu_s"] - a["cpu_s"]) / float(seconds)
            lines.append(f"| {seconds} | {a['cpu_s']:.1f} | {b['cpu_s']:.1f} | {added:.2f} | "
                         f"{a['rss_mb']} | {b['rss_mb']} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lengths", default="10,30,60")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lengths = [float(text) for text in given.lengths.split(",")]
    found = figures(given.clip, given.runs, lengths)
    text = report(found)
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
        (given.out / "report.md").write_text(text)


if __name__ == "__main__":
    main()
