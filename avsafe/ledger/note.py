"""Checkpoints as C2SP tlog-checkpoint, signed as C2SP signed-note with Ed25519.

    <origin>\\n<size>\\n<root, base64>\\n
    \\n
    — <origin> <base64(key id (4 bytes) || signature (64 bytes))>\\n

See https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from avsafe.errors import LedgerError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"  # signature type of signed-note
_DASH = "\u2014"


@dataclass(frozen=True)
class Checkpoint:
    """A tree head: the log's name, how many entries, and the Merkle root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class Verifier:
    """A public key under the name of its log: it opens notes.

    >>> Verifier.parse(Key(bytes(32)).verifier).open(Key(bytes(32)).sign(3, bytes(32))).size
    3
    """

    def __init__(self, origin: str, public: bytes) -> None:
        self.origin, self.public = origin, public
        self.key_id = sha256(origin.encode() + b"\n" + _ED25519 + public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Of a signed-note verifier key. Raises LedgerError when it is none."""
        origin, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            body = b64decode(encoded, validate=True)
        except (Base64Error, ValueError):
            body = b""
        found = cls(origin, body[1:])
        if not origin or len(body) != 33 or body[:1] != _ED25519 or found.key_id.hex() != key_id:
            raise LedgerError("A verifier key is not name, key id and an Ed25519 key.")
        return found

    @property
    def verifier(self) -> str:
        """As a signed-note verifier key: ``name+key id+base64``."""
        body = b64encode(_ED25519 + self.public).decode()
        return f"{self.origin}+{self.key_id.hex()}+{body}"

    def open(self, note: str) -> Checkpoint:
        """The checkpoint of a note signed by this key. Raises LedgerError for any other."""
        return parse(self.text_of(note))

    def text_of(self, note: str) -> str:
        """What a note signed by this key says. Raises LedgerError for any other."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        text, _, signatures = note.rpartition("\n\n")  # the signatures hold no empty line
        text += "\n"
        for line in signatures.splitlines():
            dash, _, rest = line.partition(" ")
            name, _, encoded = rest.partition(" ")
            if dash != _DASH or name != self.origin:
                continue
            try:
                raw = b64decode(encoded, validate=True)
            except (Base64Error, ValueError):
                raise LedgerError("A checkpoint's signature is not base64.") from None
            if raw[:4] != self.key_id:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(self.public).verify(raw[4:], text.encode())
            except InvalidSignature:
                raise LedgerError(
                    "A checkpoint's signature is forged or its text changed."
                ) from None
            return text
        raise LedgerError(f"A checkpoint carries no signature of {self.origin}.")


class Key(Verifier):
    """The log's Ed25519 key. Its name is derived from the first key of a log, so two logs never
    share one; a later key takes it over.

    >>> key = Key(bytes(32))
    >>> note = key.sign(3, bytes(32))
    >>> key.open(note).size
    3
    """

    def __init__(self, seed: bytes, name: str | None = None) -> None:
        """``name`` None: from the key. Raises LedgerError when the seed is not 32 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(seed) != 32:
            raise LedgerError(
                f"The ledger key has {len(seed)} bytes, expected 32. "
                "Restore ledger.key from a backup."
            )
        self._private: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        super().__init__(name or "avsafe-ledger/" + sha256(public).hexdigest()[:16], public)

    def sign(self, size: int, root: bytes) -> str:
        """A signed checkpoint."""
        return self.seal(Checkpoint(self.origin, size, root).text())

    def seal(self, text: str) -> str:
        """A signed note over any text that ends in a newline."""
        return f"{text}\n{self._line(text)}"

    def add_to(self, note: str) -> str:
        """The note, signed by this key as well."""
        return note + self._line(note.rpartition("\n\n")[0] + "\n")

    def _line(self, text: str) -> str:
        signature = b64encode(self.key_id + self._private.sign(text.encode())).decode()
        return f"{_DASH} {self.origin} {signature}\n"


@dataclass(frozen=True)
class Ring:
    """The key that signs, and those that signed before it: each up to the size at which it handed
    the log over, so that a key that leaked later cannot speak for what came after."""

    current: Key
    older: tuple[tuple[int, Verifier], ...] = ()  # (last size, key)

    def open(self, note: str) -> Checkpoint:
        """The checkpoint of a note that one of these keys could sign. Raises LedgerError."""
        try:
            return self.current.open(note)
        except LedgerError as error:
            for last, key in self.older:
                try:
                    found = key.open(note)
                except LedgerError:
                    continue
                if found.size <= last:
                    return found
                raise LedgerError(
                    f"A checkpoint of {found.size} entries is signed by a key that was replaced at "
                    f"{last}."
                ) from error
            raise


def parse(text: str) -> Checkpoint:
    """The three lines of a checkpoint's text. Raises LedgerError when it is not one."""
    lines = text.split("\n")
    try:
        origin, size, encoded, end = lines[0], lines[1], lines[2], lines[3]
        root = b64decode(encoded, validate=True)
        if not origin or not size.isascii() or not size.isdigit() or end or len(root) != 32:
            raise ValueError
    except (IndexError, ValueError):
        raise LedgerError("A checkpoint is not origin, size and a 32-byte root.") from None
    return Checkpoint(origin, int(size), root)


def whole_notes(text: str) -> str:
    """An exported file without the last note, should a crash have cut it short.

    >>> whole_notes("a\\n\\nsigned\\n\\nb\\n\\nsig")
    'a\\n\\nsigned\\n\\n'
    """
    blocks = text.split("\n\n")[:-1]
    return "".join(block + "\n\n" for block in blocks[: len(blocks) // 2 * 2])


def notes_up_to(text: str, size: int) -> str:
    """The notes of an exported file that speak of no more than ``size`` entries.

    Raises LedgerError for a note that is no checkpoint.
    """
    blocks = whole_notes(text).split("\n\n")[:-1]
    pairs = zip(blocks[0::2], blocks[1::2], strict=True)
    return "".join(f"{a}\n\n{b}\n\n" for a, b in pairs if parse(a + "\n").size <= size)


def read_notes(text: str, key: Verifier | Ring, since: int = 0) -> Iterator[Checkpoint]:
    """The checkpoints of an exported file: signed notes, each followed by an empty line; those of
    fewer than ``since`` entries are passed over.

    Raises LedgerError at the first that no such key signed. A last note that a crash cut short
    is passed over.
    """
    blocks = whole_notes(text).split("\n\n")[:-1]
    for body, signature in zip(blocks[0::2], blocks[1::2], strict=False):
        if not since or parse(body + "\n").size >= since:
            yield key.open(f"{body}\n\n{signature}\n")
