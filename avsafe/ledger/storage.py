"""Where the rows of the log lie. ``Ledger`` speaks one SQL, with ``?`` for values, to any Storage.

Tables: entries (seq, type, release_id, leaf, hash), nodes (level, position, hash), checkpoints
(size, note), head (one, note), open_intents (release_id, seq).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from avsafe.errors import LedgerError

Row = tuple[Any, ...]


class StorageError(LedgerError):
    """The rows cannot be read or written: a damaged file, a database that is gone."""


class Storage(Protocol):
    """Raises StorageError from every call. One instance serves one thread."""

    @property
    def name(self) -> str:
        """For messages; without user and password."""
        ...

    @property
    def exported(self) -> Path:
        """The file beside the keys that checkpoints are copied to."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """A durable transaction that no other writer of this log overlaps."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """What is read inside is one state of the log."""
        ...

    def exporting(self) -> AbstractContextManager[None]:
        """Nobody else on this machine writes the exported file meanwhile."""
        ...

    def holding(self, release_id: str, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        """Be the one process of all machines that makes (or settles) a release; False: another is.

        The hold ends with the process, however it ends, and not before what it had begun to commit
        is committed.
        """
        ...

    def first(self, query: str, values: Row = ()) -> Row | None: ...

    def all(self, query: str, values: Row = ()) -> list[Row]: ...

    def stream(self, query: str, values: Row = ()) -> Iterator[Row]:
        """Row by row, in bounded memory; other calls may come between."""
        ...

    def run(self, statement: str, values: Row = ()) -> int:
        """Returns how many rows it changed."""
        ...

    def run_many(self, statement: str, rows: Iterable[Row]) -> None: ...

    def close(self) -> None: ...
