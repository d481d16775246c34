"""Payload, check and key around the bits of a network that knows none of them.

Legend: ``n`` bits of the network, ``b`` payload bits, ``m = b + 32`` with the CRC32. The ``m`` bits
are repeated over the ``n``, and all of them are flipped by a keyed mask.

The networks have no key: who has the weights can see that there is a mark, remove it, or copy it
bit for bit. The mask adds two things only. The number can't be read without the key; and since mask
and media are independent, an unmarked file (or one marked with another key) passes the CRC32 with
probability 2^-32 a try *exactly*, whatever bias the network has. Single doubtful bits are repaired
by trying to flip the least certain ones, and each try is counted in ``p_value``.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, UsageError

CHECK_BITS = 32
_FALSE_PASS = 2.0**-CHECK_BITS
_MIN_KEY_BYTES = 16


@dataclass(frozen=True)
class Reading:
    """What the soft bits say with one key."""

    payload: int | None  # None when no try passes the CRC32
    p_value: float  # tries x 2^-32; 1.0 when none passes
    tries: int
    repaired: int  # bits flipped to pass


def mask(key: bytes, algorithm: str, n: int) -> NDArray[np.uint8]:
    """``n`` bits that look random without the key: HMAC-SHA256 in counter mode.

    >>> mask(bytes(32), "a", 4).shape
    (4,)
    """
    if len(key) < _MIN_KEY_BYTES:
        raise UsageError(f"A watermark key has {_MIN_KEY_BYTES} bytes or more, not {len(key)}.")
    blocks = (
        hmac.digest(key, f"avsafe adapter {algorithm} {i}".encode(), hashlib.sha256)
        for i in range(-(-n // 256))
    )
    return np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8))[:n]


def write(payload: int, payload_bits: int, n: int, key: bytes, algorithm: str) -> NDArray[np.uint8]:
    """The ``n`` bits to give to the network.

    Raises UsageError for a payload that does not fit, CannotMark when ``n`` is too few.
    """
    if not 0 <= payload < 1 << payload_bits:
        raise UsageError(f"A payload of {payload_bits} bits was expected, not {payload}.")
    if n < payload_bits + CHECK_BITS:
        raise CannotMark(
            f"The network carries {n} bits; {payload_bits + CHECK_BITS} are needed for a payload "
            f"of {payload_bits} bits and its check. Use weights with a longer message."
        )
    word = _bits(payload, payload_bits) + _bits(_crc(payload, payload_bits), CHECK_BITS)
    return np.resize(np.array(word, np.uint8), n) ^ mask(key, algorithm, n)


def read(
    soft: NDArray[Any], payload_bits: int, key: bytes, algorithm: str, *, flips: int = 12
) -> Reading:
    """The payload behind soft bits ``(n,)``: positive is 1, larger is surer.

    All combinations of the ``flips`` least certain bits are tried, the likeliest first.
    """
    n, m = soft.size, payload_bits + CHECK_BITS
    if n < m or not np.isfinite(soft).all():
        return Reading(None, 1.0, 0, 0)
    certain = np.where(soft == 0, -1e-12, soft).astype(np.float64)  # a tie must not escape the mask
    unmasked = certain * (1.0 - 2.0 * mask(key, algorithm, n))
    total = np.bincount(np.arange(n) % m, weights=unmasked, minlength=m)
    hard = (total > 0).astype(np.uint8)
    payload, check = _number(hard[:payload_bits]), _number(hard[payload_bits:])
    zero = _crc(0, payload_bits)
    doubtful = np.argsort(np.abs(total), kind="stable")[:flips]
    wrong, cost = np.zeros(1, np.uint64), np.zeros(1)
    for place in doubtful:  # CRC32 is affine: one flipped bit changes the check by its column
        place = int(place)
        if place < payload_bits:
            column = _crc(1 << (payload_bits - 1 - place), payload_bits) ^ zero
        else:
            column = 1 << (m - 1 - place)
        wrong = np.concatenate([wrong, wrong ^ np.uint64(column)])
        cost = np.concatenate([cost, cost + abs(total[place])])
    passing = np.flatnonzero(wrong == np.uint64(_crc(payload, payload_bits) ^ check))
    if not passing.size:
        return Reading(None, 1.0, wrong.size, 0)
    best = int(passing[np.argmin(cost[passing])])
    flipped = [int(place) for i, place in enumerate(doubtful) if best >> i & 1]
    hard[flipped] ^= 1
    tries = int((cost <= cost[best]).sum())
    return Reading(_number(hard[:payload_bits]), tries * _FALSE_PASS, tries, len(flipped))


def _bits(value: int, n: int) -> list[int]:
    return [value >> shift & 1 for shift in range(n - 1, -1, -1)]


def _number(bits: NDArray[np.uint8]) -> int:
    return int("".join(map(str, bits.tolist())), 2)


def _crc(payload: int, payload_bits: int) -> int:
    return zlib.crc32(payload.to_bytes(-(-payload_bits // 8), "big"))
