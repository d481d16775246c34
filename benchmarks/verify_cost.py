"""What one `avsafe verify` costs, start to finish, in CPU-seconds of all its processes.

    python benchmarks/verify_cost.py [--clip FILE] [--runs 5] [--out reports/verify_cost]

Without --clip a textured 720p clip of 10 s with sound is made and released first. Three commands
are timed in the same run: the interpreter alone (the unit of the ratios), the credential only, and
everything. The peak resident memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from statistics import median

CLI = "from avsafe.cli import main; main()"


def cost(arguments: list[str], environment: dict[str, str]) -> float:
    """CPU-seconds of a command and of all the children it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", *arguments], env=environment, capture_output=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_clip(folder: Path, environment: dict[str, str]) -> Path:
    from avsafe import media, testing

    source, released = folder / "source.mp4", folder / "released.mp4"
    media.encode(testing.textured_clip(10.0, 1280, 720, Fraction(30)), source)
    command = ["release", str(source), "--generator", "benchmark", "-o", str(released)]
    subprocess.run(
        [sys.executable, "-c", CLI, *command], env=environment, check=True, capture_output=True
    )
    return released


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"AVSAFE_HOME": str(folder / "home")}
        clip = options.clip or make_clip(folder, environment)
        commands = {
            "interpreter alone": ["pass"],
            "verify --credential-only": [CLI, "verify", "--credential-only", str(clip)],
            "verify": [CLI, "verify", str(clip)],
        }
        figures = {
            what: [cost(arguments, environment) for _ in range(options.runs)]
            for what, arguments in commands.items()
        }
    unit = median(figures["interpreter alone"])
    table = {
        what: {
            "cpu_s_median": round(median(runs), 3),
            "cpu_s_worst": round(max(runs), 3),
            "times_the_interpreter": round(median(runs) / unit, 1),
            "runs": len(runs),
        }
        for what, runs in figures.items()
    }
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    result = {"clip": clip.name, "commands": table, "peak_rss_mb": peak_mb}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "figures.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
