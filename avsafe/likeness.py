"""Whose face, whose voice: what the policy is told of the portraits and voices of a request.

In this order, for each one: a release of this installation that was made from words alone by a
generator that cannot copy a person, or a trusted credential that says so by an issuer the team
lists, is attested as synthetic; media that a live consent record names is consented; anything else
is unknown. The policy denies the unknown.

In a talking head and in speech every picture, video and sound counts, whatever its role is called:
a generator may read it in any. In other tasks the inputs count that are called portrait, face or
voice. A voice that is only named (of a server, of a program) is unknown, unless the installation
lists it as nobody's: it may be a copy of somebody's.

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

from avsafe import plugins
from avsafe.consent import FACE, VOICE, ConsentRecord, ConsentRegister
from avsafe.errors import AvsafeError
from avsafe.types import GenerationRequest, InputMedia, Kind, Media, Task
from avsafe.workspace import Workspace

if TYPE_CHECKING:
    from avsafe.registry import ReleaseRecord

_log = logging.getLogger(__name__)

NONE, ATTESTED, CONSENTED = "none", "synthetic_attested", "consented"
EXPIRED, MISMATCH, UNKNOWN = "expired", "mismatch", "unknown"
MODALITY = {"portrait": FACE, "face": FACE, "voice": VOICE}
OF_PEOPLE = frozenset((Task.TALKING_HEAD, Task.TEXT_TO_SPEECH))  # where every input may show one
FROM_WORDS = frozenset((Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO, Task.TEXT_TO_SPEECH))
# Generators whose works show nobody: drawn, learned from drawings, spoken by formulas. Those that
# run a program, a model or a server of the user's can copy a photo or know a real face or voice.
FROM_NOBODY = frozenset(("one-pass", "portrait", "speech", "two-stage", "world"))
# In the policy folder, one name a line: organisations; more generators to be believed; voices that
# are nobody's, as GENERATOR:VOICE, or GENERATOR for all of its voices
ISSUERS, GENERATORS = "synthetic-issuers.txt", "synthetic-generators.txt"
VOICES = "synthetic-voices.txt"
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
    people = [(item, shown) for item in request.inputs if (shown := _shown(request, item))]
    seen = any(FACE in shown for _, shown in people)
    believed = {"talking-head"} | _listed(workspace, GENERATORS)
    if request.task == Task.TALKING_HEAD and not seen and request.generator not in believed:
        # a program can find a face by itself: in its command line, or in its model
        return Likeness(UNKNOWN)
    if _named_voice(request, people, workspace):
        return Likeness(UNKNOWN)
    if not people:
        return Likeness()
    register = ConsentRegister(workspace.home.consent)
    given = [record for i in request.consent_ids if (record := _record(register, i)) is not None]
    found, scopes = set[str](), list[set[str]]()
    for item, modalities in people:
        if _attested(item.media, workspace):
            found.add(ATTESTED)
            continue
        for modality in modalities:
            status, record = _consented(item.media, modality, given, request.generator)
            found.add(status)
            if record is not None:
                scopes.append(set(record.purposes))
    status = next(s for s in _WORST if s in found)
    scope = set.intersection(*scopes) if scopes else set[str]()
    return Likeness(status, tuple(sorted(scope)))


def _shown(request: GenerationRequest, item: InputMedia) -> frozenset[str]:
    """Face, voice or both: what of a person an input may show, by its role and by what it holds."""
    role = item.role.strip().casefold()
    if request.task not in OF_PEOPLE and role not in MODALITY:
        return frozenset()
    media = item.media
    face = media.kind is not Kind.AUDIO
    voice = media.kind is Kind.AUDIO or media.audio is not None
    held = {FACE} if face else set[str]()
    return frozenset(held | ({VOICE} if voice else set()) | {MODALITY.get(role, "")} - {""})


def _named_voice(
    request: GenerationRequest,
    people: Iterable[tuple[InputMedia, frozenset[str]]],
    workspace: Workspace,
) -> bool:
    """Whether it speaks in a voice that is known by its name alone, and nobody says whose it is."""
    if request.task not in (Task.TEXT_TO_SPEECH, Task.VIDEO_TO_AUDIO):
        return False
    name, voice = request.generator, request.parameters.get("voice")
    info = None if name in FROM_NOBODY else plugins.generator_info(name)
    if info is None or Task.TEXT_TO_SPEECH not in info.tasks:
        return False
    if not voice and any(VOICE in shown for _, shown in people):
        return False  # that of the input
    return not {name, f"{name}:{voice}"} & _listed(workspace, VOICES)


def _record(register: ConsentRegister, record_id: str) -> ConsentRecord | None:
    try:
        return register.get(record_id)
    except AvsafeError as error:
        _log.warning("a consent counts as not given: %s", error)
        return None


def _consented(
    media: Media, modality: str, given: Iterable[ConsentRecord], generator: str
) -> tuple[str, ConsentRecord | None]:
    now, status = datetime.now(UTC), UNKNOWN
    for record in given:
        fits = (
            record.modality == modality
            and media.sha256 in record.media_sha256
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
        return _from_words(release, workspace)
    issuers = _listed(workspace, ISSUERS)
    return bool(issuers) and _declared(media, workspace, issuers)


def _from_words(release: ReleaseRecord, workspace: Workspace) -> bool:
    """Of a generator that is believed, and without any input: the ledger says what went in."""
    if not (
        release.state == "released"
        and release.registered_generator
        and release.task in FROM_WORDS
        and release.generator in FROM_NOBODY | _listed(workspace, GENERATORS)
    ):
        return False
    try:
        entries = list(workspace.ledger.entries(release.release_id))
    except AvsafeError as error:
        _log.warning("what a release was made from was not read: %s", error)
        return False
    return [entry.body.get("inputs") for entry in entries if entry.type == "intent"] == [[]]


def _listed(workspace: Workspace, name: str) -> frozenset[str]:
    path = workspace.home.policy / name
    if not path.is_file():
        return frozenset()
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("%s was not read, so it names nobody: %s", name, error)
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
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
        and (known is None or _from_words(known, workspace))
    )
