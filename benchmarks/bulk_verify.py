"""What `avsafe verify FOLDER --out RUN` costs, and what it costs when there is nothing to do.

    python benchmarks/bulk_verify.py [--clips 200] [--rows 1000 10000 100000] [--out FOLDER]

Small clips with sound are made first. They are looked at by one process and by two, and once by a
loop over `avsafe.verify` in this process, the floor beneath both. Then manifests of many rows are
made without looking, and a run over them is resumed: its time, and its peak resident memory against
the number of files. CPU-seconds are those of all processes of a command.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLI = "from avsafe.cli import main; main()"
NOTHING = "from avsafe.cli import many, media; from avsafe.bulk import run"
# Peak memory of a command itself, which it tells at its end. (ru_maxrss outlives exec: it would be
# that of this script.)
PEAK = (
    "import atexit, re, sys; atexit.register(lambda: print('peak', "
    "int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) // 1024, "
    "file=sys.stderr)); "
)


def timed(arguments: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Seconds, CPU-seconds and peak memory of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK + arguments[0], *arguments[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peaks = [line for line in done.stderr.splitlines() if line.startswith("peak ")]
    return {
        "wall_s": round(time.perf_counter() - began, 2),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "peak_rss_mb": int(peaks[-1].split()[1]),
    }


def make_clips(folder: Path, count: int) -> None:
    from avsafe import media, testing

    folder.mkdir()
    for seed in range(count):
        media.encode(testing.textured_clip(1.0, 160, 96, seed=seed), folder / f"{seed:04}.mp4")


def looked_at(folder: Path, clips: Path, count: int, environment: dict[str, str]) -> dict[str, Any]:
    """The same clips by one process, by two, and in a plain loop."""
    found: dict[str, Any] = {}
    for jobs in (1, 2):
        out = folder / f"run-{jobs}"
        words = ["verify", str(clips), "--out", str(out), "--jobs", str(jobs)]
        found[f"{jobs} process{'es' * (jobs > 1)}"] = timed([CLI, *words], environment)
    loop = (
        "import sys; from pathlib import Path; from avsafe.home import Home; "
        "from avsafe.workspace import Lookup; from avsafe.verify import verify; "
        "[verify(p, Lookup(Home.default())) for p in sorted(Path(sys.argv[1]).iterdir())]"
    )
    found["a plain loop"] = timed([loop, str(clips)], environment)
    for one in found.values():
        one["files_per_s"] = round(count / one["wall_s"], 2)
        one["cpu_s_per_file"] = round(one["cpu_s"] / count, 3)
    same = {(folder / f"run-{jobs}" / "verdicts.jsonl").read_bytes() for jobs in (1, 2)}
    found["same answers to the byte"] = len(same) == 1
    return found


def resumed(folder: Path, rows: int, like: Path, environment: dict[str, str]) -> dict[str, Any]:
    """A run over so many files of which every one has an answer."""
    from avsafe.bulk import listing

    files, out = folder / f"files-{rows}", folder / f"out-{rows}"
    out.mkdir()
    noted = json.loads((like / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(noted))
    with (like / "rows.jsonl").open() as lines:
        row = json.loads(next(lines))
    with (out / "rows.jsonl").open("w") as manifest:
        for number in range(rows):
            place = files / f"{number // 1000:04}" / f"{number:07}.mp4"
            if number % 1000 == 0:
                place.parent.mkdir(parents=True)
            place.write_bytes(b"%d" % number)
            row |= {"path": str(place), "stamp": listing.stamp_of(place)}
            row["sha256"] = f"{number:064x}"
            manifest.write(json.dumps(row, sort_keys=True) + "\n")
    done = timed([CLI, "verify", str(files), "--out", str(out)], environment)
    summary = json.loads((out / "summary.json").read_text())
    if summary["new"] or sum(summary["labels"].values()) != rows:
        raise SystemExit(f"The run of {rows} rows was not a resumed one: {summary}")
    return {"rows": rows, "manifest_mb": (out / "rows.jsonl").stat().st_size >> 20} | done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {
            "AVSAFE_HOME": str(folder / "home"),
            "OPENBLAS_NUM_THREADS": "1",
        }
        make_clips(folder / "clips", options.clips)
        found: dict[str, Any] = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
            "clips": options.clips,
            "looking": looked_at(folder, folder / "clips", options.clips, environment),
            "imports_alone": timed([NOTHING], environment),
            "nothing_to_do": [],
        }
        tell(found, options.out)
        for rows in options.rows:
            one = resumed(folder, rows, folder / "run-1", environment)
            found["nothing_to_do"].append(one)
            tell(found, options.out)


def tell(found: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(found, indent=1)
    print(text, flush=True)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "figures.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
