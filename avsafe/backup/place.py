"""Where an archive goes: room in the home, databases to load into, and the moves at the end."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from avsafe.backup import making
from avsafe.backup.moment import beside, has_log
from avsafe.errors import BackupError, UsageError
from avsafe.home import RESTORING, Home, locked, write_private
from avsafe.ledger import in_file, in_postgresql
from avsafe.ledger.storage import Row
from avsafe.registry import migrate
from avsafe.registry.database import Database
from avsafe.registry.schema import HEAD, metadata

KEPT = "before-restore-"


@dataclass
class Room:
    """``names`` of what is there, which goes into the folder ``name`` first."""

    name: str
    over: bool
    names: list[str] = field(default_factory=list)


def make_room(home: Home, over: bool) -> Room:
    """See that nothing is in the way. Raises UsageError when something is and may not be moved, or
    when somebody uses it."""
    room = Room(f"{KEPT}{datetime.now(UTC):%Y%m%dT%H%M%SZ}", over)
    room.names = sorted(path.name for path in home.root.iterdir() if _counts(path))
    url = home.database if isinstance(home.database, str) else None
    held = url is not None and _holds(url)
    if (room.names or held) and not over:
        there = ", ".join([*room.names, *(["the database"] if held else [])])
        raise UsageError(
            f"{home.root} is not empty ({there}). Restore into an empty one, or with --replace: "
            f"what is there then moves to {KEPT}..."
        )
    for path in (home.registry, home.ledger):
        if path.name in room.names:
            _alone(path)
    if url is not None and held:
        _alone_in_postgresql(url)
        (home.root / room.name).mkdir(mode=0o700)
        with (home.root / room.name / "database.tar").open("xb") as copy:
            making.back_up(home, copy, objects=False)
    return room


def _counts(path: Path) -> bool:
    name = path.name
    if name == "keys" or name.endswith(".lock") or name.startswith((".", KEPT)):
        return False
    return not path.is_dir() or name == "index" or any(path.iterdir())


def _holds(url: str) -> bool:
    if not Database.exists(url):
        return False
    with Database.open(url) as database, database.reading() as connection:
        if has_log(connection):
            return True
        tables = [t for t in metadata.sorted_tables if t.name != "fingerprint_numbering"]
        return any(connection.execute(t.select().limit(1)).first() for t in tables)


def _alone(path: Path) -> None:
    """Raises UsageError when another process has the file open; SQLite gives up its write-ahead log
    to the last one only, and the file is whole in itself then."""
    try:
        with locked(beside(path), timeout_s=5), closing(sqlite3.connect(path, timeout=1)) as file:
            mode = file.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    except (sqlite3.Error, TimeoutError):
        mode = ""
    if mode != "delete":
        raise UsageError(f"{path} is in use. Stop the service and its workers first.")


def _alone_in_postgresql(url: str) -> None:
    with Database.open(url) as database, database.reading() as connection:
        others = connection.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    if others:
        raise UsageError(
            f"{others} others are connected to the database. Stop the service and its workers."
        )


class Target:
    """A connection in a transaction, to databases that are to become the home's."""

    def __init__(self, connection: Connection, files: tuple[Path, Path] | None) -> None:
        self.connection, self._files = connection, files
        self._mark = "?" if files else "%s"

    def begin(self, schema: str) -> None:
        """Empty tables as the archive's avsafe had them, and a log without entries."""
        if not re.fullmatch(r"\d{4}", schema) or schema > HEAD:
            raise BackupError(
                f"The backup has schema version {schema!r}, this avsafe knows up to {HEAD}: use "
                "the avsafe that wrote it, or a newer one."
            )
        if self._files is None:
            metadata.drop_all(self.connection)
            for statement in (
                "DROP TABLE IF EXISTS alembic_version",
                "DROP SCHEMA IF EXISTS ledger CASCADE",
                *in_postgresql.schema(),
            ):
                self.connection.exec_driver_sql(statement)
        migrate.upgrade(self.connection, to=schema)

    def put(self, statement: str, values: list[Row]) -> None:
        """Execute for each of ``values``."""
        if values:
            self.connection.exec_driver_sql(statement.replace("?", self._mark), values)

    def complete(self, *, with_log: bool) -> None:
        """Bring the tables to what this avsafe has."""
        migrate.upgrade(self.connection)
        if not with_log and self._files is None:
            self.connection.exec_driver_sql("DROP SCHEMA ledger CASCADE")
        self._with_log = with_log

    @property
    def head(self) -> str | None:
        """By which it is known whether PostgreSQL committed; None for files."""
        if self._files is not None or not self._with_log:
            return None
        row = self.connection.execute(text("SELECT note FROM ledger.head")).first()
        return str(row[0]) if row else None

    def keep(self, written: Callable[[], None]) -> None:
        """Commit; ``written`` notes the moves: after files are whole, before a server commits."""
        if self._files is None:
            written()
            self.connection.commit()
            return
        self.connection.commit()
        self.connection.close()
        for path in self._files:
            path.chmod(0o600)
        if not self._with_log:
            self._files[1].unlink()
        written()


@contextmanager
def target(home: Home, folder: Path) -> Iterator[Target]:
    """The database in the environment, or files in ``folder`` under their names in the home."""
    if not isinstance(home.database, str):
        with scratch(folder, home) as made:
            yield made
        return
    from avsafe.registry.database import postgresql_engine

    engine = postgresql_engine(home.database)
    try:
        with engine.connect() as connection:
            yield Target(connection, None)
    except SQLAlchemyError as error:
        raise BackupError(
            f"The database refuses the backup ({type(error).__name__}: "
            f"{type(getattr(error, 'orig', error)).__name__})."
        ) from None
    finally:
        engine.dispose()


@contextmanager
def scratch(folder: Path, home: Home | None = None) -> Iterator[Target]:
    """Databases in files of ``folder``."""
    home = home or Home(folder)
    registry, ledger = folder / home.registry.name, folder / home.ledger.name
    in_file.make(ledger)
    engine = create_engine(f"sqlite:///{registry}")

    def on_connect(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None  # transactions are begun below, not by the driver
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("ATTACH DATABASE ? AS ledger", (str(ledger),))

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    connection = engine.connect()
    try:
        yield Target(connection, (registry, ledger))
    finally:
        connection.close()
        engine.dispose()


def note(home: Home, staging: Path, moves: list[tuple[str, str]], into: Target) -> None:
    """Write the moves down: from here on the restore is completed, not undone."""
    body = {"staging": staging.name, "moves": moves, "head": into.head}
    write_private(home.root / RESTORING, json.dumps(body).encode())


def finish(home: Home) -> bool:
    """Make the moves that a restore did not come to; False when there is nothing to finish."""
    path = home.root / RESTORING
    if not path.exists():
        return False
    body = json.loads(path.read_bytes())
    if body["head"] is None or _committed(home, body["head"]):
        for source, name in body["moves"]:
            here, there = home.root / source, home.root / name
            if here.exists():
                there.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                here.rename(there)
    shutil.rmtree(home.root / body["staging"], ignore_errors=True)
    path.unlink()
    return True


def _committed(home: Home, head: str) -> bool:
    if not isinstance(home.database, str) or not Database.exists(home.database):
        raise UsageError("This restore went into a database: set AVSAFE_DATABASE_URL as it was.")
    with Database.open(home.database) as database, database.reading() as connection:
        if not has_log(connection):
            return False
        return connection.execute(text("SELECT note FROM ledger.head")).scalar() == head
