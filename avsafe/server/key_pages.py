"""The page on which people make and revoke their own keys. A key is shown once, and never again."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

from fastapi.responses import RedirectResponse, Response

from avsafe.errors import UsageError
from avsafe.server.keys import SAFE_SCOPES, Keys, may
from avsafe.server.people import KEY_DAYS, SCOPES
from avsafe.server.uploads import Form
from avsafe.server.visits import Gone, Visit, Visits

_DAYS = re.compile(r"[0-9]{1,3}")


def key_pages(visits: Visits) -> None:
    """Add the pages."""
    keys = Keys(visits.database)

    async def page(visit: Visit, made: str = "", status: int = 200) -> Response:
        name, team, now = visit.who.account.name, visit.who.team, datetime.now(UTC)
        rows = [
            {
                "key": key,
                "state": key.state(now),
                "said": visit.say(f"team:keys:state:{key.state(now)}"),
                "scopes": key.scopes if key.scopes is not None else may(visit.who),
                "own": key.id == visit.who.key_id,
            }
            for key in await asyncio.to_thread(keys.of, name, team)
        ]
        return visits.show(
            visit, "team_keys.html", rows=rows, made=made, offered=may(visit.who),
            ticked=SAFE_SCOPES, days=KEY_DAYS, status=status,
        )  # fmt: skip

    async def make(visit: Visit, form: Form) -> Response:
        days = form.texts.get("days", str(KEY_DAYS)).strip()
        wanted = [scope for scope in _known() if form.texts.get(f"scope-{scope}") == "yes"]
        number = int(days) if _DAYS.fullmatch(days) else 0
        made = await asyncio.to_thread(keys.make, visit.who, wanted, number)
        return await page(visit, made)  # not a redirect: it is in no address and no store

    async def revoke(visit: Visit, form: Form, key_id: str) -> Response:
        who = visit.who
        try:
            await asyncio.to_thread(
                lambda: keys.revoke(key_id, user_id=who.account.id, team=who.team)
            )
        except UsageError:
            raise Gone from None
        return RedirectResponse(visit.path("keys"), 303)

    visits.add("GET", "/keys", "", page)
    visits.add("POST", "/keys", "", make)
    visits.add("POST", "/keys/{key_id}/revoke", "", revoke)


def _known() -> tuple[str, ...]:
    return tuple(sorted(frozenset[str]().union(*SCOPES.values())))
