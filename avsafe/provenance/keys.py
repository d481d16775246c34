"""The keys to sign with: a development authority, a signing certificate, and trust anchors.

Files in a key folder (folder 0700, files 0600)::

    ca.pem       the root certificate of the development authority; others add it to trust us
    ca.key       its private key; only needed to renew
    chain.pem    the signing certificate, then the root
    signer.key   the private key of the signing certificate
    trust/*.pem  roots of other signers and of time stamp authorities that you trust

A development certificate proves that files come from this folder's owner, to people who were given
``ca.pem``. On nobody else's trust list: for that, get a certificate from a C2PA authority.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import SigningFailed, UsageError
from avsafe.home import write_private
from avsafe.provenance.signer import LocalSigner, Signer, certificates

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_log = logging.getLogger(__name__)
__all__ = ["KeyFiles", "Signer", "add_anchor", "init", "issue", "load_signer", "trust_anchors"]

_ORGANIZATION = "avsafe development"
CA_DAYS = 3650
LEAF_DAYS = 365
WARN_DAYS = 30  # begin to warn this long before the signing certificate expires
_NEXT = ".next"  # a folder of files that are the keys already, and have still to be moved
_BACKDATED = timedelta(minutes=5)  # so that a verifier whose clock is slow accepts the first files

CLAIM_SIGNING_OID = "1.3.6.1.4.1.62558.2.1"  # c2pa-kp-claimSigning, C2PA certificate policy


@dataclass(frozen=True)
class KeyFiles:
    """Where the parts of a key folder are."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def chain(self) -> Path:
        return self.folder / "chain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "signer.key"

    @property
    def trust(self) -> Path:
        return self.folder / "trust"

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.ca, self.ca_key, self.chain, self.key)


def init(folder: Path, *, organization: str = _ORGANIZATION, overwrite: bool = False) -> KeyFiles:
    """Make a development authority (10 years) and an ES256 signing certificate (1 year).

    All four files appear together. Raises UsageError when there are keys already and
    ``overwrite`` is not set. The root of replaced keys stays trusted here, and nowhere else.

    >>> import tempfile, pathlib
    >>> init(pathlib.Path(tempfile.mkdtemp())).chain.name
    'chain.pem'
    """
    if not organization.strip():
        raise UsageError("The organization of a certificate must have a name.")
    _private_folder(folder)
    with locked_folder(folder):
        settle(KeyFiles(folder))
        return _init(KeyFiles(folder), organization.strip(), overwrite)


def _init(files: KeyFiles, organization: str, overwrite: bool) -> KeyFiles:
    there = [path.name for path in files.all if path.exists()]
    if there and not overwrite:
        raise UsageError(
            f"{files.folder} already has keys ({', '.join(there)}). Use --overwrite to replace "
            "them: the old root moves to trust/, so that what it signed stays trusted here."
        )
    install(files, dict(zip((path.name for path in files.all), make(organization), strict=True)))
    return files


def install(files: KeyFiles, made: Mapping[str, bytes]) -> None:
    """Put new files in place of those of the same names, all or none, under the folder's lock.

    They are gathered in a folder, and renaming it decides: from then on they are the keys, and
    whoever opens the folder next moves what a crash left to be moved.
    """
    _private_folder(files.trust)
    staging = Path(tempfile.mkdtemp(prefix=".init-", dir=files.folder))
    try:
        for name, data in made.items():
            write_private(staging / name, data)
        if files.ca.name in made and files.ca.exists():  # what the old root signed stays trusted
            write_private(files.trust / f"{_fingerprint(files.ca)}.pem", files.ca.read_bytes())
        staging.rename(files.folder / _NEXT)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    settle(files)


def settle(files: KeyFiles) -> None:
    """Finish what ``install`` had decided, under the folder's lock."""
    ready = files.folder / _NEXT
    if not ready.is_dir():
        return
    for path in (files.ca, files.ca_key, files.key, files.chain):
        if (ready / path.name).exists():
            os.replace(ready / path.name, path)
    ready.rmdir()


def load_signer(folder: Path) -> LocalSigner:
    """The signer of a key folder; makes development keys, with a warning, when there are none.

    Warnings (also logged) are on the signer: a certificate about to expire, a key file that others
    can read. Raises SigningFailed for an expired certificate or a key that belongs to another one.
    """
    files = KeyFiles(folder)
    warnings: list[str] = []
    _private_folder(folder)
    with locked_folder(folder):  # of two processes that come first, one makes the keys
        settle(files)
        made = not any(path.exists() for path in files.all)
        if made:
            _init(files, _ORGANIZATION, overwrite=False)
        chain_pem = files.chain.read_text() if files.chain.exists() else ""
        key_pem = files.key.read_bytes() if files.key.exists() else b""
    if made:
        warnings.append(
            f"No signing keys in {folder}: made development keys. Their credentials are trusted "
            "only by people who were given ca.pem. See `avsafe keys show`."
        )
    for path in (files.chain, files.key):
        if not path.exists():
            raise SigningFailed(
                f"{path} is missing. Restore it, or run `avsafe keys init --overwrite`."
            )
    leaf = certificates(chain_pem)[0]
    algorithm = algorithm_of(leaf)
    warnings += _validity_warnings(leaf)
    if files.key.stat().st_mode & 0o077:
        warnings.append(f"{files.key} can be read by others on this machine: chmod 600 it.")
    if not same_key(key_pem, leaf, files.key):
        raise SigningFailed(
            f"{files.key.name} is not the key of the first certificate in {files.chain.name}. "
            "Put the matching pair there, or run `avsafe keys init --overwrite`."
        )
    for warning in warnings:
        _log.info("%s", warning)  # whoever signs shows them: Signed.warnings
    return LocalSigner(
        files.key, chain_pem, trust_anchors(folder), algorithm, tuple(warnings), key_pem
    )


def own_anchors(folder: Path) -> str:
    """The root of this folder's own signing keys, as PEM; empty when there is none."""
    files = KeyFiles(folder)
    return files.ca.read_text() if files.ca.exists() else ""


def trust_anchors(folder: Path) -> str:
    """Every root that this folder trusts, as one PEM text: its own, then trust/*.pem. Empty when
    there is none."""
    files = KeyFiles(folder)
    texts = [own_anchors(folder)]
    if files.trust.is_dir():
        texts += [path.read_text() for path in sorted(files.trust.glob("*.pem"))]
    return "".join(f"{text.strip()}\n" for text in texts if text.strip())


def add_anchor(folder: Path, pem: bytes) -> tuple[Path, ...]:
    """Trust the roots in a PEM file: those of other signers, or of a time stamp authority.

    Returns the files written to trust/, one a certificate, named by SHA-256 fingerprint. Raises
    UsageError for what is no certificate, or a certificate that is no authority.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UsageError(
            "The file holds no PEM certificate (-----BEGIN CERTIFICATE-----). "
            "Convert DER with: openssl x509 -inform der -in FILE."
        ) from error
    for certificate in found:
        if not _is_authority(certificate):
            raise UsageError(
                f"{certificate.subject.rfc4514_string()} is not a certificate authority. "
                "Add the root that issued it, not the signing certificate."
            )
    trust = KeyFiles(folder).trust
    _private_folder(folder)
    _private_folder(trust)
    written = []
    for certificate in found:
        data = certificate.public_bytes(Encoding.PEM)
        path = trust / f"{_name_of(data)}.pem"
        write_private(path, data)
        written.append(path)
    return tuple(written)


def algorithm_of(certificate: x509.Certificate) -> str:
    """The COSE algorithm that a certificate's key signs with, e.g. ``es256``."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = certificate.public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise SigningFailed(
        f"The certificate's key ({type(key).__name__}) cannot sign a C2PA claim. "
        "Expected ECDSA on P-256, P-384 or P-521, Ed25519, or RSA."
    )


def start_now() -> datetime:
    """From when a certificate that is made now is valid."""
    return datetime.now(UTC).replace(microsecond=0) - _BACKDATED


def make(organization: str) -> tuple[bytes, bytes, bytes, bytes]:
    """ca.pem, ca.key, chain.pem, signer.key of a new development authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    start = start_now()
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = issue(
        x509.Name(_names(organization, "root")),
        ca_key.public_key(),
        issuer=None,
        issuer_key=ca_key,
        start=start,
        days=CA_DAYS,
    )
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issue(
        x509.Name(_names(organization, "signer")),
        key.public_key(),
        issuer=ca,
        issuer_key=ca_key,
        start=start,
        days=LEAF_DAYS,
    )
    ca_pem = ca.public_bytes(Encoding.PEM)
    return ca_pem, pem_of(ca_key), leaf.public_bytes(Encoding.PEM) + ca_pem, pem_of(key)


def issue(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    start: datetime,
    days: float,
) -> x509.Certificate:
    """One certificate: a root when ``issuer`` is None, else a claim signer's certificate with the
    profile of C2PA 2.x section 14.5 ("X.509 certificates").

    emailProtection next to c2pa-kp-claimSigning: with the latter alone, verifiers that have not
    listed it call the file invalid (measured with c2pa-rs 0.91).
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

    is_root = issuer is None
    identifier = x509.SubjectKeyIdentifier.from_public_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), True)
        .add_extension(_usage(is_root), True)
        .add_extension(identifier(public_key), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not is_root:
        usages = [ExtendedKeyUsageOID.EMAIL_PROTECTION, ObjectIdentifier(CLAIM_SIGNING_OID)]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(is_root: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )


def _names(organization: str, what: str) -> list[x509.NameAttribute[str]]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization[:64]),  # RFC 5280: 64 at most
        x509.NameAttribute(NameOID.COMMON_NAME, f"{organization[:40]} {what}"),
    ]


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as it is kept: PKCS #8, not encrypted."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """One process at a time changes the keys of a folder."""
    with open(
        folder / ".lock", "w", opener=lambda name, flags: os.open(name, flags, 0o600)
    ) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


def _validity_warnings(leaf: x509.Certificate) -> list[str]:
    now = datetime.now(UTC)
    if now < leaf.not_valid_before_utc:
        raise SigningFailed(
            f"The signing certificate is valid only from {leaf.not_valid_before_utc:%Y-%m-%d}. "
            "Check this machine's clock."
        )
    left = leaf.not_valid_after_utc - now
    if left <= timedelta(0):
        raise SigningFailed(
            f"The signing certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}. "
            "Renew it, or run `avsafe keys init --overwrite` for new development keys."
        )
    if left < timedelta(days=WARN_DAYS):
        return [
            f"The signing certificate expires on {leaf.not_valid_after_utc:%Y-%m-%d}, in "
            f"{left.days} days. Files signed without a time stamp will then read as expired: run "
            "`avsafe keys stamp --tsa URL`, and renew the certificate."
        ]
    return []


def same_key(key_pem: bytes, leaf: x509.Certificate, path: Path) -> bool:
    """Whether a private key is that of a certificate. Raises SigningFailed when it is none."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise SigningFailed(f"{path} is not an unencrypted PEM private key: {error}.") from error
    return key.public_key() == leaf.public_key()


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _fingerprint(path: Path) -> str:
    return _name_of(path.read_bytes())


def _name_of(pem: bytes) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()[:32]
