"""A clip under edit: frames with the mask that belongs to each, and its sound, both re-iterable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Frame

F32 = NDArray[np.float32]
Pair = tuple[Frame, F32 | None]  # a frame and its mask (h, w) in 0..1
Source = Callable[[], Iterator[Pair]]
Sound = Callable[[], F32]  # (c, n) in -1..1


@dataclass(frozen=True)
class Clip:
    pairs: Source
    rate: Fraction
    count: int
    width: int
    height: int
    sound: Sound | None = None
    rate_hz: int = 0
    channels: int = 0

    @property
    def seconds(self) -> float:
        return float(self.count / self.rate)

    def samples_at(self, frame: float) -> int:
        """The sample at which a frame begins."""
        return round(float(frame / self.rate) * self.rate_hz)
