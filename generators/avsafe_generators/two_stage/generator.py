"""The ``two-stage`` generator: text -> first frame -> motion given the first frame."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from avsafe.errors import Cancelled as Stopped
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

FRAME_RATE = Fraction(16)  # Emu Video's: 4 s at 16 frames a second
MAX_PIXELS = 1920 * 1080

INFO = GeneratorInfo(
    name="two-stage",
    version="1",
    tasks=(Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",
    max_duration_s=4.0,
    max_pixels=MAX_PIXELS,
    controls=("steps", "guidance", "tries", "frame_rate"),
    summary="Learned: text to a first frame, then its motion (after Emu Video's two steps), in the "
    "scenes of the world; at most two objects, a closed vocabulary, not photorealistic.",
    card="cards/two-stage.md",
)


class TwoStage:
    """Scenes whose looks and motion two small networks sample; the world's renderer draws them.

    ``parameters``: ``steps`` of each sampler (4 to 50, default 16), ``guidance`` (1 to 4, default
    2; 1 is none), ``tries`` (1 to 16, default 4: of so many samples the first that shows most of
    what was asked for), ``frame_rate`` (8 to 30, default 16). ``RawMedia.details``: ``caption`` and
    ``scene`` (what was really sampled), ``understood``, ``ignored``, ``unused`` words (known to the
    world, not to these networks), ``misses`` (what the prompt asked for and the sample shows
    otherwise), ``impacts``.

    Raises NotUnderstood when nothing of the prompt can be shown, UsageError for sizes, durations
    and parameters out of range.

    >>> from avsafe.types import GenerationRequest, Principal, Task
    >>> me = Principal("me")
    >>> request = GenerationRequest(me, Task.TEXT_TO_VIDEO, "two-stage", "a red ball bouncing")
    >>> TwoStage().generate(request).frame_count
    64
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
        from avsafe_generators.world import played

        asking.refuse_other_tasks(request, INFO)
        knobs = asking.parameters(
            request,
            steps=asking.Number(4, 50, 16, whole=True),
            guidance=asking.Number(1, 4, 2),
            tries=asking.Number(1, 16, 4, whole=True),
            frame_rate=asking.Number(8, 30, float(FRAME_RATE)),
        )
        width, height = asking.size(request, max_pixels=MAX_PIXELS)
        seconds = asking.duration(request, default=4.0, low=0.5, high=INFO.max_duration_s)
        rate = Fraction(knobs["frame_rate"]).limit_denominator(1001)
        count = max(1, round(seconds * rate))
        progress(0.0, "first frame")
        scene, details = _sampled(request, width, height, knobs, progress, cancelled)
        if request.task is Task.TEXT_TO_IMAGE:
            return played.still(scene, rate, 0, details, progress, cancelled)
        return played.played(scene, rate, count, details, progress, cancelled, begun=0.14)


def _sampled(
    request: GenerationRequest, width: int, height: int, knobs: dict[str, Any],
    progress: Progress, cancelled: Cancelled,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """The scene of a prompt, and what the request's ``details`` say of it."""
    from avsafe_generators import layers
    from avsafe_generators.two_stage import choice, judge, vocabulary
    from avsafe_generators.world import parse
    from avsafe_generators.world.scene import caption

    text = parse.parse(request.prompt, request.negative_prompt)
    concepts = [
        c for c in vocabulary.concepts_of(request.prompt) if c is None or c not in text.excluded
    ]

    def step(fraction: float) -> None:
        if cancelled():
            raise Stopped("two-stage was asked to stop while it sampled.")
        progress(0.14 * fraction, "first frame" if fraction < 0.4 else "motion")

    weights, ids = layers.load("two-stage"), vocabulary.tokens(concepts)
    scene = choice.chosen(
        text, ids, weights, request.seed % 2**31, tries=knobs["tries"], width=width, height=height,
        steps=knobs["steps"], guidance=knobs["guidance"], step=step,
    )  # fmt: skip
    scene = replace(scene, music=text.music)
    scene = replace(
        scene,
        bodies=tuple(replace(b, motions=tuple(judge.motions(b).values())) for b in scene.bodies),
    )
    scene = replace(scene, caption=caption(scene))
    unknown = sorted({c.value for c in concepts if c is not None and not vocabulary.known(c)})
    return scene, {
        "caption": scene.caption,
        "understood": text.understood,
        "unused": [*text.unused, *unknown],
        "ignored": text.ignored,
        "n_ignored": text.n_ignored,
        "misses": judge.misses(text, scene),
        "scene": scene.as_json(),
        "impacts": scene.impacts(),
    }
