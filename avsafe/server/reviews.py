"""The review queue, for programs and for people.

GET /api/reviews, POST /api/reviews/{id}    and the same as a page

A reviewer who is shown a proposed consent says whether it covers the file, by binding it; an
approval without that is refused.
"""

from __future__ import annotations

import asyncio
import io
import wave
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from avsafe import media
from avsafe.consent import ConsentRegister
from avsafe.errors import AvsafeError, UsageError
from avsafe.registry.database import Database
from avsafe.server import files
from avsafe.server.dashboard import LISTED, job_row
from avsafe.server.decisions import Decisions
from avsafe.server.gateway import NoSuchJob, Who
from avsafe.server.jobs import REVIEW, Job, Jobs
from avsafe.server.people import REVIEW as MAY_REVIEW
from avsafe.server.settings import Settings
from avsafe.server.uploads import Form
from avsafe.server.visits import Gone, Visit, Visits

if TYPE_CHECKING:
    from pathlib import Path

    from avsafe.consent import ConsentRecord

HEARD_S = 60.0  # of a sound that a reviewer hears


class Review(BaseModel):
    """A reviewer's decision."""

    decision: Literal["approve", "deny"]
    reason: str = Field(min_length=1, max_length=2000)
    rules: list[str] | None = Field(None, description="that were looked at; others stop it")
    bind: str | list[str] | None = Field(None, description="proposed consents that cover the files")


def review_routes(app: FastAPI, settings: Settings, database: Database) -> None:
    """Add the routes for programs."""
    decisions, router = Decisions(settings, database), APIRouter()

    @router.get("/api/reviews")
    async def reviews(who: Who) -> dict[str, Any]:
        """The team's requests that wait for a reviewer, the oldest first."""
        who.must(MAY_REVIEW)
        found = await asyncio.to_thread(_waiting, decisions.jobs, who.team, 100)
        return {"object": "list", "data": [review_json(job) for job in found]}

    @router.post("/api/reviews/{video_id}")
    async def review(video_id: str, review: Review, who: Who) -> dict[str, Any]:
        """Approve or deny, with a reason; nobody reviews a request of their own. What a decision
        proposes is bound by naming the consent."""
        who.must(MAY_REVIEW)
        job = await asyncio.to_thread(decisions.jobs.get, video_id, who.team)
        if job is None:
            raise NoSuchJob(f"There is no video {video_id[:80]!r}.")
        bind = [review.bind] if isinstance(review.bind, str) else review.bind or ()
        done = await asyncio.to_thread(
            lambda: decisions.review(
                job, who, approved=review.decision == "approve", reason=review.reason,
                seen=review.rules, bind=bind,
            )
        )  # fmt: skip
        return review_json(done)

    app.include_router(router)


def review_json(job: Job) -> dict[str, Any]:
    """What a reviewer sees: the request, and why it waits."""
    return {
        "id": job.id,
        "state": job.state,
        "created_at": job.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        "request": {k: v for k, v in job.request.items() if k != "inputs"}
        | {"inputs": [{"role": one["role"], "sha256": one["sha256"]}
                      for one in job.request.get("inputs", ())]},
        "decision": job.decision,
        "approval": job.approval,
    }  # fmt: skip


def review_pages(visits: Visits) -> None:
    """Add the pages."""
    settings = visits.settings
    decisions = Decisions(settings, visits.database)
    register = ConsentRegister(settings.home.consent)

    async def page(visit: Visit) -> Response:
        found = await asyncio.to_thread(_waiting, decisions.jobs, visit.who.team, LISTED)
        rows = [
            job_row(job, visit.say)
            | {
                "request": job.request,
                "decision": job.decision or {},
                "own": job.user_id == visit.who.account.id,
                "inputs": list(enumerate(job.request.get("inputs", ()))),
                "proposals": await asyncio.to_thread(_proposals, register, job),
            }
            for job in found
        ]
        return visits.show(visit, "team_reviews.html", rows=rows)

    async def shown(visit: Visit, job_id: str, number: str) -> Response:
        """An input as the browser may show it: decoded in the limited process, coded anew."""
        job = await _mine(decisions.jobs, visit, job_id)
        inputs = list(job.request.get("inputs", ()))
        if job.state != REVIEW or number not in map(str, range(len(inputs))):
            raise Gone
        name = inputs[int(number)]["file"]
        kept = await asyncio.to_thread(files.kept, settings, job, name)
        if kept is None:
            raise Gone
        if inputs[int(number)]["role"] in ("voice", "audio"):

            def sound() -> bytes:
                with kept.local(settings) as path:
                    return heard(path)

            return Response(await asyncio.to_thread(sound), media_type="audio/wav")
        still = await asyncio.to_thread(files.still, settings, kept)
        return Response(still, media_type="image/webp")

    async def decide(visit: Visit, form: Form, job_id: str) -> Response:
        job = await _mine(decisions.jobs, visit, job_id)
        decision = form.texts.get("decision")
        if decision not in ("approve", "deny"):
            raise UsageError("Approve or deny.")
        bind = [text for name, text in form.texts.items() if name.startswith("bind-") and text]
        await asyncio.to_thread(
            lambda: decisions.review(
                job, visit.who, approved=decision == "approve",
                reason=form.texts.get("reason", ""), seen=several(form.texts.get("rules")),
                bind=bind,
            )
        )  # fmt: skip
        return RedirectResponse(visit.path("reviews"), 303)

    visits.add("GET", "/reviews", MAY_REVIEW, page)
    visits.add("GET", "/reviews/{job_id}/input/{number}", MAY_REVIEW, shown)
    visits.add("POST", "/reviews/{job_id}", MAY_REVIEW, decide)


def heard(path: Path) -> bytes:
    """The first minute of a sound, decoded in the limited process, as a WAV file of ours.

    Raises UsageError when there is none.
    """
    import numpy as np

    raw = media.decode(path, max_duration_s=HEARD_S)
    if raw.samples is None:
        raise UsageError("It has no sound.")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(raw.rate_hz)
        for block in raw.samples:
            mono = np.nan_to_num(block.mean(axis=0)).clip(-1, 1)
            file.writeframes((mono * 32767).astype("<i2").tobytes())
    return out.getvalue()


def several(text: str | None) -> tuple[str, ...]:
    """Words with commas between."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _waiting(jobs: Jobs, team: str, most: int) -> tuple[Job, ...]:
    return jobs.list(team, limit=most, newest_first=False, states=(REVIEW,))


async def _mine(jobs: Jobs, visit: Visit, job_id: str) -> Job:
    job = await asyncio.to_thread(jobs.get, job_id, visit.who.team)
    if job is None:
        raise Gone
    return job


def _proposals(register: ConsentRegister, job: Job) -> list[dict[str, Any]]:
    """With the record of each; never anything of an embedding."""
    found = []
    for one in (job.decision or {}).get("proposals", ()):
        record: ConsentRecord | None = None
        with suppress(AvsafeError):  # damaged since: there is nothing to bind
            record = register.get(str(one["consent"]))
        if record is not None:
            found.append({"number": one["input"], "modality": one["modality"], "record": record})
    return found
