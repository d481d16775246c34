"""Which rule does this certificate break? Each finding names the rule and says what to do.

Rules: C2PA 2.x section 14.5 ("X.509 certificates"), RFC 5280, and what c2pa-rs 0.91 was measured to
accept wrongly (a time stamp certificate as claim signer).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, cast

from avsafe.errors import SigningFailed

if TYPE_CHECKING:
    from cryptography import x509

T = TypeVar("T")

EMAIL = "1.3.6.1.5.5.7.3.4"
DOCUMENT = "1.3.6.1.5.5.7.3.36"
CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
ANY_USAGE = "2.5.29.37.0"
_CLAIM_USAGES = {EMAIL, DOCUMENT, CLAIM_SIGNING}
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_RSA_BITS = 2048  # C2PA 2.x section 13.2: shorter keys shall not be used
_SOON = timedelta(days=30)
# C2PA 2.x section 14.5.1: sha{256,384,512} with RSA, with ECDSA, RSASSA-PSS, Ed25519.
_SIGNATURES = {
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.2.840.113549.1.1.10",
    "1.3.101.112",
}


class Severity(StrEnum):
    ERROR = "error"  # signing fails, or readers reject the file
    WARNING = "warning"  # works here, and will surprise somebody


@dataclass(frozen=True)
class Finding:
    """One broken rule."""

    rule: str  # short name: validity, key-usage, extended-key-usage, ...
    severity: Severity
    message: str  # what was found and what was expected
    fix: str  # what to do

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule}: {self.message} {self.fix}"


def lint_certificate(
    pem: bytes, *, key_pem: bytes | None = None, now: datetime | None = None
) -> tuple[Finding, ...]:
    """Every rule that a signing certificate, or a chain that starts with one, breaks.

    ``key_pem`` (optional) is checked to be the key of the first certificate. Empty means: a claim
    signed with it is accepted. Raises nothing for what is in the file.

    >>> lint_certificate(b"no certificate")[0].rule
    'readable'
    """
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(pem)
    except (ValueError, TypeError) as error:
        return (
            _error(
                "readable",
                f"No PEM certificate can be read ({_first(error)}).",
                "Expected -----BEGIN CERTIFICATE----- blocks, the signing certificate first; "
                "convert DER with: openssl x509 -inform der -in FILE.",
            ),
        )
    leaf = chain[0]
    findings: list[Finding] = []
    for rule in (
        _version,
        _algorithms,
        _authority,
        _self_signed,
        _key_usage,
        _usages,
        _identifiers,
    ):
        try:
            findings += rule(leaf)
        except (ValueError, x509.DuplicateExtension) as error:
            findings.append(
                _error(
                    "readable",
                    f"An extension of the certificate is malformed ({_first(error)}).",
                    "Have it issued again.",
                )
            )
            break
    findings += _validity(leaf, now or datetime.now(UTC))
    findings += _chain(chain, now or datetime.now(UTC))
    if key_pem is not None:
        findings += _key(leaf, key_pem)
    return tuple(findings)


def require_claim_signer(chain_pem: str) -> None:
    """Refuse a certificate that must not sign claims, with every broken rule in the message.

    Raises SigningFailed. The library itself would accept some of these (a time stamp certificate).
    """
    errors = [
        item for item in lint_certificate(chain_pem.encode()) if item.severity is Severity.ERROR
    ]
    if errors:
        raise SigningFailed(
            "The signing certificate breaks the rules for C2PA signers. "
            + " ".join(f"[{item.rule}] {item.message} {item.fix}" for item in errors)
        )


# ---------------------------------------------------------------- rules


def _version(leaf: x509.Certificate) -> Iterator[Finding]:
    if leaf.version.name != "v3":
        yield _error(
            "version",
            f"It is an X.509 {leaf.version.name} certificate; expected v3.",
            "Have it issued with extensions (a v1 certificate comes from `openssl x509 -req` "
            "without -extfile).",
        )


def _validity(leaf: x509.Certificate, now: datetime) -> Iterator[Finding]:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now < begin:
        yield _error(
            "validity",
            f"It is valid only from {begin:%Y-%m-%d %H:%M} UTC.",
            "Wait, or check this machine's clock.",
        )
    elif now > end:
        yield _error(
            "validity",
            f"It expired on {end:%Y-%m-%d}.",
            "Renew it. What was signed with a trusted time stamp stays valid, the rest does not.",
        )
    elif end - now < _SOON:
        yield _warning(
            "validity",
            f"It expires on {end:%Y-%m-%d}.",
            "Time-stamp what was signed without one (`avsafe keys stamp`), and renew it.",
        )


def _algorithms(leaf: x509.Certificate) -> Iterator[Finding]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    oid = leaf.signature_algorithm_oid.dotted_string
    if oid not in _SIGNATURES:
        yield _error(
            "signature-algorithm",
            f"It was issued with {leaf.signature_algorithm_oid._name or oid}.",
            "Have it issued with SHA-256 or longer and RSA, RSA-PSS, ECDSA or Ed25519.",
        )
    try:
        key = leaf.public_key()
    except Exception as error:  # cryptography raises several kinds for keys it does not know
        yield _error("key-algorithm", f"Its key is of an unknown kind ({_first(error)}).", _KEYS)
        return
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            yield _error("curve", f"Its key is on the curve {key.curve.name}.", _KEYS)
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _RSA_BITS:
            yield _error("key-size", f"Its RSA key has {key.key_size} bits.", _KEYS)
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        yield _error("key-algorithm", f"Its key is {type(key).__name__}.", _KEYS)


_KEYS = "Use ECDSA on P-256 (ES256), P-384 or P-521, Ed25519, or RSA of 2048 bits and more."


def _authority(leaf: x509.Certificate) -> Iterator[Finding]:
    from cryptography import x509

    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield _error(
            "basic-constraints",
            "It is a certificate authority (CA: true).",
            "Put the signing certificate first in the file; the authority comes after it.",
        )


def _self_signed(leaf: x509.Certificate) -> Iterator[Finding]:
    if leaf.issuer == leaf.subject:
        yield _error(
            "self-signed",
            "Its issuer and its subject are the same.",
            "Issue it from an authority, e.g. with `avsafe keys init`.",
        )


def _key_usage(leaf: x509.Certificate) -> Iterator[Finding]:
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        yield _error(
            "key-usage", "It has no keyUsage.", "Have it issued with digitalSignature, critical."
        )
        return
    if not found.value.digital_signature:
        yield _error(
            "key-usage", "keyUsage lacks digitalSignature.", "Have it issued with digitalSignature."
        )
    if found.value.key_cert_sign:
        yield _error(
            "key-usage",
            "keyUsage has keyCertSign, which only an authority may have.",
            "Have it issued with digitalSignature alone.",
        )
    if not found.critical:
        yield _warning(
            "key-usage", "keyUsage is not marked critical.", "Have it issued with it critical."
        )


def _usages(leaf: x509.Certificate) -> Iterator[Finding]:
    """Extended key usage: what the certificate may be used for."""
    from cryptography import x509

    extension = _extension(leaf, x509.ExtendedKeyUsage)
    if extension is None:
        yield _error("extended-key-usage", "It has no extendedKeyUsage.", _USE_EMAIL)
        return
    found = {oid.dotted_string for oid in extension}
    if ANY_USAGE in found:
        yield _error(
            "extended-key-usage", "It has anyExtendedKeyUsage, which C2PA forbids.", _USE_EMAIL
        )
    exclusive = found & {TIME_STAMPING, OCSP_SIGNING}
    if exclusive:
        name = "timeStamping" if TIME_STAMPING in exclusive else "OCSPSigning"
        mixed = "together with other usages" if found - exclusive or len(exclusive) > 1 else "only"
        yield _error(
            "extended-key-usage",
            f"It has {name} {mixed}: such a certificate may not sign claims, although the C2PA "
            "library accepts it.",
            _USE_EMAIL,
        )
    elif not found & _CLAIM_USAGES and ANY_USAGE not in found:
        yield _error(
            "extended-key-usage",
            f"It has none of emailProtection, documentSigning, c2pa-kp-claimSigning "
            f"(found: {', '.join(sorted(found))}).",
            _USE_EMAIL,
        )
    elif found & _CLAIM_USAGES == {CLAIM_SIGNING}:
        yield _warning(
            "extended-key-usage",
            "Its only usage for claims is c2pa-kp-claimSigning: readers that have not listed "
            f"{CLAIM_SIGNING} in their trust configuration call its files invalid.",
            "Ask for emailProtection besides, or tell your readers; `avsafe verify` lists it.",
        )


_USE_EMAIL = "Have it issued with emailProtection (1.3.6.1.5.5.7.3.4), and c2pa-kp-claimSigning."


def _identifiers(leaf: x509.Certificate) -> Iterator[Finding]:
    from cryptography import x509

    if _extension(leaf, x509.AuthorityKeyIdentifier) is None:
        yield _error(
            "authority-key-identifier",
            "It has no authorityKeyIdentifier.",
            "Have it issued with one (openssl: authorityKeyIdentifier=keyid).",
        )
    if _extension(leaf, x509.SubjectKeyIdentifier) is None:
        yield _warning(
            "subject-key-identifier",
            "It has no subjectKeyIdentifier.",
            "Have it issued with one (openssl: subjectKeyIdentifier=hash).",
        )


def _chain(chain: list[x509.Certificate], now: datetime) -> Iterator[Finding]:
    from cryptography import x509

    for lower, upper in pairwise(chain):
        if lower.issuer == upper.subject and _issued(lower, upper):
            constraints = _extension(upper, x509.BasicConstraints)
            if constraints is None or not constraints.ca:
                yield _error(
                    "chain",
                    f"{_name(upper)} issued another certificate and is no authority.",
                    "Have the intermediate issued with CA: true.",
                )
            if now > upper.not_valid_after_utc:
                yield _error("chain", f"{_name(upper)} has expired.", "Renew the authority.")
            continue
        if any(lower.issuer == other.subject for other in chain):
            yield _error(
                "chain-order",
                f"{_name(lower)} is not followed by its issuer, which stands elsewhere.",
                "Order the file from the signing certificate up to the root.",
            )
        else:
            yield _error(
                "chain",
                f"{_name(upper)} did not issue {_name(lower)}.",
                "Remove it, or replace it with the real issuer.",
            )
    top = chain[-1]
    if top.issuer != top.subject and len(chain) == 1:
        yield _warning(
            "chain",
            f"The chain ends at {_name(top)}, issued by {top.issuer.rfc4514_string()}.",
            "Append every intermediate; the root may be left out when readers have it.",
        )


def _key(leaf: x509.Certificate, key_pem: bytes) -> Iterator[Finding]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        yield _error(
            "key",
            f"The private key cannot be read ({_first(error)}).",
            "Give it as PEM (PKCS#8) without a password.",
        )
        return
    if key.public_key() != leaf.public_key():
        yield _error(
            "key",
            "The private key does not belong to the first certificate.",
            "Find the key that the certificate request was made with.",
        )


# ---------------------------------------------------------------- helpers


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    from cryptography import x509

    try:
        found: Any = certificate.extensions.get_extension_for_class(cast(Any, kind))
    except x509.ExtensionNotFound:
        return None
    value: T = found.value
    return value


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        lower.verify_directly_issued_by(upper)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a name"


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _error(rule: str, message: str, fix: str) -> Finding:
    return Finding(rule, Severity.ERROR, message, fix)


def _warning(rule: str, message: str, fix: str) -> Finding:
    return Finding(rule, Severity.WARNING, message, fix)
