"""Key folders: what init makes, what load_signer warns of, whom trust_anchors names."""

from __future__ import annotations

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from avsafe.errors import SigningFailed, UsageError
from avsafe.provenance import keys
from avsafe.provenance.lint import lint_certificate
from avsafe.provenance.signer import certificates
from tests.provenance_kit import (
    CLAIM_SIGNING,
    make_authority,
    make_certificate,
    private_pem,
)


def test_init_makes_a_certificate_without_findings(tmp_path: Path) -> None:
    files = keys.init(tmp_path / "keys", organization="Example Studio")
    assert lint_certificate(files.chain.read_bytes(), key_pem=files.key.read_bytes()) == ()


def test_init_follows_the_certificate_profile(tmp_path: Path) -> None:
    files = keys.init(tmp_path / "keys")
    leaf, root = certificates(files.chain.read_text())
    get = leaf.extensions.get_extension_for_class
    usage = get(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not get(x509.BasicConstraints).value.ca
    assert set(get(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        CLAIM_SIGNING,
    }
    assert get(x509.SubjectKeyIdentifier).value.digest
    root_id = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert get(x509.AuthorityKeyIdentifier).value.key_identifier == root_id
    days = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days
    assert days == 365
    assert (root.not_valid_after_utc - root.not_valid_before_utc).days == 3650
    leaf.verify_directly_issued_by(root)


def test_only_the_owner_can_read(tmp_path: Path) -> None:
    files = keys.init(tmp_path / "keys")
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.all} == {0o600}


def test_init_overwrites_only_when_told_and_keeps_trusting_the_old_root(tmp_path: Path) -> None:
    files = keys.init(tmp_path)
    old = {path: path.read_bytes() for path in files.all}
    with pytest.raises(UsageError, match="already has keys"):
        keys.init(tmp_path)
    assert {path: path.read_bytes() for path in files.all} == old
    keys.init(tmp_path, overwrite=True)
    assert files.ca.read_bytes() != old[files.ca]
    anchors = certificates(keys.trust_anchors(tmp_path))
    assert x509.load_pem_x509_certificate(old[files.ca]) in anchors
    assert x509.load_pem_x509_certificate(files.ca.read_bytes()) in anchors


def test_a_failing_init_leaves_the_old_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = keys.init(tmp_path)
    old = {path: path.read_bytes() for path in files.all}

    def fail(organization: str) -> None:
        raise RuntimeError("no entropy")

    monkeypatch.setattr(keys, "make", fail)
    with pytest.raises(RuntimeError):
        keys.init(tmp_path, overwrite=True)
    assert {path: path.read_bytes() for path in files.all} == old
    assert not list(tmp_path.glob(".init-*"))


def test_load_signer_makes_development_keys_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signer = keys.load_signer(tmp_path / "keys")
    assert "made development keys" in signer.warnings[0]
    assert not [r for r in caplog.records if r.levelname == "WARNING"]  # said once, by who signs
    assert keys.load_signer(tmp_path / "keys").warnings == ()
    assert signer.algorithm == "es256"


def test_processes_that_come_first_together_end_with_one_pair(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from avsafe.provenance import keys\n"
        "signer = keys.load_signer(pathlib.Path(sys.argv[1]))\n"
        "print(hash(signer.chain_pem.encode()) and signer.chain_pem)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "keys")]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert len(set(outputs)) == 1


@pytest.mark.parametrize(
    ("end", "expected"), [(timedelta(days=10), True), (timedelta(days=100), False)]
)
def test_load_signer_warns_before_expiry(tmp_path: Path, end: timedelta, expected: bool) -> None:
    _install(tmp_path, end=end)
    warnings = keys.load_signer(tmp_path).warnings
    assert any("expires on" in text and "keys stamp" in text for text in warnings) is expected


def test_load_signer_refuses_an_expired_certificate(tmp_path: Path) -> None:
    _install(tmp_path, begin=timedelta(days=-9), end=timedelta(days=-1))
    with pytest.raises(SigningFailed, match="expired on"):
        keys.load_signer(tmp_path)


def test_load_signer_refuses_a_certificate_of_tomorrow(tmp_path: Path) -> None:
    _install(tmp_path, begin=timedelta(days=1))
    with pytest.raises(SigningFailed, match="valid only from"):
        keys.load_signer(tmp_path)


def test_load_signer_refuses_a_key_of_another_certificate(tmp_path: Path) -> None:
    files = keys.init(tmp_path)
    files.key.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SigningFailed, match="not the key of the first certificate"):
        keys.load_signer(tmp_path)


@pytest.mark.parametrize("missing", ["chain.pem", "signer.key"])
def test_load_signer_does_not_replace_half_a_set(tmp_path: Path, missing: str) -> None:
    keys.init(tmp_path)
    (tmp_path / missing).unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(SigningFailed, match=r"is missing\. Restore it"):
        keys.load_signer(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_key_file_that_others_can_read_is_named(tmp_path: Path) -> None:
    files = keys.init(tmp_path)
    files.key.chmod(0o644)
    assert any("can be read by others" in text for text in keys.load_signer(tmp_path).warnings)


def test_trust_add_takes_roots_and_refuses_signers(tmp_path: Path) -> None:
    authority = make_authority("another root")
    added = keys.add_anchor(tmp_path, authority.pem.encode())
    assert [stat.S_IMODE(path.stat().st_mode) for path in added] == [0o600]
    assert authority.certificate in certificates(keys.trust_anchors(tmp_path))
    leaf = make_certificate(ec.generate_private_key(ec.SECP256R1()), authority)
    with pytest.raises(UsageError, match="not a certificate authority"):
        keys.add_anchor(tmp_path, leaf.public_bytes(Encoding.PEM))
    with pytest.raises(UsageError, match="no PEM certificate"):
        keys.add_anchor(tmp_path, b"\x30\x82 this is DER")


def test_no_keys_trust_nobody(tmp_path: Path) -> None:
    assert keys.trust_anchors(tmp_path) == ""


def _install(folder: Path, **certificate: timedelta) -> None:
    """Keys of one's own, as a user would put them there."""
    authority = make_authority()
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = make_certificate(key, authority, **certificate)
    files = keys.KeyFiles(folder)
    files.chain.write_text(leaf.public_bytes(Encoding.PEM).decode() + authority.pem)
    files.key.write_bytes(private_pem(key))
    files.key.chmod(0o600)
    assert leaf.not_valid_after_utc > datetime(2020, 1, 1, tzinfo=UTC)
