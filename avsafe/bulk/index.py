"""The files of one run and where their answers are, in a private file that SQLite deletes: memory
does not grow with the number of files, and answers come out in the order of paths.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from avsafe.bulk.listing import Found, size_of

_PAGE = 500
_ALIKE = 100  # hashes that a task carries: of a million files of one size and other bytes, not all
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE files (path BLOB PRIMARY KEY, named BLOB, stamp TEXT, place INTEGER) WITHOUT ROWID;
CREATE TABLE problems (path BLOB PRIMARY KEY, named BLOB, why TEXT) WITHOUT ROWID;
CREATE TABLE known (size INTEGER, suffix BLOB, sha256 TEXT, place INTEGER,
                    PRIMARY KEY (size, suffix, sha256)) WITHOUT ROWID;
"""


class Index:
    """Paths are kept as the bytes that they are. ``place``: where a row begins in the manifest."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    def add(self, files: Iterable[Found]) -> None:
        """Files of this run; the first name of a path stands."""
        self._many(
            "INSERT OR IGNORE INTO files VALUES (?, ?, ?, NULL)",
            ((os.fsencode(f.path), os.fsencode(f.named), f.stamp) for f in files),
        )

    def problem(self, named: str, why: str) -> None:
        """What cannot be looked at, and why."""
        row = (os.fsencode(os.path.abspath(named)), os.fsencode(named), why)
        self._database.execute("INSERT OR IGNORE INTO problems VALUES (?, ?, ?)", row)

    def answers(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """(path, stamp, place) of answers that stand if the file has that stamp."""
        self._many(
            "UPDATE files SET place = ? WHERE path = ? AND stamp = ?",
            ((place, os.fsencode(path), stamp) for path, stamp, place in rows),
        )

    def answer(self, path: str, place: int) -> None:
        """An answer that was just found."""
        row = (place, os.fsencode(path))
        self._database.execute("UPDATE files SET place = ? WHERE path = ?", row)

    def know(self, path: str, stamp: str, sha256: str, place: int) -> None:
        """An answer that is as good for any file of the same bytes and suffix."""
        row = (size_of(stamp), _suffix(path), sha256, place)
        self._database.execute("INSERT OR IGNORE INTO known VALUES (?, ?, ?, ?)", row)

    def known(self, path: str, stamp: str) -> tuple[str, ...]:
        """SHA-256 of files like this one by size and suffix, to which there is an answer."""
        asked = "SELECT sha256 FROM known WHERE size = ? AND suffix = ? LIMIT ?"
        row = (size_of(stamp), _suffix(path), _ALIKE)
        return tuple(sha256 for (sha256,) in self._database.execute(asked, row))

    def place_of(self, path: str, stamp: str, sha256: str) -> int:
        """Where the answer to these bytes is."""
        asked = "SELECT place FROM known WHERE size = ? AND suffix = ? AND sha256 = ?"
        (place,) = self._database.execute(asked, (size_of(stamp), _suffix(path), sha256)).fetchone()
        return int(place)

    def count(self) -> int:
        """All files of the run."""
        return self._number("SELECT count(*) FROM files")

    def waiting(self) -> int:
        """Files without an answer."""
        return self._number("SELECT count(*) FROM files WHERE place IS NULL")

    def unanswered(self) -> Iterator[tuple[str, str]]:
        """(path, stamp) in order, a page at a time: answers may come in meanwhile."""
        last = b""
        asked = (
            "SELECT path, stamp FROM files WHERE path > ? AND place IS NULL ORDER BY path LIMIT ?"
        )
        while page := self._database.execute(asked, (last, _PAGE)).fetchall():
            yield from ((os.fsdecode(path), stamp) for path, stamp in page)
            last = page[-1][0]

    def ends(self) -> tuple[str, ...]:
        """The first and the last file without an answer."""
        asked = "SELECT min(path), max(path) FROM files WHERE place IS NULL"
        return tuple(os.fsdecode(path) for path in self._database.execute(asked).fetchone() if path)

    def in_order(self) -> Iterator[tuple[str, int]]:
        """(name, place) of every answer, in the order of paths."""
        asked = "SELECT named, place FROM files WHERE place IS NOT NULL ORDER BY path"
        for named, place in self._database.execute(asked):
            yield os.fsdecode(named), place

    def problems(self) -> Iterator[tuple[str, str]]:
        """(name, reason) in the order of paths."""
        for named, why in self._database.execute("SELECT named, why FROM problems ORDER BY path"):
            yield os.fsdecode(named), why

    def _number(self, asked: str) -> int:
        (found,) = self._database.execute(asked).fetchone()
        return int(found)

    def _many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")


def _suffix(path: str) -> bytes:
    """A name that belies the content is a part of some answers."""
    return os.fsencode(PurePath(path).suffix.lower())
