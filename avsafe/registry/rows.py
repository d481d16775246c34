"""A release as rows of the tables, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, select, text
from sqlalchemy import insert as into

from avsafe.errors import RegistryError
from avsafe.registry.fingerprint import Fingerprint
from avsafe.registry.records import ReleaseRecord
from avsafe.registry.schema import (
    fingerprint_numbers,
    fingerprints,
    manifests,
    releases,
    soft_bindings,
)
from avsafe.types import Kind, Mark

_NUMBERS_IN_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('fingerprint numbers', 0))")


def insert(connection: Connection, record: ReleaseRecord) -> None:
    """Write a release into all tables, in the open transaction."""
    connection.execute(
        into(releases).values(
            id=record.release_id,
            created_at=record.created_at,
            user=record.user,
            task=record.task,
            generator=record.generator,
            generator_version=record.generator_version,
            registered_generator=record.registered_generator,
            sha256=record.sha256,
            kind=str(record.kind),
            decision=dict(record.decision),
            manifest_id=record.manifest_id,
            salt=record.salt,
            prompt_hash=record.prompt_hash,
            purpose=record.purpose,
            cost=dict(record.cost),
            state=record.state,
            forgotten_at=record.forgotten_at,
        )
    )
    connection.execute(
        into(manifests).values(
            id=record.manifest_id, release_id=record.release_id, data=record.manifest
        )
    )
    for mark in record.marks:
        connection.execute(
            into(soft_bindings).values(
                release_id=record.release_id,
                algorithm=mark.algorithm,
                payload=payload_bytes(mark.payload),
                payload_bits=mark.payload_bits,
                modality=str(mark.modality),
                quality={"psnr_db": mark.psnr_db, "snr_db": mark.snr_db},
            )
        )
    if record.fingerprint is not None:
        connection.execute(
            into(fingerprints).values(
                release_id=record.release_id,
                format=record.fingerprint.format,
                has_picture=record.fingerprint.n_frames > 0,
                has_sound=record.fingerprint.n_sound > 0,
                duration_ms=round(record.fingerprint.duration_s * 1000),
                probes=record.fingerprint.probes().tobytes(),
                data=record.fingerprint.to_bytes(),
            )
        )
        if connection.dialect.name == "postgresql":  # numbers are committed in their order
            connection.execute(_NUMBERS_IN_TURN)
        connection.execute(into(fingerprint_numbers).values(release_id=record.release_id))


def read(connection: Connection, row: Row[Any]) -> ReleaseRecord:
    """The release of a row of ``releases``, with all that belongs to it."""
    of_release = row.id
    manifest = connection.execute(
        select(manifests.c.data).where(manifests.c.id == row.manifest_id)
    ).scalar_one()
    marks = connection.execute(
        select(soft_bindings)
        .where(soft_bindings.c.release_id == of_release)
        .order_by(soft_bindings.c.modality.desc())
    )
    data = connection.execute(
        select(fingerprints.c.data).where(fingerprints.c.release_id == of_release)
    ).scalar()
    return ReleaseRecord(
        release_id=row.id,
        created_at=row.created_at,
        user=row.user,
        task=row.task,
        generator=row.generator,
        generator_version=row.generator_version,
        registered_generator=row.registered_generator,
        sha256=row.sha256,
        kind=Kind(row.kind),
        decision=row.decision,
        manifest_id=row.manifest_id,
        manifest=manifest,
        marks=tuple(_mark(mark._mapping) for mark in marks),
        fingerprint=Fingerprint.from_bytes(data) if data is not None else None,
        salt=row.salt,
        prompt_hash=row.prompt_hash,
        purpose=row.purpose,
        cost=row.cost,
        state=row.state,
        forgotten_at=row.forgotten_at,
    )


def _mark(row: Mapping[Any, Any]) -> Mark:
    return Mark(
        modality=Kind(row["modality"]),
        algorithm=row["algorithm"],
        payload=int.from_bytes(row["payload"], "big"),
        payload_bits=row["payload_bits"],
        psnr_db=row["quality"]["psnr_db"],
        snr_db=row["quality"]["snr_db"],
    )


def payload_bytes(number: int) -> bytes:
    """Raises RegistryError for a number outside unsigned 64 bits."""
    try:
        return number.to_bytes(8, "big")
    except OverflowError:
        raise RegistryError(
            f"A watermark number is an unsigned 64-bit integer, not {number}."
        ) from None


def taken(connection: Connection, algorithm: str, payload: int) -> str | None:
    """The release that carries a number under an algorithm."""
    return connection.execute(carrying(algorithm, payload)).scalar()


def carrying(algorithm: str, payload: int) -> Select[str]:
    """Selects the id of the release that carries a number under an algorithm."""
    return select(soft_bindings.c.release_id).where(
        soft_bindings.c.algorithm == algorithm, soft_bindings.c.payload == payload_bytes(payload)
    )
