"""Calls that wait for what they ask for: pictures and speech.

A job is queued, watched until it ends, and its file handed over; then nothing of it stays, whoever
hung up meanwhile. With an Idempotency-Key it stays for an hour, so that a call that is repeated
gets the same file. What waits for a reviewer stays, too: the answer names its job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse

from avsafe.errors import AvsafeError, UsageError
from avsafe.server import files
from avsafe.server.jobs import DENIED, ENDED, FAILED, QUEUED, REVIEW, RUNNING, Job, Jobs
from avsafe.server.people import Identity
from avsafe.server.settings import Settings

_LOOK_S = 0.2
LONGEST_KEY = 255
# What a worker's error says of the request; everything else is a fault of ours.
_OF_THE_REQUEST = frozenset({"usage_error", "not_understood", "cannot_mark", "mark_not_readable",
                             "missing_stream", "unreadable_media"})  # fmt: skip


class NotMade(AvsafeError):
    """A call that waited and got no file; ``answer`` is what the client is told."""

    def __init__(self, answer: JSONResponse) -> None:
        super().__init__("It was not made.")
        self.answer = answer


@dataclass(frozen=True)
class Made:
    """What was released for a call."""

    path: Path
    release_id: str


def key_of(headers: Mapping[str, str]) -> str | None:
    """The Idempotency-Key of a call. Raises UsageError."""
    key = headers.get("idempotency-key") or None
    if key is not None and len(key) > LONGEST_KEY:
        raise UsageError(f"An idempotency key has at most {LONGEST_KEY} letters.")
    return key


@asynccontextmanager
async def made(
    jobs: Jobs, settings: Settings, who: Identity, endpoint: str, wanted: Mapping[str, Any],
    key: str | None = None,
) -> AsyncIterator[Made]:  # fmt: skip
    """The file that a request leads to; gone afterwards. Raises NotMade, TooMany, Conflict."""

    def add() -> Job:
        return jobs.add(
            who.account.id, who.team, endpoint, wanted,
            idempotency_key=key, most=settings.team_jobs,
        )[0]  # fmt: skip

    job = await asyncio.to_thread(add)
    try:
        job = await _ended(jobs, job, settings.wait_s)
        if job.state in (QUEUED, RUNNING):
            raise NotMade(_late())
        kept = await asyncio.to_thread(files.released, settings, job)
        if kept is None:
            raise NotMade(refused(job))
        with ExitStack() as held:  # it may have to be fetched
            path = await asyncio.to_thread(held.enter_context, kept.local(settings))
            yield Made(path, job.release_id or "")
    finally:
        if key is None:
            await asyncio.shield(asyncio.to_thread(_leave, jobs, settings, job))


async def _ended(jobs: Jobs, job: Job, within_s: float) -> Job:
    """The job when it has ended or waits for review, or as it is when time is up."""
    until = time.monotonic() + within_s
    while True:
        found = await asyncio.to_thread(jobs.get, job.id)
        if found is None:
            return job
        if found.state in (*ENDED, REVIEW) or time.monotonic() > until:
            return found
        await asyncio.sleep(_LOOK_S)


def _leave(jobs: Jobs, settings: Settings, job: Job) -> None:
    try:
        if job.state not in (*ENDED, REVIEW):
            job = jobs.cancel(job.id)
        if job.state in ENDED:
            jobs.delete(job.id)
            files.forget(settings, job.id)
    except UsageError:
        pass  # it ended in between; the sweep takes it


def _late() -> JSONResponse:
    late = failure(
        "busy", "It was not made in time: nobody works here, or too many jobs wait. Try again "
        "later.", 503, kind="generation_error",
    )  # fmt: skip
    late.headers["Retry-After"] = "60"
    return late


def refused(job: Job) -> JSONResponse:
    """Why a job led to no file: 403 for a rule or a review, 400 for what cannot be made of this
    request, 409 for one that was cancelled, 500 for a fault of ours."""
    error = dict(job.error or {"code": job.state, "message": f"It ended as {job.state}."})
    more = {k: error[k] for k in ("rules", "appeal") if k in error} | {"state": job.state}
    if job.state == REVIEW:  # it can be followed: nothing is lost when somebody approves it
        more |= {"id": job.id, "follow": f"/v1/videos/{job.id}"}
    status, kind = 409, "generation_error"
    if job.state in (DENIED, REVIEW):
        status, kind = 403, "policy_error"
    elif job.state == FAILED:
        ours = error["code"] not in _OF_THE_REQUEST
        status, kind = (500, kind) if ours else (400, "invalid_request_error")
    return failure(str(error["code"]), str(error["message"]), status, kind=kind, **more)


def failure(code: str, message: str, status: int, *, kind: str = "invalid_request_error",
            **more: Any) -> JSONResponse:  # fmt: skip
    """An error in OpenAI's shape."""
    body = {"message": message, "type": kind, "param": None, "code": code} | more
    return JSONResponse({"error": body}, status)
