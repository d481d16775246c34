"""Speech in the OpenAI shape, in front of the gate.

POST /v1/audio/speech    the sound itself, signed and marked; waits until it is made
GET /v1/audio/voices     the voices of the generators that list theirs
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from avsafe import plugins
from avsafe.errors import AvsafeError
from avsafe.media import MIME_BY_SUFFIX
from avsafe.registry.database import Database
from avsafe.server import asked
from avsafe.server.gateway import Who, json_body
from avsafe.server.jobs import SPEECH, Jobs
from avsafe.server.people import GENERATE
from avsafe.server.settings import Settings
from avsafe.server.waiting import key_of, made
from avsafe.types import Task


def speech(app: FastAPI, settings: Settings, database: Database) -> None:
    """Add the routes to the service."""
    jobs = Jobs(database)
    router = APIRouter()

    @router.post("/v1/audio/speech", openapi_extra=_BODY, response_class=Response, responses=_SOUND)
    async def create_speech(request: Request, who: Who) -> Response:
        """Speech, signed and marked, as a file of its own; waits until it is made. Beside OpenAI's
        fields: seed, purpose, consent_ids, parameters. A text of fewer than about five words is
        refused: there is no room for the mark. The header avsafe-release names the release."""
        who.must(GENERATE)
        key = key_of(request.headers)
        fields = await json_body(request)
        wanted = await asyncio.to_thread(asked.speech, fields, settings.offered)
        async with made(jobs, settings, who, SPEECH, wanted, key) as sound:
            data = await asyncio.to_thread(sound.path.read_bytes)
        kind = MIME_BY_SUFFIX[wanted["suffix"]]
        return Response(data, media_type=kind, headers={"Avsafe-Release": sound.release_id})

    @router.get("/v1/audio/voices")
    async def voices(who: Who) -> dict[str, Any]:
        """Names for the field voice, and the model that each belongs to."""
        return {"object": "list", "data": await asyncio.to_thread(_voices, settings)}

    app.include_router(router)


def _voices(settings: Settings) -> list[dict[str, str]]:
    found = []
    for name in settings.offered:
        info = plugins.generator_info(name)
        if info is None or Task.TEXT_TO_SPEECH not in info.tasks:
            continue
        generator = plugins.load("generators", name)
        try:
            listed = generator.voices() if hasattr(generator, "voices") else {}
        except AvsafeError:
            continue  # its program is not here
        found += [
            {"id": voice, "object": "voice", "name": title, "model": name}
            for voice, title in listed.items()
        ]
    return found


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["input"],
                    "properties": {
                        "model": {"type": "string"},
                        "input": {"type": "string", "maxLength": asked.LONGEST_SPEECH},
                        "voice": {"type": "string"},
                        "instructions": {"type": "string"},
                        "response_format": {"type": "string", "enum": list(asked.SOUNDS)},
                        "speed": {"type": "number", "minimum": 0.25, "maximum": 4},
                        "seed": {"type": "integer", "minimum": 0},
                        "purpose": {"type": "string"},
                        "consent_ids": {"type": "array", "items": {"type": "string"}},
                        "parameters": {"type": "object"},
                    },
                }
            }
        },
    }
}
_SOUND: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the sound",
        "content": {
            MIME_BY_SUFFIX[suffix]: {"schema": {"type": "string", "format": "binary"}}
            for suffix in asked.SOUNDS.values()
        },
    },
    403: {"description": "a rule denies it, or a reviewer must look first"},
    503: {"description": "nobody made it in time; see Retry-After"},
}
