"""The routes of the service.

/  /{language}/                    the page; POST /{language}/verify answers with a verdict
POST /api/verify                   the same for programs, as JSON
/matches/byBinding, /matches/byContent, /manifests/{id}, /services/supportedAlgorithms
                                   C2PA Soft Binding Resolution
/healthz, /readyz                  alive; ready to take an upload
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders

from avsafe.errors import UsageError
from avsafe.registry.database import Database
from avsafe.server import pages, resolution
from avsafe.server.analysis import Analyses
from avsafe.server.faults import FOR_PROGRAMS, Faults
from avsafe.server.gateway import gateway
from avsafe.server.observed import events, traces
from avsafe.server.observed.middleware import Observed
from avsafe.server.plain import error_json, told, verdict_json
from avsafe.server.reviews import review_routes
from avsafe.server.scratch import sweep
from avsafe.server.settings import Settings
from avsafe.server.speech import speech
from avsafe.server.team import team_pages
from avsafe.server.uploads import ADDRESS, FILE, BadUpload, Upload, received
from avsafe.server.words import asked_for, languages, preferred
from avsafe.workspace import Lookup

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from avsafe.server.fetching import Fetcher
    from avsafe.types import Verdict

# FastAPI's own telemetry would put paths, queries and sentences of errors into the providers of
# whoever has some; ``observed`` says what may be said.
_NO_OTHER: Any = dict.fromkeys(
    ("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False
)
Most = Annotated[int, Query(ge=1, le=resolution.MOST, alias="maxResults")]
_SHORT = ("/matches/byBinding", "/api/reviews")
_SHORT_BYTES, _SHORT_S = 64 * 1024, 30.0
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def from_environment() -> FastAPI:
    """The service as the environment sets it; what a server process calls."""
    return create_app(Settings.from_environment())


def create_app(settings: Settings) -> FastAPI:
    """The service.

    >>> from avsafe.home import Home
    >>> from pathlib import Path
    >>> create_app(Settings(home=Home(Path("nowhere")))).title
    'avsafe'
    """
    uploads = settings.uploads
    analyses = Analyses(settings)

    database = Database.open(settings.home.ensure().database) if settings.generate else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweep(uploads)
        analyses.draining.install()
        with traces.sending(settings.traces, "server"):
            yield
        if database is not None:
            database.close()

    app = FastAPI(
        title="avsafe",
        summary="What is known of a file: credential, marks, likeness, detectors.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry=_NO_OTHER,
    )
    app.add_middleware(Faults, settings=settings)
    app.add_middleware(Short)
    app.add_middleware(Headers)
    app.add_middleware(Observed)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")

    bounds: Any = {"max_bytes": settings.max_upload_bytes, "within_s": settings.receive_s}
    fetcher = _fetcher(settings)

    @asynccontextmanager
    async def upload_of(request: Request) -> AsyncIterator[Upload]:
        async with analyses.place(), received(request, uploads, **bounds) as form:
            address, sent = form.texts.get(ADDRESS, ""), form.files.get(FILE)
            if not address:
                yield form.file
            elif sent is not None and sent.size_bytes:
                raise BadUpload(400, "bad-form", "Send a file or an address, not both.")
            elif fetcher is None:
                raise BadUpload(415, "no-addresses", "This service takes files, no addresses.")
            else:
                async with fetcher.fetched(address, uploads, **bounds) as upload:
                    yield upload

    # ------------------------------------------------------------ what goes wrong

    @app.exception_handler(BadUpload)
    async def bad_upload(request: Request, error: BadUpload) -> Response:
        retry = {"Retry-After": "60"} if error.status == 503 else {}
        events.refused(error.code)
        if request.url.path.startswith(FOR_PROGRAMS):
            return JSONResponse(error_json(error.code, str(error)), error.status, headers=retry)
        return pages.error(settings, _asked_for(request), error.code, error.status, retry)

    @app.exception_handler(UsageError)
    async def wrong(_: Request, error: UsageError) -> Response:
        return JSONResponse(error_json("UsageError", told(error, settings.home.root)), 400)

    @app.exception_handler(RequestValidationError)
    async def does_not_fit(_: Request, error: RequestValidationError) -> Response:
        # Without the value itself: it may be no text that an answer can hold.
        told = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": told}, 422)

    @app.exception_handler(404)
    async def not_found(request: Request, _: Exception) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return pages.error(settings, _asked_for(request), "not-found", 404)
        return JSONResponse(error_json("not-found", "There is no such page."), 404)

    # ------------------------------------------------------------ the page

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Response:
        return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}/", 307)

    for language in languages():
        _page_routes(app, settings, analyses, upload_of, language)

    # ------------------------------------------------------------ for programs

    @app.post("/api/verify", openapi_extra=_BODY_OR_ADDRESS, responses=_UPLOAD_ERRORS)
    async def verify(request: Request, detectors: str = "") -> dict[str, Any]:
        """Verify one file: multipart field "file", the bytes as the body, or {"url": "https://…"}
        where the service takes addresses. The answer is an entry of `avsafe verify --json`, with
        "name" in place of "path". Nothing of the file is kept."""
        asked = tuple(part.strip() for part in detectors.split(",") if part.strip()) or None
        async with upload_of(request) as upload:
            verdict = await analyses.verdict(upload, asked)
        return verdict_json(verdict, upload.name)

    # ------------------------------------------------------------ soft binding resolution

    @app.get("/services/supportedAlgorithms")
    async def supported() -> dict[str, Any]:
        """The algorithms whose values and contents are resolved here."""
        return await asyncio.to_thread(resolution.algorithms)

    def bound(alg: str, value: str, most: int) -> Response:
        known = {one["alg"] for one in resolution.algorithms()["watermarks"]}
        if alg not in known:
            names = ", ".join(sorted(known))
            return JSONResponse(error_json("algorithm", f"{alg[:80]!r} is none of: {names}."), 400)
        try:
            with Lookup(settings.home).registry() as registry:
                found = resolution.by_binding(registry, alg, value)
        except resolution.BadQuery as error:
            return JSONResponse(error_json("value", f"{error}."), 400)
        return JSONResponse(resolution.matches(((record, None) for record in found), most))

    @app.get("/matches/byBinding", responses={414: {"description": "the value is too long"}})
    async def by_binding(alg: str, value: str, most: Most = resolution.DEFAULT_MOST) -> Response:
        """Manifests of the release that carries a mark: its algorithm, its value in base64."""
        if len(value) > resolution.MAX_VALUE:
            return JSONResponse(error_json("value", "The value is too long."), 414)
        return await asyncio.to_thread(bound, alg, value, most)

    @app.post("/matches/byBinding")
    async def by_binding_posted(
        binding: pages.Binding, most: Most = resolution.DEFAULT_MOST
    ) -> Response:
        """The same, with the value in a JSON body."""
        return await asyncio.to_thread(bound, binding.alg, binding.value, most)

    @app.post("/matches/byContent", openapi_extra=_ANY_BODY, responses=_UPLOAD_ERRORS)
    async def by_content(request: Request, most: Most = resolution.DEFAULT_MOST) -> Response:
        """Manifests of releases whose mark or likeness is found in the body of any kind."""

        def found(verdict: Verdict) -> Response:
            with Lookup(settings.home).registry() as registry:
                return JSONResponse(
                    resolution.matches(resolution.by_content(verdict, registry), most)
                )

        async with upload_of(request) as upload:
            verdict = await analyses.verdict(upload, ("none",))
        if verdict.label == "unreadable":
            return JSONResponse(
                error_json("unreadable", "The body is no media that is read here."), 415
            )
        return await asyncio.to_thread(found, verdict)

    @app.get("/manifests/{manifest_id:path}", response_class=Response)
    async def manifest(manifest_id: str) -> Response:
        """The manifest store of a release, as it was signed."""

        def stored() -> bytes | None:
            with Lookup(settings.home).registry() as registry:
                record = registry.by_manifest(manifest_id) if registry else None
            return record.manifest if record is not None else None

        if len(manifest_id) > 300 or not manifest_id.isprintable():
            data = None
        else:
            data = await asyncio.to_thread(stored)
        if data is None:
            return JSONResponse(error_json("not-found", "No release has that manifest."), 404)
        return Response(data, media_type=resolution.MEDIA_TYPE)

    if database is not None:
        gateway(app, settings, database)
        speech(app, settings, database)
        review_routes(app, settings, database)
        team_pages(app, settings, database)

    # ------------------------------------------------------------ for whoever runs it

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def ready() -> Response:
        """It can take an upload: there is a place, the state folder can be written, and nobody
        has told it to end."""
        full = analyses.inside >= settings.at_once + settings.waiting
        problem = "ending" if analyses.draining.begun else "full" if full else ""
        problem = problem or await asyncio.to_thread(_unwritable, uploads)
        body = {"status": problem or "ok", "inside": analyses.inside}
        return JSONResponse(body, 503 if problem else 200)

    return app


class Headers:
    """Puts ``HEADERS`` on every answer. Plain ASGI, so that a streamed page stays a stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)


class Short:
    """Bounds the body of routes whose JSON the framework reads whole, in length and in time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_SHORT):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(_SHORT_S):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return  # it hung up
                    body += message.get("body", b"")
                    if len(body) > _SHORT_BYTES:
                        answer = JSONResponse(error_json("too-large", "The body is too long."), 413)
                        await answer(scope, receive, send)
                        return
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            answer = JSONResponse(error_json("too-slow", "The body took too long."), 408)
            await answer(scope, receive, send)
            return
        given = False

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, once, send)


def _page_routes(
    app: FastAPI, settings: Settings, analyses: Analyses, upload_of: Any, language: str
) -> None:
    @app.get(f"/{language}/", include_in_schema=False)
    async def form() -> Response:
        return pages.form(settings, language)

    @app.post(f"/{language}/verify", include_in_schema=False)
    async def verify_page(request: Request) -> Response:
        # The upload outlives this function: the page is written while it is analysed.
        context = upload_of(request)
        upload = await context.__aenter__()
        return pages.verdict(settings, language, upload, analyses, context)


def _asked_for(request: Request) -> str:
    return asked_for(request.url.path, request.headers.get("accept-language", ""))


def _fetcher(settings: Settings) -> Fetcher | None:
    if not settings.fetch:
        return None
    from avsafe.server.fetching import Fetcher

    return Fetcher()


def _unwritable(folder: Any) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / ".ready"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        return f"the state folder cannot be written ({type(error).__name__})"
    return ""


_FILE_OR_BYTES = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary"}},
        }
    },
}
_AN_ADDRESS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["url"],
            "properties": {"url": {"type": "string", "format": "uri", "maxLength": 2048}},
        }
    }
}
_ANY_BODY = {"requestBody": {"required": True, "content": _FILE_OR_BYTES}}
_BODY_OR_ADDRESS = {"requestBody": {"required": True, "content": _FILE_OR_BYTES | _AN_ADDRESS}}
_UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "no file, a broken form, or an address where nothing can be had"},
    408: {"description": "the upload took too long"},
    413: {"description": "the file is too large"},
    415: {"description": "not a file, or an address where none are taken"},
    503: {"description": "too many are waiting; see Retry-After"},
}
