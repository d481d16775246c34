"""The half that runs in the sandbox: sound at any rate -> blocks of a log-spectrum.

Legend: ``c`` channels, ``n`` samples, ``t`` frames of 10 ms, ``f`` bins of 31.25 Hz (0 to 8 kHz),
``k`` blocks of 2 s (200 frames).

Sound becomes mono at 16 kHz; a frame is a Hann window of 32 ms. Levels are bytes, half a decibel a
step. Blocks that are silent are not kept; of more than 40 audible ones every second is dropped,
then every second that follows, and so on: what is kept spreads over the whole file, in 2.5 MB.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe_detectors.speech import fine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
    Bytes = NDArray[np.uint8]
else:
    F32 = Bytes = Any

RATE_HZ = 16_000
HOP, SIZE, BINS = 160, 512, 257
BLOCK = 200  # frames
BLOCKS = 40
STEP_DB, FLOOR_DB = 0.5, -120.0
SILENT = 10**-3.0  # peak of a block: -60 dBFS
LOWEST_HZ, HIGHEST_HZ = 4_000, 384_000  # beyond: nothing is looked at

LEVELS = "levels"  # (k, 200, 257) uint8
MOMENTS = "moments"  # (k, 2000, 6) uint8: levels of bands every millisecond (``fine``)
STARTS = "starts_s"  # (k,) float64: where each block begins
HEARD = "heard"  # (4,) float64: seconds fed, blocks audible, its rate in Hz, stride between blocks

_WINDOW = np.hanning(SIZE + 1)[:SIZE].astype(np.float32)


def levels(x: F32) -> Bytes:
    """Mono sound (n,) at 16 kHz -> (t, 257) bytes; t = (n - 512) // 160 + 1.

    >>> levels(np.zeros(1000, np.float32)).shape
    (4, 257)
    """
    if len(x) < SIZE:
        return np.zeros((0, BINS), np.uint8)
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(x, np.float32), SIZE)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * _WINDOW, axis=1))) * (4.0 / SIZE) ** 2
    level = 10 * np.log10(power + 1e-13)
    quantised: Bytes = np.clip(np.rint((level - FLOOR_DB) / STEP_DB), 0, 255).astype(np.uint8)
    return quantised


class Resampler:
    """Streamed change of rate to 16 kHz; blocks (n,) of any length in, the same out on the whole.

    A rate that is no simple ratio is taken as the nearest with a numerator up to 1,024.
    """

    def __init__(self, rate_hz: int) -> None:
        ratio = Fraction(RATE_HZ, rate_hz).limit_denominator(1024)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._reach = (12 * max(self._up, self._down) // self._up // self._down + 2) * self._down
        self._held = np.zeros(self._reach, np.float32)
        self._chunk = max(1, round(rate_hz / self._down)) * self._down  # about a second

    def feed(self, x: F32) -> F32:
        self._held = np.concatenate([self._held, x])
        out = []
        while len(self._held) >= self._chunk + 2 * self._reach:
            out.append(self._middle(self._chunk))
            self._held = self._held[self._chunk :]
        return np.concatenate(out) if out else np.zeros(0, np.float32)

    def flush(self) -> F32:
        rest = len(self._held) - self._reach
        if rest <= 0:
            return np.zeros(0, np.float32)
        padded = -(-rest // self._down) * self._down
        spare = np.zeros(padded - rest + self._reach, np.float32)
        self._held = np.concatenate([self._held, spare])
        return self._middle(padded)[: -(-rest * self._up // self._down)]

    def _middle(self, chunk: int) -> F32:
        from scipy.signal import resample_poly

        part = self._held[: chunk + 2 * self._reach]
        if self._up == self._down:
            return part[self._reach : self._reach + chunk]
        y = resample_poly(part, self._up, self._down)
        first = self._reach * self._up // self._down
        return np.asarray(y[first : first + chunk * self._up // self._down], np.float32)


class SpeechExtractor:
    """A ``types.FeatureExtractor``; ignores pictures. Memory: 4 MB, whatever the length."""

    picture: Picture = "none"

    def __init__(self) -> None:
        self._rate_hz = 0
        self._resampler: Resampler | None = None
        self._pending = np.zeros(0, np.float32)
        self._kept: list[tuple[int, Bytes, Bytes]] = []
        self._block = 0
        self._stride = 1
        self._audible = 0
        self._fed = 0

    def start(self, media: Media) -> None:
        self.__init__()  # type: ignore[misc]

    def frame(self, frame: Frame, time_s: float) -> None:
        pass

    def samples(self, block: Samples, rate_hz: int) -> None:
        if block.ndim != 2:
            raise UsageError(f"A block of samples is (channels, n), not {block.shape}.")
        if self._rate_hz == 0:
            self._rate_hz = rate_hz
            if LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
                self._resampler = Resampler(rate_hz)
        if rate_hz != self._rate_hz:
            raise UsageError(f"The sample rate changed from {self._rate_hz} to {rate_hz} Hz.")
        self._fed += block.shape[1]
        if self._resampler is None or not block.size:
            return
        clean = np.nan_to_num(np.asarray(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        self._take(self._resampler.feed(np.clip(clean, -4.0, 4.0).mean(0)))

    def _take(self, x: F32, last: bool = False) -> None:
        self._pending = np.concatenate([self._pending, x])
        step, reach = BLOCK * HOP, SIZE - HOP
        while len(self._pending) >= step + reach or (last and len(self._pending) >= SIZE):
            self._look(self._pending[: step + reach])
            self._pending = self._pending[step:]

    def _look(self, part: F32) -> None:
        number = self._block
        self._block += 1
        if float(np.abs(part).max(initial=0.0)) < SILENT:
            return
        self._audible += 1
        if (self._audible - 1) % self._stride:
            return
        self._kept.append((number, levels(part), fine.moments(part)))
        if len(self._kept) > BLOCKS:
            self._kept = self._kept[::2]
            self._stride *= 2

    def finish(self) -> Features:
        if self._resampler is not None:
            self._take(self._resampler.flush(), last=True)
        held = np.zeros((len(self._kept), BLOCK, BINS), np.uint8)
        quick = np.zeros((len(self._kept), BLOCK * fine.PER_FRAME, fine.BANDS), np.uint8)
        for row, other, (_, level, moment) in zip(held, quick, self._kept, strict=True):
            row[: len(level)] = level[:BLOCK]
            other[: len(moment)] = moment[: len(other)]
        return {
            LEVELS: held,
            MOMENTS: quick,
            STARTS: np.array([b * BLOCK * HOP / RATE_HZ for b, _, _ in self._kept], np.float64),
            HEARD: np.array([self._fed / max(1, self._rate_hz), self._audible, self._rate_hz,
                             self._stride], np.float64),
        }  # fmt: skip
