"""The ``speech`` generator: a text -> the text read aloud.

Legend: sound is (n,) float32 in [-1, 1], mono.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import UsageError
from avsafe.media.replay import Replay
from avsafe.types import (
    Cancelled,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Progress,
    RawMedia,
    Samples,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators import asking, engine
from avsafe_generators.speech import voices

MAX_CHARS = 4000  # what the risk scorers read of a text
MAX_S = 600.0
LEAST_S = 2.1  # with a closing pause: the mark in the sound has no room in less than 2.0 s
USUAL_WPM = 175  # of the engine: speed 1
SLOWEST_WPM = 80  # it takes slower ones for this
SPEEDS = (0.25, 4.0)
_BLOCK = 4800
_TIMEOUT_S = 120.0

INFO = GeneratorInfo(
    name="speech",
    version="1",
    tasks=(Task.TEXT_TO_SPEECH,),
    kind=Kind.AUDIO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",  # formants: nobody takes it for a person
    max_duration_s=MAX_S,
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
    controls=("voice", "language", "speed", "pitch"),
    summary="Reads a text aloud in over 100 languages, by the system's espeak-ng, in voices that "
    "formulas make and that are nobody's.",
    card="cards/speech.md",
)


class Speech:
    """The prompt, read aloud.

    ``parameters``: ``voice`` (``it``, ``en-us+f2``; also the names of OpenAI's voices),
    ``language`` (for a voice that names none), ``speed`` (0.25 to 4), ``pitch`` (0 to 99).

    Raises UsageError for a text that is empty, too long, or nothing that can be spoken, and for
    inputs: no voice is copied. MissingExtra without the engine.

    >>> Speech().info.tasks
    (<Task.TEXT_TO_SPEECH: 'text-to-speech'>,)
    """

    needs = (f"the program {engine.ENGINE}",)  # for a listing

    @property
    def info(self) -> GeneratorInfo:
        return INFO

    def voices(self) -> Mapping[str, str]:
        """Name -> what it is, for a listing. Raises MissingExtra."""
        return engine.voices()

    def generate(
        self,
        request: GenerationRequest,
        *,
        progress: Progress = no_progress,
        cancelled: Cancelled = never_cancelled,
    ) -> RawMedia:
        asking.refuse_other_tasks(request, INFO)
        asked = asking.parameters(
            request,
            voice=asking.Text("", max_chars=100),
            language=asking.Text("", max_chars=40),
            speed=asking.Number(*SPEEDS, 1.0),
            pitch=asking.Number(0, 99, 50, whole=True),
        )
        _refuse(request)
        voice = voices.chosen(asked["voice"], asked["language"])
        if cancelled():
            raise Stopped("The speech was asked to stop before it began.")
        progress(0.0, "speaking")
        try:
            sound, rate_hz = engine.say(
                request.prompt, voice, *_options(asked["speed"], asked["pitch"]), what="a text",
                instead="choose another generator", timeout_s=_TIMEOUT_S, cancelled=cancelled,
                beat=lambda: progress(0.0, "speaking"),
            )  # fmt: skip
        except engine.Unspeakable as error:
            raise UsageError(
                f"This text could not be spoken in the voice {voice}: {error}"
            ) from error
        sound = _paced(_heard(sound, asked["speed"], rate_hz), asked["speed"], rate_hz)
        progress(1.0, "spoken")

        def blocks() -> Iterator[Samples]:
            for start in range(0, len(sound), _BLOCK):
                yield sound[None, start : start + _BLOCK].copy()

        details = {
            "caption": f"A synthetic voice ({voice})",
            "voice": voice,
            "speed": asked["speed"],
            "spoken_by": engine.ENGINE,
        }
        return RawMedia(
            Kind.AUDIO, samples=Replay(blocks), rate_hz=rate_hz, channels=1, details=details
        )


def _refuse(request: GenerationRequest) -> None:
    """Raises UsageError for what nobody can speak, and for what would be left undone."""
    if request.inputs:
        raise UsageError("speech copies no voice and changes no sound: leave the input files out.")
    if request.negative_prompt.strip():
        raise UsageError("speech leaves nothing out: it has no negative prompt.")
    if request.duration_s is not None or request.width is not None or request.height is not None:
        raise UsageError("speech is as long as its text, and has no size: set speed=0.25 to 4.")
    if not any(c.isalnum() for c in request.prompt):
        raise UsageError("There is nothing to speak: give the text as the prompt.")
    if len(request.prompt) > MAX_CHARS:
        raise UsageError(
            f"The text has {len(request.prompt)} letters; at most {MAX_CHARS} are read. Split it."
        )


def _options(speed: float, pitch: int) -> tuple[str, ...]:
    return "-s", str(max(SLOWEST_WPM, round(USUAL_WPM * speed))), "-p", str(pitch)


def _heard(sound: NDArray[np.float32], speed: float, rate_hz: int) -> NDArray[np.float32]:
    if not np.abs(sound).max(initial=0) > 1e-4:
        raise UsageError("There is nothing in the text that this voice can speak.")
    duration_s = len(sound) / rate_hz * _slower(speed)
    if duration_s > MAX_S:
        raise UsageError(
            f"The text lasts {duration_s:.0f} s; at most {MAX_S:g} s. Split it, or raise speed."
        )
    return sound


def _slower(speed: float) -> float:
    """How much longer than the engine's slowest it is to be."""
    return max(1.0, SLOWEST_WPM / (USUAL_WPM * speed))


def _paced(sound: NDArray[np.float32], speed: float, rate_hz: int) -> NDArray[np.float32]:
    """At the speed that was asked for, where the engine is too fast; with a closing pause."""
    if (slower := _slower(speed)) > 1:
        from avsafe_generators.edit.stretch import stretched

        sound = stretched(sound[None], 1 / slower, rate_hz)[0]
    return np.pad(sound, (0, max(0, round(LEAST_S * rate_hz) - len(sound))))
