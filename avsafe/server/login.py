"""How people come in and go: the page to log in, the session's cookie, the way out."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from avsafe.server import pages
from avsafe.server.people import NotAuthenticated
from avsafe.server.sessions import LASTS
from avsafe.server.settings import Settings
from avsafe.server.uploads import Form, received
from avsafe.server.visits import Visit, Visits, cookie_of, from_elsewhere
from avsafe.server.words import DEFAULT, languages, words

# Pages of a team, and of their parameters the one that is worth keeping.
_PATH = re.compile(
    rf"/(?:{'|'.join(languages())})/team/(?:[a-z0-9_-]+/)*[a-z0-9_-]*(?:\?release=[0-9a-z-]*)?"
)


def safe_path(text: str) -> str:
    """Where to go after a login: a page of a team here, whatever a link says.

    >>> safe_path("/it/team/jobs/video_1"), safe_path("//evil.example/en/team/")
    ('/it/team/jobs/video_1', '/en/team/')
    """
    return text if len(text) < 300 and _PATH.fullmatch(text) else f"/{DEFAULT}/team/"


def login_pages(visits: Visits) -> None:
    """Add the pages."""
    settings, language, sessions = visits.settings, visits.language, visits.sessions
    home = f"/{language}/team/"

    def page(path: str, problem: str = "", status: int = 200) -> Response:
        say = words(language)
        body = pages.render(
            "team_login.html", settings, say, problem=problem, path=path, rest="team/login"
        )
        return HTMLResponse(body, status)

    async def form(request: Request) -> Response:
        return page(safe_path(request.query_params.get("next", home)))

    async def log_in(request: Request) -> Response:
        if from_elsewhere(request):  # nobody is logged in as somebody else behind their back
            return visits.elsewhere()
        async with received(
            request, settings.uploads, max_bytes=1, within_s=30.0, files=()
        ) as given:
            key = given.texts.get("key", "").strip()
            path = safe_path(given.texts.get("next", home))
        try:
            token = await asyncio.to_thread(sessions.log_in, key)
        except NotAuthenticated:
            return page(path, words(language)("team:login-wrong"), 401)
        if before := request.cookies.get(visits.cookie, ""):
            await asyncio.to_thread(sessions.log_out, before)
        answer = RedirectResponse(path, 303)
        set_cookie(answer, request, settings, token, LASTS)
        return answer

    async def log_out(visit: Visit, form: Form) -> Response:
        token = visit.request.cookies.get(visits.cookie, "")
        by_provider = await asyncio.to_thread(sessions.log_out, token)
        there = (
            f"/auth/out?next={home}" if by_provider and settings.oidc_issuer else f"/{language}/"
        )
        answer = RedirectResponse(there, 303)
        secure = visits.cookie.startswith("__Host-")  # else browsers would not take it
        answer.delete_cookie(visits.cookie, path="/", secure=secure)
        return answer

    async def change_team(visit: Visit, form: Form) -> Response:
        token = visit.request.cookies.get(visits.cookie, "")
        await asyncio.to_thread(sessions.change_team, token, form.texts.get("team", ""))
        return RedirectResponse(home, 303)

    visits.router.add_api_route("/login", form, methods=["GET"], response_model=None)
    visits.router.add_api_route("/login", log_in, methods=["POST"], response_model=None)
    visits.add("POST", "/logout", "", log_out)
    visits.add("POST", "/change", "", change_team)


def set_cookie(
    answer: Response, request: Request, settings: Settings, token: str, lasts: timedelta
) -> None:
    """The session's cookie: no script reads it, no other site's request carries it."""
    answer.set_cookie(
        cookie_of(settings), token, httponly=True, samesite="strict", path="/",
        secure=request.url.scheme == "https" or settings.address.startswith("https://"),
        max_age=int(lasts.total_seconds()),
    )  # fmt: skip
