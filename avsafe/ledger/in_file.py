"""The log in an SQLite file: WAL, synchronous=FULL, one writer at a time under a file lock.

SQLite 3.7.0 to 3.51.2 can lose a reset write-ahead log when two connections write or checkpoint in
the same instant.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from avsafe.errors import LedgerError
from avsafe.home import locked
from avsafe.ledger.storage import Row, StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, type TEXT NOT NULL, release_id TEXT NOT NULL,
    leaf BLOB NOT NULL, hash BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entries_release ON entries (release_id, seq);
CREATE TABLE IF NOT EXISTS nodes (
    level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (level, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS open_intents (release_id TEXT PRIMARY KEY, seq INTEGER NOT NULL);
PRAGMA user_version = 1;
"""


def make(path: Path) -> None:
    """A log without entries."""
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.executescript(_SCHEMA)
    file.close()
    path.chmod(0o600)


class FileStorage:
    """A ``Storage`` in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=60.0)
        try:
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                with self.exporting():
                    self._db.execute("PRAGMA journal_mode = WAL")
                    self._db.executescript(_SCHEMA)
                path.chmod(0o600)
            elif version != 1:
                raise LedgerError(f"{path} has ledger format {version}; this avsafe reads 1.")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise LedgerError(f"{path} is not a readable ledger: {error}.") from error
        except BaseException:
            self._db.close()
            raise

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def exported(self) -> Path:
        return self._path.with_name(self._path.stem + ".checkpoints")

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self.exporting():
            self._do("BEGIN IMMEDIATE")
            try:
                yield
                self._do("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._do("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._do("BEGIN")
        try:
            yield
        finally:
            self._do("ROLLBACK")

    @contextmanager
    def exporting(self) -> Iterator[None]:
        try:
            with locked(self._path.with_name(self._path.name + ".lock")):
                yield
        except (TimeoutError, PermissionError) as error:
            raise LedgerError(f"The ledger cannot be locked. {error}") from error

    def holding(self, release_id: str, wait_s: float = 0.0) -> AbstractContextManager[bool]:
        """A file belongs to one machine, where the locks in the staging folder say who lives."""
        return nullcontext(True)

    def first(self, query: str, values: Row = ()) -> Row | None:
        return next(self.stream(query, values), None)

    def all(self, query: str, values: Row = ()) -> list[Row]:
        return list(self.stream(query, values))

    def stream(self, query: str, values: Row = ()) -> Iterator[Row]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise StorageError(f"the file is damaged: {error}") from error

    def run(self, statement: str, values: Row = ()) -> int:
        return self._do(statement, values).rowcount

    def run_many(self, statement: str, rows: Iterable[Row]) -> None:
        try:
            self._db.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._not_written(error) from error

    def close(self) -> None:
        with self.exporting():  # the last connection to close writes the log back
            self._db.close()

    def _do(self, statement: str, values: Row = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._not_written(error) from error

    def _not_written(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"The ledger {self._path} cannot be written: {error}.")
