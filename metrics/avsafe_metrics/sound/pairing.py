"""A sound and its reference, side by side.

Legend: both are ``(n,)`` float32 mono at 16 kHz, as the pass gathers them (mean of the channels,
resampled by FFmpeg's swresample), so files of any rate and number of channels compare.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Gathered

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
MISMATCH_MS = 50.0
PART_S = 30.0  # longer sounds are scored in equal parts


def pair(
    gathered: Gathered, least_s: float, role: str = "reference"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sound and reference, cut to the shorter. They start together; nothing is shifted.

    Raises ``Unscorable`` when their lengths differ by more than 50 ms, when they are shorter than
    ``least_s``, and when one is digital silence.
    """
    clip, other = gathered.mono16k, gathered.beside_mono16k
    if clip is None or other is None:
        raise Unscorable("the clip has no sound" if clip is None else f"the {role} has no sound")
    mismatch_ms = 1000 * abs(clip.size - other.size) / RATE_HZ
    if mismatch_ms > MISMATCH_MS:
        raise Unscorable(
            f"{clip.size / RATE_HZ:.2f} s of sound, {other.size / RATE_HZ:.2f} s in the {role}: "
            f"lengths may differ by {MISMATCH_MS:g} ms. Cut both to the same part."
        )
    n = min(clip.size, other.size)
    if n < least_s * RATE_HZ:
        raise Unscorable(f"{n / RATE_HZ:.2f} s of sound: this needs {least_s:g} s")
    clip = clip if clip.size == n else clip[:n]  # the same array: what is known of it stays
    other = other if other.size == n else other[:n]
    for sound, name in ((clip, "sound"), (other, role)):
        if not np.any(sound):
            raise Unscorable(f"the {name} is digital silence")
    return clip, other


def parts(n: int, longest_s: float = PART_S, rate_hz: int = RATE_HZ) -> list[slice]:
    """``n`` samples as equal parts of at most ``longest_s``.

    >>> parts(100, 40, 1)
    [slice(0, 33, None), slice(33, 67, None), slice(67, 100, None)]
    """
    count = max(1, -(-n // round(longest_s * rate_hz)))
    borders = [round(index * n / count) for index in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(borders)]


def magnitudes(
    x: NDArray[Any], frame: int, hop: int, window: int, first: int, count: int
) -> NDArray[np.float64]:
    """``(count, frame // 2 + 1)``: magnitudes of frames ``first`` to ``first + count`` of ``(n,)``,
    Hann window of ``window`` samples amid each, no padding. Frame ``i`` starts at ``i * hop``.
    """
    hann = np.zeros(frame)
    start = (frame - window) // 2
    hann[start : start + window] = np.hanning(window + 1)[:-1]
    views = np.lib.stride_tricks.sliding_window_view(x, frame)[first * hop :: hop][:count]
    return np.abs(np.fft.rfft(views * hann, axis=1))


def frames_in(n: int, frame: int, hop: int) -> int:
    """How many whole frames fit.

    >>> frames_in(10, 4, 2), frames_in(3, 4, 2)
    (4, 0)
    """
    return max(0, (n - frame) // hop + 1)
