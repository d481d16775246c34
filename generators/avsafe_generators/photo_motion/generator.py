"""The ``photo-motion`` generator: photo -> clip with a camera move, parallax, moving regions."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

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
from avsafe_generators import asking
from avsafe_generators.photo_motion import words

if TYPE_CHECKING:
    from avsafe_generators.cinemagraph.ambient import Ambient
    from avsafe_generators.cinemagraph.fields import Field, Picture
    from avsafe_generators.photo_motion.layout import Layout
    from avsafe_generators.photo_motion.subject import Subject

DURATION_S = 4.0
DURATIONS_S = (0.5, 30.0)
_SHARPER = 1.3  # the photo is read with up to this many times the frame's pixels a side

_KNOBS: dict[str, asking.Knob] = {
    "move": asking.Choice("auto", *words.MOVES),
    "amount": asking.Number(0.0, 2.0, 1.0),
    "parallax": asking.Number(0.0, 2.0, 1.0),
    "loop": asking.Flag(False),
    "fps": asking.Number(12, 30, 25),
    "speed": asking.Number(0.1, 4.0, 1.0),
}

INFO = GeneratorInfo(
    name="photo-motion",
    version="1",
    tasks=(Task.IMAGE_TO_VIDEO,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="photorealistic",
    max_duration_s=DURATIONS_S[1],
    max_pixels=1280 * 720,
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced",
    controls=tuple(_KNOBS),
    summary="A camera move over a photo with parallax from a depth-like map (layout cues, a masked "
    "subject), and moving sky or masked regions; nothing in the photo acts, no network.",
    card="cards/photo-motion.md",
)


class PhotoMotion:
    """A photo (role ``image``) becomes a clip.

    Words or ``move`` choose the camera's move (orbit, zoom-in, zoom-out, pan-left, pan-right,
    pan-up, pan-down, dolly-zoom, ken-burns, breathing, still). Words of moving things ("clouds
    drifting", "water flowing") move the mask's region in a loop, or the sky where one is found. A
    mask without such words names the subject that stands in front.

    ``parameters``: ``move``, ``amount`` and ``parallax`` (0 to 2), ``loop``, ``fps`` (25),
    ``speed`` (of moving regions). ``RawMedia.details``: ``understood``, ``ignored``, ``n_ignored``
    words, ``move``, ``relief`` (the cues and what they found), ``crop`` (how much the picture is
    enlarged so that no border shows), ``ambient``.

    Raises UsageError without a picture. A prompt without a known word is no error: the photo is
    what counts, and ``details`` says that the move is the default.

    >>> request  # doctest: +SKIP
    GenerationRequest(task=IMAGE_TO_VIDEO, prompt="slow zoom in", inputs=(photo.jpg,), ...)
    >>> PhotoMotion().generate(request).details["move"]  # doctest: +SKIP
    'zoom-in'
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
        from avsafe_generators.photo_motion import camera, render

        asking.refuse_other_tasks(request, INFO)
        wanted = asking.parameters(request, mask=asking.Box(), **_KNOBS)
        media = asking.media_in(request, "image", need="a picture", kinds=(Kind.IMAGE,))
        duration_s = asking.duration(
            request, default=DURATION_S, low=DURATIONS_S[0], high=DURATIONS_S[1]
        )
        width, height = asking.fitted_size(request, media)
        rate = Fraction(str(wanted["fps"])).limit_denominator(1001)
        count = max(2, round(duration_s * rate))
        plan = words.read(request.prompt, request.negative_prompt)
        move = plan.move if wanted["move"] == "auto" else wanted["move"]

        def step(fraction: float, stage: str) -> None:
            progress(fraction, stage)
            if cancelled():
                raise Stopped(f"photo-motion was asked to stop at {stage}.")

        step(0.0, "photo")
        whole = asking.picture(media)
        scale = min(_SHARPER, max(1.0, min(whole.shape[1] / width, whole.shape[0] / height)))
        photo = asking.covered(whole, round(width * scale), round(height * scale))
        region = asking.region(request, photo.shape[1], photo.shape[0])
        mask = region.at(0) if region is not None else None
        step(0.02, "depth")
        photo, layout, subject, wish_mask, note = _understood(
            photo, plan, mask, move, request.seed, step
        )
        ground = render.behind(photo, subject) if move != "still" else photo
        step(0.09, "layers")
        ambient = _ambient(ground, wish_mask, plan, wanted["speed"], count, float(rate), request)
        closed = wanted["loop"] or plan.loop
        path = camera.Path(
            move, wanted["amount"] * plan.size, wanted["parallax"], closed, _focus(layout, subject)
        )
        renderer = render.Renderer(
            photo, ground, layout, subject, path, (width, height), count, ambient
        )
        lost = [] if ambient is not None else plan.said.words("thing")
        details: dict[str, Any] = {
            "understood": [word for word in plan.understood if word not in lost],
            "ignored": [*plan.ignored, *lost],
            "n_ignored": plan.n_ignored + len(lost),
            "move": move,
            "default_move": plan.by_default and wanted["move"] == "auto",
            "loop": closed or move in camera.CLOSED,
            "crop": round(renderer.base, 3),
            "relief": _cues(layout, subject),
            "ambient": None if ambient is None else ambient.details,
        }
        if note:
            details["note"] = note
        step(0.1, "frames")

        def frames() -> Iterator[Frame]:
            for index in range(count):
                yield renderer.frame(index)

        return RawMedia(
            Kind.VIDEO,
            frames=asking.Watched(frames, count, progress, cancelled),
            frame_rate=rate,
            frame_count=count,
            width=width,
            height=height,
            details=details,
        )


def _understood(
    photo: Picture, plan: words.Plan, mask: Field | None, move: str, seed: int, step: Progress
) -> tuple[Picture, Layout, Subject | None, Field | None, str]:
    """The photo's layout, its subject, and the region that moves (None: none does)."""
    from avsafe_generators.photo_motion import subject as cut_out
    from avsafe_generators.photo_motion.layout import layout

    note = ""
    subject: Subject | None
    if mask is not None and not plan.ambient:
        subject, moves = cut_out.given(photo, mask), None
        note = "the mask names the subject: no word asks for something to move"
    else:
        subject, moves = cut_out.find(photo, seed), mask
        if subject is not None and moves is not None:
            covered = float((subject.matte * moves).sum() / max(1.0, float(moves.sum())))
            if covered > 0.3:  # what moves is the subject itself: one sheet
                subject = None
    step(0.06, "depth")
    found = layout(photo, subject)
    if plan.ambient and moves is None:
        things = plan.said.of("thing")
        if "clouds" in things and float((found.sky > 0.5).mean()) > 0.04:
            moves = found.sky
            note = "no mask: the sky that was found moves"
        else:
            note = "pass --mask with the region that is to move"
    return photo, found, subject, moves, note


def _ambient(
    ground: Picture, mask: Field | None, plan: words.Plan, speed: float, count: int, rate: float,
    request: GenerationRequest,
) -> Ambient | None:  # fmt: skip
    from avsafe_generators.cinemagraph import wishes
    from avsafe_generators.cinemagraph.ambient import Ambient

    if mask is None or not plan.ambient:
        return None
    if not (mask > 0.5).any():
        raise UsageError("The mask has no white part. White is where the picture moves.")
    wish = wishes.wish(plan.said, "auto", "auto", speed)
    return Ambient(ground, mask, wish, count, rate, request.seed)


def _focus(layout: Layout, subject: Subject | None) -> tuple[float, float]:
    """Where the eye goes: the middle of the subject, else of what is near."""
    weight = layout.ground if subject is None else subject.matte
    h, w = weight.shape
    total = max(1e-6, float(weight.sum()))
    x = float((weight.sum(axis=0) * (np.arange(w) + 0.5)).sum()) / total / w
    y = float((weight.sum(axis=1) * (np.arange(h) + 0.5)).sum()) / total / h
    return x, y


def _cues(layout: Layout, subject: Subject | None) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "depth-like map from layout cues, not measured depth"}
    found |= {"cues": dict(layout.cues)}
    found["subject"] = (
        None if subject is None else {"from": subject.source, "share": round(subject.share, 3)}
    )
    return found
