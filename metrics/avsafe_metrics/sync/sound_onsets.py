"""Beginnings of sound: mel bands at 100 Hz, how much they rise, and where the peaks of a curve lie.

Legend: ``n`` samples of mono sound at 16 kHz, ``b`` mel bands, ``k`` steps of 10 ms; step ``i`` is
centred on ``i / 100`` seconds.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
HOP = 160  # samples: 10 ms
SIZE = 512  # samples: 32 ms
BANDS = 40
STEP_S = HOP / RATE_HZ
FLOOR = 1e-5  # power of a band that counts as silence: about -70 dBFS of noise
_BLOCK = 4096  # steps computed at once


def log_mel(mono: NDArray[Any]) -> NDArray[np.float32]:
    """(n,) sound at 16 kHz -> (k, b) natural logarithm of the power in each band, k = n // 160 + 1.

    Bands are triangles, evenly spaced on the mel scale from 50 to 8000 Hz.

    >>> log_mel(np.zeros(1600, np.float32)).shape
    (11, 40)
    """
    count = mono.size // HOP + 1
    padded = np.pad(np.asarray(mono, np.float32), (SIZE // 2, SIZE // 2))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::HOP]
    window = np.hanning(SIZE).astype(np.float32)
    out = np.empty((count, BANDS), np.float32)
    for start in range(0, count, _BLOCK):
        spectrum = np.fft.rfft(pieces[start : start + _BLOCK] * window, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2) / SIZE
        out[start : start + _BLOCK] = np.log(power @ _triangles().T + FLOOR)
    return out


@cache
def _triangles() -> NDArray[np.float64]:
    """(b, SIZE // 2 + 1); mel as in O'Shaughnessy (1987): 2595 log10(1 + f / 700)."""
    low, top = 2595 * float(np.log10(1 + 50 / 700)), 2595 * float(np.log10(1 + 8000 / 700))
    edges = 700 * (10 ** (np.linspace(low, top, BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(SIZE, 1 / RATE_HZ)
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


def onset_strength(mel: NDArray[Any]) -> NDArray[np.float32]:
    """(k, b) log bands -> (k,) mean rise over 20 ms, 0 or more: the spectral flux.

    >>> beep = np.zeros(16000); beep[8000:] = np.sin(np.arange(8000) * 0.4)
    >>> abs(int(np.argmax(onset_strength(log_mel(beep)))) - 50) <= 1
    True
    """
    rise = np.zeros(len(mel), np.float32)
    if len(mel) > 2:
        rise[1:-1] = np.maximum(mel[2:] - mel[:-2], 0).mean(axis=1)
    return rise


def peaks(
    curve: NDArray[Any], apart: int, bar: float = 0.3, least: float = 0.0
) -> NDArray[np.intp]:
    """Indices of local maxima of (k,), ``apart`` steps or more from any higher one.

    A peak reaches ``least``, and ``bar`` of the way from the median to the 99.5th percentile.

    >>> peaks(np.array([0, 1, 0, 0, 0, 3, 2, 0, 0, 0.0]), apart=2).tolist()
    [1, 5]
    """
    from scipy.ndimage import maximum_filter1d

    if curve.size < 3:
        return np.zeros(0, np.intp)
    middle, high = float(np.median(curve)), float(np.percentile(curve, 99.5))
    floor = max(least, middle + bar * (high - middle))
    highest = maximum_filter1d(curve, 2 * apart + 1, mode="constant", cval=-np.inf)
    found = np.flatnonzero((curve == highest) & (curve > floor))
    keep = np.diff(found, prepend=-apart - 1) > apart  # the first of a plateau
    return found[keep]
