"""Which files there are: folders are read entry by entry, so that a huge one takes no memory.

Links to files are followed, links to folders are not (they may lead in circles, or out of what was
meant). What is passed over is counted, what cannot be read is told.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avsafe.errors import UsageError
from avsafe.provenance.formats import find_sidecar

HIDDEN = "hidden files and folders"
LINKED = "links to folders"
BESIDE = "credentials beside a file (.c2pa)"
ODD = "pipes, sockets and devices"


@dataclass(frozen=True)
class Found:
    """A file: its full path, how it was named, and what changes when it changes."""

    path: str
    named: str
    stamp: str


def stamp_of(path: Path | str) -> str:
    """Size, times of change and of inode of a file, and of a credential beside it. Another stamp
    may be another content; the same stamp is the same content. Raises OSError.

    >>> stamp_of("/dev/null").split()[0]
    '0'
    """
    beside = find_sidecar(Path(path))
    seen = [os.stat(path)] + ([os.stat(beside)] if beside else [])
    return " ".join(f"{one.st_size} {one.st_mtime_ns} {one.st_ctime_ns}" for one in seen)


def size_of(stamp: str) -> int:
    """
    >>> size_of("12 1700000000000000000 1700000000000000000")
    12
    """
    return int(stamp.partition(" ")[0])


def has_sidecar(stamp: str) -> bool:
    return stamp.count(" ") > 2


def find(
    given: Sequence[Path], *, skip: Path, passed: Counter[str], problem: Callable[[str, str], None]
) -> Iterator[Found]:
    """Every file of some files and folders; ``skip`` is the folder of the run itself.

    ``passed`` counts what was passed over, ``problem`` hears path and reason. UsageError for a
    name that is neither a file nor a folder.
    """
    own = os.path.realpath(skip)
    for path in given:
        named = str(path)
        if path.is_dir():
            yield from _walked(named, own, passed, problem)
        elif path.is_file():
            yield from _stamped(named, problem)
        elif path.exists():
            raise UsageError(f"{named} is neither a file nor a folder.")
        else:
            raise UsageError(f"No such file or folder: {named}.")


def _walked(
    top: str, own: str, passed: Counter[str], problem: Callable[[str, str], None]
) -> Iterator[Found]:
    folders = [top]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name.startswith("."):
                            passed[HIDDEN] += 1
                        elif os.path.realpath(entry.path) != own:
                            folders.append(entry.path)
                    else:
                        yield from _file(entry, passed, problem)
        except OSError as error:
            problem(here, f"this folder cannot be read: {error.strerror}")


def _file(
    entry: os.DirEntry[str], passed: Counter[str], problem: Callable[[str, str], None]
) -> Iterator[Found]:
    if entry.name.startswith("."):
        passed[HIDDEN] += 1
        return
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError:
        problem(entry.path, "a link that leads nowhere" if entry.is_symlink() else "it is gone")
    except OSError as error:
        problem(entry.path, str(error.strerror))
    else:
        if stat.S_ISDIR(mode):
            passed[LINKED] += 1
        elif not stat.S_ISREG(mode):
            passed[ODD] += 1
        elif entry.name.lower().endswith(".c2pa"):
            passed[BESIDE] += 1
        else:
            yield from _stamped(entry.path, problem)


def _stamped(named: str, problem: Callable[[str, str], None]) -> Iterator[Found]:
    try:
        yield Found(os.path.abspath(named), named.removeprefix("./"), stamp_of(named))
    except OSError as error:
        problem(named, str(error.strerror))
