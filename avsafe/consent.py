"""Records of consent: who allowed which picture or voice to be used, for what, until when.

A record names media by their SHA-256 and the person by a pseudonym; it holds no picture, no voice
and no embedding. Face and voice are apart: one record, one modality. Shape after ISO/IEC TS 27560
and the W3C Data Privacy Vocabulary (subject, purposes, expiry, withdrawal). One private JSON file a
record, in ``consent/`` of the state folder.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError
from avsafe.home import write_private

FACE, VOICE = "face", "voice"
LONGEST = timedelta(days=366)
DEFAULT_DURATION = timedelta(days=365)
NOTICE_VERSION = "1"  # of the text that the person was shown (docs/consent.md)
_ID = re.compile(r"c-[0-9a-f]{16}")
_WORD = re.compile(r"[\w .*-]{1,64}")


@dataclass(frozen=True)
class ConsentRecord:
    """One consent of one person. Times are UTC."""

    id: str
    subject: str  # a pseudonym: never a legal name
    modality: str  # face | voice
    media_sha256: tuple[str, ...]
    purposes: tuple[str, ...]
    generators: tuple[str, ...]  # "*": any
    created_at: datetime
    expires_at: datetime
    granted_by: str  # the account that entered it
    adult: bool  # the subject declared to be of age
    evidence_sha256: str | None = None  # of the signed form, kept elsewhere
    notice_version: str = NOTICE_VERSION
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """``live``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if now < self.expires_at else "expired"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ConsentRecord:
        times = ("created_at", "expires_at", "revoked_at")
        lists = ("media_sha256", "purposes", "generators")
        return cls(
            **value
            | {key: datetime.fromisoformat(value[key]) for key in times if value[key]}
            | {key: tuple(value[key]) for key in lists}
        )


class ConsentRegister:
    """The records of one state folder.

    >>> import tempfile
    >>> register = ConsentRegister(Path(tempfile.mkdtemp()))
    >>> record = register.add("speaker-7", FACE, ["ab" * 32], granted_by="me", adult=True)
    >>> register.get(record.id).state(datetime.now(UTC))
    'live'
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(
        self,
        subject: str,
        modality: str,
        media_sha256: Iterable[str],
        *,
        granted_by: str,
        adult: bool,
        purposes: Iterable[str] = ("general",),
        generators: Iterable[str] = ("*",),
        duration: timedelta = DEFAULT_DURATION,
        evidence_sha256: str | None = None,
    ) -> ConsentRecord:
        """Write a record. Raises UsageError for one that could not hold: no media, no purpose, a
        duration over a year, a subject who is not of age."""
        now = datetime.now(UTC).replace(microsecond=0)
        record = ConsentRecord(
            id=f"c-{secrets.token_hex(8)}",
            subject=subject,
            modality=modality,
            media_sha256=tuple(media_sha256),
            purposes=tuple(purposes),
            generators=tuple(generators),
            created_at=now,
            expires_at=now + duration,
            granted_by=granted_by,
            adult=adult,
            evidence_sha256=evidence_sha256,
        )
        _refuse_void(record, duration)
        self._write(record)
        return record

    def get(self, record_id: str) -> ConsentRecord | None:
        """One record, or None when there is none of that id (a malformed id is of none)."""
        path = self._folder / f"{record_id}.json"
        if not _ID.fullmatch(record_id) or not path.is_file():
            return None
        return ConsentRecord.from_json(json.loads(path.read_text(encoding="utf-8")))

    def list(self) -> list[ConsentRecord]:
        """All of them, the newest first."""
        if not self._folder.is_dir():
            return []
        found = [self.get(path.stem) for path in self._folder.glob("c-*.json")]
        return sorted((r for r in found if r), key=lambda r: r.created_at, reverse=True)

    def revoke(self, record_id: str) -> ConsentRecord:
        """Withdraw: from now on nothing is made with it. Raises UsageError for an unknown id."""
        record = self.get(record_id)
        if record is None:
            raise UsageError(f"No consent record {record_id!r}. See: avsafe consent list")
        if record.revoked_at is None:
            record = replace(record, revoked_at=datetime.now(UTC).replace(microsecond=0))
            self._write(record)
        return record

    def _write(self, record: ConsentRecord) -> None:
        text = json.dumps(record.to_json(), indent=2, sort_keys=True)
        write_private(self._folder / f"{record.id}.json", text.encode())


def _refuse_void(record: ConsentRecord, duration: timedelta) -> None:
    if record.modality not in (FACE, VOICE):
        raise UsageError(f"A consent is for a face or for a voice, not for {record.modality!r}.")
    if not record.adult:
        raise UsageError(
            "A consent is recorded for persons of age only. Confirm it with --adult, or do not "
            "use this likeness."
        )
    if not record.media_sha256 or not record.purposes:
        raise UsageError("A consent names at least one file and one purpose.")
    for word in (record.subject, *record.purposes, *record.generators):
        if not _WORD.fullmatch(word):
            raise UsageError(
                f"{word!r} does not fit: subject, purposes and generators are short words "
                "(letters, digits, blank, dot, hyphen)."
            )
    if not timedelta(0) < duration <= LONGEST:
        raise UsageError(
            f"A consent lasts from now to a year at most; {duration.days} days were asked for. "
            "Renew it when it ends."
        )
