"""A PostgreSQL server of the tests' own, from Debian's package, gone when they end.

It keeps nothing (fsync is off) and compares text as a language does, not by its bytes, so that what
depends on the order of SQLite fails here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LACKING = "no PostgreSQL here: apt-get install postgresql; pip install 'psycopg[binary]'"
_SETTINGS = {
    "listen_addresses": "", "fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB",
    "max_connections": "60", "autovacuum": "off", "jit": "off", "wal_level": "minimal",
    "max_wal_senders": "0", "logging_collector": "off", "max_parallel_workers": "0",
}  # fmt: skip


class Cluster:
    """A running server. ``empty`` makes a database, ``fresh`` lends one with tables and no rows."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder, self.user = folder, user
        self._lent: str | None = None

    def url(self, database: str, user: str | None = None) -> str:
        return f"postgresql+psycopg://{user or self.user}@/{database}?host={self.folder}"

    def fresh(self) -> str:
        """The address of a database with the registry's tables, all empty, and no ledger.

        One after the other: what is still connected to it is cut off.
        """
        from avsafe.registry.schema import HEAD, metadata

        if self._lent is None:
            from avsafe.registry.database import Database

            self._lent = self.empty()
            Database.open(self._lent).close()
            return self._lent
        tables = ", ".join(f'"{name}"' for name in metadata.tables)
        for statement in (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            f"TRUNCATE {tables}",
            "DROP SCHEMA IF EXISTS ledger CASCADE",
            f"UPDATE alembic_version SET version_num = '{HEAD}'",  # noqa: S608
        ):
            self.run(statement, self._lent)
        return self._lent

    def empty(self) -> str:
        """The address of a new database without any table."""
        name = f"t{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def wait_until_alone(self, url: str) -> None:
        """Until nobody else is connected to a database."""
        others = (
            "SELECT 1 FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        deadline = time.monotonic() + 20
        while self.run(others, url):
            if time.monotonic() > deadline:
                raise TimeoutError("Somebody stays connected.")
            time.sleep(0.02)

    def run(self, statement: str, url: str | None = None) -> list[tuple[object, ...]]:
        return run_at(url or self.url("postgres"), statement)


def run_at(url: str, statement: str) -> list[tuple[object, ...]]:
    """One statement on a database, and its rows."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


@contextmanager
def cluster() -> Iterator[Cluster | None]:
    """A server for as long as the block; None where it cannot be had."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = found[-1].parent if found else None
    try:
        import psycopg
    except ImportError:
        binaries = None
    if binaries is None:
        yield None
        return
    as_user: dict[str, str] = {}
    folder = Path(tempfile.mkdtemp(prefix="avsafe-pg-", dir="/tmp"))  # a socket's name is short
    if os.geteuid() == 0:  # it does not run as root
        as_user = {"user": "postgres", "group": "postgres"}
        shutil.chown(folder, "postgres", "postgres")
    name = as_user.get("user", "tests")
    quiet = {"stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run(
        [binaries / "initdb", "-D", folder / "data", "-U", name, "-A", "trust", "-N", "-E", "UTF8",
         "--no-instructions", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"],
        check=True, **quiet, **as_user,
    )  # fmt: skip
    settings = [f"-c{key}={value}" for key, value in _SETTINGS.items()]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "QUIT", binaries / "postgres", "-D", folder / "data",
             "-k", folder, *settings],
            stderr=log, **quiet, **as_user,
        )  # fmt: skip
    try:
        made = Cluster(folder, name)
        deadline = time.monotonic() + 60
        while True:
            try:
                made.run("SELECT 1")
                break
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "log").read_text()) from None
                time.sleep(0.05)
        yield made
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
