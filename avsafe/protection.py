"""People who refused: whose face or voice is never used here, whoever asks.

An entry names files by their SHA-256 and the person by a pseudonym, as a consent does; with an
embedding, to which the person agrees for this purpose, other pictures and recordings are refused
too. One private JSON file each, beside the consents; ended, it is deleted.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avsafe.errors import AvsafeError, UsageError
from avsafe.home import write_private

_ID = re.compile(r"p-[0-9a-f]{16}")
_WORD = re.compile(r"[\w .-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
MODALITIES = ("face", "voice")
NOTICE_VERSION = "1"
NOTICE = (
    "You ask that your face or voice is not used here. The hashes of the files that you give are "
    "kept for this until you take it back, and, if you agree, numbers computed from them, "
    "encrypted, that recognise other pictures or recordings of you. These numbers can identify you."
)


@dataclass(frozen=True)
class ProtectedPerson:
    """One face, or one voice, of one person."""

    id: str
    subject: str  # a pseudonym: never a legal name
    modality: str  # face | voice
    media_sha256: tuple[str, ...]
    created_at: datetime
    entered_by: str  # the account
    embedding: bool  # the person agreed to one
    notice_version: str = NOTICE_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"created_at": self.created_at.isoformat()}

    @classmethod
    def from_json(cls, value: Any) -> ProtectedPerson:
        """Raises UsageError for anything else than ``to_json`` gives."""
        try:
            record = cls(
                **value
                | {
                    "media_sha256": tuple(value["media_sha256"]),
                    "created_at": datetime.fromisoformat(value["created_at"]),
                }
            )
            whole = isinstance(record.embedding, bool) and record.created_at.tzinfo is not None
            whole = whole and isinstance(record.entered_by, str) and bool(_ID.fullmatch(record.id))
            _refuse_void(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"This is no protected person ({type(error).__name__}).") from error
        if not whole:
            raise UsageError("This is no protected person (a value is of another kind).")
        return record


class ProtectedPeople:
    """Those of one state folder.

    >>> import tempfile
    >>> people = ProtectedPeople(Path(tempfile.mkdtemp()))
    >>> one = people.add("somebody-3", "face", ["ab" * 32], entered_by="me", embedding=False)
    >>> [person.subject for person in people.list()]
    ['somebody-3']
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(
        self,
        subject: str,
        modality: str,
        media_sha256: Iterable[str],
        *,
        entered_by: str,
        embedding: bool,
    ) -> ProtectedPerson:
        """Write one. Raises UsageError for what protects nothing."""
        record = ProtectedPerson(
            f"p-{secrets.token_hex(8)}",
            subject,
            modality,
            tuple(media_sha256),
            datetime.now(UTC).replace(microsecond=0),
            entered_by,
            embedding,
        )
        _refuse_void(record)
        text = json.dumps(record.to_json(), indent=2, sort_keys=True)
        write_private(self._folder / f"{record.id}.json", text.encode())
        return record

    def get(self, record_id: str) -> ProtectedPerson | None:
        """One, or None when there is none of that id. Raises UsageError for a damaged file."""
        path = self._folder / f"{record_id}.json"
        if not _ID.fullmatch(record_id) or not path.is_file():
            return None
        try:
            record = ProtectedPerson.from_json(json.loads(path.read_bytes()))
            if record.id != record_id:
                raise UsageError(f"It holds {record.id!r}.")
        except (OSError, ValueError, RecursionError, AvsafeError) as error:
            raise UsageError(
                f"The protection {path} can't be used: {error} Restore it from a backup, or end it "
                f"and record it again."
            ) from error
        return record

    def list(self) -> list[ProtectedPerson]:
        """All, the newest first. Raises UsageError when one is damaged: whom it protects would not
        be known."""
        found = (self.get(path.stem) for path in self._folder.glob("p-*.json"))
        people = [one for one in found if one is not None]
        return sorted(people, key=lambda one: one.created_at, reverse=True)

    def ids(self) -> frozenset[str]:
        """Of all, the damaged ones too."""
        names = (path.stem for path in self._folder.glob("p-*.json"))
        return frozenset(name for name in names if _ID.fullmatch(name))

    def end(self, record_id: str) -> None:
        """Take one out, damaged or not."""
        if record_id in self.ids():
            (self._folder / f"{record_id}.json").unlink(missing_ok=True)


def _refuse_void(record: ProtectedPerson) -> None:
    if record.modality not in MODALITIES:
        raise UsageError(f"A face or a voice is protected, not {record.modality!r}.")
    if not _WORD.fullmatch(record.subject):
        raise UsageError("A pseudonym is a short word (letters, digits, blank, dot, hyphen).")
    if not record.media_sha256 or not all(_SHA256.fullmatch(one) for one in record.media_sha256):
        raise UsageError("A protection names at least one file.")
