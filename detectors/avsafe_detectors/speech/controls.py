"""Benign sets: sound that nobody synthesised, or that is no speech; what the detector says of it.

Legend: a row is one file, with the columns of the protocol.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.errors import AvsafeError
from avsafe.media.features import examine
from avsafe.types import EvidenceStatus, Kind
from avsafe_detectors.benign import SETS
from avsafe_detectors.speech import augment, data
from avsafe_detectors.speech.detector import NAME, SpeechDetector

MOST = 24  # files of a set


def sets(media: Path | None, share: Path = data.SHARE) -> Iterator[tuple[str, list[Path]]]:
    """Name of a set and its files."""
    sounds = share / "sounds" / "freedesktop" / "stereo"
    yield "interface sounds", sorted(sounds.glob("*.oga"))
    yield "game music", sorted((share / "games" / "colobot" / "music").glob("*.ogg"))
    yield "game sounds", sorted((share / "games" / "colobot" / "sounds").glob("*.ogg"))[::5]
    yield "fillets music", sorted((share / "games" / "fillets-ng" / "music").glob("*.ogg"))
    if media is not None:
        yield "scenes with sound", sorted((media / "real_general").glob("*.mp4"))


def telephone(folder: Path, share: Path = data.SHARE) -> list[Path]:
    """Real voices that are kept at 8 kHz, of people who are in no training set: prompts joined to
    some 5 s, as mu-law and as they are."""
    root = share / "asterisk" / "sounds"
    out = []
    for name, files in (
        ("menardi", sorted((root / "it_IT_f_Menardi").glob("*.wav"))),
        ("armelle", sorted((root / "fr").glob("*.gsm"))),
        ("colombia", sorted((root / "es").glob("*.gsm"))),
        # others of that folder have been through a vocoder (f2400: 2,400 bit/s), or may have been
        ("codec2", [share / "codec2" / "wav" / f"{n}.wav" for n in ("forig", "morig", "hts1a")]),
    ):
        pieces = [data.trimmed(data.read(f, least_hz=8_000)) for f in files[:90]]
        rng = data.seed_of(name)
        for k, sound in enumerate(data.joined(iter([p for p in pieces if len(p)]), 6, rng)):
            path = folder / f"{name}-{k}.wav"
            sound = augment.moved(augment.levelled(sound), data.RATE_HZ, 8_000)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, 8_000, 0, "NONE", ""))
                file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
            out.append(path)
    return out


def rows(media: Path | None) -> Iterator[dict[str, Any]]:
    """What the shipped detector says of every file of every set."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, files in sets(media):
            step = max(1, len(files) // MOST)
            yield from (row(label, path) for path in files[::step])
        for path in telephone(folder):
            yield row("unseen voices at 8 kHz", path)
        for control in SETS.values():
            if control.kind is Kind.AUDIO and control.damage is None:
                for seed in range(3):
                    yield row(f"drawn: {control.name}", control.write(folder, seed))


def row(label: str, path: Path) -> dict[str, Any]:
    detector = SpeechDetector()
    found: dict[str, Any] = {
        "detector": NAME, "cell": "benign controls", "condition": "as it is", "unit": path.name,
        "source": path.stem.split("-")[0], "group": label, "synthetic": False,
        "score": None, "probability": None, "abstained": "", "flagged": False,
    }  # fmt: skip
    try:
        targets = dict.fromkeys(Kind, detector.extractors)
        media, features = examine(path, targets, trusted=True, max_duration_s=40.0)
        said = detector.judge(features, media)
    except AvsafeError as error:
        return found | {"abstained": f"error: {error}"[:200]}
    if said.status is EvidenceStatus.ABSTAINED:
        return found | {"abstained": str(said.details["reason"])[:200]}
    return found | {
        "score": said.details["score"],
        "probability": said.probability,
        "flagged": said.status is EvidenceStatus.PRESENT,
    }
