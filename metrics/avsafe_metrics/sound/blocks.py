"""Sound cut into equal stretches of time, whatever blocks it came in.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; ``c`` channels, ``n`` samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Stretches:
    """Stretch ``k`` holds the samples from ``round(k * rate / per_s)`` to the next such border, so
    stretches keep time at any rate and do not depend on how the sound was divided.

    >>> stretches = Stretches(44100, 10)
    >>> [s.shape for block in (3000, 3000, 3000) for s in stretches.take(np.zeros((1, block)))]
    [(1, 4410), (1, 4410)]
    >>> stretches.rest().shape
    (1, 180)
    """

    def __init__(self, rate_hz: int, per_s: int) -> None:
        self._rate_hz, self._per_s = rate_hz, per_s
        self._index = 0
        self._held: list[NDArray[Any]] = []
        self._held_n = 0

    def take(self, block: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """All stretches that this block completes."""
        self._held.append(block)
        self._held_n += block.shape[1]
        if self._held_n < self._length():
            return
        joined = np.concatenate(self._held, axis=1) if len(self._held) > 1 else block
        start = 0
        while joined.shape[1] - start >= (length := self._length()):
            yield joined[:, start : start + length]
            start += length
            self._index += 1
        self._held = [joined[:, start:].copy()]
        self._held_n = joined.shape[1] - start

    def rest(self) -> NDArray[Any] | None:
        """What is left, shorter than a stretch; None when nothing is."""
        if not self._held_n:
            return None
        return np.concatenate(self._held, axis=1)

    def _length(self) -> int:
        return max(1, self._border(self._index + 1) - self._border(self._index))

    def _border(self, index: int) -> int:
        return round(index * self._rate_hz / self._per_s)


def decibel(power: float, floor_db: float = -np.inf) -> float:
    """Power (1 is a full-scale square wave) in dB; ``floor_db`` for none.

    >>> decibel(0.01), decibel(0.0, -120.0)
    (-20.0, -120.0)
    """
    return max(floor_db, float(10 * np.log10(power))) if power > 0 else floor_db
