"""``avsafe consent``: who allowed which picture or voice to be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json, shown

if TYPE_CHECKING:
    from avsafe.consent import ConsentRecord, ConsentRegister

app = typer.Typer(help="Consent of the people whose face or voice is used.", no_args_is_help=True)


@app.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="The pictures, or the recordings.")],
    subject: Annotated[str, typer.Option(help="A pseudonym of the person, never the name.")],
    modality: Annotated[str, typer.Option(help="face or voice: one record, one of them.")],
    adult: Annotated[
        bool, typer.Option("--adult", help="The person declared to be of age.")
    ] = False,
    purpose: Annotated[
        list[str] | None, typer.Option(help="What for; repeat for more. Default: general.")
    ] = None,
    generator: Annotated[
        list[str] | None, typer.Option(help="Only with these generators; repeat for more.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long, at most 366.")] = 365,
    evidence: Annotated[
        Path | None, typer.Option(help="The signed form: its hash is kept, not the file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Record a consent and print its id, for: avsafe generate talking-head --consent ID.

    Example: avsafe consent add me.png --subject speaker-7 --modality face --adult

    Only hashes of the files are kept: the record covers these very files, no other picture of
    the same person.
    """
    from avsafe.media import sha256_of
    from avsafe.policy import local_principal

    record = _register().add(
        subject,
        modality,
        [sha256_of(path) for path in map(_readable, files)],
        granted_by=local_principal().user,
        adult=adult,
        purposes=purpose or ("general",),
        generators=generator or ("*",),
        duration=_days(days),
        evidence_sha256=sha256_of(_readable(evidence)) if evidence else None,
    )
    if as_json:
        print_json(_plain(record))
    else:
        console().print(f"{record.id}  valid until {record.expires_at:%Y-%m-%d}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the records, the newest first."""
    register = _register()
    records = register.list()
    for reason in register.damaged():
        console(stderr=True).print(f"[yellow]warning:[/] {shown(reason)}")
    if as_json:
        print_json([_plain(record) for record in records])
        return
    from rich.table import Table

    table = Table("consent", "subject", "modality", "purposes", "generators", "until", "state")
    table.columns[0].no_wrap = True
    for r in records:
        table.add_row(
            r.id, shown(r.subject), r.modality, shown(", ".join(r.purposes)),
            shown(", ".join(r.generators)), f"{r.expires_at:%Y-%m-%d}",
            r.state(datetime.now(UTC)),
        )  # fmt: skip
    console().print(table)


@app.command()
def revoke(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="From avsafe consent list.")],
    as_json: Json = False,
) -> None:
    """Withdraw a consent: nothing more is made with it. What was released stays released."""
    record = _register().revoke(record_id)
    if as_json:
        print_json(_plain(record))
    else:
        console().print(f"{record.id}  revoked")


def _register() -> ConsentRegister:
    from avsafe.consent import ConsentRegister
    from avsafe.home import Home

    return ConsentRegister(Home.default().consent)


def _days(days: int) -> timedelta:
    """Of a number that no calendar holds: more than a year, which the register refuses."""
    return timedelta(days=max(-1, min(days, 10_000)))


def _readable(path: Path) -> Path:
    from avsafe.errors import UsageError

    if not path.is_file():
        raise UsageError(f"No such file: {path}.")
    return path


def _plain(record: ConsentRecord) -> dict[str, Any]:
    return record.to_json() | {"state": record.state(datetime.now(UTC))}
