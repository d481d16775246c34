"""What a team sees first: how its jobs stand, what was released, what waits; all its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi.responses import Response
from sqlalchemy import func, select

from avsafe.registry.schema import reservations
from avsafe.server import files
from avsafe.server.jobs import (
    CANCELLED,
    DENIED,
    FAILED,
    QUEUED,
    RELEASED,
    REVIEW,
    RUNNING,
    Job,
    Jobs,
)
from avsafe.server.people import REVIEW as MAY_REVIEW
from avsafe.server.visits import Gone, Visit, Visits
from avsafe.server.words import Words
from avsafe.workspace import Workspace

LISTED = 50
STATES = (QUEUED, RUNNING, REVIEW, RELEASED, DENIED, FAILED, CANCELLED)
_RECENT, _WAITING = 6, 5
_PICTURES = (".mp4", ".png")
_DECODERS = 2  # stills that are made at once in one server process


def dashboard_pages(visits: Visits) -> None:
    """Add the pages."""
    settings, jobs, database = visits.settings, Jobs(visits.database), visits.database
    making = asyncio.Semaphore(_DECODERS)

    def used_by(user: str) -> int:
        since = datetime.now(UTC) - timedelta(hours=24)
        query = select(func.count()).where(
            reservations.c.user == user, reservations.c.created_at > since
        )
        with database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    async def overview(visit: Visit) -> Response:
        team, reviewer = visit.who.team, MAY_REVIEW in visit.who.scopes

        def found() -> dict[str, Any]:
            counts = jobs.counts(team)
            recent = jobs.list(team, limit=_RECENT, states=(RELEASED,))
            waiting = (
                jobs.list(team, limit=_WAITING, states=(REVIEW,), newest_first=False)
                if reviewer
                else ()
            )
            daily = visit.who.daily_quota
            return {
                "counts": [(s, visit.say(f"team:state:{s}"), counts.get(s, 0)) for s in STATES],
                "recent": [job_row(job, visit.say) for job in recent],
                "waiting": [job_row(job, visit.say) for job in waiting],
                "used": used_by(visit.who.account.name),
                "quota": Workspace.daily_quota if daily is None else daily,
                "reviewer": reviewer,
            }

        return visits.show(visit, "team_overview.html", **await asyncio.to_thread(found))

    async def listed(visit: Visit) -> Response:
        query = visit.request.query_params
        state, after = query.get("state", ""), query.get("after") or None
        states = (state,) if state in STATES else ()

        def found() -> tuple[Job, ...]:
            return jobs.list(visit.who.team, limit=LISTED + 1, after=after, states=states)

        rows = await asyncio.to_thread(found)
        waits = any(job.state in (QUEUED, RUNNING) for job in rows)
        return visits.show(
            visit,
            "team_jobs.html",
            rows=[job_row(job, visit.say) for job in rows[:LISTED]],
            older=rows[LISTED - 1].id if len(rows) > LISTED else "",
            state=states[0] if states else "",
            states=[(one, visit.say(f"team:state:{one}")) for one in STATES],
            reload_s=5 if waits and after is None else 0,
        )

    async def still(visit: Visit, job_id: str) -> Response:
        """A small picture of a release."""
        job = await asyncio.to_thread(jobs.get, job_id, visit.who.team)
        kept = await asyncio.to_thread(files.released, settings, job) if job is not None else None
        if job is None or kept is None or kept.suffix not in _PICTURES:
            raise Gone

        async with making:
            return Response(
                await asyncio.to_thread(files.still_of, settings, job, kept),
                media_type="image/webp",
            )

    visits.add("GET", "/", "", overview)
    visits.add("GET", "/jobs", "", listed)
    visits.add("GET", "/jobs/{job_id}/still", "", still)


def job_row(job: Job, say: Words) -> dict[str, Any]:
    """What pages show of a job."""
    error: Mapping[str, Any] = job.error or {}
    return {
        "id": job.id,
        "state": job.state,
        "said": say(f"team:state:{job.state}"),
        "prompt": job.request.get("prompt", ""),
        "model": job.request.get("generator", ""),
        "task": job.request.get("task", ""),
        "progress": job.progress,
        "stage": job.stage,
        "created": job.created_at,
        "code": error.get("code", ""),
        "message": error.get("message", ""),
        "appeal": error.get("appeal") or "",
        "release_id": job.release_id or "",
        "has_still": job.state == RELEASED and Path(job.output or "").suffix in _PICTURES,
    }
