"""Tasks in local processes. A task that kills its process is tried once more alone, then reported.

Tasks write their own rows (``rows.Store``), so nothing is lost when a run is interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "SVT_LOG": "1"}


def run(
    work: Callable[[T], None],
    tasks: Sequence[T],
    *,
    jobs: int,
    done: Callable[[int], None] = lambda count: None,
    lost: Callable[[T, str], None],
) -> None:
    """Call ``work`` on every task in ``jobs`` processes (1: in this one).

    ``done`` hears how many are finished, ``lost`` of a task whose process died or that raised.
    ``work`` must be a function of a module.
    """
    if jobs <= 1:
        _start_worker()
        for count, task in enumerate(tasks, 1):
            try:
                work(task)
            except Exception as error:
                lost(task, f"{type(error).__name__}: {error}")
            done(count)
        return
    killers: list[T] = []
    _pooled(work, tasks, jobs, done, lost, killers)
    for task in killers:  # whoever was in a broken pool: one of them broke it
        again: list[T] = []
        _pooled(work, [task], 1, lambda count: None, lost, again)
        if again:
            lost(task, "the process died, also when the task ran alone")


def _pooled(
    work: Callable[[T], None],
    tasks: Sequence[T],
    jobs: int,
    done: Callable[[int], None],
    lost: Callable[[T, str], None],
    killers: list[T],
) -> None:
    waiting = list(reversed(tasks))
    finished = 0
    while waiting:
        with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker) as pool:
            running: dict[Future[None], T] = {}
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
                        lost(task, f"{type(error).__name__}: {error}")
                    finished += 1
                    done(finished)
            killers.extend(running.values())


def _start_worker() -> None:
    """One thread a process: times are CPU times, and the processes share the machine."""
    os.environ.update(_SINGLE)
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        pass
