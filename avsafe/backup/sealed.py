"""Private keys under a passphrase: scrypt (RFC 7914), then ChaCha20-Poly1305 (RFC 8439).

A line of JSON says how, and is authenticated with the rest. One message: a key folder is small.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from avsafe.errors import BackupError, UsageError

LEAST = 12  # characters of a passphrase
_COST = {"n": 1 << 17, "r": 8, "p": 1}  # 128 MB, a third of a second; OWASP's first choice
_HOW = {"kdf": "scrypt", **_COST, "cipher": "chacha20-poly1305"}
_LONGEST = 32 << 20


def seal(data: bytes, passphrase: str) -> bytes:
    """Raises UsageError for a passphrase of less than 12 characters."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if len(passphrase) < LEAST:
        raise UsageError(f"A passphrase for keys has {LEAST} characters or more.")
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    head = json.dumps({**_HOW, "salt": salt.hex(), "nonce": nonce.hex()}).encode() + b"\n"
    return head + ChaCha20Poly1305(_key(passphrase, salt)).encrypt(nonce, data, head)


def unseal(data: bytes, passphrase: str) -> bytes:
    """Raises BackupError for another passphrase, and for what ``seal`` did not make."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    head, _, body = data[:_LONGEST].partition(b"\n")
    try:
        how: dict[str, Any] = json.loads(head)
        salt, nonce = bytes.fromhex(how.pop("salt")), bytes.fromhex(how.pop("nonce"))
        # Its own numbers are not obeyed: they could ask for any memory.
        if how != _HOW or len(salt) != 16 or len(nonce) != 12 or len(data) > _LONGEST:
            raise ValueError("another way of sealing")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BackupError(f"The sealed keys cannot be read: {error}.") from error
    try:
        return ChaCha20Poly1305(_key(passphrase, salt)).decrypt(nonce, body, head + b"\n")
    except InvalidTag:
        raise BackupError("The passphrase does not open the keys of this backup.") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt, 32, _COST["n"], _COST["r"], _COST["p"]).derive(passphrase.encode())
