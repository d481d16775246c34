"""Records of consent: who allowed which picture or voice to be used, for what, until when.

A record names media by their SHA-256 and the person by a pseudonym; it holds no picture, no voice
and no embedding: whether the person agreed to one stands in it, under a notice of its own. Face and
voice are apart: one record, one modality. Shape after ISO/IEC TS 27560 and the W3C Data Privacy
Vocabulary (subject, purposes, expiry, withdrawal). One private JSON file a record, in ``consent/``
of the state folder.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from avsafe.errors import AvsafeError, UsageError
from avsafe.home import locked, write_private

FACE, VOICE = "face", "voice"
LONGEST = timedelta(days=366)
DEFAULT_DURATION = timedelta(days=365)
NOTICE_VERSION = "1"  # of the text that the person was shown (docs/consent.md)
# What a person is told who is asked to let an embedding be kept; a new text gets a new version.
EMBEDDING_NOTICE_VERSION = "1"
EMBEDDING_NOTICE = {
    FACE: "You agree that numbers are computed from the pictures of your face and kept, encrypted, "
    "until this consent ends, so that another picture of you is recognised and a person is asked "
    "whether the consent covers it. These numbers can identify you. They are deleted when the "
    "consent ends or is withdrawn, and at any time when you ask; the consent itself then stays.",
    VOICE: "You agree that numbers are computed from the recordings of your voice and kept, "
    "encrypted, until this consent ends, so that another recording of you is recognised and a "
    "person is asked whether the consent covers it. These numbers can identify you. They are "
    "deleted when the consent ends or is withdrawn, and at any time when you ask; the consent "
    "itself then stays.",
}
_SKEW = timedelta(minutes=5)  # between the clocks of machines that share a state folder
_ID = re.compile(r"c-[0-9a-f]{16}")
_WORD = re.compile(r"[\w .*-]{1,64}")
_TIMES = ("created_at", "expires_at", "revoked_at", "embedding_ended_at")
_LISTS = ("media_sha256", "purposes", "generators")


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
    embedding_notice: str | None = None  # version of the notice under which one may be kept
    embedding_ended_at: datetime | None = None  # when the person asked for its deletion

    @property
    def may_embed(self) -> bool:
        """Whether the person agreed to an embedding and did not take that back."""
        return self.embedding_notice is not None and self.embedding_ended_at is None

    def state(self, now: datetime) -> str:
        """``live``, ``expired``, ``revoked``, or ``pending``: given in the future of this clock."""
        if self.revoked_at is not None:
            return "revoked"
        if self.created_at > now + _SKEW:  # a clock set back makes no consent last longer
            return "pending"
        return "live" if now < self.expires_at else "expired"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, value: Any) -> ConsentRecord:
        """A record out of ``to_json``. Raises UsageError for anything else, and for a record that
        ``ConsentRegister.add`` would have refused."""
        try:
            lists = {key: tuple(value[key]) for key in _LISTS if isinstance(value[key], list)}
            times = {key: datetime.fromisoformat(value[key]) for key in _TIMES if value.get(key)}
            record = cls(**value | times | lists)
            texts = (record.id, record.subject, record.modality, record.granted_by)
            words = [getattr(record, key) for key in _LISTS]
            whole = (
                all(isinstance(text, str) for text in texts)
                and all(isinstance(w, tuple) and all(isinstance(x, str) for x in w) for w in words)
                and all(time.tzinfo is not None for time in times.values())
                and {"created_at", "expires_at"} <= set(times)
                and isinstance(record.adult, bool)
                and isinstance(record.embedding_notice, str | None)
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"This is no record of a consent ({type(error).__name__}).") from error
        if not whole:
            raise UsageError("This is no record of a consent (a value is of another kind).")
        _refuse_void(record, record.expires_at - record.created_at)
        return record


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
        embedding: bool = False,
        first: Callable[[ConsentRecord], object] = lambda _record: None,
    ) -> ConsentRecord:
        """Write a record, after ``first`` was told of it. Raises UsageError for one that could not
        hold: no media, no purpose, a duration over a year, a subject who is not of age."""
        now = datetime.now(UTC).replace(microsecond=0)
        kept = min(max(duration, timedelta(0)), LONGEST)  # what is beyond is refused below
        record = ConsentRecord(
            id=f"c-{secrets.token_hex(8)}",
            subject=subject,
            modality=modality,
            media_sha256=tuple(media_sha256),
            purposes=tuple(purposes),
            generators=tuple(generators),
            created_at=now,
            expires_at=now + kept,
            granted_by=granted_by,
            adult=adult,
            evidence_sha256=evidence_sha256,
            embedding_notice=EMBEDDING_NOTICE_VERSION if embedding else None,
        )
        _refuse_void(record, duration)
        first(record)
        self._write(record)
        return record

    def get(self, record_id: str) -> ConsentRecord | None:
        """One record, or None when there is none of that id (a malformed id is of none).

        Raises UsageError for a file that was damaged or changed by hand.
        """
        path = self._folder / f"{record_id}.json"
        if not _ID.fullmatch(record_id) or not path.is_file():
            return None
        try:
            record = ConsentRecord.from_json(json.loads(path.read_bytes()))
            if record.id != record_id:
                raise UsageError(f"It holds the record {record.id!r}.")
        except (OSError, ValueError, RecursionError, AvsafeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"The consent record {path} can't be used: {reason} Restore it from a backup, or "
                "remove it and record the consent again."
            ) from error
        return record

    def list(self) -> list[ConsentRecord]:
        """All that can be read, the newest first; ``damaged`` names the others."""
        return sorted(self._all()[0], key=lambda r: r.created_at, reverse=True)

    def _all(self) -> tuple[tuple[ConsentRecord, ...], tuple[str, ...]]:
        found, broken = dict[str, ConsentRecord](), dict[str, str]()
        for path in self._folder.glob("c-*.json"):  # of an absent folder: none
            try:
                if (record := self.get(path.stem)) is not None:
                    found[path.stem] = record
            except UsageError as error:
                broken[path.stem] = str(error)
        return tuple(found.values()), tuple(broken.values())

    def damaged(self) -> tuple[str, ...]:
        """Why each of the other records can't be used."""
        return tuple(self._all()[1])

    def revoke(self, record_id: str) -> ConsentRecord:
        """Withdraw: from now on nothing is made with it. Raises UsageError for an unknown id."""
        return self._ended(record_id, "revoked_at")

    def end_embedding(self, record_id: str) -> ConsentRecord:
        """The person wants no embedding any more; the consent stays. Raises UsageError for an
        unknown id."""
        return self._ended(record_id, "embedding_ended_at")

    def _ended(self, record_id: str, what: str) -> ConsentRecord:
        """With the time of now in a field that holds none; one change after the other, so that none
        takes back another."""
        if self.get(record_id) is None:
            raise UsageError(f"No consent record {record_id!r}. See: avsafe consent list")
        with locked(self._folder / ".lock"):
            record = self.get(record_id)
            if record is None:
                raise UsageError(f"The consent record {record_id!r} was just removed.")
            if getattr(record, what) is None and (what == "revoked_at" or record.may_embed):
                now: dict[str, Any] = {what: datetime.now(UTC).replace(microsecond=0)}
                record = replace(record, **now)
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
