"""Onsets and tempo: how the sound is divided in time.

Legend: the sound is ``(n,)`` mono at 16 kHz; the onset envelope ``(k,)`` has 62.5 values a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.pairing import RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME, HOP, BANDS = 1024, 256, 128
PER_S = RATE_HZ / HOP
LEAST_S, TEMPO_LEAST_S = 1.0, 4.0
TEMPO_LEAST = 4  # onsets
RISE_DB = 1.0  # an onset rises by this much, as a mean over the bands
SILENT_DB = -80.0
_AT_ONCE_S = 20
_WINDOW_S = 8.0  # of a tempogram, librosa's default


def onset_envelope(x: NDArray[np.float32]) -> NDArray[Any]:
    """Spectral flux in dB ``(k,)``: librosa's ``onset_strength`` on a log-mel spectrogram that is
    made in pieces and floored at -80 dBFS, so that neither gain nor length changes it much."""
    import librosa

    padded = np.pad(x, FRAME // 2)
    count = 1 + (padded.size - FRAME) // HOP
    pieces = []
    step = round(_AT_ONCE_S * PER_S)
    for first in range(0, count, step):
        last = min(count, first + step)
        piece = padded[first * HOP : (last - 1) * HOP + FRAME]
        pieces.append(
            librosa.feature.melspectrogram(
                y=piece, sr=RATE_HZ, n_fft=FRAME, hop_length=HOP, n_mels=BANDS, center=False
            )
        )
    mel = np.concatenate(pieces, axis=1)
    logs = librosa.power_to_db(mel, ref=(FRAME / 4) ** 2, amin=10 ** (SILENT_DB / 10), top_db=None)
    found: NDArray[Any] = librosa.onset.onset_strength(S=logs, sr=RATE_HZ, hop_length=HOP)
    return found


def mean_tempogram(envelope: NDArray[Any]) -> NDArray[Any]:
    """The mean over time ``(lags, 1)`` of librosa's ``tempogram`` with its default windows of 8 s.

    Made in pieces: a whole one takes a gigabyte at ten minutes of sound.

    >>> mean_tempogram(np.tile([1.0] + [0.0] * 30, 20)).shape
    (500, 1)
    """
    import librosa

    window = int(librosa.time_to_frames(_WINDOW_S, sr=RATE_HZ, hop_length=HOP))
    padded = np.pad(envelope, window // 2, mode="linear_ramp", end_values=0)
    step = round(_AT_ONCE_S * PER_S)
    total = np.zeros((window, 1))
    for first in range(0, envelope.size, step):
        last = min(envelope.size, first + step)
        piece = librosa.feature.tempogram(
            onset_envelope=padded[first : last + window - 1],
            sr=RATE_HZ, hop_length=HOP, win_length=window, center=False,
        )  # fmt: skip
        total += piece.sum(axis=-1, keepdims=True)
    return total / envelope.size


def onset_statistics(envelope: NDArray[Any]) -> dict[str, float | str]:
    """``rate`` onsets a second, ``tempo`` in beats a minute and ``pulse``, how strongly the
    envelope repeats at that tempo (autocorrelation, 1 is a machine), ``entropy`` of the onset
    strength in time (1: spread evenly, near 0: one event)."""
    import librosa

    # places on the envelope as it is; librosa's own scaling to 1 would find onsets in noise
    peaks = librosa.util.peak_pick(
        envelope, pre_max=2, post_max=1, pre_avg=6, post_avg=7, delta=RISE_DB, wait=2
    )
    seconds = envelope.size / PER_S
    found: dict[str, float | str] = {"rate": len(peaks) / seconds}
    total = float(envelope.sum())
    if total <= 0:
        found["entropy"] = "the sound never rises"
    else:
        share = envelope[envelope > 0] / total
        found["entropy"] = float(-(share * np.log(share)).sum() / np.log(envelope.size))
    if seconds < TEMPO_LEAST_S or len(peaks) < TEMPO_LEAST:
        reason = f"{len(peaks)} onsets in {seconds:.1f} s: a tempo needs {TEMPO_LEAST} in 4 s"
        return found | {"tempo": reason, "pulse": reason}
    tempo = float(
        librosa.feature.tempo(
            tg=mean_tempogram(envelope),
            sr=RATE_HZ,
            hop_length=HOP,
            ac_size=_WINDOW_S,
            max_tempo=240,
        )[0]
    )
    centred = envelope - envelope.mean()
    repeats = librosa.autocorrelate(centred)
    lag = round(60 * PER_S / tempo)
    near = repeats[max(1, lag - 1) : lag + 2] / repeats[0]
    return found | {"tempo": tempo, "pulse": float(np.clip(near.max(initial=0.0), 0, 1))}


class Onsets(PlainMetric):
    """Onset rate, tempo and how far to trust it. They describe; a tempo with a pulse under about
    0.2 is a guess, as is any tempo of speech."""

    info = MetricInfo(
        name="onsets",
        version="1",
        title="Onsets and tempo",
        columns=(
            Column("rate", "1/s", "none", "onsets a second", 0.0),
            Column("tempo", "BPM", "none", "beats a minute", 0.0),
            Column("pulse", "", "none", "how strongly the sound repeats at that tempo", 0.0, 1.0),
            Column("entropy", "", "none", "how evenly onset strength is spread in time", 0.0, 1.0),
        ),
        wants=("mono16k",),
        family="sound",
        source="librosa 0.11: onset_strength, peak_pick, tempo, at 16 kHz",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        x = gathered.mono16k
        if x is None or x.size < LEAST_S * RATE_HZ:
            raise Unscorable(f"less than {LEAST_S:g} s of sound")
        if float(np.abs(x - x.mean()).max()) < 10 ** (SILENT_DB / 20):
            raise Unscorable("the sound is below -80 dBFS")
        return onset_statistics(onset_envelope(x))
