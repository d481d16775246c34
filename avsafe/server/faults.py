"""What nobody foresaw: an answer in our shapes, and a line in the log that quotes nothing.

A server that logs an exception as it is writes its sentence down, which may hold a prompt, a name
or a path of somebody's upload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect, Request

from avsafe.server import pages
from avsafe.server.observed import events
from avsafe.server.plain import error_json
from avsafe.server.settings import Settings
from avsafe.server.words import asked_for

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOR_PROGRAMS = ("/api/", "/matches/", "/manifests/", "/services/", "/v1/")


class Faults:
    """Answers an exception with 500. An answer that had begun is cut off and the connection closed:
    half of it must not look whole."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except ClientDisconnect:
            return
        except Exception as error:
            if scope["type"] != "http":
                raise
            events.failed("request", error)
            if not begun:
                await self._answer(Request(scope))(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        if request.url.path.startswith(FOR_PROGRAMS):
            return JSONResponse(error_json("failed", "Something failed on our side."), 500)
        language = asked_for(request.url.path, request.headers.get("accept-language", ""))
        return pages.error(self._settings, language, "failed", 500)
