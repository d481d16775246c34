"""Who signs: a private key on this disk, or a callback that asks a key store (KMS, HSM).

Signatures leave a Signer in either shape that key stores return, DER or raw ``r || s``; ``checked``
turns them into the raw shape that COSE wants (RFC 9053, section 2.1) and proves each one against
the certificate before it goes into a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from avsafe.errors import SigningFailed

if TYPE_CHECKING:
    from cryptography import x509

# Algorithm -> bytes of one coordinate, for ECDSA (RFC 9053, table 1). None: the signature has one
# shape only.
ALGORITHMS: dict[str, int | None] = {
    "es256": 32,
    "es384": 48,
    "es512": 66,
    "ps256": None,
    "ps384": None,
    "ps512": None,
    "ed25519": None,
}


@runtime_checkable
class Signer(Protocol):
    """Signs claims. ``algorithm`` is a COSE name in small letters; ``chain_pem`` starts with the
    signing certificate and goes up, with or without the root."""

    @property
    def algorithm(self) -> str: ...

    @property
    def chain_pem(self) -> str: ...

    @property
    def anchors_pem(self) -> str:
        """Root certificates under which what this signer signs must read back as trusted."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data`` (the bytes, not a digest); DER or raw ``r || s``."""
        ...


@dataclass(frozen=True)
class LocalSigner:
    """A private key in a PEM file on this disk; read at each signature, never kept."""

    key_path: Path
    chain_pem: str
    anchors_pem: str
    algorithm: str = "es256"
    warnings: tuple[str, ...] = ()
    key_pem: bytes = field(default=b"", repr=False)  # as it was read; b"": from the file each time

    def sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.key_pem or self.key_path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SigningFailed(
                f"The signing key {self.key_path.name} cannot be read: {error}. "
                "Run `avsafe keys show` to see which files belong together."
            ) from error
        return _sign(key, data, self.algorithm)


@dataclass(frozen=True)
class CallbackSigner:
    """A function that signs: the shape of a key store whose key never leaves it.

    ``function`` gets the bytes to sign (about 1.5 KB; most key stores hash them themselves, some
    want ``hashlib.sha256(data).digest()``) and returns DER or raw ``r || s``. It runs on the
    calling thread, once for each signature.

    >>> signer = CallbackSigner(kms.sign, chain_pem, anchors_pem=root_pem)  # doctest: +SKIP
    """

    function: Callable[[bytes], bytes]
    chain_pem: str
    algorithm: str = "es256"
    anchors_pem: str = ""
    warnings: tuple[str, ...] = field(default=())

    def sign(self, data: bytes) -> bytes:
        return self.function(data)


def checked(signer: Signer, data: bytes) -> bytes:
    """One signature, in the raw shape, proven against the signer's certificate.

    Raises SigningFailed, with what the callback raised as its cause.
    """
    try:
        signature = signer.sign(data)
    except SigningFailed:
        raise
    except Exception as error:
        raise SigningFailed(
            f"The signer raised {type(error).__name__}: {error}. Nothing was written."
        ) from error
    if not isinstance(signature, bytes) or not signature:
        kind = type(signature).__name__ if not isinstance(signature, bytes) else "nothing"
        raise SigningFailed(f"The signer returned {kind}; expected the signature as bytes.")
    key = certificates(signer.chain_pem)[0].public_key()
    for raw in raw_shapes(signature, signer.algorithm):
        if _verifies(key, raw, data, signer.algorithm):
            return raw
    raise SigningFailed(
        "The signature does not match the first certificate of the chain: the key belongs to "
        "another certificate, the algorithm differs, or the callback signed a digest of a "
        "digest. Run `avsafe keys lint CERT --key KEY`."
    )


def raw_shapes(signature: bytes, algorithm: str) -> tuple[bytes, ...]:
    """What the bytes can be in raw shape: as they are, decoded from DER, or (rarely) both.

    Raises SigningFailed when they are neither.
    """
    size = ALGORITHMS.get(algorithm)
    if size is None:
        return (signature,)
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    shapes = [signature] if len(signature) == 2 * size else []
    try:
        r, s = decode_dss_signature(signature)
        shapes.append(r.to_bytes(size, "big") + s.to_bytes(size, "big"))
    except (ValueError, OverflowError) as error:
        if not shapes:
            raise SigningFailed(
                f"The signer returned {len(signature)} bytes, which are neither DER nor the "
                f"{2 * size} bytes of a raw {algorithm} signature."
            ) from error
    return tuple(shapes)


def certificates(chain_pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, in their order. Raises SigningFailed when there is none."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(chain_pem.encode())
    except ValueError as error:
        raise SigningFailed(
            "The certificate chain is not readable PEM. Expected -----BEGIN CERTIFICATE----- "
            "blocks, the signing certificate first."
        ) from error


def _hash(algorithm: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    digests: dict[str, Any] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
    return digests[algorithm[-3:]]()


def _sign(key: Any, data: bytes, algorithm: str) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    if algorithm == "ed25519":
        signature: bytes = key.sign(data)
    elif algorithm.startswith("ps"):
        digest = _hash(algorithm)
        signature = key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    else:
        signature = key.sign(data, ec.ECDSA(_hash(algorithm)))
    return signature


def _verifies(key: Any, raw: bytes, data: bytes, algorithm: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        if algorithm == "ed25519":
            key.verify(raw, data)
        elif algorithm.startswith("ps"):
            digest = _hash(algorithm)
            key.verify(raw, data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        else:
            half = len(raw) // 2
            der = encode_dss_signature(
                int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            )
            key.verify(der, data, ec.ECDSA(_hash(algorithm)))
    except (InvalidSignature, TypeError, AttributeError):
        return False  # TypeError, AttributeError: a key of another kind than the algorithm
    return True
