"""A log that is handed from one key to another: what the old key vouched for still holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avsafe.errors import LedgerError
from avsafe.ledger import Ledger, merkle
from avsafe.ledger.keyring import KEY_FILE, OLD_FILE, VERIFIER_FILE
from avsafe.ledger.note import Key, Verifier


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "ledger.db"
    return str(request.getfixturevalue("postgresql_url"))


def fill(ledger: Ledger, count: int, name: str = "r") -> None:
    for number in range(count):
        ledger.append("note", f"{name}{number}", {})


def test_a_new_key_takes_the_log_over(place: Path | str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with Ledger.open(place, keys, every=4) as ledger, Ledger.open(place, keys, every=4) as other:
        fill(ledger, 10)
        fill(other, 1, "o")
        before, proof = ledger.verifier, ledger.prove(3)[0]
        entry = ledger.rotate_key()
        assert (entry.type, entry.body["old"], entry.body["new"]) == (
            "key-rotated", before, ledger.verifier,
        )  # fmt: skip
        fill(other, 10, "p")  # it was open all the while
        checked = ledger.verify()
        assert checked.ok, checked.problems
        assert checked.size == 22
        again = other.rotate_key()
        assert (again.body["old"], again.body["new"]) == (entry.body["new"], other.verifier)
    with Ledger.open(place, keys, every=4) as ledger:
        assert ledger.verify().ok
        assert (keys / VERIFIER_FILE).read_text().strip() == ledger.verifier
        assert Verifier.parse(before).open(proof.checkpoint).root == proof.root
        assert proof.holds()
        grown = ledger.consistency(proof.size)
        assert (grown.old_root, grown.holds()) == (proof.root, True)
        # who trusts only the first key is led to the second by a checkpoint that both signed
        both = [
            note
            for note in ledger.exported.read_text().split("\n\n— ")
            if len(note.splitlines()) and note.count("avsafe-ledger") > 1
        ]
        assert both
    names = {path.name for path in keys.iterdir()}
    assert "ledger.key.next" not in names
    assert (keys / KEY_FILE).stat().st_mode & 0o077 == 0


def test_who_holds_the_old_key_is_led_to_the_new(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", tmp_path / "keys") as ledger:
        fill(ledger, 3)
        old = Verifier.parse(ledger.verifier)
        entry = ledger.rotate_key()
        note = next(
            text + "\n"
            for text in _notes(ledger.exported)
            if text.splitlines()[1] == str(entry.seq + 1)
        )
        head = old.open(note)  # signed by the old key,
        path = merkle.inclusion_path(entry.seq, head.size, ledger._node)
        assert merkle.check_inclusion(entry.seq, head.size, entry.leaf_hash, path, head.root)
        assert Verifier.parse(entry.body["new"]).open(note) == head  # and by the one it names


def _notes(path: Path) -> list[str]:
    blocks = path.read_text().split("\n\n")[:-1]
    return [f"{a}\n\n{b}" for a, b in zip(blocks[::2], blocks[1::2], strict=True)]


def test_a_key_that_was_replaced_speaks_for_nothing_later(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with Ledger.open(tmp_path / "ledger.db", keys) as ledger:
        fill(ledger, 3)
        seed, name = (keys / KEY_FILE).read_bytes(), ledger.verifier.partition("+")[0]
        ledger.rotate_key()
        fill(ledger, 4, "s")
        frontier, _ = ledger._frontier()
        stolen = Key(seed, name)
        note = stolen.sign(frontier.size, frontier.root())
        with ledger._rows.writing():
            ledger._rows.run("INSERT INTO checkpoints VALUES (?, ?)", (frontier.size, note))
        found = ledger.verify()
        assert [p.what for p in found.problems] == [
            "checkpoints: A checkpoint of 8 entries is signed by a key that was replaced at 4."
        ]
        # and the log cut back to where the old key ended is not a log that it may sign
        with ledger._rows.writing():
            ledger._rows.run("DELETE FROM checkpoints")
            ledger._rows.run("UPDATE head SET note = ?", (note,))
        assert any("no signature" in p.what for p in ledger.verify().problems)
        with pytest.raises(LedgerError, match="no signature"):
            fill(ledger, 1, "t")


DYING = """
import os, signal, sys
from pathlib import Path
from avsafe.ledger import Ledger, keyring
from avsafe.ledger.log import Ledger as Log
moment = sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
with Ledger.open(Path(sys.argv[1], "ledger.db"), Path(sys.argv[1], "keys")) as ledger:
    if moment == "before":
        Log._keep = die
    else:
        keyring._publish = die
    ledger.rotate_key()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_hand_over_cut_short_leaves_one_key(tmp_path: Path, moment: str) -> None:
    keys = tmp_path / "keys"
    with Ledger.open(tmp_path / "ledger.db", keys) as ledger:
        fill(ledger, 5)
        before = ledger.verifier
    ended = subprocess.run(
        [sys.executable, "-c", DYING, tmp_path, moment], env=dict(os.environ), check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert (keys / "ledger.key.next").exists()
    with Ledger.open(tmp_path / "ledger.db", keys) as ledger:
        fill(ledger, 2, "t")
        assert ledger.verify().ok
        assert (ledger.verifier == before) is (moment == "before")
        assert not (keys / "ledger.key.next").exists()
        ledger.rotate_key()
        assert ledger.verify().ok


def test_another_machine_is_told_what_to_copy(tmp_path: Path, postgresql_url: str) -> None:
    here, there = tmp_path / "here" / "keys", tmp_path / "there" / "keys"
    with Ledger.open(postgresql_url, here) as ledger:
        fill(ledger, 1)
        there.mkdir(parents=True)
        (there / KEY_FILE).write_bytes((here / KEY_FILE).read_bytes())
        with Ledger.open(postgresql_url, there) as other:
            ledger.rotate_key()
            with pytest.raises(LedgerError, match=f"copy {KEY_FILE}"):
                fill(other, 1, "o")
            for name in (KEY_FILE, OLD_FILE):
                (there / name).write_bytes((here / name).read_bytes())
            fill(other, 1, "o")
            assert other.verify().ok


def test_only_what_came_after_is_read_again(place: Path | str, tmp_path: Path) -> None:
    with Ledger.open(place, tmp_path / "keys", every=4) as ledger:
        fill(ledger, 11)
        ledger.intent("open", {})
        first = ledger.verify()
        assert first.reached is not None
        assert ledger.verify(since=first.reached).ok
        ledger.outcome("open", "released", {})
        fill(ledger, 6, "s")
        second = ledger.verify(since=first.reached)
        assert second.ok
        assert (second.size, second.root) == (19, ledger.verify().root)
        with ledger._rows.writing():
            ledger._rows.run("UPDATE entries SET leaf = ? WHERE seq = 2", (b"{}",))
        assert ledger.verify(since=second.reached).ok  # before what is read
        assert not ledger.verify().ok
        with ledger._rows.writing():
            ledger._rows.run("UPDATE entries SET leaf = ? WHERE seq = 15", (b"{}",))
        assert any(p.seq == 15 for p in ledger.verify(since=first.reached).problems)
        with ledger._rows.writing():
            ledger._rows.run("DELETE FROM entries WHERE seq > 13")
        assert not ledger.verify(since=second.reached).ok  # the tail was cut off


def test_a_subtree_that_is_missing_or_changed_is_named(place: Path | str, tmp_path: Path) -> None:
    with Ledger.open(place, tmp_path / "keys") as ledger:
        fill(ledger, 16)
        with ledger._rows.writing():
            ledger._rows.run("DELETE FROM nodes WHERE level = 1 AND position = 2")
            ledger._rows.run("UPDATE nodes SET hash = ? WHERE level = 2", (bytes(32),))
        assert [p.what for p in ledger.verify().problems] == [
            "subtree 0 of level 2 differs", "subtree 2 of level 1 differs",
            "subtree 1 of level 2 differs", "subtree 2 of level 2 differs",
            "subtree 3 of level 2 differs",
        ]  # fmt: skip
