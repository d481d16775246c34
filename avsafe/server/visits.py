"""What every page of a team asks of a request: a session, a scope, and in a form its token.

A page is a function of a ``Visit`` (and of the ``Form``, for a POST); what it raises becomes a page
that says so. All pages work without JavaScript; one that waits reloads itself.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute

from avsafe.errors import AvsafeError, ObjectsError
from avsafe.registry.database import Database
from avsafe.server import asked, pages
from avsafe.server.jobs import TooMany
from avsafe.server.people import NotAllowed, NotAuthenticated
from avsafe.server.plain import told
from avsafe.server.sessions import Session, Sessions
from avsafe.server.settings import Settings
from avsafe.server.uploads import BadUpload, received
from avsafe.server.words import Words, words

_log = logging.getLogger(__name__)
COOKIE = "avsafe_session"


def cookie_of(settings: Settings) -> str:
    """Name of the session's cookie. With the prefix no other host of the domain can plant one, and
    have somebody work in another's session."""
    return f"__Host-{COOKIE}" if settings.address.startswith("https://") else COOKIE


class Gone(Exception):
    """There is no such thing for this team."""


class Visit:
    """A request of somebody who logged in."""

    def __init__(self, request: Request, session: Session, language: str) -> None:
        self.request, self.session, self.language = request, session, language
        self.who, self.csrf = session.who, session.csrf
        self.say: Words = words(language)

    @property
    def rest(self) -> str:
        """Its address behind the language."""
        return self.request.url.path.removeprefix(f"/{self.language}/")

    def path(self, *parts: str) -> str:
        return "/".join((f"/{self.language}/team", *parts))


class Visits:
    """Pages of a team in one language."""

    def __init__(self, settings: Settings, database: Database, language: str) -> None:
        self.settings, self.database, self.language = settings, database, language
        self.sessions, self.cookie = Sessions(database), cookie_of(settings)
        self.router = APIRouter(prefix=f"/{language}/team")

    def add(self, method: str, path: str, scope: str, page: Callable[..., Any]) -> None:
        """A page for whoever holds a scope ("": for everybody who logged in)."""
        self.router.add_api_route(
            path, self._guarded(scope, page), methods=[method], response_model=None
        )

    def show(self, visit: Visit, template: str, *, status: int = 200, **values: Any) -> Response:
        """A template, with what the frame of every page needs."""
        place = visit.request.url.path.removeprefix(visit.path("")).partition("/")[0]
        # The same page in another language; what answers a form is mostly no page to go to.
        posted = visit.request.method == "POST"
        rest = f"team/{place if self._is_page(place) else ''}" if posted else visit.rest
        body = pages.render(
            template, self.settings, visit.say, who=visit.who, csrf=visit.csrf, place=place,
            here=visit.path(), may=visit.who.scopes, rest=rest, **values,
        )  # fmt: skip
        return HTMLResponse(body, status)

    def _is_page(self, place: str) -> bool:
        there = f"{self.router.prefix}/{place}"
        return any(
            isinstance(route, APIRoute) and route.path == there and "GET" in (route.methods or ())
            for route in self.router.routes
        )

    def elsewhere(self) -> Response:
        return pages.error(self.settings, self.language, "elsewhere", 403)

    def _to_log_in(self, request: Request) -> Response:
        there = urlencode({"next": request.url.path}) if request.method == "GET" else ""
        return RedirectResponse(f"/{self.language}/team/login?{there}".rstrip("?"), 303)

    def _guarded(self, scope: str, page: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(request: Request) -> Response:
            if from_elsewhere(request):
                return self.elsewhere()
            token = request.cookies.get(self.cookie, "")
            try:
                session = await asyncio.to_thread(self.sessions.of, token)
            except NotAuthenticated:
                return self._to_log_in(request)
            visit = Visit(request, session, self.language)
            try:
                if scope:
                    session.who.must(scope)
                if request.method != "POST":
                    return await page(visit, **request.path_params)  # type: ignore[no-any-return]
                async with received(
                    request, self.settings.uploads, max_bytes=self.settings.max_upload_bytes,
                    within_s=self.settings.receive_s, files=(*asked.ROLES, "files", "evidence"),
                ) as form:  # fmt: skip
                    # It may have been long on its way: who sends it is asked when it is here.
                    session = await asyncio.to_thread(self.sessions.of, token)
                    visit = Visit(request, session, self.language)
                    if scope:
                        session.who.must(scope)
                    given = form.texts.pop("csrf", "")
                    if not hmac.compare_digest(given.encode(), session.csrf.encode()):
                        raise NotAllowed("The form is not of this session. Load the page again.")
                    return await page(visit, form, **request.path_params)  # type: ignore[no-any-return]
            except NotAuthenticated:
                return self._to_log_in(request)
            except NotAllowed as error:
                return self.show(visit, "team_error.html", status=403, message=str(error))
            except Gone:
                said = visit.say("error:not-found")
                return self.show(visit, "team_error.html", status=404, message=said)
            except BadUpload as error:
                said = visit.say(f"error:{error.code}", mb=self.settings.max_upload_mb)
                return self.show(visit, "team_error.html", status=error.status, message=said)
            except ObjectsError as error:
                _log.error("%s", error)
                said = visit.say("error:no-store")
                return self.show(visit, "team_error.html", status=503, message=said)
            except AvsafeError as error:
                status = 429 if isinstance(error, TooMany) else 400
                said = told(error, self.settings.home.root)
                return self.show(visit, "team_error.html", status=status, message=said)

        return guarded


def from_elsewhere(request: Request) -> bool:
    """A form that another site sends in somebody's name: browsers say so on secure addresses. A
    cookie of SameSite=Strict and a token of the session stand besides."""
    if request.method != "POST":
        return False
    return request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
