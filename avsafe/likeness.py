"""Whose face, whose voice: what the policy is told of the portraits and voices of a request.

In this order, for each one: a release of this installation that was made from words alone, or a
trusted credential that says so by an issuer the team lists, is attested as synthetic; media that a
live consent record names is consented; anything else is unknown. The policy denies the unknown.

A credential that says "AI-generated" does not make a person fictional: a work with an input (an
edited photo, an animated portrait) attests nothing, whoever signed it. A watermark attests nothing
either, since marks can be copied.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from avsafe.consent import FACE, VOICE, ConsentRecord, ConsentRegister
from avsafe.errors import AvsafeError
from avsafe.types import GenerationRequest, InputMedia, Media, Task
from avsafe.workspace import Workspace

if TYPE_CHECKING:
    from avsafe.registry import ReleaseRecord

_log = logging.getLogger(__name__)

NONE, ATTESTED, CONSENTED = "none", "synthetic_attested", "consented"
EXPIRED, MISMATCH, UNKNOWN = "expired", "mismatch", "unknown"
MODALITY = {"portrait": FACE, "face": FACE, "voice": VOICE}
FROM_WORDS = frozenset((Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO))
ISSUERS = "synthetic-issuers.txt"  # in the policy folder: one organisation a line
_WORST = (UNKNOWN, MISMATCH, EXPIRED, CONSENTED, ATTESTED)


@dataclass(frozen=True)
class Likeness:
    """What ``policy.decide`` is told."""

    status: str = NONE
    scope: tuple[str, ...] = ()  # purposes that every consent covers


def of_request(request: GenerationRequest, workspace: Workspace) -> Likeness:
    """The likeness of a request: the worst of its portraits and voices.

    Nothing is raised: what cannot be read is unknown.
    """
    people = [item for item in request.inputs if item.role in MODALITY]
    if not people:
        return Likeness()
    register = ConsentRegister(workspace.home.consent)
    given = [record for i in request.consent_ids if (record := register.get(i)) is not None]
    found, scopes = set[str](), list[set[str]]()
    for item in people:
        if _attested(item.media, workspace):
            found.add(ATTESTED)
            continue
        status, record = _consented(item, given, request.generator)
        found.add(status)
        if record is not None:
            scopes.append(set(record.purposes))
    status = next(s for s in _WORST if s in found)
    scope = set.intersection(*scopes) if scopes else set[str]()
    return Likeness(status, tuple(sorted(scope)))


def _consented(
    item: InputMedia, given: Iterable[ConsentRecord], generator: str
) -> tuple[str, ConsentRecord | None]:
    now, status = datetime.now(UTC), UNKNOWN
    for record in given:
        fits = (
            record.modality == MODALITY[item.role]
            and item.media.sha256 in record.media_sha256
            and {"*", generator} & set(record.generators)
        )
        if fits and record.state(now) == "live":
            return CONSENTED, record
        status = EXPIRED if fits else (MISMATCH if status == UNKNOWN else status)
    return status, None


def _attested(media: Media, workspace: Workspace) -> bool:
    """Made from words alone, and somebody whom we believe says so."""
    release = workspace.registry.by_sha256(media.sha256)
    if release is not None:
        return _from_words(release)
    issuers = _issuers(workspace)
    return bool(issuers) and _declared(media, workspace, issuers)


def _from_words(release: ReleaseRecord) -> bool:
    return (
        release.state == "released" and release.registered_generator and release.task in FROM_WORDS
    )


def _issuers(workspace: Workspace) -> frozenset[str]:
    path = workspace.home.policy / ISSUERS
    if not path.is_file():
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line)


def _declared(media: Media, workspace: Workspace, issuers: frozenset[str]) -> bool:
    from avsafe.provenance.read import read_sandboxed
    from avsafe.provenance.report import CredentialStatus
    from avsafe.provenance.sourcetypes import ALGORITHMIC_MEDIA, TRAINED_ALGORITHMIC_MEDIA

    try:
        report = read_sandboxed(media.path, anchors=workspace.anchors)
    except AvsafeError as error:
        _log.warning("the credential of a portrait or voice was not read: %s", error)
        return False
    known = workspace.registry.by_manifest(report.manifest_id or "")
    made = {ALGORITHMIC_MEDIA, TRAINED_ALGORITHMIC_MEDIA}
    return (
        report.status is CredentialStatus.TRUSTED
        and report.issuer in issuers
        and bool(report.source_types)
        and set(report.source_types) <= made
        and not report.ingredients
        and (known is None or _from_words(known))
    )
