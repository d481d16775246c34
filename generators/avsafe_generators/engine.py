"""The speech engine of the system: lines of text as sound. Optional; espeak-ng is GPL-3 software of
its own, which the system provides and a process of its own runs.

Legend: sound is (n,) float32 in [-1, 1], mono.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import GeneratorFailed, MissingExtra

ENGINE = "espeak-ng"
_MOST_BYTES = 64 << 20  # 23 minutes of its 22,050 Hz


class Unspeakable(GeneratorFailed):
    """The engine could not speak this text with this voice."""


def say(
    text: str, voice: str, *options: str, what: str, instead: str, timeout_s: float
) -> tuple[NDArray[np.float32], int]:
    """The text read aloud: samples, and their rate in Hz.

    The text goes through standard input: no shell sees it, and no option can hide in it. ``what``
    names in a message what is to be spoken, ``instead`` what to do without an engine.

    Raises MissingExtra without the engine, Unspeakable when it refuses, GeneratorFailed when it
    does not end.
    """
    program = shutil.which(ENGINE)
    if program is None:
        raise MissingExtra(
            f"To speak {what}, the system's speech engine {ENGINE} is needed and is not "
            f"installed. Install it (apt install {ENGINE}), or {instead}."
        )
    with tempfile.TemporaryDirectory(prefix="avsafe-speech-") as folder:
        path = Path(folder) / "speech.wav"
        try:
            done = subprocess.run(
                [program, "-v", voice, *options, "--stdin", "-w", str(path)],
                input=text.encode(errors="replace"), capture_output=True, timeout=timeout_s,
                check=False, cwd=folder,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise GeneratorFailed(f"{ENGINE} did not end within {timeout_s:g} s.") from error
        if done.returncode or not path.is_file():
            said = "".join(c for c in done.stderr.decode(errors="replace") if c.isprintable())
            raise Unspeakable(f"{ENGINE} ended with {done.returncode}: {said[-200:].strip()}.")
        if path.stat().st_size > _MOST_BYTES:
            raise GeneratorFailed(f"{ENGINE} wrote more than {_MOST_BYTES >> 20} MB.")
        return _read(path)


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    try:
        with wave.open(str(path)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise Unspeakable(f"{ENGINE} wrote no sound ({error}).") from error
    if width != 2:
        raise Unspeakable(f"{ENGINE} wrote no 16-bit sound ({width * 8} bit).")
    sound = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1) / 32768.0
    return sound.astype(np.float32), rate
