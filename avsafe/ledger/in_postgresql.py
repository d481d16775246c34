"""The log in a PostgreSQL database, in a schema ``ledger`` of its own, for several machines.

Writers queue at the row of the signed head (SELECT ... FOR UPDATE). A process that makes a release
holds an advisory lock named after it on the very connection that would commit its outcome: when the
server has dropped one it has dropped the other, so who is alive is never a guess.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import LedgerError, MissingExtra
from avsafe.home import database_shown, locked
from avsafe.ledger.storage import Row, StorageError

if TYPE_CHECKING:
    import psycopg

EXPORT_FILE = "ledger.postgresql.checkpoints"
_FORMAT = 1
_ADVISORY_LOCK = 0x61767361666502  # "avsafe" and a number: one process begins a log
# Text by its bytes, as in the other storage: "the ids that begin so" must not depend on a language.
_SCHEMA = """
CREATE SCHEMA ledger;
CREATE TABLE ledger.entries (
    seq BIGINT PRIMARY KEY, type TEXT NOT NULL, release_id TEXT COLLATE "C" NOT NULL,
    leaf BYTEA NOT NULL, hash BYTEA NOT NULL);
CREATE INDEX entries_release ON ledger.entries (release_id, seq);
CREATE TABLE ledger.nodes (
    level INTEGER NOT NULL, position BIGINT NOT NULL, hash BYTEA NOT NULL,
    PRIMARY KEY (level, position));
CREATE TABLE ledger.checkpoints (size BIGINT PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE ledger.head (one INTEGER PRIMARY KEY CHECK (one = 1), note TEXT NOT NULL);
CREATE TABLE ledger.open_intents (
    release_id TEXT COLLATE "C" PRIMARY KEY, seq BIGINT NOT NULL);
CREATE TABLE ledger.format (version INTEGER NOT NULL);
"""
# A machine that vanishes is known to be gone after a minute, not after two hours.
_SESSION = """
SELECT set_config('search_path', 'ledger', false),
       set_config('tcp_keepalives_idle', '30', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit')
           WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""
_STREAMED = 2000  # rows fetched at once
_REACH_S = 20


def exists(url: str) -> bool:
    """Whether a log was begun there; makes nothing. Raises StorageError."""
    with _connected(url) as connection:
        found = connection.execute("SELECT to_regclass('ledger.format')").fetchone()
        return found is not None and found[0] is not None


def schema() -> tuple[str, ...]:
    """Statements that make a log without entries, and without a head."""
    made = [one.strip() for one in _SCHEMA.split(";") if one.strip()]
    return (*made, f"INSERT INTO ledger.format VALUES ({_FORMAT})")  # noqa: S608


def _connected(url: str) -> psycopg.Connection[Row]:
    try:
        import psycopg
    except ImportError:
        raise MissingExtra(
            "A ledger in PostgreSQL needs psycopg, not installed here: pip install "
            "'avsafe[postgres]'."
        ) from None
    address = "postgresql://" + url.partition("://")[2]
    try:
        connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=_REACH_S,
            keepalives_idle=30,  # a server that vanished is noticed, too
            keepalives_interval=10,
            keepalives_count=3,
        )
        connection.execute(_SESSION)
    except psycopg.Error as error:
        raise StorageError(
            f"The ledger in {database_shown(url)} cannot be reached: {error}."
        ) from error
    return connection


class PostgresqlStorage:
    """A ``Storage`` in a database.

    ``first_head`` makes the signed head of an empty log; it is called once in the life of a log.
    """

    def __init__(self, url: str, exported: Path, first_head: Callable[[bool], str]) -> None:
        self._url = url
        self._exported = exported
        self.name = f"in {database_shown(url)}"
        self._held: set[str] = set()
        self._streams = 0
        self._db = _connected(url)
        import psycopg

        self._error = psycopg.Error
        try:
            self._begin(first_head)
        except BaseException:
            self._db.close()
            raise

    def _begin(self, first_head: Callable[[bool], str]) -> None:
        with self._typed(), self._db.transaction():
            self._db.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))
            known = self._db.execute("SELECT to_regclass('ledger.format')").fetchone()
            fresh = known is None or known[0] is None
            note = first_head(fresh)
            if fresh:
                self._db.execute(_SCHEMA)
                self._db.execute("INSERT INTO ledger.head VALUES (1, %s)", (note,))
                self._db.execute("INSERT INTO ledger.format VALUES (%s)", (_FORMAT,))
                return
            version = self._db.execute("SELECT version FROM ledger.format").fetchone()
            if version != (_FORMAT,):
                found = version[0] if version else "none"
                raise LedgerError(
                    f"The ledger {self.name} has format {found}; this avsafe reads {_FORMAT}."
                )

    @property
    def exported(self) -> Path:
        return self._exported

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._reconnect()
        with self._typed(), self._db.transaction():
            self._db.execute("SELECT 1 FROM head FOR UPDATE")
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._reconnect()
        with self._typed(), self._db.transaction():
            self._db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    @contextmanager
    def exporting(self) -> Iterator[None]:
        self._exported.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with locked(self._exported.with_name(self._exported.name + ".lock")):
                yield
        except (TimeoutError, PermissionError) as error:
            raise LedgerError(f"The exported checkpoints cannot be locked. {error}") from error

    @contextmanager
    def holding(self, release_id: str, wait_s: float = 0.0) -> Iterator[bool]:
        if release_id in self._held:
            yield False
            return
        self._reconnect(look=True)
        deadline = time.monotonic() + wait_s
        while not (taken := self._advisory("pg_try_advisory_lock", release_id)):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.02)
        if not taken:
            yield False
            return
        self._held.add(release_id)
        try:
            yield True
        finally:
            self._held.discard(release_id)
            with suppress(StorageError):  # a connection that is gone holds nothing
                if not self._db.closed:
                    self._advisory("pg_advisory_unlock", release_id)

    def _advisory(self, function: str, release_id: str) -> bool:
        query = f"SELECT {function}(hashtextextended('avsafe release ' || %s, 0))"
        with self._typed():
            row = self._db.execute(query, (release_id,)).fetchone()
        return bool(row and row[0])

    def first(self, query: str, values: Row = ()) -> Row | None:
        with self._typed():
            return self._run(query, values).fetchone()

    def all(self, query: str, values: Row = ()) -> list[Row]:
        with self._typed():
            return self._run(query, values).fetchall()

    def stream(self, query: str, values: Row = ()) -> Iterator[Row]:
        self._reconnect()
        self._streams += 1
        with (
            self._typed(),
            self._db.cursor(name=f"s{self._streams}", withhold=True) as cursor,
        ):
            cursor.itersize = _STREAMED
            cursor.execute(_numbered(query), values)
            yield from cursor

    def run(self, statement: str, values: Row = ()) -> int:
        with self._typed():
            return self._run(statement, values).rowcount

    def run_many(self, statement: str, rows: Iterable[Row]) -> None:
        for row in rows:  # one or two
            self.run(statement, row)

    def close(self) -> None:
        self._db.close()

    def _run(self, statement: str, values: Row) -> psycopg.Cursor[Row]:
        self._reconnect()
        return self._db.execute(_numbered(statement), values)

    def _reconnect(self, look: bool = False) -> None:
        """Open another connection when this one is gone; ``look``: find out first.

        Not while a release is being made: the hold on it went with the connection.
        """
        if look and not self._held and not self._db.closed:
            try:
                self._db.execute("SELECT 1")
            except self._error:
                self._db.close()
        if not self._db.closed:
            return
        if self._held:
            raise StorageError(
                f"The connection to the ledger {self.name} was lost while a release was made."
            )
        self._db = _connected(self._url)

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise StorageError(f"The ledger {self.name} cannot be used: {error}.") from error


def _numbered(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()
