"""``avsafe users``: who may use the service, in which team and role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from avsafe.cli.shell import Json, console, print_json, shown

if TYPE_CHECKING:
    from avsafe.registry.database import Database
    from avsafe.server.people import People

app = typer.Typer(help="Users of the service, their teams, roles and keys.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="The user's name here.")]
Team = Annotated[str, typer.Option("--team", help="The team.")]
KeyId = Annotated[str, typer.Argument(help="A key, or of it the part after avs_.")]
Days = Annotated[int, typer.Option("--days", help="How long the key lasts, 1 to 366.")]


@app.command()
def add(
    name: Name,
    team: Team,
    role: Annotated[str, typer.Option(help="owner, creator, reviewer or auditor.")],
    days: Days = 90,
    as_json: Json = False,
) -> None:
    """Give a user a role in a team, both made when new, and print a key: it is shown this once.

    Example: avsafe users add --name ada --team lab --role creator
    """
    with _people() as people:
        key = people.add(name, team, role, days=days)
    _show_key(name, team, key, as_json, role=role)


@app.command()
def key(name: Name, team: Team, days: Days = 90, as_json: Json = False) -> None:
    """Another key for a user in a team."""
    with _people() as people:
        made = people.new_key(name, team, days=days)
    _show_key(name, team, made, as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every user with roles by team, and the identities at OpenID providers."""
    from avsafe.server.identities import Identities
    from avsafe.server.people import People

    with _database() as database:
        found, elsewhere = People(database).list(), Identities(database).by_user()
    if as_json:
        print_json(
            [
                {"name": a.name, "suspended": a.suspended,
                 "roles": [{"team": t, "role": r} for t, r in a.roles],
                 "identities": [{"issuer": i, "subject": s} for i, s in elsewhere.get(a.id, ())]}
                for a in found
            ]
        )  # fmt: skip
        return
    for account in found:
        roles = ", ".join(f"{team}: {role}" for team, role in account.roles)
        state = " [red]suspended[/]" if account.suspended else ""
        console().print(f"{shown(account.name)}  {shown(roles)}{state}")
        for issuer, subject in elsewhere.get(account.id, ()):
            console().print(f"    {shown(subject)} at {shown(issuer)}")


@app.command()
def suspend(
    name: Name, undo: Annotated[bool, typer.Option("--undo", help="Let the user in again.")] = False
) -> None:
    """A suspended user may look, and nothing else; the policy denies what was asked before."""
    with _people() as people:
        people.suspend(name, not undo)


@app.command()
def remove(
    name: Name,
    team: Team,
    role: Annotated[str | None, typer.Option(help="Only this role.")] = None,
) -> None:
    """Take a user's roles in a team away; the keys for it die with the last one."""
    with _people() as people:
        people.remove(name, team, role)


@app.command()
def keys(name: Name, as_json: Json = False) -> None:
    """The keys of a user: id, team, what they may do, how long they last."""
    from datetime import UTC, datetime

    from avsafe.server.keys import Keys

    with _database() as database:
        found = Keys(database).of(name)
    now = datetime.now(UTC)
    if as_json:
        print_json(
            [
                {"id": k.id, "team": k.team, "state": k.state(now), "scopes": k.scopes,
                 "created_at": k.created_at.isoformat(), "expires_at": k.expires_at.isoformat()}
                for k in found
            ]
        )  # fmt: skip
        return
    for key in found:
        may = "all that the user may" if key.scopes is None else ", ".join(key.scopes)
        console().print(
            f"avs_{key.id}_…  {shown(key.team)}  {key.state(now)} until "
            f"{key.expires_at:%Y-%m-%d %H:%M} UTC  {shown(may)}"
        )


@app.command("rotate-key")
def rotate_key(
    key_id: KeyId,
    grace_hours: Annotated[
        float, typer.Option(help="How long the old key goes on.", min=0, max=2160)
    ] = 24.0,
    days: Annotated[
        int | None, typer.Option(help="How long the new key lasts; else as long as the old one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """A new key in place of an old one, which goes on for a while: nothing has to stop.

    Example: avsafe users rotate-key 0a1b2c3d4e5f --grace-hours 48
    """
    from datetime import timedelta

    from avsafe.server.keys import Keys

    with _database() as database:
        made = Keys(database).rotate(_id(key_id), grace=timedelta(hours=grace_hours), days=days)
    if as_json:
        print_json({"replaces": _id(key_id), "grace_hours": grace_hours, "api_key": made})
        return
    console().print(f"[bold]{made}[/]")
    console(stderr=True).print(
        f"Keep it: it is not shown again. The old key goes on for {grace_hours:g} hours."
    )


@app.command()
def revoke(key_id: KeyId) -> None:
    """Revoke a key, and what was made while logged in with it."""
    from avsafe.server.keys import Keys

    with _database() as database:
        Keys(database).revoke(_id(key_id))


@app.command()
def link(
    name: Name,
    issuer: Annotated[str, typer.Option(help="Of the OpenID provider, as its tokens name it.")],
    subject: Annotated[str, typer.Option(help="The person there: the token's sub.")],
) -> None:
    """Let somebody at an OpenID provider log in as a user that there is."""
    from avsafe.server.identities import Identities

    with _database() as database:
        Identities(database).link(name, issuer, subject)


@app.command()
def unlink(name: Name) -> None:
    """Take a user's identities at OpenID providers away, with their roles and sessions."""
    from avsafe.server.identities import Identities

    with _database() as database:
        gone = Identities(database).unlink(name)
    console().print(f"{gone} gone.")


@app.command()
def quota(
    team: Team,
    daily: Annotated[int | None, typer.Option(help="Releases a day of each member.")] = None,
) -> None:
    """Set a team's daily quota for each member; without --daily the installation's holds."""
    with _people() as people:
        people.set_quota(team, daily)


@contextmanager
def _database() -> Iterator[Database]:
    from avsafe.home import Home
    from avsafe.registry.database import Database

    with Database.open(Home.default().ensure().database) as database:
        yield database


@contextmanager
def _people() -> Iterator[People]:
    from avsafe.server.people import People

    with _database() as database:
        yield People(database)


def _id(key: str) -> str:
    """The id, also of somebody who gives the whole key."""
    return key.removeprefix("avs_").partition("_")[0]


def _show_key(name: str, team: str, key: str, as_json: bool, **more: str) -> None:
    if as_json:
        print_json({"name": name, "team": team, **more, "api_key": key})
        return
    console().print(f"{shown(name)} in {shown(team)}: [bold]{key}[/]")
    console(stderr=True).print("Keep it: it is not shown again.")
