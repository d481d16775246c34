"""Consents and protections as people make them: the record, its embedding, and the ledger together.

The command line and the pages both come through here. A consent counts from its ledger entry on; a
withdrawal counts before it is in the ledger, and from that entry on the log refuses every release
that stands on it (``ledger.withdrawal``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe import recognition
from avsafe.acts import (
    EMBEDDED,
    FORGOTTEN,
    PROTECTED,
    RECEIPT,
    RECORDED,
    UNPROTECTED,
    Actor,
    Acts,
)
from avsafe.consent import (
    DEFAULT_DURATION,
    EMBEDDING_NOTICE,
    ConsentRecord,
    ConsentRegister,
)
from avsafe.embeddings import Embeddings
from avsafe.errors import UsageError
from avsafe.ledger import WITHDRAWN
from avsafe.media import sha256_of
from avsafe.protection import ProtectedPeople, ProtectedPerson
from avsafe.recognition import Vectors

if TYPE_CHECKING:
    from avsafe.home import Home
    from avsafe.registry.database import Database


class Consenting:
    """Of one state folder, with its database open."""

    def __init__(self, home: Home, database: Database) -> None:
        self.database = database
        self.register = ConsentRegister(home.consent)
        self.people = ProtectedPeople(home.consent)
        self.embeddings = Embeddings(database, home.keys)
        self.acts = Acts(home, database)

    def record(
        self,
        files: Sequence[Path],
        subject: str,
        modality: str,
        *,
        actor: Actor,
        granted_by: str,
        adult: bool,
        purposes: Sequence[str] = ("general",),
        generators: Sequence[str] = ("*",),
        duration: timedelta = DEFAULT_DURATION,
        evidence: Path | None = None,
        embedding: bool = False,
    ) -> ConsentRecord:
        """Record a consent for these files; with ``embedding``, to which the person agreed, other
        files of the same person lead to a proposal.

        Raises UsageError for what could not hold (``ConsentRegister.add``), for an embedding that
        the operator has not switched on or of a file that shows nobody, or several.
        """
        vectors = _vectors(files, modality) if embedding else None
        by = self.acts.by(actor)

        def first(record: ConsentRecord) -> None:
            self.acts.note(RECORDED, record.id, by, **_of(record))

        record = self.register.add(
            subject,
            modality,
            [sha256_of(path) for path in files],
            granted_by=granted_by,
            adult=adult,
            purposes=purposes,
            generators=generators,
            duration=duration,
            evidence_sha256=sha256_of(evidence) if evidence else None,
            embedding=embedding,
            first=first,
        )
        if vectors is not None:
            self._keep(record.id, modality, vectors, by, record.expires_at)
        return record

    def withdraw(self, record_id: str, actor: Actor) -> ConsentRecord:
        """From now on nothing is released with it, and its embedding is gone. To be called again
        after a failure. Raises UsageError for an unknown id."""
        by = self.acts.by(actor)
        record = self.register.revoke(record_id)
        if self.embeddings.forget(record_id):
            self.acts.note(FORGOTTEN, record_id, by, reason="withdrawn")
        if not self.acts.noted(WITHDRAWN, record_id):
            self.acts.note(WITHDRAWN, record_id, by)
        return record

    def forget_embedding(self, record_id: str, actor: Actor) -> bool:
        """Delete the embedding of a consent, or of a protection; either stays. False when there was
        none. Raises UsageError for an id of nothing that is kept."""
        by = self.acts.by(actor)
        if record_id.startswith("c-") and self.register.get(record_id) is not None:
            self.register.end_embedding(record_id)
        elif record_id not in self.embeddings.ids():
            raise UsageError(f"There is no embedding of {record_id!r}. See: avsafe consent list")
        gone = self.embeddings.forget(record_id)
        if gone:
            self.acts.note(FORGOTTEN, record_id, by, reason="asked")
        return gone

    def receipt(self, record: ConsentRecord, actor: Actor) -> dict[str, Any]:
        """What the person is given; that it was issued is in the ledger, once for each text."""
        found = receipt(record, record.id in self.embeddings.ids())
        sha256 = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
        if not self.acts.noted(RECEIPT, record.id, sha256=sha256):
            self.acts.note(RECEIPT, record.id, self.acts.by(actor), sha256=sha256)
        return found

    def protect(
        self,
        files: Sequence[Path],
        subject: str,
        modality: str,
        *,
        actor: Actor,
        entered_by: str,
        embedding: bool,
    ) -> ProtectedPerson:
        """Refuse a face or a voice from now on. Raises UsageError as ``record`` does."""
        vectors = _vectors(files, modality) if embedding else None
        by = self.acts.by(actor)
        person = self.people.add(
            subject,
            modality,
            [sha256_of(path) for path in files],
            entered_by=entered_by,
            embedding=embedding,
        )
        if vectors is not None:
            self._keep(person.id, modality, vectors, by, None)
        self.acts.note(PROTECTED, person.id, by, modality=modality)
        return person

    def end_protection(self, record_id: str, actor: Actor) -> None:
        """The person no longer refuses: all of it is deleted. Raises UsageError for an unknown
        id."""
        by = self.acts.by(actor)
        if record_id not in self.people.ids():
            raise UsageError(f"No protected person {record_id!r}. See: avsafe consent protected")
        self.acts.note(UNPROTECTED, record_id, by)
        if self.embeddings.forget(record_id):
            self.acts.note(FORGOTTEN, record_id, by, reason="ended")
        self.people.end(record_id)

    def sweep(self, now: datetime | None = None) -> tuple[str, ...]:
        """Delete the embeddings of consents that ended; their ids."""
        now = now or datetime.now(UTC)
        every = self.register.list()
        ended = {r.id for r in every if not r.may_embed or r.state(now) in ("expired", "revoked")}
        gone = self.embeddings.sweep(ended, now)
        for one in gone:
            self.acts.note(FORGOTTEN, one, None, reason="ended")
        return gone

    def _keep(
        self, record_id: str, modality: str, vectors: Vectors, by: str, until: datetime | None
    ) -> None:
        model = recognition.model_of(recognition.embedder(modality))
        self.acts.note(EMBEDDED, record_id, by, modality=modality, model=model)
        self.embeddings.put(record_id, modality, model, vectors, until)


@contextmanager
def opened(home: Home) -> Iterator[Consenting]:
    """With its database; makes what is missing."""
    from avsafe.registry.database import Database

    with Database.open(home.ensure().database) as database:
        yield Consenting(home, database)


def receipt(record: ConsentRecord, embedding_kept: bool = False) -> dict[str, Any]:
    """What the person who consented is given: JSON-LD in the W3C Data Privacy Vocabulary, fields
    after ISO/IEC TS 27560."""
    notices: list[dict[str, str]] = [{"dct:hasVersion": record.notice_version}]
    found: dict[str, Any] = {
        "@context": {"dpv": "https://w3id.org/dpv#", "dct": "http://purl.org/dc/terms/"},
        "@type": "dpv:ConsentRecord",
        "dct:identifier": record.id,
        "dpv:hasDataSubject": record.subject,
        "dpv:hasPersonalData": record.modality,
        "dpv:hasPurpose": list(record.purposes),
        "dpv:isImplementedUsingTechnology": list(record.generators),
        "dpv:hasIndicationMethod": record.evidence_sha256,
        "dpv:hasNotice": notices,
        "dct:created": record.created_at.isoformat(),
        "dct:valid": record.expires_at.isoformat(),
        "dpv:hasConsentStatus": "dpv:ConsentWithdrawn" if record.revoked_at else "dpv:ConsentGiven",
        "dpv:hasWithdrawalTime": _text(record.revoked_at),
        "dct:subject": {"sha256": list(record.media_sha256)},
    }
    if record.embedding_notice is not None:
        notice = {"dct:hasVersion": record.embedding_notice,
                  "dct:description": EMBEDDING_NOTICE[record.modality]}  # fmt: skip
        notices.append(notice)
        found["dpv:hasStorageCondition"] = {
            "dpv:hasPersonalData": "dpv:BiometricData",
            "dpv:hasTechnicalMeasure": "dpv:Encryption",
            "dpv:hasDuration": record.expires_at.isoformat(),
            "dpv:hasWithdrawalTime": _text(record.embedding_ended_at or record.revoked_at),
            "dpv:hasStatus": "kept" if embedding_kept else "deleted",
        }
    return found


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _of(record: ConsentRecord) -> dict[str, Any]:
    """Of a consent, what the ledger says: nothing that names the person."""
    return {
        "modality": record.modality,
        "sha256": list(record.media_sha256),
        "expires_at": record.expires_at.isoformat(),
        "embedding": record.may_embed,
    }


def _vectors(files: Sequence[Path], modality: str) -> Vectors:
    return recognition.enrol(files, recognition.embedder(modality))
