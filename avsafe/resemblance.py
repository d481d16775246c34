"""Whom the portraits and voices of a request resemble, among those who agreed to be recognised
and those who refused.

What is found is told to the policy (``likeness``), and a consent at most proposed: one that a
single person's record, and nobody else's, is near. Everything here raises when a gallery cannot be
read whole or a file cannot be looked at: the caller then believes nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from avsafe import recognition
from avsafe.consent import ConsentRecord, ConsentRegister
from avsafe.embeddings import Embeddings
from avsafe.errors import AvsafeError
from avsafe.protection import ProtectedPeople, ProtectedPerson
from avsafe.recognition import Known, Seen

if TYPE_CHECKING:
    from avsafe.types import GenerationRequest, LikenessEmbedder, Media
    from avsafe.workspace import Workspace

_log = logging.getLogger(__name__)


def of_team(granted_by: str, team: str) -> bool:
    """Whether who entered a consent (``team/name``, or a name of the installation's own) did so
    for this team too."""
    given, slash, _ = granted_by.partition("/")
    return not slash or given == team


class Resemblance:
    """Of one request: galleries and files are read when first asked about, and once."""

    def __init__(self, workspace: Workspace) -> None:
        self._home, self._database = workspace.home, workspace.registry.database
        self._seen: dict[tuple[str, str], Seen] = {}
        self._known: dict[str, tuple[Known, ...]] = {}

    def protected(self, media: Media, modality: str) -> bool:
        """Whether it shows, or may show, somebody who refused."""
        people = [one for one in self._people if one.modality == modality]
        if any(media.sha256 in one.media_sha256 for one in people):
            return True
        ids = {one.id for one in people}
        near = self._near(media, modality, ids)
        if not near and (idle := ids & self._idle(modality)):
            raise AvsafeError(
                f"{len(idle)} people who refused can be compared with nothing: the network that "
                "made their numbers is not in use. Name it in AVSAFE_EMBEDDERS, or protect them "
                "anew."
            )
        return near

    def consenting(self, media: Media, modality: str) -> bool:
        """Whether it shows, or may show, anybody who agreed to be recognised, in whatever team."""
        return self._near(media, modality, set(self._consents))

    def proposal(
        self, media: Media, modality: str, request: GenerationRequest
    ) -> ConsentRecord | None:
        """The one consent that may cover it: of the only person whom it is near, and near enough;
        None with several faces, or between two people. Consents of other teams are not told of."""
        one = self._embedders.get(modality)
        if one is None:
            return None
        mine = {i for i, record in self._consents.items() if _visible(record, request)}
        known = [k for k in self._gallery(modality) if k.id in mine]
        if not known or not (seen := self._look(media, modality, one)).alone:
            return None
        people: dict[tuple[str, str], float] = {}
        for somebody in known:
            person = _person(self._consents[somebody.id])
            apart = min(people.get(person, float("inf")), recognition.typical(seen, somebody))
            people[person] = apart
        near = [person for person, apart in people.items() if apart < one.info.other_above]
        if len(near) != 1 or people[near[0]] >= one.info.same_below:
            return None
        fitting = [
            record
            for i in mine
            if _person(record := self._consents[i]) == near[0]
            and record.modality == modality
            and {"*", request.generator} & set(record.generators)
            and request.purpose in record.purposes
        ]
        return max(fitting, key=lambda record: (record.created_at, record.id), default=None)

    # ------------------------------------------------------------ what there is to compare with

    @cached_property
    def _embedders(self) -> dict[str, LikenessEmbedder]:
        return recognition.embedders()

    @cached_property
    def _people(self) -> list[ProtectedPerson]:
        return ProtectedPeople(self._home.consent).list()

    @cached_property
    def _consents(self) -> dict[str, ConsentRecord]:
        """Live ones whose person agreed to be recognised, by id."""
        now = datetime.now(UTC)
        every = ConsentRegister(self._home.consent).list()
        return {r.id: r for r in every if r.may_embed and r.state(now) == "live"}

    def _gallery(self, modality: str) -> tuple[Known, ...]:
        if modality not in self._known:
            model = recognition.model_of(self._embedders[modality])
            store = Embeddings(self._database, self._home.keys)
            self._known[modality] = store.known(modality, model)
        return self._known[modality]

    def _idle(self, modality: str) -> frozenset[str]:
        """Whose embeddings are of a network that is not in use."""
        models = [recognition.model_of(one) for one in self._embedders.values()]
        return Embeddings(self._database, self._home.keys).beside(models, modality)

    def _look(self, media: Media, modality: str, one: LikenessEmbedder) -> Seen:
        place = (media.sha256, modality)
        if place not in self._seen:
            self._seen[place] = recognition.look(media.path, one)
        return self._seen[place]

    def _near(self, media: Media, modality: str, ids: set[str]) -> bool:
        one = self._embedders.get(modality)
        known = [k for k in self._gallery(modality) if k.id in ids] if one else []
        if one is None or not known:
            return False
        seen = self._look(media, modality, one)
        return any(recognition.nearest(seen, k) < one.info.other_above for k in known)


def shows_no_face(media: Media) -> bool:
    """Whether a picture surely shows no face; False where nobody can look."""
    from avsafe.media import analyse

    try:
        found = analyse(media.path, {"faces": "avsafe.faces.counting:FaceCount"})
        return int(found["faces"]["faces"].ravel()[0]) == 0
    except (AvsafeError, KeyError, IndexError, ValueError) as error:
        _log.warning("nobody looked for a face in a portrait: %s", type(error).__name__)
        return False


def _person(record: ConsentRecord) -> tuple[str, str]:
    """Pseudonyms are of whoever gave them: a team's, or the installation's."""
    team, slash, _ = record.granted_by.partition("/")
    return team if slash else "", record.subject


def _visible(record: ConsentRecord, request: GenerationRequest) -> bool:
    """Whether the request may stand on it: the owner of the installation sees every team's."""
    teams: Iterable[str] = request.principal.teams
    return not teams or any(of_team(record.granted_by, team) for team in teams)
