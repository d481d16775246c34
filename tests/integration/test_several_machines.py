"""Two homes on one database: what one machine makes is left alone by the other until it is dead."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from avsafe.cli.doctor import examine
from avsafe.errors import LedgerError
from avsafe.home import DATABASE_VARIABLE, Home, secret
from avsafe.ledger import Ledger
from avsafe.ledger.log import KEY_FILE
from avsafe.registry import Registry, ReleaseRecord
from avsafe.staging import open_stage, recover
from avsafe.types import Kind
from avsafe.workspace import Lookup, open_workspace
from tests.postgresql_kit import Cluster

# A machine in the middle of a job: its intent and its row are written, its outcome is not.
JOB = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from avsafe.home import Home
from avsafe.ledger import Ledger
from avsafe.registry import Registry, ReleaseRecord
from avsafe.staging import open_stage
from avsafe.types import Kind
home = Home.default().ensure()
final = home.root / "out.mp4"
with Registry.open(home.database) as registry, Ledger.open(home.log, home.keys) as ledger:
    with open_stage(home, ledger, "r1", final) as stage:
        ledger.intent("r1", {})
        registry.add_release(ReleaseRecord(
            release_id="r1", created_at=datetime.now(UTC), user="anna", task="t", generator="g",
            generator_version="1", registered_generator=True, sha256="0" * 64, kind=Kind.VIDEO,
            decision={}, manifest_id="m", manifest=b"m", marks=()))
        stage.signed.write_bytes(b"whole")
        if sys.argv[1] == "released":
            ledger.outcome("r1", "released", {})
        print("there", flush=True)
        time.sleep(600)
"""


class Machine:
    def __init__(self, root: Path, keys: Path | None = None) -> None:
        self.home = Home(root).ensure()
        if keys is not None:
            shutil.copy(keys / KEY_FILE, self.home.keys)
        self.registry = Registry.open(self.home.database)
        self.ledger = Ledger.open(self.home.log, self.home.keys, every=8)

    def recover(self) -> list[str]:
        return recover(self.home, self.registry, self.ledger)

    def close(self) -> None:
        self.registry.close()
        self.ledger.close()


@pytest.fixture
def shared(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_VARIABLE, postgresql_url)
    return postgresql_url


@pytest.fixture
def machines(shared: str, tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    one = Machine(tmp_path / "one")
    two = Machine(tmp_path / "two", one.home.keys)
    yield one, two
    one.close()
    two.close()


def row(release_id: str) -> ReleaseRecord:
    return ReleaseRecord(
        release_id=release_id, created_at=datetime.now(UTC), user="anna", task="t", generator="g",
        generator_version="1", registered_generator=True, sha256="0" * 64, kind=Kind.VIDEO,
        decision={}, manifest_id=release_id, manifest=b"m", marks=(),
    )  # fmt: skip


def start(home: Home, until: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, until],
        env=os.environ | {"AVSAFE_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


def test_a_live_job_of_another_machine_is_left_alone_and_a_dead_one_undone(
    machines: tuple[Machine, Machine],
) -> None:
    one, two = machines
    with start(one.home, "intent") as process:
        assert two.recover() == []
        assert two.ledger.status("r1") == "intent"
        assert two.registry.get("r1") is not None
        process.kill()
        process.wait()
        with two.ledger.holding("r1", 5.0) as free:  # the server has seen it go
            assert free
    assert two.recover() == ["r1: aborted (its process died)"]
    assert two.ledger.status("r1") == "aborted"
    assert two.registry.get("r1") is None
    assert (one.home.root / ".avsafe-r1.mp4").exists()
    assert one.recover() == []  # it comes back, and clears away what it had on its disk
    assert list(one.home.staging.iterdir()) == []
    assert not (one.home.root / ".avsafe-r1.mp4").exists()
    assert two.ledger.verify().ok


def test_a_release_that_was_logged_is_completed_by_the_machine_that_has_it(
    machines: tuple[Machine, Machine],
) -> None:
    one, two = machines
    with start(one.home, "released") as process:
        process.kill()
    assert two.recover() == []
    assert two.registry.get("r1") is not None
    assert one.recover() == ["r1: release completed as out.mp4"]
    assert (one.home.root / "out.mp4").read_bytes() == b"whole"


def test_a_job_that_lost_its_connection_cannot_release(
    machines: tuple[Machine, Machine], postgresql: Cluster, shared: str
) -> None:
    one, two = machines

    def job() -> None:
        with open_stage(one.home, one.ledger, "r1", one.home.root / "out.mp4"):
            one.ledger.intent("r1", {})
            one.registry.add_release(row("r1"))
            postgresql.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "datname = current_database() AND pid IN (SELECT pid FROM pg_locks "
                "WHERE locktype = 'advisory')",
                shared,
            )
            with two.ledger.holding("r1", 5.0) as free:
                assert free
            assert two.recover() == ["r1: aborted (its process died)"]
            with pytest.raises(LedgerError):
                one.ledger.outcome("r1", "released", {})
            with pytest.raises(LedgerError, match="was lost while a release was made"):
                one.ledger.outcome("r1", "released", {})

    job()
    assert one.registry.get("r1") is None
    assert one.ledger.status("r1") == "aborted"  # connected again
    assert one.recover() == []
    assert list(one.home.staging.iterdir()) == []
    one.ledger.intent("r2", {})
    assert one.ledger.verify().ok


def test_all_machines_that_find_an_orphan_settle_it_once(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    one, two = machines
    for number in range(12):
        one.ledger.intent(f"r{number}", {})
        one.registry.add_release(row(f"r{number}"))
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda m=machine: said.extend(m.recover()))  # type: ignore[misc]
        for machine in machines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == sorted(f"r{n}: aborted (its process died)" for n in range(12))
    assert one.ledger.orphans() == []
    assert one.registry.count() == 0
    assert len(two.ledger) == 24


def test_a_release_is_held_by_one(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    with one.ledger.holding("r1") as first, two.ledger.holding("r1") as second:
        assert (first, second) == (True, False)
        with one.ledger.holding("r1") as again, two.ledger.holding("r2") as other:
            assert (again, other) == (False, True)
    with two.ledger.holding("r1") as free:
        assert free


def test_a_machine_needs_the_key_of_the_log(machines: tuple[Machine, Machine]) -> None:
    one, _ = machines
    third = Home(one.home.root.parent / "three").ensure()
    with pytest.raises(LedgerError, match="copy it from the machine that began the log"):
        Ledger.open(third.log, third.keys)
    assert list(third.keys.iterdir()) == []
    secret(third.keys, KEY_FILE)  # another key
    with Ledger.open(third.log, third.keys) as ledger:
        with pytest.raises(LedgerError, match="no signature of"):
            ledger.intent("x", {})
        assert not ledger.verify().ok
    assert one.ledger.verify().ok


def grants() -> str:
    """As docs/ledger.md gives them."""
    text = Path(__file__).parents[2].joinpath("docs/ledger.md").read_text("utf-8")
    return text.split("```sql\n")[1].split("```")[0]


def test_a_role_that_can_only_add(
    machines: tuple[Machine, Machine], postgresql: Cluster, shared: str
) -> None:
    one, _ = machines
    one.ledger.intent("r0", {})
    postgresql.run("CREATE ROLE avsafe_writer LOGIN;" + grants(), shared)
    address = shared.replace(f"//{postgresql.user}@", "//avsafe_writer@")
    try:
        with Ledger.open(address, one.home.keys, every=4) as ledger:
            ledger.outcome("r0", "released", {})
            for number in range(8):
                ledger.append("note", "x", {"n": number})
            ledger.checkpoint()
            assert ledger.verify().ok
            assert ledger.prove("r0")
            with ledger.holding("r1") as free:
                assert free
        for wrong in (
            "UPDATE ledger.entries SET type = 'x'", "DELETE FROM ledger.entries",
            "TRUNCATE ledger.entries", "UPDATE ledger.nodes SET level = 9",
            "DELETE FROM ledger.nodes", "DELETE FROM ledger.checkpoints",
            "UPDATE ledger.checkpoints SET note = ''", "DELETE FROM ledger.head",
            "UPDATE ledger.format SET version = 2", "DROP SCHEMA ledger CASCADE",
            "CREATE TABLE ledger.x (y INT)",
        ):  # fmt: skip
            with pytest.raises(Exception, match=r"permission denied|must be owner"):
                postgresql.run(wrong, address)
    finally:
        postgresql.run("DROP OWNED BY avsafe_writer; DROP ROLE avsafe_writer", shared)
    assert one.ledger.verify().ok


def test_every_machine_exports_all_checkpoints(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    for number in range(16):
        machines[number % 2].ledger.append("note", "x", {"n": number})
    two.ledger.checkpoint()
    assert "\n8\n" in two.ledger.exported.read_text()
    assert "\n16\n" in two.ledger.exported.read_text()
    assert two.ledger.exported.parent == two.home.root
    assert two.ledger.verify(checkpoints=one.ledger.checkpoint() and one.ledger.exported).ok


def test_looking_makes_nothing(
    postgresql: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = postgresql.empty()
    monkeypatch.setenv(DATABASE_VARIABLE, url)
    home = Home(tmp_path / "nowhere")
    assert home.database == home.log == url
    told = {one.name: one.value for one in examine(home)}
    assert told["database"].endswith("(no tables yet)")
    assert told["ledger"] == "none yet"
    with Lookup(home).registry() as registry:
        assert registry is None
    assert not Ledger.exists(home.log)
    made = "SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    assert postgresql.run(made, url) == []
    assert not home.root.exists()
    with open_workspace(home):
        pass
    assert {one.name: one.value for one in examine(home)}["ledger"].startswith("0 entries, whole")
    with Lookup(home).registry() as registry:
        assert registry is not None
