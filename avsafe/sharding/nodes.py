"""Whether the other machines of an executor would find what this one finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avsafe.errors import UsageError
from avsafe.sharding.executors import Executor

Look = Callable[[], Mapping[str, str]]


def check(executor: Executor, look: Look) -> None:
    """Raise UsageError unless ``look`` finds on every machine what it finds here."""
    others = executor.everywhere(look)
    here = dict(look()) if others else {}
    for machine, there in others.items():
        wrong = [
            f"{name}: {there.get(name, 'unknown')} (here: {value})"
            for name, value in here.items()
            if there.get(name) != value
        ]
        if wrong:
            raise UsageError(
                f"The machine {machine} would not do as this one does. {'; '.join(wrong)}. Every "
                "machine needs the same avsafe, and the same files under the same paths."
            )


def installed() -> str:
    """The version of avsafe here."""
    try:
        return version("avsafe")
    except PackageNotFoundError:
        return "unknown"


def seen(paths: Iterable[Path]) -> dict[str, str]:
    """What can be read of some files.

    >>> seen([Path("/no/such/file")])
    {'/no/such/file': 'not there'}
    """
    return {str(path): _seen(path) for path in paths}


def _seen(path: Path) -> str:
    try:
        with path.open("rb"):
            return f"{path.stat().st_size} bytes"
    except FileNotFoundError:
        return "not there"
    except OSError as error:
        return error.strerror or type(error).__name__
