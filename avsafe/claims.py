"""What we say about a release, to three readers: the manifest (everybody), the registry (us), the
ledger (auditors). No prompt in any of them unless asked; no path, no name in the ledger.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import TYPE_CHECKING, Any

from avsafe.media import MIME_BY_SUFFIX, changes, sha256_of
from avsafe.types import (
    Decision,
    Features,
    GenerationRequest,
    GeneratorInfo,
    Ingredient,
    Manifest,
    RawMedia,
    Release,
    SoftBinding,
    Task,
)

if TYPE_CHECKING:
    from avsafe.pipeline import Marked
    from avsafe.provenance.sign import Signed
    from avsafe.registry import ReleaseRecord
    from avsafe.staging import Stage

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# Tasks whose output is a changed version of an input, rather than a new work made from it.
EDITS = {Task.EDIT_VIDEO, Task.INPAINT_VIDEO, Task.STYLIZE_VIDEO}
UNREGISTERED_VERSION = "unregistered"


def prompt_hash(prompt: str, salt: bytes) -> str | None:
    """Salted HMAC-SHA256 of a prompt, hex; whoever holds the salt (the registry) can prove it.

    >>> prompt_hash("", b"salt") is None
    True
    """
    return hmac.new(salt, prompt.encode(), hashlib.sha256).hexdigest() if prompt else None


def manifest(
    request: GenerationRequest,
    info: GeneratorInfo | None,
    release_id: str,
    final: Path,
    salt: bytes,
    marked: Marked,
    visible_label: str | None,
) -> Manifest:
    """The C2PA claim of a release as plain data.

    A file made elsewhere that carries a credential becomes the parent of what we release, so that
    its history is kept; without one there is no history to keep, and it is declared as created.
    """
    from avsafe.provenance.read import has_credential

    continued = request.task is Task.RELEASE and has_credential(request.inputs[0].media.path)
    edited = request.task in EDITS or continued
    source_type = IPTC + "trainedAlgorithmicMedia"
    if info and request.task is not Task.RELEASE:  # of a file made elsewhere nobody vouches for it
        source_type = info.digital_source_type
    if request.task in EDITS and source_type == IPTC + "trainedAlgorithmicMedia":
        source_type = IPTC + "compositeWithTrainedAlgorithmicMedia"
    keep_inputs = request.task is not Task.RELEASE or continued
    ingredients = tuple(
        Ingredient(
            path=item.media.path,
            mime=item.media.mime,
            label=f"{item.role}-{number}",
            title=item.role,  # never the file's name: it may be a person's
            relationship="parentOf" if edited and number == 1 else "inputTo",
        )
        for number, item in enumerate(request.inputs if keep_inputs else (), 1)
    )
    return Manifest(
        title=f"{request.task} {release_id[:8]}",  # never the file's name, for the same reason
        mime=MIME_BY_SUFFIX[final.suffix.lower()],
        action="c2pa.edited" if edited else "c2pa.created",
        digital_source_type=source_type,
        generator=request.generator,
        generator_version=info.version if info else UNREGISTERED_VERSION,
        created_at=datetime.now(UTC).replace(microsecond=0),
        release_id=release_id,
        prompt_hash=prompt_hash(request.prompt, salt),
        prompt=request.prompt if request.parameters.get("disclose_prompt") else None,
        ingredients=ingredients,
        soft_bindings=tuple(
            SoftBinding(mark.algorithm, mark.payload.to_bytes(mark.payload_bits // 8, "big"))
            for mark in marked.marks
        ),
        visible_label=visible_label,
    )


def intent(
    request: GenerationRequest, decision: Decision, info: GeneratorInfo | None, salt: bytes
) -> dict[str, Any]:
    """The ledger's body for an intent: who asked is a salted hash, so that erasing the salt from
    the registry erases the person without breaking the log."""
    return {
        "user": prompt_hash(request.principal.user, salt),
        "prompt": prompt_hash(request.prompt, salt),
        "task": str(request.task),
        "generator": request.generator,
        "generator_registered": info is not None,
        "inputs": [item.media.sha256 for item in request.inputs],
        "consent_ids": _consents(request),
        "likeness": decision.details.get("likeness"),
        "proposed": [one["consent"] for one in decision.details.get("proposals", ())],
        "decision": {
            "effect": str(decision.effect),
            "rules": list(decision.rules),
            "reasons": list(decision.reasons),
            "obligations": [str(item) for item in decision.obligations],
            "policy_sha256": decision.policy_sha256,
        },
    } | _approved(request, salt)


def _consents(request: GenerationRequest) -> list[str]:
    """Named by who asked, or bound by a reviewer: the log refuses the release when one of them is
    withdrawn."""
    binds = request.approval.binds if request.approval is not None else ()
    return list(dict.fromkeys((*request.consent_ids, *(consent for _, consent in binds))))


def _approved(request: GenerationRequest, salt: bytes) -> dict[str, Any]:
    """Who let a review pass, as a salted hash, and over which rules; the reason is personal text
    and stays in the queue."""
    if request.approval is None:
        return {}
    return {
        "approval": {
            "reviewer": prompt_hash(request.approval.reviewer, salt),
            "rules": list(request.approval.rules),
            "at": request.approval.at,
            "bound": [consent for _, consent in request.approval.binds],
        }
    }


def release(
    stage: Stage,
    raw: RawMedia,
    decision: Decision,
    manifest: Manifest,
    signed: Signed,
    marked: Marked,
    meter: Meter,
) -> Release:
    """The Release of a signed file that stands in its stage."""
    return Release(
        release_id=stage.release_id,
        path=stage.final,
        sha256=sha256_of(stage.signed),
        kind=raw.kind,
        decision=decision,
        manifest=manifest,
        manifest_id=signed.manifest_id,
        marks=marked.marks,
        sidecar=stage.sidecar_of(stage.final) if signed.sidecar else None,
        cost=meter.total,
        details=raw.details,
        warnings=(*changes(raw, stage.final), *marked.warnings, *signed.warnings),
    )


def outcome(released: Release) -> dict[str, Any]:
    """The ledger's body for a release that is about to get its name."""
    return {
        "sha256": released.sha256,
        "manifest_id": released.manifest_id,
        "marks": [
            {"algorithm": mark.algorithm, "payload": f"{mark.payload:x}"} for mark in released.marks
        ],
        "label": released.manifest.visible_label,
    }


def record(
    request: GenerationRequest,
    info: GeneratorInfo | None,
    released: Release,
    manifest_bytes: bytes,
    fingerprint: Features,
    salt: bytes,
) -> ReleaseRecord:
    """The registry's row: what it takes to find the release again, and to answer for it."""
    from avsafe.registry import ReleaseRecord
    from avsafe.registry.fingerprint import from_features

    decision = intent(request, released.decision, info, salt)["decision"]
    return ReleaseRecord(
        release_id=released.release_id,
        created_at=released.manifest.created_at,
        user=request.principal.user,
        task=str(request.task),
        generator=request.generator,
        generator_version=released.manifest.generator_version,
        registered_generator=info is not None,
        sha256=released.sha256,
        kind=released.kind,
        decision=decision | {"risk": dict(released.decision.risk)},
        manifest_id=released.manifest_id,
        manifest=manifest_bytes,
        marks=released.marks,
        fingerprint=from_features(fingerprint),
        salt=salt,
        prompt_hash=released.manifest.prompt_hash,
        purpose=request.purpose,
        cost=released.cost,
    )


@dataclass
class Meter:
    """CPU-seconds per step, of this process and the children it waited for. ``began`` hears of each
    step."""

    began: Callable[[str], None] = lambda _name: None
    cost: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.began(name)
        before = _cpu_s()
        try:
            yield
        finally:
            self.cost[name] = round(self.cost.get(name, 0.0) + _cpu_s() - before, 3)

    @property
    def total(self) -> Mapping[str, float]:
        return self.cost | {"total_cpu_s": round(sum(self.cost.values()), 3)}


def _cpu_s() -> float:
    children = getrusage(RUSAGE_CHILDREN)
    own = getrusage(RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
