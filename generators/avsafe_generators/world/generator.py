"""The ``world`` generator: text -> a captioned procedural scene, with sound in sync."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

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
    Samples,
    Task,
    never_cancelled,
    no_progress,
)

if TYPE_CHECKING:
    from avsafe_generators.world.scene import Scene
    from avsafe_generators.world.sound import Levels

SIDE = 512
DURATION_S = 4.0
FRAME_RATE = Fraction(24)
SIDES = (64, 1920)  # pixels
RATES = (Fraction(16), Fraction(30))
DURATIONS = (0.5, 60.0)
_MAX_PIXELS = 1920 * 1080
_STILL_AT = 0.37  # share of the duration at which a still is taken: things are under way

INFO = GeneratorInfo(
    name="world",
    version="1",
    tasks=(Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",
    max_duration_s=DURATIONS[1],
    max_pixels=_MAX_PIXELS,
    # IPTC: "created purely by an algorithm not based on any sampled training data"
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
    controls=("frame_rate",),
    summary="Procedural scenes with sound from a closed vocabulary in five languages; "
    "not photorealistic, no people, no text.",
    card="cards/world.md",
)


class World:
    """Scenes of simple objects: deterministic, no weights, no network.

    ``parameters``: ``frame_rate`` (16 to 30, default 24; "30000/1001" is understood).
    ``RawMedia.details``: ``caption`` (what is really shown), ``understood``, ``unused`` (known
    words with nothing to apply to), ``ignored`` and ``n_ignored`` words, ``scene`` (plain data),
    ``impacts`` (contacts: ``time_s``, object, material, surface, speed). Frames and sound are made
    while they are iterated; memory doesn't grow with the duration.

    Raises NotUnderstood when nothing of the prompt can be shown, UsageError for sizes, rates and
    durations out of range.

    >>> from avsafe.types import GenerationRequest, Principal, Task
    >>> me = Principal("me")
    >>> request = GenerationRequest(me, Task.TEXT_TO_VIDEO, "world", "a red ball bouncing")
    >>> World().generate(request).frame_count
    96
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
        from avsafe_generators.world import parse, scene, sound

        if request.task not in INFO.tasks:
            tasks = ", ".join(INFO.tasks)
            raise UsageError(f"The world generator can't do {request.task} (it can: {tasks}).")
        width, height = _size(request)
        rate = _frame_rate(request)
        duration_s = _duration(request)
        progress(0.0, "plan")
        text = parse.parse(request.prompt, request.negative_prompt)
        still = request.task is Task.TEXT_TO_IMAGE
        frame_count = max(1, round(duration_s * rate))
        plan = scene.plan(
            text, width=width, height=height, duration_s=float(frame_count / rate),
            seed=request.seed % 2**63,
        )  # fmt: skip
        details: dict[str, Any] = {
            "caption": plan.caption,
            "understood": text.understood,
            "unused": text.unused,
            "ignored": text.ignored,
            "n_ignored": text.n_ignored,
            "dropped_objects": text.dropped,
            "scene": plan.as_json(),
            "impacts": [] if still else plan.impacts(),
        }
        if still:
            at = round(frame_count * _STILL_AT)
            frames = _Frames(plan, rate, range(at, at + 1), progress, cancelled)
            return RawMedia(
                Kind.IMAGE,
                frames=frames,
                frame_count=1,
                width=width,
                height=height,
                details=details,
            )
        total = round(Fraction(frame_count) / rate * sound.RATE_HZ)
        progress(0.02, "sound")
        levels = sound.balance(plan, total, progress, cancelled)
        progress(0.1, "frames")
        return RawMedia(
            Kind.VIDEO,
            frames=_Frames(plan, rate, range(frame_count), progress, cancelled),
            frame_rate=rate,
            frame_count=frame_count,
            width=width,
            height=height,
            samples=_Samples(plan, total, levels, cancelled),
            rate_hz=sound.RATE_HZ,
            channels=2,
            details=details,
        )


class _Frames(Iterable[Frame]):
    """Draws the frames anew in every iteration."""

    def __init__(
        self, scene: Scene, rate: Fraction, numbers: range, progress: Progress, cancelled: Cancelled
    ) -> None:
        self._scene, self._rate, self._numbers = scene, rate, numbers
        self._progress, self._cancelled = progress, cancelled

    def __iter__(self) -> Iterator[Frame]:
        from avsafe_generators.world.render import Renderer

        renderer = Renderer(self._scene, self._rate)
        for done, number in enumerate(self._numbers, 1):
            if self._cancelled():
                raise Stopped(f"The world generator was asked to stop before frame {done}.")
            yield renderer.frame(number)
            left = len(self._numbers) - done
            self._progress(1.0 - 0.9 * left / len(self._numbers), "frames")


class _Samples(Iterable[Samples]):
    """Synthesises the sound anew in every iteration."""

    def __init__(self, scene: Scene, total: int, levels: Levels, cancelled: Cancelled) -> None:
        self._scene, self._total, self._levels, self._cancelled = scene, total, levels, cancelled

    def __iter__(self) -> Iterator[Samples]:
        from avsafe_generators.world import sound

        for block in sound.render(self._scene, self._total, self._levels):
            if self._cancelled():
                raise Stopped("The world generator was asked to stop while it made its sound.")
            yield block


def _size(request: GenerationRequest) -> tuple[int, int]:
    width = request.width or request.height or SIDE
    height = request.height or request.width or SIDE
    low, high = SIDES
    if not all(low <= side <= high and side % 2 == 0 for side in (width, height)):
        raise UsageError(
            f"The world generator draws even sides of {low} to {high} pixels; asked for "
            f"{width} x {height}."
        )
    if width * height > _MAX_PIXELS:
        raise UsageError(
            f"{width} x {height} is more than the {_MAX_PIXELS} pixels (1920 x 1080) of a frame "
            "that the world generator draws. Ask for a smaller one."
        )
    return width, height


def _frame_rate(request: GenerationRequest) -> Fraction:
    unknown = sorted(set(request.parameters) - {"frame_rate", "disclose_prompt"})
    if unknown:
        raise UsageError(
            f"The world generator has no parameter {', '.join(unknown)} (it has: frame_rate)."
        )
    value = request.parameters.get("frame_rate", FRAME_RATE)
    try:
        rate = Fraction(str(value)).limit_denominator(1001)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"frame_rate {value!r} is no number. Write 24, 29.97 or 30000/1001."
        ) from error
    if not RATES[0] <= rate <= RATES[1]:
        raise UsageError(f"frame_rate {value} is outside {RATES[0]} to {RATES[1]} frames a second.")
    return rate


def _duration(request: GenerationRequest) -> float:
    duration_s = DURATION_S if request.duration_s is None else float(request.duration_s)
    low, high = DURATIONS
    if not low <= duration_s <= high:  # also false for NaN
        raise UsageError(
            f"The world generator makes clips of {low} to {high:g} s; asked for {duration_s:g} s."
        )
    return duration_s
