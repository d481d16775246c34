"""``sound_texture``: what a second of sound is like, without weights.

37 numbers a second of sound, after the statistics that McDermott and Simoncelli (2011, Neuron 71)
found to make sounds alike to listeners: spectrum and level, how each band varies, the speed of its
variation, and how neighbouring bands vary together; with flatness, flux, zero crossings and
peakedness. Each is divided by its deviation over real sounds (``SCALES``, fixed).

It hears noise, lost bands, distortion, gaps and a wrong rhythm; it knows nothing of what sounds.

Legend: ``n`` samples at 16 kHz, ``f`` frames of 10 ms, ``b`` mel bands, ``k`` seconds, ``d`` 37.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe_metrics.sets.backbones.vggish import htk_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

RATE_HZ, FFT, WINDOW, HOP, BANDS = 16000, 512, 400, 160, 32
GROUPS, WIDE = 8, 4  # groups of bands for the spectrum, and for modulation
MODULATION_HZ = ((2.0, 5.0), (5.0, 12.0), (12.0, 45.0))
WIDTH = 1 + GROUPS + GROUPS + WIDE * len(MODULATION_HZ) + 4 + 4
SILENT_DB = -70.0
MOST_ROWS = 30
# Deviation of each number over seconds of 26 real clips (scenes, and people talking), every clip
# counting alike; another scale is another version of the metric.
SCALES = np.array([
    10.137, 7.859, 8.937, 10.783, 11.257, 11.571, 11.884, 12.017, 12.123, 5.223, 6.891, 6.222,
    5.331, 5.360, 5.042, 4.522, 4.457, 0.899, 0.840, 0.835, 0.805, 0.722, 0.718, 0.712,
    0.764, 0.412, 0.491, 0.553, 0.567, 0.281, 0.254, 0.202, 0.428, 0.628, 0.096, 0.261,
    0.276,
])  # fmt: skip


def row(sound: NDArray[np.float32]) -> Array | None:
    """A second of sound (16000,) -> (37,); None where it is silent (below -70 dBFS).

    >>> row(np.zeros(16000, np.float32)) is None
    True
    """
    sound = np.asarray(sound, np.float64)
    level_db = 10 * np.log10(np.mean(sound**2) + 1e-12)
    if level_db < SILENT_DB:
        return None
    hann = np.hanning(WINDOW + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * hann
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2
    mel_db = 10 * np.log10(power @ htk_bands(BANDS, FFT, RATE_HZ, 50.0, 7800.0) + 1e-6)
    bands = mel_db.reshape(len(mel_db), GROUPS, -1).mean(axis=2)  # (f, 8)
    shape = bands.mean(axis=0) - level_db  # the same for a louder copy
    wide = mel_db.reshape(len(mel_db), WIDE, -1).mean(axis=2)  # (f, 4)
    centred = wide - wide.mean(axis=0)
    spectrum = np.abs(np.fft.rfft(centred * np.hanning(len(centred))[:, None], axis=0)) ** 2
    at_hz = np.fft.rfftfreq(len(centred), HOP / RATE_HZ)
    modulation = [
        np.log10(spectrum[(at_hz >= low) & (at_hz < high)].mean(axis=0) + 1.0)
        for low, high in MODULATION_HZ
    ]
    together = [
        _correlation(wide[:, 0], wide[:, 1]), _correlation(wide[:, 1], wide[:, 2]),
        _correlation(wide[:, 2], wide[:, 3]), _correlation(wide[:, 0], wide[:, 3]),
    ]  # fmt: skip
    mean_power = power.mean(axis=0) + 1e-10
    flatness = np.log10(mean_power).mean() - np.log10(mean_power.mean())
    flux = np.log10(np.abs(np.diff(mel_db, axis=0)).mean() + 0.1)
    crossings = np.log10(np.mean(np.signbit(sound[1:]) != np.signbit(sound[:-1])) + 1e-3)
    peaked = np.log10(np.mean(sound**4) / (np.mean(sound**2) ** 2 + 1e-20) + 1.0)
    parts = [
        [level_db], shape, bands.std(axis=0), np.concatenate(modulation), together,
        [flatness, flux, crossings, peaked],
    ]  # fmt: skip
    return np.asarray(np.concatenate(parts), np.float64)


def rows(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) at 16 kHz -> (k, 37): whole seconds, at most 30 of them, evenly spread. Raises
    Unscorable where no second has sound."""
    seconds = len(sound) // RATE_HZ
    if seconds == 0:
        raise Unscorable(f"{len(sound) / RATE_HZ:.2f} s of sound; a row takes one second")
    taken = min(seconds, MOST_ROWS)
    starts = [int((2 * i + 1) * seconds / (2 * taken)) * RATE_HZ for i in range(taken)]
    found = [row(sound[start : start + RATE_HZ]) for start in starts]
    heard = [one / SCALES for one in found if one is not None]
    if not heard:
        raise Unscorable(f"the sound is silent: no second of {seconds} is above {SILENT_DB:.0f} dB")
    return np.asarray(np.stack(heard), np.float32)


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / (np.sqrt((a @ a) * (b @ b)) + 1e-6))
