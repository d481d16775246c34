"""The same work on Ray as in local processes. One session for all of it: Ray starts slowly."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from avsafe import media, testing
from avsafe.bench import run as bench
from avsafe.bulk import run as bulk
from avsafe.errors import UsageError
from avsafe.sharding import executors, nodes, pool

SUITE = """
suite: small
title: Small
metrics: [temporal_flicker, loudness, fd_motion_texture]
safety: false
"""
DIES = "__import__('os')._exit(9)"
ELSEWHERE = "{'process': str(__import__('os').getpid())}"


def test_ray_gives_what_local_processes_give(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the executor on Ray needs the extra ray")
    executor = executors.named("ray", 2)
    with executor.started():
        _deaths_are_told(executor)
        with pytest.raises(UsageError, match=r"would not do as this one does\. process: "):
            nodes.check(executor, partial(eval, ELSEWHERE))
        folder = tmp_path / "clips"
        folder.mkdir()
        for seed in range(5):
            clip = testing.textured_clip(0.6, 96, 64, seed=seed)
            media.encode(clip, folder / f"{seed}.mp4")
        (folder / "broken.mp4").write_bytes((folder / "0.mp4").read_bytes()[:2000])
        (folder / "notes.txt").write_text("no media")
        _figures_are_equal(folder, tmp_path)
        _answers_are_equal(folder, tmp_path)


def _deaths_are_told(executor: executors.Executor) -> None:
    """A batch goes on behind the task that killed its process."""
    kept: list[object] = []
    lost: dict[str, str] = {}
    tasks = [f"{n} + 1" for n in range(20)]
    tasks[3:3] = [DIES, "1 / 0"]
    executor.run(eval, tasks, keep=lambda task, answer: kept.append(answer), lost=lost.__setitem__)
    assert sorted(kept) == list(range(1, 21))
    assert lost == {DIES: pool.DIED, "1 / 0": "ZeroDivisionError: division by zero"}


def _figures_are_equal(folder: Path, tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(SUITE)
    found = []
    for name in executors.NAMES:
        out = tmp_path / f"bench-{name}"
        bench.run(bench.Options(str(suite), out, (("clips", folder),), executor=name, jobs=2))
        found.append(json.loads((out / "aggregates.json").read_text())["systems"])
    assert found[0] == found[1]


def _answers_are_equal(folder: Path, tmp_path: Path) -> None:
    found = []
    for name in executors.NAMES:
        out = tmp_path / f"bulk-{name}"
        outcome = bulk.run(
            bulk.Options((folder,), out, credential_only=True, executor=name, jobs=2)
        )
        assert (outcome.new, outcome.failed) == (7, 0)
        found.append((out / "verdicts.jsonl").read_bytes())
    assert found[0] == found[1]
