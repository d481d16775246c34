"""``avsafe ledger``: look into the tamper-evident log, check it, prove what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avsafe.cli.shell import Json, console, print_json

if TYPE_CHECKING:
    from avsafe.ledger import Entry, Ledger

app = typer.Typer(
    help="The append-only log of decisions and releases.\n\n"
    "Every request leaves an intent and one outcome. Entries are hashed into a Merkle tree whose "
    "root is signed; `verify` finds any entry that was changed, removed, added or cut off.",
    no_args_is_help=True,
)


@app.command()
def verify(
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="A copy of ledger.checkpoints that you keep elsewhere; it also catches somebody "
            "who can write this machine's files. Default: the file beside the log.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute the whole log and compare it with every signed checkpoint.

    Exit code 0: whole. 1: broken, and the rows that are touched are named.
    """
    with _open() as ledger:
        result = ledger.verify(checkpoints=checkpoints)
    if as_json:
        print_json({"ok": result.ok, **_fields(result)})
    elif result.ok:
        console().print(
            f"[green]whole[/]: {result.size} entries match {result.checkpoints} signed notes\n"
            f"root {result.root.hex()}"
        )
    else:
        out = console()
        out.print(f"[bold red]broken[/]: {len(result.problems)} problems in {result.size} entries")
        for problem in result.problems:
            where = "log" if problem.seq is None else f"entry {problem.seq}"
            out.print(f"  {where}: {problem.what}", markup=False)
    raise typer.Exit(0 if result.ok else 1)


@app.command()
def show(
    release_id: Annotated[
        str | None, typer.Argument(help="Only entries of this release; its first letters will do.")
    ] = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, help="How many entries; 0 shows all.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show entries, the oldest first.

    Example: avsafe ledger show 3f2a --json
    """
    from avsafe.errors import LedgerError

    with _open() as ledger:
        if release_id is None:
            found = list(ledger.entries(start=max(0, len(ledger) - last) if last else 0))
        else:
            found = list(ledger.entries(ledger.resolve(release_id)))[-last:]
        if release_id is not None and not found:
            raise LedgerError(f"The ledger has no entry of {release_id}.")
    if as_json:
        print_json(found)
        return
    _table(found)


@app.command()
def prove(
    target: Annotated[
        str, typer.Argument(metavar="ID", help="A release id (or its first letters), or #SEQ.")
    ],
    as_json: Json = False,
) -> None:
    """Prove that the entries of a release are in the log, to somebody who trusts only its key.

    The JSON holds all that a checker needs: the leaf, its path to the root, the signed checkpoint
    (C2SP tlog-checkpoint) and the public key. Hashing is that of RFC 6962.
    """
    from avsafe.errors import UsageError

    with _open() as ledger:
        if target.startswith("#"):
            if not target[1:].isdecimal():
                raise UsageError(f"{target} is not an entry: write # and a number, such as #12.")
            proofs = ledger.prove(int(target[1:]))
        else:
            proofs = ledger.prove(ledger.resolve(target))
    if as_json:
        print_json([{"holds": proof.holds(), **_fields(proof)} for proof in proofs])
        return
    out = console()
    for proof in proofs:
        out.print(
            f"entry {proof.entry.seq} ({proof.entry.type} of {proof.entry.release_id}) is in the "
            f"log of {proof.size} entries: {len(proof.path)} hashes lead to its root",
            markup=False,
        )
    out.print("\n" + proofs[0].checkpoint, markup=False)
    out.print(f"key {proofs[0].verifier}", markup=False)


@app.command()
def checkpoint(as_json: Json = False) -> None:
    """Sign the log as it stands, and add the note to ledger.checkpoints.

    Send that file to another machine now and then: whoever holds it can prove that the log was
    never rewritten.
    """
    with _open() as ledger:
        note = ledger.checkpoint()
        exported = ledger.exported
        verifier = ledger.verifier
    if as_json:
        print_json({"checkpoint": note, "exported": exported, "verifier": verifier})
    else:
        console().print(note, markup=False, end="")
        console(stderr=True).print(f"written to {exported}", markup=False)


@contextmanager
def _open() -> Iterator[Ledger]:
    from avsafe.errors import LedgerError
    from avsafe.home import Home
    from avsafe.ledger import Ledger

    home = Home.default()
    if not Ledger.exists(home.log):
        raise LedgerError(f"There is no ledger in {home.root} yet: release something first.")
    with Ledger.open(home.log, home.keys) as ledger:
        yield ledger


def _fields(value: Any) -> dict[str, Any]:
    return {name: one for name, one in vars(value).items() if name != "reached"}


def _table(entries: list[Entry]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("#", "time (UTC)", "type", "release", "what")
    for entry in entries:
        decision = entry.body.get("decision")
        effect = decision.get("effect") if isinstance(decision, dict) else None
        words = [
            entry.body.get("status"),
            effect,
            entry.body.get("task"),
            entry.body.get("generator"),
            entry.body.get("reason"),
        ]
        table.add_row(
            str(entry.seq),
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            entry.type,
            entry.release_id[:12],
            escape(" · ".join(str(word) for word in words if word)),
        )
    console().print(table)
