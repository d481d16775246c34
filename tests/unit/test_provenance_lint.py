"""Every rule of the certificate linter: one broken certificate each, named, with what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from avsafe.errors import SigningFailed
from avsafe.provenance.lint import Severity, lint_certificate, require_claim_signer
from tests.provenance_kit import (
    CLAIM_SIGNING,
    make_authority,
    make_certificate,
    private_pem,
)

EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
ROOT = make_authority()
KEY = ec.generate_private_key(ec.SECP256R1())


def chain_of(key: Any = KEY, **changes: Any) -> bytes:
    leaf = make_certificate(key, ROOT, **changes)
    return leaf.public_bytes(Encoding.PEM) + ROOT.pem.encode()


def rules(pem: bytes, severity: Severity = Severity.ERROR, **options: Any) -> set[str]:
    return {item.rule for item in lint_certificate(pem, **options) if item.severity is severity}


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p256", "p384", "p521", "ed25519", "rsa2048"],
)
def test_good_certificates_have_no_findings(key: Any) -> None:
    assert lint_certificate(chain_of(key), key_pem=private_pem(key)) == ()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"end": timedelta(minutes=-1)}, "validity"),
        ({"begin": timedelta(days=1)}, "validity"),
        ({"usages": None}, "extended-key-usage"),
        ({"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "extended-key-usage"),
        ({"usages": (STAMPING,)}, "extended-key-usage"),
        ({"usages": (STAMPING, EMAIL)}, "extended-key-usage"),
        ({"usages": (ExtendedKeyUsageOID.OCSP_SIGNING, EMAIL)}, "extended-key-usage"),
        ({"usages": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, "extended-key-usage"),
        ({"usages": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, EMAIL)}, "extended-key-usage"),
        ({"key_usage": False}, "key-usage"),
        ({"digital_signature": False}, "key-usage"),
        ({"is_authority": True}, "basic-constraints"),
        ({"authority_identifier": False}, "authority-key-identifier"),
    ],
    ids=str,
)
def test_each_broken_rule_is_named(changes: dict[str, Any], rule: str) -> None:
    findings = [
        item for item in lint_certificate(chain_of(**changes)) if item.severity is Severity.ERROR
    ]
    assert rule in {item.rule for item in findings}
    assert all(item.message.endswith(".") and item.fix.endswith(".") for item in findings)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"usages": (CLAIM_SIGNING,)}, "extended-key-usage"),
        ({"end": timedelta(days=5)}, "validity"),
        ({"key_usage_critical": False}, "key-usage"),
        ({"subject_identifier": False}, "subject-key-identifier"),
    ],
    ids=str,
)
def test_what_merely_surprises_is_a_warning(changes: dict[str, Any], rule: str) -> None:
    assert rules(chain_of(**changes)) == set()
    assert rule in rules(chain_of(**changes), Severity.WARNING)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        (rsa.generate_private_key(65537, 1024), "key-size"),  # noqa: S505
        (ec.generate_private_key(ec.SECP256K1()), "curve"),
        (dsa.generate_private_key(2048), "key-algorithm"),
    ],
    ids=["rsa1024", "secp256k1", "dsa"],
)
def test_keys_that_cannot_sign(key: Any, rule: str) -> None:
    assert rule in rules(chain_of(key))


def test_self_signed() -> None:
    leaf = make_certificate(KEY, None, is_authority=False)
    assert "self-signed" in rules(leaf.public_bytes(Encoding.PEM))


def test_chain_order_and_completeness() -> None:
    leaf = make_certificate(KEY, ROOT).public_bytes(Encoding.PEM)
    stranger = make_authority("stranger")
    assert "basic-constraints" in rules(ROOT.pem.encode() + leaf)
    assert "chain" in rules(leaf + stranger.pem.encode())
    assert "chain-order" in rules(leaf + stranger.pem.encode() + ROOT.pem.encode())
    assert rules(leaf) == set()
    assert "chain" in rules(leaf, Severity.WARNING)  # the intermediate may be missing


def test_the_key_must_belong_to_the_certificate() -> None:
    other = private_pem(ec.generate_private_key(ec.SECP256R1()))
    assert rules(chain_of(), key_pem=other) == {"key"}
    assert rules(chain_of(), key_pem=b"no key") == {"key"}


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no certificate",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"\xff\xfe\x00",
        ROOT.pem.encode()[:200],
    ],
)
def test_unreadable_files_are_a_finding(pem: bytes) -> None:
    assert rules(pem) == {"readable"}


def test_flipped_bits_never_raise() -> None:
    der = make_certificate(KEY, ROOT).public_bytes(Encoding.DER)
    import base64

    for position in range(0, len(der), 7):
        broken = bytearray(der)
        broken[position] ^= 0x41
        body = base64.encodebytes(bytes(broken)).decode()
        pem = f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n".encode()
        lint_certificate(pem)


def test_the_gate_for_signing_refuses_what_the_library_accepts() -> None:
    with pytest.raises(SigningFailed, match="timeStamping"):
        require_claim_signer(chain_of(usages=(STAMPING,)).decode())
    require_claim_signer(chain_of().decode())
    assert ObjectIdentifier("1.3.6.1.5.5.7.3.8") == STAMPING
