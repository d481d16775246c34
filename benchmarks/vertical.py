"""The whole way on real clips: release, then verify what becomes of the file in the world.

For every clip: release it (task "release"), then verify
    released    the file as it left the gate                        -> synthetic-declared
    remuxed     streams copied, credential gone                     -> synthetic-recovered
    reencoded   H.264 CRF 28, preset medium, AAC 128k               -> synthetic-recovered
    flipped     one bit of one byte in the middle of mdat           -> altered
    original    the clip as it was before, with its twin registered -> inconclusive

    python benchmarks/vertical.py --media DIR --out OUT

The published report: --folders real_general synthetic_lumiere --out reports/vertical.

Writes scores.jsonl (one row a clip and state; an interrupted run goes on where it stopped),
aggregates.json and report.md. Shares are exact counts with Wilson 95 % intervals. Only numbers and
file names are written, nothing of the clips.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

EXPECTED = {
    "released": "synthetic-declared",
    "remuxed": "synthetic-recovered",
    "reencoded": "synthetic-recovered",
    "flipped": "altered",
    "original": "inconclusive",
}
LONG_S = 3.0  # the floor holds for clips of at least this length
FLOOR = {"remuxed": 0.95, "reencoded": 0.95, "released": 1.0, "flipped": 1.0, "original": 1.0}


def remux(source: Path, destination: Path) -> None:
    """Copy the streams into a fresh container; nothing else of the file survives."""
    import av

    with av.open(str(source)) as reader, av.open(str(destination), "w") as writer:
        streams = {s.index: writer.add_stream_from_template(s) for s in reader.streams}
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)


def examine(clip: Path, home: Path) -> list[dict[str, Any]]:
    """Release one clip and verify its five states; a failure is a row, never an exception."""
    from avsafe import gate, media
    from avsafe.home import Home
    from avsafe.policy import local_principal
    from avsafe.testing import flip_media_byte
    from avsafe.types import GenerationRequest, InputMedia, Task
    from avsafe.verify import verify
    from avsafe.workspace import Lookup, open_workspace

    rows: list[dict[str, Any]] = []
    base: dict[str, Any] = {"clip": f"{clip.parent.name}/{clip.name}"}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            probed = media.probe(clip)
            video = probed.video
            base |= {
                "duration_s": probed.duration_s,
                "size": f"{video.width}x{video.height}" if video else "",
            }
            request = GenerationRequest(
                local_principal(), Task.RELEASE, "benchmark", inputs=(InputMedia(probed, "source"),)
            )
            with open_workspace(Home(home)) as workspace:
                result = gate.generate(request, work / "released.mp4", workspace)
        except Exception as error:
            return [base | {"state": s, "label": f"error: {error!r}"} for s in EXPECTED]
        base |= {
            "psnr_db": next((m.psnr_db for m in result.marks if m.psnr_db), None),
            "marks": [str(m.modality) for m in result.marks],
            "warnings": list(result.warnings),
            "release_cpu_s": result.cost["total_cpu_s"],
        }
        files = {state: work / f"{state}.mp4" for state in EXPECTED} | {"original": clip}
        remux(files["released"], files["remuxed"])
        raw = media.decode(files["released"], trusted=True)
        media.encode(
            raw, files["reencoded"], media.EncodeSpec(crf=28, preset="medium", audio_kbps=128)
        )
        flip_media_byte(files["released"], files["flipped"])
        for state, path in files.items():
            start = time.time()
            try:
                verdict = verify(path, Lookup(Home(home)))
            except Exception as error:
                rows.append(base | {"state": state, "label": f"error: {error!r}"})
                continue
            marks = {
                e.source: {
                    "p_value": e.details.get("p_value"),
                    "recovered": e.details.get("recovered"),
                }
                for e in verdict.evidence
                if e.source.startswith("watermark.")
            }
            rows.append(
                base
                | {
                    "state": state,
                    "label": str(verdict.label),
                    "marks_found": marks,
                    "verify_wall_s": round(time.time() - start, 2),
                    "reasons": {e.source: e.summary for e in verdict.evidence}
                    if verdict.label != EXPECTED[state]
                    else {},
                }
            )
    return rows


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def aggregate(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def select(state: str, long: bool) -> list[dict[str, Any]]:
        return [
            r
            for r in rows
            if r["state"] == state and (not long or (r.get("duration_s") or 0) >= LONG_S - 0.05)
        ]

    table = []
    for state, expected in EXPECTED.items():
        for name, long in (("all clips", False), (f">= {LONG_S:g} s", True)):
            chosen = select(state, long)
            hits = sum(r["label"] == expected for r in chosen)
            low, high = wilson(hits, len(chosen))
            table.append(
                {
                    "state": state,
                    "expected": expected,
                    "clips": name,
                    "hits": hits,
                    "n": len(chosen),
                    "share": hits / len(chosen) if chosen else None,
                    "low": low,
                    "high": high,
                    "floor": FLOOR[state] if long else None,
                }
            )
    return table


def report(rows: list[dict[str, Any]], table: list[dict[str, Any]]) -> Iterator[str]:
    yield "# The whole way on real clips\n"
    yield "Written by `benchmarks/vertical.py`; its first lines say what each state is.\n"
    yield "| state | expected label | clips | hits | share | 95 % interval | floor |"
    yield "|---|---|---|---|---|---|---|"
    for t in table:
        floor = f"{t['floor']:.0%}" if t["floor"] else ""
        share = f"{t['share']:.1%}" if t["share"] is not None else "-"
        yield (
            f"| {t['state']} | {t['expected']} | {t['clips']} | {t['hits']} of {t['n']} | {share} "
            f"| {t['low']:.1%} - {t['high']:.1%} | {floor} |"
        )
    psnr = sorted(r["psnr_db"] for r in rows if r["state"] == "released" and r.get("psnr_db"))
    if psnr:
        yield (
            f"\nPSNR of the marked frames against the unmarked ones, before encoding: minimum "
            f"{psnr[0]:.2f} dB, median {psnr[len(psnr) // 2]:.2f} dB, n = {len(psnr)}."
        )
    cpu = [
        r["release_cpu_s"] / r["duration_s"]
        for r in rows
        if r["state"] == "released" and r.get("release_cpu_s") and r.get("duration_s")
    ]
    if cpu:
        cpu.sort()
        yield f"\nCPU-seconds of a release per second of clip: median {cpu[len(cpu) // 2]:.2f}."
    missed = [r for r in rows if r["label"] != EXPECTED[r["state"]]]
    yield f"\n## Missed: {len(missed)} of {len(rows)} states\n"
    for r in missed:
        what = f"{r.get('size', '')}, {r.get('duration_s') or 0:.1f} s"
        yield f"- {r['clip']} ({what}), {r['state']}: {r['label']}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folders", nargs="+", default=["."], help="folders inside --media")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="take every Nth clip")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    scores = options.out / "scores.jsonl"
    rows = [json.loads(line) for line in scores.read_text().splitlines()] if scores.exists() else []
    done = {r["clip"] for r in rows}
    clips = [
        clip
        for folder in options.folders
        for clip in sorted((options.media / folder).resolve().iterdir())[:: options.every]
        if clip.is_file() and f"{clip.parent.name}/{clip.name}" not in done
    ]
    with (
        tempfile.TemporaryDirectory() as home,
        ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool,
        scores.open("a") as file,
    ):
        for found in pool.map(examine, clips, [Path(home)] * len(clips)):
            rows.extend(found)
            for row in found:
                file.write(json.dumps(row) + "\n")
            file.flush()
            print(
                found[0]["clip"], " ".join(f"{r['state']}={r['label']}" for r in found), flush=True
            )
    table = aggregate(rows)
    (options.out / "aggregates.json").write_text(json.dumps(table, indent=1) + "\n")
    (options.out / "report.md").write_text("\n".join(report(rows, table)) + "\n")
    print("\n".join(report(rows, table)))


if __name__ == "__main__":
    main()
