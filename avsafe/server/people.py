"""Users, their teams and roles, and the keys by which programs act for them.

A key is ``avs_ID_SECRET``: the id may be shown, of the secret (256 random bits) only the SHA-256 is
kept. A key acts in one team, with the scopes that it was given and its user still holds there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from avsafe.errors import AvsafeError, UsageError
from avsafe.registry.database import Database
from avsafe.registry.schema import (
    api_keys,
    identities,
    memberships,
    provider_roles,
    teams,
    users,
)
from avsafe.types import Principal

GENERATE, REVIEW, AUDIT, ADMIN = "generate", "review", "audit", "admin"
# What a role may do; the policy (Cedar) decides on each request besides.
SCOPES: dict[str, frozenset[str]] = {
    "owner": frozenset({GENERATE, REVIEW, AUDIT, ADMIN}),
    "creator": frozenset({GENERATE}),
    "reviewer": frozenset({REVIEW, AUDIT}),
    "auditor": frozenset({AUDIT}),
}
KEY_DAYS = 90
LONGEST_KEY_DAYS = 366
_NAME = re.compile(r"[\w][\w .@+-]{0,63}")
_KEY = re.compile(r"avs_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class NotAuthenticated(AvsafeError):
    """No key, or one that is not valid."""


class NotAllowed(AvsafeError):
    """The key's scopes do not cover it."""


@dataclass(frozen=True)
class Account:
    """A user with roles by team."""

    id: str
    name: str
    suspended: bool
    roles: tuple[tuple[str, str], ...]  # (team, role), sorted

    @property
    def teams(self) -> tuple[str, ...]:
        return tuple(sorted({team for team, _ in self.roles}))


@dataclass(frozen=True)
class Identity:
    """Who asks, in which team, with what scopes: from a key, never from what a client says."""

    account: Account
    team: str
    scopes: frozenset[str]
    key_id: str
    daily_quota: int | None = None

    @property
    def principal(self) -> Principal:
        """For the policy: the roles that the user holds in this team."""
        return Principal(
            user=self.account.name,
            teams=(self.team,),
            roles=tuple(sorted(role for team, role in self.account.roles if team == self.team)),
            suspended=self.account.suspended,
        )

    def must(self, scope: str) -> None:
        """Raises NotAllowed. Who is suspended may look, and nothing else."""
        if self.account.suspended:
            raise NotAllowed("The account is suspended.")
        if scope not in self.scopes:
            raise NotAllowed(f"This needs the scope {scope!r}; the key has: {self._said}.")

    @property
    def _said(self) -> str:
        return ", ".join(sorted(self.scopes)) or "none"


class People:
    """The users of a database.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Database.open(Path(folder, "r.db")) as database:
    ...     people = People(database)
    ...     key = people.add("ada", "lab", "creator")
    ...     people.identify(key).principal
    Principal(user='ada', teams=('lab',), roles=('creator',), suspended=False)
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, name: str, team: str, role: str, *, days: int = KEY_DAYS, key: bool = True
    ) -> str:
        """Give a user (made when new) a role in a team (made when new), and a key there.

        Returns the key, which is shown this once; "" without one. Raises UsageError.
        """
        check_names(name, team, role)
        now = datetime.now(UTC)
        with self._database.writing(turn="people") as connection:
            if connection.execute(select(teams.c.name).where(teams.c.name == team)).first() is None:
                connection.execute(insert(teams).values(name=team, created_at=now))
            user_id = connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
            if user_id is None:
                user_id = f"u-{secrets.token_hex(8)}"
                connection.execute(
                    insert(users).values(id=user_id, name=name, created_at=now, suspended=False)
                )
            held = select(memberships.c.role).where(
                memberships.c.user_id == user_id,
                memberships.c.team == team,
                memberships.c.role == role,
            )
            if connection.execute(held).first() is None:
                connection.execute(
                    insert(memberships).values(user_id=user_id, team=team, role=role)
                )
            return insert_key(connection, user_id, team, None, days, now) if key else ""

    def new_key(
        self, name: str, team: str, *, days: int = KEY_DAYS, scopes: Iterable[str] | None = None
    ) -> str:
        """Another key for a user in a team; ``scopes`` narrow what it may do.

        Raises UsageError for an unknown user, or a scope that the user does not hold there.
        """
        with self._database.writing(turn="people") as connection:
            account = account_where(connection, users.c.name == name)
            if account is None or team not in account.teams:
                raise UsageError(f"There is no user {name!r} in a team {team!r}.")
            wanted = None if scopes is None else sorted(set(scopes))
            held = held_scopes(account, team)
            if beyond := sorted(set(wanted or ()) - held):
                raise UsageError(f"{name} does not hold {', '.join(beyond)} in {team}.")
            return insert_key(connection, account.id, team, wanted, days, datetime.now(UTC))

    def identify(self, key: str, now: datetime | None = None) -> Identity:
        """Whose key it is. Raises NotAuthenticated, in the same words whatever is wrong with it."""
        found = _KEY.fullmatch(key)
        if found is None:
            raise _wrong_key()
        key_id, secret = found.groups()
        with self._database.reading() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).first()
            # The same work for an unknown id as for a known one.
            same = hmac.compare_digest(row.hash if row else bytes(32), _hash(secret))
            if row is None or not same:
                raise _wrong_key()
            return _identity(connection, row, now or datetime.now(UTC))

    def of_user(self, user_id: str, team: str) -> Identity | None:
        """Who a job is run for; None when the user has left the team since."""
        with self._database.reading() as connection:
            account = account_where(connection, users.c.id == user_id)
            if account is None or team not in account.teams:
                return None
            return identity_of(connection, account, team, None, "")

    def list(self) -> tuple[Account, ...]:
        """Every user, by name."""
        with self._database.reading() as connection:
            names = connection.execute(select(users.c.name).order_by(users.c.name)).scalars().all()
            found = (account_where(connection, users.c.name == name) for name in names)
            return tuple(one for one in found if one is not None)

    def suspend(self, name: str, suspended: bool = True) -> None:
        """A suspended user's requests are denied by the policy. Raises UsageError."""
        with self._database.writing() as connection:
            change = update(users).where(users.c.name == name).values(suspended=suspended)
            if not connection.execute(change).rowcount:
                raise UsageError(f"There is no user {name!r}.")

    def remove(self, name: str, team: str, role: str | None = None) -> None:
        """Take a role (or all) in a team away; without any left there, the keys for it die too.

        Raises UsageError.
        """
        with self._database.writing(turn="people") as connection:
            account = account_where(connection, users.c.name == name)
            if account is None or team not in account.teams:
                raise UsageError(f"There is no user {name!r} in a team {team!r}.")
            mine = (memberships.c.user_id == account.id) & (memberships.c.team == team)
            which = mine if role is None else mine & (memberships.c.role == role)
            if not connection.execute(delete(memberships).where(which)).rowcount:
                raise UsageError(
                    f"{name} was given no {role or 'role'} in {team} here. A role that a group at "
                    "the OpenID provider gives is taken away there; or suspend the user."
                )
            left = account_where(connection, users.c.id == account.id)
            if left is not None and team not in left.teams:
                gone = (api_keys.c.user_id == account.id) & (api_keys.c.team == team)
                connection.execute(delete(api_keys).where(gone))

    def set_quota(self, team: str, daily: int | None) -> None:
        """Releases a day of each member of a team. Raises UsageError."""
        if daily is not None and daily < 0:
            raise UsageError("A quota is not negative.")
        with self._database.writing() as connection:
            change = update(teams).where(teams.c.name == team).values(daily_quota=daily)
            if not connection.execute(change).rowcount:
                raise UsageError(f"There is no team {team!r}.")


def _wrong_key() -> NotAuthenticated:
    return NotAuthenticated("The key is unknown, expired or revoked.")


def _identity(connection: Connection, key: Any, now: datetime) -> Identity:
    """What a key (a row) stands for now. Raises NotAuthenticated."""
    if key.revoked_at is not None or key.expires_at <= now:
        raise _wrong_key()
    account = account_where(connection, users.c.id == key.user_id, now)
    if account is None or key.team not in account.teams:
        raise _wrong_key()
    return identity_of(connection, account, key.team, key.scopes, key.id)


def identity_of(
    connection: Connection, account: Account, team: str, scopes: Iterable[str] | None, key_id: str
) -> Identity:
    """A user in a team, with the scopes that are held there; of these only ``scopes``, if given."""
    held = held_scopes(account, team)
    narrowed = held if scopes is None else held & frozenset(scopes)
    quota = select(teams.c.daily_quota).where(teams.c.name == team)
    return Identity(account, team, narrowed, key_id, connection.execute(quota).scalar())


def check_names(name: str, team: str, role: str) -> None:
    """Raises UsageError for what is no name of a user or a team, or no role."""
    for what, text in (("user", name), ("team", team)):
        if not _NAME.fullmatch(text):
            raise UsageError(
                f"{text[:80]!r} is no name of a {what}: letters, digits and . @ + - _, up to 64."
            )
    if role not in SCOPES:
        raise UsageError(f"There is no role {role!r} (roles: {', '.join(SCOPES)}).")


def insert_key(
    connection: Connection, user_id: str, team: str, scopes: Any, days: int, now: datetime, *,
    made_with: str = "", until: datetime | None = None,
) -> str:  # fmt: skip
    """A new key; the one thing that is not kept of it is what is returned. Raises UsageError."""
    if not 0 < days <= LONGEST_KEY_DAYS:
        raise UsageError(f"A key lasts 1 to {LONGEST_KEY_DAYS} days, not {days}.")
    key_id, secret, ends = secrets.token_hex(6), secrets.token_urlsafe(32), timedelta(days=days)
    connection.execute(
        insert(api_keys).values(
            id=key_id,
            user_id=user_id,
            team=team,
            hash=_hash(secret),
            scopes=scopes,
            created_at=now,
            expires_at=min(now + ends, until) if until else now + ends,
            made_with=made_with or None,
        )
    )
    return f"avs_{key_id}_{secret}"


def account_where(
    connection: Connection, condition: Any, now: datetime | None = None
) -> Account | None:
    """A user, with the roles that were given here and those that the provider's groups give now."""
    row = connection.execute(select(users).where(condition)).first()
    if row is None:
        return None
    given = select(memberships.c.team, memberships.c.role).where(memberships.c.user_id == row.id)
    by_groups = (
        select(provider_roles.c.team, provider_roles.c.role)
        .join(identities, identities.c.id == provider_roles.c.identity_id)
        .where(identities.c.user_id == row.id, provider_roles.c.until > (now or datetime.now(UTC)))
    )
    roles = {(team, role) for team, role in connection.execute(given.union(by_groups))}
    return Account(row.id, row.name, row.suspended, tuple(sorted(roles)))


def held_scopes(account: Account, team: str) -> frozenset[str]:
    """What a user may do in a team."""
    return frozenset[str]().union(
        *(SCOPES.get(role, frozenset()) for of, role in account.roles if of == team)
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
