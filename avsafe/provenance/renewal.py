"""A new signing certificate in place of the old one, whose files stay valid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import UsageError
from avsafe.provenance import keys
from avsafe.provenance.keys import KeyFiles
from avsafe.provenance.signer import certificates

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True)
class Renewal:
    """Files that are about to be the keys; nothing has changed yet."""

    files: KeyFiles
    made: dict[str, bytes]
    old: str  # SHA-256 fingerprint of the signing certificate, hex; "" for none
    new: str

    def install(self) -> None:
        """All of them, or none when it is cut short."""
        with keys.locked_folder(self.files.folder):
            keys.settle(self.files)
            keys.install(self.files, self.made)


def renewed(folder: Path) -> Renewal:
    """A new key and certificate under the same root.

    Raises UsageError when the root is not ours: then its authority issues a new one (``brought``).
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    files = _files(folder)
    ca = certificates(files.ca.read_text())[0] if files.ca.exists() else None
    old = certificates(files.chain.read_text())[0]
    if ca is None or not files.ca_key.exists() or old.issuer != ca.subject:
        raise UsageError(
            f"The signing certificate was issued by {old.issuer.rfc4514_string()}, whose key is "
            "not here. Get a new one there, and give it with --certificate and --key; or make a "
            "new development root with --new-root."
        )
    ca_key = load_pem_private_key(files.ca_key.read_bytes(), password=None)
    left = ca.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(days=1) or not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise UsageError("The root expires, or its key cannot sign. Make another with --new-root.")
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = keys.issue(
        x509.Name(old.subject),
        key.public_key(),
        issuer=ca,
        issuer_key=ca_key,
        start=keys.start_now(),
        days=min(keys.LEAF_DAYS, left / timedelta(days=1)),
    )
    chain = leaf.public_bytes(Encoding.PEM) + ca.public_bytes(Encoding.PEM)
    made = {files.chain.name: chain, files.key.name: keys.pem_of(key)}
    return Renewal(files, made, _fingerprint(old), _fingerprint(leaf))


def new_root(folder: Path) -> Renewal:
    """A new development root of the same organization, with a certificate; the old root stays
    trusted here."""
    from cryptography.x509.oid import NameOID

    files = _files(folder)
    old = certificates(files.chain.read_text())[0]
    names = old.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    organization = str(names[0].value) if names else "avsafe development"
    made = dict(zip((p.name for p in files.all), keys.make(organization), strict=True))
    leaf = certificates(made[files.chain.name].decode())[0]
    return Renewal(files, made, _fingerprint(old), _fingerprint(leaf))


def brought(folder: Path, chain_pem: bytes, key_pem: bytes) -> Renewal:
    """A certificate that an authority issued. Raises UsageError when it cannot sign claims."""
    from avsafe.provenance.lint import Severity, lint_certificate

    files = _files(folder)
    broken = [
        one
        for one in lint_certificate(chain_pem, key_pem=key_pem)
        if one.severity is Severity.ERROR
    ]
    if broken:
        raise UsageError(f"{broken[0].rule}: {broken[0].message} {broken[0].fix}")
    old = certificates(files.chain.read_text())[0]
    leaf = certificates(chain_pem.decode())[0]
    made = {files.chain.name: chain_pem, files.key.name: key_pem}
    return Renewal(files, made, _fingerprint(old), _fingerprint(leaf))


def _files(folder: Path) -> KeyFiles:
    files = KeyFiles(folder)
    if folder.is_dir():
        with keys.locked_folder(folder):
            keys.settle(files)
    if not files.chain.exists():
        raise UsageError(f"There are no signing keys in {folder} yet: run `avsafe keys init`.")
    return files


def _fingerprint(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex()
