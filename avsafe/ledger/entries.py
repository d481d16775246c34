"""What the log holds and what it can prove, as plain data."""

from __future__ import annotations

import hmac
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from avsafe.errors import LedgerError
from avsafe.ledger import merkle


@dataclass(frozen=True)
class Entry:
    seq: int
    time: datetime
    type: str  # intent | outcome | any other word
    release_id: str
    body: Mapping[str, Any]
    previous: bytes  # leaf hash of the entry before; SHA-256("") for the first
    leaf_hash: bytes


@dataclass(frozen=True)
class Inclusion:
    """Proof that one entry is in the log under a signed checkpoint."""

    entry: Entry
    leaf: str  # the canonical JSON that was hashed
    size: int
    root: bytes
    path: tuple[bytes, ...]
    checkpoint: str  # the signed note for (size, root)
    verifier: str  # the key that signed it

    def holds(self) -> bool:
        """The path leads from leaf to root. The note's signature is the reader's to check."""
        value = merkle.leaf_hash(self.leaf.encode())
        return merkle.check_inclusion(self.entry.seq, self.size, value, list(self.path), self.root)


@dataclass(frozen=True)
class Consistency:
    """Proof that the log of ``new_size`` entries begins with the log of ``old_size``."""

    old_size: int
    new_size: int
    old_root: bytes
    new_root: bytes
    path: tuple[bytes, ...]

    def holds(self) -> bool:
        return merkle.check_consistency(
            self.old_size, self.new_size, self.old_root, self.new_root, list(self.path)
        )


@dataclass(frozen=True)
class Problem:
    seq: int | None  # the first entry it touches; None when it touches the log as a whole
    what: str


@dataclass(frozen=True)
class Reached:
    """How far a log was found whole: all that checking what comes after it needs."""

    size: int
    peaks: tuple[bytes, ...] = field(repr=False)
    previous: bytes = field(repr=False)
    open_intents: Mapping[str, int] = field(repr=False)


@dataclass(frozen=True)
class Verification:
    """``ok`` only without problems."""

    size: int
    root: bytes
    checkpoints: int  # how many signed notes were compared
    problems: tuple[Problem, ...]
    reached: Reached | None = None  # None when not whole

    @property
    def ok(self) -> bool:
        return not self.problems


def parse_leaf(leaf: bytes) -> Entry:
    """The entry of a leaf. Raises ValueError, KeyError or TypeError when it is not one."""
    value = json.loads(leaf)
    if not isinstance(value["body"], dict):
        raise TypeError("the body is not an object")
    return Entry(
        seq=value["seq"],
        time=datetime.fromisoformat(value["time"]),
        type=value["type"],
        release_id=value["release_id"],
        body=value["body"],
        previous=bytes.fromhex(value["previous"]),
        leaf_hash=merkle.leaf_hash(leaf),
    )


def canonical(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 JSON. Raises LedgerError for what JSON cannot hold exactly."""
    import rfc8785

    try:
        return bytes(rfc8785.dumps(dict(value)))
    except (rfc8785.CanonicalizationError, TypeError, ValueError, RecursionError) as error:
        raise LedgerError(
            f"A ledger entry takes JSON values only, integers up to 2^53: {error}"
        ) from error


def personal(text: str, salt: bytes) -> str:
    """What stands in a leaf for a person's words: HMAC-SHA256 under a salt kept elsewhere, hex.

    Deleting the salt makes the hash mean nothing, and the chain stays whole. The text is hashed in
    Unicode NFC. Raises LedgerError for a salt under 16 bytes, which could be searched.

    >>> len(personal("a red ball", bytes(16)))
    64
    """
    if len(salt) < 16:
        raise LedgerError(f"A salt needs 16 random bytes or more, this one has {len(salt)}.")
    return hmac.digest(salt, unicodedata.normalize("NFC", text).encode(), "sha256").hex()
