"""True peak: how high the waveform rises between the samples.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; ``c`` channels, ``n`` samples.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.blocks import Stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAPS = 24  # samples under the filter; the 12 of BS.1770 annex 2 miss up to 0.5 dB near 20 kHz
_KAISER = 6.0


def oversampling(rate_hz: int) -> int:
    """How often a sample is divided: to 192 kHz at least (BS.1770-5, annex 2).

    >>> oversampling(48000), oversampling(96000), oversampling(192000), oversampling(8000)
    (4, 2, 1, 4)
    """
    return 1 if rate_hz >= 192_000 else 2 if rate_hz >= 96_000 else 4


@cache
def interpolator(times: int) -> NDArray[np.float64]:
    """Windowed sinc that divides each sample ``times`` times: ``(times, TAPS)``, a phase a row,
    each of sum 1."""
    position = np.arange(TAPS) - TAPS // 2 + 1
    window_at = np.linspace(-1, 1, TAPS * times + 1)
    rows = []
    for phase in range(times):
        t = position - phase / times
        window = np.interp(t / (TAPS / 2), window_at, np.kaiser(window_at.size, _KAISER))
        row = np.sinc(t) * window
        rows.append(row / row.sum())
    return np.array(rows)


def true_peak(samples: NDArray[Any], times: int = 4) -> float:
    """The largest magnitude of ``(c, n)`` samples and of what lies between them, 1 at full scale.

    The first and last 12 samples count as measured only: silence is taken to surround the sound.

    >>> n = np.arange(4800)
    >>> quarter = 0.5 * np.sin(np.pi / 2 * n + np.pi / 4)[None]  # samples reach 0.354 only
    >>> round(true_peak(quarter * np.hanning(4800)), 2)
    0.5
    """
    if times == 1 or not samples.size:
        return float(np.abs(samples).max(initial=0.0))
    padded = np.pad(samples.astype(np.float64), ((0, 0), (TAPS // 2, TAPS // 2)))
    return _between(padded, times)


def _between(samples: NDArray[np.float64], times: int) -> float:
    """Peak over all positions of the filter that lie within ``(c, n)``, n >= TAPS."""
    seen = np.lib.stride_tricks.sliding_window_view(samples, TAPS, axis=1)
    return float(np.abs(seen @ interpolator(times).T).max(initial=0.0))


class TruePeak(PlainMetric):
    """True peak level in dBTP (ITU-R BS.1770-5 annex 2).

    What a lossy decoder gave above full scale was clipped before it came here.
    """

    info = MetricInfo(
        name="true_peak",
        version="1",
        title="True peak",
        columns=(Column("", "dBTP", "none", "above -1 a later codec or converter may clip"),),
        wants=("sound",),
        family="sound",
        source="ITU-R BS.1770-5 annex 2, with a longer interpolator than its example",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip.shape.rate_hz)


class _Meter(QuietMeter):
    def __init__(self, rate_hz: int) -> None:
        self._times = oversampling(rate_hz)
        self._stretches = Stretches(rate_hz, 10)
        self._before: NDArray[np.float64] | None = None  # the last samples, under the filter still
        self._peak = 0.0

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        for stretch in self._stretches.take(block):
            self._look(stretch)

    def _look(self, stretch: NDArray[Any]) -> None:
        if self._times == 1:
            self._peak = max(self._peak, float(np.abs(stretch).max(initial=0.0)))
            return
        if self._before is None:
            self._before = np.zeros((stretch.shape[0], TAPS // 2))
        joined = np.concatenate([self._before, stretch], axis=1)
        if joined.shape[1] >= TAPS:
            self._peak = max(self._peak, _between(joined, self._times))
        self._before = joined[:, 1 - TAPS :]

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        rest = self._stretches.rest()
        if rest is not None:
            self._look(rest)
        if self._before is not None:
            self._look(np.zeros((self._before.shape[0], TAPS // 2)))
        if self._peak <= 0:
            raise Unscorable("digital silence: a peak of 0 has no level")
        return {"": float(20 * np.log10(self._peak))}
