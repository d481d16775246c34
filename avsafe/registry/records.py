"""What the registry holds of a release, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from avsafe.types import Kind, Mark

if TYPE_CHECKING:
    from avsafe.registry.fingerprint import Fingerprint


@dataclass(frozen=True)
class ReleaseRecord:
    """One release. User, salt, prompt hash and purpose are None once forgotten."""

    release_id: str
    created_at: datetime  # timezone-aware
    user: str | None
    task: str
    generator: str
    generator_version: str
    registered_generator: bool  # False: a name the installation did not know
    sha256: str  # of the released file
    kind: Kind
    decision: Mapping[str, Any]
    manifest_id: str
    manifest: bytes  # the C2PA manifest store as signed
    marks: tuple[Mark, ...] = ()
    fingerprint: Fingerprint | None = None
    salt: bytes | None = None  # of the hashes of user and prompt, here and in the ledger
    prompt_hash: str | None = None
    purpose: str | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    state: str = "released"  # released | revoked | any word of the caller
    forgotten_at: datetime | None = None


@dataclass(frozen=True)
class Reservation:
    """One of a user's jobs, counted before it runs."""

    id: str
    used_before: int  # jobs of this user in the window, this one not counted


@dataclass(frozen=True)
class Match:
    """A registered release that a fingerprint agrees with."""

    release_id: str
    similarity: float  # 0..1
    n_compared: int
    reason: str
