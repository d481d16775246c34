"""The keyed picture mark: one periodic tile of luma, written and read in the Fourier domain.

Legend: ``T = 128`` canonical pixels, the period; a picture is *canonical* when its short side has
360 pixels; ``k`` a pair of whole numbers (ky, kx), cycles per tile; ``q`` coefficients used.

All real tiles are a sum of waves cos(2 pi k.x / T + phase_k). The waves between 5 and 20 cycles per
tile (periods of 26 to 6 canonical pixels) carry the mark: a quarter has keyed phases known to the
detector (*sync*), which tell where the tile lies, how large it is, how it is turned and whether it
is mirrored; the others have phases that carry the coded bits (*data*). Which wave does what, every
phase, every sign and the order of the bits follow from the key through SHAKE-256, so that they are
the same on every machine and with every version of numpy.

The tile changes its sign every SEGMENT_S seconds (see ``sign_at``): the mean over a whole clip then
shows next to nothing of it, and the difference between the segments shows it without the scenery.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.watermark import channel

ALGORITHM = "org.avsafe.tile.2"  # shared by video and image: a screenshot of a clip carries it too
PAYLOAD_BITS = 64
PERIOD = 128  # T
SHORT_SIDE = 360  # canonical pixels
# Measured at equal PSNR, energy left for decoding after H.264 CRF 28 / 35 / 40 (docs/watermark.md):
# 8..32 cycles 33.1 / 23.3 / 16.5 dB, 6..24 33.8 / 25.8 / 18.1, 5..20 33.4 / 26.3 / 19.7
MIN_CYCLES, MAX_CYCLES = 5, 20
SEGMENT_S = 2.0  # as long as the encoder's group of pictures: a new sign then costs no bits
_SYNC_SHARE = 0.25  # a peak 7 sigma high at the noise where the code still decodes
_MIN_KEY_BYTES = 16
_PEAK = 3.0  # standard deviations; rarer crests would only show


def sign_at(time_s: float) -> int:
    """The sign of the tile at a time from the start of the clip: +1, then -1, then +1...

    >>> [sign_at(time_s) for time_s in (0, 1.9, 2, 4)]
    [1, 1, -1, 1]
    """
    return 1 - 2 * (int(time_s / SEGMENT_S + 1e-6) % 2)  # 1e-6: 2 s are 59.99 frames at 29.97


@dataclass(frozen=True, eq=False)
class Tile:
    """Everything that follows from the key."""

    sync: NDArray[np.int64]  # (q_s, 2) the k of the sync waves
    sync_phase: NDArray[np.float64]  # (q_s,) radians
    sync_back: NDArray[np.complex64]  # (q_s,) turns the sync waves back to phase 0
    data: NDArray[np.int64]  # (q_d, 2)
    data_phase: NDArray[np.float64]  # (q_d,)
    sign: NDArray[np.float64]  # (2 q_d,) +1/-1, of the real and imaginary part of each data wave
    place: NDArray[np.int64]  # (2 q_d,) which coded bit each of them carries

    def draw(self, payload: int) -> NDArray[np.float32]:
        """The tile ``(T, T)`` float32, mean 0, standard deviation 1, crests cut at 3.

        >>> tile_of_key(bytes(32)).draw(7).shape
        (128, 128)
        """
        coded = channel.encode(payload, PAYLOAD_BITS)
        parts = self.sign * coded[self.place]
        spectrum = np.zeros((PERIOD, PERIOD), np.complex128)
        spectrum[tuple(self.sync.T)] = np.exp(1j * self.sync_phase)
        symbols = (parts[0::2] + 1j * parts[1::2]) / np.sqrt(2)
        spectrum[tuple(self.data.T)] = symbols * np.exp(1j * self.data_phase)
        wave = np.fft.ifft2(spectrum).real
        wave /= wave.std()
        drawn: NDArray[np.float32] = np.clip(wave, -_PEAK, _PEAK).astype(np.float32)
        return drawn

    def parts(self, data_values: NDArray[np.complexfloating]) -> NDArray[np.float64]:
        """Data waves ``(q_d,)``, phases taken at the tile's origin -> ``(2 q_d,)`` soft values of
        the coded bits at ``place``: positive means +1."""
        turned = data_values * np.exp(-1j * self.data_phase)
        parts = np.empty(2 * len(turned))
        parts[0::2], parts[1::2] = turned.real, turned.imag
        signed: NDArray[np.float64] = parts * self.sign
        return signed

    def soft_bits(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Soft values ``(2 q_d,)`` -> one for each coded bit; 0 for those that no wave carries."""
        length = channel.coded_length(PAYLOAD_BITS)
        summed: NDArray[np.float64] = np.bincount(
            self.place, weights=parts, minlength=length
        ).astype(np.float64)
        return summed


@lru_cache(maxsize=32)
def tile_of_key(key: bytes) -> Tile:
    """The tile of a secret key of 16 bytes or more, normally 32. UsageError for a shorter one.

    >>> tile_of_key(b"k" * 32).sync.shape
    (148, 2)
    """
    if len(key) < _MIN_KEY_BYTES:
        raise UsageError(
            f"A watermark key of {len(key)} bytes is too short: pass {_MIN_KEY_BYTES} or more "
            "random bytes (avsafe keys init makes 32)."
        )
    waves = _half_plane()
    secret = hmac.new(key, ALGORITHM.encode(), hashlib.sha256).digest()
    order = np.argsort(_numbers(secret, b"order", len(waves)), kind="stable")
    phase = _numbers(secret, b"phase", len(waves)) / 2.0**64 * 2 * np.pi
    split = int(len(waves) * _SYNC_SHARE)
    data = waves[order[split:]]
    parts = 2 * len(data)
    sign = 1.0 - 2.0 * (_numbers(secret, b"sign", parts) >> np.uint64(63))
    # fewer waves than coded bits: which bits travel is keyed too
    length = channel.coded_length(PAYLOAD_BITS)
    shuffled = np.argsort(_numbers(secret, b"place", length), kind="stable")
    return Tile(
        sync=waves[order[:split]],
        sync_phase=phase[:split],
        sync_back=np.exp(-1j * phase[:split]).astype(np.complex64),
        data=data,
        data_phase=phase[split:],
        sign=sign.astype(np.float64),
        place=np.resize(shuffled, parts),
    )


def _half_plane() -> NDArray[np.int64]:
    """The k within the band, one of each pair +-k (a real tile has both)."""
    ky, kx = np.mgrid[-MAX_CYCLES : MAX_CYCLES + 1, 0 : MAX_CYCLES + 1]
    radius = np.hypot(ky, kx)
    chosen = (radius >= MIN_CYCLES) & (radius <= MAX_CYCLES) & ((kx > 0) | (ky > 0))
    return np.stack([ky[chosen], kx[chosen]], axis=1).astype(np.int64)


def _numbers(secret: bytes, purpose: bytes, count: int) -> NDArray[np.uint64]:
    """``count`` keyed 64-bit numbers."""
    stream = hashlib.shake_256(secret + b"/" + purpose).digest(8 * count)
    return np.frombuffer(stream, "<u8").astype(np.uint64)
