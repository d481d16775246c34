"""Mel-cepstral distortion: how far the spectral envelope is from the reference's.

Legend: sounds are ``(n,)`` mono at 16 kHz; cepstra are ``(t, d)``, coefficient 0 first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.pairing import RATE_HZ, frames_in, magnitudes, pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME, HOP = 512, 80  # 32 ms, 5 ms
BANDS, ORDER = 80, 24
SILENT_DB = 40.0  # frames this far below the loudest of the reference are silence
LEAST_S = 0.1
_FLOOR = 1e-5
_AT_ONCE = 2048  # frames


def mel_cepstra(x: NDArray[Any], first: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cepstra ``(count, 25)`` of frames of ``(n,)``, and the power of each ``(count,)``: a cosine
    transform of the natural log of magnitudes in 80 mel bands, scaled so that the log spectrum is
    the sum of ``c[d] cos(d w)``."""
    import librosa
    from scipy.fft import dct

    spectra = magnitudes(x, FRAME, HOP, FRAME, first, count)
    filters = librosa.filters.mel(sr=RATE_HZ, n_fft=FRAME, n_mels=BANDS)
    logs = np.log(np.maximum(spectra @ filters.T, _FLOOR))
    return dct(logs, axis=1)[:, : ORDER + 1] / BANDS, (spectra**2).sum(axis=1)


def mel_cepstral_distortion(x: NDArray[Any], y: NDArray[Any]) -> float:
    """MCD in dB of ``x`` to the reference ``y``, frame by frame (Kubichek 1993): mean of
    ``(10 / ln 10) sqrt(2 sum over d = 1..24 of (c_x[d] - c_y[d])^2)``; 0 for equal sounds.

    Coefficient 0, the level, is left out: a gain changes nothing. Frames of silence in the
    reference (40 dB below its loudest) are left out. Raises ``Unscorable`` when no frame is left.

    >>> y = np.random.default_rng(0).standard_normal(16000)
    >>> round(mel_cepstral_distortion(0.5 * y, y), 6)
    0.0
    """
    count = frames_in(min(x.size, y.size), FRAME, HOP)
    distances, powers = [], []
    for first in range(0, count, _AT_ONCE):
        some = min(_AT_ONCE, count - first)
        (a, _), (b, power) = mel_cepstra(x, first, some), mel_cepstra(y, first, some)
        distances.append(np.sqrt(2 * ((a - b)[:, 1:] ** 2).sum(axis=1)))
        powers.append(power)
    if not powers or not (power := np.concatenate(powers)).any():
        raise Unscorable("the reference has no frame with sound")
    heard = power > power.max() * 10 ** (-SILENT_DB / 10)
    return float(10 / np.log(10) * np.concatenate(distances)[heard].mean())


class MelCepstralDistortion(PlainMetric):
    """MCD to the reference, in step with it (no dynamic time warping).

    Cepstra come from 80 mel bands. Figures of papers often use SPTK's or WORLD's mel-generalised
    cepstra and time warping: they cannot be compared with these.
    """

    info = MetricInfo(
        name="mel_cepstral_distortion",
        version="1",
        title="Mel-cepstral distortion",
        columns=(Column("", "dB", "lower", "0 for the same envelope", 0.0),),
        wants=("mono16k",),
        family="sound",
        beside="reference",
        source="Kubichek 1993 (PACRIM), with 24 cepstra of 80 mel bands, frame by frame",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": mel_cepstral_distortion(*pair(gathered, LEAST_S))}
