"""The corpus as levels: each unit as it is, through one low-rate codec, and through one of
telephone, noise and room.

Legend: ``t`` frames, ``f`` 216 bins; a copy is (t, 216) int8, normalised levels in units of
10 / 16 dB.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import augment, features
from avsafe_detectors.speech.extractor import levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.speech.data import Unit

SCALE = 16.0
CONDITIONS = ("clean", "low rate", "rough")

# Language -> fold. A language is in one fold, so nobody speaks in two. English and Spanish go
# together: one speaker recorded both.
FOLD_OF_LANGUAGE = {
    **dict.fromkeys(("en", "es", "eu", "sv", "fi"), 0),
    **dict.fromkeys(("fr", "wa", "ca", "gl", "pt"), 1),
    **dict.fromkeys(("cs", "sk", "sl", "sr", "uk", "be", "hu", "bg"), 2),
    **dict.fromkeys(("nl", "nds", "de", "da", "nb", "nn", "lt"), 3),
    **dict.fromkeys(("ru", "it", "ro", "el", "he", "ar", "ml", "tn", "ga", "id"), 4),
}
# Engine or kind of re-rendering -> the fold that has not heard it.
FOLD_OF_ENGINE = {
    "kokoro": 0, "lpc": 0,
    "piper": 1, "griffin-lim": 1,
    "hts": 2, "jtalk": 2, "world": 2, "converted": 2,
    "espeak": 3, "flite": 3,
    "diphone": 4, "clunits": 4,
}  # fmt: skip
FOLDS = 5
NEURAL = ("piper", "kokoro")
VOCODERS = ("world", "converted", "griffin-lim", "lpc")


@dataclass(frozen=True)
class Row:
    """One copy of one unit; a unit's table without its sound."""

    name: str
    label: int
    source: str
    group: str
    language: str
    speaker: str
    way: str
    condition: str
    first: int
    frames: int

    @property
    def language_fold(self) -> int:
        return FOLD_OF_LANGUAGE.get(self.language, 4)

    @property
    def engine_fold(self) -> int:
        """-1 for real ones."""
        return FOLD_OF_ENGINE.get(self.group, -1)

    @property
    def dealt(self) -> float:
        """0 to 1 by chance, the same for a unit and all that was made of it."""
        name = self.name.split(" of ", 1)[-1]
        return (zlib.crc32(name.encode()) % 1000) / 1000


def copies(units: Iterable[Unit], folder: Path, name: str) -> None:
    """Write NAME.i8.npy and NAME.rows.json."""
    held: list[NDArray[np.int8]] = []
    rows: list[list[Any]] = []
    at = 0
    for unit in units:
        rng = np.random.default_rng(zlib.crc32(("way " + unit.name).encode()))
        sound = unit.sound.astype(np.float32) / 32767
        low = augment.WAYS["low rate"]
        rough = augment.ways(["narrowband", "noisy"])
        for condition, way in (
            ("clean", "clean"),
            ("low rate", low[int(rng.integers(len(low)))]),
            ("rough", rough[int(rng.integers(len(rough)))]),
        ):
            heard = augment.tilted(sound, rng) if way != "clean" and rng.random() < 0.5 else sound
            x = normalised(augment.levelled(augment.sent(heard, way, rng)))
            if len(x) < 60:
                continue
            held.append(x)
            rows.append([unit.name, unit.label, unit.source, unit.group, unit.language,
                         unit.speaker, way, condition, at, len(x)])  # fmt: skip
            at += len(x)
    np.save(folder / f"{name}.i8.npy", np.concatenate(held))
    (folder / f"{name}.rows.json").write_text(json.dumps(rows))


def normalised(x: NDArray[np.float32]) -> NDArray[np.int8]:
    """Sound (n,) -> its copy (t, 216)."""
    db = features.decibels(levels(x))
    if not len(db):
        return np.zeros((0, features.WIDTH), np.int8)
    db = db[features.heard(features.loudness(db))]
    return np.clip(np.rint(features.normalised(db) * SCALE), -127, 127).astype(np.int8)


class Corpus:
    """All copies: rows, and their levels in one array."""

    def __init__(self, folder: Path, names: Sequence[str] = ("real", "made", "rendered")) -> None:
        self.rows: list[Row] = []
        parts = []
        at = 0
        for name in names:
            part = np.load(folder / f"{name}.i8.npy")
            for row in json.loads((folder / f"{name}.rows.json").read_text()):
                self.rows.append(Row(*row[:8], row[8] + at, row[9]))
            parts.append(part)
            at += len(part)
        self.levels = np.concatenate(parts)

    def x(self, row: Row) -> NDArray[np.float32]:
        """(t, 216) in units of 10 dB."""
        part = self.levels[row.first : row.first + row.frames]
        return np.asarray(part.astype(np.float32) / SCALE)
