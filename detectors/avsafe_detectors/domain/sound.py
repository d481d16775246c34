"""What the sound is: its band, level, noise, speech; from the rows of ``hearing``.

Legend: ``t`` rows (one every 16 ms), ``b`` = 24 mel bands, ``s`` segments of 2 s, one a second.
Levels in dB; 0 dB is a full-scale sine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.domain.hearing import BANDS, BIN_HZ, FLOOR_DB, HOP_S, ROW, WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    F64 = NDArray[np.float64]
else:
    F64 = Any

SILENT_DB = -65.0  # a row below it is silent, whatever the rest is like
SEGMENT_S, STEP_S = 2.0, 1.0
LEAST_S = 0.25  # of sound that is described
NAMES = (
    "level spread", "quiet share", "active share", "mod <1.5", "mod 1.5-3", "mod 3-6", "mod 6-10",
    "mod >10", "mod depth", "harmonicity", "harmonicity spread", "harmonic share",
    "unharmonic share",
    "pitch", "pitch spread", "pitch step", "pitch steady", "voiced run", "flatness",
    "flatness spread", "peak share", "peak spread", "peak steady", "flux", "flux spread",
    "band spread", "band steady", "low", "middle", "high", "tilt", "shape step", "onsets",
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """The rows of one sound. ``level``, ``harmonicity``, ``pitch``... (t,); ``bands`` (t, b) dB."""

    level: F64
    harmonicity: F64
    pitch_hz: F64
    flatness: F64
    peak_share: F64
    peak_hz: F64
    bands: F64

    @classmethod
    def of(cls, features: Mapping[str, NDArray[Any]]) -> Rows:
        """Raises ValueError for arrays that are no rows of sound, KeyError where they lack."""
        rows, levels = np.asarray(features["rows"]), np.asarray(features["levels"])
        if rows.ndim != 2 or rows.shape[1] != len(ROW) or rows.dtype.kind != "f":
            raise ValueError(f"rows of sound are (t, {len(ROW)}) numbers, not {rows.shape}")
        if levels.shape != (len(rows), BANDS) or levels.dtype != np.uint8:
            raise ValueError(f"levels of sound are (t, {BANDS}) bytes, not {levels.shape}")
        clean = np.nan_to_num(rows.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        level, harmonicity, pitch, flatness, share, peak = np.clip(clean, -1e6, 1e6).T
        return cls(
            np.clip(level, FLOOR_DB, 40.0),
            np.clip(harmonicity, 0, 1),
            np.clip(pitch, 0, 1000),
            np.clip(flatness, -100, 0),
            np.clip(share, 0, 1),
            np.clip(peak, 0, 1e5),
            levels / 2.0 + FLOOR_DB,
        )

    def __len__(self) -> int:
        return len(self.level)

    def part(self, first: int, end: int) -> Rows:
        return Rows(*(getattr(self, n)[first:end] for n in self.__dataclass_fields__))


def floor_and_top(level: F64) -> tuple[float, float]:
    """Level of the quiet tenth and of the loud twentieth, dB."""
    if not len(level):
        return FLOOR_DB, FLOOR_DB
    low, high = np.quantile(level, [0.1, 0.95])
    return float(low), float(high)


def active(level: F64, floor: float, top: float) -> NDArray[np.bool_]:
    """Rows that sound: within 35 dB of the loud ones, and above the noise where this is less."""
    limit = max(SILENT_DB, top - 35.0, min(floor + 6.0, top - 12.0))
    return np.asarray(level > limit)


def segments(count: int) -> list[tuple[int, int]]:
    """(first, end) rows of each segment; the last one ends with the sound.

    >>> segments(200)
    [(0, 125), (62, 187), (75, 200)]
    """
    length, step = round(SEGMENT_S / HOP_S), int(STEP_S / HOP_S)
    if count <= length:
        return [(0, count)] if count else []
    first = list(range(0, count - length + 1, step))
    if first[-1] + length < count:
        first.append(count - length)
    return [(a, a + length) for a in first]


def numbers(rows: Rows, floor: float, top: float) -> F64:
    """Of one segment, in the order of ``NAMES``; relative to the whole sound's floor and top."""
    on = active(rows.level, floor, top)
    if on.sum() < 4:
        return np.zeros(len(NAMES))
    level = np.maximum(rows.level, top - 50.0)
    seen = rows.bands[on]
    pair = on[1:] & on[:-1]
    voiced = on & (rows.harmonicity > 0.5)
    both = voiced[1:] & voiced[:-1]
    tone = 12 * np.log2(np.maximum(rows.pitch_hz, 30) / 100)
    moved = np.abs(np.diff(tone))[both] if both.any() else np.array([12.0])
    peak = np.abs(np.diff(12 * np.log2(np.maximum(rows.peak_hz, 30) / 100)))
    peak = peak[pair] if pair.any() else np.array([12.0])
    shape = rows.bands - rows.bands.mean(1, keepdims=True)
    change = np.abs(np.diff(rows.bands, axis=0)).mean(1)
    change = change[pair] if pair.any() else np.array([0.0])
    turn = np.abs(np.diff(shape, axis=0)).mean(1)
    turn = turn[pair] if pair.any() else np.array([0.0])
    power = 10 ** (seen.mean(0) / 10)
    third = [10 * np.log10(power[a:b].sum() / power.sum() + 1e-6) for a, b in
             ((0, 6), (6, 14), (14, BANDS))]  # fmt: skip
    tilt = np.polyfit(np.arange(BANDS), np.maximum(seen.mean(0), seen.mean(0).max() - 60), 1)[0]
    rise = np.diff(level, n=1)
    onsets = float(((rise > 6) & (rise == _local_max(rise))).sum()) / (len(level) * HOP_S)
    return np.array([
        level[on].std(), (rows.level < top - 25).mean(), on.mean(), *_modulation(level),
        rows.harmonicity[on].mean(), rows.harmonicity[on].std(),
        (rows.harmonicity[on] > 0.6).mean(), (rows.harmonicity[on] < 0.3).mean(),
        np.median(tone[voiced]) if voiced.any() else 0.0,
        _spread(tone[voiced]), np.median(moved), (moved < 0.12).mean(),
        _mean_run(voiced), rows.flatness[on].mean(), rows.flatness[on].std(),
        rows.peak_share[on].mean(), rows.peak_share[on].std(), (peak < 0.4).mean(),
        change.mean(), change.std(), seen.std(0).mean(), seen.std(0).min(),
        *third, tilt, turn.mean(), onsets,
    ])  # fmt: skip


def _local_max(x: F64) -> F64:
    from scipy.ndimage import maximum_filter1d

    found: F64 = maximum_filter1d(x, 9)
    return found


def _spread(x: F64) -> float:
    if len(x) < 3:
        return 0.0
    low, high = np.quantile(x, [0.1, 0.9])
    return float(high - low)


def _mean_run(flags: NDArray[np.bool_]) -> float:
    """Seconds of the mean run of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    starts = int((edges == 1).sum())
    return float(flags.sum()) * HOP_S / starts if starts else 0.0


def _modulation(level: F64) -> list[float]:
    """Shares of five ranges in the level's movement, and how deep it is. Speech has its most at
    3 to 6 Hz, the rate of syllables (Houtgast and Steeneken 1985)."""
    if len(level) < 16:
        return [0.0] * 6
    centred = (level - level.mean()) * np.hanning(len(level))
    power = np.abs(np.fft.rfft(centred, 256)) ** 2
    hz = np.fft.rfftfreq(256, HOP_S)
    total = float(power[hz > 0.3].sum()) + 1e-9
    ends = (0.3, 1.5, 3.0, 6.0, 10.0, 40.0)
    shares = [float(power[(hz > a) & (hz <= b)].sum()) / total for a, b in pairwise(ends)]
    return [*shares, float(level.std())]


# ---------------------------------------------------------------- band


def bandwidth_hz(spectrum: NDArray[Any], rate_hz: int) -> float | None:
    """The highest frequency with sound: a steep edge where there is one, else the last frequency
    above the floor. None for silence.

    >>> hz = np.arange(321) * 25.0
    >>> bandwidth_hz(np.where(hz < 4000, -50.0, -120.0)[None].repeat(2, 0), 16000)
    4000.0
    """
    given = np.nan_to_num(np.asarray(spectrum, np.float64), nan=-160, posinf=0, neginf=-160)
    if given.ndim != 2 or given.shape[0] != 2 or given.shape[1] < 16:
        raise ValueError(f"a spectrum is (2, k), not {given.shape}")
    spacing = rate_hz / 2 / (given.shape[1] - 1)
    loud = np.clip(given[1] if np.any(given[1] != 0) else given[0], -160, 40)
    near = max(1, round(75 / spacing))
    smooth = np.convolve(np.pad(loud, near, mode="edge"), np.ones(2 * near + 1) / (2 * near + 1),
                         mode="valid")  # fmt: skip
    highest = float(smooth.max())
    if highest < -100:
        return None
    limit = max(-112.0, highest - 62.0)  # what lies below is a resampler's or a codec's rest
    smooth = np.maximum(smooth, limit)
    above = np.maximum.accumulate(smooth[::-1])[::-1]  # the most at or beyond each bin
    last = int(np.flatnonzero(smooth > limit)[-1])
    gap = max(2, round(350 / spacing))
    edge, best = last, 14.0  # dB: a steeper fall than any voice or room has within 350 Hz
    for i in range(max(2, round(500 / spacing)), last + 1):
        if i + gap >= len(above) - 1:
            break
        drop = smooth[i] - above[i + gap]
        if drop > best:
            edge, best = i, drop
    # An edge is where the fall is half done.
    if edge < last or best > 14.0:
        target = smooth[edge] - best / 2
        while edge < len(smooth) - 1 and smooth[edge] > target:
            edge += 1
    return float(edge * spacing)


def check_totals(totals: NDArray[Any]) -> F64:
    """(7,) finite numbers. Raises ValueError."""
    found = np.asarray(totals, np.float64)
    if found.shape != (7,) or not np.isfinite(found).all():
        raise ValueError(f"totals of sound are 7 numbers, not {found.shape}")
    return found


def heard_s(rows: Rows) -> float:
    """Seconds that the rows span."""
    return len(rows) * HOP_S + (WINDOW_S - HOP_S if len(rows) else 0.0)


__all__ = ["BIN_HZ", "Rows", "active", "bandwidth_hz", "floor_and_top", "numbers", "segments"]
