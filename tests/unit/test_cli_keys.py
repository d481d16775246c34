"""``avsafe keys`` as a person or a script uses it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from typer.testing import CliRunner

from avsafe.cli.keys import app
from avsafe.errors import UsageError
from avsafe.home import Home
from avsafe.provenance import keys, outbox, sign
from avsafe.provenance.read import read
from avsafe.provenance.signer import certificates
from tests.provenance_kit import (
    OPENSSL,
    make_authority,
    make_certificate,
    make_manifest,
    make_media,
    time_stamp_authority,
)

run = CliRunner()


def test_init_show_and_sign(home: Home, tmp_path: Path) -> None:
    made = run.invoke(app, ["init", "--organization", "Example Studio", "--json"])
    assert made.exit_code == 0
    assert json.loads(made.stdout)["root"] == str(home.keys / "ca.pem")
    shown = json.loads(run.invoke(app, ["show", "--json"]).stdout)
    assert "Example Studio" in shown["certificate"]["subject"]
    assert shown["certificate"]["findings"] == []
    assert len(shown["trusted"]) == 1
    signer = keys.load_signer(home.keys)
    sign.sign_file(make_media(tmp_path / "a.png"), tmp_path / "s.png", make_manifest(), signer)
    report = read(tmp_path / "s.png", anchors=keys.trust_anchors(home.keys))
    assert report.issuer == "Example Studio"


def test_init_again_is_refused_with_what_to_do(home: Home) -> None:
    assert run.invoke(app, ["init"]).exit_code == 0
    again = run.invoke(app, ["init"])
    assert isinstance(again.exception, UsageError)
    assert "--overwrite" in str(again.exception)
    assert run.invoke(app, ["init", "--overwrite"]).exit_code == 0


def test_show_before_anything_was_made(home: Home) -> None:
    shown = run.invoke(app, ["show"])
    assert shown.exit_code == 0
    assert "avsafe keys init" in shown.stdout
    assert not home.keys.exists()  # looking makes nothing


def test_lint_names_the_rule_and_exits_with_one(tmp_path: Path) -> None:
    root = make_authority()
    leaf = make_certificate(
        ec.generate_private_key(ec.SECP256R1()),
        root,
        usages=(ExtendedKeyUsageOID.TIME_STAMPING,),
        end=timedelta(days=-1),
        begin=timedelta(days=-9),
    )
    path = tmp_path / "cert.pem"
    path.write_bytes(leaf.public_bytes(Encoding.PEM) + root.pem.encode())
    said = run.invoke(app, ["lint", str(path)])
    assert said.exit_code == 1
    assert "extended-key-usage" in said.stdout
    assert "timeStamping" in said.stdout
    found = json.loads(run.invoke(app, ["lint", str(path), "--json"]).stdout)
    assert found["accepted"] is False
    assert {item["rule"] for item in found["findings"]} >= {"validity", "extended-key-usage"}
    missing = run.invoke(app, ["lint", str(tmp_path / "nothing.pem")])
    assert isinstance(missing.exception, UsageError)


def test_lint_accepts_our_own(home: Home) -> None:
    run.invoke(app, ["init"])
    files = keys.KeyFiles(home.keys)
    said = run.invoke(app, ["lint", str(files.chain), "--key", str(files.key)])
    assert said.exit_code == 0
    assert "can sign" in said.stdout


def test_trust_add(home: Home, tmp_path: Path) -> None:
    root = make_authority("studio root")
    (tmp_path / "root.pem").write_text(root.pem)
    added = run.invoke(app, ["trust", "add", str(tmp_path / "root.pem"), "--json"])
    assert added.exit_code == 0
    (path,) = json.loads(added.stdout)["added"]
    assert Path(path).parent == home.keys / "trust"
    assert root.certificate in certificates(keys.trust_anchors(home.keys))
    refused = run.invoke(app, ["trust", "add", str(tmp_path / "nothing.pem")])
    assert isinstance(refused.exception, UsageError)


@pytest.mark.skipif(OPENSSL is None, reason="no openssl program to play the authority")
def test_stamp_takes_what_waits(home: Home, tmp_path: Path) -> None:
    signer = keys.load_signer(home.keys)
    path = tmp_path / "s.png"
    done = sign.sign_file(make_media(tmp_path / "a.png"), path, make_manifest(), signer)
    expires_at = certificates(signer.chain_pem)[0].not_valid_after_utc
    outbox.add(home.keys, path, done.manifest_id, expires_at)
    waiting = json.loads(run.invoke(app, ["show", "--json"]).stdout)["waiting_for_stamp"]
    assert waiting[0]["path"] == str(path)
    nowhere = run.invoke(app, ["stamp", "--tsa", "http://127.0.0.1:9/", "--json"])
    assert nowhere.exit_code == 1
    assert json.loads(nowhere.stdout)[0]["stamped"] is False
    assert len(outbox.waiting(home.keys)) == 1
    with time_stamp_authority(tmp_path / "tsa") as authority:
        (tmp_path / "root.pem").write_text(authority.root_pem)
        run.invoke(app, ["trust", "add", str(tmp_path / "root.pem")])
        said = run.invoke(app, ["stamp", "--tsa", authority.url, "--json"])
    assert said.exit_code == 0
    assert json.loads(said.stdout)[0]["authority"] == "test time stamp authority"
    assert outbox.waiting(home.keys) == ()
    assert read(path, anchors=keys.trust_anchors(home.keys)).timestamped
    assert run.invoke(app, ["stamp", "--tsa", authority.url]).stdout.startswith("Nothing waits")


@pytest.mark.parametrize("command", [[], ["trust"], ["init", "--help"], ["stamp", "--help"]])
def test_help_teaches(command: list[str]) -> None:
    said = run.invoke(app, command)
    assert "Usage" in said.output
    assert len(said.output) > 200
