"""The ``edit`` generator: footage and an instruction -> the edited footage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from avsafe.errors import UsageError
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
from avsafe_generators import asking
from avsafe_generators.edit import framing, regions, timing
from avsafe_generators.edit.clip import F32, Clip, Pair
from avsafe_generators.edit.parse import Operation, parse
from avsafe_generators.edit.pixels import OPERATORS
from avsafe_generators.inpaint.marks import refuse_removal

MAX_PIXELS = 1920 * 1080
MAX_SECONDS = 60.0
_INPAINT_PIXELS, _INPAINT_SECONDS = 1280 * 720, 20.0
_GROW = 3  # pixels around the mask of a thing that is to go
_BLOCK = 4800  # samples

INFO = GeneratorInfo(
    name="edit",
    version="1",
    tasks=(Task.EDIT_VIDEO,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="photorealistic",
    max_duration_s=MAX_SECONDS,
    max_pixels=MAX_PIXELS,
    # IPTC: altered by an algorithm, nothing in it made up
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced",
    summary="Edits real footage by instruction (English, Italian) with real operators: colour, "
    "time, frame, text, blur, removal with a mask. It adds no objects and changes no people.",
    card="cards/edit.md",
)

_FRAMING: dict[str, Callable[..., Clip]] = {
    "crop": framing.crop, "rotate": framing.rotate, "flip": framing.flip, "zoom": framing.zoom,
    "stabilise": framing.stabilise, "text": framing.text,
}  # fmt: skip
_TIMING: dict[str, Callable[..., Clip]] = {
    "trim": timing.trim, "reverse": timing.reverse, "speed": timing.speed, "loop": timing.loop,
    "boomerang": timing.boomerang, "freeze": timing.freeze, "volume": timing.volume,
    "mute": timing.mute,
    "fade_in": lambda clip, **given: timing.fade(clip, True, **given),
    "fade_out": lambda clip, **given: timing.fade(clip, False, **given),
}  # fmt: skip
_FRAME_ONLY = frozenset((*_FRAMING, *OPERATORS, "recolour", "segment", "detect", "background",
                         "remove"))  # fmt: skip


class Edit:
    """Instructions joined by "and", "then", commas are done in order, pictures and sound together.

    Inputs: ``video`` (at most 1920 x 1080, larger is scaled down; at most 60 s, result at most
    120 s) and for some operations a mask, white on the subject. ``details``: ``operations`` with
    their parameters, ``ignored`` words, ``untouched``.

    Raises NotUnderstood when nothing is understood; UsageError when anything is asked for that no
    operator can do (adding objects, changing people, weather), when a mask is missing, for requests
    to remove marks of provenance.

    >>> from avsafe.types import GenerationRequest, Principal
    >>> request = GenerationRequest(Principal("me"), Task.EDIT_VIDEO, "edit", "add a dragon")
    >>> Edit().generate(request)
    Traceback (most recent call last):
    ...
    avsafe.errors.UsageError: edit can't do this: 'add a dragon' asks to add something new. ...
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
        asking.parameters(request, mask=asking.Box())
        refuse_removal(request.prompt[:4000], takes_away=False)
        understood = parse(request.prompt)
        operations = understood.operations
        media = asking.media_in(request, "video", need="a video", kinds=(Kind.VIDEO,))
        removes = any(operation.name == "remove" for operation in operations)
        most = _INPAINT_PIXELS if removes else MAX_PIXELS
        size = asking.fitted_size(request, media, max_pixels=most)
        progress = beat = asking.Beat(progress)
        progress(0.0, "plan")
        footage = asking.footage(
            media, *size, cancelled=cancelled,
            max_duration_s=_INPAINT_SECONDS if removes else MAX_SECONDS,
        )  # fmt: skip
        mask_of_all = asking.region(request, *size)
        masked = mask_of_all is not None
        _check_masks(operations, masked)
        if mask_of_all is not None:
            mask_of_all.refuse_empty(cancelled)

        def pairs() -> Iterator[Pair]:
            # one of its own for every pass
            region = asking.region(request, *size, frame_rate=footage.frame_rate)
            for number, frame in enumerate(footage.frames):
                beat.again()  # stabilise, reverse, remove read much before they give a frame
                yield frame, None if region is None else region.at(number)

        count = footage.frame_count
        if count is None:
            progress(0.0, "count frames")
            count = sum(1 for _ in footage.frames)
        raw_sound = footage.sound

        @cache
        def sound() -> F32:
            assert raw_sound is not None  # noqa: S101
            assert raw_sound.samples is not None  # noqa: S101
            blocks = list(raw_sound.samples)
            empty = np.zeros((raw_sound.channels, 0), np.float32)
            return np.concatenate(blocks, 1) if blocks else empty

        clip = Clip(
            pairs, footage.frame_rate, count, footage.width, footage.height,
            sound if raw_sound else None,
            raw_sound.rate_hz if raw_sound else 0, raw_sound.channels if raw_sound else 0,
        )  # fmt: skip
        for operation in operations:
            clip = done(clip, operation, masked)
        names = {operation.name for operation in operations}
        return RawMedia(
            Kind.VIDEO,
            frames=asking.Watched(
                lambda: (frame for frame, _ in clip.pairs()), clip.count, progress, cancelled
            ),
            frame_rate=clip.rate,
            frame_count=clip.count,
            width=clip.width,
            height=clip.height,
            samples=_Blocks(clip.sound, cancelled) if clip.sound else None,
            rate_hz=clip.rate_hz,
            channels=clip.channels,
            details={
                "operations": [operation.as_json() for operation in operations],
                "ignored": list(understood.ignored),
                "notes": _notes(operations, masked, sound=footage.sound is not None),
                "untouched": _untouched(operations, names, masked),
            },
        )


class _Blocks:
    """Sound in blocks, made once when first asked for."""

    def __init__(self, sound: Callable[[], F32], cancelled: Cancelled) -> None:
        self._sound, self._cancelled = cache(sound), cancelled

    def __iter__(self) -> Iterator[Samples]:
        from avsafe.errors import Cancelled as Stopped

        if self._cancelled():
            raise Stopped("edit was asked to stop before its sound.")
        whole = np.clip(self._sound(), -1, 1).astype(np.float32)
        for start in range(0, whole.shape[1], _BLOCK):
            yield np.ascontiguousarray(whole[:, start : start + _BLOCK])


def done(clip: Clip, operation: Operation, masked: bool) -> Clip:
    """The clip after one operation."""
    name, given = operation.name, dict(operation.parameters)
    if name in _TIMING:
        return _TIMING[name](clip, **given)
    if name in _FRAMING:
        return _FRAMING[name](clip, **given)
    if name == "remove":
        return _removed(clip)
    change = _changer(name, given)

    def pairs() -> Iterator[Pair]:
        for frame, mask in clip.pairs():
            yield change(frame, mask), mask

    return replace(clip, pairs=pairs)


def _changer(name: str, given: dict[str, Any]) -> Callable[[Any, F32 | None], Any]:
    """A function of one frame and its mask."""
    if name == "recolour":
        target, source, where = given["target"], given.get("source"), given.get("where")

        def recolour(frame: Any, mask: F32 | None) -> Any:
            area = regions.region(where, frame, mask)
            if source is not None:
                area = regions.of_colour(frame, source) * (1.0 if area is None else area)
            assert area is not None  # noqa: S101 - _check_masks saw to it
            return regions.blended(frame, regions.repainted(frame, target, source, area), area)

        return recolour
    if name in ("segment", "detect"):
        source = given["source"]
        where = source if source in ("faces", "mask") else f"colour {source}"

        def shown(frame: Any, mask: F32 | None) -> Any:
            area = regions.region(where, frame, mask)
            assert area is not None  # noqa: S101
            return _boxed(frame, area) if name == "detect" else _splash(frame, area)

        return shown
    if name == "background":
        colour = np.array(regions.PAINTS[given["target"]], np.float32)

        def background(frame: Any, mask: F32 | None) -> Any:
            area = regions.region("background", frame, mask)
            return regions.blended(frame, np.broadcast_to(colour, frame.shape).copy(), area)

        return background
    operator = OPERATORS[name]
    where = given.pop("where", None)

    def operate(frame: Any, mask: F32 | None) -> Any:
        area = regions.region(where, frame, mask)
        if area is not None and not area.any():
            return frame
        return regions.blended(frame, operator(frame.astype(np.float32), **given), area)

    return operate


def _splash(frame: Any, area: F32) -> Any:
    """Everything but the area grey and darker."""
    grey = OPERATORS["greyscale"](frame.astype(np.float32)) * np.float32(0.7)
    return regions.blended(frame, grey, 1 - area)


def _boxed(frame: Any, area: F32) -> Any:
    """Boxes around the larger connected parts of an area."""
    import cv2

    out = frame.copy()
    _, _, stats, _ = cv2.connectedComponentsWithStats((area > 0.5).astype(np.uint8))
    least = 0.002 * area.size
    thick = max(2, round(min(area.shape) / 160))
    for x, y, w, h, pixels in stats[1:]:
        if pixels >= least:
            corners = (int(x), int(y)), (int(x + w), int(y + h))
            cv2.rectangle(out, *corners, (255, 230, 0), thick)
    return out


def _removed(clip: Clip) -> Clip:
    """The thing under the mask filled from other frames, as ``inpaint`` does."""
    from avsafe_generators.inpaint.propagate import propagate

    def pairs() -> Iterator[Pair]:
        import cv2

        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GROW + 1,) * 2)

        def holes() -> Iterator[tuple[Any, Any]]:
            for frame, mask in clip.pairs():
                assert mask is not None  # noqa: S101 - _check_masks saw to it
                hole = cv2.dilate((mask > 0.02).astype(np.uint8), kernel).astype(bool)
                if hole.mean() > 0.7:
                    raise UsageError("The mask covers more than 70 % of a frame: too much to fill.")
                yield frame, hole

        for frame in propagate(holes()):
            yield frame, None

    return replace(clip, pairs=pairs)


def _check_masks(operations: tuple[Operation, ...], masked: bool) -> None:
    """Refuse at once what can't work without a mask."""
    gone = False
    for operation in operations:
        name, given = operation.name, operation.parameters
        where = given.get("where") if name != "text" else None
        needs = (
            name in ("remove", "background")
            or where in ("background", "mask")
            or given.get("source") == "mask"
            or given.get("shape") == "mask"
            or (name == "recolour" and "source" not in given)
        )
        if needs and not masked:
            hint = (
                "say which colour it has (\"make the red car blue\"), or pass"
                if name == "recolour"
                else "pass"
            )  # fmt: skip
            raise UsageError(
                f"{operation.text!r} needs to know where: {hint} --mask, a box x,y,w,h in "
                "fractions of the frame, or a picture or video that is white on the subject."
            )
        if needs and gone:
            raise UsageError(
                f"{operation.text!r} needs the mask, but its thing was removed before. Change the "
                "order."
            )
        gone = gone or name == "remove"


def _notes(operations: tuple[Operation, ...], masked: bool, *, sound: bool) -> list[str]:
    """What somebody should know of the result: a colour is found, no thing is."""
    notes = []
    for operation in operations:
        given = operation.parameters
        named = str(given.get("source") or given.get("where") or "").removeprefix("colour ")
        if named in regions.PAINTS and not masked:
            notes.append(
                f"{operation.name}: everything {named} in the frame is meant, whatever it is; pass "
                "--mask to keep it to one thing"
            )
        if operation.name == "volume" and not sound:
            notes.append("volume: the clip has no sound to make louder or softer")
        if operation.name == "style":
            notes.append("style: a simple filter; the generator stylize does more")
    return notes


def _untouched(operations: tuple[Operation, ...], names: set[str], masked: bool) -> str:
    parts = []
    if names <= _FRAME_ONLY:
        parts.append("the sound and the timing")
    local = all(
        masked or "where" in o.parameters or "source" in o.parameters or o.name == "text"
        for o in operations
        if o.name in _FRAME_ONLY
    )
    geometric = names & {"crop", "rotate", "flip", "zoom", "stabilise"}
    if names & _FRAME_ONLY and local and not geometric:
        parts.append("every pixel outside the region of each operation, bit by bit")
    if not names & _FRAME_ONLY and not names & {"speed", "fade_in", "fade_out"}:
        parts.append("every frame that is shown, bit by bit")
    return "; ".join(parts) or "nothing is promised to stay as it was"
