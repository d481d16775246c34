"""The ``talking-head`` generator: a portrait and speech -> a clip of the head that speaks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from fractions import Fraction
from typing import Any

import numpy as np

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import UsageError
from avsafe.types import (
    Cancelled,
    Frame,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Progress,
    RawMedia,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators import asking, layers
from avsafe_generators.talking_head import behaviour, features, likeness, speech
from avsafe_generators.talking_head.motion import AMOUNT, BLINKS, BROWS, SMILE, Model, Track, Wishes
from avsafe_generators.talking_head.motion import RATE as MODEL_RATE

DEFAULT_SIZE = (512, 512)
SIDES = (128, 1024)
RATE = Fraction(25)
_EYE = 0.19  # radius of an eyeball over the distance between the eyes (12 mm / 63 mm)
_LOOK = np.radians([22.0, 14.0])  # at gaze 1
_HEAD_SHARE = 0.35  # of a look aside that the head takes
_NEAREST = 1.18
_POLL_S = 0.2
# smile and brows as controls of the model, and what is added to lips (spreads) and brows
EMOTIONS = {
    "neutral": (None, None, 0.0, 0.0),
    "happy": (1.3, 0.5, 1.3, 0.015),
    "sad": (-1.2, 0.3, -1.0, 0.0),
    "surprised": (0.0, 1.8, 0.0, 0.07),
    "angry": (-0.6, -1.5, -0.6, -0.045),
}

INFO = GeneratorInfo(
    name="talking-head",
    version="1",
    tasks=(Task.TALKING_HEAD,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="photorealistic",  # as its portrait is: a photo stays one
    max_duration_s=speech.MAX_S,
    max_pixels=SIDES[1] ** 2,
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/"
    "compositeWithTrainedAlgorithmicMedia",
    controls=(
        "face",
        "gaze_x",
        "gaze_y",
        "distance",
        "motion",
        "emotion",
        "blink",
        "frame_rate",
        "sound_strength",
        "control_strength",
        "voice",
    ),
    summary="A portrait speaks: lips, head, brows and blinks by a small diffusion model that hears "
    "the speech, drawn by warping the portrait; a prompt is read by the system's speech engine.",
    card="cards/talking-head.md",
)


class TalkingHead:
    """A portrait (role ``portrait`` or ``image``) speaks: ``voice`` or ``audio``, or the prompt.

    ``parameters``: ``face`` (five points, where none or several are found), ``gaze_x`` and
    ``gaze_y`` (-1 to 1, right and down), ``distance`` (0.85 to 1.25; 1 as in the portrait, less is
    nearer), ``motion`` (head, 0 to 2), ``emotion``, ``blink`` (0 to 2), ``frame_rate`` (25 to 40),
    ``sound_strength`` and ``control_strength`` (guidance, 0 to 1.5), ``voice`` (of espeak-ng).

    The clip is as long as the speech (0.2 to 120 s) and carries its samples unchanged. Motion is
    made window by window while frames are read: the first frame waits for one window.

    >>> TalkingHead().info.tasks
    (<Task.TALKING_HEAD: 'talking-head'>,)
    """

    @property
    def info(self) -> GeneratorInfo:
        return INFO

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
            face=asking.Text("", max_chars=200),
            gaze_x=asking.Number(-1, 1, 0), gaze_y=asking.Number(-1, 1, 0),
            distance=asking.Number(0.85, 1.25, 1), motion=asking.Number(0, 2, 1),
            emotion=asking.Choice(*EMOTIONS), blink=asking.Number(0, 2, 1),
            frame_rate=asking.Number(25, 40, float(RATE)),
            sound_strength=asking.Number(0, 1.5, 0.5),
            control_strength=asking.Number(0, 1.5, 0.6),
            voice=asking.Text("en", max_chars=40),
        )  # fmt: skip
        width, height = asking.size(
            request, default=DEFAULT_SIZE, low=SIDES[0], high=SIDES[1], max_pixels=SIDES[1] ** 2
        )
        limit_s = None
        if request.duration_s is not None:
            limit_s = asking.duration(request, default=10, low=speech.MIN_S, high=speech.MAX_S)

        def check() -> None:
            if cancelled():
                raise Stopped("The talking head was asked to stop.")

        check()
        progress(0.0, "portrait")
        media = asking.media_in(
            request, "portrait", "image", need="a portrait", kinds=(Kind.IMAGE,)
        )
        voice = asking.optional(request, "voice", "audio")
        if voice is None and not request.prompt.strip():
            raise UsageError(
                "talking-head needs speech: pass --audio FILE, or a --prompt that is spoken by "
                f"{speech.ENGINE}."
            )

        def heard() -> speech.Speech:
            if voice is not None:
                return speech.given(voice, limit_s)
            return speech.spoken(request.prompt, asked["voice"])

        # both wait for a sandboxed process each: the voice is read while the portrait is
        reader = ThreadPoolExecutor(1, "talking-head")
        try:
            hearing = reader.submit(heard)
            picture = asking.picture(media)
            points = likeness.place(picture, asked["face"], media.path.name)
            portrait, points = likeness.framed(picture, points, width, height)
            check()
            while not wait((hearing,), _POLL_S).done:
                check()
                progress(0.03, "speech")
            sound = hearing.result()
        finally:
            reader.shutdown(wait=False)
        check()
        rate = Fraction(asked["frame_rate"]).limit_denominator(1001)
        count = max(1, round(sound.duration_s * rate))
        mel = features.log_mel(sound.heard, max(1, round(sound.duration_s * MODEL_RATE)))
        film = _Film(portrait, points, mel, asked, request.seed, rate, count, check)
        loud = features.loudness(mel)
        details: dict[str, Any] = {
            "caption": "A portrait that speaks" if loud.max() > 0.5 else "A portrait that idles",
            "speech": "spoken by " + speech.ENGINE if voice is None else "as given",
            "prompt_used": voice is None,
            "silent": bool(loud.max() <= 0.5),
            "sounding_share": round(float((loud > 0.5).mean()), 3),
            "emotion": asked["emotion"],
            "face": [round(float(v), 1) for v in film.box],
            "learned": ["head pose", "lips and jaw", "brows", "blinks"],
            "by_rule": ["gaze", "distance", "least number of blinks", "rest in silence"],
        }
        progress(0.1, "frames")
        return RawMedia(
            Kind.VIDEO,
            frames=asking.Watched(film.frames, count, progress, cancelled),
            frame_rate=rate,
            frame_count=count,
            width=width,
            height=height,
            samples=sound.samples,
            rate_hz=sound.rate_hz,
            channels=sound.channels,
            details=details,
        )


def wishes(asked: dict[str, Any], weights: layers.Weights) -> Wishes:
    """The controls of the model for the parameters of a request."""
    std = weights["controls"][1]
    look = np.array([asked["gaze_x"], -asked["gaze_y"]]) * _LOOK * _HEAD_SHARE
    facing = look / weights["scale"][:2] / std[:2]
    smile, brows, add_smile, add_brows = EMOTIONS[asked["emotion"]]
    control: list[float | None] = [*(float(np.clip(v, -2.5, 2.5)) for v in facing)] + [None] * 4
    control[AMOUNT] = float(np.clip(1.6 * (asked["motion"] - 1), -2, 2))
    control[SMILE], control[BROWS] = smile, brows
    control[BLINKS] = float(np.clip(1.5 * (asked["blink"] - 1), -1.0, 2))
    return Wishes(
        tuple(control), asked["control_strength"], asked["sound_strength"], add_smile, add_brows
    )


class _Film:
    """Frames of one utterance, drawn anew in every pass; the motion is made once."""

    def __init__(
        self, portrait: Frame, points: Any, mel: Any, asked: dict[str, Any], seed: int,
        rate: Fraction, count: int, check: Any,
    ) -> None:  # fmt: skip
        from avsafe_generators.talking_head.render import Renderer

        self._model = Model.load()
        self._renderer = Renderer(portrait, points, self._model.weights)
        self._asked, self._seed, self._rate, self._count = asked, seed, rate, count
        wished = wishes(asked, self._model.weights)
        self._track = Track(self._model, mel, wished, seed, check)
        self.box = (*points.min(0), *points.max(0))

    def frames(self) -> Iterator[Frame]:
        asked, scale = self._asked, self._model.weights["scale"]
        head = min(1.0, asked["motion"]) * (1 + 0.35 * max(0.0, asked["motion"] - 1))
        nearer = float(np.clip(1 / asked["distance"], 1 / 1.25, _NEAREST))
        look = np.array([asked["gaze_x"], -asked["gaze_y"]]) * _LOOK
        rest = behaviour.Rest(self._seed, asked["blink"], (float(look[0]), float(look[1])))
        for number in range(self._count):
            latent = self._track.at(float(number / self._rate)).astype(np.float64)
            latent[:3] *= head
            latent[3], eyes = rest.at(float(number / self._rate), latent, scale)
            turned = np.sin(np.clip(eyes, -0.6, 0.6)) * _EYE
            yield self._renderer.frame(latent, (float(turned[0]), -float(turned[1])), nearer)
