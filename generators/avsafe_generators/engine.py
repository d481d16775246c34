"""The speech engine of the system: lines of text as sound. Optional; espeak-ng is GPL-3 software of
its own, which the system provides and a process of its own runs.

A text is read as it stands. The engine would take three things in it for commands: bytes that
change voice and pace (control characters), phonemes in ``[[...]]``, and SSML. The first two are
taken out here, the third is an option of the engine that is never given.

Legend: sound is (n,) float32 in [-1, 1], mono.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
import tempfile
import time
import unicodedata
import wave
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, MissingExtra
from avsafe.types import Cancelled, never_cancelled

ENGINE = "espeak-ng"
_MOST_BYTES = 64 << 20  # of sound: 25 minutes of its 22,050 Hz
_MOST_MEMORY = 512 << 20  # it needs 20 MB
_POLL_S = 0.2
_LIST_S = 20.0


class Unspeakable(GeneratorFailed):
    """The engine could not speak this text with this voice."""


def say(
    text: str, voice: str, *options: str, what: str, instead: str, timeout_s: float,
    cancelled: Cancelled = never_cancelled, beat: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.float32], int]:  # fmt: skip
    """The text read aloud: samples, and their rate in Hz.

    The text goes through standard input: no shell sees it, and no option can hide in it. ``what``
    names in a message what is to be spoken, ``instead`` what to do without an engine; ``beat`` is
    called while it speaks.

    Raises MissingExtra without the engine, Unspeakable when it refuses, GeneratorFailed when it
    does not end or takes too much, Cancelled.
    """
    program = _program(f"To speak {what}", instead)
    with tempfile.TemporaryDirectory(prefix="avsafe-speech-") as folder:
        path = Path(folder) / "speech.wav"
        process = subprocess.Popen(
            [program, "-v", voice, *options, "-b", "1", "--stdin", "-w", str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            cwd=folder, env=_environment(folder),
        )  # fmt: skip
        try:
            _limit(process.pid, timeout_s)  # it waits for its text, so nothing was done before
            said = _fed(process, as_text(text).encode(), timeout_s, cancelled, beat)
        finally:
            process.kill()
            process.wait()
        if process.returncode or not path.is_file():
            shown = "".join(c for c in said.decode(errors="replace") if c.isprintable())
            raise Unspeakable(f"{ENGINE} ended with {process.returncode}: {shown[-200:].strip()}.")
        return _read(path)


def as_text(text: str) -> str:
    """A text without what the engine would take for commands.

    >>> as_text("a\\x01200Sb [[f@-*Uk]]")
    'a 200Sb [ [f@-*Uk]]'
    """
    kept = ("Cc", "Cs", "Co", "Cn")
    clean = "".join(c if c == "\n" or unicodedata.category(c) not in kept else " " for c in text)
    while "[[" in clean:
        clean = clean.replace("[[", "[ [")
    return clean


@lru_cache(maxsize=4)
def _listed(program: str, of: str) -> tuple[tuple[str, str, str], ...]:
    """Language, name and file of each voice, as the engine lists them."""
    try:
        done = subprocess.run(
            [program, of], capture_output=True, timeout=_LIST_S, check=False,
            stdin=subprocess.DEVNULL, env=_environment("/"),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise GeneratorFailed(f"{ENGINE} did not list its voices.") from error
    rows = (
        line.split(maxsplit=4) for line in done.stdout.decode(errors="replace").splitlines()[1:]
    )
    return tuple(
        (row[1], row[3].replace("_", " ").strip(), row[4].split("  ")[0].strip())
        for row in rows
        if len(row) == 5
    )


def voices(instead: str = "choose another generator") -> dict[str, str]:
    """Language -> name of the voices that the engine has by itself. Raises MissingExtra."""
    rows = _listed(_program("To list voices", instead), "--voices")
    return {language: name for language, name, file in rows if not file.startswith("mb/")}


def variants() -> frozenset[str]:
    """Names that change a voice (``en-us+f2``): throats, ages, manners. Raises MissingExtra."""
    rows = _listed(_program("To list voices", "choose another generator"), "--voices=variant")
    return frozenset(name for *_, file in rows if (name := file.removeprefix("!v/")).isalnum())


def _program(purpose: str, instead: str) -> str:
    program = shutil.which(ENGINE)
    if program is None:
        raise MissingExtra(
            f"{purpose}, the system's speech engine {ENGINE} is needed and is not "
            f"installed. Install it (apt install {ENGINE}), or {instead}."
        )
    return program


def _environment(folder: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder}


def _limit(pid: int, timeout_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        for kind, most in (
            (resource.RLIMIT_CPU, round(timeout_s) + 1),
            (resource.RLIMIT_AS, _MOST_MEMORY),
            (resource.RLIMIT_FSIZE, _MOST_BYTES),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(pid, kind, (most, most))


def _fed(
    process: subprocess.Popen[bytes], text: bytes, timeout_s: float, cancelled: Cancelled,
    beat: Callable[[], None],
) -> bytes:  # fmt: skip
    """Give it the text and wait; what it wrote on stderr."""
    until = time.monotonic() + timeout_s
    given: bytes | None = text
    while True:
        try:
            return process.communicate(given, timeout=_POLL_S)[1]
        except subprocess.TimeoutExpired:
            given = None  # it goes on with what it has
            if time.monotonic() > until:
                raise GeneratorFailed(f"{ENGINE} did not end within {timeout_s:g} s.") from None
            if cancelled():
                raise Stopped(f"{ENGINE} was asked to stop.") from None
            beat()


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
