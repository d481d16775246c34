"""SIGKILL at random moments, and two writers at once: every acknowledged entry is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from avsafe.ledger import Ledger

# Appends until killed; prints a line only after the entry is durable.
WRITER = """
import sys
from pathlib import Path
from avsafe.ledger import Ledger
folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Ledger.open(folder / "ledger.db", folder / "keys", every=16) as ledger:
    for number in range(count):
        ledger.intent(f"{name}-{number}", {"n": number})
        print(f"{name}-{number} intent", flush=True)
        ledger.outcome(f"{name}-{number}", "released", {"n": number})
        print(f"{name}-{number} released", flush=True)
"""


def start(folder: Path, name: str, count: int = 10**9) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_at_ten_random_moments(tmp_path: Path) -> None:
    random.seed(6962)
    acknowledged: dict[str, str] = {}
    for attempt in range(10):
        with start(tmp_path, f"a{attempt}") as process:
            assert process.stdout is not None
            acknowledged.update([process.stdout.readline().split()])  # it is in its loop now
            time.sleep(random.uniform(0.0, 0.15))
            process.kill()
            acknowledged.update(line.split() for line in process.stdout if line.endswith("\n"))
        with Ledger.open(tmp_path / "ledger.db", tmp_path / "keys", every=16) as ledger:
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


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    writers = [start(tmp_path, name, 60) for name in ("left", "right")]
    said = [process.communicate(timeout=120)[0].splitlines() for process in writers]
    assert [process.returncode for process in writers] == [0, 0]
    assert [len(lines) for lines in said] == [120, 120]
    with Ledger.open(tmp_path / "ledger.db", tmp_path / "keys") as ledger:
        assert ledger.verify().problems == ()
        assert len(ledger) == 240
        assert ledger.orphans() == []
