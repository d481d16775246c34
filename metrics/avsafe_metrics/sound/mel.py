"""Mel spectrograms in numpy, the same as librosa's defaults: no compiler is needed, so that it also
runs in the limited process.

Legend: the sound is ``(n,)`` float32; a spectrogram is ``(t, bands)``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINEAR_HZ, _PER_MEL, _STEP = 1000.0, 200.0 / 3, np.log(6.4) / 27  # Slaney 1998, Auditory Toolbox


def mel_of_hz(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear below 1 kHz, logarithmic above.

    >>> mel_of_hz(np.array([200.0, 1000.0, 6400.0])).round(6).tolist()
    [3.0, 15.0, 42.0]
    """
    above = _LINEAR_HZ / _PER_MEL + np.log(np.maximum(hz, _LINEAR_HZ) / _LINEAR_HZ) / _STEP
    return np.where(hz < _LINEAR_HZ, hz / _PER_MEL, above)


def hz_of_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse."""
    first = _LINEAR_HZ / _PER_MEL
    above = _LINEAR_HZ * np.exp(_STEP * (np.maximum(mel, first) - first))
    return np.where(mel < first, mel * _PER_MEL, above)


@lru_cache(maxsize=4)
def filters(rate_hz: int, window: int, bands: int) -> NDArray[np.float32]:
    """Triangles of area 1 (window / 2 + 1, bands), from 0 Hz to half the rate."""
    top = mel_of_hz(np.array([rate_hz / 2]))[0]
    edges = hz_of_mel(np.linspace(0.0, top, bands + 2))
    bins = np.fft.rfftfreq(window, 1 / rate_hz)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))
    return np.asarray(triangles, np.float32)


def mel_spectrogram(
    x: NDArray[np.float32], rate_hz: int, window: int, hop: int, bands: int
) -> NDArray[np.float32]:
    """Power in mel bands ``(t, bands)``: Hann windows around every ``hop``-th sample, zeros beyond
    the ends."""
    padded = np.pad(x, window // 2)
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return np.asarray(power @ filters(rate_hz, window, bands), np.float32)
