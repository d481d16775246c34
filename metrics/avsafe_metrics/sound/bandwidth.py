"""Bandwidth: up to which frequency there is sound.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; a spectrum is ``(f,)`` mean power of ``f`` bins
from 0 to half the rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME = 4096  # samples; hop is half
ROLLOFF = 0.99
BAND_HZ = 250.0
CLIFF_DB = 20.0  # everything above the cutoff lies this far below what is just beneath it
FLOOR_DB = -110.0  # below the strongest band nothing counts: 16 bits end near there
SILENT_DBFS = -90.0  # a quieter sound has no spectrum to speak of


def rolloff(spectrum: NDArray[np.float64], rate_hz: int) -> float:
    """Frequency in Hz below which 99 % of the power lies (``librosa.feature.spectral_rolloff``)."""
    import librosa

    frequencies = np.linspace(0, rate_hz / 2, spectrum.size)
    found = librosa.feature.spectral_rolloff(
        S=spectrum[:, None], freq=frequencies, roll_percent=ROLLOFF
    )
    return float(found[0, 0])


def cutoff(spectrum: NDArray[np.float64], rate_hz: int) -> float:
    """Frequency in Hz of the highest cliff: bands of 250 Hz above it all lie 20 dB or more below
    each of the two bands beneath it. Half the rate where there is no cliff.

    >>> f = np.linspace(0, 24000, 2049)
    >>> cutoff(np.where(f < 16000, 1.0, 1e-9), 48000)
    16000.0
    """
    bins = np.linspace(0, rate_hz / 2, spectrum.size)
    count = max(1, int(rate_hz / 2 / BAND_HZ))
    edges = np.arange(count + 1) * BAND_HZ
    place = np.clip(np.searchsorted(edges, bins, side="right") - 1, 0, count - 1)
    power = np.bincount(place, spectrum, count) / np.maximum(1, np.bincount(place, None, count))
    strongest = power.max()
    if strongest <= 0:
        return float(rate_hz / 2)
    levels = np.maximum(10 * np.log10(np.maximum(power / strongest, 1e-30)), FLOOR_DB)
    # band k is the last with sound; band k + 1 may hold the slope of the filter
    k = count - 3
    while k > 0 and not _cliff(levels, k):
        k -= 1
    if k <= 0:
        return float(rate_hz / 2)
    while k > 1 and _cliff(levels, k - 1):  # a slope over several bands: to its top
        k -= 1
    top = levels[k - 1 : k + 1].min()
    while levels[k + 1] > top - CLIFF_DB / 2:
        k += 1
    return float(edges[k + 1])


def _cliff(levels: NDArray[np.float64], k: int) -> bool:
    return bool(levels[k - 1 : k + 1].min() - levels[k + 2 :].max() >= CLIFF_DB)


class Bandwidth(PlainMetric):
    """Long-term spectrum (Welch, 4096 samples, Hann, half overlap, all channels): its 99 % roll-off
    and the edge above which there is nothing. Telephone sound ends at 4 kHz, MP3 of 128 kbit/s at
    16 kHz, whatever the rate of the file. Noise added later hides the edge."""

    info = MetricInfo(
        name="bandwidth",
        version="1",
        title="Bandwidth",
        columns=(
            Column("rolloff", "Hz", "none", "99 % of the power lies below", 0.0),
            Column("cutoff", "Hz", "higher", "edge of a cliff of 20 dB; else half the rate", 0.0),
        ),
        wants=("sound",),
        family="sound",
        source="Welch's long-term spectrum; roll-off as librosa's; cliff of 20 dB",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip.shape.rate_hz)


class _Meter(QuietMeter):
    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._window = np.hanning(FRAME + 1)[:-1]
        self._sum = np.zeros(FRAME // 2 + 1)
        self._frames = 0
        self._held: NDArray[Any] | None = None

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        held = block if self._held is None else np.concatenate([self._held, block], axis=1)
        start = 0
        while held.shape[1] - start >= FRAME:
            self._add(held[:, start : start + FRAME])
            start += FRAME // 2
        self._held = held[:, start:].copy()

    def _add(self, frame: NDArray[Any]) -> None:
        power = np.abs(np.fft.rfft(frame * self._window, axis=1)) ** 2
        self._sum += power.mean(axis=0)
        self._frames += 1

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if not self._frames:
            raise Unscorable(f"less than {FRAME} samples of sound")
        spectrum = self._sum / self._frames
        spectrum[:2] = 0.0  # an offset is no sound
        power = 2 * spectrum.sum() / FRAME / float((self._window**2).sum())
        if power < 10 ** (SILENT_DBFS / 10):
            raise Unscorable(f"the sound is below {SILENT_DBFS:g} dBFS")
        return {
            "rolloff": rolloff(spectrum, self._rate_hz),
            "cutoff": cutoff(spectrum, self._rate_hz),
        }
