"""Word error rate: what a recogniser hears against what should be said.

Legend: texts are strings; the sound is ``(n,)`` float32 mono at 16 kHz.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import unicodedata
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sound.pairing import RATE_HZ
from avsafe_metrics.sound.shipped import digest, needed

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_S = 0.3
TIMEOUT_S = 600.0
_APOSTROPHES = "'’ʼ`´"
Recogniser = Callable[["NDArray[np.float32]"], str]


def normalised(text: str) -> list[str]:
    """The words of a text: NFKC, lower case, every mark but letters, digits and apostrophes inside
    a word is a space. Numbers stay as they are written: "5" is not "five".

    >>> normalised("It’s 9 o'clock — really, well-known!")
    ["it's", '9', "o'clock", 'really', 'well', 'known']
    """
    kept = []
    for mark in unicodedata.normalize("NFKC", text).casefold():
        if mark in _APOSTROPHES:
            kept.append("'")
        else:
            kept.append(mark if unicodedata.category(mark)[0] in "LMN" else " ")
    return [word for word in (raw.strip("'") for raw in "".join(kept).split()) if word]


@dataclass(frozen=True)
class Edits:
    """The fewest edits that turn the reference into what was heard."""

    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def edits(reference: Sequence[str], heard: Sequence[str]) -> Edits:
    """Levenshtein's distance with its parts. Of several cheapest ways the one with the most
    substitutions counts.

    >>> edits("a b c d".split(), "a x c d e".split())
    Edits(substitutions=1, deletions=0, insertions=1)
    """
    # row[j] is the cheapest (errors, -substitutions, deletions, insertions) up to heard word j
    row = [(j, 0, 0, j) for j in range(len(heard) + 1)]
    for i, word in enumerate(reference, 1):
        above, row = row, [(i, 0, i, 0)]
        for j, other in enumerate(heard, 1):
            cost, subs, dels, ins = above[j - 1]
            step = (cost, subs, dels, ins) if word == other else (cost + 1, subs - 1, dels, ins)
            cost, subs, dels, ins = above[j]
            deleted = (cost + 1, subs, dels + 1, ins)
            cost, subs, dels, ins = row[j - 1]
            row.append(min(step, deleted, (cost + 1, subs, dels, ins + 1)))
    _, subs, dels, ins = row[-1]
    return Edits(-subs, dels, ins)


class WordErrorRate:
    """WER of the sound against ``sample.texts["transcript"]``, by a recogniser that the user gives:
    ``weights={"recogniser": PATH}``, a folder of a transformers speech model (safetensors), or a
    command that prints the text of a WAV file (16 kHz, 16 bits, mono). ``{wav}`` in the command
    stands for the file, which else comes last.

    The number says as much of the recogniser as of the sound: compare within one recogniser only.
    For a set, add errors and words up; do not average rates.
    """

    info = MetricInfo(
        name="wer",
        version="1",
        title="Word error rate",
        columns=(
            Column("", "", "lower", "errors per word of the transcript; may exceed 1", 0.0),
            Column("substitutions", "words", "lower", "words heard as others", 0.0),
            Column("deletions", "words", "lower", "words not heard", 0.0),
            Column("insertions", "words", "lower", "words that nobody wrote", 0.0),
            Column("words", "words", "none", "in the transcript", 0.0),
        ),
        wants=("mono16k",),
        family="sound",
        texts=("transcript",),
        weights=("recogniser",),
        source="(S + D + I) / N, words of NFKC lower case without punctuation; see docs",
    )

    def __init__(self, weights: Mapping[str, str] | None = None, device: str = "cpu") -> None:
        self._given = dict(weights or {}).get("recogniser", "")
        self._device = device
        self._recogniser: Recogniser | None = None
        self._digests: dict[str, str] = {}

    def prepare(self) -> None:
        if self._recogniser is None:
            if not self._given:
                raise MissingExtra(
                    "WER needs a recogniser. Give weights recogniser=FOLDER (a local transformers "
                    "speech model) or recogniser=COMMAND that prints the text of a WAV file."
                )
            if Path(self._given).is_dir():
                self._recogniser = folder_recogniser(Path(self._given), self._device)
                self._digests = {"recogniser": folder_digest(Path(self._given))}
            else:
                self._recogniser, program = command_recogniser(self._given)
                self._digests = {"recogniser": digest(program)}

    def digests(self) -> Mapping[str, str]:
        return self._digests

    def open(self, clip: Clip) -> _Meter:
        if self._recogniser is None:
            raise MissingExtra("prepare() was not called")
        words = normalised(clip.sample.texts.get("transcript", ""))
        if not words:
            raise Unscorable("the transcript has no words")
        return _Meter(self._recogniser, words)


class _Meter(QuietMeter):
    def __init__(self, recogniser: Recogniser, words: list[str]) -> None:
        self._recogniser, self._words = recogniser, words

    def finish(self, gathered: Gathered) -> dict[str, Any]:
        x = gathered.mono16k
        if x is None or x.size < LEAST_S * RATE_HZ:
            raise Unscorable(f"less than {LEAST_S} s of sound")
        found = edits(self._words, normalised(self._recogniser(x)))
        return {
            "": found.errors / len(self._words),
            "substitutions": float(found.substitutions),
            "deletions": float(found.deletions),
            "insertions": float(found.insertions),
            "words": float(len(self._words)),
        }


def command_recogniser(command: str) -> tuple[Recogniser, Path]:
    """A command as a recogniser, and the path of its program. Raises ``MissingExtra``."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise MissingExtra(f"The recogniser {command!r} is no command: {error}.") from error
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise MissingExtra(
            f"The recogniser {command!r} is no folder, and its program was not found. Give a "
            "folder of a transformers speech model, or a command that prints the text of a WAV."
        )

    def recognise(x: NDArray[np.float32]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "speech.wav")
            with wave.open(path, "wb") as file:
                file.setparams((1, 2, RATE_HZ, x.size, "NONE", ""))
                file.writeframes((np.clip(x, -1, 1) * 32767).round().astype("<i2").tobytes())
            called = [word.replace("{wav}", path) for word in words]
            if called == words:
                called.append(path)
            try:
                done = subprocess.run(called, capture_output=True, text=True, timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise Unscorable(f"the recogniser took more than {TIMEOUT_S:g} s") from None
        if done.returncode:
            said = done.stderr.strip()[-200:]
            raise Unscorable(f"the recogniser ended with {done.returncode}: {said}")
        return done.stdout

    return recognise, Path(program)


def folder_recogniser(folder: Path, device: str) -> Recogniser:
    """A local transformers model (Whisper, wav2vec 2.0, ...) as a recogniser; nothing is loaded
    from elsewhere, no code of the folder is run, no pickle is read. Raises ``MissingExtra``."""
    transformers = needed("transformers")
    if not any(folder.glob("*.safetensors")):
        raise MissingExtra(
            f"{folder} has no .safetensors file. Save the model with "
            "model.save_pretrained(folder, safe_serialization=True)."
        )
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **local)
        ctc = any(name.endswith("ForCTC") for name in config.architectures or ())
        kind = transformers.AutoModelForCTC if ctc else transformers.AutoModelForSpeechSeq2Seq
        model = kind.from_pretrained(folder, use_safetensors=True, **local).to(device).eval()
        pipeline = transformers.pipeline(
            "automatic-speech-recognition",
            model=model,
            tokenizer=transformers.AutoTokenizer.from_pretrained(folder, **local),
            feature_extractor=transformers.AutoFeatureExtractor.from_pretrained(folder, **local),
            device=device,
            chunk_length_s=30,
        )
    except (OSError, ValueError, KeyError) as error:
        raise MissingExtra(f"{folder} is no transformers speech model: {error}") from error

    def recognise(x: NDArray[np.float32]) -> str:
        found = pipeline({"raw": x.copy(), "sampling_rate": RATE_HZ})
        return str(found["text"])

    return recognise


def folder_digest(folder: Path) -> str:
    """SHA-256 over the digests of all files in a folder, by name."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        whole.update(f"{path.name} {digest(path)}\n".encode())
    return whole.hexdigest()
