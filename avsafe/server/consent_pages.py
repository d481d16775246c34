"""Pages of consents: the register of a team, receipts, people who refused."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.responses import JSONResponse, RedirectResponse, Response

from avsafe import recognition
from avsafe.consent import ConsentRecord
from avsafe.consenting import Consenting
from avsafe.errors import AvsafeError, UsageError
from avsafe.protection import ProtectedPerson
from avsafe.resemblance import of_team
from avsafe.server.decisions import actor
from avsafe.server.jobs import Jobs
from avsafe.server.people import GENERATE, NotAllowed
from avsafe.server.people import REVIEW as MAY_REVIEW
from avsafe.server.reviews import several
from avsafe.server.uploads import Form, Upload
from avsafe.server.visits import Gone, Visit, Visits

_DAYS = re.compile(r"[0-9]{1,4}")


class TeamConsents:
    """What a team may see and do."""

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self._consenting = Consenting(visits.settings.home, visits.database)
        self._jobs = Jobs(visits.database)

    def of_team(self, team: str) -> list[ConsentRecord]:
        """What was entered in the team, and what the installation itself recorded for all."""
        return [r for r in self._consenting.register.list() if of_team(r.granted_by, team)]

    async def page(self, visit: Visit) -> Response:
        now = datetime.now(UTC)
        team = visit.who.team
        found = await asyncio.to_thread(self.of_team, team)
        kept = await asyncio.to_thread(self._consenting.embeddings.ids)
        rows = [
            {"record": record, "state": record.state(now), "own": "/" in record.granted_by,
             "said": visit.say(f"team:consent-state:{record.state(now)}"),
             "embedding": record.id in kept}
            for record in found
        ]  # fmt: skip
        people = await asyncio.to_thread(self._protected, visit) if _may_protect(visit) else []
        return self._visits.show(
            visit, "team_consent.html", rows=rows, notices=_switched(),
            people=[{"person": one, "own": "/" in one.entered_by, "embedding": one.id in kept}
                    for one in people],
        )  # fmt: skip

    async def add(self, visit: Visit, form: Form) -> Response:
        texts, file = form.texts, _file(visit, form)
        evidence = form.files.get("evidence")
        days = texts.get("days", "365").strip()

        def record() -> None:
            self._consenting.record(
                [file.path],
                texts.get("subject", ""),
                texts.get("modality", ""),
                actor=actor(visit.who),
                granted_by=_giver(visit),
                adult=texts.get("adult") == "yes",
                purposes=several(texts.get("purposes")) or ("general",),
                generators=several(texts.get("generators")) or ("*",),
                duration=timedelta(days=int(days) if _DAYS.fullmatch(days) else 0),
                evidence=evidence.path if evidence and evidence.size_bytes else None,
                embedding=texts.get("embedding") == "yes",
            )

        await asyncio.to_thread(record)
        return RedirectResponse(visit.path("consent"), 303)

    async def revoke(self, visit: Visit, form: Form, record_id: str) -> Response:
        """What waits on it ends at once; what runs is stopped by its worker."""

        def withdraw() -> None:
            self._of_team(record_id, visit.who.team, own=True)
            self._consenting.withdraw(record_id, actor(visit.who))
            self._jobs.stop_for_consent(record_id)

        await asyncio.to_thread(withdraw)
        return RedirectResponse(visit.path("consent"), 303)

    async def forget(self, visit: Visit, form: Form, record_id: str) -> Response:
        """Delete the embedding; the consent stays."""

        def forget() -> None:
            self._of_team(record_id, visit.who.team, own=True)
            self._consenting.forget_embedding(record_id, actor(visit.who))

        await asyncio.to_thread(forget)
        return RedirectResponse(visit.path("consent"), 303)

    async def receipt(self, visit: Visit, record_id: str) -> Response:
        record, found = await asyncio.to_thread(self._receipt, visit, record_id)
        name = f'attachment; filename="consent-{record.id}.jsonld"'
        return JSONResponse(
            found, media_type="application/ld+json", headers={"Content-Disposition": name}
        )

    async def receipt_page(self, visit: Visit, record_id: str) -> Response:
        """The same for people, to be printed."""
        record, found = await asyncio.to_thread(self._receipt, visit, record_id)
        state = record.state(datetime.now(UTC))
        return self._visits.show(
            visit, "team_receipt.html", record=record, state=state,
            said=visit.say(f"team:consent-state:{state}"),
            kept=found.get("dpv:hasStorageCondition", {}).get("dpv:hasStatus") == "kept",
        )  # fmt: skip

    def _receipt(self, visit: Visit, record_id: str) -> tuple[ConsentRecord, dict[str, Any]]:
        record = self._of_team(record_id, visit.who.team)
        return record, self._consenting.receipt(record, actor(visit.who))

    # ------------------------------------------------------------ people who refused

    async def protect(self, visit: Visit, form: Form) -> Response:
        file = _file(visit, form)

        def protect() -> None:
            self._consenting.protect(
                [file.path],
                form.texts.get("subject", ""),
                form.texts.get("modality", ""),
                actor=actor(visit.who),
                entered_by=_giver(visit),
                embedding=form.texts.get("embedding") == "yes",
            )

        await asyncio.to_thread(protect)
        return RedirectResponse(visit.path("consent"), 303)

    async def unprotect(self, visit: Visit, form: Form, record_id: str) -> Response:
        def end() -> None:
            found = {one.id: one for one in self._protected(visit)}
            if record_id not in found:
                raise Gone
            if "/" not in found[record_id].entered_by:
                raise NotAllowed("Whoever runs this installation entered it, and ends it.")
            self._consenting.end_protection(record_id, actor(visit.who))

        await asyncio.to_thread(end)
        return RedirectResponse(visit.path("consent"), 303)

    def _protected(self, visit: Visit) -> list[ProtectedPerson]:
        """Whom the team entered, and the installation; others protect here too, unseen."""
        every = self._consenting.people.list()
        return [one for one in every if of_team(one.entered_by, visit.who.team)]

    def _of_team(self, record_id: str, team: str, *, own: bool = False) -> ConsentRecord:
        record = self._consenting.register.get(record_id)
        if record is None or not of_team(record.granted_by, team):
            raise Gone
        if own and "/" not in record.granted_by:
            raise NotAllowed("Whoever runs this installation entered it, and withdraws it.")
        return record


def consent_pages(visits: Visits) -> TeamConsents:
    """Add the pages."""
    pages = TeamConsents(visits)
    for method, path, scope, page in (
        ("GET", "/consent", "", pages.page),
        ("POST", "/consent", GENERATE, pages.add),
        ("POST", "/consent/{record_id}/revoke", GENERATE, pages.revoke),
        ("POST", "/consent/{record_id}/forget", GENERATE, pages.forget),
        ("GET", "/consent/{record_id}/receipt", "", pages.receipt),
        ("GET", "/consent/{record_id}", "", pages.receipt_page),
        ("POST", "/protected", MAY_REVIEW, pages.protect),
        ("POST", "/protected/{record_id}/end", MAY_REVIEW, pages.unprotect),
    ):
        visits.add(method, path, scope, page)
    return pages


def _may_protect(visit: Visit) -> bool:
    return MAY_REVIEW in visit.who.scopes


def _giver(visit: Visit) -> str:
    return f"{visit.who.team}/{visit.who.account.name}"


def _file(visit: Visit, form: Form) -> Upload:
    file = form.files.get("files")
    if file is None or not file.size_bytes:
        raise UsageError(visit.say("team:consent-no-file"))
    return file


def _switched() -> tuple[str, ...]:
    """Of what the operator switched embeddings on: face, voice."""
    try:
        return tuple(sorted(recognition.embedders()))
    except AvsafeError:
        return ()
