"""The files of a log's keys, and how one key takes over from another.

    ledger.key       32 bytes, the key that signs
    ledger.pub       its public half, for auditors
    ledger.old       a line for each key before it: the last size that it signed, its public half
    ledger.key.next  while a key is handed over: the new key, on disk before the log names it

Which of ``ledger.key`` and ``ledger.key.next`` signs is never a matter of these files alone: it is
the one that signed the log's head. So a hand-over that is cut short leaves the old key or the new.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from avsafe.errors import LedgerError
from avsafe.home import locked, secret, write_private
from avsafe.ledger.note import Key, Ring, Verifier

KEY_FILE = "ledger.key"
VERIFIER_FILE = "ledger.pub"
OLD_FILE = "ledger.old"
_NEXT = "ledger.key.next"
_LOCK = "ledger.key.lock"


def load(folder: Path, fresh: bool, log: str) -> Ring:
    """The ring of a key folder; a ``fresh`` log gets its key.

    Raises LedgerError when the log exists without its key.
    """
    if not fresh and not (folder / KEY_FILE).exists():
        raise LedgerError(
            f"{log} exists but its key {folder / KEY_FILE} does not. Restore the key "
            "from a backup, or copy it from the machine that began the log: a new one could not "
            "vouch for the old entries."
        )
    ring = _ring(folder, secret(folder, KEY_FILE))
    if not (folder / VERIFIER_FILE).exists():
        _publish(folder, ring.current)
    return ring


def signing(folder: Path, head: str) -> Ring:
    """The ring whose key signed a log's head, while another process hands the log over.

    Raises LedgerError when none of the folder's keys did.
    """
    for name in (KEY_FILE, _NEXT):
        try:
            ring = _ring(folder, (folder / name).read_bytes())
            ring.current.open(head)
        except (FileNotFoundError, LedgerError):
            continue
        return ring
    raise LedgerError(
        f"The log's head carries no signature of a key in {folder}. When the key was changed on "
        f"another machine, copy {KEY_FILE}, {VERIFIER_FILE} and {OLD_FILE} from there."
    )


@contextmanager
def handing_over(folder: Path, head: Callable[[], str]) -> Iterator[Key]:
    """A new key, on disk; it becomes the log's when the block has signed the head with it."""
    with locked(folder / _LOCK):
        _settle(folder, head())
        seed = secrets.token_bytes(32)
        write_private(folder / _NEXT, seed)
        try:
            yield Key(seed, _ring(folder, (folder / KEY_FILE).read_bytes()).current.origin)
        finally:
            _settle(folder, head())


def settle(folder: Path, head: Callable[[], str]) -> None:
    """Finish, or take back, a hand-over whose process died."""
    if (folder / _NEXT).exists():
        with locked(folder / _LOCK):
            _settle(folder, head())


@contextmanager
def steady(folder: Path) -> Iterator[None]:
    """No key is handed over meanwhile."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder / _LOCK):
        yield


def verifiers(folder: Path) -> list[Verifier]:
    """Public halves of the keys of a folder, those before them included; none where it has none."""
    found: list[Verifier] = [old for _, old in _older(folder)]
    for name in (KEY_FILE, _NEXT):
        if (folder / name).exists():
            found.append(_ring(folder, (folder / name).read_bytes()).current)
    if (folder / VERIFIER_FILE).exists():
        found.append(Verifier.parse((folder / VERIFIER_FILE).read_text("utf-8")))
    return found


def retire(folder: Path, key: Verifier, size: int) -> None:
    """Note, before the head says so, that a key's last checkpoint is that of ``size`` entries."""
    kept = [(last, old) for last, old in _older(folder) if old.public != key.public]
    lines = [f"{last} {old.verifier}\n" for last, old in (*kept, (size, key))]
    write_private(folder / OLD_FILE, "".join(lines).encode())


def _settle(folder: Path, head: str) -> None:
    """Called by the one process that holds the lock."""
    try:
        seed = (folder / _NEXT).read_bytes()
    except FileNotFoundError:
        return
    try:
        key = _ring(folder, seed).current
        key.open(head)
    except LedgerError:  # the head never came to be signed with it
        (folder / _NEXT).unlink()
        return
    _publish(folder, key)
    (folder / _NEXT).replace(folder / KEY_FILE)


def _ring(folder: Path, seed: bytes) -> Ring:
    older = _older(folder)
    key = Key(seed, older[0][1].origin if older else None)
    return Ring(key, tuple(one for one in older if one[1].public != key.public))


def _older(folder: Path) -> list[tuple[int, Verifier]]:
    path = folder / OLD_FILE
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8").splitlines():
        size, _, text = line.partition(" ")
        if not size.isdecimal():
            raise LedgerError(f"{path} is damaged. Restore it from a backup.")
        found.append((int(size), Verifier.parse(text)))
    return found


def _publish(folder: Path, key: Key) -> None:
    write_private(folder / VERIFIER_FILE, (key.verifier + "\n").encode())
