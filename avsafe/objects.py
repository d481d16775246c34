"""Where files of jobs lie: a folder of this machine, or a bucket of an object store.

    AVSAFE_OBJECTS_URL=s3://BUCKET/PREFIX     also gs:// and az://ACCOUNT/CONTAINER/PREFIX
    AVSAFE_OBJECTS_HTTP=1                     an endpoint without TLS may be spoken to

Unset, it is ``objects/`` in the state folder. A key is a path with slashes, as in
``jobs/JOB/out-1.mp4``. Both kinds keep the same promises: what is put is there whole or not at all,
a bucket's copy was read back and compared, and what is deleted twice is no error.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from avsafe.errors import MissingExtra, ObjectsError, UsageError
from avsafe.home import flush

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Credential

    from avsafe.home import Home

URL_VARIABLE = "AVSAFE_OBJECTS_URL"
HTTP_VARIABLE = "AVSAFE_OBJECTS_HTTP"
CREDENTIALS_VARIABLE = "AWS_SHARED_CREDENTIALS_FILE"
PIECE = 2 << 20  # bytes of one request: a slow reader holds no connection and little memory
RETRIES = 6  # of one request, about 12 s in all: longer outages are the caller's to wait for
_TIMEOUT_S, _CONNECT_S = 60.0, 5.0
_URL = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._/-]*)?")
_PART = r"(?!\.{1,2}(/|$))[A-Za-z0-9._-]+"
_KEY = re.compile(rf"{_PART}(/{_PART})*")
_UPLOADING = ".uploading-"  # begins the name of what is not whole yet, in a folder


class NotThere(ObjectsError):
    """There is no such file in the object store."""


@dataclass(frozen=True)
class Stored:
    key: str
    size_bytes: int
    modified_at: datetime


class Store(Protocol):
    """Files under keys. All raise ObjectsError when the store refuses or does not answer."""

    shown: str  # for people: no credentials
    folder: Path | None  # where it is a folder of this machine

    def put(self, path: Path, key: str) -> None:
        """Keep a copy of a file, whole."""

    def fetch(self, key: str, path: Path) -> None:
        """Copy it to ``path``. Raises NotThere."""

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes ``start`` to before ``end``, in pieces. Raises NotThere."""

    def about(self, key: str) -> Stored | None:
        """Size and age of one; None when it is not there."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """All in the folder ``prefix``, but for what somebody else put there under a name that is
        no key. An empty folder is listed as itself, with a slash at its end."""

    def delete(self, keys: Iterable[str]) -> None: ...

    def delete_all(self, prefix: str) -> None:
        """All in the folder ``prefix``."""

    def check(self) -> None:
        """Raises ObjectsError when it cannot be reached."""


def open_store(home: Home, environment: Mapping[str, str] | None = None) -> Store:
    """The store that the environment names; one for each process and address.

    Raises UsageError for what is no address, without repeating it: somebody may have put a secret
    into it. Raises MissingExtra without obstore.

    >>> from avsafe.home import Home
    >>> open_store(Home(Path("x")), {}).shown
    'x/objects'
    """
    given = os.environ if environment is None else environment
    url = given.get(URL_VARIABLE, "").strip()
    if not url:
        return FolderStore(home.objects)
    if not _URL.fullmatch(url) or ".." in url:
        raise UsageError(
            f"{URL_VARIABLE} is no address of a bucket: write s3://BUCKET/PREFIX, gs://… or "
            "az://…. Credentials, endpoint and region come from the variables of the provider."
        )
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL") or ""
    open_http = given.get(HTTP_VARIABLE, "") in ("1", "true")
    if url.startswith("s3:") and endpoint.startswith("http:") and not open_http:
        raise UsageError(
            f"The endpoint of {URL_VARIABLE} is without TLS: use https, or set {HTTP_VARIABLE}=1 "
            "where nobody else is on the network."
        )
    mine = {k: v for k, v in given.items() if k.startswith(("AWS_", "GOOGLE_", "AZURE_"))}
    return _bucket(url.rstrip("/"), open_http, tuple(sorted(mine.items())))


def whole(source: FolderStore) -> Iterator[Stored]:
    """Files of jobs in a folder, but for those that wait for their name (it begins with a dot)."""
    for one in source.list("jobs"):
        name = one.key.rpartition("/")[2]
        if name and not name.startswith("."):
            yield one


def moved(source: FolderStore, target: Store) -> Iterator[Stored]:
    """Move every whole file of a folder, one after the other; each as it is done."""
    for one in list(whole(source)):
        target.put(source.path(one.key), one.key)
        source.delete([one.key])
        yield one
    source.prune("jobs")


class FolderStore:
    """Files in a folder, private to this user."""

    def __init__(self, root: Path) -> None:
        self.folder: Path | None = root
        self._root, self.shown = root, str(root)

    def path(self, key: str) -> Path:
        """Of the file under a key."""
        return self._root / _checked(key)

    def put(self, path: Path, key: str) -> None:
        final = self.path(key)
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = final.with_name(f"{_UPLOADING}{secrets.token_hex(8)}")
        try:
            shutil.copyfile(path, partial)
            partial.chmod(0o600)
            flush(partial)
            partial.replace(final)
            flush(final.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def fetch(self, key: str, path: Path) -> None:
        try:
            shutil.copyfile(self.path(key), path)
        except FileNotFoundError:
            if self.path(key).exists():
                raise
            raise _not_there(key) from None

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        try:
            file = self.path(key).open("rb")
        except FileNotFoundError:
            raise _not_there(key) from None
        with file:
            file.seek(start)
            while piece := file.read(PIECE if end is None else min(PIECE, end - file.tell())):
                yield piece

    def about(self, key: str) -> Stored | None:
        path = self.path(key)
        return self._stored(path) if path.is_file() else None

    def list(self, prefix: str) -> Iterator[Stored]:
        for folder, names, files in os.walk(self.path(prefix)):
            empty = not names and not files and Path(folder) != self.path(prefix)
            for path in (Path(folder),) if empty else (Path(folder, name) for name in files):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    found = self._stored(path)
                    if _KEY.fullmatch(found.key):
                        yield replace(found, key=f"{found.key}/") if empty else found

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.path(key).unlink(missing_ok=True)

    def delete_all(self, prefix: str) -> None:
        shutil.rmtree(self.path(prefix), ignore_errors=True)

    def prune(self, prefix: str) -> None:
        """Remove the empty folders in ``prefix``."""
        for folder in self.path(prefix).iterdir() if self.path(prefix).is_dir() else ():
            with suppress(OSError):
                folder.rmdir()

    def check(self) -> None:
        """A folder is made when it is first needed."""

    def _stored(self, path: Path) -> Stored:
        found = path.stat()
        key = path.relative_to(self._root).as_posix()
        return Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


class BucketStore:
    """Files under a prefix of a bucket."""

    folder: Path | None = None

    def __init__(self, url: str, store: ObjectStore) -> None:
        self.shown, self._store = url, store

    def put(self, path: Path, key: str) -> None:
        import obstore

        sha256, name = _sha256(_pieces(path)), _checked(key)
        with self._answering(key):
            obstore.put(self._store, name, path, max_concurrency=4)
        if _sha256(self.stream(key)) != sha256:
            self.delete([key])
            raise ObjectsError(f"What was put into {self.shown} reads back as something else.")

    def fetch(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            for piece in self.stream(key):
                file.write(piece)

    def stream(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        import obstore

        found = self.about(key)
        if found is None:
            raise _not_there(key)
        end = found.size_bytes if end is None else min(end, found.size_bytes)
        while start < end:
            with self._answering(key):
                piece = obstore.get_range(
                    self._store, _checked(key), start=start, end=min(end, start + PIECE)
                )
            start += len(piece)
            yield bytes(piece)

    def about(self, key: str) -> Stored | None:
        import obstore

        try:
            with self._answering(key):
                return _of_bucket(obstore.head(self._store, _checked(key)))
        except NotThere:
            return None

    def list(self, prefix: str) -> Iterator[Stored]:
        import obstore

        listed = iter(obstore.list(self._store, f"{_checked(prefix)}/"))
        while True:
            with self._answering(prefix):
                part = next(listed, None)
            if part is None:
                return
            yield from (one for one in map(_of_bucket, part) if _KEY.fullmatch(one.key))

    def delete(self, keys: Iterable[str]) -> None:
        import obstore

        if named := [_checked(key) for key in keys]:
            with self._answering(""):
                obstore.delete(self._store, named)

    def delete_all(self, prefix: str) -> None:
        self.delete([one.key for one in self.list(prefix)])

    def check(self) -> None:
        import obstore

        with self._answering(""):
            next(iter(obstore.list(self._store, "jobs/", chunk_size=1)), None)

    @contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        """Turns what obstore raises into NotThere or ObjectsError."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise _not_there(key) from None
            raise self._trouble(error) from None

    def _trouble(self, error: BaseException) -> ObjectsError:
        """What a person is told: the store's own code, never its sentence, which may quote keys."""
        said = str(error)
        found = (
            re.search(r"status code: (\d{3})", said),
            re.search(r"<Code>(\w{1,60})</Code>", said),
        )
        codes = " ".join(one[1] for one in found if one)
        what = f"refuses ({codes})" if codes else "does not answer"
        return ObjectsError(f"The object store {self.shown} {what}.")


@lru_cache(maxsize=8)
def _bucket(url: str, open_http: bool, variables: tuple[tuple[str, str], ...]) -> BucketStore:
    """``variables`` are the provider's, read by obstore itself; here they tell stores apart."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise MissingExtra(
            f"{URL_VARIABLE} needs obstore, not installed here: pip install 'avsafe[objects]'."
        ) from None
    credentials = dict(variables).get(CREDENTIALS_VARIABLE)
    own: dict[str, Any] = {}
    if credentials and url.startswith("s3:"):
        own["credential_provider"] = _from_file(Path(credentials), dict(variables))
    try:
        store = from_url(
            url,
            client_options={
                "timeout": timedelta(seconds=_TIMEOUT_S),
                "connect_timeout": timedelta(seconds=_CONNECT_S),
                "allow_http": open_http,
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=_TIMEOUT_S),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=200),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
            **own,
        )
    except (BaseError, ValueError) as error:
        raise UsageError(
            f"{URL_VARIABLE} cannot be used ({type(error).__name__}): look at the variables of the "
            "provider."
        ) from None
    return BucketStore(url, store)


def _from_file(path: Path, variables: Mapping[str, str]) -> Any:
    """Credentials of a profile in the usual file, read anew every few minutes: they may change."""
    from configparser import ConfigParser, Error

    profile = variables.get("AWS_PROFILE", "default")

    def credentials() -> S3Credential:
        parser = ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text())
            found = parser[profile]
            return {
                "access_key_id": found["aws_access_key_id"],
                "secret_access_key": found["aws_secret_access_key"],
                "token": found.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + timedelta(minutes=5),
            }
        except (OSError, KeyError, Error, UnicodeDecodeError) as error:
            raise UsageError(
                f"{CREDENTIALS_VARIABLE} holds no credentials of the profile {profile!r} "
                f"({type(error).__name__})."
            ) from None

    credentials()  # complains here, not in the middle of a job
    return credentials


def _of_bucket(meta: Any) -> Stored:
    return Stored(meta["path"], meta["size"], meta["last_modified"])


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise UsageError("A key of the object store is made of letters, digits, - _ . and /.")
    return key


def _not_there(key: str) -> NotThere:
    return NotThere(f"There is no file {key} in the object store.")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
