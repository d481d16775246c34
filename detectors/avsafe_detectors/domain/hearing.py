"""The half of the sound's description that runs in the sandbox: one row of numbers every 16 ms.

Legend: ``c`` channels, ``n`` samples, ``t`` rows (windows of 40 ms, one every 16 ms), ``b`` = 24
mel bands from 60 Hz to 8 kHz, ``k`` bins of 25 Hz up to half the rate. Levels in dB; 0 dB is a
full-scale sine. Powers are averaged over channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Samples

    F64 = NDArray[np.float64]
else:
    Samples = F64 = Any

HOP_S, WINDOW_S, BIN_HZ = 0.016, 0.04, 25.0
BANDS, LOW_HZ, HIGH_HZ = 24, 60.0, 8000.0
MAX_ROWS = 37_500  # 10 minutes: what follows is counted, not analysed
MIN_RATE_HZ, MAX_RATE_HZ = 2_000, 400_000  # beyond: no analysis
FLOOR_DB = -120.0  # of what is stored
ROW = ("level_db", "harmonicity", "pitch_hz", "flatness_db", "peak_share", "peak_hz")
TOTALS = ("rate_hz", "channels", "seconds", "seconds_analysed", "peak", "square", "clipped")
_BATCH = 64  # rows at once; fixed, so that results do not depend on the blocks
_PITCH_HZ = (70.0, 420.0)
_LAG_RATE = 8000.0  # of the autocorrelation, Hz
_CLIP = 0.9985  # two samples of the same sign in a row above it are clipped


class Ear:
    """Fed blocks ``(c, n)`` of any length; memory 2 kB a second up to ten minutes.

    >>> ear = Ear(16000)
    >>> ear.feed(np.zeros((1, 16000), np.float32))
    >>> ear.finish()["rows"].shape
    (61, 6)
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._usable = MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ
        self._length = max(16, round(rate_hz * WINDOW_S))
        n = self._length
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
        self._hz: F64 = np.arange(n // 2 + 1, dtype=np.float64) * (rate_hz / n)
        self._mel = mel_bands(self._hz)
        self._voice = (self._hz >= 80) & (self._hz <= 3800)
        self._lags = self._lag_tables()
        self._channels: int | None = None
        self._pending: list[F64] = []
        self._begin = self._end = self._rows = self._fed = 0
        self._peak = self._square = 0.0
        self._clipped = 0
        self._last: F64 | None = None
        self._levels: list[NDArray[np.uint8]] = []
        self._row: list[NDArray[np.float32]] = []
        self._power = np.zeros(n // 2 + 1)
        self._decibel = np.zeros(n // 2 + 1)
        self._loud = 0
        self._loudest = FLOOR_DB

    def feed(self, block: Samples) -> None:
        """Values that are not finite count as silence. Raises UsageError for a wrong shape."""
        block = np.asarray(block)
        if block.ndim != 2:
            raise UsageError(f"A block of samples is (channels, n), not {block.shape}.")
        if self._channels is None:
            self._channels = len(block)
        if len(block) != self._channels:
            raise UsageError(
                f"The number of channels changed from {self._channels} to {len(block)}."
            )
        if not block.size:
            return
        clean = np.nan_to_num(block.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        clean = np.clip(clean, -16.0, 16.0)
        self._count(clean)
        if not self._usable or self._rows >= MAX_ROWS:
            return
        self._pending.append(clean)
        self._end += clean.shape[1]
        while count := min(_BATCH, MAX_ROWS - self._rows):
            if self._stop(count) > self._end:
                break
            self._analyse(count)

    def finish(self) -> dict[str, NDArray[Any]]:
        """``levels`` (t, b) uint8, 2 (dB + 120); ``rows`` (t, 6) float32 in the order of ``ROW``;
        ``spectrum`` (2, k) float32: dB of the mean power, and mean dB of loud rows; ``totals``
        (7,) float64 in the order of ``TOTALS``. Call once."""
        count = 0
        while self._usable and self._rows + count < MAX_ROWS and self._stop(count + 1) <= self._end:
            count += 1
        if count:
            self._analyse(count)
        self._pending = []
        heard = self._rows * HOP_S + (WINDOW_S - HOP_S if self._rows else 0.0)
        mean = 10 * np.log10(self._power / max(1, self._rows) + 1e-20)
        loud = self._decibel / max(1, self._loud)
        totals = [
            self.rate_hz, self._channels or 0, self._fed / max(1, self.rate_hz), heard, self._peak,
            self._square / max(1, self._fed * (self._channels or 1)),
            self._clipped / max(1, self._fed * (self._channels or 1)),
        ]  # fmt: skip
        return {
            "levels": np.concatenate([np.zeros((0, BANDS), np.uint8), *self._levels]),
            "rows": np.concatenate([np.zeros((0, len(ROW)), np.float32), *self._row]),
            "spectrum": np.stack([mean, loud]).astype(np.float32),
            "totals": np.array(totals, np.float64),
        }

    def _count(self, block: F64) -> None:
        self._fed += block.shape[1]
        self._peak = max(self._peak, float(np.abs(block).max()))
        self._square += float(np.square(block).sum())
        if self._peak < _CLIP:
            self._last = block[:, -1:]
            return
        joined = block if self._last is None else np.concatenate([self._last, block], axis=1)
        for sign in (1, -1):
            high = sign * joined >= _CLIP
            pair = high[:, 1:] & high[:, :-1]
            self._clipped += int(pair.sum())
        self._last = block[:, -1:]

    def _start(self, row: int) -> int:
        return round(row * HOP_S * self.rate_hz)

    def _stop(self, count: int) -> int:
        return self._start(self._rows + count - 1) + self._length

    def _analyse(self, count: int) -> None:
        sound = np.hstack(self._pending)
        starts = np.array([self._start(self._rows + i) for i in range(count)]) - self._begin
        power = np.zeros((count, len(self._hz)))
        for channel in sound:
            cut = np.lib.stride_tricks.sliding_window_view(channel, self._length)[starts]
            power += np.abs(np.fft.rfft(cut * self._window)) ** 2
        power *= (4.0 / self._length) ** 2 / len(sound)  # a full-scale sine has 1 in its bin
        self._keep(power)
        self._rows += count
        keep = self._start(self._rows)
        self._pending = [sound[:, keep - self._begin :]]
        self._begin = keep

    def _keep(self, power: F64) -> None:
        # Hann's noise bandwidth is 1.5 bins; the sum of a sine's bins is 1.5 times its peak.
        total = power.sum(1) / 1.5
        level = np.maximum(FLOOR_DB, 10 * np.log10(total + 1e-12))
        bands = 10 * np.log10(power @ self._mel / 1.5 + 1e-12)
        self._levels.append(np.clip(np.rint(2 * (bands - FLOOR_DB)), 0, 255).astype(np.uint8))
        self._row.append(np.column_stack([level, *self._voice_of(power)]).astype(np.float32))
        self._power += power.sum(0)
        self._loudest = max(self._loudest, float(level.max()))
        loud = (level > self._loudest - 25.0) & (level > -75.0)
        if loud.any():
            self._decibel += 10 * np.log10(power[loud] + 1e-16).sum(0)
            self._loud += int(loud.sum())

    def _voice_of(self, power: F64) -> tuple[F64, F64, F64, F64, F64]:
        """Harmonicity 0 to 1, pitch, flatness dB, share and place of the highest peak."""
        used = power[:, self._voice]
        count = len(power)
        if used.shape[1] < 8:
            zero = np.zeros(count)
            return zero, zero, zero, zero, zero
        cosines, own, lags = self._lags
        correlation = (used @ cosines) / (used.sum(1, keepdims=True) + 1e-12) / own
        best = np.argmax(correlation, axis=1)
        harmonicity = np.clip(correlation[np.arange(count), best], 0, 1)
        quiet = used.sum(1) < 1e-9
        flatness = 10 * (np.log10(used + 1e-14).mean(1) - np.log10(used.mean(1) + 1e-14))
        peak = np.argmax(used, axis=1)
        near = np.clip(peak[:, None] + np.arange(-2, 3), 0, used.shape[1] - 1)
        share = np.take_along_axis(used, near, 1).sum(1) / (used.sum(1) + 1e-12)
        return (
            np.where(quiet, 0.0, harmonicity),
            np.where(quiet, 0.0, 1.0 / lags[best]),
            np.where(quiet, 0.0, flatness),
            np.where(quiet, 0.0, np.minimum(1.0, share)),
            np.where(quiet, 0.0, self._hz[self._voice][peak]),
        )

    def _lag_tables(self) -> tuple[F64, F64, F64]:
        """Cosines (k', lags), the window's own correlation (lags,), lags in seconds."""
        first, last = round(_LAG_RATE / _PITCH_HZ[1]), round(_LAG_RATE / _PITCH_HZ[0])
        lags = np.arange(first, last + 1) / _LAG_RATE
        cosines = np.cos(2 * np.pi * np.outer(self._hz[self._voice], lags))
        x = lags / WINDOW_S
        own = _hann_correlation(x) + _hann_correlation(1 - x)  # no padding: it wraps around
        return cosines, own, lags


def _hann_correlation(x: F64) -> F64:
    """Of a Hann window at a lag of ``x`` windows, normalised (Boersma 1993, eq. 8)."""
    turn = 2 * np.pi * x
    return (1 - x) * (2 / 3 + np.cos(turn) / 3) + np.sin(turn) / (2 * np.pi)


def mel_bands(hz: F64) -> F64:
    """(k,) -> (k, b): which bin belongs to which band; each bin to one, none above 8 kHz."""
    mel = 2595 * np.log10(1 + hz / 700)
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOW_HZ, HIGH_HZ))
    index = np.floor((mel - low) / (high - low) * BANDS).astype(int)
    found = np.zeros((len(hz), BANDS))
    inside = (index >= 0) & (index < BANDS)
    found[np.flatnonzero(inside), index[inside]] = 1.0
    return found
