"""The half of audio detection that runs in the sandbox: sound -> a compact log-spectrum. No key.

Legend: ``c`` channels, ``n`` samples, ``t`` analysis frames (one every 24 ms), ``b`` spectral bins
of 15.625 Hz from 515.625 Hz (bin 33) to 6062.5 Hz (bin 388).

A frame is a 64 ms Hann window; powers are averaged over the channels, so that a channel in opposite
phase cannot cancel another. Levels are stored as bytes, half a decibel a step: 0.89 MB a minute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe.watermark.audio_chips import BIN_HZ, CHIP_S

FRAMES_PER_CHIP = 4
FRAME_S = CHIP_S / FRAMES_PER_CHIP  # 24 ms
FIRST_BIN = 33  # the lowest chip played 11 % too slow
BINS = 356  # up to the highest chip played 11 % too fast
MAX_FRAMES = 25_000  # 10 minutes: what follows is not analysed
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000  # beyond: no analysis, the features are empty

LEVELS = "audio_levels"  # (t, 356) uint8: 2 (dB + 110), 0 = no signal
SECONDS = "audio_seconds"  # (2,) float64: seconds analysed, seconds fed

_FLOOR_DB = -110.0  # 16-bit rounding noise lies at -125 dB a bin
_STEP_DB = 0.5  # its rounding error of 0.14 dB rms is far below the host's variation of 4 dB
_WINDOW_S = 1.0 / BIN_HZ
_BATCH = 64  # frames transformed at once; fixed, so results do not depend on the blocks


def to_db(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stored bytes -> dB; 0 dB is a full-scale sine.

    >>> float(to_db(np.array([220], np.uint8))[0])
    0.0
    """
    result: NDArray[np.float32] = levels.astype(np.float32) * _STEP_DB + _FLOOR_DB
    return result


class LevelMeter:
    """Streamed log-spectrum of sound at any rate; blocks ``(c, n)`` of any length.

    Memory: 14 kB a second of sound up to 10 minutes, then constant.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._usable = MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ
        self._length = round(rate_hz * _WINDOW_S)
        self._window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self._length) / self._length)
        self._channels: int | None = None
        self._pending: list[NDArray[np.float64]] = []  # blocks (c, n); the first begins at _begin
        self._begin = 0
        self._end = 0
        self._frames = 0
        self._fed = 0
        self._levels: list[NDArray[np.uint8]] = []

    def feed(self, block: Samples) -> None:
        """Take a block ``(c, n)``. Values that are not finite count as silence."""
        block = np.asarray(block)
        if block.ndim != 2:
            raise UsageError(f"A block of samples is (channels, n), not {block.shape}.")
        if self._channels is None:
            self._channels = len(block)
        if len(block) != self._channels:
            raise UsageError(
                f"The number of channels changed from {self._channels} to {len(block)}."
            )
        self._fed += block.shape[1]
        if not self._usable or self._frames >= MAX_FRAMES or not block.size:
            return
        clean = np.nan_to_num(block.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        self._pending.append(np.clip(clean, -16.0, 16.0))
        self._end += block.shape[1]
        while count := min(_BATCH, MAX_FRAMES - self._frames):
            if self._stop(count) > self._end:
                break
            self._analyse(count)

    def finish(self) -> dict[str, NDArray[Any]]:
        """The features. Call once, after the last block."""
        count = 0
        while (
            self._usable
            and self._frames + count < MAX_FRAMES
            and self._stop(count + 1) <= self._end
        ):
            count += 1
        if count:
            self._analyse(count)
        self._pending = []
        levels = np.concatenate([np.empty((0, BINS), np.uint8), *self._levels])
        seconds = np.array([len(levels) * FRAME_S, self._fed / max(self.rate_hz, 1)])
        return {LEVELS: levels, SECONDS: seconds}

    def _start(self, frame: int) -> int:
        """First sample of a frame: the nearest to a multiple of 24 ms."""
        return (frame * 24 * self.rate_hz + 500) // 1000

    def _stop(self, count: int) -> int:
        """One sample after the next ``count`` frames."""
        return self._start(self._frames + count - 1) + self._length

    def _analyse(self, count: int) -> None:
        sound = np.hstack(self._pending)
        starts = np.array([self._start(self._frames + i) for i in range(count)])
        index = (starts - self._begin)[:, None] + np.arange(self._length)
        power = np.zeros((count, self._length // 2 + 1))
        for row in sound:
            power += np.abs(np.fft.rfft(row[index] * self._window)) ** 2
        power *= (4.0 / self._length) ** 2 / len(sound)
        self._levels.append(_quantise(_to_bins(power, self.rate_hz / self._length)))
        self._frames += count
        keep = self._start(self._frames)
        self._pending = [sound[:, keep - self._begin :]]
        self._begin = keep


def _to_bins(power: NDArray[np.float64], spacing_hz: float) -> NDArray[np.float64]:
    """Power at the transform's own bins -> at our 356 bins (linear); 0 above half the rate."""
    place = np.arange(FIRST_BIN, FIRST_BIN + BINS) * (BIN_HZ / spacing_hz)
    lower = np.minimum(place.astype(np.int64), power.shape[1] - 2)
    share = place - lower
    result = power[:, lower] * (1.0 - share) + power[:, lower + 1] * share
    result[:, place > power.shape[1] - 1] = 0.0
    positive: NDArray[np.float64] = np.maximum(result, 0.0)
    return positive


def _quantise(power: NDArray[np.float64]) -> NDArray[np.uint8]:
    level_db = 10.0 * np.log10(power + 1e-20)
    result: NDArray[np.uint8] = np.clip(np.rint((level_db - _FLOOR_DB) / _STEP_DB), 0, 255).astype(
        np.uint8
    )
    return result


class AudioFeatureExtractor:
    """A ``types.FeatureExtractor`` around ``LevelMeter``; ignores pictures.

    ``finish`` returns ``audio_levels`` ``(t, 356)`` uint8 and ``audio_seconds`` ``(2,)`` float64
    (analysed, fed). A file without sound gives 0 frames. Only the first 10 minutes are analysed.
    """

    picture: Picture = "none"

    def __init__(self) -> None:
        self._meter: LevelMeter | None = None

    def start(self, media: Media) -> None:
        self._meter = None

    def frame(self, frame: Frame, time_s: float) -> None:
        pass

    def samples(self, block: Samples, rate_hz: int) -> None:
        if self._meter is None:
            self._meter = LevelMeter(rate_hz)
        if rate_hz != self._meter.rate_hz:
            raise UsageError(f"The sample rate changed from {self._meter.rate_hz} to {rate_hz} Hz.")
        self._meter.feed(block)

    def finish(self) -> Features:
        meter = self._meter if self._meter is not None else LevelMeter(16_000)
        return meter.finish()
