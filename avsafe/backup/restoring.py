"""Read an archive back: all of it, or nothing.

1  everything is unpacked and loaded beside the state: in a folder of its own in the home; with
   PostgreSQL in a transaction
2  manifest, log and signatures are compared
3  the moves that put it in place are written down (``restore.json``), and the databases commit
4  the moves are made

Killed before 3 nothing has changed. Killed after it, ``finish`` makes the moves that are left, and
nothing else opens the home before.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy.exc import SQLAlchemyError

from avsafe.backup import archive, rows, sealed
from avsafe.backup.making import FOLDERS, OBJECTS, PUBLIC, exported_file
from avsafe.backup.place import Target, finish, make_room, note, scratch, target
from avsafe.errors import BackupError, LedgerError, UsageError
from avsafe.home import Home, locked, write_private
from avsafe.ledger import carried, keyring
from avsafe.ledger.note import Verifier

STAGING = ".restore-"
_NOBODY = "nobody: it holds no log"


@dataclass(frozen=True)
class Restored:
    """What was found in an archive, and put in place unless it was only checked."""

    created_at: datetime
    entries: int
    rows: int
    files: int
    keys: bool  # private keys came with it
    objects: str
    vouched_by: str  # whose keys the signatures of log and manifest were compared with
    kept: Path | None = None  # where what was there before lies


def restore(
    home: Home,
    file: BinaryIO,
    *,
    check: bool = False,
    over: bool = False,
    passphrase: str | None = None,
) -> Restored:
    """Put an archive in place of an empty home, or database; ``check`` only reads it.

    Keys that stand in the home already are kept, and must be those of the archive's log. ``over``
    moves what is there to ``before-restore-...`` first. Sealed keys are opened when there is a
    ``passphrase``. Raises BackupError (LedgerError for its log) for an archive that is damaged,
    changed or hostile, UsageError for a home that is not empty or in use; then nothing has changed.
    """
    if check:
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="avsafe-check-")))
            aside = held.enter_context(scratch(folder))
            return _unpack(home, file, folder, aside, passphrase, dry=True)
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(home.root / "restore.lock", timeout_s=1), ExitStack() as held:
        finish(home)
        for left in home.root.glob(STAGING + "*"):
            shutil.rmtree(left)
        room = make_room(home, over)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=home.root))
        held.callback(_clear, home, staging)
        with target(home, staging) as into:
            found = _unpack(home, file, staging, into, passphrase)
            for folder in staging.rglob("*/"):
                folder.chmod(0o700)
            into.keep(lambda: note(home, staging, _moves(home, staging, room, found.keys), into))
        finish(home)
        return replace(found, kept=home.root / room.name if room.names else None)


def _clear(home: Home, staging: Path) -> None:
    if not (home.root / "restore.json").exists():
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(
    home: Home,
    file: BinaryIO,
    folder: Path,
    into: Target,
    passphrase: str | None,
    *,
    dry: bool = False,
) -> Restored:
    """1, 2: into ``folder`` and the databases of ``into``; ``dry`` writes no files but keys."""
    header: Mapping[str, Any] = {}
    log: carried.Carried | None = None
    loader: rows.Loader | None = None
    verifiers: list[Verifier] = []
    vouched, keys, rowed, files = _NOBODY, False, 0, 0
    with archive.Reader(file) as reader:
        for member in reader:
            kind, _, rest = member.name.partition("/")
            if not header:
                header = _header(member)
                into.begin(header["schema"])
                loader = rows.Loader(into.connection)
            elif member.name == archive.SEALED:
                if passphrase is not None:
                    _write_keys(folder / "keys", sealed.unseal(member.read(), passphrase))
                    keys = True
            elif kind == "files":
                files += 1
                _refuse_stray(rest)
                of_keys = rest.startswith("keys/")
                if of_keys and keys and (folder / rest).is_file():
                    continue  # it came with the sealed ones
                if of_keys or not dry:
                    _write(folder / rest, member)
            elif member.name == "ledger/signed" and log is None:
                verifiers, vouched = _verifiers(home, folder / "keys", keys)
                log = carried.Carried(member.read(), verifiers, into.put)
            elif member.name == "ledger/exported":
                _write(folder / exported_file(home).name, member)
            elif member.name.startswith("ledger/leaves.") and log is not None:
                log.take(member.read())
            elif kind == "registry" and loader is not None:
                try:
                    rowed += loader.load(member.read())
                except (SQLAlchemyError, ValueError, TypeError, OverflowError) as error:
                    # the driver's own words hold values of the row
                    raise BackupError(
                        f"Rows of {rest} do not fit their table ({type(error).__name__})."
                    ) from None
            else:
                raise BackupError(f"The archive holds {member.name}, which is no part of a backup.")
    if loader is None or bool(header["log"]) is not (log is not None):
        raise BackupError("The archive does not hold what it says.")
    if log is not None:
        log.finish()
        if not any(_signed(reader.note, one) for one in verifiers):
            raise BackupError("The manifest is signed by none of the log's keys: it is not used.")
    loader.finish()
    into.complete(with_log=log is not None)
    return Restored(
        created_at=datetime.fromisoformat(header["created_at"]),
        entries=log.size if log else 0,
        rows=rowed,
        files=files,
        keys=keys,
        objects=header["objects"],
        vouched_by=vouched,
    )


def _header(member: archive.Member) -> Mapping[str, Any]:
    if member.name != archive.HEADER or member.size > 1 << 16:
        raise BackupError("This is no backup of avsafe.")
    try:
        found: dict[str, Any] = json.loads(member.read())
        if found["format"] != archive.FORMAT:
            raise BackupError(
                f"The backup has format {found['format']!r}; this avsafe reads {archive.FORMAT}."
            )
        datetime.fromisoformat(found["created_at"])
        if not all(isinstance(found[name], str) for name in ("schema", "objects")):
            raise TypeError("a word is missing")
        found["log"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackupError(f"The backup does not say what it is: {error}.") from error
    return found


def _refuse_stray(name: str) -> None:
    top, _, rest = name.partition("/")
    if top == "keys" and (rest in PUBLIC or rest.startswith("trust/")):
        return
    if not rest or top not in (*FOLDERS, OBJECTS):
        raise BackupError(f"The archive holds {name}, which is no part of a backup.")


def _write(path: Path, member: archive.Member) -> None:
    """Into a folder that nobody else writes; the name was checked."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, flags, 0o600)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise BackupError(f"{member.name} stands in the way of another file.") from error
    with os.fdopen(descriptor, "wb") as file:
        for chunk in member.chunks():
            file.write(chunk)


def _write_keys(folder: Path, plain: bytes) -> None:
    try:
        found = {str(name): b64decode(data) for name, data in json.loads(plain).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BackupError(f"The sealed keys cannot be read: {error}.") from error
    for name, data in found.items():
        archive.check_name(name)
        write_private(folder / name, data)


def _verifiers(home: Home, staged: Path, opened: bool) -> tuple[list[Verifier], str]:
    """The keys that count, and whose they are. Raises BackupError when there are none."""
    if (home.keys / keyring.KEY_FILE).exists():
        return keyring.verifiers(home.keys), "the keys of this home"
    found = keyring.verifiers(staged)
    if not found:
        raise BackupError("The archive holds a log and no public key of it.")
    if opened:
        return found, "the keys that came sealed with it"
    return found, "the archive's own: no keys are here"


def _signed(manifest: str, key: Verifier) -> bool:
    try:
        key.text_of(manifest)
    except LedgerError:
        return False
    return True


def _moves(home: Home, staging: Path, room: Any, keys: bool) -> list[tuple[str, str]]:
    """(from, to) within the home, in their order."""
    moves = [(name, f"{room.name}/{name}") for name in room.names]
    if keys and home.keys.exists() and any(home.keys.glob("*.key")):
        if not room.over:
            raise UsageError(
                f"{home.keys} holds keys already. Restore without the keys of the archive, or with "
                "--replace."
            )
        moves.append(("keys", f"{room.name}/keys"))
        room.names.append("keys")
    for path in sorted(staging.iterdir()):
        if path.name != "keys":
            moves.append((f"{staging.name}/{path.name}", path.name))
    for path in sorted((staging / "keys").rglob("*")):
        name = path.relative_to(staging).as_posix()
        if path.is_file() and (keys or not (home.root / name).exists()):
            moves.append((f"{staging.name}/{name}", name))
    return moves
