"""Tasks on a Ray cluster: the one that ``RAY_ADDRESS`` names, else one of this machine alone.

A Ray task costs about 2 ms, so many tasks of ours travel as one; their answers still come one by
one, as each is there (a streaming generator).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from avsafe.errors import MissingExtra, UsageError
from avsafe.sharding import pool
from avsafe.sharding.pool import Tasks

T = TypeVar("T")
R = TypeVar("R")
BATCH = 100  # tasks in one Ray task, where there are many
_AHEAD = 2  # batches waiting for each one that runs: a cluster never starves, memory stays bounded
_SHARE = 4  # a batch is at most this part of what is left for one CPU: all end at about one time


class OnRay:
    """Every node needs avsafe and the files under the same paths (``sharding.nodes`` looks). Ray's
    usage reports are switched off. Tasks hold one CPU each; a cluster is used with all of its CPUs,
    a machine alone with ``jobs``.
    """

    def __init__(self, jobs: int) -> None:
        self._ray = _package()
        self._jobs = jobs

    @contextmanager
    def started(self) -> Iterator[None]:
        """Starts Ray, or joins the cluster, unless that is done; ends what it started."""
        mine = not self._ray.is_initialized()
        if mine:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if not os.environ.get("RAY_ADDRESS"):
                settings |= {"num_cpus": self._jobs, "include_dashboard": False}
            self._ray.init(**settings)
        try:
            yield
        finally:
            if mine:
                self._ray.shutdown()

    def everywhere(self, look: Callable[[], R]) -> dict[str, R]:
        """Raises UsageError for a machine that cannot run our code at all."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        with self.started():
            asked = {}
            for node in self._ray.nodes():
                if node["Alive"] and node["Resources"].get("CPU"):
                    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                    remote = self._ray.remote(num_cpus=0, max_retries=1)(_called)
                    name = str(node["NodeManagerAddress"])
                    asked[name] = remote.options(scheduling_strategy=there).remote(look)
            return {name: self._answer(name, reference) for name, reference in asked.items()}

    def _answer(self, machine: str, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise UsageError(
                f"The machine {machine} of the Ray cluster cannot do the work: "
                f"{_last_line(error)}. Every one needs the same avsafe, installed for the Python "
                "that runs Ray."
            ) from error

    def run(
        self,
        work: Callable[[T], R],
        tasks: Tasks[T],
        *,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> None:
        with self.started():
            for task in self._batched(work, iter(tasks), len(tasks), keep, lost):
                if self._batched(work, iter([task]), 1, keep, lost):
                    lost(task, pool.DIED)

    def _batched(
        self,
        work: Callable[[T], R],
        waiting: Iterator[T],
        left: int,
        keep: Callable[[T, R], None],
        lost: Callable[[T, str], None],
    ) -> list[T]:
        """Do tasks batch by batch; returns those that ran when their process died."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(_each)
        at_once = max(1, int(ray.cluster_resources().get("CPU", self._jobs)))
        again: list[list[T]] = []  # what a batch whose process died had not begun
        killers: list[T] = []
        running: dict[Any, _Batch[T]] = {}
        while True:
            while len(running) < at_once * (1 + _AHEAD):
                size = max(1, min(BATCH, left // (_SHARE * at_once)))
                tasks = again.pop() if again else list(islice(waiting, size))
                if not tasks:
                    break
                left -= len(tasks)
                running[remote.remote(work, tasks)] = _Batch(tasks)
            if not running:
                return killers
            for stream in ray.wait(list(running), num_returns=1)[0]:
                batch = running[stream]
                try:
                    failure, answer = ray.get(next(stream))
                except StopIteration:
                    del running[stream]
                except ray.exceptions.RayError as error:
                    del running[stream]
                    now, rest = batch.tasks[batch.answered :][:1], batch.tasks[batch.answered + 1 :]
                    if isinstance(error, ray.exceptions.RayTaskError):  # our code is not there
                        for task in now:
                            lost(task, _last_line(error))
                    else:  # the process, or its machine, is gone
                        killers += now
                    again += [rest] if rest else []
                    left += len(rest)
                else:
                    task = batch.tasks[batch.answered]
                    batch.answered += 1
                    if failure is None:
                        keep(task, answer)
                    else:
                        lost(task, failure)


@dataclass
class _Batch(Generic[T]):
    """What one Ray task does, in this order."""

    tasks: list[T]
    answered: int = 0


def _each(work: Callable[[T], R], tasks: list[T]) -> Iterator[tuple[str | None, R | None]]:
    pool.start_worker()
    for task in tasks:
        try:
            answer = work(task)
        except Exception as error:
            yield pool.why(error), None
        else:
            yield None, answer


def _called(look: Callable[[], R]) -> R:
    return look()


def _last_line(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return lines[-1] if lines else repr(cause)


def _package() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(
            "The executor 'ray' needs Ray, which is not installed: pip install 'avsafe[ray]'. "
            "Or work here: --executor local --jobs N."
        ) from error
    return ray
