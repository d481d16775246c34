"""Embeddings of the people who agreed to it, sealed: AES-256-GCM under a key in ``keys/``.

A row stands under the id of a consent (or of somebody who refused) and is bound to it: put under
another id, modality or network it does not open. Rows lie in the database that all machines share;
the key does not, and belongs into no backup that is not itself encrypted.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, delete, insert, or_, select, update

from avsafe import home
from avsafe.errors import AvsafeError, UsageError
from avsafe.recognition import Known, Vectors
from avsafe.registry.database import Database
from avsafe.registry.schema import embeddings

KEY_FILE = "embedding.key"
NEXT_KEY_FILE = "embedding.key.next"  # while rows are sealed anew
_NONCE = 12  # bytes, random for each row (NIST SP 800-38D, 8.2.2)
_KEY = 32


class Sealed(AvsafeError):
    """An embedding does not open: another key, or a damaged row."""


class Embeddings:
    """Of one database and one key."""

    def __init__(self, database: Database, keys: Path) -> None:
        self._database, self._keys = database, keys

    def put(
        self, record_id: str, modality: str, model: str, vectors: Vectors,
        expires_at: datetime | None,
    ) -> None:  # fmt: skip
        """Keep somebody's vectors (k, d); those of before are gone."""
        key = home.secret(self._keys, KEY_FILE, _KEY)
        row = {
            "id": record_id,
            "modality": modality,
            "model": model,
            "key_id": _id_of(key),
            "sealed": _seal(key, vectors, record_id, modality, model),
            "created_at": datetime.now(UTC),
            "expires_at": expires_at,
        }
        with self._database.writing(turn="embeddings") as connection:
            connection.execute(delete(embeddings).where(embeddings.c.id == record_id))
            connection.execute(insert(embeddings).values(row))
        self._database.truncate_log()

    def ids(self) -> frozenset[str]:
        """Whose there are."""
        with self._database.reading() as connection:
            return frozenset(connection.execute(select(embeddings.c.id)).scalars())

    def beside(self, models: Collection[str], modality: str | None = None) -> frozenset[str]:
        """Whose there are by none of these networks: nothing can be compared with them."""
        query = select(embeddings.c.id).where(embeddings.c.model.not_in(tuple(models)))
        if modality is not None:
            query = query.where(embeddings.c.modality == modality)
        with self._database.reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def known(self, modality: str, model: str, now: datetime | None = None) -> tuple[Known, ...]:
        """Everybody of a modality, by one network. Raises Sealed, naming the row, for one that
        does not open: who it is cannot be left out without saying so."""
        now = now or datetime.now(UTC)
        query = select(embeddings).where(
            embeddings.c.modality == modality,
            embeddings.c.model == model,
            or_(embeddings.c.expires_at.is_(None), embeddings.c.expires_at > now),
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(embeddings.c.id)).all()
        keys = self._all_keys() if rows else {}
        return tuple(
            Known(row.id, _open(keys, row.key_id, row.sealed, row.id, modality, model))
            for row in rows
        )

    def forget(self, record_id: str) -> bool:
        """Delete one; False when there is none."""
        with self._database.writing(turn="embeddings") as connection:
            gone = connection.execute(delete(embeddings).where(embeddings.c.id == record_id))
        self._database.truncate_log()
        return gone.rowcount > 0

    def sweep(self, ended: Collection[str], now: datetime | None = None) -> tuple[str, ...]:
        """Delete those that ran out, and those of ``ended``; their ids."""
        now = now or datetime.now(UTC)
        with self._database.reading() as connection:  # mostly there is nothing
            gone = _over(connection, ended, now)
        if gone:
            with self._database.writing(turn="embeddings") as connection:
                gone = _over(connection, ended, now)
                connection.execute(delete(embeddings).where(embeddings.c.id.in_(gone)))
            self._database.truncate_log()
        return gone

    def rotate(self) -> int:
        """Seal all rows under a new key and put it in the old one's place; how many they were.

        Other machines need the new ``keys/embedding.key`` afterwards. Raises Sealed, and changes
        nothing, when a row does not open.
        """
        old = home.secret(self._keys, KEY_FILE, _KEY)
        following = self._keys / NEXT_KEY_FILE
        new = home.secret(self._keys, NEXT_KEY_FILE, _KEY)
        with self._database.writing(turn="embeddings") as connection:
            keys = {_id_of(one): one for one in (old, new)}
            rows = connection.execute(select(embeddings)).all()
            for row in rows:
                bound = (row.id, row.modality, row.model)
                vectors = _open(keys, row.key_id, row.sealed, *bound)
                values = {"key_id": _id_of(new), "sealed": _seal(new, vectors, *bound)}
                connection.execute(
                    update(embeddings).where(embeddings.c.id == row.id).values(values)
                )
        following.replace(self._keys / KEY_FILE)
        self._database.truncate_log()
        return len(rows)

    def _all_keys(self) -> dict[str, bytes]:
        """Those in the folder; no key is made where only reading is asked for."""
        paths = (self._keys / name for name in (KEY_FILE, NEXT_KEY_FILE))
        return {_id_of(key): key for key in (p.read_bytes() for p in paths if p.is_file())}


def _over(connection: Connection, ended: Collection[str], now: datetime) -> tuple[str, ...]:
    rows = connection.execute(select(embeddings.c.id, embeddings.c.expires_at))
    return tuple(
        row.id
        for row in rows
        if row.id in ended or (row.expires_at is not None and row.expires_at <= now)
    )


def _id_of(key: bytes) -> str:
    if len(key) != _KEY:
        raise Sealed(f"{KEY_FILE} has {len(key)} bytes, expected {_KEY}. Restore it.")
    return hashlib.sha256(b"avsafe embedding key" + key).hexdigest()[:16]


def _bound(record_id: str, modality: str, model: str) -> bytes:
    return "\x1f".join(("avsafe-embedding-1", record_id, modality, model)).encode()


def _seal(key: bytes, vectors: Vectors, record_id: str, modality: str, model: str) -> bytes:
    import numpy as np
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise UsageError("There is nothing to keep of this face or voice.")
    plain = len(vectors).to_bytes(4, "big") + vectors.astype("<f4").tobytes()
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, _bound(record_id, modality, model))


def _open(
    keys: dict[str, bytes], key_id: str, sealed: bytes, record_id: str, modality: str, model: str
) -> Vectors:
    import numpy as np
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if key_id not in keys:
        raise Sealed(
            f"The embedding of {record_id} is sealed under another key: copy keys/{KEY_FILE} from "
            f"the machine that made it, or delete it (avsafe consent forget-embedding {record_id})."
        )
    sealed = bytes(sealed)
    try:
        plain = AESGCM(keys[key_id]).decrypt(
            sealed[:_NONCE], sealed[_NONCE:], _bound(record_id, modality, model)
        )
        return np.frombuffer(plain[4:], "<f4").reshape(int.from_bytes(plain[:4], "big"), -1)
    except (InvalidTag, ValueError) as error:
        raise Sealed(
            f"The embedding of {record_id} is damaged or was moved: delete it (avsafe consent "
            f"forget-embedding {record_id})."
        ) from error
