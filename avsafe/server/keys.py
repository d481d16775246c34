"""The keys of users: made, listed, replaced, revoked.

Of a key only its id may be shown again. One that was made while logged in with another hangs on
that: it does no more, lasts no longer, and is revoked with it, so that a stolen key leaves nothing
behind when it is revoked.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from avsafe.errors import UsageError
from avsafe.registry.database import Database
from avsafe.registry.schema import api_keys, users
from avsafe.server.people import (
    GENERATE,
    KEY_DAYS,
    LONGEST_KEY_DAYS,
    Identity,
    NotAllowed,
    account_where,
    held_scopes,
    insert_key,
)

GRACE = timedelta(hours=24)  # that a key which was replaced goes on
MOST = 20  # of one person in one team that live
SAFE_SCOPES = (GENERATE,)  # ticked where a person makes a key


@dataclass(frozen=True)
class Key:
    """What may be shown of a key."""

    id: str
    team: str
    scopes: tuple[str, ...] | None  # None: all that its user holds
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """live, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if self.expires_at > now else "expired"


class Keys:
    """The keys of a database.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from avsafe.server.people import People
    >>> with TemporaryDirectory() as folder, Database.open(Path(folder, "r.db")) as database:
    ...     key = People(database).add("ada", "lab", "creator")
    ...     [one.id == key.split("_")[1] for one in Keys(database).of("ada", "lab")]
    [True]
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, name: str, team: str | None = None) -> builtins.list[Key]:
        """A user's keys, the newest first. Raises UsageError for an unknown user."""
        with self._database.reading() as connection:
            user_id = connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
            if user_id is None:
                raise UsageError(f"There is no user {name!r}.")
            query = select(api_keys).where(api_keys.c.user_id == user_id)
            if team is not None:
                query = query.where(api_keys.c.team == team)
            rows = connection.execute(query.order_by(api_keys.c.created_at.desc(), api_keys.c.id))
            return [_key(row) for row in rows]

    def make(self, who: Identity, scopes: Iterable[str], days: int = KEY_DAYS) -> str:
        """Another key for somebody who is logged in, with scopes that the session has itself.

        Returns it, this once. Raises NotAllowed, UsageError.
        """
        wanted, now = sorted(set(scopes)), datetime.now(UTC)
        if who.account.suspended:
            raise NotAllowed("The account is suspended.")
        if not wanted:
            raise UsageError("Choose what the key may do.")
        if beyond := sorted(set(wanted) - who.scopes):
            raise NotAllowed(f"You do not hold {', '.join(beyond)[:80]} here.")
        with self._database.writing(turn="people") as connection:
            live = select(func.count()).where(
                api_keys.c.user_id == who.account.id,
                api_keys.c.team == who.team,
                api_keys.c.revoked_at.is_(None),
                api_keys.c.expires_at > now,
            )
            if connection.execute(live).scalar_one() >= MOST:
                raise UsageError(f"There are {MOST} keys already: revoke one first.")
            until = None
            if who.key_id:
                parent = _live(connection, who.key_id, now)
                until = parent.expires_at
            return insert_key(
                connection, who.account.id, who.team, wanted, days, now, made_with=who.key_id,
                until=until,
            )  # fmt: skip

    def rotate(self, key_id: str, *, grace: timedelta = GRACE, days: int | None = None) -> str:
        """A key that does what an old one does; the old one ends after ``grace``.

        It lasts ``days``, or as long as the old one was made for, and no longer than the key that
        the old one hangs on. Raises UsageError for a key that is unknown, revoked or expired, or
        hangs on one that is.
        """
        if not timedelta() <= grace <= timedelta(days=90):
            raise UsageError("The old key goes on for 0 to 90 days.")
        now = datetime.now(UTC)
        with self._database.writing(turn="people") as connection:
            old = _live(connection, key_id, now)
            account = account_where(connection, users.c.id == old.user_id, now)
            if account is None or old.team not in account.teams:
                raise UsageError("Its user is not in that team any more.")
            lasted = days or max(1, round((old.expires_at - old.created_at) / timedelta(days=1)))
            until = _live(connection, old.made_with, now).expires_at if old.made_with else None
            new = insert_key(
                connection, old.user_id, old.team, old.scopes, min(lasted, LONGEST_KEY_DAYS), now,
                made_with=old.made_with or "", until=until,
            )  # fmt: skip
            ends = min(old.expires_at, now + grace)
            change = update(api_keys).where(api_keys.c.id == key_id).values(expires_at=ends)
            connection.execute(change)
        return new

    def revoke(self, key_id: str, *, user_id: str | None = None, team: str | None = None) -> None:
        """A key, and what was made with it, is worth nothing from now on.

        ``user_id`` and ``team``: only if it is that user's there. Raises UsageError for an unknown
        key.
        """
        now = datetime.now(UTC)
        with self._database.writing(turn="people") as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
            if row is None or user_id not in (None, row.user_id) or team not in (None, row.team):
                raise UsageError("There is no such key.")
            ids = [key_id]
            while ids:
                below = select(api_keys.c.id).where(
                    api_keys.c.made_with.in_(ids), api_keys.c.revoked_at.is_(None)
                )
                change = update(api_keys).where(
                    api_keys.c.id.in_(ids), api_keys.c.revoked_at.is_(None)
                )
                following = list(connection.execute(below).scalars())
                connection.execute(change.values(revoked_at=now))
                ids = following


def may(who: Identity) -> tuple[str, ...]:
    """The scopes that a key of somebody may have."""
    return tuple(sorted(held_scopes(who.account, who.team) & who.scopes))


def _live(connection: Connection, key_id: str, now: datetime) -> Any:
    row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
    if row is None or row.revoked_at is not None or row.expires_at <= now:
        raise UsageError("There is no such key, or it is revoked or expired.")
    return row


def _key(row: Any) -> Key:
    scopes = None if row.scopes is None else tuple(row.scopes)
    return Key(row.id, row.team, scopes, row.created_at, row.expires_at, row.revoked_at)
