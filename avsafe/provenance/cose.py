"""The claim signature inside a manifest store: read it, and fill its padding with a time stamp.

A claim signature is a COSE_Sign1 (RFC 9052) with a padded unprotected header, which no signature
covers: room was reserved there for exactly this. A token put into it (``sigTst2``, C2PA 2.x
"Time-stamps") changes neither the claim, nor its signature, nor the size of the store.

Legend: offsets are bytes from the start of the store; CBOR is RFC 8949.
"""

from __future__ import annotations

from dataclasses import dataclass

from avsafe.errors import SigningFailed

_TAG = b"\xd2\x84"  # tag 18 (COSE_Sign1), array of 4
_DEPTH = 16
_PADS = (b"\x63pad", b"\x64pad2")
_STAMPS = (b"\x67sigTst2", b"\x66sigTst")


@dataclass(frozen=True)
class ClaimSignature:
    """Where the parts of one COSE_Sign1 lie in a store."""

    protected: bytes  # content of the protected header
    header: tuple[int, int]  # [start, end) of the unprotected header
    entries: tuple[tuple[bytes, bytes], ...]  # its (key, value) pairs as encoded CBOR
    signature: bytes

    @property
    def stamped(self) -> bool:
        return any(key in _STAMPS for key, _ in self.entries)

    def to_be_stamped(self) -> bytes:
        """What a time stamp authority hashes: the Countersign structure over the signature
        (RFC 9338 section 3.3, as C2PA 2.x applies it for ``sigTst2``)."""
        return (
            b"\x84"
            + text("CounterSignature")
            + octets(self.protected)
            + octets(b"")
            + octets(octets(self.signature))
        )


def find(store: bytes, manifest_id: str) -> ClaimSignature:
    """The claim signature of one manifest. Raises SigningFailed when the store has another form."""
    at = store.find(manifest_id.encode() + b"\0")  # the label of its description box
    at = store.find(b"c2pa.signature\0", at) if at >= 0 else -1
    at = store.find(b"cbor" + _TAG, at) if at >= 0 else -1
    if at < 0:
        raise SigningFailed(f"The store holds no claim signature of {manifest_id}.")
    try:
        return _parse(store, at + 4 + len(_TAG))
    except (IndexError, ValueError) as error:
        raise SigningFailed(f"The claim signature of {manifest_id} is malformed.") from error


def with_token(store: bytes, found: ClaimSignature, token: bytes) -> bytes:
    """The store with an RFC 3161 token in the signature's header; exactly as long as before."""
    start, end = found.header
    stamp = b"\x67sigTst2" + b"\xa1" + text("tstTokens") + b"\x81\xa1" + text("val") + octets(token)
    kept = b"".join(key + value for key, value in found.entries if key not in _PADS)
    count = sum(key not in _PADS for key, _ in found.entries) + 1
    left = (end - start) - 1 - len(kept) - len(stamp)
    padding = _pad(left)
    if padding is None or count + 1 > 23:
        raise SigningFailed(
            f"The time stamp ({len(token)} bytes) does not fit into the room that was reserved "
            f"({end - start} bytes). Use an authority with a shorter certificate chain."
        )
    header = bytes([0xA0 | (count + bool(padding))]) + kept + stamp + padding
    return store[:start] + header + store[end:]


def octets(data: bytes) -> bytes:
    """A CBOR byte string."""
    return _head(2, len(data)) + data


def text(value: str) -> bytes:
    """A CBOR text string."""
    data = value.encode()
    return _head(3, len(data)) + data


def _pad(size: int) -> bytes | None:
    """A "pad" entry of exactly ``size`` bytes, empty for 0; None when there is no such entry."""
    if size == 0:
        return b""
    for head in (1, 2, 3):
        length = size - len(_PADS[0]) - head
        if length >= 0 and len(_head(2, length)) == head:
            return _PADS[0] + octets(bytes(length))
    return None


def _head(major: int, value: int) -> bytes:
    for low, width, limit in ((None, 0, 24), (24, 1, 1 << 8), (25, 2, 1 << 16), (26, 4, 1 << 32)):
        if value < limit:
            first = (major << 5) | (value if low is None else low)
            return bytes([first]) + (value.to_bytes(width, "big") if width else b"")
    raise ValueError("longer than a store can be")


def _parse(data: bytes, position: int) -> ClaimSignature:
    begin, position = _content(data, position, 2)
    protected = data[begin:position]
    start = position
    major, count, position = _read_head(data, position)
    if major != 5:
        raise ValueError("the unprotected header is not a map")
    entries = []
    for _ in range(count):
        value = _end(data, position)
        after = _end(data, value)
        entries.append((data[position:value], data[value:after]))
        position = after
    end = position
    if data[position] != 0xF6:  # null: the payload is detached
        raise ValueError("the payload is not detached")
    begin, position = _content(data, position + 1, 2)
    return ClaimSignature(protected, (start, end), tuple(entries), data[begin:position])


def _content(data: bytes, position: int, expected: int) -> tuple[int, int]:
    major, length, begin = _read_head(data, position)
    if major != expected or begin + length > len(data):
        raise ValueError("not the string that was expected")
    return begin, begin + length


def _read_head(data: bytes, position: int) -> tuple[int, int, int]:
    """Major type, value, and where what follows begins."""
    major, low = data[position] >> 5, data[position] & 0x1F
    if low < 24:
        return major, low, position + 1
    if low > 27:
        raise ValueError("indefinite lengths do not occur in a claim signature")
    width = 1 << (low - 24)
    if position + 1 + width > len(data):
        raise ValueError("cut off")
    value = int.from_bytes(data[position + 1 : position + 1 + width], "big")
    return major, value, position + 1 + width


def _end(data: bytes, position: int, depth: int = 0) -> int:
    """Where one item ends."""
    if depth > _DEPTH:
        raise ValueError("nested too deeply")
    major, value, position = _read_head(data, position)
    if major in (2, 3):
        position += value
    elif major in (4, 5):
        for _ in range(value * (major - 3)):
            position = _end(data, position, depth + 1)
    elif major == 6:
        position = _end(data, position, depth + 1)
    if position > len(data):
        raise ValueError("cut off")
    return position
