"""Lines of dialogue by the speech engine of the system (espeak-ng), where there is one.

Legend: sound is (n,) float32 at 48 kHz, mono.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import GeneratorFailed, UsageError
from avsafe_generators import engine
from avsafe_generators.world.sound import RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_LETTERS = 300
_TIMEOUT_S = 30


def spoken(line: str, *, italian: bool = False) -> NDArray[np.float32]:
    """The line as sound at -20 dBFS RMS.

    Raises MissingExtra where the system has no espeak-ng, UsageError for a line that is too long.
    """
    if len(line) > _MOST_LETTERS:
        raise UsageError(
            f"A line of {len(line)} letters is to be spoken; at most {_MOST_LETTERS} are taken. "
            "Shorten it."
        )
    text = "".join(c if c.isprintable() else " " for c in line)
    sound, rate = engine.say(
        text, "it" if italian else "en", "-s", "155", what="a line of the prompt",
        instead="leave the quoted line out of the prompt", timeout_s=_TIMEOUT_S,
    )  # fmt: skip
    from scipy.signal import resample_poly

    shared = gcd(rate, RATE_HZ)
    mono: Any = resample_poly(sound, RATE_HZ // shared, rate // shared) if len(sound) else sound
    rms = float(np.sqrt(np.mean(mono**2))) if len(mono) else 0.0
    if rms < 1e-5:
        raise GeneratorFailed(f"{engine.ENGINE} said nothing for this line.")
    return np.asarray(mono * (0.1 / rms), np.float32)
