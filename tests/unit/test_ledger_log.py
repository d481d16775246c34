"""The log: order of intent and outcome, proofs, and many ways of tampering."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avsafe.errors import LedgerError
from avsafe.ledger import Entry, Ledger, merkle, personal
from avsafe.ledger.entries import canonical
from avsafe.ledger.note import Key

SALT = bytes(16)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_at(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "ledger.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def ledger(ledger_at: Path | str, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(ledger_at, tmp_path / "keys", every=8) as opened:
        yield opened


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db", tmp_path / "keys", every=8) as opened:
        yield opened


def fill(ledger: Ledger, releases: int) -> None:
    for number in range(releases):
        ledger.intent(f"r{number}", {"task": "text-to-video", "prompt": personal("x", SALT)})
        ledger.outcome(f"r{number}", "released", {"sha256": f"{number:064x}"})


def tamper(place: Path | str, *statements: str) -> None:
    """By somebody who may do everything, beside the ledger's own connection."""
    if isinstance(place, str):
        import psycopg

        with psycopg.connect(place.replace("+psycopg", ""), options="-csearch_path=ledger") as db:
            for statement in statements:
                db.execute(in_postgresql(statement).encode())
        return
    with sqlite3.connect(place) as file:
        for statement in statements:
            file.execute(statement)
    file.close()


def in_postgresql(statement: str) -> str:
    for pattern, ours in (
        (r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')"),
        (r"x'([0-9a-f]*)'", r"decode('\1', 'hex')"),
        (r"char\(", "chr("),
        (r"replace\(leaf, ('\w+'), ('\w+')\)",
         r"convert_to(replace(convert_from(leaf, 'UTF8'), \1, \2), 'UTF8')"),
        (r"CAST\(('\[\]') AS BLOB\)", r"convert_to(\1, 'UTF8')"),
    ):  # fmt: skip
        statement = re.sub(pattern, ours, statement)
    return statement


ANY_TYPE = ("leaf = 'text'", "leaf = 12", "hash = 5", "AS TEXT")  # only SQLite's columns take these


# ------------------------------------------------------------ writing and reading


def test_entries_come_back_in_order(ledger: Ledger) -> None:
    fill(ledger, 3)
    found = list(ledger.entries())
    assert [(e.seq, e.type, e.release_id) for e in found] == [
        (0, "intent", "r0"),
        (1, "outcome", "r0"),
        (2, "intent", "r1"),
        (3, "outcome", "r1"),
        (4, "intent", "r2"),
        (5, "outcome", "r2"),
    ]
    assert found[1].body == {"sha256": "0" * 64, "status": "released"}
    assert found[2].previous == found[1].leaf_hash
    assert [e.seq for e in ledger.entries("r1")] == [2, 3]
    assert len(ledger) == 6


def test_an_intent_is_an_orphan_until_its_outcome(ledger: Ledger) -> None:
    ledger.intent("a", {})
    ledger.intent("b", {})
    assert (ledger.orphans(), ledger.status("a")) == (["a", "b"], "intent")
    ledger.outcome("a", "denied", {"rules": ["F1"]})
    assert (ledger.orphans(), ledger.status("a")) == (["b"], "denied")
    assert ledger.status("c") is None


def test_recover_closes_the_dead_and_leaves_the_living(ledger: Ledger) -> None:
    for name in "abc":
        ledger.intent(name, {})
    assert ledger.recover({"b"}) == ("a", "c")
    assert [ledger.status(name) for name in "abc"] == ["aborted", "intent", "aborted"]
    assert ledger.recover({"b"}) == ()
    assert ledger.verify().ok


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.outcome("x", "released", {}),
        lambda log: (log.intent("x", {}), log.intent("x", {})),
        lambda log: (log.intent("x", {}), log.outcome("x", "a", {}), log.outcome("x", "b", {})),
        lambda log: (log.intent("x", {}), log.outcome("x", "", {})),
        lambda log: log.intent("", {}),
        lambda log: log.append("intent", "x", {}),
        lambda log: log.intent("x", {"number": 2**63}),
        lambda log: log.intent("x", {"number": float("nan")}),
        lambda log: log.intent("x", {"thing": object()}),
        lambda log: log.intent("x", {"bytes": b"x"}),
        lambda log: log.intent("x", {"prompt": "a woman in a red coat"}),
        lambda log: log.intent("x", {"user": "anna"}),
        lambda log: log.intent("x", {"lone": "\ud800"}),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_and_leaves_nothing(
    ledger: Ledger, call: Callable[[Ledger], object]
) -> None:
    with pytest.raises(LedgerError):
        call(ledger)
    assert all(entry.type in ("intent", "outcome") for entry in ledger.entries())
    assert ledger.verify().ok
    ledger.intent("next", {})  # and the log still works
    assert ledger.verify().ok


def test_leaves_are_canonical_json(ledger: Ledger) -> None:
    entry = ledger.intent("ü", {"b": 1, "a": [True, None, 0.1]})
    leaf = ledger.prove(0)[0].leaf
    assert leaf.startswith('{"body":{"a":[true,null,0.1],"b":1},"previous":"e3b0c44298fc1c14')
    time = entry.time.isoformat(timespec="microseconds")
    assert leaf.endswith(f'"release_id":"ü","seq":0,"time":"{time}","type":"intent"}}')


def test_personal_text_is_hashed_with_a_salt() -> None:
    assert personal("a", b"1" * 16) != personal("a", b"2" * 16)
    assert personal("e\u0301", SALT) == personal("\u00e9", SALT)
    assert "anna" not in personal("anna", SALT)
    with pytest.raises(LedgerError, match="16 random bytes"):
        personal("a", b"short")


def test_a_release_is_found_by_its_first_letters(ledger: Ledger) -> None:
    for name in ("abc", "abd", "ab"):
        ledger.intent(name, {})
    assert ledger.resolve("abc") == "abc"
    assert ledger.resolve("ab") == "ab"
    with pytest.raises(LedgerError, match="Several"):
        ledger.resolve("a")
    with pytest.raises(LedgerError, match="No release"):
        ledger.resolve("x")


# ------------------------------------------------------------ proofs


@pytest.mark.parametrize("releases", [1, 2, 3, 8, 13])
def test_every_entry_proves_under_a_checkpoint_that_the_key_signed(
    ledger: Ledger, tmp_path: Path, releases: int
) -> None:
    fill(ledger, releases)
    key = Key((tmp_path / "keys" / "ledger.key").read_bytes())
    for seq in range(2 * releases):
        (proof,) = ledger.prove(seq)
        head = key.open(proof.checkpoint)
        assert proof.holds()
        assert (head.size, head.root) == (proof.size, proof.root) == (2 * releases, proof.root)
    assert [proof.entry.seq for proof in ledger.prove("r0")] == [0, 1]


def test_the_log_proves_that_it_only_grew(ledger: Ledger) -> None:
    roots = []
    for number in range(12):
        ledger.intent(str(number), {})
        roots.append(ledger.verify().root)
    for older in range(1, 13):
        proof = ledger.consistency(older)
        assert proof.holds()
        assert (proof.old_root, proof.new_root) == (roots[older - 1], roots[-1])


def test_what_is_not_there_does_not_prove(ledger: Ledger) -> None:
    fill(ledger, 1)
    for target in (2, -1, "r1"):
        with pytest.raises(LedgerError, match="no entry"):
            ledger.prove(target)
    with pytest.raises(LedgerError, match="Consistency"):
        ledger.consistency(3)


# ------------------------------------------------------------ checkpoints


def test_checkpoints_are_exported_every_n_entries(ledger: Ledger) -> None:
    fill(ledger, 12)  # 24 entries, one checkpoint in 8
    notes = ledger.exported.read_text().split("\n\n")[0::2][:-1]
    assert [note.split("\n")[1] for note in notes] == ["8", "16", "24"]
    ledger.intent("x", {})
    assert "\n25\n" in ledger.checkpoint()
    assert "\n25\n" in ledger.exported.read_text()
    assert ledger.verify().checkpoints == 2 * 4 + 1  # stored, exported, and the head


def test_an_export_that_a_crash_cut_short_is_mended(ledger: Ledger) -> None:
    fill(ledger, 8)
    whole = ledger.exported.read_bytes()
    ledger.exported.write_bytes(whole[:-40])
    assert ledger.verify().ok
    fill_more = [ledger.append("note", "x", {"n": n}) for n in range(8)]
    assert len(fill_more) == 8
    assert ledger.exported.read_bytes().startswith(whole)
    assert ledger.verify().ok


# ------------------------------------------------------------ tampering


def resealed(ledger: Ledger, seq: int, **changes: object) -> list[str]:
    """An edit by somebody who also repairs the hash beside it."""
    entry = next(e for e in ledger.entries() if e.seq == seq)
    leaf = canonical(
        {
            "body": dict(entry.body),
            "previous": entry.previous.hex(),
            "release_id": entry.release_id,
            "seq": entry.seq,
            "time": entry.time.isoformat(timespec="microseconds"),
            "type": entry.type,
        }
        | changes
    )
    hashed = merkle.leaf_hash(leaf)
    return [
        f"UPDATE entries SET leaf = x'{leaf.hex()}' WHERE seq = {seq}",  # noqa: S608
        f"UPDATE entries SET hash = x'{hashed.hex()}' WHERE seq = {seq}",  # noqa: S608
    ]


@pytest.mark.parametrize(
    ("statements", "seq", "words"),
    [
        (["UPDATE entries SET leaf = replace(leaf, 'text', 'tent') WHERE seq = 6"], 6, "changed"),
        (["UPDATE entries SET leaf = x'00' WHERE seq = 6"], 6, "not a ledger entry"),
        (["UPDATE entries SET leaf = 'text' WHERE seq = 6"], 6, "not bytes"),
        (["UPDATE entries SET leaf = 12 WHERE seq = 6"], 6, "not a ledger entry"),
        (["UPDATE entries SET leaf = CAST('[]' AS BLOB) WHERE seq = 6"], 6, "not a ledger entry"),
        (["UPDATE entries SET hash = 5 WHERE seq = 6"], 6, "changed"),
        (["UPDATE entries SET type = CAST(x'ff' AS TEXT) WHERE seq = 6"], None, "damaged"),
        (["UPDATE head SET note = 7"], None, "no signature"),
        (["UPDATE entries SET hash = zeroblob(32) WHERE seq = 6"], 6, "changed"),
        (["UPDATE entries SET release_id = 'other' WHERE seq = 6"], 6, "columns"),
        (["DELETE FROM entries WHERE seq = 6"], 6, "missing"),
        (
            [
                "UPDATE entries SET seq = -1 WHERE seq = 6",
                "UPDATE entries SET seq = 6 WHERE seq = 7",
                "UPDATE entries SET seq = 7 WHERE seq = -1",
            ],
            6,
            "columns",
        ),
        (["DELETE FROM entries WHERE seq >= 18"], 18, "cut off"),
        (["DELETE FROM entries"], 0, "cut off"),
        (
            ["INSERT INTO entries SELECT 20, type, release_id, leaf, hash FROM entries LIMIT 1"],
            20,
            "not under the signed head",
        ),
        (["UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND position = 3"], 7, "subtree"),
        (["DELETE FROM nodes WHERE level = 3"], 7, "subtree"),
        (["DELETE FROM head"], None, "head is missing"),
        (
            ["UPDATE head SET note = replace(note, char(10) || '20', char(10) || '21')"],
            None,
            "forged",
        ),
        (
            ["UPDATE checkpoints SET note = replace(note, char(10) || '8', char(10) || '9') "],
            None,
            "forged",
        ),
        (["UPDATE checkpoints SET size = 9 WHERE size = 8"], None, "kept as 9"),
        (["DELETE FROM open_intents"], None, "open intents"),
    ],
)
def test_tampering_is_found_and_the_row_named(
    ledger: Ledger, ledger_at: Path | str, statements: list[str], seq: int | None, words: str
) -> None:
    if isinstance(ledger_at, str) and any(one in statements[0] for one in ANY_TYPE):
        pytest.skip("PostgreSQL's columns hold one type")
    fill(ledger, 9)
    ledger.intent("open", {})
    ledger.append("note", "open", {})  # 20 entries, checkpoints at 8 and 16
    assert ledger.verify().ok
    tamper(ledger_at, *statements)
    problems = ledger.verify().problems
    assert (seq, True) in [(problem.seq, words in problem.what) for problem in problems], problems


def test_an_edit_with_its_hash_repaired_breaks_the_chain_and_the_checkpoints(
    ledger: Ledger, ledger_at: Path | str
) -> None:
    fill(ledger, 10)
    tamper(ledger_at, *resealed(ledger, 6, body={"status": "denied"}))
    problems = ledger.verify().problems
    assert 7 in [problem.seq for problem in problems if "does not follow" in problem.what]
    assert any("over 8 entries does not match" in problem.what for problem in problems)


def test_a_whole_rewritten_log_does_not_match_its_checkpoints(tmp_path: Path) -> None:
    """Somebody rebuilds the log with a key of his own, and brings the exported file along."""
    with Ledger.open(tmp_path / "a" / "ledger.db", tmp_path / "a" / "keys", every=4) as ledger:
        fill(ledger, 4)
    with Ledger.open(tmp_path / "b" / "ledger.db", tmp_path / "b" / "keys", every=4) as forged:
        fill(forged, 4)
    for name in ("ledger.db", "ledger.checkpoints"):
        shutil.copy(tmp_path / "b" / name, tmp_path / "a" / name)
    with Ledger.open(tmp_path / "a" / "ledger.db", tmp_path / "a" / "keys") as ledger:
        found = ledger.verify()
        assert not found.ok
        assert any("no signature of" in problem.what for problem in found.problems)
        with pytest.raises(LedgerError, match="no signature"):
            ledger.intent("x", {})


def test_an_older_copy_put_back_does_not_match_the_exported_checkpoints(tmp_path: Path) -> None:
    """The old file is valid in itself, head and all: only a copy of the checkpoints convicts it."""
    path, keys, kept = tmp_path / "ledger.db", tmp_path / "keys", tmp_path / "kept"
    with Ledger.open(path, keys, every=4) as ledger:
        fill(ledger, 2)
    shutil.copy(path, tmp_path / "old")
    with Ledger.open(path, keys, every=4) as ledger:
        fill_more = [ledger.append("note", "x", {"n": n}) for n in range(4)]
        shutil.copy(ledger.exported, kept)
    assert len(fill_more) == 4
    shutil.copy(tmp_path / "old", path)
    with Ledger.open(path, keys, every=4) as ledger:
        assert "entries 4 to 7 were cut off" in ledger.verify().problems[0].what
        ledger.exported.unlink()
        assert ledger.verify().ok
        assert not ledger.verify(checkpoints=kept).ok


def test_nothing_is_added_to_a_broken_log(ledger: Ledger, ledger_at: Path | str) -> None:
    fill(ledger, 3)
    tamper(ledger_at, "DELETE FROM entries WHERE seq = 5")
    with pytest.raises(LedgerError, match="broken"):
        ledger.intent("x", {})
    assert len(ledger) == 5


def test_verification_stops_after_many_problems(ledger: Ledger, ledger_at: Path | str) -> None:
    fill(ledger, 30)
    tamper(ledger_at, "UPDATE entries SET leaf = x'00'")
    assert len(ledger.verify().problems) < 60


# ------------------------------------------------------------ opening


def test_a_log_without_its_key_does_not_open(
    ledger: Ledger, ledger_at: Path | str, tmp_path: Path
) -> None:
    fill(ledger, 1)
    (tmp_path / "keys" / "ledger.key").unlink()
    with pytest.raises(LedgerError, match="Restore the key"):
        Ledger.open(ledger_at, tmp_path / "keys")


def test_another_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, but longer than a header" * 20)
    (tmp_path / "ledger.key").write_bytes(bytes(32))
    with pytest.raises(LedgerError, match="not a readable ledger"):
        Ledger.open(tmp_path / "ledger.db", tmp_path)


def test_a_newer_format_is_refused(ledger: Ledger, ledger_at: Path | str, tmp_path: Path) -> None:
    in_database = isinstance(ledger_at, str)
    tamper(ledger_at, "UPDATE format SET version = 2" if in_database else "PRAGMA user_version = 2")
    with pytest.raises(LedgerError, match="format 2"):
        Ledger.open(ledger_at, tmp_path / "keys")


def test_files_are_private_and_the_public_key_lies_beside(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, 4)
    for path in (*tmp_path.glob("ledger.db"), ledger.exported, tmp_path / "keys" / "ledger.key"):
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "keys" / "ledger.pub").read_text().strip() == ledger.verifier


def test_the_ledger_needs_no_database_toolkit() -> None:
    code = (
        "import avsafe.ledger, sys; "
        "sys.exit(bool({'sqlalchemy', 'alembic', 'psycopg'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_entry_is_plain_data(ledger: Ledger) -> None:
    assert isinstance(ledger.intent("x", {}), Entry)


def test_a_damaged_file_is_reported_and_not_raised(in_file: Ledger, tmp_path: Path) -> None:
    fill(in_file, 400)
    in_file.close()
    path = tmp_path / "ledger.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(bytes(data))
    with Ledger.open(path, tmp_path / "keys") as damaged:
        assert not damaged.verify().ok
        with pytest.raises(LedgerError):
            damaged.intent("x", {})
