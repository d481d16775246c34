"""Where the clips of a run are measured: in local processes, or on a Ray cluster.

An executor calls a function of a module on every task and hands each answer to ``keep`` in this
process, which writes it down at once: an interrupted run has lost nothing that was finished. A task
whose process dies is tried once more alone, then reported to ``lost``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from avsafe.bench import runner
from avsafe.errors import MissingExtra, UsageError

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)
NAMES = ("local", "ray")
_AHEAD = (
    2  # Ray tasks waiting for each one that runs: a cluster never starves, memory stays bounded
)


class Executor(Protocol):
    """Answers come in any order; what is made of them must not depend on it."""

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None: ...


def named(name: str, jobs: int) -> Executor:
    """The executor of that name with ``jobs`` tasks at a time.

    Raises UsageError for an unknown name, MissingExtra for Ray without the package.

    >>> named("local", 1)
    Local(jobs=1)
    """
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 process is needed.")
    if name == "local":
        return Local(jobs)
    if name == "ray":
        return OnRay(jobs)
    raise UsageError(f"No executor {name!r} (known: {', '.join(NAMES)}).")


class Local:
    """Processes of this machine; with one job, this process."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __repr__(self) -> str:
        return f"Local(jobs={self._jobs})"

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None:
        runner.run(work, tasks, jobs=self._jobs, keep=keep, lost=lost)


class OnRay:
    """A Ray cluster: the one that ``RAY_ADDRESS`` names, else one of this machine alone.

    Every node needs avsafe and the clips under the same paths. Ray's usage reports are switched
    off. Tasks hold one CPU each.
    """

    def __init__(self, jobs: int) -> None:
        self._ray = _package()
        self._jobs = jobs

    def run(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None:
        ray, mine = self._ray, not self._ray.is_initialized()
        if mine:
            self._start()
        try:
            self._all(work, tasks, keep, lost)
        finally:
            if mine:
                ray.shutdown()

    def _start(self) -> None:
        import os

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if not os.environ.get("RAY_ADDRESS"):
            settings |= {"num_cpus": self._jobs, "include_dashboard": False}
        self._ray.init(**settings)

    def _all(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None:
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=1)(_measured_alone)
        waiting: list[T] = list(reversed(tasks))
        running: dict[Any, T] = {}
        while waiting or running:
            while waiting and len(running) < self._jobs * (1 + _AHEAD):
                task = waiting.pop()
                running[remote.remote(work, task)] = task
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                task = running.pop(reference)
                try:
                    answer = ray.get(reference)
                except ray.exceptions.RayError as error:
                    lost(task, f"{type(error).__name__}: {_first_line(error)}")
                else:
                    keep(task, answer)


def _measured_alone(work: Callable[[T], R], task: T) -> R:
    runner.start_worker()
    return work(task)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return lines[-1] if lines else repr(cause)


def _package() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(
            "The executor 'ray' needs Ray, which is not installed: pip install 'avsafe[ray]'. "
            "Or measure here: --executor local --jobs N."
        ) from error
    return ray
