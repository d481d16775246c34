"""From levels to what the models see: which frames are heard, and windows of them.

Legend: ``t`` frames of 10 ms, ``f`` bins of 31.25 Hz, ``w`` windows of 192 frames, ``d`` numbers.

Silence is no clue: pauses above 0.2 s are taken out, whatever lies 60 dB below the loud parts is
raised to there, and each bin has its mean over the file taken off (microphone, room, band).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import fine
from avsafe_detectors.speech.extractor import FLOOR_DB, STEP_DB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

FIRST, LAST = 2, 218  # bins used: 62 Hz to 6.8 kHz
WIDTH = LAST - FIRST
NARROW = 108  # bins up to 3.4 kHz: what a telephone carries
WINDOW, STRIDE = 192, 96
ACTIVE_DB, PAUSE = 35.0, 20  # below the loud parts: silence; frames of a pause that are kept
FLOOR = 60.0


def heard(level: F32) -> NDArray[np.bool_]:
    """Which frames (t,) are kept, of their levels in dB: speech and its short pauses."""
    if not len(level):
        return np.zeros(0, bool)
    active = level > np.quantile(level, 0.95) - ACTIVE_DB
    keep = np.zeros(len(level), bool)
    quiet = PAUSE  # the beginning is no pause
    for i, on in enumerate(active):
        quiet = 0 if on else quiet + 1
        keep[i] = quiet <= PAUSE
    return keep


def decibels(levels: NDArray[Any]) -> F32:
    """Bytes (t, 257) -> dB (t, 216)."""
    return np.asarray(levels[..., FIRST:LAST], np.float32) * STEP_DB + FLOOR_DB


def loudness(db: F32) -> F32:
    """(t, f) dB -> (t,) dB of the whole frame."""
    return np.asarray(10 * np.log10(np.power(10.0, db / 10).sum(-1) + 1e-12), np.float32)


def normalised(db: F32) -> F32:
    """(t, f) dB of the heard frames -> without floor and mean, in units of 10 dB."""
    loud = float(np.quantile(loudness(db), 0.95))
    floor = loud - FLOOR - 10 * np.log10(db.shape[1])
    db = np.asarray(10 * np.log10(np.power(10.0, db / 10) + 10 ** (floor / 10)), np.float32)
    return np.asarray((db - db.mean(0)) / 10, np.float32)


def windows(count: int) -> list[tuple[int, int]]:
    """First frames and ends of windows over ``count`` heard frames; one, where there are fewer.

    >>> windows(300)
    [(0, 192), (96, 288), (108, 300)]
    """
    first = list(range(0, max(1, count - WINDOW + 1), STRIDE))
    if first[-1] + WINDOW < count:
        first.append(count - WINDOW)
    return [(i, min(count, i + WINDOW)) for i in first]


def statistics(x: F32, moments: NDArray[np.uint8]) -> F32:
    """Of heard frames (t, 216), normalised, and their moments (10 t, 6) -> (d,): what the networks
    see."""
    return np.concatenate([summary(x), fine.summary(moments)])


# ---------------------------------------------------------------- statistics of the spectrum


def _filters(bands: int, width: int = WIDTH) -> F32:
    edges = np.linspace(0, width - 1, bands + 2)
    f = np.arange(width)
    step = edges[1] - edges[0]
    return np.asarray(np.maximum(0, 1 - np.abs(f[None] - edges[1:-1, None]) / step), np.float32)


_BANK = _filters(40)
_DCT = np.cos(np.pi / 40 * np.outer(np.arange(1, 21), np.arange(40) + 0.5)).astype(np.float32)
_BANDS = ((0, 24), (24, 48), (48, 72), (72, 108), (108, 144), (144, 180), (180, 216))


def summary(x: F32) -> F32:
    """Normalised levels (t, f) of an utterance or window -> (d,) statistics: linear-frequency
    cepstra and band levels with their first and second differences (Sahidullah et al. 2015), the
    fine structure across bins (harmonics, noise between them) and how it goes on from frame to
    frame."""
    bank = _BANK / _BANK.sum(1, keepdims=True)
    bands = x @ bank.T
    cepstra = bands @ _DCT.T / 6.3
    parts: list[Any] = []
    for series in (cepstra, bands):
        first = series[2:] - series[:-2]
        second = first[2:] - first[:-2]
        for one in (series, first, second):
            parts += [one.std(0)]
        parts += [_skew(series), _kurtosis(first)]
    smooth = _smoothed(x, 9)
    fine = x - smooth
    order = np.argsort(bands.mean(1), kind="stable")
    quiet, loud = order[: len(order) // 2], order[len(order) // 2 :]
    for low, high in _BANDS:
        part = fine[:, low:high]
        size = np.abs(part).mean(1)
        parts += [size[loud].mean(), size[quiet].mean(), size.std(), part.min(1).mean(),
                  part.max(1).mean(), np.abs(part[1:] - part[:-1]).mean() / (size.mean() + 0.02),
                  _along(part, 1), _along(part, 3), _kurtosis(part.reshape(-1, 1))[0]]  # fmt: skip
        ripple = np.abs(np.fft.rfft(part - part.mean(1, keepdims=True), 64, axis=1))[:, 2:24]
        peak = ripple.max(1) / (ripple.mean(1) + 1e-3)
        parts += [peak[loud].mean(), peak.std()]
    return np.concatenate([np.atleast_1d(p) for p in parts]).astype(np.float32)


def _smoothed(x: F32, size: int) -> F32:
    total = np.cumsum(np.pad(x, ((0, 0), (size // 2 + 1, size // 2)), mode="edge"), 1)
    return np.asarray((total[:, size:] - total[:, :-size]) / size, np.float32)


def _along(part: F32, lag: int) -> float:
    """Correlation of the fine structure with that ``lag`` frames later."""
    a, b = part[lag:], part[:-lag]
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-3))


def _skew(x: F32) -> F32:
    z = (x - x.mean(0)) / (x.std(0) + 1e-3)
    return np.asarray((z**3).mean(0))


def _kurtosis(x: F32) -> F32:
    z = (x - x.mean(0)) / (x.std(0) + 1e-3)
    return np.asarray(np.minimum((z**4).mean(0), 30.0))
