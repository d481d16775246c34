"""What the motion model hears: log-mel energies, four columns to a frame of the video.

Legend: ``n`` samples at 16 kHz, ``t`` frames of 40 ms, a column is 10 ms, ``m`` = 40 bands.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16000
COLUMNS = 4  # of 10 ms to a frame of 40 ms
BANDS = 40
_HOP, _WINDOW, _FFT = 160, 400, 512
_LOW_HZ, _HIGH_HZ = 60.0, 7600.0
_SPEECH_RMS = 0.05  # -26 dBFS: the level that loud parts are brought to
_MAX_GAIN = 30.0  # 29.5 dB: silence stays silence
_FLOOR = 1e-4  # of the mel energy under the logarithm, about 60 dB under speech


@cache
def _filters() -> NDArray[np.float32]:
    """Triangles even on the mel scale (O'Shaughnessy, 2595 log10(1 + f / 700)): (m, bins)."""
    ends = 2595 * np.log10(1 + np.array([_LOW_HZ, _HIGH_HZ]) / 700)
    edges = 700 * (10 ** (np.linspace(ends[0], ends[1], BANDS + 2) / 2595) - 1)
    hz = np.arange(_FFT // 2 + 1) * RATE_HZ / _FFT
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (hz - low) / (mid - low), (high - hz) / (high - mid)
    out: NDArray[np.float32] = np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)
    out /= np.maximum(out.sum(1, keepdims=True), 1e-6)
    return out


def levelled(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound (n,) with its loud half second brought to one level, whoever recorded it."""
    blocks = sound[: len(sound) // 800 * 800].reshape(-1, 800)
    if not len(blocks):
        return sound
    rms = np.sqrt((blocks.astype(np.float64) ** 2).mean(1))
    loud = float(np.sqrt((np.sort(rms)[int(0.6 * len(rms)) :] ** 2).mean()))
    gain = min(_MAX_GAIN, _SPEECH_RMS / max(loud, 1e-9))
    return (sound * np.float32(gain)).astype(np.float32)


def log_mel(sound: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """(n,) at 16 kHz -> (frames, 4 * 40): the natural logarithm of mel energies, 0 at the floor.

    Column ``c`` of frame ``i`` is centred on ``i / 25 + c / 100`` s. Short sound is padded with
    silence.

    >>> log_mel(np.zeros(16000, np.float32), 25).shape
    (25, 160)
    """
    sound = levelled(np.asarray(sound, np.float32))
    columns = frames * COLUMNS
    need = (columns - 1) * _HOP + _WINDOW
    padded = np.zeros(need, np.float32)
    part = sound[: need - _WINDOW // 2]
    padded[_WINDOW // 2 : _WINDOW // 2 + len(part)] = part
    window = np.hanning(_WINDOW).astype(np.float32)
    cut = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    out = np.empty((columns, BANDS), np.float32)
    for start in range(0, columns, 2000):  # bounds the memory of a long sound
        power = np.abs(np.fft.rfft(cut[start : start + 2000] * window, _FFT)) ** 2
        out[start : start + 2000] = np.log(power.astype(np.float32) @ _filters().T + _FLOOR)
    return (out - np.float32(np.log(_FLOOR))).reshape(frames, COLUMNS * BANDS)


def loudness(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """How loud each frame is, 0 (silence) to about 9: (t, 160) -> (t,).

    The mean of the bands that carry voices.

    >>> float(loudness(log_mel(np.zeros(16000, np.float32), 25)).max())
    0.0
    """
    bands = mel.reshape(len(mel), COLUMNS, BANDS)[:, :, 2:34]
    out: NDArray[np.float32] = bands.mean(axis=(1, 2))
    return out
