"""The published run of the suite of detectors: reports/detectors.

    python benchmarks/detectors.py [--media DIR] [--clips] [--seeds 4] [--work build/detectors]
                                   [--out reports/detectors] [--jobs 2]

Draws the benign control sets (``avsafe_detectors.benign``; from real photos, clips and speech of
--media where a set is made from them, else drawn stand-ins), with --clips puts links to real_* and
synthetic_* of --media beside them, and runs ``avsafe bench run detectors`` over these and the
protocol files in OUT/protocol. What was asked before is not asked again. Clips that detectors were
trained on say nothing: --clips is for detectors that name them (docs/bench-detectors.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

AVSAFE = str(Path(sys.executable).with_name("avsafe"))
CONDITIONS = ("clean", "jpeg 50", "h264 crf 35", "mp3 32k")
_GIVEN = {"photo": "real_general", "clip": "real_general", "speech": "real_talking"}
_SECONDS = 4.0  # of a real clip or speech that a set is made from


def benign(folder: Path, media: Path | None, seeds: int) -> None:
    """Files of every set that are not there yet."""
    from avsafe_detectors.benign import SETS

    for name, control in SETS.items():
        place = folder / "benign" / name
        place.mkdir(parents=True, exist_ok=True)
        for seed in range(seeds):
            if any(place.glob(f"{name}-{seed}.*")):
                continue
            given = taken(media, control.of, seed) if media is not None and control.of else None
            seconds = _SECONDS if given is not None and control.of != "photo" else None
            control.write(place, seed, given=given, seconds=seconds)


def taken(media: Path, of: str, seed: int) -> Any:
    """A real clip to start from, another for each seed."""
    from avsafe import media as files

    found = sorted(path for path in (media / _GIVEN[of]).iterdir()
                   if path.suffix.lower() in files.MIME_BY_SUFFIX)  # fmt: skip
    step = max(1, len(found) // 7)
    for place in range(len(found)):
        path = found[(seed * step + place) % len(found)]
        raw = files.decode(path, trusted=True, max_duration_s=_SECONDS)
        if (raw.samples if of == "speech" else raw.frames) is not None:
            return raw
    raise SystemExit(f"No {of} in {media / _GIVEN[of]}.")


def links(folder: Path, media: Path) -> None:
    """Links to the folders of real and synthetic clips."""
    for source in sorted(media.iterdir()):
        role = source.name.partition("_")[0]
        place = folder / source.name
        if source.is_dir() and role in ("real", "synthetic") and not place.exists():
            place.mkdir(parents=True)
            for path in source.iterdir():
                (place / path.name).symlink_to(path.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path)
    parser.add_argument("--clips", action="store_true", help="ask about the clips of --media too")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--work", type=Path, default=Path("build/detectors"))
    parser.add_argument("--out", type=Path, default=Path("reports/detectors"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--protocol-only", action="store_true", help="ask about no file")
    given = parser.parse_args()
    words = ["--protocol", str(given.out / "protocol"), "--out", str(given.out)]
    if not given.protocol_only:
        folder = given.work / "media"
        benign(folder, given.media, given.seeds)
        if given.clips and given.media is not None:
            links(folder, given.media)
        words += ["--media", str(folder), "--jobs", str(given.jobs)]
        words += [word for name in CONDITIONS for word in ("--condition", name)]
    subprocess.run([AVSAFE, "bench", "run", "detectors", *words], check=True)


if __name__ == "__main__":
    main()
