"""What signing and verifying cost, against plain SHA-256 and against the library's own signing.

    python benchmarks/signing.py --out reports/signing [--sizes 10 100 1000]

Each measurement is a fresh process: CPU-seconds of that process (user and system, threads
included) and its peak resident memory. The file is one MP4 with one index and incompressible media
data. Signing includes reading back; it works on a file that nobody needs any more, as the gate
does, or on a copy that it makes. CPU-seconds vary by some 10 % on a busy machine: the median of
``--rounds`` is shown, and every ratio is taken within one round.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

WAYS = ("nothing", "sha256", "in-place", "in-place no room", "in-place copy", "library")
WAYS += ("verify in-place", "verify library", "verify in a sandbox")
CONSUMING = ("in-place", "in-place no room")


def make_movie(path: Path, megabytes: int, *, base: Path, room: int = 0) -> None:
    """An MP4 of that size: ``base``'s index, and its media data followed by random ones. With
    ``room`` as the gate's encoder writes it, else with the index at the end."""
    from avsafe.media import layout

    with base.open("rb", 0) as file:
        movie = layout.survey(file)
        file.seek(movie.payload[0])
        media = file.read(movie.payload[1] - movie.payload[0])
    start = movie.start_with(room) if room else len(movie.ftyp) + layout.LARGE_HEADER
    size = megabytes * 1_000_000 - start - (0 if room else len(movie.moov))
    block = os.urandom(1 << 20)
    moov = movie.front(start)[1][: -layout.LARGE_HEADER]
    with path.open("wb") as out:
        free = struct.pack(">I4s", room, b"free") + bytes(room - 8) + moov if room else b""
        header = struct.pack(">I4sQ", 1, b"mdat", layout.LARGE_HEADER + size)
        out.write(movie.ftyp + free + header + media)
        left = size - len(media)
        for number in range(-(-left // len(block))):
            out.write((number.to_bytes(8, "big") + block[8:])[: left - number * len(block)])
        out.write(b"" if room else moov)


def peak_mb() -> int:
    """Peak resident memory of this process (ru_maxrss would count its parent's, before exec)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def child(way: str, folder: Path, name: str) -> None:
    """One measurement, in a process of its own; prints JSON."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from avsafe.provenance import read, sign, sourcetypes
    from avsafe.provenance.signer import LocalSigner
    from avsafe.types import Manifest

    manifest = Manifest(
        title="clip",
        mime="video/mp4",
        action="c2pa.created",
        digital_source_type=sourcetypes.TRAINED_ALGORITHMIC_MEDIA,
        generator="world",
        generator_version="1.0",
        created_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
        release_id="0123456789abcdef",
    )
    keys = json.loads((folder / "keys.json").read_text())
    signer = LocalSigner(Path(keys["key"]), keys["chain"], keys["root"])
    source = folder / name
    result: dict[str, object] = {}
    before = getrusage(RUSAGE_SELF)
    if way == "sha256":
        with source.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    elif way.startswith("verify"):
        kind = "library" if way == "verify library" else "in-place"
        call = read.read_sandboxed if way == "verify in a sandbox" else read.read
        report = call(folder / f"signed {kind}.mp4", anchors=signer.anchors_pem)
        result["status"] = str(report.status)
    elif way != "nothing":
        done = sign.sign_file(
            source,
            folder / f"signed {way}.mp4",
            manifest,
            signer,
            consume=way in CONSUMING,
            in_place=way != "library",
        )
        result |= {"way": str(done.way), "manifest_bytes": len(done.manifest_bytes)}
    after = getrusage(RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if way == "verify in a sandbox":
        from resource import RUSAGE_CHILDREN

        other = getrusage(RUSAGE_CHILDREN)
        cpu += other.ru_utime + other.ru_stime
        result["child_rss_mb"] = round(other.ru_maxrss / 1024)
    print(json.dumps({"cpu_s": cpu, "rss_mb": peak_mb(), **result}))


def measure(megabytes: int, rounds: int, folder: Path) -> dict[str, dict[str, object]]:
    """Way -> median CPU-seconds, ratio to sha256 in the same round, peak memory."""
    source, spent = folder / "source.mp4", folder / "spent.mp4"
    make_movie(source, megabytes, base=folder / "base.mp4")
    runs: list[dict[str, dict[str, object]]] = []
    for _ in range(rounds):
        run = {}
        for way in WAYS:
            if way in CONSUMING:
                make_movie(
                    spent,
                    megabytes,
                    base=folder / "base.mp4",
                    room=256 << 10 if way == "in-place" else 0,
                )
                os.sync()
            name = (spent if way in CONSUMING else source).name
            command = [sys.executable, __file__, "--child", way, str(folder), name]
            run[way] = json.loads(subprocess.check_output(command, text=True))
        runs.append(run)
    found: dict[str, dict[str, object]] = {}
    for way in WAYS:
        cpu = [float(str(run[way]["cpu_s"])) for run in runs]
        ratio = [float(str(run[way]["cpu_s"])) / float(str(run["sha256"]["cpu_s"])) for run in runs]
        found[way] = runs[-1][way] | {
            "cpu_s": round(statistics.median(cpu), 4),
            "to_sha256": round(statistics.median(ratio), 2),
            "rss_mb": max(int(str(run[way]["rss_mb"])) for run in runs),
        }
    return found


def table(results: dict[str, dict[str, dict[str, object]]]) -> str:
    """The results as Markdown."""
    lines = [f"| | {' | '.join(f'{size} MB' for size in results)} |", "|---" * (1 + len(results))]
    lines[1] += "|"
    for way in WAYS[1:]:
        cells = []
        for found in results.values():
            item = found[way]
            cells.append(f"{item['cpu_s']} s, {item['to_sha256']} x, {item['rss_mb']} MB")
            if "child_rss_mb" in item:
                cells[-1] += f" + {item['child_rss_mb']} MB"
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("reports/signing"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="megabytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder with room for 5 files (default: a new)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]), options.child[2])
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import c2pa

    from avsafe import media, testing
    from tests.provenance_kit import make_signer

    results = {}
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        signer = make_signer(folder / "keys")
        keys = {"key": str(signer.key_path), "chain": signer.chain_pem, "root": signer.anchors_pem}
        (folder / "keys.json").write_text(json.dumps(keys))
        media.encode(testing.textured_clip(1.0, 128, 96), folder / "base.mp4")
        for megabytes in options.sizes:
            results[str(megabytes)] = measure(megabytes, options.rounds, folder)
            print(f"{megabytes} MB: {json.dumps(results[str(megabytes)])}", flush=True)
    versions = {"python": platform.python_version(), "c2pa-rs": c2pa.sdk_version()}
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"versions": versions, "rounds": options.rounds, "results": results}
    (options.out / "signing.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.out / "signing.md").write_text(
        "# Signing and verifying: CPU-seconds, ratio to SHA-256, peak memory\n\n"
        f"Median of {options.rounds} rounds; ratios within one round; each measurement is a fresh "
        f"process. c2pa-rs {versions['c2pa-rs']}, Python {versions['python']}. Signing includes "
        "reading back. Again: `python benchmarks/signing.py`.\n\n"
        f"{table(results)}\n\n"
        f"A process that only imports takes {results[str(options.sizes[0])]['nothing']['rss_mb']} "
        "MB.\n"
    )
    print(table(results))


if __name__ == "__main__":
    main()
