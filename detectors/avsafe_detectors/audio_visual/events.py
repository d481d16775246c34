"""What is heard without being seen, and seen without being heard: indicators, never a verdict.

Speech off screen, music over silent pictures and silent motion are common in real films.

Legend: ``t`` frames at ``rate`` a second; ``n`` samples at 16 kHz.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces import mouth_opening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from avsafe_detectors.audio_visual.lips import Talk

HZ = 16_000
SPOKEN_DB = 20.0  # below the loudest tenth of a second: quieter is a pause
SILENT_DB = -55.0
STILL = 0.035  # range of the mouth's opening within half a second that is no speech
LAG_S = 0.2
LEAST_S = 2.0
_STEP, _WIDE = 160, 80  # samples of 10 ms at 16 kHz, of 40 ms at 2 kHz


def level_db(sound: NDArray[Any], rate: float, count: int) -> NDArray[np.float64]:
    """(t,) root mean square of each frame's sound, dB of full scale, above 300 Hz by differences.

    >>> float(level_db(np.zeros(16000), 25.0, 25).max())
    -100.0
    """
    edges = np.clip(np.round(np.arange(count + 1) * HZ / rate).astype(int), 0, len(sound))
    rising = np.diff(np.asarray(sound, np.float64), prepend=0.0)
    total = np.concatenate([[0.0], np.cumsum(np.square(rising))])
    lengths = np.maximum(np.diff(edges), 1)
    power = (total[edges[1:]] - total[edges[:-1]]) / lengths
    return np.asarray(10 * np.log10(np.maximum(power, 1e-10)), np.float64)


def spoken(level: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(t,) where there is sound that could be speech: near the loudest, and above silence."""
    if not len(level):
        return np.zeros(0, bool)
    return np.asarray(level > max(SILENT_DB, float(np.quantile(level, 0.98)) - SPOKEN_DB))


def voiced_share(sound: NDArray[Any]) -> float:
    """Share of the loud 10 ms steps of sound (n,) at 16 kHz that are voiced, 0 to 1: below 1 kHz
    lies at least 15 % of the power, and repeats itself at 70 to 400 Hz (autocorrelation of 40 ms,
    divided by the window's, after Boersma 1993). Speech has 0.65 to 1, birdsong and noise near 0.

    >>> voiced_share(np.zeros(16000))
    0.0
    """
    from scipy.signal import resample_poly

    sound = np.asarray(sound, np.float64)
    count = sound.size // _STEP
    if count < 20:
        return 0.0
    low = resample_poly(sound, 1, 8)  # 2 kHz: 20 values a step
    taper = np.hanning(_WIDE)
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(low, (0, _WIDE)), _WIDE)[::20][:count]
    steps = np.square(sound[: count * _STEP]).reshape(count, _STEP).sum(1)
    power = np.convolve(steps, np.ones(4))[3:]  # of 40 ms, from the step on
    loud = power > max(1e-7, float(np.quantile(power, 0.98)) * 10 ** (-SPOKEN_DB / 10))
    if not loud.any():
        return 0.0
    spectrum = np.fft.rfft((pieces - pieces.mean(1, keepdims=True)) * taper, 256, axis=1)
    around = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)
    own = np.fft.irfft(np.abs(np.fft.rfft(taper, 256)) ** 2)
    again = around[:, 5:29] / np.maximum(around[:, :1], 1e-9) / (own[5:29] / own[0])
    below = 8 * np.square(pieces).sum(1) / np.maximum(power, 1e-9)
    return float(np.mean(((again.max(1) > 0.5) & (below > 0.15))[loud]))


def still_while_speaking(talk: Talk) -> float | None:
    """Share of the loud frames with a face in which the mouth stands still, 0 to 1; None without
    such frames."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    opening = np.asarray(mouth_opening(talk.points))
    known = np.isfinite(opening)
    loud = spoken(level_db(talk.sound, talk.rate, len(opening))) & known
    if loud.sum() < LEAST_S * talk.rate / 2:
        return None
    width = max(3, round(0.5 * talk.rate))
    most = maximum_filter1d(np.where(known, opening, -np.inf), width)
    least = minimum_filter1d(np.where(known, opening, np.inf), width)
    return float(np.mean((most - least)[loud] < STILL))


def linked(rise: NDArray[Any], change: NDArray[Any], rate: float) -> tuple[float, float] | None:
    """Correlation of sound's rises with the picture's changes, the best within 0.2 s, and the share
    of circular shifts (0.5 s and more off) that reach it. None for less than 2 s, or where one of
    both does not vary.
    """
    a, b = np.asarray(rise, np.float64), np.asarray(change, np.float64)
    if len(a) < LEAST_S * rate or min(a.std(), b.std()) < 1e-6:
        return None
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    around = np.fft.irfft(np.fft.rfft(a) * np.conj(np.fft.rfft(b)), len(a)) / len(a)
    reach = round(LAG_S * rate)
    best = np.array([np.roll(around, k) for k in range(-reach, reach + 1)]).max(axis=0)
    far = round(0.5 * rate) + reach
    null = best[far : len(best) - far]
    if not len(null):
        return None
    return float(best[0]), float((1 + (null >= best[0]).sum()) / (1 + len(null)))


def described(talk: Talk) -> Mapping[str, float | None]:
    """The indicators of a clip, for ``details``; None where one can't be had."""
    level = level_db(talk.sound, talk.rate, len(talk.points)) if talk.rate else np.zeros(0)
    rise = np.maximum(np.diff(level, prepend=level[:1]), 0)
    pair = linked(rise, talk.change, talk.rate) if talk.rate else None
    return {
        "speech_with_still_mouth": still_while_speaking(talk) if len(talk.points) else None,
        "sound_and_motion_correlation": None if pair is None else pair[0],
        "sound_and_motion_p": None if pair is None else pair[1],
    }
