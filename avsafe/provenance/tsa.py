"""Ask a time stamp authority (RFC 3161) over HTTP. Only on request, with a limit on time and size.

The answer is not verified here beyond its form and nonce: whoever puts the token into a file reads
the file back, and the C2PA library checks the token's hash, signature and certificate.
"""

from __future__ import annotations

import hashlib
import secrets
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from avsafe.errors import SigningFailed, UsageError

TIMEOUT_S = 20.0
_MAX_ANSWER = 1 << 16  # a token with its certificates takes 1.5 to 7 KB
_SHA256 = bytes.fromhex("300d06096086480165030402010500")  # AlgorithmIdentifier, DER
_GRANTED = (0, 1)  # granted, grantedWithMods


def check_url(url: str) -> str:
    """The same URL. UsageError for what is not the address of a time stamp authority."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UsageError(f"A time stamp authority is an http or https URL, not {url!r}.")
    return url


def request_token(url: str, data: bytes, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """A TimeStampToken (DER) over the SHA-256 of ``data``. Only the hash leaves this machine.

    Raises SigningFailed when there is no answer in time, a refusal, or no token in it.
    """
    nonce = secrets.randbits(63) | 1 << 62
    query = _sequence(
        _integer(1),
        _sequence(_SHA256, _value(0x04, hashlib.sha256(data).digest())),
        _integer(nonce),
        _value(0x01, b"\xff"),  # certReq: the certificates shall come with the token
    )
    request = urllib.request.Request(  # noqa: S310  check_url allows http and https only
        check_url(url),
        data=query,
        headers={"Content-Type": "application/timestamp-query"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            body = answer.read(_MAX_ANSWER + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SigningFailed(f"{url} gave no time stamp: {reason}.") from error
    if len(body) > _MAX_ANSWER:
        raise SigningFailed(f"{url} answered with more than {_MAX_ANSWER} bytes.")
    try:
        return _token(body, _integer(nonce))
    except (IndexError, ValueError) as error:
        raise SigningFailed(f"{url} gave no usable time stamp: {error}.") from error


def _token(body: bytes, nonce: bytes) -> bytes:
    """The token out of a TimeStampResp (RFC 3161 section 2.4.2)."""
    start, _ = _open(body, 0, 0x30)
    status_start, status_end = _open(body, start, 0x30)
    begin, end = _open(body, status_start, 0x02)
    status = int.from_bytes(body[begin:end], "big")
    if status not in _GRANTED:
        raise ValueError(f"it refused with status {status}")
    _, token_end = _open(body, status_end, 0x30)
    token = body[status_end:token_end]
    if nonce not in token:
        raise ValueError("the answer belongs to another request")
    return token


def _open(data: bytes, position: int, tag: int) -> tuple[int, int]:
    """[start, end) of the content of a DER element."""
    if position + 2 > len(data) or data[position] != tag:
        raise ValueError("the answer is no RFC 3161 response")
    length, position = data[position + 1], position + 2
    if length & 0x80:
        width = length & 0x7F
        if not 1 <= width <= 4:
            raise ValueError("the answer is no RFC 3161 response")
        length = int.from_bytes(data[position : position + width], "big")
        position += width
    if position + length > len(data):
        raise ValueError("the answer is cut off")
    return position, position + length


def _value(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    width = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + len(content).to_bytes(width, "big") + content


def _sequence(*parts: bytes) -> bytes:
    return _value(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _value(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
