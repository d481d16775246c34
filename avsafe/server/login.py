"""How people come in and go: the page to log in, the session's cookie, the way out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from avsafe.server import pages
from avsafe.server.people import NotAuthenticated
from avsafe.server.sessions import LASTS
from avsafe.server.settings import Settings
from avsafe.server.uploads import Form, received
from avsafe.server.visits import COOKIE, Visit, Visits, from_elsewhere
from avsafe.server.words import words


def login_pages(visits: Visits) -> None:
    """Add the pages."""
    settings, language, sessions = visits.settings, visits.language, visits.sessions
    home = f"/{language}/team/"

    def page(*, wrong: bool = False, status: int = 200) -> Response:
        body = pages.render("team_login.html", settings, words(language), wrong=wrong)
        return HTMLResponse(body, status)

    async def form(request: Request) -> Response:
        return page()

    async def log_in(request: Request) -> Response:
        if from_elsewhere(request):  # nobody is logged in as somebody else behind their back
            return visits.elsewhere()
        async with received(
            request, settings.uploads, max_bytes=1, within_s=30.0, files=()
        ) as given:
            key = given.texts.get("key", "").strip()
        try:
            token = await asyncio.to_thread(sessions.log_in, key)
        except NotAuthenticated:
            return page(wrong=True, status=401)
        if before := request.cookies.get(COOKIE, ""):
            await asyncio.to_thread(sessions.log_out, before)
        answer = RedirectResponse(home, 303)
        set_cookie(answer, request, settings, token, LASTS)
        return answer

    async def log_out(visit: Visit, form: Form) -> Response:
        await asyncio.to_thread(sessions.log_out, visit.request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(f"/{language}/", 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    visits.router.add_api_route("/login", form, methods=["GET"], response_model=None)
    visits.router.add_api_route("/login", log_in, methods=["POST"], response_model=None)
    visits.add("POST", "/logout", "", log_out)


def set_cookie(
    answer: Response, request: Request, settings: Settings, token: str, lasts: timedelta
) -> None:
    """The session's cookie: no script reads it, no other site's request carries it."""
    answer.set_cookie(
        COOKIE, token, httponly=True, samesite="strict", path="/",
        secure=request.url.scheme == "https", max_age=int(lasts.total_seconds()),
    )  # fmt: skip
