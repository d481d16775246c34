"""Where state lives: ``$AVSAFE_HOME``, or the platform's user data folder.

keys/ (0700, files 0600), policy/, consent/, registry.db, ledger.db, objects/, staging/. With
``$AVSAFE_DATABASE_URL`` registry and ledger lie in that PostgreSQL database instead.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from avsafe.errors import UsageError

DATABASE_VARIABLE = "AVSAFE_DATABASE_URL"
RESTORING = "restore.json"  # moves that a restore has still to make
_DRIVER = "postgresql+psycopg"


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
    def database(self) -> Path | str:
        """Of releases, users and jobs: the address in the environment, or ``registry``."""
        return database_url() or self.registry

    @property
    def log(self) -> Path | str:
        """Of the ledger's entries: the same database, or the file ``ledger``."""
        return database_url() or self.ledger

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def index(self) -> Path:
        """Of fingerprints: a cache that the registry's rows can always be read for."""
        return self.root / "index"

    @property
    def consent(self) -> Path:
        return self.root / "consent"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    def ensure(self) -> Home:
        """Make the folders, private to this user.

        Raises UsageError when a restore into them was cut short.
        """
        if (self.root / RESTORING).exists():
            raise UsageError(
                f"A restore into {self.root} was cut short. Complete it: avsafe restore --finish"
            )
        for folder in (self.root, self.keys, self.objects, self.staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self


def begun(place: Path | str) -> bool:
    """Whether it is worth looking for a store: its file exists, or it has an address."""
    return isinstance(place, str) or place.exists()


def database_url(environment: Mapping[str, str] | None = None) -> str | None:
    """The address in ``AVSAFE_DATABASE_URL``, or in the file that ``AVSAFE_DATABASE_URL_FILE``
    names, in the form that SQLAlchemy takes; None when neither is set.

    Raises UsageError for what is no address of PostgreSQL, without repeating it: it may hold a
    password; for a file that cannot be read; and when both are set.

    >>> database_url({"AVSAFE_DATABASE_URL": "postgres://ada:secret@db.example:5433/avsafe"})
    'postgresql+psycopg://ada:secret@db.example:5433/avsafe'
    """
    given = os.environ if environment is None else environment
    text = given.get(DATABASE_VARIABLE, "").strip()
    if file := given.get(f"{DATABASE_VARIABLE}_FILE", "").strip():  # a container's secret
        if text:
            raise UsageError(f"Both {DATABASE_VARIABLE} and {DATABASE_VARIABLE}_FILE are set.")
        try:
            text = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise UsageError(f"{DATABASE_VARIABLE}_FILE: {file}: {reason}.") from None
        if not text:
            raise UsageError(f"{DATABASE_VARIABLE}_FILE: {file} is empty.")
    if not text:
        return None
    scheme, _, rest = text.partition("://")
    try:
        parts = urlsplit(text)
        host = re.fullmatch(r"[\w.:%-]*", parts.hostname or "")
        whole = host and parts.port != 0 and parts.netloc.count("@") < 2
        named = re.fullmatch(r"/[^/@]+", parts.path)
    except ValueError:  # a port that is no number
        whole = named = None
    if scheme not in ("postgres", "postgresql", _DRIVER) or not whole or not named:
        raise UsageError(
            f"{DATABASE_VARIABLE} is no address of a PostgreSQL database: write "
            "postgresql://USER@HOST/DATABASE (in a password @, / and : are %40, %2F and %3A)."
        ) from None
    return f"{_DRIVER}://{rest}"


def database_shown(url: str) -> str:
    """Host and name of a database, without user and password.

    >>> database_shown("postgresql+psycopg://ada:secret@db.example:5433/avsafe")
    'db.example:5433/avsafe'
    """
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path


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


def flush(path: Path) -> None:
    """Until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
