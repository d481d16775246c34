"""How often a key finds a mark where there is none: many wrong keys on unmarked hosts.

    python benchmarks/false_marks.py --media FOLDER… --out reports/false_marks [--keys 100000]
                                     [--sound-keys 3000]

Picture: the residuals of unmarked clips (first 2 s, coded as a release is) are searched with
fresh keys. For each key: a random placement of the tile (size 0.55 to 2.1, turned up to 12 degrees,
mirrored or not), all 2 x 128 x 128 shifts, and the best of them is decoded and tested. That is one
attempt; `detect` makes at most 176 a file. Sound: `detect` in full, up to 72 attempts a key.

Two things are counted: CRC32 passes (the proof says 3.7e-9 an attempt), and how often the highest
sync peak of a trial exceeds z, against the bound 2 x 128 x 128 x exp(-z^2 / 2) that the p-values
rest on. The run is resumable: counts are written every 2,000 keys.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from avsafe import media
from avsafe.errors import AvsafeError
from avsafe.watermark import audio_detect, channel, locate
from avsafe.watermark.audio import AudioWatermarker
from avsafe.watermark.tile import PAYLOAD_BITS, PERIOD, tile_of_key
from avsafe.watermark.video import MOST_CHANCE, VideoWatermarker

HOSTS = 24
BATCH = 2000
Z = (4.0, 4.5, 5.0, 5.5, 6.0)


def hosts(folders: list[Path], extractor: str, seconds: float) -> list[Any]:
    """Features of unmarked clips, spread over the folders."""
    paths = sorted(p for folder in folders for p in folder.iterdir() if p.is_file())
    found = []
    for path in paths:
        try:
            features = media.analyse(path, {"x": extractor}, max_duration_s=seconds)["x"]
        except AvsafeError:
            continue
        found.append(features)
    step = max(1, len(found) // HOSTS)
    return found[::step][:HOSTS]


def picture(folders: list[Path], keys: int, out: Path) -> None:
    spectra = []
    for features in hosts(folders, VideoWatermarker.extractor, 2.0):
        residuals, counts = features.get("residual.0"), features.get("frames.0")
        if residuals is not None and counts is not None:
            mean = np.average(residuals, axis=0, weights=counts)
            spectra.append(locate.Spectrum(mean.astype(np.float32)))
    file = out / "picture.json"
    state = json.loads(file.read_text()) if file.is_file() else {}
    done, passes = state.get("keys", 0), state.get("crc_passes", 0)
    above = state.get("peaks_above", {str(z): 0 for z in Z})
    while done < keys:
        started = time.process_time()
        count = min(BATCH, keys - done)
        for first in range(done, done + count, 8):
            words = []
            for number in range(first, min(first + 8, done + count)):
                seed = hashlib.sha256(f"wrong key {number}".encode()).digest()
                random = np.random.default_rng(list(seed))
                placement = locate.Placement(
                    a=(size := float(np.exp(random.uniform(np.log(0.55), np.log(2.1))))),
                    b=size,
                    turn=float(np.radians(random.uniform(-12, 12))),
                    mirrored=bool(random.integers(2)),
                )
                tile, spectrum = tile_of_key(seed), spectra[number % len(spectra)]
                peak = locate.peaks(spectrum, tile, [placement])[0]
                for z in Z:
                    above[str(z)] += peak.z > z
                words.append(locate.soft_bits(spectrum, tile, peak))
            passes += sum(word.crc_ok for word in channel.decode_many(words, PAYLOAD_BITS))
        done += count
        write(
            file,
            {
                "keys": done,
                "hosts": len(spectra),
                "attempts": done,
                "crc_passes": passes,
                "rate_at_most_95": 3 / done if passes == 0 else None,
                "proof_per_attempt": channel.FALSE_PASS_PER_TRY,
                "proof_per_file": MOST_CHANCE,
                "peaks_above": above,
                "share_above": {z: n / done for z, n in above.items()},
                "bound_above": {
                    str(z): min(1.0, 2 * PERIOD**2 * float(np.exp(-(z**2) / 2))) for z in Z
                },
                "cpu_ms_per_key": round(1e3 * (time.process_time() - started) / count, 2),
            },
        )


def sound(folders: list[Path], keys: int, out: Path) -> None:
    prepared = []
    for features in hosts(folders, AudioWatermarker().extractor, 10.0):
        try:
            one = audio_detect.Prepared(features)
        except AvsafeError:
            continue
        if one.reason is None:
            prepared.append(one)
    file = out / "sound.json"
    state = json.loads(file.read_text()) if file.is_file() else {}
    done, found, words = state.get("keys", 0), state.get("found", 0), state.get("attempts", 0)
    while done < keys:
        started = time.process_time()
        count = min(100, keys - done)
        for number in range(done, done + count):
            key = hashlib.sha256(f"wrong sound key {number}".encode()).digest()
            detection = audio_detect.search(prepared[number % len(prepared)], key)
            found += detection.present
            words += int(detection.details.get("words", 0))
        done += count
        write(
            file,
            {
                "keys": done,
                "hosts": len(prepared),
                "attempts": words,
                "found": found,
                "rate_at_most_95": 3 / done if found == 0 else None,
                "proof_per_file": audio_detect.FALSE_MARK_P,
                "cpu_ms_per_key": round(1e3 * (time.process_time() - started) / count, 2),
            },
        )


def write(file: Path, figures: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(figures, indent=2) + "\n")
    partial.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--media", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=Path("reports/false_marks"))
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--sound-keys", type=int, default=3_000)
    options = parser.parse_args()
    picture(options.media, options.keys, options.out)
    sound(options.media, options.sound_keys, options.out)
    for name in ("picture", "sound"):
        print((options.out / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
