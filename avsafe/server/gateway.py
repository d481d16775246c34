"""The gateway: the OpenAI shapes of video and image generation, in front of the gate (speech is in
``server.speech``).

    POST /v1/videos, GET /v1/videos, GET /v1/videos/{id}, GET /v1/videos/{id}/content,
    POST /v1/videos/{id}/cancel, DELETE /v1/videos/{id}, POST /v1/images/generations, GET /v1/models
    GET /api/whoami

A denial is an error with the rule's stable id as its code, its reason and where to appeal. Jobs are
seen by their team alone: another team's job does not exist.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from avsafe import plugins
from avsafe.errors import ObjectsError, UnreadableMedia, UsageError
from avsafe.registry.database import Database
from avsafe.server import asked, files, ranges
from avsafe.server.decisions import Decisions
from avsafe.server.jobs import (
    CANCELLED,
    DENIED,
    ENDED,
    FAILED,
    IMAGES,
    QUEUED,
    RELEASED,
    REVIEW,
    RUNNING,
    VIDEOS,
    Conflict,
    Job,
    Jobs,
    TooMany,
    new_id,
)
from avsafe.server.people import GENERATE, Identity, NotAllowed, NotAuthenticated, People
from avsafe.server.settings import Settings
from avsafe.server.uploads import BadUpload, received
from avsafe.server.waiting import NotMade, failure, key_of, made

_log = logging.getLogger(__name__)
STATUS = {
    QUEUED: "queued", RUNNING: "in_progress", REVIEW: "queued", RELEASED: "completed",
    DENIED: "failed", FAILED: "failed", CANCELLED: "failed",
}  # fmt: skip
_LONGEST_JSON = 1 << 20
_JSON_S = 30.0


async def identity(request: Request) -> Identity:
    """Whose key came with a request."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise NotAuthenticated("Send your key as: Authorization: Bearer avs_...")
    people: People = request.app.state.people
    return await asyncio.to_thread(people.identify, key.strip())


Who = Annotated[Identity, Depends(identity)]


def gateway(app: FastAPI, settings: Settings, database: Database) -> None:
    """Add the routes to the service."""
    files.store_of(settings)  # complains here of an address that is none
    jobs = Jobs(database)
    app.state.people = People(database)
    decisions = Decisions(settings, database)
    router = APIRouter()

    async def mine(video_id: str, who: Identity) -> Job:
        job = await asyncio.to_thread(jobs.get, video_id, who.team)
        if job is None:
            raise NoSuchJob(f"There is no video {video_id[:80]!r}.")
        return job

    # ------------------------------------------------------------ videos

    @router.post("/v1/videos", openapi_extra=_VIDEO_BODY)
    async def create_video(request: Request, who: Who) -> Response:
        """Queue a video. Beside OpenAI's fields: task, negative_prompt, seed, purpose, consent_ids,
        parameters, and files portrait, voice, video, audio, image, mask. The header
        Idempotency-Key makes a repeated call harmless."""
        who.must(GENERATE)
        key = key_of(request.headers)
        await asyncio.to_thread(_room, jobs, who.team, settings.team_jobs)
        async with _asked(request, settings) as (fields, form):
            who = await identity(request)  # files may have been long on their way
            who.must(GENERATE)
            wanted = await asyncio.to_thread(asked.video, fields, settings.offered, form)
            job_id = new_id()

            def add() -> tuple[Job, bool]:
                files.keep_inputs(settings, job_id, wanted, form)
                return jobs.add(
                    who.account.id, who.team, VIDEOS, wanted,
                    idempotency_key=key, job_id=job_id, most=settings.team_jobs,
                )  # fmt: skip

            try:
                job, fresh = await asyncio.to_thread(add)
            except BaseException:
                await asyncio.to_thread(files.forget, settings, job_id)
                raise
            if not fresh:
                await asyncio.to_thread(files.forget, settings, job_id)
        return JSONResponse(video_json(job, settings))

    @router.get("/v1/videos")
    async def list_videos(
        who: Who,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: str | None = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        """The team's videos."""
        found = await asyncio.to_thread(
            lambda: jobs.list(
                who.team, limit=limit + 1, after=after, newest_first=order == "desc",
                endpoint=VIDEOS,
            )
        )  # fmt: skip
        data = [video_json(job, settings) for job in found[:limit]]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": len(found) > limit,
        }

    @router.get("/v1/videos/{video_id}")
    async def get_video(video_id: str, who: Who) -> dict[str, Any]:
        """One video: its status, progress, and the error with its stable code."""
        return video_json(await mine(video_id, who), settings)

    @router.get("/v1/videos/{video_id}/content", response_class=StreamingResponse)
    async def content(
        request: Request,
        video_id: str,
        who: Who,
        variant: Literal["video", "thumbnail"] = "video",
    ) -> Response:
        """The released file, signed and marked, or a range of it; or a still of it."""
        job = await mine(video_id, who)
        if job.state != RELEASED:
            raise Conflict(f"The video is not there yet ({STATUS[job.state]}).")
        kept = await asyncio.to_thread(files.released, settings, job)
        if kept is None:
            raise NoSuchJob("The file is kept no longer.")
        if variant == "thumbnail":
            still = await asyncio.to_thread(files.still_of, settings, job, kept)
            return Response(still, media_type="image/webp")
        return ranges.answer(request, kept, job.id)

    @router.post("/v1/videos/{video_id}/cancel")
    async def cancel(video_id: str, who: Who) -> dict[str, Any]:
        """Stop it: at once while it waits, within its next step while it runs."""
        who.must(GENERATE)
        job = await mine(video_id, who)
        return video_json(await asyncio.to_thread(decisions.stop, job.id, who), settings)

    @router.delete("/v1/videos/{video_id}")
    async def delete(video_id: str, who: Who) -> dict[str, Any]:
        """Take a video that has ended out of the queue, with prompt, inputs and file. The registry
        and the ledger keep what they must, without the prompt."""
        who.must(GENERATE)
        job = await mine(video_id, who)
        await asyncio.to_thread(jobs.delete, job.id)
        await asyncio.to_thread(files.forget, settings, job.id)
        return {"id": job.id, "object": "video.deleted", "deleted": True}

    # ------------------------------------------------------------ images

    @router.post("/v1/images/generations", openapi_extra=_IMAGE_BODY)
    async def images(request: Request, who: Who) -> Response:
        """Pictures, signed and marked, as base64 PNG. Waits until they are made."""
        who.must(GENERATE)
        key = key_of(request.headers)
        fields = await json_body(request)
        wanted = await asyncio.to_thread(asked.image, fields, settings.offered)
        found = []
        for number in range(asked.count(fields)):
            one = wanted | {"seed": wanted["seed"] + number}
            its = key and f"{key}/{number}"
            async with made(jobs, settings, who, IMAGES, one, its) as picture:
                data = await asyncio.to_thread(picture.path.read_bytes)
            found.append({"b64_json": base64.b64encode(data).decode(), "revised_prompt": None})
        return JSONResponse({"created": int(time.time()), "output_format": "png", "data": found})

    # ------------------------------------------------------------ what there is, who asks

    @router.get("/v1/models")
    async def models(who: Who) -> dict[str, Any]:
        """The generators of this service."""

        def listed() -> list[dict[str, Any]]:
            infos = (plugins.generator_info(name) for name in settings.offered)
            return [
                {
                    "id": info.name, "object": "model", "created": 0, "owned_by": "avsafe",
                    "tasks": [str(task) for task in info.tasks], "licence": info.licence,
                    "commercial_ok": info.commercial_ok, "max_seconds": info.max_duration_s,
                }
                for info in infos
                if info is not None
            ]  # fmt: skip

        return {"object": "list", "data": await asyncio.to_thread(listed)}

    @router.get("/api/whoami")
    async def whoami(who: Who) -> dict[str, Any]:
        """What the service takes you for."""
        principal = who.principal
        return {
            "user": principal.user, "team": who.team, "roles": list(principal.roles),
            "scopes": sorted(who.scopes), "suspended": principal.suspended,
        }  # fmt: skip

    # ------------------------------------------------------------ errors

    @app.exception_handler(NotAuthenticated)
    async def no_key(_: Request, error: NotAuthenticated) -> Response:
        answer = failure("invalid_api_key", str(error), 401, kind="invalid_request_error")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    @app.exception_handler(NotAllowed)
    async def no_scope(_: Request, error: NotAllowed) -> Response:
        return failure("not_allowed", str(error), 403, kind="permission_error")

    @app.exception_handler(TooMany)
    async def too_many(_: Request, error: TooMany) -> Response:
        answer = failure("too_many_jobs", str(error), 429, kind="rate_limit_error")
        answer.headers["Retry-After"] = "60"
        return answer

    @app.exception_handler(NotMade)
    async def not_made(_: Request, error: NotMade) -> Response:
        return error.answer

    @app.exception_handler(NoSuchJob)
    async def no_job(_: Request, error: NoSuchJob) -> Response:
        return failure("not_found", str(error), 404)

    @app.exception_handler(Conflict)
    async def conflict(_: Request, error: Conflict) -> Response:
        return failure("conflict", str(error), 409)

    @app.exception_handler(ObjectsError)
    async def no_store(_: Request, error: ObjectsError) -> Response:
        _log.error("%s", error)
        late = failure("storage_unavailable", "The files cannot be reached now. Try again later.",
                       503, kind="server_error")  # fmt: skip
        late.headers["Retry-After"] = "60"
        return late

    @app.exception_handler(UnreadableMedia)
    async def unreadable(_: Request, error: UnreadableMedia) -> Response:
        return failure("unreadable_input", "An input cannot be read as media.", 400)

    app.include_router(router)


class NoSuchJob(UsageError):
    """There is no such job for this team."""


def video_json(job: Job, settings: Settings) -> dict[str, Any]:
    """A job as OpenAI's video object, with ours beside: state, release_id, task."""
    width, height = job.request.get("width"), job.request.get("height")
    expires = None
    if job.finished_at is not None and job.state == RELEASED:
        expires = int(job.finished_at.timestamp()) + settings.keep_days * 86400
    error = dict(job.error) if job.error is not None else None
    if job.state == CANCELLED:
        error = {"code": "cancelled", "message": "It was cancelled."}
    return {
        "id": job.id,
        "object": "video",
        "status": STATUS[job.state],
        "state": job.state,
        "progress": job.progress,
        "stage": job.stage,
        "model": job.request.get("generator"),
        "task": job.request.get("task"),
        "prompt": job.request.get("prompt"),
        "size": f"{width}x{height}" if width and height else "auto",
        "seconds": f"{job.request.get('duration_s') or 0:g}",
        "created_at": int(job.created_at.timestamp()),
        "completed_at": int(job.finished_at.timestamp()) if job.finished_at else None,
        "expires_at": expires,
        "error": error if job.state in (*ENDED, REVIEW) else None,
        "release_id": job.release_id,
        "remixed_from_video_id": None,
    }


def _room(jobs: Jobs, team: str, most: int) -> None:
    """Raises TooMany, before a body is read."""
    if jobs.unfinished(team) >= most:
        raise TooMany(f"{most} jobs of this team have not ended: wait, or cancel some.")


@asynccontextmanager
async def _asked(request: Request, settings: Settings) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    """Fields and files of a request: JSON, or a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        yield await json_body(request), None
        return
    async with received(
        request, settings.uploads, max_bytes=settings.max_upload_bytes, within_s=settings.receive_s,
        files=tuple(asked.ROLES),
    ) as form:  # fmt: skip
        yield dict(form.texts), form


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, bounded in length and time. Raises BadUpload, UsageError."""
    body = bytearray()
    try:
        async with asyncio.timeout(_JSON_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LONGEST_JSON:
                    raise BadUpload(413, "too-large", "The request is too long.")
    except TimeoutError:
        raise BadUpload(408, "too-slow", "The request took too long.") from None
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise UsageError("The body is no JSON.") from None
    if not isinstance(found, dict):
        raise UsageError("The body is a JSON object.")
    return found


_FIELDS: dict[str, Any] = {
    "model": {"type": "string"},
    "prompt": {"type": "string"},
    "size": {"type": "string", "examples": ["512x512"]},
    "task": {"type": "string"},
    "negative_prompt": {"type": "string"},
    "seed": {"type": "integer", "minimum": 0},
    "purpose": {"type": "string"},
    "consent_ids": {"type": "array", "items": {"type": "string"}},
    "parameters": {"type": "object"},
}
_VIDEO_FIELDS = _FIELDS | {"seconds": {"type": "string"}}
_VIDEO = {"type": "object", "properties": _VIDEO_FIELDS}
_FILES = {name: {"type": "string", "format": "binary"} for name in asked.ROLES}
_VIDEO_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _VIDEO},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": _VIDEO_FIELDS | _FILES}
            },
        },
    }
}
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": _FIELDS | {"n": {"type": "integer", "minimum": 1, "maximum": 4}},
                }
            }
        },
    }
}
