"""The ledger's page: what was found whole is not read at every visit, and says when it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsafe.ledger import Ledger
from avsafe.server import watched


def tampered(ledger: Ledger, seq: int) -> None:
    with ledger._rows.writing():
        ledger._rows.run("UPDATE entries SET leaf = ? WHERE seq = ?", (b"{}", seq))


def test_new_entries_at_each_visit_and_all_of_them_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watched.Watch()
    with Ledger.open(tmp_path / "ledger.db", tmp_path / "keys") as ledger:
        for number in range(5):
            ledger.append("note", f"r{number}", {})
        first = watch.look(ledger)
        assert (first.found.ok, first.size) == (True, 5)
        ledger.append("note", "r5", {})
        tampered(ledger, 2)
        second = watch.look(ledger)
        assert (second.found.ok, second.found.size, second.size, second.at) == (
            True, 6, 5, first.at,
        )  # fmt: skip
        monkeypatch.setattr(watch, "_due", 0.0)  # an hour later
        assert not watch.look(ledger).found.ok
        assert not watch.look(ledger).found.ok  # and it stays broken


def test_a_new_entry_that_is_wrong_is_seen_at_once(tmp_path: Path) -> None:
    watch = watched.Watch()
    with Ledger.open(tmp_path / "ledger.db", tmp_path / "keys") as ledger:
        ledger.append("note", "r0", {})
        assert watch.look(ledger).found.ok
        ledger.append("note", "r1", {})
        tampered(ledger, 1)
        assert [p.seq for p in watch.look(ledger).found.problems][:1] == [1]
