"""What adapters are given of a file: sound or pictures as plain numbers, made in the sandbox.

Legend: ``n`` samples, ``f`` frames, ``h`` ``w`` pixels.

The networks are too large for the sandbox, and their weights lie where it may not read. So it hands
out numbers and knows nothing of the network. Memory is bounded whatever the length of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Features, Frame, Media, Picture, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOUND, RATE = "sound", "rate_hz"  # (n,) float32 mono; (1,) int64
FRAMES, TIMES = "frames", "times_s"  # (f, h, w, 3) uint8 RGB; (f,) float64
MAX_S = 60.0  # of sound: the beginning
MAX_RATE_HZ = 48_000  # a faster sound is brought down
MAX_FRAMES = 32
_SPREAD = 16  # frames of a clip; twice as many are held where its length is not known
MAX_PIXELS = 1 << 20  # of a whole picture
CENTRE = 1024  # pixels: side of the box that is kept at its own size
RUN_SIDE = 288  # pixels: short side of the frames of a run
RUN_RATE = 8.0  # frames a second in a run
RUN_S = MAX_FRAMES / RUN_RATE

_TARGET = "avsafe_detectors.adapters.inputs"
SOUND_TARGET = f"{_TARGET}:Sound"
SPREAD_TARGET = f"{_TARGET}:Spread"
CENTRE_TARGET = f"{_TARGET}:Centre"
RUN_TARGET = f"{_TARGET}:Run"


class Sound:
    """A FeatureExtractor: the first minute, mono (mean of the channels), at its own rate."""

    picture: Picture = "none"

    def __init__(self) -> None:
        self._held: list[NDArray[np.float32]] = []
        self._rate_hz = 0
        self._n = 0

    def start(self, media: Media) -> None:
        """Nothing to prepare."""

    def frame(self, frame: Frame, time_s: float) -> None:
        """Pictures are not looked at."""

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Keep it until a minute is full. What is no number counts as silence."""
        if self._rate_hz not in (0, rate_hz) or self._n >= MAX_S * rate_hz:
            return
        self._rate_hz = rate_hz
        clean = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        self._held.append(np.clip(clean, -1, 1).mean(axis=0, dtype=np.float32))
        self._n += block.shape[1]

    def finish(self) -> Features:
        """``sound`` ``(n,)`` float32 in [-1, 1] and ``rate_hz`` ``(1,)``; n may be 0."""
        if not self._held:
            return {SOUND: np.zeros(0, np.float32), RATE: np.zeros(1, np.int64)}
        sound = np.concatenate(self._held)[: round(MAX_S * self._rate_hz)]
        self._held = []
        rate = self._rate_hz
        if rate > MAX_RATE_HZ:
            sound, rate = resampled(sound, rate, MAX_RATE_HZ), MAX_RATE_HZ
        return {SOUND: sound, RATE: np.array([rate], np.int64)}


def resampled(sound: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """
    >>> resampled(np.ones(441, np.float32), 44100, 16000).shape
    (160,)
    """
    from fractions import Fraction

    from scipy.signal import resample_poly

    if from_hz == to_hz or not sound.size:
        return sound
    ratio = Fraction(to_hz, from_hz).limit_denominator(1000)  # odd rates: off by under 1e-6
    return np.asarray(resample_poly(sound, ratio.numerator, ratio.denominator), np.float32)


class Spread:
    """A FeatureExtractor: up to 32 whole pictures, evenly spread; 1 megapixel at most each."""

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._kept: list[NDArray[np.uint8]] = []
        self._times: list[float] = []
        self._due: list[float] | None = None  # times to come, the next one last; None: not known
        self._seen = 0
        self._step = 1

    def start(self, media: Media) -> None:
        """Choose the times, where the length is known."""
        rate = media.video.frame_rate if media.video else None
        if rate and media.duration_s:
            chosen = self.times(media.duration_s) - 0.5 / float(rate)
            self._due = [float(t) for t in chosen[::-1]]

    def times(self, duration_s: float) -> NDArray[np.float64]:
        """The times of the frames to keep, ascending."""
        return (np.arange(_SPREAD) + 0.5) / _SPREAD * duration_s

    def wants(self, time_s: float) -> bool:
        """Whether this frame is the one for a time; where none are known, every n-th."""
        if self._due is None:
            self._seen += 1
            return (self._seen - 1) % self._step == 0
        if not self._due or time_s < self._due[-1]:
            return False
        while self._due and time_s >= self._due[-1]:
            self._due.pop()
        return True

    def frame(self, frame: Frame, time_s: float) -> None:
        """Keep it. When no more fit, every second one goes."""
        if len(self._kept) >= MAX_FRAMES:
            self._kept, self._times = self._kept[::2], self._times[::2]
            self._step *= 2
        self._kept.append(self.view(frame))
        self._times.append(time_s)

    def view(self, frame: Frame) -> NDArray[np.uint8]:
        """What is kept of a frame."""
        height, width = frame.shape[:2]
        return shrunk(frame, (MAX_PIXELS / (height * width)) ** 0.5)

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound is not looked at."""

    def finish(self) -> Features:
        """``frames`` ``(f, h, w, 3)`` uint8 and ``times_s`` ``(f,)``; f may be 0."""
        frames = np.stack(self._kept) if self._kept else np.zeros((0, 1, 1, 3), np.uint8)
        self._kept = []
        return {FRAMES: frames, TIMES: np.array(self._times, np.float64)}


class Centre(Spread):
    """``Spread``, but the central box of each picture at its own size, 1024 pixels at most."""

    def view(self, frame: Frame) -> NDArray[np.uint8]:
        height, width = frame.shape[:2]
        top, left = max(0, height - CENTRE) // 2, max(0, width - CENTRE) // 2
        return frame[top : top + CENTRE, left : left + CENTRE].copy()


class Run(Spread):
    """A FeatureExtractor: frames in a row, 8 a second, of 4 s in the middle; short side 288."""

    def times(self, duration_s: float) -> NDArray[np.float64]:
        first = max(0.0, (duration_s - RUN_S) / 2)
        chosen = first + np.arange(MAX_FRAMES) / RUN_RATE
        return chosen[chosen < duration_s]

    def view(self, frame: Frame) -> NDArray[np.uint8]:
        return shrunk(frame, RUN_SIDE / min(frame.shape[:2]))


def shrunk(frame: Frame, scale: float) -> NDArray[np.uint8]:
    """A copy, smaller by ``scale`` where that is under 1; each pixel a mean of those it covers.

    >>> shrunk(np.zeros((100, 200, 3), np.uint8), 0.5).shape
    (50, 100, 3)
    """
    import cv2

    if scale >= 1:
        return frame.copy()
    height, width = frame.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


# ---------------------------------------------------------------- outside the sandbox


def heard(features: Features) -> tuple[NDArray[np.float32], int]:
    """Sound and rate of ``Sound``, checked. Raises KeyError or ValueError for anything else."""
    sound, rate = features[SOUND], features[RATE]
    if (
        sound.dtype != np.float32
        or sound.ndim != 1
        or rate.shape != (1,)
        or rate.dtype != np.int64
        or not 0 <= int(rate[0]) <= MAX_RATE_HZ
        or sound.size > MAX_S * int(rate[0]) + 1
        or not np.isfinite(sound).all()
        or np.abs(sound).max(initial=0) > 1.5  # resampling overshoots
    ):
        raise ValueError("these are no features of a sound")
    return sound, int(rate[0])


def seen(features: Features) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Frames and times of ``Spread``, ``Centre`` or ``Run``, checked. Raises as ``heard``."""
    frames, times = features[FRAMES], features[TIMES]
    largest = max(MAX_PIXELS + 4096, CENTRE**2)
    if (
        frames.dtype != np.uint8
        or frames.ndim != 4
        or frames.shape[3] != 3
        or len(frames) > MAX_FRAMES
        or times.dtype != np.float64
        or times.shape != (len(frames),)
        or not np.isfinite(times).all()
        or frames[:1].size > 3 * largest
    ):
        raise ValueError("these are no features of pictures")
    return frames, times
