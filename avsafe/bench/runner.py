"""Tasks in local processes. A task that kills its process is tried once more alone, then reported.

What a task returns goes to ``keep`` in this process as soon as it is there; tasks that write rows
of their own (``rows.Store``) return nothing. Nothing is lost when a run is interrupted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Thread
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "SVT_LOG": "1"}


def run(
    work: Callable[[T], R],
    tasks: Sequence[T],
    *,
    jobs: int,
    done: Callable[[int], None] = lambda count: None,
    keep: Callable[[T, R], None] = lambda task, answer: None,
    lost: Callable[[T, str], None],
) -> None:
    """Call ``work`` on every task in ``jobs`` processes (1: in this one).

    ``done`` hears how many are finished, ``keep`` what a task returned, ``lost`` of a task whose
    process died or that raised. ``work`` must be a function of a module.
    """
    if jobs <= 1:
        start_worker()
        for count, task in enumerate(tasks, 1):
            try:
                answer = work(task)
            except Exception as error:
                lost(task, f"{type(error).__name__}: {error}")
            else:
                keep(task, answer)
            done(count)
        return
    ends = _Ends(done, keep, lost)
    killers = _pooled(work, tasks, jobs, ends)
    for task in killers:  # whoever was in a broken pool: one of them broke it
        if _pooled(work, [task], 1, _Ends(lambda count: None, keep, lost)):
            lost(task, "the process died, also when the task ran alone")


@dataclass(frozen=True)
class _Ends(Generic[T, R]):
    """Who hears how a task ended."""

    done: Callable[[int], None]
    keep: Callable[[T, R], None]
    lost: Callable[[T, str], None]


def _pooled(work: Callable[[T], R], tasks: Sequence[T], jobs: int, ends: _Ends[T, R]) -> list[T]:
    """Run tasks in a pool; returns those that were in it when it broke."""
    waiting = list(reversed(tasks))
    killers: list[T] = []
    finished = 0
    while waiting:
        with ProcessPoolExecutor(jobs, get_context("spawn"), _start_pooled) as pool:
            running: dict[Future[Any], T] = {}
            broken = False
            while (waiting or running) and not broken:
                while waiting and len(running) < jobs:
                    try:
                        running[pool.submit(work, waiting[-1])] = waiting[-1]
                    except BrokenProcessPool:  # a process died since the last wait
                        broken = True
                        break
                    waiting.pop()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        broken = True
                        killers.append(task)
                    elif error is not None:
                        ends.lost(task, f"{type(error).__name__}: {error}")
                    else:
                        ends.keep(task, future.result())
                    finished += 1
                    ends.done(finished)
            killers.extend(running.values())
    return killers


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
