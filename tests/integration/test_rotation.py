"""Keys that are renewed: what the old ones made is verified and recovered, cut short or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from avsafe import gate, media, rotation, testing
from avsafe.cli import app
from avsafe.errors import UsageError
from avsafe.home import Home
from avsafe.ledger import Ledger
from avsafe.policy import local_principal
from avsafe.provenance import keys, renewal
from avsafe.provenance.signer import certificates
from avsafe.types import Detection, GenerationRequest, InputMedia, Label, Release, Task
from avsafe.verify import verify
from avsafe.watermark import keyring
from avsafe.workspace import Lookup, open_workspace
from tests.provenance_kit import make_authority, make_certificate, private_pem


def released(home: Home, source: Path, out: Path) -> Release:
    with open_workspace(home) as workspace:
        return gate.generate(
            GenerationRequest(
                local_principal(), Task.RELEASE, "elsewhere",
                inputs=(InputMedia(media.probe(source), "source"),),
            ),
            out,
            workspace,
        )  # fmt: skip


def test_releases_of_before_are_verified_and_recovered(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    media.encode(testing.still(640, 480), source)
    out, later = tmp_path / "out.png", tmp_path / "later.png"
    made = {out: released(home, source, out)}
    for _ in range(2):
        rotation.rotate_watermark(home)
    rotation.rotate_signing(home)
    rotation.rotate_signing(home, new_root=True)
    rotation.rotate_ledger(home)
    made[later] = released(home, source, later)
    lookup = Lookup(home)
    assert len(lookup.watermark_keys) == 3
    for path, release in made.items():
        assert verify(path, lookup, credential_only=True).label is Label.SYNTHETIC_DECLARED
        stripped = path.with_name(f"stripped-{path.name}")
        Image.open(path).convert("RGB").save(stripped)
        found = verify(stripped, lookup, detectors=("none",))
        assert found.label is Label.SYNTHETIC_RECOVERED
        marks = [e for e in found.evidence if e.source == "watermark.image"]
        assert marks[0].details["release_id"] == release.release_id
    with Ledger.open(home.log, home.keys) as ledger:
        assert ledger.verify().ok
        said = [e.body["key"] for e in ledger.entries("keys")]
        assert said == ["watermark", "watermark", "signing", "signing", "ledger"]
        for entry in ledger.entries("keys"):
            text = json.dumps(dict(entry.body))
            assert not any(key.hex() in text for key in lookup.watermark_keys)


def test_a_key_that_never_marked_anything_finds_nothing() -> None:
    absent, there = Detection(False, None, 0.01), Detection(True, 5, 1e-10)
    assert keyring.among([absent, there, absent]) == Detection(True, 5, 2e-10)  # two were tried
    assert keyring.among([absent, absent]).p_value == 0.02
    assert keyring.among([Detection(False, None, 0.9)] * 3).p_value == 1.0


def test_a_damaged_list_of_old_keys_is_said(home: Home) -> None:
    rotation.rotate_watermark(home.ensure())
    (home.keys / keyring.OLD_FILE).write_text("what?")
    with pytest.raises(UsageError, match="Restore it"):
        keyring.ring(home.keys)


def test_a_running_signer_goes_on_with_a_pair_that_fits(home: Home) -> None:
    signer = keys.load_signer(home.ensure().keys)
    rotation.rotate_signing(home, new_root=True)
    from avsafe.provenance.signer import checked

    assert checked(signer, b"claim")
    assert checked(keys.load_signer(home.keys), b"claim")


KILLED = """
import os, signal, sys
from avsafe import rotation
from avsafe.home import Home
from avsafe.provenance import keys
from avsafe.watermark import keyring
moment = sys.argv[1]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "moving":
    real, done = os.replace, []
    def replace(source, to):
        if "/.next/" in str(source):
            done.append(to)
            if len(done) == 2:
                die()
        return real(source, to)
    os.replace = replace
elif moment == "decided":
    keys.settle = lambda files, real=keys.settle: die() if (files.folder / ".next").exists() else real(files)
elif moment == "before":
    keys.install = die
else:
    real = keyring.write_private
    keyring.write_private = lambda path, data: die() if path.name == keyring.KEY_FILE else real(path, data)
    rotation.rotate_watermark(Home.default())
rotation.rotate_signing(Home.default(), new_root=True)
"""  # noqa: E501


@pytest.mark.parametrize("moment", ["before", "decided", "moving", "watermark"])
def test_a_rotation_cut_short_leaves_one_key(moment: str, home: Home) -> None:
    with open_workspace(home):
        pass
    before, mark = keys.KeyFiles(home.keys).chain.read_text(), keyring.current(home.keys)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, moment], env=dict(os.environ), check=False
    )
    assert ended.returncode == -signal.SIGKILL
    with open_workspace(home) as workspace:  # a pair that fits, or this raises
        unchanged = moment in ("before", "watermark")
        assert (keys.KeyFiles(home.keys).chain.read_text() == before) is unchanged
        assert workspace.ledger.verify().ok
        assert workspace.watermark_key in Lookup(home).watermark_keys
    assert mark in Lookup(home).watermark_keys
    roots = certificates(keys.trust_anchors(home.keys))
    assert certificates(before)[1] in roots
    rotation.rotate_signing(home)
    assert keys.load_signer(home.keys).warnings == ()


def test_another_authority_renews_its_own(home: Home, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    authority, key = make_authority(), ec.generate_private_key(ec.SECP256R1())
    leaf = make_certificate(key, authority)
    chain, private = tmp_path / "chain.pem", tmp_path / "new.key"
    chain.write_text(leaf.public_bytes(Encoding.PEM).decode() + authority.pem)
    private.write_bytes(private_pem(key))
    with pytest.raises(UsageError, match="no signing keys"):
        rotation.rotate_signing(home.ensure())
    keys.init(home.keys)
    rotation.rotate_signing(home, certificate=chain, key=private)
    assert keys.load_signer(home.keys).chain_pem == chain.read_text()
    with pytest.raises(UsageError, match="whose key is not here"):
        renewal.renewed(home.keys)
    other = tmp_path / "other.key"
    other.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(UsageError):
        rotation.rotate_signing(home, certificate=chain, key=other)
    assert keys.load_signer(home.keys).chain_pem == chain.read_text()


def test_the_command(home: Home) -> None:
    def run(*words: str) -> dict[str, Any]:
        ran = CliRunner().invoke(app, ["keys", "rotate", *words, "--json"], catch_exceptions=False)
        assert ran.exit_code == 0
        return dict(json.loads(ran.stdout))

    keys.init(home.ensure().keys)
    assert run("signing")["key"] == "signing"
    first = run("watermark")
    assert run("watermark")["old"] == first["new"]
    assert run("ledger")["key"] == "ledger"
    with pytest.raises(UsageError, match="for the signing key"):
        CliRunner().invoke(app, ["keys", "rotate", "ledger", "--new-root"], catch_exceptions=False)
