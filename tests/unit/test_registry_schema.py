"""Migrations end in the schema that the code declares, and PostgreSQL would accept it."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from avsafe.registry import Registry
from avsafe.registry.migrate import MIGRATIONS
from avsafe.registry.schema import HEAD, metadata


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
