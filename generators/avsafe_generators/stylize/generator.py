"""The ``stylize`` generator: a video in another style, with the sound it came with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import NotUnderstood
from avsafe.types import (
    Cancelled,
    Frame,
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
from avsafe_generators import asking
from avsafe_generators.cinemagraph import phrases
from avsafe_generators.stylize import words
from avsafe_generators.stylize.clip import NEUTRAL, Clip, survey

LONGEST_S = 60.0
SURVEYED = frozenset(
    ("pencil", "ink", "comic", "poster", "pixel", "noir", "duotone", "thermal")
)  # styles whose colours or levels come from the whole clip

_KNOBS: dict[str, asking.Knob] = {
    "style": asking.Choice("auto", *words.STYLES),
    "strength": asking.Number(0.0, 1.0, None),
    "steady": asking.Number(0.0, 1.0, 1.0),
    "flicker": asking.Number(0.0, 1.0, None),
}

INFO = GeneratorInfo(
    name="stylize",
    version="1",
    tasks=(Task.STYLIZE_VIDEO,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",
    max_duration_s=LONGEST_S,
    max_pixels=1280 * 720,
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced",
    controls=tuple(_KNOBS),
    summary="Sixteen drawn, painted and film styles for a video, steady along its motion, with its "
    "own sound; filters, no network, no style of a picture that is shown to it.",
    card="cards/stylize.md",
)


class Style(Protocol):
    """One picture in, one out; ``memory`` is the share of the drawing before that may stay."""

    memory: float

    def draw(self, picture: NDArray[Any]) -> NDArray[Any]: ...


class Stylize:
    """A video (role ``video``) in another style.

    ``parameters``: ``style`` (else the prompt names it), ``strength`` (0 to 1: share of the style
    against the source; 1), ``steady`` (0: each frame by itself; 1), ``flicker`` (0 to 1, for
    vintage; 0). A duration cuts the clip. ``RawMedia.details``: ``style``, ``understood``,
    ``ignored``, ``n_ignored``, ``strength``.

    Raises NotUnderstood where neither prompt nor ``style`` names a style, UsageError for videos
    over 60 s.

    >>> request  # doctest: +SKIP
    GenerationRequest(task=STYLIZE_VIDEO, prompt="as a watercolor", inputs=(clip.mp4,), ...)
    >>> Stylize().generate(request).details["style"]  # doctest: +SKIP
    'watercolor'
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
        from avsafe_generators.stylize.steady import Steady

        asking.refuse_other_tasks(request, INFO)
        wanted = asking.parameters(request, **_KNOBS)
        media = asking.media_in(request, "video", need="a video", kinds=(Kind.VIDEO,))
        said = phrases.match(request.prompt, words.KNOWN, request.negative_prompt)
        style = _style(request, said, wanted["style"])
        width, height = asking.fitted_size(request, media)
        source = asking.footage(media, width, height, max_duration_s=LONGEST_S, cancelled=cancelled)
        count, longest = source.frame_count, int(LONGEST_S * float(source.frame_rate)) + 1
        if request.duration_s is not None:
            seconds = asking.duration(request, default=LONGEST_S, low=0.2, high=LONGEST_S)
            longest = max(1, round(seconds * source.frame_rate))
        count = None if count is None else min(count, longest)
        strength = wanted["strength"]
        if strength is None:
            strength = float(said.of("how")[-1]) if said.of("how") else 1.0
        flicker = wanted["flicker"]
        if flicker is None:
            flicker = 0.6 if said.words("flicker") and style == "vintage" else 0.0
        progress(0.0, "colours")
        clip = NEUTRAL
        if style in SURVEYED:
            clip = survey(islice(source.frames, longest), count, progress, cancelled)

        def frames() -> Iterator[Frame]:
            rng = np.random.default_rng([request.seed % 2**32, 5])
            drawer = make(style, width, height, rng, clip, flicker)
            steady = Steady(drawer.draw, drawer.memory, width, height, wanted["steady"])
            for frame in islice(source.frames, longest):
                yield _mixed(frame, steady.frame(frame), strength)

        details: dict[str, Any] = {
            "style": style,
            "strength": strength,
            "understood": [
                text
                for concept, text in said.found
                if not concept.startswith("style:") or concept[6:] == style
            ],
            "ignored": [
                *said.ignored,
                *(t for c, t in said.found if c.startswith("style:") and c[6:] != style),
            ],
            "n_ignored": said.n_ignored
            + sum(c.startswith("style:") and c[6:] != style for c, _ in said.found),
        }
        sound = source.sound
        length_s = None if request.duration_s is None else float(longest / source.frame_rate)
        return RawMedia(
            Kind.VIDEO,
            frames=asking.Watched(frames, count, progress, cancelled),
            frame_rate=source.frame_rate,
            frame_count=count,
            width=width,
            height=height,
            samples=None if sound is None else _heard(sound, length_s, cancelled),
            rate_hz=0 if sound is None else sound.rate_hz,
            channels=0 if sound is None else sound.channels,
            details=details,
        )


def make(
    style: str, width: int, height: int, rng: np.random.Generator, clip: Clip, flicker: float = 0.0
) -> Style:
    """The drawer of a style for frames of one size; a new one for every pass."""
    from avsafe_generators.stylize import cells, lines, paint, tones

    plain: dict[str, Any] = {
        "watercolor": paint.Watercolor,
        "oil": paint.Oil,
        "points": cells.Points,
        "mosaic": cells.Mosaic,
        "halftone": cells.Halftone,
        "neon": lines.Neon,
        "blueprint": lines.Blueprint,
    }
    surveyed: dict[str, Any] = {
        "pencil": lines.Pencil,
        "ink": lines.Ink,
        "comic": lines.Comic,
        "poster": lines.Poster,
        "pixel": cells.Pixel,
        "noir": tones.Noir,
        "duotone": tones.Duotone,
        "thermal": tones.Thermal,
    }
    drawer: Style
    if style == "vintage":
        drawer = tones.Vintage(width, height, rng, clip, flicker)
    elif style in plain:
        drawer = plain[style](width, height, rng)
    else:
        drawer = surveyed[style](width, height, rng, clip)
    return drawer


def _style(request: GenerationRequest, said: phrases.Phrases, named: str) -> str:
    if named != "auto":
        return named
    found = said.of("style")
    if not found:
        raise NotUnderstood(
            f"No word of the prompt names a style. Say for example: {words.EXAMPLES}; or pass "
            f"--param style=NAME, one of {', '.join(words.STYLES)}."
        )
    return found[0]


def _mixed(frame: Frame, drawn: NDArray[Any], strength: float) -> Frame:
    import cv2

    if strength >= 1:
        return drawn.copy()  # the next frame is drawn from this one
    return np.asarray(cv2.addWeighted(drawn, strength, frame, 1 - strength, 0), np.uint8)


def _heard(
    sound: RawMedia, length_s: float | None, cancelled: Cancelled
) -> asking.Watched[Samples]:
    """The sound as it came, cut where the clip is."""

    def blocks() -> Iterator[Samples]:
        left = None if length_s is None else round(length_s * sound.rate_hz)
        for block in sound.samples or ():
            if left is None:
                yield block
                continue
            if left <= 0:
                return
            yield block[:, :left]
            left -= block.shape[1]

    return asking.Watched(blocks, None, no_progress, cancelled, stage="sound")
