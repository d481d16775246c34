"""The C2PA Soft Binding Resolution API: from a mark or from content to our manifests.

Read only, and free of personal data: it answers with identifiers, and with manifests as signed.
Source: C2PA, Soft Binding Resolution API (byBinding, byContent, manifests, supportedAlgorithms).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from avsafe import plugins
from avsafe.pipeline import MARKS_OF_KIND
from avsafe.types import Verdict

if TYPE_CHECKING:
    from avsafe.registry import Registry
    from avsafe.registry.records import ReleaseRecord

MEDIA_TYPE = "application/c2pa"
FINGERPRINT = "org.avsafe.fingerprint.1"  # how likeness of looks and sound is named here
MAX_VALUE = 4096  # characters of a binding's value
MOST = 100  # matches that one answer may hold
DEFAULT_MOST = 10


class BadQuery(ValueError):
    """The query is malformed."""


def algorithms() -> dict[str, list[dict[str, str]]]:
    """Body of ``/services/supportedAlgorithms``."""
    names = sorted({name for names in MARKS_OF_KIND.values() for name in names})
    marks = sorted({plugins.load("watermarkers", name).algorithm for name in names})
    return {
        "watermarks": [{"alg": mark} for mark in marks],
        "fingerprints": [{"alg": FINGERPRINT}],
    }


def payload_of(value: str) -> int:
    """The number that a soft binding's value (base64, as in the manifest) holds.

    Raises BadQuery.
    """
    if len(value) > MAX_VALUE:
        raise BadQuery("the value is too long")
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        try:
            raw = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise BadQuery("the value is not base64") from None
    return payload_of_bytes(raw)


def payload_of_bytes(raw: bytes) -> int:
    """As ``avsafe.claims`` writes a mark's number into the manifest. Raises BadQuery."""
    if not 0 < len(raw) <= 32:
        raise BadQuery("the value has no length that one of our marks has")
    return int.from_bytes(raw, "big")


def by_binding(registry: Registry | None, algorithm: str, value: str) -> list[ReleaseRecord]:
    """Releases that carry this mark: none or one. Raises BadQuery."""
    payload = payload_of(value)
    record = registry.by_watermark(algorithm, payload) if registry else None
    return [record] if record is not None else []


def by_content(verdict: Verdict, registry: Registry | None) -> list[tuple[ReleaseRecord, int]]:
    """Releases that a verdict on an upload leads to, with the agreement in percent; the strongest
    first, each once. A mark that does not fit its release leads nowhere."""
    found: dict[str, int] = {}
    for item in verdict.evidence:
        release = item.details.get("release_id")
        if not isinstance(release, str):
            continue
        if item.source.startswith("watermark.") and item.details.get("recovered") is not True:
            continue
        agreement = item.details.get("fingerprint_similarity", item.details.get("similarity"))
        score = round(100 * agreement) if isinstance(agreement, float) else 0
        found[release] = max(score, found.get(release, 0))
    records = (
        [(registry.get(release), score) for release, score in found.items()] if registry else []
    )
    known = [(record, score) for record, score in records if record is not None]
    return sorted(known, key=lambda pair: -pair[1])


def matches(
    records: Iterable[tuple[ReleaseRecord, int | None]], most: int = DEFAULT_MOST
) -> dict[str, list[dict[str, Any]]]:
    """Body of both kinds of match."""
    return {
        "matches": [
            {"manifestId": record.manifest_id}
            | ({"similarityScore": score} if score is not None else {})
            for record, score in records
        ][:most]
    }
