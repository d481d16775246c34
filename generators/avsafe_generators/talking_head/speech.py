"""The voice: a file that was given, or the system's speech engine for a prompt.

Legend: ``n`` samples, ``c`` channels; what the model hears is (n,) at 16 kHz.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import MissingStream, UsageError
from avsafe.media.replay import Replay
from avsafe.types import Media, Samples
from avsafe_generators import engine
from avsafe_generators.talking_head.features import RATE_HZ

MAX_S = 120.0
MIN_S = 0.2
MAX_CHARS = 1800  # about 120 s when spoken
ENGINE = engine.ENGINE
_VOICE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+){0,3}(\+[a-zA-Z0-9]+)?")
_BLOCK = 4800
_MAX_VALUES = 60e6  # held in memory: 240 MB
_ENGINE_TIMEOUT_S = 60


@dataclass(frozen=True)
class Speech:
    """What is heard: samples at their own rate, and as the model wants them."""

    samples: Replay[Samples]
    rate_hz: int
    channels: int
    heard: NDArray[np.float32]  # (n,) at 16 kHz
    duration_s: float


def given(media: Media, limit_s: float | None = None) -> Speech:
    """The sound of a file, at most 120 s, held in memory; ``limit_s`` cuts its end off.

    Raises UsageError for too long (before it is decoded) and too short, MissingStream without
    sound.
    """
    from avsafe.media import decode

    name, stream = media.path.name, media.audio
    if stream is None:
        raise MissingStream(f"{name} has no sound (it is {media.kind}). Pass speech.")
    if media.duration_s is not None and media.duration_s > MAX_S + 0.5:
        raise UsageError(
            f"{name} lasts {media.duration_s:.1f} s; a talking head speaks for at most "
            f"{MAX_S:g} s. Cut it."
        )
    if MAX_S * stream.rate_hz * stream.channels > _MAX_VALUES:
        raise UsageError(
            f"{name} has {stream.channels} channels at {stream.rate_hz} Hz; that is too much to "
            "hold for a talking head. Pass it with one or two channels at 48000 Hz."
        )
    raw = decode(media.path, max_duration_s=MAX_S + 0.5)
    parts = [np.asarray(block, np.float32) for block in raw.samples or ()]
    if not parts:
        raise MissingStream(f"The sound of {name} is empty.")
    limit_s = min(MAX_S, limit_s or MAX_S)
    sound = np.concatenate(parts, axis=1)[:, : round(limit_s * raw.rate_hz)]
    if sound.shape[1] / raw.rate_hz < MIN_S:
        raise UsageError(
            f"{name} lasts {sound.shape[1] / raw.rate_hz:.2f} s; a talking head needs at least "
            f"{MIN_S:g} s of speech."
        )
    return _speech(sound, raw.rate_hz)


def _speech(sound: Samples, rate_hz: int) -> Speech:
    from scipy.signal import resample_poly

    heard = sound.mean(0)
    if rate_hz != RATE_HZ:
        ratio = Fraction(RATE_HZ, rate_hz)
        heard = resample_poly(heard, ratio.numerator, ratio.denominator)

    def blocks() -> Iterator[Samples]:
        for start in range(0, sound.shape[1], _BLOCK):
            yield np.clip(sound[:, start : start + _BLOCK], -1, 1)

    duration_s = sound.shape[1] / rate_hz
    return Speech(Replay(blocks), rate_hz, len(sound), heard.astype(np.float32), duration_s)


def spoken(prompt: str, voice: str = "en") -> Speech:
    """The prompt read aloud by the system's ``espeak-ng``.

    The prompt goes through standard input: no shell sees it, and no option can hide in it. Raises
    MissingExtra without the engine, UsageError for a prompt or voice that it can't read.
    """
    text = prompt.replace("\x00", " ").strip()
    if len(text) > MAX_CHARS:
        raise UsageError(
            f"The prompt has {len(text)} letters; at most {MAX_CHARS} are spoken (about "
            f"{MAX_S:g} s). Shorten it, or pass the speech with --audio FILE."
        )
    if not _VOICE.fullmatch(voice):
        raise UsageError(f"voice={voice!r} is none of {ENGINE}. Write en, en-us, de, fr, it, es...")
    try:
        sound, rate_hz = engine.say(
            text, voice, "-b", "1", what="a prompt", timeout_s=_ENGINE_TIMEOUT_S,
            instead="pass the speech with --audio FILE",
        )  # fmt: skip
    except engine.Unspeakable as error:
        raise UsageError(
            f"This prompt could not be spoken with voice {voice}: {error} Choose another voice, or "
            "pass the speech with --audio FILE."
        ) from error
    duration_s = len(sound) / rate_hz
    if duration_s > MAX_S + 0.5:
        raise UsageError(f"The prompt lasts {duration_s:.0f} s; at most {MAX_S:g} s. Shorten it.")
    if duration_s < MIN_S or not np.abs(sound).max(initial=0) > 1e-4:
        raise UsageError(
            "The prompt has nothing that can be spoken. Write a sentence, or pass the speech with "
            "--audio FILE."
        )
    return _speech(sound[None], rate_hz)
