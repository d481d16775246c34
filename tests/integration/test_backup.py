"""State that is kept and moved: one moment of a busy home, all or nothing, on either engine."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from typer.testing import CliRunner

from avsafe import gate, media, testing
from avsafe.backup import archive, back_up, finish, restore, rows, sealed
from avsafe.cli import app
from avsafe.errors import AvsafeError, BackupError, LedgerError, UsageError
from avsafe.home import DATABASE_VARIABLE, RESTORING, Home
from avsafe.ledger import Ledger
from avsafe.ledger.note import Verifier
from avsafe.policy import local_principal
from avsafe.registry import Registry, migrate
from avsafe.registry.database import Database
from avsafe.registry.schema import api_keys, metadata, releases, teams, users
from avsafe.types import GenerationRequest, InputMedia, Label, Task
from avsafe.verify import verify
from avsafe.workspace import Lookup, open_workspace

PASSPHRASE = "correct horse battery"
# As the gate writes: intent, row, outcome.
WRITER = """
from datetime import UTC, datetime
from avsafe.home import Home
from avsafe.ledger import Ledger
from avsafe.registry import Registry, ReleaseRecord
from avsafe.types import Kind
home = Home.default().ensure()
with Registry.open(home.database) as registry, Ledger.open(home.log, home.keys) as ledger:
    for number in range(100000):
        name = f"w{number}"
        ledger.intent(name, {})
        registry.add_release(ReleaseRecord(
            release_id=name, created_at=datetime.now(UTC), user="anna", task="t", generator="g",
            generator_version="1", registered_generator=True, sha256="0" * 64, kind=Kind.VIDEO,
            decision={}, manifest_id=name, manifest=b"m", marks=()))
        ledger.outcome(name, "released", {})
        if number == 20:
            print("there", flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "postgresql":
        monkeypatch.setenv(DATABASE_VARIABLE, str(request.getfixturevalue("postgresql_url")))
    return str(request.param)


def fill(home: Home, entries: int = 30) -> None:
    """A home in which every kind of state stands."""
    home.ensure()
    with open_workspace(home) as workspace:
        for number in range(entries):
            workspace.ledger.append("note", f"n{number}", {"number": number})
        workspace.ledger.checkpoint()
        with workspace.registry.database.writing() as connection:
            now = media_time()
            connection.execute(insert(teams).values(name="lab", created_at=now))
            connection.execute(
                insert(users).values(id="u1", name="ada", created_at=now, suspended=False)
            )
            connection.execute(
                insert(api_keys).values(
                    id="k1", user_id="u1", team="lab", hash=bytes(range(32)), scopes=None,
                    created_at=now, expires_at=now,
                )
            )  # fmt: skip
    (home.objects / "jobs" / "video_1").mkdir(parents=True)
    (home.objects / "jobs" / "video_1" / "out-1.mp4").write_bytes(b"a film")
    (home.root / "watermarkers").mkdir()
    (home.root / "watermarkers" / "ours.json").write_text("{}")
    (home.keys / "trust").mkdir(exist_ok=True)
    (home.keys / "trust" / "other.pem").write_text("")


def media_time() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def packed(home: Home, **how: Any) -> bytes:
    out = io.BytesIO()
    back_up(home, out, **how)
    return out.getvalue()


def tables(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    with Database.open(home.database) as database, database.reading() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name not in rows.LEFT_OUT
        }


def contents(home: Home) -> set[str]:
    return {
        p.relative_to(home.root).as_posix()
        for p in home.root.rglob("*")
        if p.is_file() and not p.name.endswith((".lock", "-wal", "-shm"))
    }


# ------------------------------------------------------------ there and back


def test_all_state_comes_back(engine: str, home: Home, tmp_path: Path) -> None:
    fill(home)
    whole = packed(home, passphrase=PASSPHRASE)
    before, files = tables(home), contents(home)
    with Ledger.open(home.log, home.keys) as ledger:
        proof, head = ledger.prove(7)[0], ledger.verify()
        verifier = ledger.verifier
    other = Home(tmp_path / "other")
    if engine == "postgresql":  # the same server, emptied: over what is there
        shutil.copytree(home.root, other.root)
        found = restore(other, io.BytesIO(whole), over=True, passphrase=PASSPHRASE)
        assert found.kept is not None
        assert (found.kept / "database.tar").stat().st_size > 0
        shutil.rmtree(found.kept)
    else:
        found = restore(other, io.BytesIO(whole), passphrase=PASSPHRASE)
    assert (found.entries, found.keys, found.objects) == (30, True, "included")
    sources = {"sqlite": "the keys that came sealed with it", "postgresql": "the keys of this home"}
    assert found.vouched_by == sources[engine]
    assert tables(other) == before
    assert contents(other) == files
    with Ledger.open(other.log, other.keys) as ledger:
        again = ledger.verify()
        assert (again.ok, again.root, again.size) == (True, head.root, 30)
        assert Verifier.parse(verifier).open(proof.checkpoint).root == proof.root
        assert ledger.consistency(proof.size).old_root == proof.root
        ledger.append("note", "after", {})
        assert ledger.verify(checkpoints=home.root / ledger.exported.name).ok
    for path in (other.root, *other.root.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("first", ["sqlite", "postgresql"])
def test_a_log_moves_between_engines_with_its_proofs(
    first: str, home: Home, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on(engine: str) -> None:
        if engine == "postgresql":
            monkeypatch.setenv(DATABASE_VARIABLE, postgresql_url)
        else:
            monkeypatch.delenv(DATABASE_VARIABLE, raising=False)

    on(first)
    fill(home, entries=70)
    with Ledger.open(home.log, home.keys) as ledger:
        ledger.rotate_key()
        ledger.intent("died", {})
        exported, proof, size = ledger.exported, ledger.prove(3)[0], len(ledger)
    before, whole = tables(home), packed(home)
    on("postgresql" if first == "sqlite" else "sqlite")
    other = Home(tmp_path / "other").ensure()
    shutil.copytree(home.keys, other.keys, dirs_exist_ok=True)
    found = restore(other, io.BytesIO(whole))
    assert found.vouched_by == "the keys of this home"
    assert tables(other) == before
    with Ledger.open(other.log, other.keys) as ledger:
        assert ledger.verify(checkpoints=exported).ok
        assert ledger.consistency(proof.size, size).old_root == proof.root
    with open_workspace(other) as workspace:  # as after a crash
        assert workspace.ledger.status("died") == "aborted"
        assert workspace.ledger.verify().ok


def test_an_older_schema_is_brought_up(home: Home, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    database = Database.open(home.ensure().registry)
    database.close()
    fill(home, entries=3)
    lines = []
    for member in archive.Reader(io.BytesIO(packed(home, objects=False))):
        data = member.read()
        if member.name == archive.HEADER:
            data = json.dumps(json.loads(data) | {"schema": "0002"}).encode()
        if member.name.startswith("registry/"):
            head, *rest = data.split(b"\n")
            named = json.loads(head)
            if named["table"] == "api_keys":  # as 0002 had it
                keep = len(named["columns"]) - 1
                named["columns"] = named["columns"][:keep]
                rest = [json.dumps(json.loads(line)[:keep]).encode() for line in rest]
                data = b"\n".join([json.dumps(named).encode(), *rest])
        lines.append((member.name, data))
    other = Home(tmp_path / "other").ensure()
    shutil.copytree(home.keys, other.keys, dirs_exist_ok=True)
    restore(other, io.BytesIO(rebuilt(lines, home)))
    assert tables(other)["api_keys"] == tables(home)["api_keys"]
    with Database.open(other.registry) as opened, opened.reading() as connection:
        assert migrate.version(connection) == migrate.HEAD
    assert not old.exists()


# ------------------------------------------------------------ one moment


def test_what_is_backed_up_while_others_write_agrees_with_itself(
    engine: str, home: Home, tmp_path: Path
) -> None:
    home.ensure()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "there\n"
        taken = [packed(home, passphrase=PASSPHRASE) for _ in range(3)]
        assert writer.poll() is None, "it must write all the while"
        writer.kill()
    os.environ.pop(DATABASE_VARIABLE, None)  # each copy is looked at in a file
    sizes = []
    for number, whole in enumerate(taken):
        other = Home(tmp_path / str(number))
        restore(other, io.BytesIO(whole), passphrase=PASSPHRASE)
        with Registry.open(other.database) as registry, Ledger.open(other.log, other.keys) as log:
            assert log.verify().ok
            with registry.database.reading() as connection:
                there = set(connection.execute(select(releases.c.id)).scalars())
            released = {e.release_id for e in log.entries() if e.type == "outcome"}
            assert released <= there
            assert there <= released | set(log.orphans())  # a row before its outcome
            assert len(log.orphans()) <= 1
            sizes.append(len(log))
        with open_workspace(other) as workspace:
            assert {r.release_id for r in workspace.registry.list(limit=9999)} == released
    assert sizes == sorted(sizes)


def test_a_release_is_verified_and_recovered_after_restoring(home: Home, tmp_path: Path) -> None:
    from PIL import Image

    source, out = tmp_path / "source.png", tmp_path / "out.png"
    media.encode(testing.still(640, 480), source)
    with open_workspace(home) as workspace:
        made = gate.generate(
            GenerationRequest(
                local_principal(), Task.RELEASE, "elsewhere",
                inputs=(InputMedia(media.probe(source), "source"),),
            ),
            out,
            workspace,
        )  # fmt: skip
    stripped = tmp_path / "stripped.png"
    Image.open(out).convert("RGB").save(stripped)
    whole = packed(home, passphrase=PASSPHRASE)
    other = Home(tmp_path / "other")
    restore(other, io.BytesIO(whole), passphrase=PASSPHRASE)
    assert verify(out, Lookup(other), credential_only=True).label is Label.SYNTHETIC_DECLARED
    found = verify(stripped, Lookup(other), detectors=("none",))
    assert found.label is Label.SYNTHETIC_RECOVERED
    assert any(e.details.get("release_id") == made.release_id for e in found.evidence)


# ------------------------------------------------------------ all or nothing

KILLED = """
import os, signal, sys
from pathlib import Path
from avsafe.backup import place, restore
from avsafe.home import Home
moment = sys.argv[2]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "complete":
    place.Target.complete = lambda *_, **__: die()
elif moment == "noted":
    place.Target.keep = lambda self, written: (written(), die())
else:
    real, done = Path.rename, []
    def rename(self, to):
        done.append(to)
        return die() if len(done) == 3 else real(self, to)
    Path.rename = rename
with open(sys.argv[1], "rb") as file:
    restore(Home.default(), file, passphrase="correct horse battery")
"""


@pytest.mark.parametrize("moment", ["complete", "moving"])
def test_a_restore_that_is_killed_is_nothing_or_is_completed(
    moment: str, home: Home, tmp_path: Path
) -> None:
    fill(home)
    (tmp_path / "a.tar").write_bytes(packed(home, passphrase=PASSPHRASE))
    other = Home(tmp_path / "other")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "a.tar", moment],
        env=os.environ | {"AVSAFE_HOME": str(other.root)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    if moment == "complete":
        assert not (other.root / RESTORING).exists()
        assert not other.registry.exists()
        restore(other, io.BytesIO((tmp_path / "a.tar").read_bytes()), passphrase=PASSPHRASE)
    else:
        with pytest.raises(UsageError, match="restore --finish"):
            other.ensure()
        assert finish(other)
    assert contents(other) == contents(home)
    assert tables(other) == tables(home)
    assert not list(other.root.glob(".restore-*"))


def test_a_database_that_did_not_commit_gets_no_files(
    home: Home, tmp_path: Path, postgresql_url: str
) -> None:
    fill(home)
    (tmp_path / "a.tar").write_bytes(packed(home, passphrase=PASSPHRASE))
    other = Home(tmp_path / "other")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "a.tar", "noted"],
        env=os.environ | {"AVSAFE_HOME": str(other.root), DATABASE_VARIABLE: postgresql_url},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_VARIABLE, postgresql_url)
        assert finish(other)
    assert contents(other) == set()


def test_a_backup_that_fails_leaves_no_file(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Writer, "close", fail)
    ran = CliRunner().invoke(app, ["backup", str(tmp_path / "a.tar")])
    assert isinstance(ran.exception, OSError)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------ what is refused


def rebuilt(members: list[tuple[str, bytes]], home: Home | None = None) -> bytes:
    """An archive of members as given; signed with the keys of ``home``."""
    out = io.BytesIO()
    writer = archive.Writer(out)
    for name, data in members:
        writer.add(name, data)
    if home is None:
        writer.close(lambda text: text + "\n")
    else:
        from avsafe.ledger import keyring

        writer.close(keyring.load(home.keys, False, "").current.seal)
    return out.getvalue()


def members(whole: bytes) -> list[tuple[str, bytes]]:
    with archive.Reader(io.BytesIO(whole)) as reader:
        return [(member.name, member.read()) for member in reader]


def raw(*infos: tuple[str, bytes, bytes], link: str = "") -> bytes:
    """A tar as a stranger may write it: (name, type, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, data in infos:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), link
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


HEAD = json.dumps(
    {"format": 1, "created_at": "2026-01-01T00:00:00+00:00", "schema": migrate.HEAD, "log": False,
     "objects": "included"}
).encode()  # fmt: skip
REG = tarfile.REGTYPE


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"not a tar" * 1000,
        raw(("x", REG, b"")),
        raw((archive.HEADER, REG, b"{}")),
        raw((archive.HEADER, REG, HEAD)),  # no manifest
        raw((archive.HEADER, REG, HEAD), ("../evil", REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("/etc/evil", REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/../../evil", REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("files/policy//x", REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/x\n", REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("files/" + "x" * 200, REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("files/keys/ledger.key", REG, bytes(32))),
        raw((archive.HEADER, REG, HEAD), ("files/registry.db", REG, b"x")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/x", tarfile.SYMTYPE, b""), link="/etc"),
        raw((archive.HEADER, REG, HEAD), ("files/policy/x", tarfile.LNKTYPE, b""), link="/etc/x"),
        raw((archive.HEADER, REG, HEAD), ("files/policy", tarfile.DIRTYPE, b"")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/x", tarfile.CHRTYPE, b"")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/x", tarfile.FIFOTYPE, b"")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/x", tarfile.GNUTYPE_SPARSE, b"")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/a", REG, b"1"),
            ("files/policy/a", REG, b"")),
        raw((archive.HEADER, REG, HEAD), ("files/policy/a", REG, b"1"),
            ("files/policy/a/b", REG, b"")),
        raw((archive.HEADER, REG, HEAD), (archive.MANIFEST, REG, b"\n\n")),
        raw((archive.HEADER, REG, HEAD), ("registry/users.0", REG, b"[" * 100_000)),
        raw((archive.HEADER, REG, HEAD),
            ("registry/u.0", REG, b'{"table": "sqlite_master", "columns": ["name"]}\n["x"]')),
        raw((archive.HEADER, REG, HEAD),
            ("registry/u.0", REG, b'{"table": "teams", "columns": ["name; DROP"]}\n["x"]')),
        raw((archive.HEADER, REG, HEAD),
            ("registry/u.0", REG, b'{"table": "teams", "columns": ["name"]}\n[["x"]]')),
        raw((archive.HEADER, REG, HEAD),
            ("registry/u.0", REG, b'{"table": "teams", "columns": ["name"]}\n["x"]')),
        raw((archive.HEADER, REG, HEAD), ("ledger/signed", REG, b"{}")),
        raw((archive.HEADER, REG, HEAD.replace(migrate.HEAD.encode(), b"9999"))),
        raw((archive.HEADER, REG, HEAD.replace(migrate.HEAD.encode(), b"head"))),
    ],
)  # fmt: skip
def test_a_hostile_archive_leaves_nothing(whole: bytes, tmp_path: Path) -> None:
    home = Home(tmp_path / "inner" / "home")
    with pytest.raises(AvsafeError):
        restore(home, io.BytesIO(whole), check=True)
    with pytest.raises(AvsafeError):
        restore(home, io.BytesIO(whole))
    assert contents(home) == set()
    assert {p.name for p in tmp_path.rglob("*")} <= {"inner", "home", "restore.lock"}


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[bytes, Home], bytes]:
    """One member of a good archive, under a manifest that fits and is signed by nobody we know."""

    def make(whole: bytes, stranger: Home) -> bytes:
        found = [(n, change(d) if n.startswith(name) else d) for n, d in members(whole)]
        return rebuilt(found, stranger)

    return make


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda whole, _: whole[: len(whole) // 2], "ends|cut short|damaged"),
        (lambda whole, _: whole.replace(b"a film", b"A film"), "does not match its manifest"),
        (lambda whole, _: whole.replace(b'"number":7', b'"number":8'), "not follow|differs"),
        (changed("files/watermarkers", lambda data: data + b"!"), "signed by none"),
        (changed("registry/users", lambda data: data.replace(b"ada", b"eve")), "signed by none"),
        (changed("ledger/leaves", lambda data: data.rpartition(b"\n")[0]), "more were signed"),
        (changed("ledger/signed", lambda data: data.replace(b'"head": [', b'"head": ["x", ')),
         "no|not"),
        (lambda whole, home: rebuilt(
            [(n, d) for n, d in members(whole) if not n.startswith("ledger/")], home),
         "does not hold what it says"),
    ],
)  # fmt: skip
def test_an_archive_that_was_changed_is_not_used(
    spoil: Callable[[bytes, Home], bytes], says: str, home: Home, tmp_path: Path
) -> None:
    fill(home)
    stranger = Home(tmp_path / "stranger").ensure()
    with open_workspace(stranger):
        pass
    other = Home(tmp_path / "other").ensure()
    shutil.copytree(home.keys, other.keys, dirs_exist_ok=True)
    with pytest.raises((BackupError, LedgerError), match=says):
        restore(other, io.BytesIO(spoil(packed(home), stranger)))
    assert {p for p in contents(other) if not p.startswith("keys/")} == set()


def test_another_logs_archive_does_not_meet_these_keys(home: Home, tmp_path: Path) -> None:
    fill(home)
    other = Home(tmp_path / "other").ensure()
    with open_workspace(other):
        pass
    for path in (other.registry, other.ledger):
        path.unlink()
    with pytest.raises(LedgerError, match="none of the log's keys"):
        restore(other, io.BytesIO(packed(home)))


def test_keys_stay_in_their_folder_unless_asked_for(home: Home, tmp_path: Path) -> None:
    fill(home)
    plain, with_keys = packed(home), packed(home, passphrase=PASSPHRASE)
    for path in home.keys.rglob("*.key"):
        secret = path.read_bytes()
        assert secret not in plain
        assert secret not in with_keys
    other = Home(tmp_path / "other")
    for wrong in ("wrong horse battery", ""):
        with pytest.raises(BackupError, match="does not open"):
            restore(other, io.BytesIO(with_keys), passphrase=wrong)
        assert contents(other) == set()
    found = restore(other, io.BytesIO(with_keys))  # sealed keys are left alone
    assert not found.keys
    assert not list(other.keys.glob("*.key"))
    with pytest.raises(AvsafeError, match=r"signer\.key is missing"), open_workspace(other):
        pass
    with pytest.raises(UsageError, match="12 characters"):
        packed(home, passphrase="short")


def test_sealed_keys_do_not_name_their_own_cost() -> None:
    whole = sealed.seal(b"secret", PASSPHRASE)
    assert sealed.unseal(whole, PASSPHRASE) == b"secret"
    for one in (
        whole.replace(b"131072", b"1" * 9),
        whole.replace(b"scrypt", b"plain!"),
        whole.partition(b"\n")[2],
        whole[:-1],
        b"[]\n",
    ):
        with pytest.raises(BackupError):
            sealed.unseal(one, PASSPHRASE)


def test_a_home_that_is_used_is_not_replaced(home: Home, tmp_path: Path) -> None:
    fill(home)
    whole = packed(home)
    with pytest.raises(UsageError, match="not empty"):
        restore(home, io.BytesIO(whole))
    with open_workspace(home) as workspace:
        workspace.ledger.append("note", "later", {})
        with pytest.raises(UsageError, match="in use"):
            restore(home, io.BytesIO(whole), over=True)
        assert workspace.ledger.verify().size == 31
    found = restore(home, io.BytesIO(whole), over=True)
    assert found.kept is not None
    with Ledger.open(found.kept / "ledger.db", home.keys) as ledger:
        assert len(ledger) == 31  # the safety copy
    with Ledger.open(home.log, home.keys) as ledger:
        assert ledger.verify(checkpoints=found.kept / "ledger.checkpoints").ok
        assert len(ledger) == 30


def test_the_commands(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> dict[str, Any]:
        ran = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
        assert ran.exit_code == 0
        return dict(json.loads(ran.stdout))

    with pytest.raises(UsageError, match="nothing"):
        CliRunner().invoke(app, ["backup", str(tmp_path / "a.tar")], catch_exceptions=False)
    fill(home)
    words = tmp_path / "words"
    words.write_text(PASSPHRASE + "\n")
    file = str(tmp_path / "a.tar")
    done = run("backup", file, "--keys", "--passphrase-file", str(words), "--no-objects")
    assert (done["entries"], done["objects"], done["keys"]) == (30, "left out", True)
    assert Path(file).stat().st_mode & 0o077 == 0
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path / "other"))
    assert run("restore", file, "--check")["restored"] is False
    assert not (tmp_path / "other").exists()
    assert run("restore", file, "--keys", "--passphrase-file", str(words))["keys"] is True
    assert run("restore", "--finish") == {"finished": False}
    with open_workspace() as workspace:
        assert workspace.ledger.verify().ok
