"""Registry and ledger as they stood at one moment, on one connection: the log's tables go by
``ledger.NAME`` on either engine, a schema in PostgreSQL and an attached file in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, text

from avsafe.errors import BackupError
from avsafe.home import Home, locked
from avsafe.registry.database import Database

T = TypeVar("T")


@contextmanager
def moment(home: Home, at_it: Callable[[Connection], T]) -> Iterator[tuple[Connection, T]]:
    """A transaction that only reads, and what ``at_it`` found while nobody could write.

    With SQLite both files are locked until the transaction has begun in both, for milliseconds;
    writers go on while it is read. Raises BackupError when they cannot be locked.
    """
    with Database.open(home.database) as database:
        if database.is_postgresql:
            with database.reading() as connection:
                yield connection, at_it(connection)
            return
        connection = database.engine.connect()
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101
        try:
            with _both(home):
                if home.ledger.exists():
                    driver.execute("ATTACH DATABASE ? AS ledger", (str(home.ledger),))
                connection.exec_driver_sql("SELECT 1 FROM alembic_version").all()
                if has_log(connection):
                    connection.exec_driver_sql("SELECT 1 FROM ledger.head").all()
                found = at_it(connection)
            yield connection, found
        finally:
            connection.rollback()
            with _both(home):  # whoever closes a file last writes its log back
                if home.ledger.exists():
                    driver.execute("DETACH DATABASE ledger")
                connection.close()


def has_log(connection: Connection) -> bool:
    if connection.dialect.name == "postgresql":
        return connection.execute(text("SELECT to_regclass('ledger.format')")).scalar() is not None
    known = connection.exec_driver_sql("PRAGMA database_list").all()
    return any(name == "ledger" for _, name, _ in known)


@contextmanager
def _both(home: Home) -> Iterator[None]:
    with ExitStack() as held:
        for path in (home.registry, home.ledger):
            try:
                held.enter_context(locked(beside(path)))
            except (TimeoutError, PermissionError) as error:
                raise BackupError(f"The databases cannot be locked. {error}") from error
        yield


def beside(path: Path) -> Path:
    """The lock of a database in a file."""
    return path.with_name(path.name + ".lock")
