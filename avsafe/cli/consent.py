"""``avsafe consent``: who allowed which picture or voice to be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json, shown

if TYPE_CHECKING:
    from avsafe.acts import Actor
    from avsafe.consent import ConsentRecord, ConsentRegister
    from avsafe.consenting import Consenting

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
    embedding: Annotated[
        bool,
        typer.Option(
            "--embedding",
            help="The person read the notice (avsafe consent notice) and agreed to an embedding.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Record a consent and print its id, for: avsafe generate talking-head --consent ID.

    Example: avsafe consent add me.png --subject speaker-7 --modality face --adult

    Only hashes of the files are kept: the record covers these very files. With --embedding, where
    the operator switched it on, another picture of the same person is proposed to a reviewer.
    """
    with _consenting() as consenting:
        record = consenting.record(
            [_readable(path) for path in files],
            subject,
            modality,
            actor=_me(),
            granted_by=_me().name,
            adult=adult,
            purposes=purpose or ("general",),
            generators=generator or ("*",),
            duration=_days(days),
            evidence=_readable(evidence) if evidence else None,
            embedding=embedding,
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
            r.state(datetime.now(UTC)) + (" · embedding" if r.may_embed else ""),
        )  # fmt: skip
    console().print(table)


@app.command()
def revoke(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="From avsafe consent list.")],
    as_json: Json = False,
) -> None:
    """Withdraw a consent: nothing more is made with it, and jobs of the service that wait on it are
    denied. What was released stays released."""
    from avsafe.server.jobs import Jobs

    with _consenting() as consenting:
        record = consenting.withdraw(record_id, _me())
        stopped = Jobs(consenting.database).stop_for_consent(record.id)
    if as_json:
        print_json(_plain(record) | {"jobs_denied": stopped})
        return
    console().print(
        f"{record.id}  revoked" + (f", {stopped} waiting jobs denied" if stopped else "")
    )


@app.command()
def notice(modality: Annotated[str, typer.Argument(help="face or voice.")]) -> None:
    """Print what a person is told who is asked to agree to an embedding."""
    from avsafe.consent import EMBEDDING_NOTICE
    from avsafe.errors import UsageError

    if modality not in EMBEDDING_NOTICE:
        raise UsageError(f"There is a notice for face and for voice, not for {modality!r}.")
    console().print(EMBEDDING_NOTICE[modality])


@app.command("receipt")
def receipt_(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="From avsafe consent list.")],
) -> None:
    """Print the receipt for the person, as JSON-LD; that it was issued is in the ledger."""
    from avsafe.errors import UsageError

    with _consenting() as consenting:
        record = consenting.register.get(record_id)
        if record is None:
            raise UsageError(f"No consent record {record_id!r}. See: avsafe consent list")
        print_json(consenting.receipt(record, _me()))


@app.command("forget-embedding")
def forget_embedding(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="Of a consent or a protection.")],
) -> None:
    """Delete the embedding of a person; the consent (or the protection by file) stays."""
    with _consenting() as consenting:
        gone = consenting.forget_embedding(record_id, _me())
    console().print(f"{record_id}  {'deleted' if gone else 'there was none'}")


@app.command()
def protect(
    files: Annotated[list[Path], typer.Argument(help="Pictures, or recordings, of the person.")],
    subject: Annotated[str, typer.Option(help="A pseudonym of the person, never the name.")],
    modality: Annotated[str, typer.Option(help="face or voice: one entry, one of them.")],
    embedding: Annotated[
        bool,
        typer.Option("--embedding", help="The person agreed that other files are recognised too."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Refuse a person's face or voice from now on, whoever asks and whatever consent is named."""
    with _consenting() as consenting:
        person = consenting.protect(
            [_readable(path) for path in files],
            subject,
            modality,
            actor=_me(),
            entered_by=_me().name,
            embedding=embedding,
        )
    if as_json:
        print_json(person.to_json())
    else:
        console().print(f"{person.id}  protected")


@app.command()
def protected(as_json: Json = False) -> None:
    """List the people who refused, the newest first."""
    with _consenting() as consenting:
        people, kept = consenting.people.list(), consenting.embeddings.ids()
    if as_json:
        print_json([one.to_json() | {"embedding_kept": one.id in kept} for one in people])
        return
    for one in people:
        more = "  embedding" if one.id in kept else ""
        console().print(f"{one.id}  {one.modality}  {shown(one.subject)}{more}")


@app.command()
def unprotect(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="From avsafe consent protected.")],
) -> None:
    """The person no longer refuses: the entry and its embedding are deleted."""
    with _consenting() as consenting:
        consenting.end_protection(record_id, _me())
    console().print(f"{record_id}  ended")


@app.command("rotate-key")
def rotate_key() -> None:
    """Seal all embeddings under a new keys/embedding.key; copy it to the other machines."""
    with _consenting() as consenting:
        count = consenting.embeddings.rotate()
    console().print(f"{count} sealed anew")


@app.command("forget-person")
def forget_person(
    person: Annotated[str, typer.Argument(help="A user's name; local for this command line.")],
) -> None:
    """Erase the salt of a person's hashes in the ledger: who recorded, withdrew and reviewed."""
    from avsafe.errors import UsageError

    with _consenting() as consenting:
        if not consenting.acts.forget(person):
            raise UsageError(f"The ledger has no hash of {person!r}.")
    console().print(f"{shown(person)}  forgotten")


@contextmanager
def _consenting() -> Iterator[Consenting]:
    from avsafe import consenting
    from avsafe.home import Home

    with consenting.opened(Home.default()) as opened:
        yield opened


def _me() -> Actor:
    from avsafe.acts import Actor
    from avsafe.policy import local_principal

    name = local_principal().user
    return Actor(name, name)


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
