"""Media in a private file that lives as long as somebody can still read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, UnreadableMedia
from avsafe.types import Cancelled

T = TypeVar("T")


class Kept(Generic[T]):
    """A re-iterable that holds the owner of its file, and reports a bad file as its maker's fault.

    >>> list(Kept([1, 2], owner=None, name="cp", cancelled=lambda: False))
    [1, 2]
    """

    def __init__(self, items: Iterable[T], owner: object, name: str, cancelled: Cancelled) -> None:
        self._items, self._owner, self._name = items, owner, name
        self._cancelled = cancelled

    def __iter__(self) -> Iterator[T]:
        try:
            for item in self._items:
                if self._cancelled():
                    raise Stopped(f"Reading the output of {self._name} was asked to stop.")
                yield item
        except UnreadableMedia as error:
            raise GeneratorFailed(f"{self._name} wrote a damaged file: {error}") from error
