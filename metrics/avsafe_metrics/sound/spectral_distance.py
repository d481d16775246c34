"""Spectral distance to a reference: how far two spectrograms differ, at three resolutions.

Legend: sounds are ``(n,)`` mono at 16 kHz; a spectrogram is ``(t, f)`` magnitudes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.pairing import frames_in, magnitudes, pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

# frame, hop, window in samples: the resolutions of Yamamoto et al. 2020 (table 1)
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
FLOOR = 10 ** (-7 / 2)  # magnitudes below count as this: their implementation clamps powers at 1e-7
LEAST_S = 0.2
_AT_ONCE = 512  # frames


def spectral_distance(
    x: NDArray[Any], y: NDArray[Any], *, floor: float = FLOOR
) -> tuple[float, float]:
    """Log distance (mean |ln|X| - ln|Y||, their equation 5) and spectral convergence
    (||Y - X|| / ||Y||, equation 4) of ``x`` to the reference ``y``, each the mean over three
    resolutions; (0, 0) for equal sounds. Both ``(n,)``, n >= 2048.

    A gain of g dB moves the log distance by g ln(10) / 20 where all is above the floor:

    >>> y = np.random.default_rng(0).standard_normal(16000)
    >>> round(spectral_distance(0.5 * y, y)[0], 2), round(spectral_distance(0.5 * y, y)[1], 2)
    (0.69, 0.5)
    """
    logs, convergences = [], []
    for frame, hop, window in RESOLUTIONS:
        count = frames_in(x.size, frame, hop)
        difference = square = reference = 0.0
        for first in range(0, count, _AT_ONCE):
            some = min(_AT_ONCE, count - first)
            a, b = (
                np.maximum(magnitudes(s, frame, hop, window, first, some), floor) for s in (x, y)
            )
            difference += float(np.abs(np.log(a / b)).sum())
            square += float(((b - a) ** 2).sum())
            reference += float((b**2).sum())
        logs.append(difference / (count * (frame // 2 + 1)))
        convergences.append(np.sqrt(square / reference))
    return float(np.mean(logs)), float(np.mean(convergences))


class SpectralDistance(PlainMetric):
    """Multi-resolution STFT distance to the reference, in step with it: nothing is aligned, and a
    gain counts. Frames are not padded at the ends."""

    info = MetricInfo(
        name="spectral_distance",
        version="1",
        title="Spectral distance",
        columns=(
            Column("log", "Np", "lower", "mean |difference| of log magnitudes", 0.0),
            Column("convergence", "", "lower", "norm of the difference over the reference's", 0.0),
        ),
        wants=("mono16k",),
        family="sound",
        beside="reference",
        source="Yamamoto et al. 2020 (arXiv:1910.11480), equations 4 and 5, at 16 kHz",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        log, convergence = spectral_distance(*pair(gathered, LEAST_S))
        return {"log": log, "convergence": convergence}
