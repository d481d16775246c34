"""Signing through a callback: what a key store (KMS, HSM) looks like from here."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from avsafe.errors import SigningFailed
from avsafe.provenance import sign
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialStatus
from avsafe.provenance.signer import CallbackSigner, LocalSigner, Signer, raw_shapes
from tests.provenance_kit import (
    make_authority,
    make_certificate,
    make_manifest,
    make_media,
    private_pem,
)

ROOT = make_authority()


class Hsm:
    """Holds a key that nobody can take out; hashes inside; answers in DER, as most do."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.calls = 0

    @property
    def chain_pem(self) -> str:
        leaf = make_certificate(self._key, ROOT)
        return leaf.public_bytes(Encoding.PEM).decode() + ROOT.pem

    def sign(self, data: bytes) -> bytes:
        self.calls += 1
        digest = hashlib.sha256(data).digest()
        return self._key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    def sign_raw(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.sign(data))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.mark.parametrize("shape", ["der", "raw"])
def test_both_shapes_of_signature_are_accepted(tmp_path: Path, shape: str) -> None:
    hsm = Hsm()
    function = hsm.sign if shape == "der" else hsm.sign_raw
    signer = CallbackSigner(function, hsm.chain_pem, anchors_pem=ROOT.pem)
    assert isinstance(signer, Signer)
    sign.sign_file(make_media(tmp_path / "a.png"), tmp_path / "s.png", make_manifest(), signer)
    assert read(tmp_path / "s.png", anchors=ROOT.pem).status is CredentialStatus.TRUSTED
    assert hsm.calls == 1


_SERVICE = """
import sys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))
"""


def test_a_key_in_another_process(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "vault.pem").write_bytes(private_pem(key))
    command = [sys.executable, "-c", _SERVICE, str(tmp_path / "vault.pem")]

    def ask(data: bytes) -> bytes:
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    leaf = make_certificate(key, ROOT)
    signer = CallbackSigner(
        ask, leaf.public_bytes(Encoding.PEM).decode() + ROOT.pem, anchors_pem=ROOT.pem
    )
    sign.sign_file(make_media(tmp_path / "a.wav"), tmp_path / "s.wav", make_manifest(), signer)
    assert read(tmp_path / "s.wav", anchors=ROOT.pem).status is CredentialStatus.TRUSTED


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ec.generate_private_key(ec.SECP521R1()), "es512"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
    ids=["es384", "es512", "ed25519", "ps256"],
)
def test_other_algorithms(tmp_path: Path, key: Any, algorithm: str) -> None:
    (tmp_path / "k").write_bytes(private_pem(key))
    leaf = make_certificate(key, ROOT)
    chain = leaf.public_bytes(Encoding.PEM).decode() + ROOT.pem
    signer = LocalSigner(tmp_path / "k", chain, ROOT.pem, algorithm)
    sign.sign_file(make_media(tmp_path / "a.png"), tmp_path / "s.png", make_manifest(), signer)
    assert read(tmp_path / "s.png", anchors=ROOT.pem).status is CredentialStatus.TRUSTED


def _raises(data: bytes) -> bytes:
    raise ConnectionError("the key store is down")


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_raises, "ConnectionError: the key store is down"),
        (lambda data: b"", "returned nothing"),
        (lambda data: None, "returned NoneType"),
        (lambda data: os.urandom(64), "does not match the first certificate"),
        (lambda data: os.urandom(50), "neither DER nor"),
        (lambda data: Hsm().sign(data), "does not match the first certificate"),
    ],
    ids=["raises", "empty", "none", "random", "garbage", "other-key"],
)
def test_a_failing_signer_leaves_nothing(
    tmp_path: Path, function: Callable[[bytes], Any], message: str, suffix: str
) -> None:
    source = make_media(tmp_path / f"a.{suffix}")
    out = tmp_path / "out"
    out.mkdir()
    signer = CallbackSigner(function, Hsm().chain_pem, anchors_pem=ROOT.pem)
    with pytest.raises(SigningFailed, match=message) as caught:
        sign.sign_file(source, out / f"s.{suffix}", make_manifest(), signer)
    assert list(out.iterdir()) == []
    if function is _raises:
        assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_failing_signer_keeps_what_was_there(tmp_path: Path) -> None:
    source, target = make_media(tmp_path / "a.png"), tmp_path / "s.png"
    target.write_bytes(b"the release of yesterday")
    signer = CallbackSigner(_raises, Hsm().chain_pem, anchors_pem=ROOT.pem)
    with pytest.raises(SigningFailed):
        sign.sign_file(source, target, make_manifest(), signer)
    assert target.read_bytes() == b"the release of yesterday"


def test_a_digest_of_a_digest_is_found_out(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = make_certificate(key, ROOT)

    def twice(data: bytes) -> bytes:
        return key.sign(hashlib.sha256(data).digest(), ec.ECDSA(hashes.SHA256()))

    signer = CallbackSigner(twice, leaf.public_bytes(Encoding.PEM).decode(), anchors_pem=ROOT.pem)
    with pytest.raises(SigningFailed, match="digest of a digest"):
        sign.sign_file(make_media(tmp_path / "a.png"), tmp_path / "s.png", make_manifest(), signer)


@given(
    st.integers(min_value=1, max_value=2**256 - 1), st.integers(min_value=1, max_value=2**256 - 1)
)
def test_raw_and_der_say_the_same(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert raw in raw_shapes(encode_dss_signature(r, s), "es256")
    assert raw in raw_shapes(raw, "es256")
