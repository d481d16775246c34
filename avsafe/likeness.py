"""Whose face, whose voice: what the policy is told of the portraits and voices of a request.

For each one, the first that fits:
    1  somebody who refused (the file, or near it where embeddings are on): protected
    2  made from words alone, as our ledger or a trusted credential of an issuer that the team lists
       says, and near nobody who agreed to be recognised: attested as synthetic
    3  named by a live consent (its file, or one that a reviewer bound to this file): consented
    4  near one person alone who agreed to be recognised: proposed, for a human to bind
    5  a portrait without a face: no_face
    6  anything else: unknown, expired or mismatch
The policy sends 4 and 5 to a reviewer, and denies 1 and 6. What cannot be looked at is unknown.

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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from avsafe import plugins
from avsafe.consent import FACE, VOICE, ConsentRecord, ConsentRegister
from avsafe.errors import AvsafeError
from avsafe.resemblance import Resemblance, shows_no_face
from avsafe.types import Decision, GenerationRequest, InputMedia, Kind, Media, Task
from avsafe.workspace import Workspace

if TYPE_CHECKING:
    from avsafe.registry import ReleaseRecord

_log = logging.getLogger(__name__)

NONE, ATTESTED, CONSENTED = "none", "synthetic_attested", "consented"
EXPIRED, MISMATCH, UNKNOWN = "expired", "mismatch", "unknown"
PROTECTED, PROPOSED, NO_FACE = "protected", "proposed", "no_face"
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
_WORST = (PROTECTED, UNKNOWN, MISMATCH, EXPIRED, PROPOSED, NO_FACE, CONSENTED, ATTESTED)
_PORTRAITS = ("portrait", "face")  # roles


@dataclass(frozen=True)
class Proposal:
    """A consent that may cover an input; a human says whether it does."""

    number: int  # of the input
    sha256: str  # of its file
    modality: str
    consent_id: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"input": self.number, "sha256": self.sha256, "modality": self.modality,
                "consent": self.consent_id}  # fmt: skip


@dataclass(frozen=True)
class Likeness:
    """What ``policy.decide`` is told: status and scope."""

    status: str = NONE
    scope: tuple[str, ...] = ()  # purposes that every consent covers
    proposals: tuple[Proposal, ...] = ()
    expired: tuple[str, ...] = ()  # consents that the request stands on and that have ended

    def noted(self, decision: Decision) -> Decision:
        """The decision with what the ledger keeps of it and a reviewer is to be shown."""
        more: dict[str, Any] = {"likeness": self.status}
        if self.proposals:
            more["proposals"] = [one.to_json() for one in self.proposals]
        return replace(decision, details=dict(decision.details) | more)


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
    judged = _Judged(request, workspace)
    for item, modalities in people:
        for modality in sorted(modalities):
            judged.found.add(judged.status(item, modality))
    status = next(s for s in _WORST if s in judged.found)
    scope = set.intersection(*judged.scopes) if judged.scopes else set[str]()
    proposals = tuple(judged.proposals) if status == PROPOSED else ()
    return Likeness(status, tuple(sorted(scope)), proposals, tuple(sorted(judged.expired)))


class _Judged:
    """The inputs of one request, one after the other."""

    def __init__(self, request: GenerationRequest, workspace: Workspace) -> None:
        self._request, self._workspace = request, workspace
        self._resembles = Resemblance(workspace)
        register = ConsentRegister(workspace.home.consent)
        binds = request.approval.binds if request.approval is not None else ()
        named = dict.fromkeys((*request.consent_ids, *(one for _, one in binds)))
        self._given = [r for i in named if (r := _record(register, i)) is not None]
        self._attested: dict[str, bool] = {}
        self.found, self.scopes = set[str](), list[set[str]]()
        self.proposals: list[Proposal] = []
        self.expired = set[str]()

    def status(self, item: InputMedia, modality: str) -> str:
        """The steps of the module's head, for a face or a voice of one input."""
        try:
            return self._status(item, modality)
        except AvsafeError as error:  # a gallery that is not whole, a network that is not there
            _log.warning("whom an input resembles is not known: %s", error)
            return UNKNOWN

    def _status(self, item: InputMedia, modality: str) -> str:
        media, request = item.media, self._request
        if self._resembles.protected(media, modality):  # 1
            return PROTECTED
        if self._made(media) and not self._resembles.consenting(media, modality):  # 2
            return ATTESTED
        status, record = _consented(media, modality, self._given, request)  # 3
        if record is not None:
            if status == CONSENTED:
                self.scopes.append(set(record.purposes))
            else:
                self.expired.add(record.id)
            return status
        if request.approval is None:  # 4; what a reviewer saw and did not bind stays unbound
            proposed = self._resembles.proposal(media, modality, request)
            if proposed is not None:
                number = request.inputs.index(item)
                self.proposals.append(Proposal(number, media.sha256, modality, proposed.id))
                return PROPOSED
        portrait = item.role.strip().casefold() in _PORTRAITS and media.kind is Kind.IMAGE
        if status == UNKNOWN and modality == FACE and portrait and shows_no_face(media):  # 5
            return NO_FACE
        return status  # 6

    def _made(self, media: Media) -> bool:
        if media.sha256 not in self._attested:
            self._attested[media.sha256] = _attested(media, self._workspace)
        return self._attested[media.sha256]


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
    if request.task != Task.TEXT_TO_SPEECH and "voice" not in info.controls:
        return False  # it makes sounds, and speaks in no voice that a request could name
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
    media: Media, modality: str, given: Iterable[ConsentRecord], request: GenerationRequest
) -> tuple[str, ConsentRecord | None]:
    """With the record that covers it, or covered it."""
    now, status, ended = datetime.now(UTC), UNKNOWN, None
    binds = request.approval.binds if request.approval is not None else ()
    for record in given:
        fits = (
            record.modality == modality
            and (media.sha256 in record.media_sha256 or (media.sha256, record.id) in binds)
            and {"*", request.generator} & set(record.generators)
        )
        if fits and record.state(now) == "live":
            return CONSENTED, record
        ended = record if fits else ended
        status = MISMATCH
    return (EXPIRED, ended) if ended is not None else (status, None)


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
