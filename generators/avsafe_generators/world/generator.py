"""The ``world`` generator: text -> a captioned procedural scene, with sound in sync."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from avsafe.types import (
    Cancelled,
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
        from avsafe_generators.world import parse, played, scene

        asking.refuse_other_tasks(request, INFO)
        rate = asking.parameters(request, frame_rate=asking.Rate(*RATES, FRAME_RATE))["frame_rate"]
        width, height = asking.size(
            request, default=(SIDE, SIDE), low=SIDES[0], high=SIDES[1], max_pixels=_MAX_PIXELS
        )
        duration_s = asking.duration(
            request, default=DURATION_S, low=DURATIONS[0], high=DURATIONS[1]
        )
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
            return played.still(plan, rate, at, details, progress, cancelled)
        return played.played(plan, rate, frame_count, details, progress, cancelled)
