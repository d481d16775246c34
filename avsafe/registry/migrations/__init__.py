"""Alembic migrations, run by ``avsafe.registry.migrate``; one module per version, never edited."""
