"""The way through an OpenID provider, for browsers.

/auth/login        sends the browser to the provider
/auth/callback     where it comes back to, with a code
/auth/backchannel  where the provider itself says that somebody logged out
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from datetime import timedelta
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from avsafe.errors import UsageError
from avsafe.registry.database import Database
from avsafe.server import pages
from avsafe.server.identities import WITHIN, Identities, NoTeam, Stale
from avsafe.server.login import safe_path, set_cookie
from avsafe.server.oidc import NotVerified, Provider, ProviderFailed
from avsafe.server.sessions import Sessions
from avsafe.server.settings import Settings
from avsafe.server.visits import cookie_of
from avsafe.server.words import DEFAULT, languages, words

_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST_BODY = 64 * 1024
_log = logging.getLogger(__name__)


def provider_pages(app: FastAPI, settings: Settings, database: Database) -> None:
    """Add the routes. Raises what ``Provider`` raises."""
    provider, identities = Provider(settings), Identities(database)
    sessions, router = Sessions(database), APIRouter(prefix="/auth")
    secure = settings.address.startswith("https://")
    # With the prefix no other host of the domain can plant the cookie.
    under_way = "__Host-avsafe_login" if secure else "avsafe_login"

    def failed(language: str, what: str, status: int) -> Response:
        say = words(language)
        body = pages.render(
            "team_login.html", settings, say, problem=say(f"team:sso:{what}"), path=""
        )
        return HTMLResponse(body, status)

    async def begin(request: Request) -> Response:
        path = safe_path(request.query_params.get("next", ""))
        language = _language(path)
        browser = request.cookies.get(under_way, "")
        if not _BROWSER.fullmatch(browser):
            browser = secrets.token_urlsafe(32)
        try:
            await provider.metadata()  # nothing is kept of a login that goes nowhere
            state, login = await asyncio.to_thread(identities.begin, browser, path)
            there = await provider.begin(state, login.nonce, login.verifier)
        except ProviderFailed as error:
            _log.warning("a login failed: %s", error)
            return failed(language, "failed", 502)
        answer = RedirectResponse(there, 303)
        # Lax: the provider sends the browser back from another site.
        answer.set_cookie(
            under_way, browser, httponly=True, samesite="lax", path="/", secure=secure,
            max_age=int(WITHIN.total_seconds()),
        )  # fmt: skip
        return answer

    async def callback(request: Request) -> Response:
        given = {key: request.query_params.getlist(key) for key in ("state", "code", "iss")}
        language = _language("")
        try:
            state = _one(given["state"])
            login = await asyncio.to_thread(
                identities.take, state, request.cookies.get(under_way, "")
            )
            language = _language(login.path)
            if given["iss"] and given["iss"] != [provider.issuer]:
                raise NotVerified("the answer is another issuer's")  # RFC 9207
            metadata = await provider.metadata()
            named = metadata.get("authorization_response_iss_parameter_supported") is True
            if named and not given["iss"]:
                raise NotVerified("the answer does not say whose it is")
            if "error" in request.query_params:
                return failed(language, "refused", 403)
            person = await provider.person(_one(given["code"]), login.verifier, login.nonce)
            token = await asyncio.to_thread(
                lambda: identities.enter(
                    person.issuer, person.subject, person.name, person.roles,
                    lasts=timedelta(minutes=settings.oidc_minutes),
                    roles_last=timedelta(days=settings.oidc_days),
                )
            )  # fmt: skip
        except Stale:
            return failed(language, "stale", 400)
        except NotVerified as error:
            _log.warning("a login was not taken: %s", error)
            return failed(language, "not-verified", 400)
        except (ProviderFailed, UsageError) as error:
            _log.warning("a login failed: %s", error)
            return failed(language, "failed", 502)
        except NoTeam:
            return failed(language, "no-team", 403)
        if before := request.cookies.get(cookie_of(settings), ""):
            await asyncio.to_thread(sessions.log_out, before)
        # Not a redirect: the session's cookie goes with no navigation that another site began, and
        # this page begins one of our own.
        page = pages.render("team_welcome.html", settings, words(language), path=login.path)
        answer = HTMLResponse(page)
        lasts = timedelta(minutes=settings.oidc_minutes)
        set_cookie(answer, request, settings, token, lasts)
        return answer

    async def backchannel(request: Request) -> Response:
        try:
            body = await _short(request)
            subject = await provider.ended(_one(parse_qs(body).get("logout_token", [])))
        except (NotVerified, Stale, ProviderFailed, ValueError) as error:
            _log.warning("a logout was not taken: %s", type(error).__name__)
            return JSONResponse({"error": "invalid_request"}, 400)
        await asyncio.to_thread(identities.left, provider.issuer, subject)
        return Response(status_code=200)

    async def out(request: Request) -> Response:
        """After a logout: the provider may still know the person, and the next at the machine."""
        language = _language(safe_path(request.query_params.get("next", "")))
        there = await provider.goodbye()
        page = pages.render("team_out.html", settings, words(language), there=there)
        return HTMLResponse(page)

    for method, path, handler in (
        ("GET", "/login", begin),
        ("GET", "/callback", callback),
        ("GET", "/out", out),
        ("POST", "/backchannel", backchannel),
    ):
        router.add_api_route(path, handler, methods=[method], response_model=None)
    app.include_router(router, include_in_schema=False)


def _one(values: list[str]) -> str:
    """Raises Stale: no answer of ours has none or several."""
    if len(values) != 1 or not 0 < len(values[0]) <= _LONGEST_BODY:
        raise Stale("The answer is broken.")
    return values[0]


def _language(path: str) -> str:
    first = path.strip("/").partition("/")[0]
    return first if first in languages() else DEFAULT


async def _short(request: Request) -> str:
    """The body of a small form. Raises ValueError."""
    body = bytearray()
    try:
        async with asyncio.timeout(10.0):
            async for part in request.stream():
                body += part
                if len(body) > _LONGEST_BODY:
                    raise ValueError("too long")
    except TimeoutError:
        raise ValueError("too slow") from None
    return bytes(body).decode("ascii")
