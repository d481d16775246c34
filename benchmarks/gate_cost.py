"""What a release costs beside encoding the same clip alone, part by part, and how memory grows.

    python benchmarks/gate_cost.py [--runs 3] [--sizes 1280x720,1920x1080] [--clip FILE]
                                   [--long SECONDS,...] [--out reports/gate_cost]

Each figure is taken in a process of its own, in CPU-seconds of that process and the children it
waited for, over one call: ``media.encode`` of the unmarked clip, ``gate.generate`` of the same
clip, and the decoding and detection of ``verify``. Peak memory is the sum of the resident sizes of
the whole process tree, sampled ten times a second. The clip is a pan over a texture with a 1/f
spectrum and speech-like sound, or the first two seconds of ``--clip`` played forth and back; it is
cut from memory, so that its own cost is next to nothing. ``--long 10,60,600`` measures the memory
of release and verification for clips of so many seconds, 1920 x 1080 at 30 frames a second (a pan
over a small, smooth texture, so that the clip itself holds next to nothing).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from typing import Any
from unittest.mock import patch

PARTS: dict[str, float] = defaultdict(float)
SMOOTH = "smooth"  # a texture of a quarter of the size, so that making it takes no memory


def cpu_s() -> float:
    own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


# ---------------------------------------------------------------- the clip


def make_raw(width: int, height: int, seconds: float, rate: Fraction, clip: str | None) -> Any:
    import itertools

    import numpy as np

    from avsafe import media, testing
    from avsafe.media.replay import Replay
    from avsafe.types import Kind, RawMedia

    count = round(seconds * rate)
    if clip and clip != SMOOTH:
        source = media.decode(clip, trusted=True, max_duration_s=2.0)
        kept = list(itertools.islice(iter(source.frames), 60))
        height, width, rate = *kept[0].shape[:2], source.frame_rate
        count, there_and_back = round(seconds * rate), kept + kept[-2:0:-1]

        def frames() -> Iterator[Any]:
            return itertools.islice(itertools.cycle(there_and_back), count)
    else:
        fine = 4 if clip == SMOOTH else 1
        texture = testing._texture((height + 128) // fine, (width + 512) // fine, 1)
        if fine > 1:
            import cv2

            texture = cv2.resize(texture, (width + 512, height + 128))

        def frames() -> Iterator[Any]:
            for index in range(count):
                t = index / float(rate)
                x, y = round(256 + 255 * np.sin(0.7 * t)), round(64 + 63 * np.sin(0.9 * t))
                yield np.ascontiguousarray(texture[y : y + height, x : x + width])

    blocks = testing.babble(10.0, 48000, 1)

    def samples() -> Iterator[Any]:
        return itertools.islice(itertools.cycle(blocks), round(seconds * 10))

    return RawMedia(
        kind=Kind.VIDEO,
        frames=Replay(lambda: timed("source", frames())),
        frame_rate=rate,
        frame_count=count,
        width=width,
        height=height,
        samples=Replay(samples),
        rate_hz=48000,
        channels=1,
    )


# ---------------------------------------------------------------- the parts


def timed(part: str, items: Iterator[Any]) -> Iterator[Any]:
    while True:
        began = time.thread_time()
        item = next(items, None)
        PARTS[part] += time.thread_time() - began
        if item is None:
            return
        yield item


def in_thread(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its own thread's CPU time booked under ``part``."""

    def call(*args: Any, **more: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **more)
        finally:
            PARTS[part] += time.thread_time() - began

    return call


def in_all(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, the CPU time of all threads and finished children booked under ``part``."""

    def call(*args: Any, **more: Any) -> Any:
        began = cpu_s()
        try:
            return function(*args, **more)
        finally:
            PARTS[part] += cpu_s() - began

    return call


class Booked:
    """An object whose named methods are booked."""

    def __init__(self, inner: Any, parts: dict[str, str]) -> None:
        self._inner = inner
        for method, part in parts.items():
            setattr(self, method, in_thread(part, getattr(inner, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def instruments() -> ExitStack:
    from avsafe import gate, media, pipeline, plugins
    from avsafe.ledger import Ledger
    from avsafe.media import colour, features
    from avsafe.provenance import sign
    from avsafe.registry import Registry

    held = ExitStack()

    def book(where: Any, name: str, wrap: Any, part: str) -> None:
        held.enter_context(patch.object(where, name, wrap(part, getattr(where, name))))

    book(media, "encode", in_all, "encode, all")
    book(colour, "from_rgb", in_thread, "RGB to YCbCr")
    book(pipeline, "_encode", in_all, "encodes, with their marks")
    book(media, "analyse", in_all, "read back, all")
    book(sign, "sign_file", in_all, "sign and verify")
    book(Registry, "add_release", in_all, "registry")
    book(Ledger, "intent", in_all, "ledger")
    book(Ledger, "outcome", in_all, "ledger")
    load, load_feature = plugins.load, features._load

    def loaded(kind: str, name: str) -> Any:
        found = load(kind, name)
        if kind != "watermarkers":
            return found
        marker = Booked(found, {"detect": f"detect {name}"})
        made = in_thread("embedder set-up", found.embedder)
        marks = {"frame": "mark picture", "samples": "mark sound", "flush": "mark sound"}
        marker.embedder = lambda *args, **more: Booked(made(*args, **more), marks)
        return marker

    def extractor(target: str) -> Any:
        name = target.rpartition(":")[2]
        part = f"extract {name}"
        calls = {"frame": part, "samples": part, "finish": part}
        return Booked(load_feature(target), calls)

    held.enter_context(patch.object(plugins, "load", loaded))
    held.enter_context(patch.object(features, "_load", extractor))
    assert gate is not None
    return held


def settled(total: float) -> dict[str, float]:
    """The parts, made exclusive, and the rest."""
    parts = dict(PARTS)
    inner = ("source", "RGB to YCbCr", "mark picture", "mark sound")
    encoded = parts.pop("encode, all", 0.0)
    parts["x264, AAC, writing"] = encoded - sum(parts.get(name, 0.0) for name in inner)
    if (marking := parts.pop("encodes, with their marks", None)) is not None:
        setup = parts.get("embedder set-up", 0.0)
        parts["encode: imports and the like"] = marking - encoded - setup
    if (readback := parts.pop("read back, all", None)) is not None:
        extracted = sum(v for k, v in parts.items() if k.startswith("extract "))
        parts["read back: decode, luma, plan"] = readback - extracted
    parts["the rest"] = total - sum(parts.values())
    return {name: round(value, 3) for name, value in sorted(parts.items(), key=lambda i: -i[1])}


# ---------------------------------------------------------------- one measurement, in a child


def work(options: argparse.Namespace) -> None:
    from avsafe import gate, media, plugins
    from avsafe.home import Home
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, Task
    from avsafe.workspace import Lookup, open_workspace

    width, height = map(int, options.sizes.split("x"))
    folder = Path(options.folder)
    released = folder / "released.mp4"
    if options.work == "verify":
        lookup = Lookup(Home(folder / "home"))
        from avsafe import verify

        with patch.object(verify, "examine", in_all("read in the sandbox", verify.examine)):
            began = cpu_s()
            found = verify._examine(released, lookup, media.Limits())
        total = cpu_s() - began
        more: dict[str, Any] = {"found": {e.source: str(e.status) for e in found}}
        parts = {name: round(value, 3) for name, value in PARTS.items()}
    else:
        raw = make_raw(width, height, options.seconds, Fraction(options.rate), options.clip)
        raw_base_mb = getrusage(RUSAGE_SELF).ru_maxrss // 1024
        more = {"rss_before_mb": raw_base_mb}
        if options.work == "encode":
            began = cpu_s()
            media.encode(raw, folder / "alone.mp4")
            total = cpu_s() - began
        else:
            info = replace(
                plugins.generator_info("world"), max_duration_s=3600.0, max_pixels=1 << 24
            )
            request = GenerationRequest(
                local_principal(), Task.TEXT_TO_VIDEO, "world", prompt="a ball on grass", seed=1
            )
            source = patch.object(gate, "_source", lambda *_: (info, lambda: raw))
            with open_workspace(Home(folder / "home")) as workspace, instruments(), source:
                began = cpu_s()
                release = gate.generate(request, released, workspace)
                total = cpu_s() - began
            more |= {
                "marks": {str(m.modality): m.psnr_db or m.snr_db for m in release.marks},
                "bytes": released.stat().st_size,
            }
        parts = settled(total)
    print(json.dumps({"cpu_s": round(total, 3), "parts": parts} | more))


# ---------------------------------------------------------------- the parent


class Sampler(threading.Thread):
    """The peak of the summed resident memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mb, self.over = pid, 0.0, False

    def run(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.over:
            resident: dict[int, tuple[int, int]] = {}
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                resident[int(name)] = int(stat[1]), int(stat[21]) * page
            tree, grew = {self.pid}, True
            while grew:
                more = {p for p, (parent, _) in resident.items() if parent in tree} - tree
                tree |= more
                grew = bool(more)
            total = sum(resident[p][1] for p in tree if p in resident)
            self.peak_mb = max(self.peak_mb, total / (1 << 20))
            time.sleep(0.1)


def measure(what: str, size: str, seconds: float, rate: str, folder: Path, clip: str | None) -> Any:
    command = [sys.executable, __file__, "--work", what, "--sizes", size, "--folder", str(folder)]
    command += ["--seconds", str(seconds), "--rate", rate] + (["--clip", clip] if clip else [])
    environment = os.environ | {"AVSAFE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    sampler = Sampler(child.pid)
    sampler.start()
    output = child.communicate()[0]
    sampler.over = True
    if child.returncode:
        raise SystemExit(f"{what} at {size} failed")
    return json.loads(output.splitlines()[-1]) | {"peak_rss_mb": round(sampler.peak_mb)}


def compared(size: str, runs: int, clip: str | None) -> dict[str, Any]:
    """Encode alone, gate and verify of 10 s, ``runs`` times each, one after the other."""
    rows: dict[str, list[Any]] = {"encode": [], "gate": [], "verify": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name:
            for what, row in rows.items():
                row.append(measure(what, size, 10, "30", Path(name), clip))
    middle = {
        w: sorted(row, key=lambda one: one["cpu_s"])[len(row) // 2] for w, row in rows.items()
    }
    ratios = [g["cpu_s"] / e["cpu_s"] for g, e in zip(rows["gate"], rows["encode"], strict=True)]
    return {
        "clip": Path(clip).stem if clip else f"pan {size}",
        "ratio_median": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    } | middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sizes", default="1280x720,1920x1080")
    parser.add_argument("--clip")
    parser.add_argument("--long", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--name", default="figures")
    parser.add_argument("--work", choices=("encode", "gate", "verify"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=10.0, help=argparse.SUPPRESS)
    parser.add_argument("--rate", default="30", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options)
        return
    result: dict[str, Any] = {"ten_seconds": []}
    sizes = ["0x0"] if options.clip else [size for size in options.sizes.split(",") if size]
    for size in sizes:
        result["ten_seconds"].append(compared(size, options.runs, options.clip))
    if options.long:
        result["long_1080p"] = []
        for seconds in map(int, options.long.split(",")):
            with tempfile.TemporaryDirectory() as name:
                row: dict[str, Any] = {"seconds": seconds}
                for what in ("gate", "verify"):
                    found = measure(what, "1920x1080", seconds, "30", Path(name), SMOOTH)
                    row[what] = {k: found[k] for k in ("cpu_s", "peak_rss_mb")}
                result["long_1080p"].append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{options.name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
