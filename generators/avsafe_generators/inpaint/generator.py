"""The ``inpaint`` generator: footage and a mask -> the same footage with the hole filled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from avsafe.errors import NotUnderstood, UsageError
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
from avsafe_generators import asking
from avsafe_generators.inpaint.fill import Hole, hidden
from avsafe_generators.inpaint.marks import plain, refuse_removal
from avsafe_generators.inpaint.propagate import WINDOW, propagate

MAX_PIXELS = 1280 * 720
MAX_SECONDS = 20.0
_MOST = 0.7  # of a frame: a larger hole leaves too little to fill it from
_LONGEST_PROMPT = 1000  # characters
_OPEN = 0.02  # mask value from which a pixel is part of the hole

COLOURS = {
    "black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128), "red": (200, 30, 30),
    "green": (30, 150, 50), "blue": (30, 70, 200), "yellow": (240, 210, 40),
    "orange": (240, 140, 30), "purple": (130, 50, 160), "pink": (240, 140, 180),
    "brown": (120, 75, 40), "cyan": (40, 190, 210),
}  # fmt: skip
_ITALIAN = {
    "nero": "black", "bianco": "white", "grigio": "grey", "gray": "grey", "rosso": "red",
    "verde": "green", "blu": "blue", "giallo": "yellow", "arancione": "orange", "viola": "purple",
    "rosa": "pink", "marrone": "brown", "azzurro": "cyan",
}  # fmt: skip
_FILLS = {
    "blur": r"blur\w*|sfoc\w*|sfum\w*",
    "pixelate": r"pixel\w*|mosaic\w*|mosaico",
    "propagate": r"propagat\w*|remov\w*|eras\w*|delet\w*|fill\w*|inpaint\w*|clean\w*|get rid|"
    r"take away|background|rimuov\w*|togli\w*|cancell\w*|elimin\w*|riempi\w*|sfondo",
}

INFO = GeneratorInfo(
    name="inpaint",
    version="1",
    tasks=(Task.INPAINT_VIDEO,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="photorealistic",
    max_duration_s=MAX_SECONDS,
    max_pixels=MAX_PIXELS,
    # IPTC: a composite with a synthetic element; the hole is that element
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic",
    controls=("fill", "grow", "reach_s", "texture"),
    summary="Fills a masked hole of real footage with what other frames show of the place; what no "
    "frame shows gets colours and grain of its surroundings. It draws nothing new and takes away "
    "no marks of provenance.",
    card="cards/inpaint.md",
)


class Inpaint:
    """Flow-guided propagation into a hole; pixels outside the mask stay as they are, bit by bit.

    Inputs: ``video`` (at most 1280 x 720 pixels, larger is scaled down; at most 20 s) and a mask
    (box, picture or video; white is the hole). ``parameters``: ``fill`` propagate (default), blur,
    pixelate or color; ``color`` for the last; ``grow``, pixels added around the mask (default 0
    for a box, 3 otherwise); ``reach_s``, how far to look into past and future (default 2, at most
    60 frames); ``texture``, share of the grain of the surroundings in what no frame shows (0 to 1,
    default 1; 0 is closest to the truth in squared error, and looks blurred). A prompt may name the
    fill instead: "blur", "pixelate", "colour red", "remove the chair". ``details``: fill, words
    ignored, share of the frame, what is untouched.

    Raises UsageError for a missing mask, one that covers more than 70 % of a frame, a clip too
    long, a request to remove marks of provenance; NotUnderstood for a prompt that wishes for
    something new in the hole.

    >>> from avsafe.types import GenerationRequest, Principal
    >>> me = Principal("me")
    >>> request = GenerationRequest(me, Task.INPAINT_VIDEO, "inpaint", "remove the logo")
    >>> Inpaint().generate(request)
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: The request speaks of taking away or changing a mark ('logo'). ...
    """  # fmt: skip

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
        wish = asking.parameters(
            request,
            fill=asking.Choice("auto", "propagate", "blur", "pixelate", "color"),
            color=asking.Text("grey", max_chars=30),
            grow=asking.Number(0, 64, None, whole=True),
            reach_s=asking.Number(0.1, 2.0, 2.0),
            texture=asking.Number(0.0, 1.0, 1.0),
            mask=asking.Box(),
        )
        fill, colour, ignored = _fill(request, wish["fill"], wish["color"])
        media = asking.media_in(request, "video", need="a video", kinds=(Kind.VIDEO,))
        size = asking.fitted_size(request, media, max_pixels=MAX_PIXELS, high=1280)
        region = asking.region(request, *size, max_duration_s=MAX_SECONDS)
        if region is None:
            raise UsageError(
                "inpaint-video needs to know where the hole is: pass --mask, a box x,y,w,h in "
                "fractions of the frame, or a picture or video that is white there."
            )
        progress = beat = asking.Beat(progress)
        progress(0.0, "plan")
        clip = asking.footage(media, *size, max_duration_s=MAX_SECONDS, cancelled=cancelled)
        region.refuse_empty(cancelled)
        boxed = "mask" in request.parameters
        grow = wish["grow"] if wish["grow"] is not None else (0 if boxed else 3)
        window = max(1, min(WINDOW, round(wish["reach_s"] * float(clip.frame_rate))))

        def pairs(holes: _Holes) -> Iterator[tuple[Frame, Hole]]:
            for number, frame in enumerate(clip.frames):
                beat.again()  # many frames are read before the first is finished
                yield frame, holes.at(number)

        def frames() -> Iterator[Frame]:
            holes = _Holes(request, size, grow, clip.frame_rate)
            if fill == "propagate":
                yield from propagate(pairs(holes), window, wish["texture"])
            else:
                for number, frame in enumerate(clip.frames):
                    hid = hidden(frame, holes.at(number), fill, colour)
                    yield np.clip(hid + 0.5, 0, 255).astype(np.uint8)

        sound = clip.sound
        share = float(_Holes(request, size, grow, clip.frame_rate).at(0).mean())
        return RawMedia(
            Kind.VIDEO,
            frames=asking.Watched(frames, clip.frame_count, progress, cancelled, stage=fill),
            frame_rate=clip.frame_rate,
            frame_count=clip.frame_count,
            width=clip.width,
            height=clip.height,
            samples=sound.samples if sound else None,
            rate_hz=sound.rate_hz if sound else 0,
            channels=sound.channels if sound else 0,
            details={
                "fill": fill,
                "ignored": ignored,
                "hole_share_of_first_frame": round(share, 4),
                "grow_px": grow,
                "window_frames": window,
                "untouched": "every pixel outside the mask (grown by grow_px), and the sound",
            },
        )


class _Holes:
    """The hole of every frame, from the mask."""

    def __init__(
        self, request: GenerationRequest, size: tuple[int, int], grow: int, rate: Fraction
    ) -> None:
        region = asking.region(request, *size, max_duration_s=MAX_SECONDS, frame_rate=rate)
        assert region is not None  # noqa: S101 - looked at before
        self._region, self._grow = region, grow
        self._still: Hole | None = None

    def at(self, number: int) -> Hole:
        import cv2

        if self._still is not None:
            return self._still
        hole: Hole = self._region.at(number) > _OPEN
        if self._grow:
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self._grow + 1,) * 2)
            hole = cv2.dilate(hole.astype(np.uint8), kernel).astype(bool)
        if hole.mean() > _MOST:
            raise UsageError(
                f"The mask covers {hole.mean():.0%} of frame {number + 1}; at most {_MOST:.0%} can "
                "be filled from what is left. Pass a smaller mask (white is the hole)."
            )
        if not self._region.moving:
            self._still = hole
        return hole


def _fill(
    request: GenerationRequest, fill: str, colour: str
) -> tuple[str, tuple[int, int, int], list[str]]:
    """The fill, its colour and the ignored words, from the parameter and the prompt."""
    prompt = request.prompt
    if len(prompt) > _LONGEST_PROMPT:
        raise UsageError(
            f"The prompt has {len(prompt)} characters; inpaint reads at most {_LONGEST_PROMPT}. "
            "It understands blur, pixelate, colour NAME, or nothing at all."
        )
    refuse_removal(prompt, takes_away=True)
    words = re.findall(r"[a-z]+", plain(prompt))
    text = " ".join(words)
    named = [_ITALIAN.get(word, word) for word in words]
    named = [word for word in named if word in COLOURS]
    found = next((how for how, form in _FILLS.items() if re.search(rf"\b(?:{form})\b", text)), None)
    if found in (None, "propagate") and named and _paints(text):
        found, colour = "color", named[0]
    if fill == "auto":
        if words and found is None:
            raise NotUnderstood(
                f"inpaint understands nothing of {prompt[:80]!r}: it can't draw new things into a "
                "hole. It can fill it from other frames (no prompt, or \"remove the chair\"), or "
                "\"blur\", \"pixelate\", \"colour red\"."
            )  # fmt: skip
        fill = found or "propagate"
    colour = colour.strip().lower()
    colour = _ITALIAN.get(colour, colour)
    if fill == "color" and colour not in COLOURS:
        raise UsageError(f"color is one of {', '.join(COLOURS)}, not {colour!r}.")
    known = "|".join((*_FILLS.values(), *COLOURS, *_ITALIAN, r"colou?r\w*|colora|paint|with|the|a"))
    ignored = [word for word in words if not re.fullmatch(known, word)]
    return fill, COLOURS.get(colour, (128, 128, 128)), ignored[:50]


def _paints(text: str) -> bool:
    """Whether a colour in the prompt is what to paint with, and no property of what goes away."""
    return bool(
        re.search(r"\bcolou?r\w*|\bpaint\w*|\bcolor[ae]\b|^\w+$|\b(?:with|con|di) \w+$", text)
    )
