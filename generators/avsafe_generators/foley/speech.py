"""Lines of dialogue by the speech engine of the system (espeak-ng), where there is one.

Legend: sound is (n,) float32 at 48 kHz, mono.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import GeneratorFailed, MissingExtra, UsageError
from avsafe_generators.world.sound import RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENGINE = "espeak-ng"
_MOST_LETTERS = 300
_TIMEOUT_S = 30
_MOST_BYTES = 32 << 20


def spoken(line: str, *, italian: bool = False) -> NDArray[np.float32]:
    """The line as sound at -20 dBFS RMS.

    The text goes to the program's input, never into its arguments; there is no shell. Raises
    MissingExtra where the system has no espeak-ng, UsageError for a line that is too long.
    """
    program = shutil.which(ENGINE)
    if program is None:
        raise MissingExtra(
            f"The prompt has a line to be spoken, and this system has no {ENGINE}. Install it "
            f"(apt install {ENGINE}), or leave the quoted line out of the prompt."
        )
    if len(line) > _MOST_LETTERS:
        raise UsageError(
            f"A line of {len(line)} letters is to be spoken; at most {_MOST_LETTERS} are taken. "
            "Shorten it."
        )
    plain = "".join(c if c.isprintable() else " " for c in line)
    with tempfile.TemporaryDirectory(prefix="avsafe-") as folder:
        target = Path(folder) / "line.wav"
        argv = [program, "-v", "it" if italian else "en", "-s", "155", "-w", str(target), "--stdin"]
        try:
            done = subprocess.run(
                argv, input=plain.encode(), capture_output=True, timeout=_TIMEOUT_S, check=False,
                cwd=folder, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise GeneratorFailed(f"{ENGINE} did not end within {_TIMEOUT_S} s.") from error
        if done.returncode != 0 or not target.is_file():
            said = done.stderr.decode(errors="replace").strip()[-200:]
            raise GeneratorFailed(f"{ENGINE} ended with {done.returncode}: {said or 'no reason'}.")
        if target.stat().st_size > _MOST_BYTES:
            raise GeneratorFailed(f"{ENGINE} wrote more than {_MOST_BYTES >> 20} MB for one line.")
        return _read(target)


def _read(path: Path) -> NDArray[np.float32]:
    import wave

    from scipy.signal import resample_poly

    with wave.open(str(path)) as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        data = file.readframes(file.getnframes())
    if width != 2 or not data:
        raise GeneratorFailed(f"{ENGINE} wrote no 16-bit sound ({width * 8} bit).")
    mono: Any = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1) / 32768.0
    shared = gcd(rate, RATE_HZ)
    mono = resample_poly(mono, RATE_HZ // shared, rate // shared)
    rms = float(np.sqrt(np.mean(mono**2)))
    if rms < 1e-5:
        raise GeneratorFailed(f"{ENGINE} said nothing for this line.")
    return np.asarray(mono * (0.1 / rms), np.float32)
