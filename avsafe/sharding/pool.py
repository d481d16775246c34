"""Tasks in local processes. A task that kills its process is tried once more alone, then reported.

What a task returns goes to ``keep`` in this process as soon as it is there; tasks that write rows
of their own (``rows.Store``) return nothing. Nothing is lost when a run is interrupted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from threading import Thread
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "SVT_LOG": "1"}
DIED = "the process died, also when the task ran alone"


class Tasks(Protocol[T_co]):
    """A list, or a million tasks that are made one by one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


def run(
    work: Callable[[T], R],
    tasks: Tasks[T],
    *,
    jobs: int,
    apart: bool = False,
    keep: Callable[[T, R], None],
    lost: Callable[[T, str], None],
) -> None:
    """Call ``work`` on every task in ``jobs`` processes (1: in this one, unless ``apart``).

    ``keep`` hears what a task returned, ``lost`` of a task whose process died or that raised.
    ``work`` must be a function of a module.
    """
    if jobs <= 1 and not apart:
        start_worker()
        for task in tasks:
            try:
                answer = work(task)
            except Exception as error:
                lost(task, why(error))
            else:
                keep(task, answer)
        return
    killers = _pooled(work, iter(tasks), jobs, keep, lost)
    for task in killers:  # whoever was in a broken pool: one of them broke it
        if _pooled(work, iter([task]), 1, keep, lost):
            lost(task, DIED)


def why(error: BaseException) -> str:
    """
    >>> why(ValueError("no"))
    'ValueError: no'
    """
    return f"{type(error).__name__}: {error}"


def _pooled(
    work: Callable[[T], R],
    waiting: Iterator[T],
    jobs: int,
    keep: Callable[[T, R], None],
    lost: Callable[[T, str], None],
) -> list[T]:
    """Run tasks in a pool; returns those that were in it when it broke."""
    killers: list[T] = []
    refused: list[T] = []  # by a pool that had broken already: no fault of theirs
    left = True
    while left:
        with ProcessPoolExecutor(jobs, get_context("spawn"), _start_pooled) as pool:
            running: dict[Future[Any], T] = {}
            broken = False
            while not broken:
                while len(running) < jobs and (some := refused or _next(waiting)):
                    task = some.pop()
                    try:
                        running[pool.submit(work, task)] = task
                    except BrokenProcessPool:  # a process died since the last wait
                        refused.append(task)
                        broken = True
                        break
                if not running:
                    left = broken
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        broken = True
                        killers.append(task)
                    elif error is not None:
                        lost(task, why(error))
                    else:
                        keep(task, future.result())
            killers.extend(running.values())
    return killers


def _next(waiting: Iterator[T]) -> list[T]:
    for task in waiting:
        return [task]
    return []


def _start_pooled() -> None:
    start_worker()
    Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process when its parent is gone: a pool whose owner was killed waits for ever."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def start_worker() -> None:
    """One thread a process: times are CPU times, the processes share the machine, and sums of
    floats do not depend on how many cores there are."""
    os.environ.update(_SINGLE)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        pass
