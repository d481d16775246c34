"""Write an archive.

1  the moment: no key is handed over, nobody writes; keys are read, both transactions begin
2  keys, sealed when asked for; what is public of them
3  the log: signed heads and checkpoints, then leaves
4  the registry's tables
5  folders as they are by now: what a row of the moment names, and has gone since, is named
6  the manifest, signed with the ledger's key
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, text

from avsafe import __version__
from avsafe.backup import archive, rows, sealed
from avsafe.backup.moment import has_log, moment
from avsafe.errors import UsageError
from avsafe.home import Home
from avsafe.ledger import carried, keyring
from avsafe.ledger.note import Key, notes_up_to
from avsafe.objects import open_store
from avsafe.registry import migrate
from avsafe.registry.database import Database

FOLDERS = ("policy", "consent", "people", "detectors", "watermarkers", "reports")
PUBLIC = ("ca.pem", "chain.pem", keyring.VERIFIER_FILE, keyring.OLD_FILE)
OBJECTS = "objects"


@dataclass(frozen=True)
class BackedUp:
    """What an archive holds."""

    created_at: datetime
    entries: int  # of the log
    rows: int  # of the registry
    files: int
    keys: bool
    objects: str  # included | left out | the address of a store that keeps them
    signed_by: str | None  # the ledger's key; None before there is a log


def back_up(
    home: Home, file: BinaryIO, *, passphrase: str | None = None, objects: bool = True
) -> BackedUp:
    """Write all state of ``home`` as it is now to ``file``; a service may go on writing.

    Private keys are left out unless there is a ``passphrase`` for them. Raises UsageError when
    there is nothing yet, LedgerError when the log is broken, BackupError.
    """
    if not Database.exists(home.database):
        raise UsageError(f"There is nothing in {home.root} to back up yet.")
    writer = archive.Writer(file)

    def at_it(connection: Connection) -> tuple[dict[str, bytes], Key | None]:
        head = _head(connection)
        signer = keyring.signing(home.keys, head).current if head is not None else None
        return _key_files(home.keys), signer

    with ExitStack() as held:
        with keyring.steady(home.keys):  # 1
            connection, (keys, signer) = held.enter_context(moment(home, at_it))
        return _write(home, writer, connection, keys, signer, passphrase, objects)


def _write(
    home: Home,
    writer: archive.Writer,
    connection: Connection,
    keys: dict[str, bytes],
    signer: Key | None,
    passphrase: str | None,
    objects: bool,
) -> BackedUp:
    created_at = datetime.now(UTC).replace(microsecond=0)
    store = open_store(home)
    where = store.shown if store.folder is None else "included" if objects else "left out"
    header = {
        "format": archive.FORMAT,
        "avsafe": __version__,
        "created_at": created_at.isoformat(),
        "schema": migrate.version(connection),
        "log": signer is not None,
        "keys": passphrase is not None,
        "objects": where,
    }
    writer.add(archive.HEADER, json.dumps(header, indent=1).encode())
    if passphrase is not None:  # 2
        plain = json.dumps({name: b64encode(data).decode() for name, data in keys.items()})
        writer.add(archive.SEALED, sealed.seal(plain.encode(), passphrase))
    files = 0
    for name, data in keys.items():
        if name in PUBLIC or name.startswith("trust/"):
            writer.add(f"files/keys/{name}", data)
            files += 1
    entries = rowed = 0
    if signer is not None:  # 3
        query = _query(connection)
        writer.add("ledger/signed", carried.signed(query))
        for number, part in enumerate(carried.leaves(query, archive.PART)):
            writer.add(f"ledger/leaves.{number:06}", part)
            entries += part.count(b"\n") + 1
        exported = exported_file(home)
        if exported.exists():  # others went on: what was added meanwhile is of after the moment
            notes = notes_up_to(exported.read_text("utf-8"), entries)
            writer.add("ledger/exported", notes.encode())
    for name, part in rows.export(connection):  # 4
        writer.add(name, part)
        rowed += part.count(b"\n")
    for name, path in _files(home, objects and store.folder is not None):  # 5
        files += writer.add_file(f"files/{name}", path)
    writer.close(signer.seal if signer else lambda text: text + "\n")  # 6
    by = signer.verifier if signer else None
    return BackedUp(created_at, entries, rowed, files, passphrase is not None, where, by)


def _head(connection: Connection) -> str | None:
    if not has_log(connection):
        return None
    row = connection.execute(text("SELECT note FROM ledger.head")).first()
    return str(row[0]) if row else None


def _query(connection: Connection) -> carried.Query:
    def query(statement: str) -> Iterable[Sequence[object]]:
        return connection.execute(text(statement).execution_options(yield_per=1000))

    return query


def exported_file(home: Home) -> Path:
    """The checkpoints that the log copies out."""
    from avsafe.ledger.in_postgresql import EXPORT_FILE

    name = EXPORT_FILE if isinstance(home.log, str) else home.ledger.stem + ".checkpoints"
    return home.root / name


def _key_files(folder: Path) -> dict[str, bytes]:
    """Name -> content of what lies in the key folder, locks and half-written files aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not path.is_symlink() and not hidden and path.suffix != ".lock":
            found[name] = path.read_bytes()
    return found


def _files(home: Home, objects: bool) -> Iterator[tuple[str, Path]]:
    for folder in (*FOLDERS, *((OBJECTS,) if objects else ())):
        for path in sorted((home.root / folder).rglob("*")):
            name = path.relative_to(home.root)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                yield name.as_posix(), path
