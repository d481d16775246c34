"""Where the chips of an audio mark lie, and how a log-spectrum is prepared to read them.

Legend: ``t`` analysis frames, ``b`` spectral bins of 15.625 Hz, ``r`` chip rows (0.096 s each),
``f`` chip bands (46.875 Hz each), ``j`` coded bits. Levels are dB; 0 dB is a full-scale sine.

A chip raises or lowers the level of one time-frequency cell by about two decibels. The pattern of
27 x 104 cells repeats every 2.592 s and is the same in every channel. A seventh of the cells carry
known signs (to find the time offset), the others carry the coded bits in turn. Multiplicative marks
hide below the sound that carries them: Swanson et al., "Robust audio watermarking using perceptual
masking" (Signal Processing 66, 1998); Kirovski and Malvar, "Spread-spectrum watermarking of audio
signals" (IEEE Trans. Signal Processing 51, 2003).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.watermark import channel

ALGORITHM = "org.avsafe.chips.2"
PAYLOAD_BITS = 32

BIN_HZ = 15.625  # a 64 ms window
LOW_BIN = 38  # 593.75 Hz; below it, speech carries its pitch and codecs spend their bits
BAND_BINS = 3  # of 2, 3, 4 the strongest after AAC 64k, and wide enough for 0.25 % of wrong speed
BANDS = 104  # up to 5468.75 Hz, inside the pass band of wide-band speech codecs
CHIP_S = 0.096  # of 0.064, 0.08, 0.096, 0.128 s the strongest after AAC 64k
ROWS = 27
PERIOD_S = ROWS * CHIP_S  # 2.592 s
CELLS = ROWS * BANDS
SYNC_CELLS = CELLS // 7
CODED_BITS = channel.coded_length(PAYLOAD_BITS)

_KEY_BYTES = 16  # the shortest key that is taken; the gate's keys have 32


@dataclass(frozen=True)
class Layout:
    """The keyed pattern. ``owner`` is ``(27, 104)``: the coded bit that a cell carries, or -1 for a
    sync cell; ``sign`` is ``(27, 104)`` of +-1."""

    owner: NDArray[np.int64]
    sign: NDArray[np.int8]

    @property
    def sync(self) -> NDArray[np.bool_]:
        return self.owner < 0

    def chips(self, payload: int) -> NDArray[np.int8]:
        """``(27, 104)`` of +-1: the pattern that carries ``payload``."""
        coded = np.append(channel.encode(payload, PAYLOAD_BITS), np.int8(1))  # [-1]: sync
        chips: NDArray[np.int8] = self.sign * coded[self.owner]
        return chips

    def soft_bits(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(27, 104)`` cell values, aligned -> soft bits, one for each coded bit."""
        data = ~self.sync
        values = (cells * self.sign)[data]
        return np.bincount(self.owner[data], values, CODED_BITS).astype(np.float64)


@lru_cache(maxsize=16)
def layout(key: bytes) -> Layout:
    """The pattern of a key. The same on every machine and with every numpy version: order and signs
    are read from a SHAKE-256 stream. Raises UsageError for a key of less than 16 bytes.

    >>> int(layout(bytes(32)).sync.sum())
    401
    """
    if len(key) < _KEY_BYTES:
        raise UsageError(
            f"The watermark key has {len(key)} bytes; it needs {_KEY_BYTES} or more (32 is usual)."
        )
    stream = hashlib.shake_256(ALGORITHM.encode() + b"\0" + key).digest(CELLS * 9)
    order = np.argsort(np.frombuffer(stream, "<u8", CELLS), kind="stable")
    sign = 1 - 2 * (np.frombuffer(stream, np.uint8, CELLS, CELLS * 8) & 1).astype(np.int8)
    owner = np.full(CELLS, -1, np.int64)
    data = order[SYNC_CELLS:]
    owner[data] = np.arange(len(data)) % CODED_BITS
    result = Layout(owner.reshape(ROWS, BANDS), sign.reshape(ROWS, BANDS))
    result.owner.setflags(write=False)
    result.sign.setflags(write=False)
    return result


_CLIP = 2.5  # in units of the rms: a bin beyond it is an event of the host, not a chip
_FLOOR_DB2 = 3.0  # added to the local variance: a bin that hardly moves is a filter's skirt
_RANGE_DB = 60.0  # bins further below the loudest carry codec noise, not the mark
_FADE_DB = 20.0


def whiten(
    levels_db: NDArray[np.floating], frames_per_chip: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Remove what is the host's in a log-spectrum, keep what varies from chip to chip.

    ``levels_db`` is ``(t, b)``. Returns ``(t, b)`` values, and ``(t, b)`` their slope: how much a
    value moves per decibel of its bin (0 where it is clipped or too weak to count). Subtracts local
    means along time and frequency, divides by the local variance (the weight of a matched filter in
    noise of uneven power), clips outliers, and fades out bins 40 to 60 dB below
    the loudest.
    """
    from scipy.ndimage import uniform_filter, uniform_filter1d

    levels = np.asarray(levels_db)
    if levels.size == 0:
        return np.zeros_like(levels), np.zeros_like(levels)
    chip = frames_per_chip
    rest = (
        levels
        - 0.5 * uniform_filter1d(levels, 6 * chip + 1, axis=0)
        - 0.5 * uniform_filter1d(levels, 25, axis=1)
    )
    rest -= uniform_filter(rest, (chip - 1, 11))
    rest = np.clip(rest, -12.0, 12.0)
    weight = 1.0 / (uniform_filter(rest * rest, (2 * chip, 9)) + _FLOOR_DB2)
    smooth = uniform_filter(levels, (chip + 1, 5))
    loudest = float(np.percentile(smooth, 99))
    weight *= np.clip((smooth - (loudest - _RANGE_DB)) / _FADE_DB, 0.0, 1.0)
    values = rest * weight
    rms = float(np.sqrt(np.mean(values * values)))
    if rms <= 0.0:
        return np.zeros_like(levels), np.zeros_like(levels)
    limit = _CLIP * rms
    slope = np.where(np.abs(values) < limit, weight, 0.0)
    return np.clip(values, -limit, limit) / rms, slope / rms
