"""Bring a database to the newest schema. Alembic is imported only when there is something to do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from avsafe.errors import RegistryError
from avsafe.registry.schema import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x61767361666501  # "avsafe" and a number: one upgrade at a time on PostgreSQL


def version(connection: Connection) -> str | None:
    """The schema version of a database; None for an empty one."""
    if connection.dialect.name == "sqlite":
        query = text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
        known = connection.execute(query).first() is not None
    else:
        known = inspect(connection).has_table("alembic_version")
    if not known:
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(connection: Connection, to: str = HEAD) -> None:
    """Run the missing migrations up to ``to``, all in the connection's open transaction.

    Raises RegistryError when the database was written by a newer avsafe.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    found = version(connection)
    if found == to:  # another process was first
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError as error:
        raise RegistryError(
            f"The registry has schema version {found}, this avsafe knows up to {HEAD}. "
            "Use the avsafe that wrote it, or a newer one."
        ) from error
