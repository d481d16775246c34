"""One decoding pass of a file as a stream of pictures and sound, both at once, for the caller.

Legend: RGB is ``(h, w, 3)`` uint8, luma ``(h, w)`` uint8, sound ``(c, n)`` float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import SandboxFailure
from avsafe.media.limits import Limits
from avsafe.media.wire import Message, work_ahead
from avsafe.types import Frame, Kind, Media, Picture, RawMedia, Samples, Shape

if TYPE_CHECKING:
    from avsafe.media.reading import Plan

_RGB: tuple[Picture, ...] = ("rgb",)
GATHERED_S = 0.25  # seconds of sound that are sent at once, about


@dataclass(frozen=True, eq=False)
class Piece:
    """One frame (in the forms that were asked for), or one block of sound."""

    time_s: float
    rgb: Frame | None = None
    luma: Frame | None = None
    block: Samples | None = None


@dataclass(frozen=True, eq=False)
class Playing:
    """A clip about to be played; every ``iter()`` starts a new pass."""

    shape: Shape
    start: Callable[[], Iterator[Piece]]
    media: Media | None = None

    def __iter__(self) -> Iterator[Piece]:
        return self.start()


def play(
    path: Path | str,
    *,
    pictures: Collection[Picture] = _RGB,
    samples: bool = True,
    trusted: bool = False,
    limits: Limits | None = None,
    max_duration_s: float | None = None,
) -> Playing:
    """A file as one stream of frames at a constant rate and blocks of sound, decoded once.

    ``pictures`` names the forms of each frame (``rgb``, ``luma``); both come from the decoder, so
    neither depends on what else is asked for. Memory does not grow with the length of the clip.
    Times and rates are those of ``decode``.

    Raises the children of ``UnreadableMedia``, also on the way.

    >>> clip = play("clip.mp4", pictures=("luma",))  # doctest: +SKIP
    >>> sum(piece.luma is not None for piece in clip)  # doctest: +SKIP
    250
    """
    from avsafe.media import sandbox
    from avsafe.media.inspection import from_json
    from avsafe.media.reading import Plan
    from avsafe.media.structure import prescan

    path = Path(path).absolute()
    limits = limits or Limits()
    forms = tuple(sorted(set(pictures)))
    prescan(path, limits)
    if trusted:
        plan, media = _look(path, limits, max_duration_s)
    else:
        arguments = {
            "path": str(path), "limits": limits.as_json(), "max_duration_s": max_duration_s
        }  # fmt: skip
        found = sandbox.call("avsafe.media.playing:look_json", arguments, limits=limits)
        plan, media = Plan.from_json(found["plan"]), from_json(path, found["media"])

    def start() -> Iterator[Piece]:
        if trusted:
            return _pieces(path, plan, limits, max_duration_s, forms, samples)
        return _received(path, plan, limits, max_duration_s, forms, samples)

    return Playing(_shape(plan, media), start, media)


def replayed(raw: RawMedia) -> Playing:
    """Media in memory as a file plays: pictures and sound by time; luma by BT.601's weights."""
    count = raw.frame_count
    duration = count / float(raw.frame_rate) if count and raw.frame_rate else None
    shape = Shape(
        raw.kind, raw.width, raw.height, raw.frame_rate, count, raw.rate_hz, raw.channels, duration
    )
    return Playing(shape, lambda: _in_memory(raw))


def _shape(plan: Plan, media: Media) -> Shape:
    return Shape(
        plan.kind, plan.width, plan.height, plan.rate, plan.frame_count, plan.rate_hz,
        plan.channels, media.duration_s,
    )  # fmt: skip


def _look(path: Path, limits: Limits, max_duration_s: float | None) -> tuple[Plan, Media]:
    from avsafe.media.inspection import probe_here
    from avsafe.media.survey import survey

    seen = survey(path, limits, max_duration_s)
    return seen.plan, probe_here(path, limits, seen if max_duration_s is None else None)


def look_json(path: str, limits: dict[str, Any], max_duration_s: float | None) -> dict[str, Any]:
    """What a file is and how it plays, for the sandbox."""
    from avsafe.media.inspection import as_json

    plan, media = _look(Path(path), Limits.from_json(limits), max_duration_s)
    return {"plan": plan.as_json(), "media": as_json(media)}


def stream(
    path: str,
    plan: dict[str, Any],
    limits: dict[str, Any],
    max_duration_s: float | None,
    forms: list[Picture],
    samples: bool,
) -> Iterator[Message]:
    """One pass, for the sandbox: a message a piece."""
    from avsafe.media.decoder import pixels_of
    from avsafe.media.reading import Plan

    planned = Plan.from_json(plan)
    if forms:
        yield work_ahead(pixels_of(Path(path), planned))
    given = Limits.from_json(limits)
    for piece in _pieces(Path(path), planned, given, max_duration_s, forms, samples):
        arrays = {"rgb": piece.rgb, "luma": piece.luma, "block": piece.block}
        yield Message(
            {"time_s": piece.time_s}, {name: a for name, a in arrays.items() if a is not None}
        )


def _pieces(
    path: Path,
    plan: Plan,
    limits: Limits,
    max_duration_s: float | None,
    forms: Collection[Picture],
    samples: bool,
) -> Iterator[Piece]:
    from avsafe.media.decoder import events

    period_s = float(1 / plan.rate) if plan.rate else 0.0
    pictures = set(forms) if plan.width else set()
    gathered = _Gathered(plan.rate_hz)
    for event in events(
        path, plan, limits, max_duration_s, pictures=pictures,
        samples=samples and bool(plan.rate_hz),
    ):  # fmt: skip
        if not event.is_frame:
            yield from gathered.take(event.time_s, event.data)
            continue
        shown = {form: event.picture(form) for form in pictures}
        for repeat in range(event.count):
            yield Piece(event.time_s + repeat * period_s, shown.get("rgb"), shown.get("luma"))
    yield from gathered.rest()


class _Gathered:
    """Short blocks of sound, joined: a codec gives 20 ms at a time, and each message costs."""

    def __init__(self, rate_hz: int) -> None:
        self._least = rate_hz * GATHERED_S
        self._blocks: list[Samples] = []
        self._held, self._time_s = 0, 0.0

    def take(self, time_s: float, block: Samples) -> Iterator[Piece]:
        if not self._blocks:
            self._time_s = time_s
        self._blocks.append(block)
        self._held += block.shape[1]
        if self._held >= self._least:
            yield from self.rest()

    def rest(self) -> Iterator[Piece]:
        import numpy as np

        if self._blocks:
            block = self._blocks[0]
            if len(self._blocks) > 1:
                block = np.concatenate(self._blocks, axis=1)
            self._blocks, self._held = [], 0
            yield Piece(self._time_s, block=block)


def _received(
    path: Path,
    plan: Plan,
    limits: Limits,
    max_duration_s: float | None,
    forms: Collection[Picture],
    samples: bool,
) -> Iterator[Piece]:
    """A pass in the limited process; what it sends is checked: a file may have taken it over."""
    from avsafe.media import sandbox

    arguments = {
        "path": str(path),
        "plan": plan.as_json(),
        "limits": limits.as_json(),
        "max_duration_s": max_duration_s,
        "forms": list(forms),
        "samples": samples,
    }
    shapes = {"rgb": (plan.height, plan.width, 3), "luma": (plan.height, plan.width)}
    with sandbox.stream(
        "avsafe.media.playing:stream",
        arguments,
        limits=limits,
        item_bytes=4 * limits.max_pixels + 4096,
    ) as messages:
        for message in messages:
            found, time_s = message.arrays, message.header.get("time_s")
            good = isinstance(time_s, float) and (
                set(found) == set(forms)
                and all(found[f].shape == shapes[f] and found[f].dtype == "uint8" for f in forms)
                if "block" not in found
                else len(found) == 1
                and found["block"].ndim == 2
                and found["block"].shape[0] == plan.channels
                and found["block"].dtype == "float32"
            )
            if not good:
                raise SandboxFailure(
                    f"The decoding process of {path.name} sent what it had not announced. The file "
                    "may have taken it over; do not trust it."
                )
            yield Piece(float(time_s or 0.0), **found)


def _in_memory(raw: RawMedia) -> Iterator[Piece]:
    from avsafe.media.colour import grey

    period_s = float(1 / raw.frame_rate) if raw.frame_rate else 0.0
    blocks: Iterable[Samples] = raw.samples if raw.samples is not None else ()
    hearing, heard_s = iter(blocks), 0.0
    for index, frame in enumerate(raw.frames if raw.frames is not None else ()):
        while heard_s <= index * period_s and raw.kind is not Kind.IMAGE:
            block = next(hearing, None)
            if block is None:
                break
            yield Piece(heard_s, block=block)
            heard_s += block.shape[1] / raw.rate_hz
        yield Piece(index * period_s, frame, grey(frame))
    for block in hearing:
        yield Piece(heard_s, block=block)
        heard_s += block.shape[1] / raw.rate_hz
