"""From timestamps to a constant frame rate, and from two streams to one time zero. Pure functions.

Legend: times in seconds; ``k`` counts frames of the constant-rate output, shown at ``k / rate``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_SAME = (
    0.02  # a declared rate within 2 % of the measured one is the file's rate (23.976 ~ 24: 0.1 %)
)
_JITTER = 0.25  # of a frame: a Matroska file rounds to 1 ms, which is 0.06 of a frame at 60/s


def choose_rate(
    times_s: NDArray[np.float64], declared: Fraction | None, max_rate: float
) -> Fraction:
    """The constant rate for frames shown at ``times_s``, sorted.

    The declared rate when the typical step agrees with it; otherwise the inverse of the median
    step, so that a film with a few long pauses keeps the rate of its motion.

    >>> choose_rate(__import__("numpy").array([0, 0.04, 0.08, 0.12]), Fraction(25), 240)
    Fraction(25, 1)
    """
    import numpy as np

    usable = declared if declared and 0 < declared <= max_rate else None
    steps = np.diff(times_s)
    steps = steps[steps > 1e-6]  # equal timestamps say nothing of the rate
    if len(steps) == 0:
        return usable or Fraction(25)  # one frame: any rate shows it
    measured = 1.0 / float(np.median(steps))
    if usable and abs(float(usable) / measured - 1) < _SAME:
        return usable
    measured = min(max(measured, 0.001), max_rate)
    nearest = Fraction(round(measured))
    if nearest and abs(float(nearest) / measured - 1) < 0.001:
        return nearest
    return Fraction(measured).limit_denominator(1001)  # 1001: the NTSC family


def is_variable(times_s: NDArray[np.float64], rate: Fraction) -> bool:
    """Whether frames at these times need frames repeated or left out to become constant."""
    import numpy as np

    if len(times_s) < 2:
        return False
    offset = (times_s - times_s[0]) * float(rate)
    return bool(np.max(np.abs(offset - np.arange(len(offset)))) > 0.5 + _JITTER)


def common_zero(video_s: float | None, audio_s: float | None, rate: Fraction | None) -> float:
    """The time in the file that becomes 0.

    The first frame, when there are pictures. When the sound begins more than half a frame earlier,
    zero moves back by whole frame periods (the first frame is then held), so that frames stay on
    their grid and no more than half a frame of sound is cut.
    """
    if video_s is None or rate is None:
        return audio_s or 0.0
    if audio_s is None:
        return video_s
    return video_s - held_frames(video_s, audio_s, rate) / float(rate)


def held_frames(video_s: float, audio_s: float, rate: Fraction) -> int:
    """How many times the first frame is repeated at the start because the sound begins earlier."""
    early = (video_s - audio_s) * float(rate)
    return max(0, math.ceil(early - 0.5))


class Retimer(Generic[T]):
    """Puts frames with timestamps on a constant grid: repeats across gaps, drops what has no slot.

    >>> retimer = Retimer(Fraction(10))
    >>> retimer.push(0.0, "a"), retimer.push(0.1, "b"), retimer.push(0.4, "c"), retimer.finish()
    ([], [('a', 1)], [('b', 3)], [('c', 1)])
    """

    def __init__(self, rate: Fraction) -> None:
        self._rate = float(rate)
        self._next = 0  # the next slot to be given out
        self._due = 0  # the slot of the held frame by its own time
        self._held: T | None = None
        self.repeated = 0
        self.dropped = 0

    def push(self, time_s: float, frame: T) -> list[tuple[T, int]]:
        """Take a frame shown from ``time_s``; returns finished frames, each with its count."""
        slot = round(time_s * self._rate)
        held, self._held = self._held, frame
        self._due = slot
        if held is None:
            return []  # the first frame fills the grid from slot 0
        count = slot - self._next
        if count <= 0:
            self.dropped += 1
            return []
        self.repeated += count - 1
        self._next = slot
        return [(held, count)]

    def finish(self) -> list[tuple[T, int]]:
        """The last frame, shown for one period."""
        if self._held is None:
            return []
        held, self._held = self._held, None
        count = max(0, self._due - self._next) + 1  # more than 1 only for a single, late frame
        self._next += count
        return [(held, count)]
