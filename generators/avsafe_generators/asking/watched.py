"""Frames or blocks that report progress and stop when asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from avsafe.errors import Cancelled as Stopped
from avsafe.types import Cancelled, Progress, never_cancelled, no_progress

T = TypeVar("T")


class Beat:
    """A Progress that can say again where it is: for work that reads much before its next item.

    >>> beat = Beat(lambda fraction, stage: print(fraction, stage))
    >>> beat(0.5, "frames"); beat.again()
    0.5 frames
    0.5 frames
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last = progress, (0.0, "reading")

    def __call__(self, fraction: float, stage: str) -> None:
        self._last = (fraction, stage)
        self._progress(fraction, stage)

    def again(self) -> None:
        self._progress(*self._last)


class Watched(Generic[T]):
    """A re-iterable: ``start`` begins a new pass; before each item ``cancelled`` is asked, after it
    ``progress`` told. ``span`` is the part of the whole work that these items are.

    >>> list(Watched(lambda: iter("ab"), 2))
    ['a', 'b']
    """

    def __init__(
        self,
        start: Callable[[], Iterator[T]],
        count: int | None,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
        *,
        stage: str = "frames",
        span: tuple[float, float] = (0.1, 1.0),
    ) -> None:
        self._start, self._count, self._stage, self._span = start, count, stage, span
        self._progress, self._cancelled = progress, cancelled

    def __iter__(self) -> Iterator[T]:
        low, high = self._span
        items, done = self._start(), 0
        while True:
            if self._cancelled():
                raise Stopped(f"Asked to stop before {self._stage} {done + 1}.")
            item = next(items, None)
            if item is None:
                break
            done += 1
            # without a count: half of what is left for every 100 items, never the end
            share = done / self._count if self._count else 1 - 0.5 ** (done / 100)
            self._progress(low + (high - low) * min(1.0, share), self._stage)
            yield item
        self._progress(high, self._stage)
