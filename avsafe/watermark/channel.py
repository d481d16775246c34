"""The channel code of every mark: payload + CRC32, polar code of low rate, list decoder.

Legend: ``b`` payload bits, ``m = b + 32`` message bits, ``n`` coded bits, ``w`` words decoded
together, ``p`` messages of the decoder's list, the most likely first.

The decoder lists 128 messages and gives the likeliest of the first 16 whose CRC32 fits. The code is
in ``polar``; decision 0013 compares it with others.

**False positives** do not depend on the media. A detector multiplies the soft bits with keyed signs
that are independent and uniform under any other key. Multiplying them with the signs of a codeword
as well changes nothing in their distribution, and the decoder only adds that codeword's message to
every message of its list (code and min-sum are linear; two measures below keep ties from spoiling
it). So the message at each rank is uniformly distributed, its CRC32 fits with probability 2^-32,
and one of the first 16 fits with probability at most 16 x 2^-32 = FALSE_PASS_PER_TRY. Ties: every
soft bit is scaled by a fixed number between 1 and 1.016, so that sums of quantised values differ;
erased bits get a vanishing value whose sign is a hash of the signs of the others.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avsafe.watermark.polar import Polar, polar

CRC_BITS = 32
CRC_FALSE_PASS = 2.0**-CRC_BITS  # chance that one random message passes
PATHS = 128  # kept while decoding; 256 take twice the time for 0.05 dB
CHECKED = 16  # of them, by CRC32
FALSE_PASS_PER_TRY = CHECKED * CRC_FALSE_PASS  # for one decoded word: what a p-value must use

# Words that fit no codeword (no mark, wrong key) still correlate 0.277 +- 0.005 (32 bits) or 0.242
# +- 0.003 (64 bits) with the nearest one; see correlation_floor
_FLOORS = {32: 0.293, 64: 0.253}  # 0.7 % of 12,000 and of 8,000 words

_SPREAD = 16  # coded bits a message bit at least, up to 4096: below, the rate itself costs energy
_LONGEST = 4096
_CLIP = 8.0  # times the level that a tenth of the soft bits exceeds: beyond it, one counts as this
_JITTER = 2.0**-6
_ERASED = 1e-6


@dataclass(frozen=True)
class Decoded:
    """The most likely codeword behind some soft bits."""

    payload: int | None  # None when no CRC32 fits
    crc_ok: bool
    correlation: float  # cosine between the soft bits and the re-encoded codeword, -1..1


def coded_length(bits: int) -> int:
    """How many coded bits carry ``bits`` payload bits: a power of two.

    >>> coded_length(32), coded_length(64)
    (1024, 2048)
    """
    if not 1 <= bits <= 512:
        raise ValueError(f"A payload has 1 to 512 bits, not {bits}.")
    return min(_LONGEST, 1 << (_SPREAD * (bits + CRC_BITS) - 1).bit_length())


def correlation_floor(bits: int) -> float:
    """What 0.5 to 1 % of noise words reach in ``Decoded.correlation``.

    Measured for 32 and 64 bits; for others, 2 % above sqrt(1 - 4^(-m/n)), the largest mean that any
    code of this rate can have (rate-distortion function of a Gaussian source). The false positive
    rate needs no floor, and this one costs 0.3 dB (64 bits) or 0.45 dB (32 bits) of energy where
    half of the words decode (decision 0013).

    >>> correlation_floor(32), correlation_floor(64)
    (0.293, 0.253)
    """
    rate = (bits + CRC_BITS) / coded_length(bits)
    return _FLOORS.get(bits, float(1.02 * np.sqrt(1 - 4.0**-rate)))


def encode(payload: int, bits: int) -> NDArray[np.int8]:
    """Payload -> ``(coded_length(bits),)`` int8 of +1 (bit 0) and -1 (bit 1).

    Raises ValueError when the payload does not fit ``bits`` bits (1..512).

    >>> encode(5, 64).shape
    (2048,)
    """
    code = _code(bits)
    if not 0 <= payload < 1 << bits:
        raise ValueError(f"A payload of {bits} bits is 0..2^{bits}-1, not {payload}.")
    message = format((payload << CRC_BITS) | _crc(payload, bits), f"0{bits + CRC_BITS}b")
    return code.encode(np.array(list(message), np.uint8))


def decode(soft: ArrayLike, bits: int) -> Decoded:
    """Soft bits -> the most likely payload whose CRC32 fits.

    ``soft`` is ``(coded_length(bits),)``: log-likelihood ratios up to a common scale, positive
    means +1. In noise of one level that is the received value; where the noise differs, amplitude
    times value over variance. Values that are not finite count as erased (0). Raises ValueError for
    another shape. About 3 ms of CPU for 64 bits, 1.5 ms for 32.

    >>> decode(encode(77, 64) * 0.1, 64).payload
    77
    """
    return decode_many(np.asarray(soft)[None], bits)[0]


def decode_many(soft: ArrayLike, bits: int) -> tuple[Decoded, ...]:
    """As ``decode`` for ``(w, coded_length(bits))``, all words together.

    >>> [d.payload for d in decode_many([encode(1, 32), encode(2, 32)], 32)]
    [1, 2]
    """
    length = coded_length(bits)
    received = np.array(soft, np.float64)
    if received.ndim != 2 or received.shape[1] != length:
        raise ValueError(f"Soft bits for {bits} bits are (w, {length}), not {received.shape}.")
    if not len(received):
        return ()
    received[~np.isfinite(received)] = 0.0
    received = _levelled(received)
    # a few words at a time: their paths then fit the cache
    lists = [
        _code(bits).decode(_without_ties(received[i : i + _TOGETHER]), PATHS)[:, :CHECKED]
        for i in range(0, len(received), _TOGETHER)
    ]
    return tuple(
        _best(word, messages, bits)
        for word, messages in zip(received, np.concatenate(lists), strict=True)
    )


_TOGETHER = 8


def _best(word: NDArray[np.float64], messages: NDArray[np.uint8], bits: int) -> Decoded:
    """The first of ``(p, m)`` messages whose CRC32 fits, or else the first without a payload."""
    energy = float(np.linalg.norm(word)) * float(np.sqrt(len(word)))
    if not energy > 0:
        return Decoded(None, False, 0.0)
    chosen, payload = messages[0], None
    for message in messages:
        number = int("".join(map(str, message.tolist())), 2)
        if number & (2**CRC_BITS - 1) == _crc(number >> CRC_BITS, bits):
            chosen, payload = message, number >> CRC_BITS
            break
    correlation = float(word @ _code(bits).encode(chosen)) / energy
    return Decoded(payload, payload is not None, correlation)


def _levelled(received: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every word scaled to its louder soft bits, outliers clipped, whatever was erased."""
    size = np.abs(received)
    size /= np.maximum(size.max(axis=1, keepdims=True), 1e-300)  # so that no square overflows
    level = [float(np.quantile(one[one > 0], 0.9)) if one.any() else 1.0 for one in size]
    levelled = np.minimum(size / np.array(level)[:, None], _CLIP)
    signed: NDArray[np.float64] = np.copysign(levelled, received)
    return signed


def _without_ties(levelled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Erased soft bits get a sign, and equal sizes become unequal; see the module's text."""
    unequal = levelled * (1 + _JITTER * _fractions(levelled.shape[1]))
    for word, jittered in zip(levelled, unequal, strict=True):
        erased = word == 0
        if erased.any():
            signs = np.packbits(word > 0).tobytes()
            drawn = hashlib.shake_256(signs).digest(len(word))
            sign = 1 - 2.0 * (np.frombuffer(drawn, np.uint8) & 1)
            jittered[erased] = (sign * _ERASED * (1 + _fractions(len(word))))[erased]
    return unequal


@cache
def _fractions(length: int) -> NDArray[np.float64]:
    """``(length,)`` fixed numbers 0..1."""
    stream = hashlib.shake_256(b"org.avsafe.channel/ties").digest(4 * length)
    fractions: NDArray[np.float64] = np.frombuffer(stream, "<u4") / 2.0**32
    return fractions


def _code(bits: int) -> Polar:
    return polar(coded_length(bits), bits + CRC_BITS)


def _crc(payload: int, bits: int) -> int:
    return zlib.crc32(payload.to_bytes((bits + 7) // 8, "big"))
