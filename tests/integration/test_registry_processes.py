"""Several processes at one registry: opening a fresh one, reserving quota, dying in the middle."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avsafe.registry import Registry

OPEN = """
import sys
from pathlib import Path
from avsafe.registry import Registry
import avsafe.registry.store
print("ready", flush=True)
sys.stdin.readline()
place = sys.argv[1]
with Registry.open(place if "://" in place else Path(place)) as registry:
    print(registry.count())
"""

RESERVE = """
import sys
from pathlib import Path
from avsafe.registry import Registry
place = sys.argv[1]
with Registry.open(place if "://" in place else Path(place)) as registry:
    for _ in range(40):
        print(registry.reserve("anna").used_before)
"""

ADD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from avsafe.registry import Registry, ReleaseRecord
from avsafe.types import Kind, Mark
place = sys.argv[1]
with Registry.open(place if "://" in place else Path(place)) as registry:
    for number in range(10**9):
        name = f"{sys.argv[2]}-{number}"
        marks = (Mark(Kind.VIDEO, "mark", int(sys.argv[2]) * 10**6 + number, 64),)
        registry.add_release(ReleaseRecord(
            release_id=name, created_at=datetime.now(UTC), user="anna", task="t", generator="g",
            generator_version="1", registered_generator=True, sha256="0" * 64, kind=Kind.VIDEO,
            decision={}, manifest_id=name, manifest=b"m" * 3000, marks=marks))
        print(name, flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_processes_that_open_a_fresh_registry_at_once_all_succeed(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    for attempt in range(2):
        place: Path | str = tmp_path / f"{attempt}.db"
        if engine == "postgresql":
            place = request.getfixturevalue("postgresql").empty()
        racers = [start(OPEN, place) for _ in range(3)]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        said = [racer.communicate("go\n", timeout=60)[0] for racer in racers]
        assert said == ["0\n"] * 3
        assert [racer.returncode for racer in racers] == [0] * 3


def test_no_two_reservations_share_a_place(database_at: Path | str) -> None:
    racers = [start(RESERVE, database_at) for _ in range(2)]
    said = [int(line) for racer in racers for line in racer.communicate(timeout=60)[0].split()]
    assert sorted(said) == list(range(80))


def test_a_killed_writer_loses_nothing_that_it_acknowledged(database_at: Path | str) -> None:
    random.seed(5)
    acknowledged = []
    for attempt in range(4):
        with start(ADD, database_at, attempt) as process:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())
            time.sleep(random.uniform(0.0, 0.1))
            process.kill()
            acknowledged.extend(line.strip() for line in process.stdout if line.endswith("\n"))
        with Registry.open(database_at) as registry:
            for name in acknowledged:
                found = registry.get(name)
                assert found is not None
                assert len(found.manifest) == 3000
                assert len(found.marks) == 1
            assert registry.count() - len(acknowledged) in (0, 1, 2, 3, 4)
    assert len(acknowledged) > 20
