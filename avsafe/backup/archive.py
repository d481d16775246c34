"""The archive: a plain tar of plain files, written and read in one pass.

    avsafe-backup.json   what it holds
    keys.sealed          private keys under a passphrase, where they were asked for
    files/PATH           as it lies in the state folder
    ledger/..., registry/...   rows, a part of them in each member
    manifest             hash, size and name of every member before it, signed with the ledger's key

Nothing in it is compressed, so it unpacks to no more than its own size. Whoever sends one is not
trusted: members are plain files of short, clean names, each once; anything else ends the reading
before a byte of it is used.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from avsafe.closing import Closing
from avsafe.errors import BackupError

HEADER, SEALED, MANIFEST = "avsafe-backup.json", "keys.sealed", "manifest"
FORMAT = 1
PART = 4 << 20  # bytes of rows in a member, about
LONGEST_PART = 256 << 20  # a member that is read whole is no longer
LONGEST_NAME = 100  # bytes: what a tar header holds without extensions
_CHUNK = 1 << 20
_NAME = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[^/\\\x00-\x1f\x7f]+(?:/[^/\\\x00-\x1f\x7f]+)*")
_TITLE = "avsafe backup 1\n"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _PlainInfo(tarfile.TarInfo):
    """Refuses a header before the library follows it: links, sparse files, extensions of names."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _PlainInfo:
        found = super().frombuf(buf, encoding, errors)
        if found.type != tarfile.REGTYPE or found.size < 0:
            raise BackupError("The archive holds something that is no plain file: it is not used.")
        return found


def check_name(name: str) -> str:
    """A name that leads nowhere else. Raises BackupError.

    >>> check_name("files/../x")
    Traceback (most recent call last):
    ...
    avsafe.errors.BackupError: 'files/../x' is no name...
    """
    if not _NAME.fullmatch(name) or len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise BackupError(
            f"{name[:120]!r} is no name for a backup: up to {LONGEST_NAME} bytes, a path below."
        )
    return name


class Writer:
    """``add`` members in their order; ``close`` writes the manifest."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self._lines: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        self._add(name, len(data), io.BytesIO(data))

    def add_file(self, name: str, path: Path) -> bool:
        """False when it has gone meanwhile, or is no plain file."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return False
            self._add(name, found.st_size, file)
        return True

    def close(self, seal: Callable[[str], str]) -> None:
        """``seal`` makes a signed note of a text."""
        note = seal(_TITLE + "".join(self._lines)).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(note), 0o600
        self._tar.addfile(info, io.BytesIO(note))
        self._tar.close()

    def _add(self, name: str, size: int, file: BinaryIO) -> None:
        info = tarfile.TarInfo(check_name(name))
        info.size, info.mode = size, 0o600
        counted = _Counted(file)
        try:
            self._tar.addfile(info, counted)
        except OSError as error:
            if counted.count < size:
                raise BackupError(f"{name} became shorter while it was read.") from error
            raise
        self._lines.append(f"{counted.hash.hexdigest()} {size} {name}\n")


class _Counted(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file, self.hash, self.count = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        self.count += len(data)
        return data


class Member:
    """One file of the archive; what is not read of it is passed over, and hashed all the same."""

    def __init__(self, name: str, size: int, file: BinaryIO) -> None:
        self.name, self.size, self._file = name, size, file
        self._left, self.hash = size, hashlib.sha256()

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, a piece at a time. Raises BackupError when the archive ends within."""
        while self._left:
            data = self._file.read(min(_CHUNK, self._left))
            if not data:
                raise BackupError(f"The archive ends within {self.name}: it is not whole.")
            self._left -= len(data)
            self.hash.update(data)
            yield data

    def read(self) -> bytes:
        """All of it. Raises BackupError for more than a part may hold."""
        if self.size > LONGEST_PART:
            raise BackupError(f"{self.name} is longer than {LONGEST_PART >> 20} MB.")
        return b"".join(self.chunks())


class Reader(Closing):
    """Members in their order; the manifest is compared when they end. A context manager.

    ``note`` is the manifest as it was signed: the caller knows whose signature counts.
    """

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._tar = tarfile.open(fileobj=file, mode="r|", tarinfo=_PlainInfo)  # noqa: SIM115
        except (tarfile.TarError, OSError, EOFError) as error:
            raise BackupError(f"This is no backup: {error}.") from error
        self.note = ""

    def close(self) -> None:
        self._tar.close()

    def __iter__(self) -> Iterator[Member]:
        lines: list[str] = []
        seen: set[str] = set()
        try:
            for info in self._tar:
                name = check_name(info.name)
                if self.note or name in seen:
                    raise BackupError(f"{name} stands where no member may: it is not used.")
                seen.add(name)
                file = self._tar.extractfile(info)
                if file is None:
                    raise BackupError(f"{name} is no plain file.")
                member = Member(name, info.size, file)  # type: ignore[arg-type]
                if name == MANIFEST:
                    self.note = member.read().decode("utf-8", "replace")
                    continue
                yield member
                for _ in member.chunks():
                    pass
                lines.append(f"{member.hash.hexdigest()} {member.size} {name}\n")
        except (tarfile.TarError, EOFError, UnicodeError) as error:
            raise BackupError(f"The archive is damaged: {error}.") from error
        if not self.note:
            raise BackupError("The archive has no manifest: it was cut short.")
        if self.note.rpartition("\n\n")[0] + "\n" != _TITLE + "".join(lines):
            raise BackupError("The archive does not match its manifest: it was damaged or changed.")
