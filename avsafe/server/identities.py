"""People of an OpenID provider and the users that they are here; logins that are under way.

An identity is an issuer and a subject. It becomes a user of its own at the first login, or is tied
to one by whoever runs the service (``avsafe users link``); never by a name or an address of mail,
which a provider's people may choose. The roles that its groups give are those of the last login,
and end after a while without another, so that keys do not outlive a membership.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select, update

from avsafe.errors import AvsafeError, UsageError
from avsafe.registry.database import Database
from avsafe.registry.schema import identities, logins, provider_roles, sessions, teams, users
from avsafe.server.people import account_where
from avsafe.server.sessions import begin, hashed

WITHIN = timedelta(minutes=10)  # of a login at the provider
_MOST_LOGINS = 10_000  # under way, beside the new one


class Stale(AvsafeError):
    """No login of this browser is under way with that state."""


class NoTeam(AvsafeError):
    """The provider knows the person; no team here does."""


@dataclass(frozen=True)
class Login:
    """A login that is under way."""

    nonce: str
    verifier: str
    path: str


class Identities:
    """The identities of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------ logins under way

    def begin(self, browser: str, path: str) -> tuple[str, Login]:
        """A login of the browser that holds this cookie: its state, and what only we know.

        Anybody may begin one, so there is a bound: the oldest gives way.
        """
        now, state = datetime.now(UTC), secrets.token_urlsafe(32)
        login = Login(secrets.token_urlsafe(32), secrets.token_urlsafe(48), path)
        with self._database.writing() as connection:
            connection.execute(delete(logins).where(logins.c.expires_at < now))
            oldest = select(logins.c.id).order_by(logins.c.expires_at.desc()).offset(_MOST_LOGINS)
            connection.execute(delete(logins).where(logins.c.id.in_(oldest.limit(100))))
            connection.execute(
                insert(logins).values(
                    id=hashed(state), browser=hashed(browser), nonce=login.nonce,
                    verifier=login.verifier, path=path, expires_at=now + WITHIN,
                )
            )  # fmt: skip
        return state, login

    def take(self, state: str, browser: str) -> Login:
        """The login of this state and this browser; nobody gets it a second time. Raises Stale."""
        with self._database.writing() as connection:
            # Deleting is what decides: of two that come in one instant, one deletes the row.
            gone = connection.execute(
                delete(logins)
                .where(
                    logins.c.id == hashed(state),
                    logins.c.browser == hashed(browser),
                    logins.c.expires_at > datetime.now(UTC),
                )
                .returning(logins.c.nonce, logins.c.verifier, logins.c.path)
            ).first()
        if gone is None:
            raise Stale("No login of this browser is under way.")
        return Login(*gone)

    # ------------------------------------------------------------ who comes in

    def enter(
        self, issuer: str, subject: str, name: str, roles: Iterable[tuple[str, str]], *,
        lasts: timedelta, roles_last: timedelta,
    ) -> str:  # fmt: skip
        """A session for an identity, with the roles that its groups give now; its cookie.

        Raises NoTeam when neither they nor this service put it into a team; what an earlier login
        was given is taken away all the same.
        """
        now, wanted = datetime.now(UTC), sorted(set(roles))
        with self._database.writing(turn="people") as connection:
            found = _identity(connection, issuer, subject)
            if found is None and wanted:
                user_id = _new_user(connection, _name(name, issuer), now)
                found = _tie(connection, user_id, issuer, subject, now), user_id
            token = ""
            if found is not None:
                identity_id, user_id = found
                _give(connection, identity_id, wanted, now, now + roles_last)
                account = account_where(connection, users.c.id == user_id, now)
                if account is not None and account.teams:
                    token = begin(
                        connection, user_id, account.teams[0], lasts, identity_id=identity_id
                    )
        if not token:
            raise NoTeam("No group of this person is in a team.")
        return token

    def left(self, issuer: str, subject: str) -> None:
        """The provider says that somebody logged out: all sessions that it began end."""
        with self._database.writing() as connection:
            found = _identity(connection, issuer, subject)
            if found is not None:
                connection.execute(delete(sessions).where(sessions.c.identity_id == found[0]))

    def by_user(self) -> dict[str, list[tuple[str, str]]]:
        """Issuer and subject of every identity, by the id of its user."""
        query = select(identities.c.user_id, identities.c.issuer, identities.c.subject)
        found: dict[str, list[tuple[str, str]]] = {}
        with self._database.reading() as connection:
            for user_id, issuer, subject in connection.execute(query.order_by(identities.c.id)):
                found.setdefault(user_id, []).append((issuer, subject))
        return found

    def link(self, name: str, issuer: str, subject: str) -> None:
        """Let an identity log in as a user that there is. Raises UsageError."""
        if not issuer.strip() or not subject.strip() or len(subject) > 255:
            raise UsageError("Give the issuer and the subject as the provider's tokens name them.")
        with self._database.writing(turn="people") as connection:
            user_id = connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
            if user_id is None:
                raise UsageError(f"There is no user {name!r}.")
            found = _identity(connection, issuer, subject)
            if found is not None:
                # Sessions and roles were the other user's.
                connection.execute(delete(identities).where(identities.c.id == found[0]))
            _tie(connection, user_id, issuer, subject, datetime.now(UTC))

    def unlink(self, name: str) -> int:
        """Take all identities of a user away, with their roles and sessions; how many there were.

        Raises UsageError.
        """
        with self._database.writing(turn="people") as connection:
            user_id = connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
            if user_id is None:
                raise UsageError(f"There is no user {name!r}.")
            gone = delete(identities).where(identities.c.user_id == user_id)
            return connection.execute(gone).rowcount


def _identity(connection: Connection, issuer: str, subject: str) -> tuple[str, str] | None:
    row = connection.execute(
        select(identities.c.id, identities.c.user_id).where(
            identities.c.issuer == issuer, identities.c.subject == subject
        )
    ).first()
    return None if row is None else (row.id, row.user_id)


def _tie(connection: Connection, user_id: str, issuer: str, subject: str, now: datetime) -> str:
    identity_id = f"i-{secrets.token_hex(8)}"
    connection.execute(
        insert(identities).values(
            id=identity_id, user_id=user_id, issuer=issuer, subject=subject, created_at=now,
            seen_at=now,
        )
    )  # fmt: skip
    return identity_id


def _give(
    connection: Connection, identity_id: str, roles: list[tuple[str, str]], now: datetime,
    until: datetime,
) -> None:  # fmt: skip
    """These roles in place of those of the login before."""
    connection.execute(update(identities).where(identities.c.id == identity_id).values(seen_at=now))
    connection.execute(delete(provider_roles).where(provider_roles.c.identity_id == identity_id))
    for team, role in roles:
        if connection.execute(select(teams.c.name).where(teams.c.name == team)).first() is None:
            connection.execute(insert(teams).values(name=team, created_at=now))
        connection.execute(
            insert(provider_roles).values(
                identity_id=identity_id, team=team, role=role, until=until
            )
        )


def _new_user(connection: Connection, wanted: str, now: datetime) -> str:
    """A user of that name, or of that name and a number when somebody has it already."""
    user_id, number, name = f"u-{secrets.token_hex(8)}", 1, wanted
    while connection.execute(select(users.c.id).where(users.c.name == name)).first() is not None:
        number += 1
        name = f"{wanted[:56]}-{number}"
    connection.execute(insert(users).values(id=user_id, name=name, created_at=now, suspended=False))
    return user_id


def _name(given: str, issuer: str) -> str:
    """NAME@HOST, which says where it comes from and is no name that a user was given here.

    >>> _name("Ada <script>", "https://login.example.org/realms/lab")
    'Ada-script@login.example.org'
    """
    text = unicodedata.normalize("NFKC", given).partition("@")[0]
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-.+_")[:32] or "user"
    host = re.sub(r"[^\w.-]+", "-", urlsplit(issuer).hostname or "provider")
    return f"{plain}@{host}"[:60]
