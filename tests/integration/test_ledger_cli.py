"""The command lines of ledger and registry, over a state folder with two releases in it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from avsafe.cli import ledger as ledger_cli
from avsafe.cli import registry as registry_cli
from avsafe.errors import LedgerError, RegistryError, UsageError
from avsafe.home import Home
from avsafe.ledger import Ledger, merkle
from avsafe.ledger.note import Key
from avsafe.registry import Registry, ReleaseRecord
from avsafe.types import Kind, Mark
from tests import postgresql_kit

IDS = ("aa" * 16, "ab" * 16)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path))
    home = Home.default().ensure()
    with Ledger.open(home.log, home.keys) as log, Registry.open(home.database) as registry:
        for number, release_id in enumerate(IDS):
            log.intent(release_id, {"task": "text-to-video", "decision": {"effect": "allow"}})
            registry.add_release(
                ReleaseRecord(
                    release_id=release_id,
                    created_at=datetime(2026, 11, 1 + number, tzinfo=UTC),
                    user="anna",
                    task="text-to-video",
                    generator="wor[l]d",
                    generator_version="1",
                    registered_generator=True,
                    sha256=f"{number:064x}",
                    kind=Kind.VIDEO,
                    decision={"effect": "allow"},
                    manifest_id=f"urn:c2pa:{number}",
                    manifest=b"m",
                    marks=(Mark(Kind.VIDEO, "org.example.video", 2**64 - 1 - number, 64, 43.0),),
                    salt=b"particular salt!",
                )
            )
            log.outcome(release_id, "released", {"sha256": f"{number:064x}"})
    return home


def run(app: Any, *arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_verify_says_whole_and_then_names_the_row(home: Home) -> None:
    whole = run(ledger_cli.app, "verify", "--json")
    assert whole.exit_code == 0
    assert json.loads(whole.stdout)["ok"] is True
    assert "whole" in run(ledger_cli.app, "verify").stdout
    change = "SET leaf = replace(leaf, 'released', 'relaxed!') WHERE seq = 1"
    if isinstance(home.log, str):
        change = change.replace("replace(leaf,", "convert_to(replace(convert_from(leaf, 'UTF8'),")
        change = change.replace("'relaxed!')", "'relaxed!'), 'UTF8')")
        postgresql_kit.run_at(home.log, f"UPDATE ledger.entries {change}")
    else:
        with sqlite3.connect(home.log) as db:
            db.execute(f"UPDATE entries {change}")
        db.close()
    broken = run(ledger_cli.app, "verify", "--json")
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["problems"][0]["seq"] == 1
    words = run(ledger_cli.app, "verify")
    assert words.exit_code == 1
    assert "entry 1 was changed" in words.stdout


def test_a_kept_copy_of_the_checkpoints_convicts_a_rewritten_log(
    home: Home, tmp_path: Path, sqlite_only: None
) -> None:
    run(ledger_cli.app, "checkpoint")
    kept = tmp_path / "kept"
    kept.write_bytes((home.root / "ledger.checkpoints").read_bytes())
    assert run(ledger_cli.app, "verify", "--checkpoints", str(kept)).exit_code == 0
    for path in home.root.glob("ledger.*"):
        path.unlink()
    with Ledger.open(home.log, home.keys) as log:
        log.intent("x", {})
    assert run(ledger_cli.app, "verify").exit_code == 0
    assert run(ledger_cli.app, "verify", "--checkpoints", str(kept)).exit_code == 1


def test_show_lists_entries(home: Home) -> None:
    assert [e["seq"] for e in json.loads(run(ledger_cli.app, "show", "--json").stdout)] == [
        0,
        1,
        2,
        3,
    ]
    last = json.loads(run(ledger_cli.app, "show", "-n", "1", "--json").stdout)
    assert [e["seq"] for e in last] == [3]
    one = json.loads(run(ledger_cli.app, "show", "ab", "--json").stdout)
    assert [(e["type"], e["release_id"]) for e in one] == [("intent", IDS[1]), ("outcome", IDS[1])]
    assert "released" in run(ledger_cli.app, "show").stdout
    with pytest.raises(LedgerError, match="Several"):
        run(ledger_cli.app, "show", "a")


def test_a_proof_can_be_checked_with_the_json_alone(home: Home) -> None:
    proofs = json.loads(run(ledger_cli.app, "prove", "aa", "--json").stdout)
    assert [proof["entry"]["type"] for proof in proofs] == ["intent", "outcome"]
    key = Key((home.keys / "ledger.key").read_bytes())
    for proof in proofs:
        head = key.open(proof["checkpoint"])
        path = [bytes.fromhex(item) for item in proof["path"]]
        leaf = merkle.leaf_hash(proof["leaf"].encode())
        assert proof["holds"] is True
        assert merkle.check_inclusion(proof["entry"]["seq"], head.size, leaf, path, head.root)
    (third,) = json.loads(run(ledger_cli.app, "prove", "#2", "--json").stdout)
    assert third["entry"]["seq"] == 2
    assert "entry 1" in run(ledger_cli.app, "prove", "aa").stdout
    with pytest.raises(UsageError, match="#12"):
        run(ledger_cli.app, "prove", "#x")


def test_registry_list_and_show_hide_the_salt(home: Home) -> None:
    listed = run(registry_cli.app, "list", "--json")
    assert [item["release_id"] for item in json.loads(listed.stdout)] == [IDS[1], IDS[0]]
    shown = run(registry_cli.app, "show", "aa", "--json")
    assert json.loads(shown.stdout)["marks"][0]["payload"] == "f" * 16
    for result in (
        listed,
        shown,
        run(registry_cli.app, "show", "aa"),
        run(registry_cli.app, "list"),
    ):
        assert "particular salt" not in result.stdout
        assert b"particular salt!".hex() not in result.stdout
    assert "wor[l]d" in run(registry_cli.app, "list").stdout


def test_forget_asks_first(home: Home) -> None:
    declined = CliRunner().invoke(registry_cli.app, ["forget", "aa"], input="n\n")
    assert declined.exit_code == 1
    with Registry.open(home.database) as registry:
        assert registry.resolve("aa").user == "anna"
    done = run(registry_cli.app, "forget", "aa", "--yes", "--json")
    assert json.loads(done.stdout)["release_id"] == IDS[0]
    with Registry.open(home.database) as registry:
        assert registry.resolve("aa").user is None
        assert registry.resolve("ab").user == "anna"
    assert run(ledger_cli.app, "verify").exit_code == 0


def test_an_empty_home_is_an_error_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_only: None
) -> None:
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path / "none"))
    with pytest.raises(LedgerError, match="release something first"):
        run(ledger_cli.app, "verify")
    with pytest.raises(RegistryError, match="release something first"):
        run(registry_cli.app, "list")
    assert not (tmp_path / "none").exists()
