"""What a pass over a clip costs: all metrics at once, one at a time, and peers' own code.

    python benchmarks/bench_cost.py [--media DIR] [--vbench CHECKOUT] [--out reports/bench_cost]
                                    [--parts passes,peers,length,clips] [--lengths 10,60,300,600]

Every figure is taken in a process of its own, on the same files in the same run: CPU-seconds of the
process and its children over the call (interpreter and imports are not in it), and the peak of the
resident memory of the whole process tree, sampled twenty times a second.

- passes: weight-free metrics of suite t2v on 10 s of 1280 x 720: one pass for all, then one each.
- peers: the same numbers by others' code on the same files. VBench's ``cal_score`` is read from a
  checkout that the user names (its file alone; nothing of it is part of avsafe); torchmetrics and
  pyloudnorm as a user would call them, with OpenCV and librosa to read the files.
- length: the same pass over clips of growing length, 320 x 180.
- clips: 16 clips with 1 and with 2 processes.
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
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

RATE = Fraction(os.environ.get("BENCH_FPS", "25"))  # of the clips; 5 makes a long one bearable


def weight_free() -> list[str]:
    """The clip metrics of suite t2v that need neither weights nor a second file nor a text."""
    from avsafe.bench import measuring, suitefile
    from avsafe.errors import MissingExtra

    found = []
    for spec in suitefile.load("t2v").metrics:
        try:
            info = measuring.made(measuring.Recipe(spec.name)).info
        except MissingExtra:
            continue
        if info.scope == "clip" and not info.beside and not info.texts and not info.weights:
            found.append(spec.name)
    return found


# ---------------------------------------------------------------- clips


def make_clip(path: Path, seconds: float, width: int, height: int, seed: int = 0) -> None:
    """A camera that pans over a texture with a 1/f spectrum, with sound like speech."""
    import numpy as np

    from avsafe import media, testing
    from avsafe.media.replay import Replay
    from avsafe.types import Kind, RawMedia

    texture = testing._texture(height + 128, width + 512, seed)
    count = round(seconds * RATE)

    def frames() -> Any:
        for index in range(count):
            t = index / float(RATE)
            x, y = round(256 + 255 * np.sin(0.7 * t)), round(64 + 63 * np.sin(0.9 * t))
            yield np.ascontiguousarray(texture[y : y + height, x : x + width])

    def sound() -> Any:
        second = testing.babble(1.0, 48000, seed)
        for _ in range(round(seconds)):
            yield from second

    raw = RawMedia(
        Kind.VIDEO, Replay(frames), RATE, count, width, height, Replay(sound), 48000, 1
    )  # fmt: skip
    media.encode(raw, path)


# ---------------------------------------------------------------- what is timed


def ours(path: str, names: list[str]) -> dict[str, Any]:
    from avsafe.bench import measuring
    from avsafe.bench.work import Work
    from avsafe.types import Sample

    recipes = tuple(measuring.Recipe(name) for name in names)
    for recipe in recipes:
        measuring.made(recipe)  # imports and models, as a run pays them once
    task = measuring.ClipTask(Work("ours", "clip", Sample("clip", {"video": Path(path)})), recipes)

    def call() -> Any:
        answer = measuring.measure_clip(task)
        return {k: v for row in answer.rows for k, v in row.get("values", {}).items()}

    return timed(call)


def several(folder: str, names: list[str], jobs: int) -> dict[str, Any]:
    from avsafe.bench import run

    with tempfile.TemporaryDirectory() as out:
        options = run.Options(
            "t2v", Path(out), (("clips", Path(folder)),), metrics=tuple(names), jobs=jobs
        )
        return timed(lambda: run.run(options).n_rows)


def vbench_flicker(path: str, checkout: str) -> dict[str, Any]:
    """VBench's own function, from its own file; what its package imports beside is not needed."""
    for name, gives in (
        ("vbench.utils", ("load_dimension_info",)),
        ("distributed", ("get_world_size", "get_rank", "all_gather", "barrier",
                         "distribute_list_to_rank", "gather_list_of_dict")),
    ):  # fmt: skip
        module = types.ModuleType(name)
        for given in gives:
            setattr(module, given, lambda *_: 0)
        sys.modules[name if "." in name else f"vbench.{name}"] = module
    sys.modules.setdefault("tqdm", types.SimpleNamespace(tqdm=lambda x, **_: x))
    sys.modules["vbench"] = types.ModuleType("vbench")
    sys.modules["vbench"].__path__ = []  # type: ignore[attr-defined]
    file = Path(checkout) / "vbench" / "temporal_flickering.py"
    module = types.ModuleType("vbench.temporal_flickering")
    module.__package__ = "vbench"
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)  # noqa: S102
    return timed(lambda: module.cal_score(path))


def torchmetrics_ssim(path: str, reference: str) -> dict[str, Any]:
    import cv2
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    def call() -> float:
        one, other, values = cv2.VideoCapture(path), cv2.VideoCapture(reference), []
        while True:
            (good, a), (also, b) = one.read(), other.read()
            if not (good and also):
                return sum(values) / len(values)
            tensors = [torch.from_numpy(f).permute(2, 0, 1)[None].float() for f in (a, b)]
            values.append(float(ssim(*tensors, data_range=255.0)))

    return timed(call)


def our_ssim(path: str, reference: str) -> dict[str, Any]:
    from avsafe.bench import measuring
    from avsafe.bench.work import Work
    from avsafe.types import Sample

    recipe = measuring.Recipe("ssim")
    measuring.made(recipe)
    files = {"video": Path(path), "reference": Path(reference)}
    task = measuring.ClipTask(Work("ours", "clip", Sample("clip", files)), (recipe,))
    return timed(lambda: measuring.measure_clip(task).rows[1]["values"])


def pyloudnorm_loudness(path: str) -> dict[str, Any]:
    import av
    import numpy as np
    import pyloudnorm

    def call() -> float:
        with av.open(path) as file:
            blocks = [frame.to_ndarray() for frame in file.decode(audio=0)]
            rate = file.streams.audio[0].rate
        return float(pyloudnorm.Meter(rate).integrated_loudness(np.concatenate(blocks, 1).T))

    return timed(call)


def timed(call: Callable[[], Any]) -> dict[str, Any]:
    began, wall = cpu_s(), time.perf_counter()
    value = call()
    return {"cpu_s": cpu_s() - began, "wall_s": time.perf_counter() - wall, "value": value}


def cpu_s() -> float:
    own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


# ---------------------------------------------------------------- processes


def alone(name: str, *arguments: Any) -> dict[str, Any]:
    """One call in a fresh process; its CPU time and the peak memory of its tree."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, "--one", name, json.dumps(arguments)],
        stdout=subprocess.PIPE, text=True, env=environment,
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
    if process.returncode:
        return {"failed": f"exit code {process.returncode}"}
    return json.loads(said.splitlines()[-1]) | {"rss_mb": round(peak[0] / 1e6)}


def resident(pid: int) -> int:
    """Bytes of a process and all below it."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * 4096
            for thread in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (thread / "children").read_text().split())
        except (OSError, ValueError):
            continue
    return total


# ---------------------------------------------------------------- parts


def passes(work: Path, **_: Any) -> dict[str, Any]:
    clip = work / "pass.mp4"
    make_clip(clip, 10, 1280, 720)
    names = weight_free()
    whole = alone("ours", str(clip), names)
    each = {name: alone("ours", str(clip), [name]) for name in names}
    summed = sum(found["cpu_s"] for found in each.values())
    for found in each.values():
        for name, value in (found.get("value") or {}).items():
            same = whole["value"][name]
            assert same == value, f"{name}: {same} in one pass, {value} alone"
    return {
        "clip": "10 s, 1280x720, 25 fps, sound",
        "metrics": len(names),
        "one_pass": whole | {"value": None},
        "each_alone": {name: {k: v for k, v in f.items() if k != "value"}
                       for name, f in each.items()},
        "sum_of_each_cpu_s": summed,
        "ratio": summed / whole["cpu_s"],
    }  # fmt: skip


def peers(work: Path, vbench: str | None = None, **_: Any) -> dict[str, Any]:
    clip, other = work / "peer.mp4", work / "peer_reference.mp4"
    make_clip(clip, 10, 1280, 720)
    make_clip(other, 10, 1280, 720, seed=1)
    found: dict[str, Any] = {
        "temporal_flicker": {"ours": alone("ours", str(clip), ["temporal_flicker"])},
        "loudness": {"ours": alone("ours", str(clip), ["loudness"]),
                     "pyloudnorm": alone("pyloudnorm_loudness", str(clip))},
        "ssim": {"ours": alone("our_ssim", str(clip), str(other)),
                 "torchmetrics": alone("torchmetrics_ssim", str(clip), str(other))},
    }  # fmt: skip
    if vbench:
        found["temporal_flicker"]["VBench"] = alone("vbench_flicker", str(clip), vbench)
    return found


def length(work: Path, lengths: str = "10,60,300,600", **_: Any) -> list[dict[str, Any]]:
    names, rows = weight_free(), []
    for seconds in map(int, lengths.split(",")):
        clip = work / f"long{seconds}.mp4"
        make_clip(clip, seconds, 320, 180)
        found = alone("ours", str(clip), names) | {"value": None}
        rows.append({"seconds": seconds, "cpu_s_per_s": found.get("cpu_s", 0) / seconds, **found})
        clip.unlink()
    return rows


def clips(work: Path, **_: Any) -> dict[str, Any]:
    folder = work / "many"
    folder.mkdir()
    for index in range(16):
        make_clip(folder / f"clip{index:02}.mp4", 4, 640, 360, seed=index)
    names = weight_free()
    return {f"{jobs} processes": alone("several", str(folder), names, jobs) for jobs in (1, 2)}


# ---------------------------------------------------------------- report


def report(found: dict[str, Any]) -> str:
    lines = [
        "# What a pass costs",
        "",
        f"Made with `{found['command']}` on {found['made_at']}.",
        "",
    ]
    if "passes" in found:
        part = found["passes"]
        one = part["one_pass"]
        lines += [
            f"## One pass against a pass each ({part['clip']}, {part['metrics']} metrics)", "",
            "| | CPU-s | peak MB |", "|---|---|---|",
            f"| all metrics in one pass | {one['cpu_s']:.1f} | {one['rss_mb']} |",
            f"| a pass each, summed | {part['sum_of_each_cpu_s']:.1f} | |",
            f"| ratio | {part['ratio']:.2f} | |", "",
            "| metric alone | CPU-s | peak MB |", "|---|---|---|",
            *(f"| {n} | {f['cpu_s']:.2f} | {f['rss_mb']} |"
              for n, f in part["each_alone"].items()), "",
        ]  # fmt: skip
    if "peers" in found:
        lines += [
            "## Against peers' own code, the same file in the same run",
            "",
            "| figure | whose | value | CPU-s | peak MB |",
            "|---|---|---|---|---|",
        ]
        for name, by in found["peers"].items():
            for who, f in by.items():
                value = f.get("value", f.get("failed"))
                if isinstance(value, dict):
                    value = next(iter(value.values()))
                shown = f"{value:.5f}" if isinstance(value, float) else str(value)
                lines.append(
                    f"| {name} | {who} | {shown} | {f.get('cpu_s', 0):.2f} | {f.get('rss_mb')} |"
                )
        lines.append("")
    if "length" in found:
        lines += ["## Growth with length (320x180, all weight-free metrics)", "",
                  "| seconds | CPU-s per second | peak MB |", "|---|---|---|",
                  *(f"| {r['seconds']} | {r['cpu_s_per_s']:.2f} | {r.get('rss_mb')} |"
                    for r in found["length"]), ""]  # fmt: skip
    if "clips" in found:
        lines += ["## 16 clips of 4 s (640x360)", "", "| | wall s | CPU-s | peak MB |",
                  "|---|---|---|---|",
                  *(f"| {n} | {f['wall_s']:.1f} | {f['cpu_s']:.1f} | {f['rss_mb']} |"
                    for n, f in found["clips"].items()), ""]  # fmt: skip
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[..., Any]] = {
    "passes": passes, "peers": peers, "length": length, "clips": clips
}  # fmt: skip
ONE: dict[str, Callable[..., dict[str, Any]]] = {
    f.__name__: f
    for f in (ours, several, vbench_flicker, torchmetrics_ssim, our_ssim, pyloudnorm_loudness)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("reports/bench_cost"))
    parser.add_argument("--vbench", help="a checkout of VBench, to run its own function")
    parser.add_argument("--parts", default="passes,peers,length,clips")
    parser.add_argument("--lengths", default="10,60,300,600")
    given = parser.parse_args()
    if given.one:
        found = ONE[given.one[0]](*json.loads(given.one[1]))
        print(json.dumps(found, default=str))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "figures.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    figures["made_at"] = time.strftime("%Y-%m-%d")
    figures["command"] = "python benchmarks/bench_cost.py"
    with tempfile.TemporaryDirectory(prefix="avsafe-bench-cost-") as work:
        for part in given.parts.split(","):
            folder = Path(work) / part
            folder.mkdir()
            figures[part] = PARTS[part](folder, vbench=given.vbench, lengths=given.lengths)
            path.write_text(json.dumps(figures, indent=1) + "\n")
    (given.out / "report.md").write_text(report(figures))


if __name__ == "__main__":
    main()
