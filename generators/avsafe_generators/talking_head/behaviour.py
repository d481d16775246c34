"""What is not learned: where the eyes look, and the least number of blinks.

The landmarks that the model learned from know no irises, so gaze is a rule: the eyes hold their
target while the head turns (the vestibulo-ocular reflex) and jump to another one from time to time.

Legend: angles in radians, to the right and up; times in seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.talking_head import anatomy

_REFLEX = 0.75  # of the head's turn is taken back by the eyes
_STAY_S = (0.7, 2.6)  # a target is looked at this long, from end to end of an even spread
_SACCADE_S = 0.06
_WANDER = np.radians([2.2, 1.2])  # spread of targets around the one asked for
_LONGEST_S = (3.5, 6.5)  # without a blink; adults blink 10 to 20 times a minute
# closing is faster than opening: time in s, share closed
_SHUT_AT = np.array([0.0, 0.08, 0.12, 0.28])
_SHUT = np.array([0.0, 1.0, 1.0, 0.0])


class Rest:
    """Asked frame by frame, in order of time; one instance is one pass."""

    def __init__(self, seed: int, blink: float, target: tuple[float, float]) -> None:
        """``blink``: 0 none, 1 as people do, 2 twice as often. ``target``: angles looked at."""
        self._rng = np.random.default_rng([seed % 2**63, 7001])
        self._blink, self._target = blink, np.array(target)
        self._from = self._to = self._target
        self._moved_s, self._until_s = -1.0, 0.0
        self._blinked_s = -float(self._rng.uniform(0.5, 3.5))
        self._wait_s = self._longest()
        self._shut_s = -1.0

    def at(
        self, time_s: float, latent: NDArray[Any], scale: NDArray[Any]
    ) -> tuple[float, NDArray[np.float64]]:
        """The blink latent, and the angles of the eyes in the head (2,)."""
        if time_s >= self._until_s:
            self._from, self._moved_s = self._to, time_s
            self._to = self._target + self._rng.normal(size=2) * _WANDER
            self._until_s = time_s + float(self._rng.uniform(*_STAY_S))
        share = float(np.clip((time_s - self._moved_s) / _SACCADE_S, 0, 1))
        eyes = self._from + share * (self._to - self._from)
        eyes = eyes - _REFLEX * latent[:2] * scale[:2]
        return self._lids(
            time_s, float(latent[anatomy.BLINK]) * float(scale[anatomy.BLINK])
        ) / float(scale[anatomy.BLINK]), np.asarray(eyes, np.float64)

    def _lids(self, time_s: float, closed: float) -> float:
        if self._blink <= 0:
            return 0.0
        # what the network leaves between blinks is noise: lids that droop a little
        closed = float(np.clip((closed - 0.18) / 0.6, 0, 1))
        if closed > 0.5:
            self._blinked_s, self._wait_s = time_s, self._longest()
        elif time_s - self._blinked_s > self._wait_s:
            self._shut_s = self._blinked_s = time_s
            self._wait_s = self._longest()
        since = time_s - self._shut_s if self._shut_s >= 0 else 9.0
        return max(closed, float(np.interp(since, _SHUT_AT, _SHUT, right=0.0)))

    def _longest(self) -> float:
        return float(self._rng.uniform(*_LONGEST_S)) / max(self._blink, 0.1)
