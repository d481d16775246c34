"""What a benign control set is, and how its media are written.

Legend: ``t`` frames, ``h`` ``w`` pixels, ``c`` channels, ``n`` samples. A frame is ``(h, w, 3)``
uint8 RGB, a block of samples ``(c, n)`` float32 in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from avsafe.errors import UsageError
from avsafe.media.replay import Replay
from avsafe.types import Frame, Kind, RawMedia, Samples

SIZE = (640, 360)  # width, height
RATE = Fraction(25)
RATE_HZ = 48_000
BLOCK = 12_000  # samples given at once

# Draws one medium: (random numbers of its own, seconds (may be inf), medium to start from or None).
Make = Callable[[np.random.Generator, float, RawMedia | None], RawMedia]
Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Control:
    """Media that nobody generated, of which a detector must not say that somebody did.

    ``of`` names what the set may be made from: a real "photo", "clip" or "speech". Without one a
    drawn stand-in takes its place, which is enough to test that nothing is flagged and too little
    to measure how often that happens.

    ``demand`` is what a detector owes it: "quiet" (absent, or an abstention), "abstain" (nobody
    could judge it), "refuse" (an abstention, or an error that says why).
    """

    name: str
    kind: Kind
    summary: str
    make: Make
    of: Literal["", "photo", "clip", "speech"] = ""
    demand: Literal["quiet", "abstain", "refuse"] = "quiet"
    suffix: str = ""  # "" is the plain one of its kind
    seconds: float = 2.0
    quality: int = 95  # of a JPEG or a lossy WebP
    damage: Damage | None = field(default=None, repr=False)

    def raw(
        self, seed: int = 0, *, given: RawMedia | None = None, seconds: float | None = None
    ) -> RawMedia:
        """Frames and samples; the same arguments give the same values, another seed another medium.

        ``seconds`` None is all of a ``given`` clip or speech, else the set's own length.

        Raises UsageError for a damaged set, whose file has no frames to speak of, and where
        ``given`` has no picture or sound to work on.
        """
        if self.damage is not None:
            raise UsageError(f"{self.name} is a damaged file and has no frames. Use write().")
        return self._made(seed, given, seconds)

    def write(
        self,
        folder: Path,
        seed: int = 0,
        *,
        given: RawMedia | None = None,
        seconds: float | None = None,
        suffix: str = "",
        crf: int = 23,
    ) -> Path:
        """``folder/NAME-SEED.SUFFIX``, the same bytes for the same arguments.

        >>> import tempfile
        >>> from avsafe_detectors.benign import SETS
        >>> SETS["tone"].write(Path(tempfile.mkdtemp()), seed=3).name
        'tone-3.wav'
        """
        from avsafe.media import EncodeSpec, encode

        plain = {Kind.VIDEO: ".mp4", Kind.IMAGE: ".png", Kind.AUDIO: ".wav"}[self.kind]
        path = folder / f"{self.name}-{seed}{suffix or self.suffix or plain}"
        raw = self._made(seed, given, seconds)
        spec = EncodeSpec(crf=crf, preset="veryfast", image_quality=self.quality, audio_kbps=128)
        encode(raw, path, spec)
        if self.damage is not None:
            path.write_bytes(self.damage(path.read_bytes(), np.random.default_rng([seed, 1])))
        return path

    def _made(self, seed: int, given: RawMedia | None, seconds: float | None) -> RawMedia:
        if given is not None and self.of in ("photo", "clip") and given.frames is None:
            raise UsageError(f"{self.name} is made from a {self.of}; this media has no picture.")
        if given is not None and self.of == "speech" and given.samples is None:
            raise UsageError(f"{self.name} is made from speech; this media has no sound.")
        rng = np.random.default_rng([seed, *self.name.encode()])
        if seconds is None:
            whole = given is not None and self.of in ("clip", "speech")
            seconds = math.inf if whole else self.seconds
        return self.make(rng, seconds, given)


def moving(
    draw: Callable[[int], Frame], seconds: float, rate: Fraction = RATE, frames: int | None = None
) -> RawMedia:
    """A clip whose frame ``i`` is ``draw(i)``, which depends on nothing else."""
    count = frames if frames is not None else max(1, round(seconds * rate))
    height, width = draw(0).shape[:2]

    def start() -> Iterator[Frame]:
        return (np.ascontiguousarray(draw(i)) for i in range(count))

    return RawMedia(Kind.VIDEO, Replay(start), rate, count, width, height, details={"benign": True})


def still(frame: Frame) -> RawMedia:
    """One picture."""
    height, width = frame.shape[:2]
    return RawMedia(Kind.IMAGE, [np.ascontiguousarray(frame)], None, 1, width, height)


def heard(samples: np.ndarray, rate_hz: int = RATE_HZ, peak: float | None = 0.5) -> RawMedia:
    """Sound ``(n,)``, brought to ``peak``; None leaves the level alone."""
    loudest = float(np.abs(samples).max(initial=0.0))
    if peak is not None and loudest > 0:
        samples = samples * (peak / loudest)
    whole: Samples = np.clip(samples, -1, 1).astype(np.float32)[None]
    blocks = [whole[:, at : at + BLOCK] for at in range(0, whole.shape[1], BLOCK)]
    return RawMedia(Kind.AUDIO, samples=blocks, rate_hz=rate_hz, channels=1)


def together(picture: RawMedia, sound: RawMedia) -> RawMedia:
    """A clip with the frames of one and the sound of the other, cut to the frames' length."""
    if picture.frame_rate is None or picture.frame_count is None or sound.samples is None:
        raise UsageError("A clip with sound needs a frame rate, a number of frames, and samples.")
    n = round(picture.frame_count / picture.frame_rate * sound.rate_hz)
    whole = np.concatenate([np.asarray(b) for b in sound.samples], axis=1)[:, :n]
    whole = np.pad(whole, ((0, 0), (0, n - whole.shape[1])))
    return replace(picture, samples=[whole], rate_hz=sound.rate_hz, channels=len(whole))


def mono(raw: RawMedia) -> np.ndarray:
    """The whole sound as one channel ``(n,)``."""
    if raw.samples is None:
        raise UsageError("This media has no sound.")
    return np.asarray(np.concatenate([np.asarray(b).mean(0) for b in raw.samples]), np.float64)


def first_frame(raw: RawMedia) -> Frame:
    """Raises UsageError for media without one."""
    frame: Frame | None = next(iter(raw.frames or ()), None)
    if frame is None:
        raise UsageError("This media has no frame.")
    return frame
