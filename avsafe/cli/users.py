"""``avsafe users``: who may use the service, in which team and role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from avsafe.cli.shell import Json, console, print_json, shown

if TYPE_CHECKING:
    from avsafe.server.people import People

app = typer.Typer(help="Users of the service, their teams, roles and keys.", no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="The user's name here.")]
Team = Annotated[str, typer.Option("--team", help="The team.")]
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
    """Every user with roles by team."""
    with _people() as people:
        found = people.list()
    if as_json:
        print_json(
            [
                {"name": a.name, "suspended": a.suspended,
                 "roles": [{"team": t, "role": r} for t, r in a.roles]}
                for a in found
            ]
        )  # fmt: skip
        return
    for account in found:
        roles = ", ".join(f"{team}: {role}" for team, role in account.roles)
        state = " [red]suspended[/]" if account.suspended else ""
        console().print(f"{shown(account.name)}  {shown(roles)}{state}")


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
def revoke(key_id: Annotated[str, typer.Argument(help="The part of a key after avs_.")]) -> None:
    """Revoke a key."""
    with _people() as people:
        people.revoke(key_id)


@app.command()
def quota(
    team: Team,
    daily: Annotated[int | None, typer.Option(help="Releases a day of each member.")] = None,
) -> None:
    """Set a team's daily quota for each member; without --daily the installation's holds."""
    with _people() as people:
        people.set_quota(team, daily)


@contextmanager
def _people() -> Iterator[People]:
    from avsafe.home import Home
    from avsafe.registry.database import Database
    from avsafe.server.people import People

    with Database.open(Home.default().ensure().database) as database:
        yield People(database)


def _show_key(name: str, team: str, key: str, as_json: bool, **more: str) -> None:
    if as_json:
        print_json({"name": name, "team": team, **more, "api_key": key})
        return
    console().print(f"{shown(name)} in {shown(team)}: [bold]{key}[/]")
    console(stderr=True).print("Keep it: it is not shown again.")
