"""kill -9 at random moments of a release: whatever is found afterwards is whole, or nothing.

``AVSAFE_CRASH_ROUNDS`` sets how many moments are tried (default 50).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from avsafe import media, testing
from avsafe.home import Home
from avsafe.types import Label
from avsafe.verify import verify
from avsafe.workspace import Lookup, open_workspace

ROUNDS = int(os.environ.get("AVSAFE_CRASH_ROUNDS", "50"))
JOB = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from avsafe import gate, media
    from avsafe.policy import local_principal
    from avsafe.types import GenerationRequest, InputMedia, Task
    from avsafe.workspace import open_workspace

    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    with open_workspace() as workspace:
        print("open", flush=True)
        probed = media.probe(source)
        request = GenerationRequest(
            local_principal(), Task.RELEASE, "crash-test", inputs=(InputMedia(probed, "source"),)
        )
        gate.generate(request, out, workspace)
    print("done", flush=True)
    """
)


def start(source: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(source), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def moments() -> list[float]:
    """Random shares of a whole job, a third of them at its end, where files, rows and outcomes come
    into being."""
    draw = random.Random(20261122)
    late = [draw.uniform(0.85, 1.02) for _ in range(ROUNDS // 3)]
    return [draw.uniform(0, 1) for _ in range(ROUNDS - len(late))] + late


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_at_random_moments(home: Home, tmp_path: Path) -> None:
    source, folder = tmp_path / "source.mp4", tmp_path / "out"
    folder.mkdir()
    media.encode(testing.textured_clip(1.5, 256, 192), source)
    with open_workspace(home):
        pass  # keys and databases exist before the first kill
    job = start(source, folder / "calibrate.mp4")
    assert job.stdout is not None
    assert job.stdout.readline() == "open\n"
    began = time.monotonic()
    assert job.stdout.readline() == "done\n", "the job must work when nobody kills it"
    work_s = time.monotonic() - began
    job.wait()

    killed = released = 0
    for number, share in enumerate(moments()):
        out = folder / f"{number}.mp4"
        job = start(source, out)
        assert job.stdout is not None
        job.stdout.readline()
        time.sleep(share * work_s)
        alive = job.poll() is None
        killed += alive
        if not alive:  # the machine was busier when the job was timed
            work_s *= min(1.0, share)
        with contextlib.suppress(ProcessLookupError):  # it was faster
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        visible = out.exists()  # before any recovery: what a user would see now
        with open_workspace(home) as workspace:  # the next start
            assert workspace.ledger.orphans() == []
            assert workspace.ledger.verify().ok
            records = {r.sha256: r for r in workspace.registry.list(limit=1000)}
            if out.exists():
                record = records.get(media.sha256_of(out))
                assert record is not None, "an output file without its registry row"
                assert workspace.ledger.status(record.release_id) == "released"
                released += 1
            else:
                assert not visible, "a visible output disappeared"
        names = sorted(p.name for p in folder.iterdir())
        assert not [n for n in names if n.startswith(".")], f"half files are left: {names}"
        assert list(home.staging.iterdir()) == []
        if out.exists():
            assert verify(out, Lookup(home), credential_only=True).label is Label.SYNTHETIC_DECLARED
    with open_workspace(home) as workspace:
        rows = workspace.registry.list(limit=1000)
        assert len(rows) == released + 1, "a registry row without its output file"
    assert killed > ROUNDS // 2, "most kills must hit a living job"
