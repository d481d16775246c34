"""SIGKILL at random moments, and two writers at once: every acknowledged entry is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avsafe.ledger import Ledger

# Appends until killed; prints a line only after the entry is durable.
WRITER = """
import sys
from pathlib import Path
from avsafe.ledger import Ledger
place, folder, name, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
place = place if "://" in place else Path(place)
with Ledger.open(place, folder / "keys", every=16) as ledger:
    for number in range(count):
        ledger.intent(f"{name}-{number}", {"n": number})
        print(f"{name}-{number} intent", flush=True)
        ledger.outcome(f"{name}-{number}", "released", {"n": number})
        print(f"{name}-{number} released", flush=True)
"""


def start(place: Path | str, folder: Path, name: str, count: int = 10**9) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place), str(folder), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_at_ten_random_moments(
    database_at: Path | str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    random.seed(6962)
    acknowledged: dict[str, str] = {}
    for attempt in range(10):
        with start(database_at, tmp_path, f"a{attempt}") as process:
            assert process.stdout is not None
            acknowledged.update([process.stdout.readline().split()])  # it is in its loop now
            time.sleep(random.uniform(0.0, 0.15))
            process.kill()
            acknowledged.update(line.split() for line in process.stdout if line.endswith("\n"))
        if isinstance(database_at, str):  # the server may be at the last wish of the dead
            request.getfixturevalue("postgresql").wait_until_alone(database_at)
        with Ledger.open(database_at, tmp_path / "keys", every=16) as ledger:
            assert ledger.verify().problems == ()
            for release_id, status in acknowledged.items():
                # A killed writer may have committed the outcome and not lived to say so.
                assert (
                    ledger.status(release_id)
                    in {
                        "intent": ("intent", "released", "aborted"),
                        "released": ("released",),
                    }[status]
                )
            orphans = ledger.orphans()
            assert len(orphans) <= 1
            assert ledger.recover(set()) == tuple(orphans)
            assert ledger.verify().problems == ()
    assert len(acknowledged) > 50


def test_two_processes_append_at_once(database_at: Path | str, tmp_path: Path) -> None:
    writers = [start(database_at, tmp_path, name, 60) for name in ("left", "right")]
    said = [process.communicate(timeout=120)[0].splitlines() for process in writers]
    assert [process.returncode for process in writers] == [0, 0]
    assert [len(lines) for lines in said] == [120, 120]
    with Ledger.open(database_at, tmp_path / "keys") as ledger:
        assert ledger.verify().problems == ()
        assert len(ledger) == 240
        assert ledger.orphans() == []
