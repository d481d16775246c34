"""Browsers that are logged in: a cookie stands for a user, in one team, with some of its scopes.

A session begins with a key or with a login at an OpenID provider, and ends with it: when the key is
revoked or the identity is taken away. Every request looks at the user anew, so that a suspension
and a role that was taken away count at once.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from avsafe.errors import UsageError
from avsafe.registry.database import Database
from avsafe.registry.schema import api_keys, sessions, users
from avsafe.server.people import (
    Identity,
    NotAuthenticated,
    People,
    account_where,
    held_scopes,
    identity_of,
)

LASTS = timedelta(hours=8)  # of a browser that logged in with a key


@dataclass(frozen=True)
class Session:
    """Who a cookie stands for, and the token that its forms must carry."""

    who: Identity
    csrf: str
    by_provider: bool


class Sessions:
    """The sessions of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def log_in(self, key: str) -> str:
        """A cookie for a browser, good for ``LASTS`` or as long as the key. Raises
        NotAuthenticated."""
        who = People(self._database).identify(key)
        with self._database.writing() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == who.key_id)).first()
            if row is None:
                raise NotAuthenticated("The key was just taken away.")
            return begin(connection, row.user_id, row.team, LASTS, scopes=row.scopes, key_id=row.id)

    def of(self, token: str, now: datetime | None = None) -> Session:
        """Whose cookie it is. Raises NotAuthenticated."""
        now = now or datetime.now(UTC)
        with self._database.reading() as connection:
            row = connection.execute(select(sessions).where(_is(token))).first()
            if row is None or row.expires_at <= now or not _key_lives(connection, row, now):
                raise NotAuthenticated("Log in again.")
            account = account_where(connection, users.c.id == row.user_id, now)
            if account is None or row.team not in account.teams:
                raise NotAuthenticated("Log in again.")
            who = identity_of(connection, account, row.team, row.scopes, row.key_id or "")
            return Session(who, row.csrf, row.identity_id is not None)

    def log_out(self, token: str) -> bool:
        """The cookie is worth nothing from now on. True for one that a provider logged in."""
        with self._database.writing() as connection:
            query = select(sessions.c.identity_id).where(_is(token))
            by_provider = connection.execute(query).scalar() is not None
            connection.execute(delete(sessions).where(_is(token)))
        return by_provider

    def change_team(self, token: str, team: str) -> None:
        """Go on in another team of the user; a session of a key stays in the key's.

        Raises UsageError.
        """
        with self._database.writing() as connection:
            row = connection.execute(select(sessions).where(_is(token))).first()
            if row is None or row.key_id is not None:
                raise UsageError("The key is for this team only.")
            account = account_where(connection, users.c.id == row.user_id)
            if account is None or not held_scopes(account, team):
                raise UsageError("You are not in that team.")
            connection.execute(
                update(sessions).where(_is(token)).values(team=team, csrf=secrets.token_urlsafe(24))
            )


def begin(
    connection: Connection, user_id: str, team: str, lasts: timedelta, *, scopes: Any = None,
    key_id: str | None = None, identity_id: str | None = None,
) -> str:  # fmt: skip
    """A new session; its cookie, a value that nobody had before."""
    token, now = secrets.token_urlsafe(32), datetime.now(UTC)
    connection.execute(delete(sessions).where(sessions.c.expires_at < now))
    connection.execute(
        insert(sessions).values(
            id=hashed(token),
            user_id=user_id,
            team=team,
            scopes=scopes,
            key_id=key_id,
            identity_id=identity_id,
            csrf=secrets.token_urlsafe(24),
            expires_at=now + lasts,
        )
    )
    return token


def hashed(token: str) -> str:
    """What is kept of a secret that a browser holds."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _is(token: str) -> Any:
    return sessions.c.id == hashed(token)


def _key_lives(connection: Connection, row: Any, now: datetime) -> bool:
    if row.key_id is None:
        return True
    key = connection.execute(select(api_keys).where(api_keys.c.id == row.key_id)).first()
    return key is not None and key.revoked_at is None and key.expires_at > now
