"""What a look-up by fingerprint costs among up to a million releases, with and without the index.

    python benchmarks/fingerprint_index.py --out build/bench/fingerprint_index    # 1e4, 1e5, 1e6
    python benchmarks/fingerprint_index.py --releases 10000 --out ...             # a quick look

Releases are made up: each a clip of 5 s (40 hashes, sound for every second one, sound alone for
every tenth) whose frames differ from their neighbours in 4 % of bits. Bits of hashes are not fair
coins, and clips resemble each other: each belongs to one of ``releases / 20`` scenes and differs
from its scene in 25 % of bits, as variants of one prompt do (docs/registry.md). Copies are drawn
with as many turned bits as were measured on real ones: 4, 11 and 16 % of bits (11 % is 28 of 256,
the worst best pair of a real copy). A query is searched in a process of its own, cold and warm.
Needs 4 GB of disk and 2 GB of memory for a million.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert

from avsafe.registry import Registry
from avsafe.registry.fingerprint import Fingerprint
from avsafe.registry.schema import fingerprint_numbers, fingerprints, releases

FRAMES, ITEMS = 40, 24
BLOCK = 2000
SHARES = (0.04, 0.11, 0.16)
EACH = 60  # queries of a kind


def turned(hashes: NDArray[np.uint8], share: float, random: np.random.Generator) -> Any:
    """With that share of bits turned over."""
    mask = random.random(hashes.size * 8, dtype=np.float32) < share
    return hashes ^ np.packbits(mask).reshape(hashes.shape)


@lru_cache(maxsize=8)
def block(first: int, scenes: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """(BLOCK, FRAMES, 32) hashes and (BLOCK, ITEMS) sounds of releases from ``first`` on: the same
    at every call."""
    random = np.random.default_rng((seed, scenes, first))
    of_scene = np.random.default_rng((seed, scenes)).integers(0, 256, (scenes, 32), np.uint8)
    steps = np.zeros((BLOCK, FRAMES, 32), np.uint8)
    steps[:, 0] = turned(of_scene[np.arange(first, first + BLOCK) % scenes], 0.25, random)
    steps[:, 1:] = turned(steps[:, 1:], 0.04, random)
    hashes = np.bitwise_xor.accumulate(steps, axis=1)
    return hashes, random.integers(0, 2**32, (BLOCK, ITEMS), np.uint32)


def made(number: int, scenes: int, seed: int = 0) -> Fingerprint:
    """The fingerprint of a release."""
    many, sounds = block(number // BLOCK * BLOCK, scenes, seed)
    hashes, items = many[number % BLOCK], sounds[number % BLOCK]
    alone = number % 10 == 3
    frames = 0 if alone else FRAMES
    return Fingerprint(
        times_ms=np.arange(frames, dtype=np.int32) * 125,
        hashes=hashes[:frames],
        middles=hashes[:frames],
        quality=np.full(frames, 200, np.uint8),
        middle_quality=np.full(frames, 200, np.uint8),
        sound=items if alone or number % 2 == 0 else items[:0],
        duration_s=FRAMES / 8,
    )


def fill(registry: Registry, start: int, end: int, scenes: int) -> None:
    """Rows of releases ``start`` to ``end``, as the registry writes them but many at once."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    for first in range(start, end, BLOCK):
        rows: list[dict[str, Any]] = []
        for number in range(first, min(first + BLOCK, end)):
            print_ = made(number, scenes)
            rows.append(
                {
                    "release_id": f"{number:032x}",
                    "format": print_.format,
                    "has_picture": print_.n_frames > 0,
                    "has_sound": print_.n_sound > 0,
                    "duration_ms": 5000,
                    "probes": print_.probes().tobytes(),
                    "data": print_.to_bytes(),
                }
            )
        with registry.database.writing() as connection:
            connection.execute(
                insert(releases),
                [
                    {
                        "id": row["release_id"], "created_at": now, "task": "text-to-video",
                        "generator": "world", "generator_version": "1",
                        "registered_generator": True, "sha256": row["release_id"] * 2,
                        "kind": "video", "decision": {}, "manifest_id": row["release_id"],
                        "cost": {}, "state": "released",
                    }
                    for row in rows
                ],
            )  # fmt: skip
            connection.execute(insert(fingerprints), rows)
            connection.execute(
                insert(fingerprint_numbers), [{"release_id": row["release_id"]} for row in rows]
            )


def queries(total: int, scenes: int) -> dict[str, list[tuple[str, Fingerprint]]]:
    """Of each kind: the release that should be found ("" for none) and the query."""
    random = np.random.default_rng(9)
    kinds: dict[str, list[tuple[str, Fingerprint]]] = {}
    pictured = [n for n in random.choice(total, 4 * EACH, False).tolist() if n % 10 != 3][:EACH]
    for share in SHARES:
        kinds[f"copy, {share:.0%} of bits"] = [
            (f"{n:032x}", replace(p := made(n, scenes), hashes=turned(p.hashes, share, random)))
            for n in pictured
        ]
    parts = []
    for n in pictured:
        p = made(n, scenes)
        s = int(random.integers(0, FRAMES - 8))
        part = {
            name: getattr(p, name)[s : s + 8]
            for name in ("times_ms", "middles", "quality", "middle_quality")
        }
        hashes = turned(p.hashes[s : s + 8], 0.04, random)
        parts.append((f"{n:032x}", replace(p, hashes=hashes, sound=p.sound[:0], **part)))
    kinds["one second of it, 4 % of bits"] = parts
    tunes = []
    for k in range(EACH):
        n = 10 * int(random.integers(0, total // 10)) + 3
        p = made(n, scenes)
        noise = turned(p.sound.view(np.uint8), 0.11, random).view(np.uint32)
        tunes.append((f"{n:032x}", replace(p, sound=noise[k % 4 :])))
    kinds["sound alone, a part, 11 % of bits"] = tunes
    kinds["never released"] = [("", made(n, scenes, seed=7)) for n in range(EACH)]
    return kinds


def search(place: Path, use_index: bool, total: int, scenes: int, each: int) -> dict[str, Any]:
    """Times of look-ups in this process, the first apart."""
    asked = queries(total, scenes)
    out: dict[str, Any] = {}
    folder = place / "index" if use_index else None
    with Registry.open(place / "registry.db", index=folder) as registry:
        first = True
        for kind, wanted in asked.items():
            times, cpu, right = [], [], 0
            for release_id, query in wanted[:each]:
                wall, used = time.perf_counter(), time.process_time()
                match = registry.by_fingerprint(query)
                times.append(1e3 * (time.perf_counter() - wall))
                cpu.append(1e3 * (time.process_time() - used))
                right += (match.release_id if match else "") == release_id
                if first:
                    out["first of the process, ms"] = times.pop()
                    cpu.pop()
                    first = False
            out[kind] = {
                "right": right, "n": len(wanted[:each]),
                "p50_ms": float(np.median(times)), "p95_ms": float(np.quantile(times, 0.95)),
                "cpu_p50_ms": float(np.median(cpu)), "cpu_p95_ms": float(np.quantile(cpu, 0.95)),
            }  # fmt: skip
    out["peak_mb"] = peak_mb()
    return out


def alone(what: str, *arguments: object) -> dict[str, Any]:
    """This file in a process of its own."""
    command = [sys.executable, __file__, "--do", what, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def write(place: Path) -> dict[str, Any]:
    """Time, memory and size of writing the index."""
    with Registry.open(place / "registry.db", index=place / "index") as registry:
        assert registry.index is not None
        began = time.process_time()
        registry.index.update(registry.database, rebuild=True)
        counts = registry.index.counts()
    return {"cpu_s": time.process_time() - began, "peak_mb": peak_mb()} | counts


def peak_mb() -> float:
    """Of this process since its start; ru_maxrss would count the parent that it was forked from."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--releases", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("build/bench/fingerprint_index"))
    parser.add_argument("--work", type=Path, help="Where the registry is made; default: --out.")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        what, place, *rest = options.do
        if what == "write":
            answer = write(Path(place))
        else:
            use, total, scenes, each = (int(x) for x in rest)
            answer = search(Path(place), bool(use), total, scenes, each)
        print(json.dumps(answer))
        return
    work = options.work or options.out
    options.out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    scenes = max(options.releases) // 20
    results, start = [], 0
    (work / "registry.db").unlink(missing_ok=True)
    for total in sorted(options.releases):
        with Registry.open(work / "registry.db") as registry:
            fill(registry, start, total, scenes)
        start = total
        row = {"releases": total, "written": alone("write", work)}
        row["database_mb"] = (work / "registry.db").stat().st_size / 1e6
        row["indexed"] = alone("search", work, 1, total, scenes, EACH)
        if total <= 200_000:  # in proportion to the number: minutes each among a million
            row["read whole"] = alone("search", work, 0, total, scenes, 4)
        results.append(row)
        print(json.dumps(row, indent=1), flush=True)
        (options.out / "figures.json").write_text(json.dumps(results, indent=1) + "\n")
    for path in work.glob("registry.db*"):
        path.unlink()


if __name__ == "__main__":
    main()
