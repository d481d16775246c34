"""Salts of the hashes that stand for people in the ledger: one a person, erased on request."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, delete, insert, select

from avsafe.registry.database import Database
from avsafe.registry.schema import salts

SIZE = 16


class Salts:
    """Of a database.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Database.open(Path(folder, "r.db")) as database:
    ...     salts = Salts(database)
    ...     before = salts.of("ada")
    ...     same = before == salts.of("ada")
    ...     salts.forget("ada"), same, before == salts.of("ada")
    (True, True, False)
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, person: str) -> bytes:
        """The salt of a person, made when first asked for."""
        with self._database.reading() as connection:
            if (known := _get(connection, person)) is not None:
                return known
        with self._database.writing(turn="salts") as connection:
            if (known := _get(connection, person)) is not None:
                return known
            made = secrets.token_bytes(SIZE)
            connection.execute(insert(salts).values(person=person, salt=made))
            return made

    def forget(self, person: str) -> bool:
        """From now on no hash in the ledger can be tied to the person. False when none could."""
        with self._database.writing(turn="salts") as connection:
            gone = connection.execute(delete(salts).where(salts.c.person == person)).rowcount > 0
        self._database.truncate_log()
        return gone


def _get(connection: Connection, person: str) -> bytes | None:
    found = connection.execute(select(salts.c.salt).where(salts.c.person == person)).scalar()
    return bytes(found) if found is not None else None
