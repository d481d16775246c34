"""``avsafe backup`` and ``avsafe restore``."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from avsafe.cli.shell import Json, console, print_json

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="Its first line is the passphrase; without it you are asked.",
        exists=True,
        dir_okay=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    file: Annotated[
        Path, typer.Argument(help="The archive to write, a tar file; - writes it to stdout.")
    ],
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Also the private keys, sealed under a passphrase."),
    ] = False,
    passphrase_file: PassphraseFile = None,
    objects: Annotated[
        bool, typer.Option("--objects/--no-objects", help="Inputs and released files of jobs.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Write all state, as it is at one moment, into one archive. The service may run.

    Releases, users, jobs, the ledger, policy, consents and trusted roots; it restores into SQLite
    or PostgreSQL, whichever it came from. Private keys stay in their folder: keep a copy of keys/
    elsewhere, or give --keys.

    Example: avsafe backup /backups/monday.tar --keys --passphrase-file /root/passphrase
    """
    from avsafe.backup import back_up
    from avsafe.errors import UsageError
    from avsafe.home import Home

    home = Home.default()
    passphrase = _passphrase(passphrase_file, twice=True) if keys else None
    with ExitStack() as held:
        if str(file) == "-":
            if as_json:
                raise UsageError("stdout holds the archive: leave out --json, or name a file.")
            done = back_up(home, sys.stdout.buffer, passphrase=passphrase, objects=objects)
            sys.stdout.buffer.flush()
        else:
            if file.exists():
                raise UsageError(f"{file} exists already: name another file.")
            part = file.with_name(f".{file.name}.part")
            held.callback(_remove, part)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                done = back_up(home, out, passphrase=passphrase, objects=objects)
                out.flush()
                os.fsync(out.fileno())
            part.replace(file)
    if as_json:
        print_json({"file": file, **vars(done)})
        return
    talk = console(stderr=True)
    talk.print(
        f"{done.entries} entries of the ledger, {done.rows} rows, {done.files} files; "
        f"objects: {done.objects}; private keys: {'sealed' if done.keys else 'left out'}.",
        markup=False,
    )
    if not done.keys:
        talk.print(f"Keep a copy of {home.keys} apart: without it the ledger does not open.")


def restore(
    file: Annotated[Path | None, typer.Argument(help="The archive; - reads it from stdin.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read and verify everything; change nothing.")
    ] = False,
    over: Annotated[
        bool,
        typer.Option("--replace", help="What is there moves to before-restore-TIME first."),
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Open the sealed private keys of the archive, too.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    complete: Annotated[
        bool, typer.Option("--finish", help="Complete a restore that was cut short.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put an archive of `avsafe backup` in place, whole or not at all.

    Into an empty home, in which keys/ may stand already; or into the database that
    AVSAFE_DATABASE_URL names. Every hash, the ledger's signed roots and the signature of the
    archive are compared first.

    Exit code 0: done, or as it should be. 1: damaged, changed, or of another log. 2: not empty, or
    in use.
    """
    from avsafe.backup import finish
    from avsafe.backup import restore as put_back
    from avsafe.errors import UsageError
    from avsafe.home import Home

    home = Home.default()
    if complete:
        done = finish(home)
        if as_json:
            print_json({"finished": done})
        else:
            console().print("Completed." if done else "There was nothing to complete.")
        return
    if file is None:
        raise UsageError("Name the archive.")
    passphrase = _passphrase(passphrase_file) if keys else None
    with ExitStack() as held:
        source = sys.stdin.buffer if str(file) == "-" else held.enter_context(file.open("rb"))
        found = put_back(home, source, check=check, over=over, passphrase=passphrase)
    if as_json:
        print_json({"restored": not check, **vars(found)})
        return
    out = console()
    out.print(
        f"{'Whole' if check else 'Restored'}: the state of {found.created_at:%Y-%m-%d %H:%M} UTC; "
        f"{found.entries} entries of the ledger, {found.rows} rows, {found.files} files; "
        f"objects: {found.objects}.",
        markup=False,
    )
    out.print(f"Signatures were compared with {found.vouched_by}.", markup=False)
    if found.kept:
        out.print(f"What was there before lies in {found.kept}.", markup=False)
    if not check and not (home.keys / "ledger.key").exists():
        out.print(f"Put your copy of the keys into {home.keys} before anything else.", markup=False)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _passphrase(file: Path | None, *, twice: bool = False) -> str:
    if file is not None:
        return file.read_text("utf-8").partition("\n")[0].rstrip("\r")
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice, err=True))
