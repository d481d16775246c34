"""What each embedded generator costs, and how that grows with duration and with size.

    python benchmarks/generator_cost.py [--only NAME,...] [--seconds 2,4,8] [--sides 256,512,768]
                                        [--out reports/generator_cost]

Every figure is taken in a process of its own (one thread): CPU-seconds of the process and the
children it waited for, over ``generate`` and one pass over all frames and samples, with imports and
loading of weights; the peak resident size of that process (a sandboxed reader of its input is a
process apart and not in it). Encoding, marks and signing are not in it: benchmarks/gate_cost.py has
them. Inputs are clips, pictures and speech that our own generators made. Growth with the duration
is measured at 512 pixels, growth with the size at 2 seconds; a generator with a fixed length or a
limit below is measured as far as it goes, and what it refuses is printed with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any


@dataclass(frozen=True)
class Case:
    """One generator at one task. ``inputs``: role -> what to make (clip, picture, face, voice)."""

    name: str
    task: str
    generator: str
    prompt: str = ""
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    long: bool = True  # takes a duration, or its input's


CASES = (
    Case("world", "text-to-video", "world", "a red metal ball bouncing by the sea"),
    Case("world still", "text-to-image", "world", "three golden stars in a desert", long=False),
    Case("portrait", "text-to-image", "portrait", "an old man with a beard", long=False),
    Case("two-stage", "text-to-video", "two-stage", "a red ball bouncing by the sea"),
    Case("one-pass", "text-to-video", "one-pass", "a red ball bouncing on grass"),
    Case("photo-motion", "image-to-video", "photo-motion", "orbit", {"image": "picture"}),
    Case("cinemagraph", "cinemagraph", "cinemagraph", "water flows left", {"image": "picture"},
         {"mask": "0,0.5,1,0.3"}),
    Case("stylize watercolour", "stylize-video", "stylize", "watercolour", {"video": "clip"}),
    Case("stylize pencil", "stylize-video", "stylize", "pencil sketch", {"video": "clip"}),
    Case("inpaint", "inpaint-video", "inpaint", "", {"video": "clip"}, {"mask": "0.4,0.4,0.2,0.2"}),
    Case("edit recolour", "edit-video", "edit", "make the red ball blue", {"video": "clip"}),
    Case("edit slow", "edit-video", "edit", "slow down to half speed", {"video": "clip"}),
    Case("foley", "video-to-audio", "foley", "a metal ball, wind", {"video": "clip"}),
    Case("talking-head", "talking-head", "talking-head", "",
         {"portrait": "face", "voice": "voice"}),
)  # fmt: skip


def cpu_s() -> float:
    own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


# ---------------------------------------------------------------- inputs


def make_input(what: str, side: int, seconds: float, folder: Path) -> Path:
    """A file that one of our generators made; kept for the next measurement."""
    from avsafe import media, testing
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, Task
    from avsafe_generators.portrait import Portrait
    from avsafe_generators.world import World

    suffix = {"clip": ".mp4", "voice": ".wav"}.get(what, ".png")
    path = folder / f"{what}-{side}-{seconds:g}{suffix}"
    if path.exists():
        return path
    me, task = local_principal(), Task.TEXT_TO_VIDEO if what == "clip" else Task.TEXT_TO_IMAGE
    if what == "voice":
        raw = testing.sound_only(seconds, 16000)
    elif what == "face":
        ask = GenerationRequest(me, task, "portrait", "a woman with short hair", width=side,
                                height=side, seed=3)  # fmt: skip
        raw = Portrait().generate(ask)
    else:
        ask = GenerationRequest(
            me, task, "world", "a red metal ball bouncing by the sea", width=side, height=side,
            duration_s=seconds,
        )  # fmt: skip
        raw = World().generate(ask)
    media.encode(raw, path)
    return path


# ---------------------------------------------------------------- one measurement


def measure(case: dict[str, Any], side: int, seconds: float, folder: str) -> dict[str, Any]:
    """In this process: the cost of one clip."""
    from avsafe import media, plugins
    from avsafe.errors import AvsafeError
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, InputMedia, Task

    inputs = tuple(
        InputMedia(media.probe(make_input(what, side, seconds, Path(folder))), role)
        for role, what in case["inputs"].items()
    )
    own_length = case["long"] and not {"video", "voice"} & set(case["inputs"])
    request = GenerationRequest(
        local_principal(), Task(case["task"]), case["generator"], case["prompt"],
        inputs=inputs, parameters=case["parameters"], seed=1,
        width=None if "video" in case["inputs"] else side,  # a clip is made at the size asked for
        height=None if "video" in case["inputs"] else side,
        duration_s=seconds if own_length else None,
    )  # fmt: skip
    began = cpu_s()
    try:
        raw = plugins.load("generators", case["generator"]).generate(request)
        frames = sum(1 for _ in raw.frames or ())
        samples = sum(block.shape[1] for block in raw.samples or ())
    except AvsafeError as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    return {
        "cpu_s": round(cpu_s() - began, 3),
        "peak_rss_mb": round(getrusage(RUSAGE_SELF).ru_maxrss / 1024),
        "frames": frames,
        "sound_s": round(samples / raw.rate_hz, 2) if raw.rate_hz else 0.0,
        "width": raw.width,
        "height": raw.height,
    }


def measured(case: Case, side: int, seconds: float, folder: str) -> dict[str, Any]:
    """In a process of its own. Inputs are made beforehand, so that they don't count as memory."""
    work = json.dumps([case.__dict__, side, seconds, folder])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    script = [sys.executable, __file__, "--one", work]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        return {"refused": done.stderr.strip().splitlines()[-1:] or ["failed"]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def rows(only: set[str], seconds: list[float], sides: list[int]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if only and case.generator not in only and case.name not in only:
                continue
            points = [(512, s) for s in seconds] if case.long else [(512, seconds[0])]
            points += [(side, min(seconds)) for side in sides if side != 512]
            for side, length in points:
                for what in case.inputs.values():
                    measured_input(what, side, length, folder)
                row = measured(case, side, length, folder)
                yield {"name": case.name, "task": case.task, "side": side, "seconds": length} | row


def measured_input(what: str, side: int, seconds: float, folder: str) -> None:
    script = [sys.executable, __file__, "--input", json.dumps([what, side, seconds, folder])]
    subprocess.run(script, check=True, capture_output=True)


def table(found: list[dict[str, Any]]) -> str:
    lines = [
        "| generator | side | asked s | frames | CPU-s | frames per CPU-s | peak RSS MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        start = f"| {row['name']} | {row['side']} | {row['seconds']:g} |"
        if "refused" in row:
            lines.append(f"{start} | | | {row['refused']} |")
            continue
        speed = row["frames"] / row["cpu_s"]
        lines.append(
            f"{start} {row['frames']} | {row['cpu_s']:.2f} | {speed:.1f} | {row['peak_rss_mb']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", default="2,4,8")
    parser.add_argument("--sides", default="256,512,768")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--input", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
        return
    if options.input:
        what, side, seconds, folder = json.loads(options.input)
        make_input(what, side, seconds, Path(folder))
        return
    found = []
    for row in rows(
        {name for name in options.only.split(",") if name},
        [float(s) for s in options.seconds.split(",")],
        [int(s) for s in options.sides.split(",")],
    ):
        found.append(row)
        print(row, flush=True)
    text = table(found)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "README.md").write_text(
            "# Cost of the embedded generators\n\n`python benchmarks/generator_cost.py`: "
            "CPU-seconds of one thread on a shared machine, generation alone (no encoding, marks "
            "or signature), each row in a process of its own with its imports.\n\n" + text + "\n"
        )


if __name__ == "__main__":
    main()
