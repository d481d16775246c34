"""Sound around a network that wants short mono sound at one rate.

Legend: ``c`` channels, ``n`` samples at the media's rate, ``k`` samples at the network's rate. A
*residual* is what the network would add to mono sound ``(k,)`` float32.

The embedder cuts the sound into cores, shows the network each core with a margin on both sides,
brings what it adds (not the sound) back to the media's rate, and adds that to every channel, with
cross-fades. So nothing above the network's band is lost, and memory is one core.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import CannotMark, UsageError
from avsafe.types import Features, Frame, Kind, Mark, Media, Picture, RawMedia, Samples

Mono = NDArray[np.float32]
Residual = Callable[[Mono, int], Mono]  # sound (k,) and the number of the core -> residual (k,)

SOUND, SECONDS = "sound", "seconds_heard"  # (k,) float32; (1,) float64
MAX_SECONDS = 60.0  # what the detector hears of a file: its beginning
MIN_RATE_HZ = 8_000
_SILENT = 1e-4  # peak, -80 dBFS
_FADE_S = 0.02


def resample(sound: Mono, from_hz: int, to_hz: int) -> Mono:
    """Mono sound at another rate; sample 0 stays where it is.

    >>> resample(np.ones(441, np.float32), 44100, 16000).shape
    (160,)
    """
    from scipy.signal import resample_poly

    if from_hz == to_hz or not sound.size:
        return sound
    ratio = Fraction(to_hz, from_hz).limit_denominator(1000)  # odd rates: off by under 1e-6
    moved = resample_poly(sound, ratio.numerator, ratio.denominator)
    return np.asarray(moved, np.float32)


class SoundSampler:
    """A FeatureExtractor that hands out the first minute as mono sound at the network's rate."""

    picture: Picture = "none"
    rate_hz = 16_000

    def __init__(self) -> None:
        self._held: list[Mono] = []
        self._from_hz = 0
        self._n = 0

    def start(self, media: Media) -> None:
        """Nothing to prepare."""

    def frame(self, frame: Frame, time_s: float) -> None:
        """Pictures are not looked at."""

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Keep the mean of the channels, until a minute is full."""
        if self._from_hz not in (0, rate_hz) or self._n >= MAX_SECONDS * rate_hz:
            return
        self._from_hz = rate_hz
        self._held.append(np.nan_to_num(block.mean(axis=0)).astype(np.float32))
        self._n += block.shape[1]

    def finish(self) -> Features:
        """``sound`` ``(k,)`` float32 and ``seconds_heard``."""
        if not self._held:
            return {SOUND: np.zeros(0, np.float32), SECONDS: np.zeros(1)}
        sound = np.concatenate(self._held)[: round(MAX_SECONDS * self._from_hz)]
        heard = np.array([sound.size / self._from_hz])
        return {SOUND: resample(sound, self._from_hz, self.rate_hz), SECONDS: heard}


def heard(features: Features, rate_hz: int) -> Mono:
    """The sound of ``SoundSampler``, checked; ``(0,)`` when it is silent or malformed."""
    sound = features.get(SOUND)
    if (
        not isinstance(sound, np.ndarray)
        or sound.dtype != np.float32
        or sound.ndim != 1
        or sound.size > MAX_SECONDS * rate_hz + 1
        or not np.isfinite(sound).all()
        or np.abs(sound).max(initial=0) < _SILENT
    ):
        return np.zeros(0, np.float32)
    return np.clip(sound, -1, 1)


class ResidualEmbedder:
    """The Embedder of a network that says what to add to mono sound. Feed in order, one pass."""

    def __init__(
        self,
        residual: Residual,
        mark: Mark,
        raw: RawMedia,
        *,
        network_hz: int,
        core_s: float,
        margin_s: float,
        least_s: float,
        gain: float = 1.0,
    ) -> None:
        if raw.samples is None or raw.channels < 1:
            raise CannotMark("There is no sound to mark.")
        if raw.rate_hz < MIN_RATE_HZ:
            raise CannotMark(f"Sound at {raw.rate_hz} Hz is too coarse: 8000 Hz are needed.")
        self._residual, self._mark, self._gain = residual, mark, gain
        self._rate, self._network_hz, self._least_s = raw.rate_hz, network_hz, least_s
        self._core = round(core_s * raw.rate_hz)
        self._margin = round(margin_s * raw.rate_hz)
        self._fade = round(_FADE_S * raw.rate_hz)
        self._held = np.zeros((raw.channels, 0), np.float32)
        self._before = 0  # samples of margin at the beginning of what is held
        self._tail = np.zeros(0, np.float32)  # the last core's residual, continued
        self._index = 0
        self._n = 0
        self._peak = 0.0
        self._power, self._error = 0.0, 0.0

    def samples(self, block: Samples) -> Samples:
        """Marked sound; about one core and one margin are held back."""
        if block.ndim != 2 or block.shape[0] != len(self._held):
            raise UsageError(f"A block {block.shape} came for {len(self._held)} channels.")
        self._held = np.concatenate([self._held, block.astype(np.float32)], axis=1)
        self._n += block.shape[1]
        out = [np.zeros((len(self._held), 0), np.float32)]
        while self._held.shape[1] >= self._before + self._core + self._margin:
            out.append(self._core_done(self._core))
        return np.concatenate(out, axis=1)

    def flush(self) -> Samples:
        """The rest."""
        out = [np.zeros((len(self._held), 0), np.float32)]
        while (rest := self._held.shape[1] - self._before) > 0:
            out.append(self._core_done(min(self._core, rest)))
        return np.concatenate(out, axis=1)

    def _core_done(self, length: int) -> Samples:
        """Mark the next ``length`` samples of what is held and let go of them."""
        start = self._before
        window = self._held[:, : start + length + self._margin]
        mono = window.mean(axis=0)
        added = np.zeros(mono.size, np.float32)
        if np.abs(mono).max(initial=0) >= _SILENT:
            small = self._residual(resample(mono, self._rate, self._network_hz), self._index)
            back = resample(np.asarray(small, np.float32), self._network_hz, self._rate)
            if not np.isfinite(back).all():
                raise CannotMark("The network gave values that are not finite for this sound.")
            fits = min(back.size, added.size)
            added[:fits] = back[:fits] * np.float32(self._gain)
        core = added[start : start + length]
        n = min(self._tail.size, core.size)
        ramp = np.linspace(0, 1, n, dtype=np.float32)
        core[:n] = ramp * core[:n] + (1 - ramp) * self._tail[:n]
        self._tail = added[start + length : start + length + self._fade].copy()
        sound = self._held[:, start : start + length]
        marked = np.clip(sound + core, -1, 1).astype(np.float32)
        self._peak = max(self._peak, float(np.abs(core).max(initial=0)))
        self._power += float(np.square(sound, dtype=np.float64).sum())
        self._error += float(np.square(marked - sound, dtype=np.float64).sum())
        gone = max(0, start + length - self._margin)
        self._held = self._held[:, gone:].copy()
        self._before = start + length - gone
        self._index += 1
        return marked

    def frame(self, frame: Frame) -> Frame:
        """Pictures pass unchanged."""
        return frame

    def mark(self) -> Mark:
        """The mark and its signal-to-noise ratio; after ``flush``.

        Raises CannotMark when the sound proved too short or silent.
        """
        seconds = self._n / self._rate
        if seconds < self._least_s:
            raise CannotMark(f"{seconds:.1f} s are too short: {self._least_s:g} s are needed.")
        if self._peak < 1e-6 or not self._error:
            raise CannotMark("The sound is silent, or the network adds nothing to it.")
        snr_db = float(10 * np.log10(self._power / self._error))
        mark = self._mark
        return Mark(Kind.AUDIO, mark.algorithm, mark.payload, mark.payload_bits, snr_db=snr_db)
