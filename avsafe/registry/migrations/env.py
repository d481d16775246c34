"""Run by Alembic; the connection comes from ``avsafe.registry.migrate``."""

from alembic import context

from avsafe.registry.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",  # SQLite cannot alter a column
)
with context.begin_transaction():
    context.run_migrations()
