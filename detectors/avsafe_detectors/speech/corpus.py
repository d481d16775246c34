"""The corpus as statistics: each unit as it is, through one low-rate codec, and through one of
telephone, noise and room.

Legend: ``d`` statistics of a copy (``features.statistics``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import augment, features, fine
from avsafe_detectors.speech.extractor import levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.speech.data import Unit

LEAST = 60  # frames heard
PARTS = ("real", "made", "rendered")

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
    """Write NAME.stats.npy and NAME.rows.json."""
    found: list[NDArray[np.float32]] = []
    rows: list[list[Any]] = []
    for unit in units:
        rng = np.random.default_rng(zlib.crc32(("way " + unit.name).encode()))
        sound = np.asarray(unit.sound / 32767, np.float32)
        low = augment.WAYS["low rate"]
        rough = augment.ways(["narrowband", "noisy"])
        for condition, way in (
            ("clean", "clean"),
            ("low rate", low[int(rng.integers(len(low)))]),
            ("rough", rough[int(rng.integers(len(rough)))]),
        ):
            heard = augment.tilted(sound, rng) if way != "clean" and rng.random() < 0.5 else sound
            known = statistics(augment.levelled(augment.sent(heard, way, rng)))
            if known is not None:
                found.append(known)
                rows.append([unit.name, unit.label, unit.source, unit.group, unit.language,
                             unit.speaker, way, condition])  # fmt: skip
    np.save(folder / f"{name}.stats.npy", np.stack(found))
    (folder / f"{name}.rows.json").write_text(json.dumps(rows))


def statistics(x: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Of sound (n,) at 16 kHz; None where less than 0.6 s is heard."""
    db = features.decibels(levels(x))
    if not len(db):
        return None
    keep = features.heard(features.loudness(db))
    if keep.sum() < LEAST:
        return None
    moments = fine.moments(x)
    mask = np.repeat(keep, fine.PER_FRAME)[: len(moments)]
    return features.statistics(features.normalised(db[keep]), moments[: len(mask)][mask])


class Corpus:
    """All copies: rows, and their statistics (n, d)."""

    def __init__(self, folder: Path) -> None:
        self.rows = [Row(*row) for name in PARTS
                     for row in json.loads((folder / f"{name}.rows.json").read_text())]  # fmt: skip
        self.stats: NDArray[np.float32] = np.concatenate(
            [np.load(folder / f"{name}.stats.npy") for name in PARTS]
        )
