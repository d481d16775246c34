"""Migrations end in the schema that the code declares, and PostgreSQL would accept it."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from avsafe.registry import Registry
from avsafe.registry.database import Database
from avsafe.registry.migrate import MIGRATIONS
from avsafe.registry.schema import HEAD, api_keys, metadata, sessions
from avsafe.server.people import People


def test_the_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrations_make_what_the_code_declares(database_at: Path | str) -> None:
    with (
        Registry.open(database_at) as registry,
        registry.database.engine.connect() as connection,
    ):
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_postgresql_types() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    text = "\n".join(
        str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables
    )
    for expected in (
        "created_at TIMESTAMP WITH TIME ZONE NOT NULL",
        "decision JSONB NOT NULL",
        "payload BYTEA NOT NULL",
        "registered_generator BOOLEAN NOT NULL",
        "duration_ms BIGINT NOT NULL",
        '"user" TEXT',
        "REFERENCES releases (id) ON DELETE CASCADE",
        "CONSTRAINT uq_soft_bindings_payload UNIQUE (algorithm, payload)",
    ):
        assert expected in text
    for table in metadata.sorted_tables:
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_service_of_before_keeps_its_users_and_keys(
    tmp_path: Path, request: pytest.FixtureRequest, engine: str
) -> None:
    """Sessions hung on keys then: they end, and nothing else does."""
    at: Path | str = tmp_path / "old.db"
    if engine == "postgresql":
        at = request.getfixturevalue("postgresql").empty()
    old = create_engine(f"sqlite:///{at}" if isinstance(at, Path) else at)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for statement in (
            "INSERT INTO teams (name, created_at) VALUES ('lab', CURRENT_TIMESTAMP)",
            "INSERT INTO users VALUES ('u', 'ada', CURRENT_TIMESTAMP, false)",
            "INSERT INTO memberships VALUES ('u', 'lab', 'creator')",
            "INSERT INTO api_keys (id, user_id, team, hash, scopes, created_at, expires_at) VALUES "
            "('k', 'u', 'lab', :hash, 'null', CURRENT_TIMESTAMP, '2999-01-01 00:00:00')",
            "INSERT INTO sessions VALUES ('s', 'k', 'c', '2999-01-01 00:00:00')",
        ):
            given = {"hash": bytes(32)} if ":hash" in statement else {}
            connection.execute(text(statement), given)
    old.dispose()
    with Database.open(at) as database, database.reading() as connection:
        found = connection.execute(select(api_keys.c.id, api_keys.c.made_with)).all()
        assert [tuple(row) for row in found] == [("k", None)]
        assert connection.execute(select(sessions.c.id)).all() == []
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with Database.open(at) as database:
        assert [one.roles for one in People(database).list()] == [(("lab", "creator"),)]
