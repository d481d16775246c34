"""Scores of Perth's network on unmarked and marked sound: where threshold and p-value come from.

    python benchmarks/perth_null.py --media ../shared/media --out reports/watermark_peers

Needs ``avsafe[marks]``; a CPU-minute. Every file with sound under ``--media`` (one of each name) is
cut into up to eight pieces of 2, 3, 4 and 5 s in turn; procedural sound is added: voices, chords,
sweeps, clicks, coloured noise. Each piece is treated once, in turn: as it is, MP3 at 64 kbit/s,
noise at 20 dB, 5 % faster. Then the same piece is marked, treated the same way, and scored again.
Files over 5 s are scored whole as well (their first minute, untreated); those are counted apart.
Pieces of one file resemble each other, so the number of files says more than that of pieces.
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
from peer_tools import OurSound, Sound
from watermark_peers import SOUND_ATTACKS, SUFFIXES, read_sound

from avsafe import testing
from avsafe.watermark.adapters import perth, sounds

LENGTHS_S = (2, 3, 4, 5)
PIECES_A_FILE = 8
TREATMENTS = ("none", "MP3 64k", "noise 20 dB", "speed + 5 %")
RATE_HZ = 44_100
LEVELS = (0.5, 0.7, 0.9, 0.95, 0.99)


def recorded(folder: Path) -> Iterator[tuple[str, Sound, bool]]:
    """Pieces ``(1, n)`` of the files, the name of the file, and whether it is the whole of it."""
    seen: set[str] = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (*SUFFIXES, ".ogg", ".wav") or path.stem in seen:
            continue
        sound, rate = read_sound(path)
        digest = hashlib.sha256(sound[:, : LENGTHS_S[0] * rate].tobytes()).hexdigest()
        start = kept = 0
        while rate and kept < PIECES_A_FILE and digest not in seen:
            stop = start + LENGTHS_S[kept % len(LENGTHS_S)] * rate
            if stop > sound.shape[1]:
                break
            piece, start = sound[:, start:stop], stop
            if float(np.abs(piece).max()) >= 1e-3:
                kept += 1
                yield path.stem, piece, False
        if kept:
            seen |= {path.stem, digest}
            if sound.shape[1] > max(LENGTHS_S) * rate:
                yield path.stem, sound[:, : round(sounds.MAX_SECONDS) * rate], True


def procedural(count: int) -> Iterator[tuple[str, Sound, bool]]:
    """Sound of five kinds in turn, at levels of 0.05 to 0.5."""
    for index in range(count):
        rng = np.random.default_rng(index)
        n = LENGTHS_S[index % len(LENGTHS_S)] * RATE_HZ
        t = np.arange(n) / RATE_HZ
        kind = ("voice", "chords", "sweep", "clicks", "noise")[index % 5]
        made: NDArray[Any]
        if kind == "voice":
            made = np.hstack(testing.babble(n / RATE_HZ, RATE_HZ, index))[0]
        elif kind == "chords":
            notes = 110 * 2 ** (rng.integers(0, 36, (8, 4)) / 12)
            beat = (t * 2).astype(int) % 8
            tones = np.sin(2 * np.pi * notes[beat].T * t) + 0.3 * np.sin(
                4 * np.pi * notes[beat].T * t
            )
            made = tones.sum(axis=0) * np.exp(-4 * (t * 2 % 1))
        elif kind == "sweep":
            low, high = sorted(rng.uniform(50, 8000, 2))
            made = np.sin(2 * np.pi * (low * t + (high - low) * t**2 / (2 * t[-1])))
        elif kind == "clicks":
            made = np.convolve(rng.random(n) < 20 / RATE_HZ, np.exp(-np.arange(800) / 80))[:n]
            made = made * np.sin(2 * np.pi * rng.uniform(200, 2000) * t)
        else:
            spectrum = np.fft.rfft(rng.standard_normal(n))
            spectrum /= np.maximum(np.arange(spectrum.size), 1) ** rng.uniform(0, 1)
            made = np.fft.irfft(spectrum, n)
        level = rng.uniform(0.05, 0.5) / max(float(np.abs(made).max()), 1e-9)
        yield f"procedural {index}", (level * made).astype(np.float32)[None], False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--procedural", type=int, default=60, help="how many made pieces")
    arguments = parser.parse_args()
    began = time.process_time()
    marker, tool = perth.Perth(), OurSound("perth")
    rows: list[dict[str, Any]] = []
    index = 0
    for name, piece, whole in [*recorded(arguments.media), *procedural(arguments.procedural)]:
        treatment = "none" if whole else TREATMENTS[(index + index // 4) % 4]
        index += not whole
        marked = tool.embed(piece, RATE_HZ, 0)
        row: dict[str, Any] = {"source": name, "s": round(piece.shape[1] / RATE_HZ, 1)}
        row |= {"whole": whole, "as": treatment}
        for which, sound in (("unmarked", piece), ("marked", marked)):
            mono = SOUND_ATTACKS[treatment](sound, RATE_HZ)[0]
            score = marker.score(sounds.resample(mono, RATE_HZ, perth.RATE_HZ))
            row[which] = round(score, 6)
        rows.append(row)
    pieces = [row for row in rows if not row["whole"]]
    figures = {
        "threshold": perth.THRESHOLD,
        "pieces": len(pieces),
        "files": len({row["source"] for row in pieces}) - arguments.procedural,
        "procedural": arguments.procedural,
        "unmarked_top": sorted((row["unmarked"] for row in pieces), reverse=True)[:20],
        "unmarked": above(pieces, "unmarked"),
        "marked": {t: above([r for r in pieces if r["as"] == t], "marked") for t in TREATMENTS},
        "whole_unmarked": above([row for row in rows if row["whole"]], "unmarked"),
        "whole_marked": above([row for row in rows if row["whole"]], "marked"),
        "cpu_s": round(time.process_time() - began, 1),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (arguments.out / "perth_null.json").write_text(text + "\n", "utf-8")
    with (arguments.out / "perth_null.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(text)


def above(rows: list[dict[str, Any]], which: str) -> dict[str, int]:
    """How many scores there are, and how many of them above each level."""
    found = {f"> {level}": sum(row[which] > level for row in rows) for level in LEVELS}
    return {"n": len(rows), **found}


if __name__ == "__main__":
    main()
