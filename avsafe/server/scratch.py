"""Private folders that live as long as the block, or at most the process, that made them.

Each holds a locked file; the kernel lets go of the lock when its process ends, however it ends. So
whoever sweeps knows the dead from the living, on every machine that shares the folder.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from avsafe.home import locked

_LOCK = ".lock"


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A folder of a random name in ``parent``, gone with its content after the block."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = parent / secrets.token_hex(16)
    with _turn(parent):  # a sweep never meets one that is not locked yet
        own.mkdir(mode=0o700)
        lock = os.open(own / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path) -> int:
    """Remove what dead processes left behind; how many folders that were."""
    if not parent.is_dir():
        return 0
    dead: list[tuple[Path, int]] = []
    with _turn(parent):
        for own in parent.iterdir():
            if own.is_dir() and (lock := _of_the_dead(own)) is not None:
                dead.append((own, lock))
    for own, lock in dead:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)
    return len(dead)


def _of_the_dead(own: Path) -> int | None:
    """The lock of a folder that nobody holds, held now; None when its process lives."""
    try:
        lock = os.open(own / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # it is just being removed
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _turn(parent: Path) -> AbstractContextManager[None]:
    return locked(parent.with_name(parent.name + ".lock"))
