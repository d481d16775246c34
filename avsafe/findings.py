"""Evidence in plain words, and the one label that a set of evidence supports.

The order of labels, strongest first: a broken credential (``altered``), a valid one that says AI
(``synthetic-declared``), a mark whose registered fingerprint agrees (``synthetic-recovered``),
calibrated detectors (``synthetic-suspected``), a valid credential that says something else
(``declared-other``), nothing (``inconclusive``). There is no label "authentic".

A fingerprint alone never gives ``synthetic-recovered``: the unmarked original of a clip that we
released looks like the release, and is not one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import AvsafeError, SandboxFailure
from avsafe.media import Limits
from avsafe.types import Detection, Evidence, EvidenceStatus, Features, Label
from avsafe.workspace import Lookup

if TYPE_CHECKING:
    from avsafe.registry import Registry

# What reading the answer of a process that a hostile file took over may raise.
MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
FUSED = "detectors"  # the source of what detectors say together
VALID = {"trusted", "intact-unknown-signer"}  # C2PA's "Trusted" and "Valid"


def credential(path: Path, lookup: Lookup, limits: Limits) -> Evidence:
    """What the file's C2PA credential says, read in the sandbox."""
    from avsafe.provenance import read

    try:
        report = read.read_sandboxed(
            path, anchors=lookup.anchors, own=lookup.own_anchors, limits=limits
        )
        return report.evidence()
    except AvsafeError as error:
        return failed("credential", error)
    except MALFORMED:
        return failed("credential", SandboxFailure("The limited process sent no usable report."))


def failed(source: str, error: AvsafeError) -> Evidence:
    """The source could not do its work: says nothing about the media."""
    return Evidence(
        source, EvidenceStatus.FAILED, str(error), details={"error": type(error).__name__}
    )


def no_key(name: str) -> Evidence:
    return Evidence(
        f"watermark.{name}",
        EvidenceStatus.ABSTAINED,
        f"No {name} mark was looked for: this machine holds no watermark key.",
    )


def recovery(
    detections: Mapping[str, Detection],
    algorithms: Mapping[str, str],
    fingerprint: Features,
    registry: Registry | None,
) -> list[Evidence]:
    """One evidence per mark, and one for the fingerprint on its own.

    Raises SandboxFailure when the features are no fingerprint.
    """
    query = _query(fingerprint)
    found = [
        _mark(name, detection, algorithms[name], query, registry)
        for name, detection in detections.items()
    ]
    recovered = any(item.details.get("recovered") for item in found)
    return [*found, _resemblance(query, registry, recovered=recovered)]


def _query(features: Features) -> Any:
    """The fingerprint in hand; its parts come from a process that read a hostile file."""
    from avsafe.registry import fingerprint as fingerprints

    try:
        query = fingerprints.from_features(features)
        frames = {len(query.times_ms), len(query.hashes), len(query.middles), len(query.quality)}
        side = (fingerprints.THUMB_SIDE, fingerprints.THUMB_SIDE)
        fits = query.thumbs.shape == (len(query.thumb_times_ms), *side)
        if len(frames) == 1 and fits and query.times_ms.ndim == query.sound.ndim == 1:
            return query
    except MALFORMED:
        pass
    raise SandboxFailure("The limited process sent no usable fingerprint.")


def _mark(
    name: str, detection: Detection, algorithm: str, query: Any, registry: Registry | None
) -> Evidence:
    from avsafe.registry import fingerprint as fingerprints

    source = f"watermark.{name}"
    details: dict[str, Any] = {"algorithm": algorithm, "p_value": detection.p_value}
    if not detection.present or detection.payload is None:
        return Evidence(
            source,
            EvidenceStatus.ABSENT,
            f"No {name} mark of ours was found. That does not mean that the media is not AI-made.",
            details=details,
        )
    details["payload"] = f"{detection.payload:x}"
    record = registry.by_watermark(algorithm, detection.payload) if registry else None
    if record is None:
        return Evidence(
            source,
            EvidenceStatus.PRESENT,
            f"A {name} mark made with our key was found, but no release here has its number.",
            details=details | {"recovered": False},
        )
    agreement = fingerprints.compare(query, record.fingerprint)
    details |= {
        "release_id": record.release_id,
        "manifest_id": record.manifest_id,
        "generator": record.generator,
        "released_at": record.created_at.isoformat(),
        "recovered": agreement.agrees,
        "fingerprint_similarity": agreement.similarity,
    }
    if not agreement.agrees and not agreement.n_compared:
        return Evidence(
            source,
            EvidenceStatus.PRESENT,
            f"The {name} mark of release {record.release_id[:8]} was found, but the media could "
            f"not be compared with that release ({agreement.reason}), so the mark counts for "
            "nothing.",
            details=details,
        )
    if not agreement.agrees:
        return Evidence(
            source,
            EvidenceStatus.PRESENT,
            f"The {name} mark of release {record.release_id[:8]} was found, but the media does not "
            f"match that release ({agreement.reason}): the mark may have been copied.",
            details=details,
        )
    return Evidence(
        source,
        EvidenceStatus.PRESENT,
        f"The {name} mark leads to release {record.release_id[:8]}, made with "
        f"{record.generator} on {record.created_at:%Y-%m-%d}; the media matches it.",
        details=details,
    )


def _resemblance(query: Any, registry: Registry | None, *, recovered: bool) -> Evidence:
    reason = ""
    if registry is None:
        reason = "no release is registered on this machine"
    elif not query.n_sound and not len(query.sample(1)):
        reason = query.sound_missing or "the media holds too little to tell it from others"
    if registry is None or reason:
        return Evidence(
            "fingerprint", EvidenceStatus.ABSTAINED, f"It was compared with nothing: {reason}."
        )
    match = registry.by_fingerprint(query)
    if match is None:
        return Evidence(
            "fingerprint",
            EvidenceStatus.ABSENT,
            "The search by looks and sound alone, without the mark, finds no release."
            if recovered
            else "It looks and sounds like nothing that we released.",
        )
    return Evidence(
        "fingerprint",
        EvidenceStatus.PRESENT,
        f"It looks or sounds like release {match.release_id[:8]}"
        + (
            "."
            if recovered
            else ", but carries no mark that leads there: it may also be what it was made from."
        ),
        details={"release_id": match.release_id, "similarity": match.similarity},
    )


def label_of(evidence: Iterable[Evidence]) -> Label:
    """The strongest label that the evidence supports.

    >>> label_of([Evidence("credential", EvidenceStatus.INVALID, "broken")])
    <Label.ALTERED: 'altered'>
    """
    found = list(evidence)
    claim = next((e for e in found if e.source == "credential"), None)
    claim_status = claim.details.get("status") if claim else None
    valid = claim is not None and claim_status in VALID
    if claim is not None and claim.status is EvidenceStatus.INVALID:
        return Label.ALTERED
    if valid and claim is not None and claim.details.get("declares_ai"):
        return Label.SYNTHETIC_DECLARED
    if any(e.source.startswith("watermark.") and e.details.get("recovered") for e in found):
        return Label.SYNTHETIC_RECOVERED
    if any(_suspects(e) for e in found):
        return Label.SYNTHETIC_SUSPECTED
    if valid:
        return Label.DECLARED_OTHER
    if any(e.source == "domain" and e.status is EvidenceStatus.FAILED for e in found):
        return Label.UNREADABLE
    return Label.INCONCLUSIVE


def _suspects(evidence: Evidence) -> bool:
    """Detectors together, which speak only where each was calibrated (``avsafe.fusion``)."""
    return evidence.source == FUSED and evidence.status is EvidenceStatus.PRESENT
