"""One database for the registry and the service: SQLite by default, PostgreSQL by URL.

Every read sees one state of the database, every write is one transaction. SQLite has WAL,
synchronous=FULL and foreign keys on, and its writers queue at a file lock, because SQLite 3.7.0 to
3.51.2 can lose a reset write-ahead log when two connections write in the same instant. PostgreSQL
writes side by side: what must not overlap takes turns under a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from avsafe.closing import Closing
from avsafe.errors import MissingExtra, RegistryError, UsageError
from avsafe.home import locked
from avsafe.registry import migrate
from avsafe.registry.schema import HEAD

_BUSY_S = 60.0
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(:turn, 0))")


class Database(Closing):
    """Open with ``Database.open``; a context manager. May be shared by threads.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Database.open(Path(folder, "r.db")) as database:
    ...     with database.reading() as connection:
    ...         migrate.version(connection) == HEAD
    True
    """

    def __init__(self, engine: Engine, path: Path | None) -> None:
        self.engine = engine
        self._path = path

    @classmethod
    def open(cls, location: Path | str) -> Database:
        """Open a database, or make one; brings an older one to the newest schema.

        ``location`` is a file, or a database URL such as ``postgresql+psycopg://host/avsafe``.
        Raises RegistryError when it is none of ours, or was written by a newer avsafe.
        """
        path = None if "://" in str(location) else Path(location)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path is not None:
            engine = create_engine(f"sqlite:///{path}")
            event.listen(engine, "connect", _on_connect)
            event.listen(engine, "begin", _on_begin)
        else:
            engine = postgresql_engine(str(location))
        database = cls(engine, path)
        try:
            # Locked: two processes that make one file at once trip over its journal mode.
            with database._queued(), database.reading() as connection:
                found = migrate.version(connection)
            if found != HEAD:
                with database.writing() as connection:
                    migrate.upgrade(connection)
                if path is not None:
                    path.chmod(0o600)
        except BaseException:
            engine.dispose()
            raise
        return database

    @classmethod
    def exists(cls, location: Path | str) -> bool:
        """Whether there is one to be opened; makes nothing. Raises RegistryError."""
        if "://" not in str(location):
            return Path(location).exists()
        return cls.version(location) is not None

    @classmethod
    def version(cls, location: Path | str) -> str | None:
        """The schema that a database has, None when there are no tables; changes nothing. Raises
        RegistryError."""
        if "://" in str(location):
            engine = postgresql_engine(str(location))
        else:
            engine = create_engine(f"sqlite:///file:{location}?mode=ro&uri=true")
        try:
            with _typed(), engine.begin() as connection:
                return migrate.version(connection)
        finally:
            engine.dispose()

    def close(self) -> None:
        with self._queued():  # the last connection to close writes the log back
            self.engine.dispose()

    @property
    def is_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that only reads, from one state. Raises RegistryError."""
        engine = self.engine
        if self.is_postgresql:
            engine = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        with _typed(), engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self, turn: str | None = None) -> Iterator[Connection]:
        """One transaction that writes: alone on SQLite, alone of its ``turn`` on PostgreSQL.

        Raises RegistryError; UsageError for a value that the database cannot hold.
        """
        engine = self.engine.execution_options(avsafe_write=True)
        with self._queued(), _typed(), engine.begin() as connection:
            if turn is not None and self.is_postgresql:
                connection.execute(_TURN, {"turn": turn})
            yield connection

    def by_bytes(self, column: ColumnElement[str]) -> ColumnElement[str]:
        """A text column that compares by its bytes, as SQLite's do, whatever the language of the
        database."""
        return column.collate("C") if self.is_postgresql else column

    def truncate_log(self) -> None:
        """Empty SQLite's write-ahead log, which holds pages as they were before an erasure."""
        if self._path is not None:
            with self._queued(), self.engine.connect() as connection:
                outside = connection.execution_options(isolation_level="AUTOCOMMIT")
                outside.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _queued(self) -> AbstractContextManager[None]:
        return _queue(self._path) if self._path is not None else nullcontext()


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except DataError as error:  # PostgreSQL: a zero byte in a text, a text that is too long
        said = str(error.orig).partition("\n")[0]  # what follows quotes the row
        raise UsageError(f"A value cannot be stored: {said}.") from error
    except IntegrityError as error:
        raise RegistryError(
            f"The registry refuses a duplicate or a stray row: {error.orig}."
        ) from error
    except StatementError as error:
        raise RegistryError(f"The registry cannot be used: {error.orig}.") from error


@contextmanager
def _queue(path: Path) -> Iterator[None]:
    try:
        with locked(path.with_name(path.name + ".lock"), timeout_s=_BUSY_S):
            yield
    except (TimeoutError, PermissionError) as error:
        raise RegistryError(f"The registry cannot be locked. {error}") from error


def postgresql_engine(url: str) -> Engine:
    """Without looking at what is there. Raises MissingExtra."""
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3},
        )
    except ImportError:
        raise MissingExtra(
            "A PostgreSQL database needs psycopg, not installed here: pip install "
            "'avsafe[postgres]'."
        ) from None
    event.listen(engine, "connect", _on_connect_postgresql)
    return engine


def _on_connect_postgresql(driver: Any, _record: Any) -> None:
    """What is acknowledged is on disk, whatever the server's own setting."""
    driver.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    driver.commit()


def _on_connect(driver: Any, _record: Any) -> None:
    driver.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in (
        f"busy_timeout = {int(_BUSY_S * 1000)}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",  # erased personal fields are overwritten
    ):
        driver.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("avsafe_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
