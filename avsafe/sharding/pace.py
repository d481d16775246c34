"""How far a run is, how fast, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from avsafe.types import Progress

_WINDOW = 200  # the rate is that of so many last tasks: the first wait for processes to start


class Pace:
    """Tells a ``Progress`` after every task.

    >>> said = []
    >>> pace = Pace(3, "files", lambda part, text: said.append(text), clock=iter(range(9)).__next__)
    >>> for _ in range(3):
    ...     pace.step()
    >>> said
    ['files 1 of 3, 1/s, 2 s left', 'files 2 of 3, 1/s, 1 s left', 'files 3 of 3, 1/s']
    """

    def __init__(
        self,
        total: int,
        what: str,
        progress: Progress,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._what, self._progress, self._clock = total, what, progress, clock
        self._ends = deque([clock()], _WINDOW + 1)
        self.finished = 0

    def step(self) -> None:
        self.finished += 1
        self._ends.append(self._clock())
        text = f"{self._what} {self.finished} of {self._total}"
        took_s = self._ends[-1] - self._ends[0]
        if took_s > 0:
            rate = (len(self._ends) - 1) / took_s
            text += f", {rate:.3g}/s"
            if left := self._total - self.finished:
                text += f", {duration(left / rate)} left"
        self._progress(self.finished / self._total, text)


def duration(seconds: float) -> str:
    """
    >>> duration(5), duration(300), duration(90_000)
    ('5 s', '5 min', '25 h')
    """
    for limit, size, name in ((120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds / 3600:.0f} h"
