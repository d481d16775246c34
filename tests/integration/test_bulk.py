"""A folder of files, good, bad and odd, through interruptions, changes and several processes."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avsafe import media
from avsafe import verify as verifying
from avsafe.bulk import listing, looking, run
from avsafe.cli import app
from avsafe.errors import UsageError
from avsafe.home import locked
from avsafe.sharding import executors
from avsafe.sharding.rows import Store
from avsafe.testing import still

NAMES = (b"caf\xe9.png", "two\u2028lines.png".encode(), b"=1+1\n.txt", b"notes.txt", b"x" * 255)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures, a copy of one, and what is no media, in two folders."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "sub").mkdir()
    for number in (1, 2):
        media.encode(still(64, 48, seed=number), folder / f"{number}.png")
    shutil.copy(folder / "1.png", folder / "sub" / "again.png")
    for index, name in enumerate(NAMES):
        Path(os.fsdecode(bytes(folder) + b"/sub/" + name)).write_bytes(b"no media" * index)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "folder"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at in this process, where a test can see and spoil it."""
    monkeypatch.setattr(executors, "named", lambda name, jobs, apart: executors.Local(1))


def verify(folder: Path, out: Path, **more: object) -> run.Outcome:
    wanted = {"files": (folder,), "credential_only": True} | more
    return run.run(run.Options(out=out, **wanted))  # type: ignore[arg-type]


def entries(out: Path) -> dict[str, dict]:
    lines = (out / "verdicts.jsonl").read_bytes().split(b"\n")[:-1]
    return {entry["path"]: entry for entry in map(json.loads, lines)}


def test_every_file_has_the_entry_of_verify(folder: Path, tmp_path: Path, here: None) -> None:
    found = verify(folder, tmp_path / "out", tables=("csv", "parquet"))
    assert (found.files, found.new, found.copies, found.failed) == (8, 8, 1, 0)
    assert found.labels == {"inconclusive": 3, "unreadable": 5}
    assert found.unreadable == {"EmptyFile": 1, "UnsupportedMedia": 4}
    told = entries(tmp_path / "out")
    assert list(told) == sorted(told, key=os.fsencode)
    words = ["verify", "--credential-only", "--json", *told]
    assert list(told.values()) == json.loads(CliRunner().invoke(app, words).stdout)

    rows = list(csv.DictReader((tmp_path / "out" / "evidence.csv").open(newline="")))
    assert sum(row["label"] == "unreadable" for row in rows) == 5
    assert not any(row[name].startswith("=") for row in rows for name in ("path", "summary"))
    table = pytest.importorskip("pandas").read_parquet(tmp_path / "out" / "evidence.parquet")
    assert list(table["label"]) == [row["label"] for row in rows]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["labels"] == found.labels


def test_answers_do_not_depend_on_how_a_run_was_divided(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process, two processes, and a run that was interrupted after every second file."""
    one, two, often = (tmp_path / name for name in ("one", "two", "often"))
    verify(folder, one)
    verify(folder, two, jobs=2)
    monkeypatch.setattr(executors, "named", lambda name, jobs, apart: executors.Local(1))
    append, calls = Store.append, []

    def interrupted(store: Store, row: dict) -> int:
        calls.append(row)
        if len(calls) % 3 == 0:
            with store.path.open("ab") as file:
                file.write(b'{"kind": "verdict", "ru')  # killed while it wrote
            raise KeyboardInterrupt
        return append(store, row)

    monkeypatch.setattr(Store, "append", interrupted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            verify(folder, often)
    assert verify(folder, often).new == 2
    said = {(out / "verdicts.jsonl").read_bytes() for out in (one, two, often)}
    assert len(said) == 1


def test_nothing_is_looked_at_twice_but_what_changed(
    folder: Path, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    verify(folder, out)
    seen: list[str] = []
    real = looking.look_at

    def noted(task: looking.FileTask) -> dict:
        answer = real(task)
        seen.append(f"{Path(task.path).name} {answer['status']}")
        return answer

    monkeypatch.setattr(looking, "look_at", noted)
    before = (out / "verdicts.jsonl").read_bytes()
    assert verify(folder, out).new == 0
    assert (out / "verdicts.jsonl").read_bytes() == before
    assert seen == []

    times = (folder / "2.png").stat()
    data = bytearray((folder / "2.png").read_bytes())
    data[-20] ^= 1
    (folder / "2.png").write_bytes(data)
    os.utime(folder / "2.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.utime(folder / "1.png")
    (folder / "sub" / "notes.txt").unlink()
    assert verify(folder, out).files == 7
    assert sorted(seen) == ["1.png same", "2.png ok"], "of an old time, with the old size"

    seen.clear()
    folder.rename(tmp_path / "moved")
    verify(tmp_path / "moved", out)
    assert {"1.png same", "2.png same", "again.png same"} <= set(seen)

    seen.clear()
    (tmp_path / "moved" / "1.png.c2pa").write_bytes(b"no credential")
    verify(tmp_path / "moved", out)
    assert seen == ["1.png ok"], "a credential that was laid beside it"
    assert entries(out)[str(tmp_path / "moved" / "1.png")]["evidence"][0]["status"] != "absent"


def test_other_options_are_another_run(folder: Path, tmp_path: Path, here: None) -> None:
    for path in folder.glob("**/*.png"):
        path.unlink()
    out = tmp_path / "out"
    verify(folder, out)
    found = verify(folder, out, credential_only=False, detectors=("none",))
    assert found.new == found.files
    assert f"{found.files} answers in rows.jsonl were found with other" in found.warnings[0]
    noted = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(noted | {"releases": 3}))
    said = verify(folder, out, credential_only=False, detectors=("none",)).warnings
    assert any("the registry held 3 releases; now it holds 0" in warning for warning in said)


def test_what_cannot_be_looked_at_is_told_and_tried_again(
    folder: Path, tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dead.mp4").symlink_to(tmp_path / "nowhere")
    (folder / "link.png").symlink_to(folder / "1.png")
    (folder / "round").symlink_to(folder)
    (folder / ".hidden").mkdir()
    (folder / "lost.c2pa").write_bytes(b"")
    (folder / "closed").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    real, scandir, verify_file = looking.look_at, os.scandir, verifying.verify

    def spoiled(task: looking.FileTask) -> dict:
        if task.path.endswith("2.png"):
            raise RuntimeError("out of luck")
        if task.path.endswith("notes.txt"):
            Path(task.path).unlink()
        return real(task)

    def refused(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    def while_it_changes(path: Path, *rest: object, **more: object) -> object:
        verdict = verify_file(path, *rest, **more)
        if path.name == "1.png":
            path.write_bytes(b"another")
        return verdict

    out = folder / "out"
    with monkeypatch.context() as patched:
        patched.setattr(verifying, "verify", while_it_changes)
        patched.setattr(looking, "look_at", spoiled)
        patched.setattr(os, "scandir", refused)
        found = verify(folder, out)
    said = {
        Path(line["path"]).name: line["reason"]
        for line in map(json.loads, (out / "failed.jsonl").read_text().splitlines())
    }
    assert said == {
        "dead.mp4": "a link that leads nowhere",
        "closed": "this folder cannot be read: Permission denied",
        "2.png": "RuntimeError: out of luck",
        "notes.txt": "it is gone",
        "1.png": "it changed while it was looked at",
    }
    assert found.failed == 5
    assert found.passed_over == {
        listing.BESIDE: 1, listing.HIDDEN: 1, listing.LINKED: 1, listing.ODD: 1,
    }  # fmt: skip
    assert str(folder / "link.png") in entries(out)
    assert verify(folder, out).failed == 1, "the dead link; all others were tried again"


def test_two_runs_do_not_share_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with locked(out / ".lock"), pytest.raises(UsageError, match="Another run works in"):
        verify(folder, out)


def test_the_command_line(folder: Path, tmp_path: Path, here: None) -> None:
    def call(*words: object):
        return CliRunner().invoke(app, ["verify", *map(str, words)])

    out = tmp_path / "out"
    run = (folder, "--out", out, "--credential-only")
    done = call(*run)
    assert done.exit_code == 0, done.output
    assert "unreadable" in done.stdout
    assert str(out / "verdicts.jsonl") in done.stdout.replace("\n", "")
    assert call(*run, "--strict").exit_code == 3
    said = json.loads(call(*run, "--json").stdout)
    assert (said["files"], said["new"]) == (8, 0)
    (folder / "dead.mp4").symlink_to(tmp_path / "nowhere")
    assert call(*run).exit_code == 1
    for words, why in (
        ((folder,), "name a place for the answers"),
        ((folder / "1.png", "--jobs", "2"), "go with --out"),
        ((folder / "1.png", "--out", out, "--maps", out), "--maps does not go with --out"),
        ((folder / "nobody", "--out", out), "No such file or folder"),
        ((folder, "--out", out, "--table", "xml"), "No table 'xml'"),
        ((folder, "--out", out, "--detectors", "nobody"), "No detector nobody"),
        ((folder / "pipe", "--out", out), "neither a file nor a folder"),
    ):
        if words[0] == folder / "pipe":
            os.mkfifo(folder / "pipe")
        failed = call(*words)
        assert isinstance(failed.exception, UsageError), (words, failed.output)
        assert why in str(failed.exception)
