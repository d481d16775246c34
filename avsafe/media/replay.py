"""A stream that can be played again: what RawMedia asks of frames and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Replay(Generic[T]):
    """A re-iterable out of a function that starts an iterator.

    >>> twice = Replay(lambda: iter([1, 2]))
    >>> list(twice), list(twice)
    ([1, 2], [1, 2])
    """

    start: Callable[[], Iterator[T]]

    def __iter__(self) -> Iterator[T]:
        return self.start()
