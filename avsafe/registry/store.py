"""The registry: tables that answer "which release is this?"."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    delete,
    func,
    insert,
    select,
    update,
)

from avsafe.closing import Closing
from avsafe.errors import RegistryError
from avsafe.registry import lookup, rows
from avsafe.registry.database import Database
from avsafe.registry.fingerprint import Fingerprint, compare
from avsafe.registry.index import Index
from avsafe.registry.records import Match, ReleaseRecord, Reservation
from avsafe.registry.schema import (
    fingerprints,
    manifests,
    releases,
    reservations,
)

_BUSY_S = 60.0
_KEEP_RESERVATIONS = timedelta(days=31)  # the longest window a quota may use


class Registry(Closing):
    """Open with ``Registry.open``; a context manager.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Registry.open(Path(folder, "registry.db")) as registry:
    ...     registry.by_watermark("org.example.mark", 2**64 - 1) is None
    True
    """

    def __init__(self, database: Database, index: Index | None = None) -> None:
        self.database, self.index = database, index

    @classmethod
    def open(cls, location: Path | str, *, index: Path | None = None) -> Registry:
        """Open a registry, or make one (``Database.open``); ``index`` is the folder of an index of
        its fingerprints, if there is one."""
        return cls(Database.open(location), Index(index) if index is not None else None)

    @classmethod
    def exists(cls, location: Path | str) -> bool:
        """Whether there is one to be opened; makes nothing. Raises RegistryError."""
        return Database.exists(location)

    def close(self) -> None:
        self.database.close()

    # ------------------------------------------------------------ releases

    def add_release(self, record: ReleaseRecord) -> None:
        """Store a release with its manifest, marks and fingerprint, all or nothing.

        Raises RegistryError when the release, its manifest or one of its numbers is known.
        """
        with self.database.writing(turn=record.release_id) as connection:
            self._refuse_known(connection, record)
            rows.insert(connection, record)

    def remove_release(self, release_id: str) -> bool:
        """Take a release out with all that belongs to it; False when it was not there.

        For a job that failed after its row was written. To erase a person use ``forget``.
        """
        # In turn with add_release: what a job that died was about to commit is there to be removed.
        with self.database.writing(turn=release_id) as connection:
            return connection.execute(delete(releases).where(_is(release_id))).rowcount > 0

    def set_state(self, release_id: str, state: str) -> None:
        """Raises RegistryError for an unknown release."""
        self._change(release_id, state=state)

    def set_sha256(self, release_id: str, sha256: str) -> None:
        """The hash of a released file that got its time stamp later; its manifest id stays.

        Raises RegistryError for an unknown release.
        """
        self._change(release_id, sha256=sha256.lower())

    def _change(self, release_id: str, **values: str) -> None:
        with self.database.writing() as connection:
            if not connection.execute(
                update(releases).where(_is(release_id)).values(**values)
            ).rowcount:
                raise _unknown(release_id)

    def forget(self, release_id: str) -> None:
        """Erase what points to a person: user, purpose, prompt hash, risk scores, and the salt.

        Without the salt the hashes in the ledger mean nothing, and its chain stays whole. Marks,
        manifest and fingerprint stay, so that the media is still recognised. Raises RegistryError
        for an unknown release.
        """
        with self.database.writing() as connection:
            row = connection.execute(select(releases.c.decision).where(_is(release_id))).first()
            if row is None:
                raise _unknown(release_id)
            kept = {k: v for k, v in row.decision.items() if k in ("effect", "rules")}
            connection.execute(
                update(releases)
                .where(_is(release_id))
                .values(
                    user=None,
                    salt=None,
                    prompt_hash=None,
                    purpose=None,
                    decision=kept,
                    forgotten_at=datetime.now(UTC),
                )
            )
        self.database.truncate_log()

    def get(self, release_id: str) -> ReleaseRecord | None:
        return self._one(releases.c.id == release_id)

    def resolve(self, start: str) -> ReleaseRecord:
        """The release whose id begins so. Raises RegistryError when none or several do."""
        if exact := self.get(start):
            return exact
        by_bytes = self.database.by_bytes(releases.c.id)
        query = (
            select(releases.c.id).where(by_bytes >= start, by_bytes < start + "\U0010ffff").limit(2)
        )
        with self.database.reading() as connection:
            found = connection.execute(query).scalars().all()
        record = self.get(found[0]) if len(found) == 1 else None
        if record is None:
            many = "Several releases begin" if found else "No release begins"
            raise RegistryError(f"{many} with {start!r}.")
        return record

    def by_sha256(self, sha256: str) -> ReleaseRecord | None:
        """The release whose file has this hash (the newest, should there be several)."""
        return self._one(releases.c.sha256 == sha256.lower())

    def by_manifest(self, manifest_id: str) -> ReleaseRecord | None:
        return self._one(releases.c.manifest_id == manifest_id)

    def by_watermark(self, algorithm: str, payload: int) -> ReleaseRecord | None:
        """The release that carries this number under this algorithm.

        Raises RegistryError for a payload outside unsigned 64 bits.
        """
        return self._one(releases.c.id.in_(rows.carrying(algorithm, payload)))

    def payload_taken(self, algorithm: str, payload: int) -> bool:
        with self.database.reading() as connection:
            return rows.taken(connection, algorithm, payload) is not None

    def by_fingerprint(self, query: Fingerprint) -> Match | None:
        """The registered release that agrees best with a fingerprint; None when none agrees."""
        return next(iter(self.nearest(query, limit=1)), None)

    def nearest(self, query: Fingerprint, *, limit: int = 5) -> tuple[Match, ...]:
        """The releases that agree with a fingerprint, the most similar first.

        Looks for no crop or mirror image. What the index knows is searched there; of every other
        release up to 1 kB is read, which takes time in proportion to their number. The nearest are
        compared in full (docs/registry.md has figures).
        """
        found = []
        with self.database.reading() as connection:
            for release_id in lookup.candidates(connection, query, self.index):
                data = connection.execute(
                    select(fingerprints.c.data).where(fingerprints.c.release_id == release_id)
                ).scalar_one()
                agreement = compare(query, Fingerprint.from_bytes(data), search=False)
                if agreement.agrees:
                    found.append(
                        Match(
                            release_id,
                            agreement.similarity,
                            agreement.n_compared,
                            agreement.reason,
                        )
                    )
        found.sort(key=lambda match: (-match.similarity, match.release_id))
        return tuple(found[:limit])

    def list(self, *, limit: int = 50, offset: int = 0) -> tuple[ReleaseRecord, ...]:
        """Releases, the newest first."""
        order = (
            select(releases)
            .order_by(releases.c.created_at.desc(), releases.c.id)
            .limit(limit)
            .offset(offset)
        )
        with self.database.reading() as connection:
            return tuple(rows.read(connection, row) for row in connection.execute(order).all())

    def count(self) -> int:
        """How many releases there are."""
        with self.database.reading() as connection:
            return connection.execute(select(func.count()).select_from(releases)).scalar_one()

    # ------------------------------------------------------------ quota

    def reserve(self, user: str, window_s: float = 86400) -> Reservation:
        """Count one job of a user before it runs, in one transaction: no two jobs share a place.

        A job whose process died keeps its place until the window has passed.
        """
        now = datetime.now(UTC)
        with self.database.writing(turn=f"quota of {user}") as connection:
            connection.execute(
                delete(reservations).where(reservations.c.created_at < now - _KEEP_RESERVATIONS)
            )
            used = connection.execute(
                select(func.count()).where(
                    reservations.c.user == user,
                    reservations.c.created_at > now - timedelta(seconds=window_s),
                )
            ).scalar_one()
            reservation = Reservation(secrets.token_hex(16), used)
            connection.execute(
                insert(reservations).values(
                    id=reservation.id, user=user, created_at=now, state="held"
                )
            )
        return reservation

    def settle(self, reservation_id: str, kept: bool) -> None:
        """End a reservation: kept, or given back as if the job had never been.

        Raises RegistryError when it is unknown or was settled before.
        """
        held = (reservations.c.id == reservation_id) & (reservations.c.state == "held")
        change = update(reservations).values(state="kept") if kept else delete(reservations)
        with self.database.writing() as connection:
            if not connection.execute(change.where(held)).rowcount:
                raise RegistryError(
                    f"No open reservation {reservation_id}: it is unknown or was settled before."
                )

    # ------------------------------------------------------------ inside

    def _one(self, condition: Any) -> ReleaseRecord | None:
        query = select(releases).where(condition).order_by(releases.c.created_at.desc()).limit(1)
        with self.database.reading() as connection:
            row = connection.execute(query).first()
            return rows.read(connection, row) if row else None

    def _refuse_known(self, connection: Connection, record: ReleaseRecord) -> None:
        if connection.execute(select(releases.c.id).where(_is(record.release_id))).first():
            raise RegistryError(f"Release {record.release_id} is registered already.")
        known = select(manifests.c.release_id).where(manifests.c.id == record.manifest_id)
        if row := connection.execute(known).first():
            raise RegistryError(
                f"Manifest {record.manifest_id} belongs to release {row.release_id} already."
            )
        for mark in record.marks:
            other = rows.taken(connection, mark.algorithm, mark.payload)
            if other is not None:
                raise RegistryError(
                    f"Number {mark.payload:x} of {mark.algorithm} belongs to release {other}: "
                    "draw another payload and mark again."
                )


def _is(release_id: str) -> Any:
    return releases.c.id == release_id


def _unknown(release_id: str) -> RegistryError:
    return RegistryError(f"The registry holds no release {release_id}.")
