"""Robustness, quality and cost of the audio mark, over real and synthesised sound.

    python benchmarks/watermark_audio.py --media ../shared/media --out reports/watermark_audio
    python benchmarks/watermark_audio.py --half chosen --media ... --out ...
    python benchmarks/watermark_audio.py --false-positives 1000 --media ... --out ...

Every row is one cut of one host after one attack, through the same classes that the gate and
``avsafe verify`` use: marked with AudioWatermarker.embedder under a key of the host's own, written
as AAC 192k, cut, attacked, analysed by the extractor, decoded by detect. "exact" means that all 32
bits came back; a wrong payload would be counted as ``wrong``. CPU is ``time.process_time`` of one
process. PESQ needs ``pip install pesq``. Rows are written as they come.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from watermark_audio_hosts import (
    ATTACKS,
    CHOSEN_ON,
    HARD,
    HELD_OUT,
    Sound,
    _ratio,
    hosts,
    released,
)

from avsafe.errors import CannotMark
from avsafe.types import Kind, RawMedia
from avsafe.watermark import audio_chips, audio_detect
from avsafe.watermark.audio import AudioWatermarker
from avsafe.watermark.audio_features import LevelMeter

CUTS_S = (10.0, 5.0)  # trimmed to this many seconds, from 1.37 s on, before the attack
SHORT_S = (3.0, 2.0)  # trimmed to these without any other attack


def key_of(host: str) -> bytes:
    return hashlib.sha256(host.encode()).digest()


def payload_of(host: str) -> int:
    return int.from_bytes(hashlib.sha256(b"payload " + host.encode()).digest()[:4], "big")


# ---------------------------------------------------------------- measurements


def embed(name: str, sound: Sound, rate: int) -> tuple[Sound, float, float]:
    """Marked sound, SNR, CPU seconds. Raises CannotMark."""
    raw = RawMedia(kind=Kind.AUDIO, samples=[sound], rate_hz=rate, channels=len(sound))
    begin = time.process_time()
    embedder = AudioWatermarker().embedder(raw, payload_of(name), key_of(name))
    blocks = [embedder.samples(sound[:, i : i + 4096]) for i in range(0, sound.shape[1], 4096)]
    marked = np.hstack([*blocks, embedder.flush()])
    mark = embedder.mark()
    return marked, mark.snr_db or 0.0, time.process_time() - begin


def features(sound: Sound, rate: int) -> dict[str, NDArray[Any]]:
    meter = LevelMeter(rate)
    for i in range(0, sound.shape[1], 4096):
        meter.feed(sound[:, i : i + 4096])
    return meter.finish()


def pesq_wb(clean: Sound, marked: Sound, rate: int) -> float | None:
    try:
        from pesq import pesq
    except ImportError:
        return None
    pair = [_ratio(s.mean(axis=0, keepdims=True), 16_000 / rate)[0] for s in (clean, marked)]
    return float(pesq(16_000, *pair, "wb"))


def robustness(media: Path | None, out: Path, half: str, attacks: list[str]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    quality: list[dict[str, Any]] = []
    path = out / f"rows_{half}.csv"
    path.unlink(missing_ok=True)
    for name, sound, rate in hosts(media, {"held_out": HELD_OUT, "chosen": CHOSEN_ON}[half]):
        try:
            marked, snr_db, cpu_s = embed(name, sound, rate)
        except CannotMark as error:
            quality.append({"host": name, "refused": str(error)})
            continue
        length_s = sound.shape[1] / rate
        quality.append(
            {
                "host": name,
                "seconds": round(length_s, 2),
                "rate_hz": rate,
                "channels": len(sound),
                "snr_db": snr_db,
                "pesq_wb": pesq_wb(sound, marked, rate),
                "embed_rtf": round(cpu_s / length_s, 4),
            }
        )
        new = list(_rows_of(name, *released(marked, rate), attacks))
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, new[0].keys())
            if not rows:
                writer.writeheader()
            writer.writerows(new)
        rows += new
        done = summary(rows, quality)
        (out / f"robustness_{half}.json").write_text(json.dumps(done, indent=2) + "\n")
        print(name, f"{sum(r['exact'] for r in new)} of {len(new)}", flush=True)
    return summary(rows, quality)


def _rows_of(name: str, release: Sound, rate: int, attacks: list[str]) -> Iterator[dict[str, Any]]:
    for cut_s in (*CUTS_S, *SHORT_S):
        wanted = int(cut_s * rate)
        first = max(0, min(int(1.37 * rate), release.shape[1] - wanted))
        cut = release[:, first : first + wanted]
        if cut.shape[1] < 0.96 * wanted:
            continue
        for attack in attacks if cut_s in CUTS_S else ["none"]:
            attacked, attacked_rate = ATTACKS[attack](cut, rate)
            begin = time.process_time()
            heard = features(attacked, attacked_rate)
            middle = time.process_time()
            found = audio_detect.detect(heard, key_of(name))
            end = time.process_time()
            yield {
                "host": name,
                "cut_s": cut_s,
                "attack": attack,
                "exact": found.present and found.payload == payload_of(name),
                "wrong": found.present and found.payload != payload_of(name),
                "p_value": f"{found.p_value:.3g}",
                "sync_z": found.details.get("sync_z"),
                "correlation": found.details.get("correlation"),
                "extract_s": round(middle - begin, 4),
                "detect_s": round(end - middle, 4),
            }


def summary(rows: list[dict[str, Any]], quality: list[dict[str, Any]]) -> dict[str, Any]:
    def share(attack: str, cut_s: float, hard: bool) -> str:
        chosen = [
            row["exact"]
            for row in rows
            if (row["attack"], row["cut_s"], row["host"] in HARD) == (attack, cut_s, hard)
        ]
        return f"{sum(chosen)} of {len(chosen)}"

    table = {
        attack: {
            f"{'hard' if hard else 'usual'} {cut_s:.0f} s": share(attack, cut_s, hard)
            for hard in (False, True)
            for cut_s in (CUTS_S if attack != "none" else CUTS_S + SHORT_S)
        }
        for attack in ATTACKS
    }
    spread = {
        measure: {
            "mean": round(float(np.mean(values)), 3),
            "median": round(float(np.median(values)), 3),
            "worst": round(float(np.min(values)), 3),
            "hosts": len(values),
        }
        for measure in ("snr_db", "pesq_wb")
        if (
            values := [
                q[measure] for q in quality if q["host"] not in HARD and q.get(measure) is not None
            ]
        )
    }
    quick = [row["detect_s"] for row in rows if _quick(row)]
    slow = [row["detect_s"] for row in rows if _slow(row)]
    return {
        "algorithm": audio_chips.ALGORITHM,
        "exact": table,
        "wrong": sum(row["wrong"] for row in rows),
        "usual_hosts": spread,
        "cpu": {
            "extract_rtf": float(np.median([row["extract_s"] / row["cut_s"] for row in rows])),
            "detect_10_s_at_once": float(np.median(quick)) if quick else None,
            "detect_10_s_in_vain": float(np.median(slow)) if slow else None,
            "detect_slowest": float(np.max([row["detect_s"] for row in rows])),
        },
        "quality": quality,
    }


def _quick(row: dict[str, Any]) -> bool:
    return bool(row["cut_s"] == 10.0 and row["attack"] == "none" and row["exact"])


def _slow(row: dict[str, Any]) -> bool:
    return bool(row["cut_s"] == 10.0 and not row["exact"])


def false_positives(media: Path | None, trials: int) -> dict[str, Any]:
    """Wrong keys: each trial is a full search with a fresh key, on unmarked hosts, on noise, and on
    hosts that carry another key's mark. Counts marks found, and compares how often the sync
    part of the p-value falls below a limit with the limit itself: the bound must hold."""
    rng = np.random.default_rng(6)
    named = hosts(media, HELD_OUT)
    named.append(("made/noise", rng.normal(0, 0.1, (1, 160_000)).astype(np.float32), 16_000))
    named += [
        (f"marked/{name}", embed(name, sound[:, : 10 * rate], rate)[0], rate)
        for name, sound, rate in named
        if name in ("made/speech_44k", "real_general/foley_vgg_1.mp4")
    ]
    z: list[float] = []
    p: list[float] = []
    found = tests = words = 0
    begin = time.process_time()
    for index, (_, sound, rate) in enumerate(named):
        seconds = 10 if index % 2 else 5
        prepared = audio_detect.Prepared(features(sound[:, : seconds * rate], rate))
        for _ in range(-(-trials // len(named))):
            result = audio_detect.search(prepared, rng.bytes(32))
            found += result.present
            tests += int(result.details["tests"])
            words += int(result.details.get("words", 0))
            z.append(float(result.details["sync_z"]))
            p.append(result.p_value)
    return {
        "algorithm": audio_chips.ALGORITHM,
        "bound_per_file_and_key": audio_detect.FALSE_MARK_P,
        "searches": len(p),
        "words_decoded": words,
        "alignments_tried": tests,
        "hosts": len(named),
        "marks_found": found,
        "largest_sync_z": max(z),
        "mean_of_largest_z": float(np.mean(z)),
        "share_with_sync_p_at_most": {
            limit: float(np.mean(np.array(p) <= limit)) for limit in (0.5, 0.1, 0.01, 0.001)
        },
        "cpu_s_per_search": round((time.process_time() - begin) / len(p), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=("held_out", "chosen"), default="held_out")
    parser.add_argument("--attacks", default=";".join(ATTACKS), help="some, with semicolons")
    parser.add_argument("--false-positives", type=int, default=0, metavar="TRIALS")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.false_positives:
        attacks = options.attacks.split(";")
        result = robustness(options.media, options.out, options.half, attacks)
        print(json.dumps(result, indent=2))
        return
    result = false_positives(options.media, options.false_positives)
    (options.out / "false_positives.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
