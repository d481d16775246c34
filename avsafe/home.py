"""Where state lives: ``$AVSAFE_HOME``, or the platform's user data folder.

keys/ (0700, files 0600), policy/, consent/, registry.db, ledger.db, objects/, staging/.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The state folder and the names of what is in it. Creates nothing until ``ensure``.

    >>> Home(Path("x")).registry.name
    'registry.db'
    """

    root: Path

    @classmethod
    def default(cls) -> Home:
        value = os.environ.get("AVSAFE_HOME")
        if value:
            return cls(Path(value).expanduser().resolve())
        from platformdirs import user_data_dir

        return cls(Path(user_data_dir("avsafe", appauthor=False)))

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def policy(self) -> Path:
        return self.root / "policy"

    @property
    def registry(self) -> Path:
        return self.root / "registry.db"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def consent(self) -> Path:
        return self.root / "consent"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    def ensure(self) -> Home:
        """Make the folders, private to this user."""
        for folder in (self.root, self.keys, self.objects, self.staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def secret(folder: Path, name: str, size_bytes: int = 32) -> bytes:
    """A random key kept in ``folder/name``, made on first use; racing processes get the same."""
    path = folder / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = folder / f".{name}.{secrets.token_hex(4)}"
    write_private(temporary, secrets.token_bytes(size_bytes))
    try:
        os.link(temporary, path)  # atomic, and fails when another process was first
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
    return path.read_bytes()


@contextmanager
def locked(path: Path, *, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path`` (made when absent, never removed).

    The kernel drops the lock when the process ends, however it ends. Not re-entrant. Raises
    TimeoutError when another process, or another thread of this one, holds it for ``timeout_s``.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        wait_s = 0.0005
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"Another process has held {path} for more than {timeout_s:g} s."
                    ) from None
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, 0.02)
        yield
    finally:
        os.close(descriptor)  # closing lets go of the lock
