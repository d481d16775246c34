"""Where the tasks of a run are done: in local processes, or on a Ray cluster.

An executor calls a function of a module on every task and hands each answer to ``keep`` in this
process, which writes it down at once: an interrupted run has lost nothing that was finished. A task
whose process dies is tried once more alone, then reported to ``lost``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from avsafe.errors import UsageError
from avsafe.sharding import pool
from avsafe.sharding.pool import Tasks

T = TypeVar("T")
R = TypeVar("R")
NAMES = ("local", "ray")


class Executor(Protocol):
    """Answers come in any order; what is made of them must not depend on it."""

    def started(self) -> AbstractContextManager[None]:
        """Several calls within share what is slow to start."""
        ...

    def everywhere(self, look: Callable[[], R]) -> dict[str, R]:
        """What a function gives on each other machine that would do tasks, by its address."""
        ...

    def run(
        self,
        work: Callable[[T], R],
        tasks: Tasks[T],
        *,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None: ...


def named(name: str, jobs: int, *, apart: bool = False) -> Executor:
    """The executor of that name with ``jobs`` tasks at a time. ``apart``: not even a single job is
    done in this process, which a task may kill.

    Raises UsageError for an unknown name, MissingExtra for Ray without the package.

    >>> named("local", 1)
    Local(jobs=1)
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 process is needed.")
    if name == "local":
        return Local(jobs, apart=apart)
    if name == "ray":
        from avsafe.sharding.on_ray import OnRay

        return OnRay(jobs)
    raise UsageError(f"No executor {name!r} (known: {', '.join(NAMES)}).")


class Local:
    """Processes of this machine; with one job, this process unless ``apart``."""

    def __init__(self, jobs: int, *, apart: bool = False) -> None:
        self._jobs = jobs
        self._apart = apart

    def __repr__(self) -> str:
        return f"Local(jobs={self._jobs})"

    def started(self) -> AbstractContextManager[None]:
        return nullcontext()

    def everywhere(self, look: Callable[[], R]) -> dict[str, R]:
        return {}

    def run(
        self,
        work: Callable[[T], R],
        tasks: Tasks[T],
        *,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None:
        pool.run(work, tasks, jobs=self._jobs, apart=self._apart, keep=keep, lost=lost)
