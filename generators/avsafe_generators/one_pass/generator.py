"""The ``one-pass`` generator: text -> all frames of a clip at once, by a space-time U-Net."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import GeneratorFailed, MissingExtra, UsageError
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

if TYPE_CHECKING:
    from avsafe_generators.world.parse import Description
    from avsafe_generators.world.scene import Scene

FRAME_RATE = Fraction(16)
DURATION_S = 5.0  # 80 frames: one pass
DURATIONS = (0.5, 15.0)
_MADE = 0.6  # share of the work until the maps are there

INFO = GeneratorInfo(
    name="one-pass",
    version="1",
    tasks=(Task.TEXT_TO_VIDEO,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",
    max_duration_s=DURATIONS[1],
    max_pixels=1920 * 1080,
    controls=("steps", "guidance"),
    summary="Experimental: a small space-time U-Net makes 5 s in one pass as maps of one or two "
    "simple objects, which a renderer draws; motion is often not as asked; not photorealistic.",
    card="cards/one-pass.md",
)


class OnePass:
    """Text to video after Lumiere: 80 frames at 16 a second come from one pass of a STUNet; longer
    clips from overlapping windows that are averaged in every step.

    ``parameters``: ``steps`` (4 to 64), ``guidance`` (1 to 4; 1 is none). ``RawMedia.details``:
    ``caption`` (what is shown, read off the maps), ``asked`` and ``shown`` (objects as plain data),
    ``understood``, ``unused``, ``ignored``, ``decoded`` (figures of the reading of the maps),
    ``scene`` and ``impacts`` as those of ``world``. The clip is silent only where nothing sounds.

    Needs torch (extra ``generate``): MissingExtra without it. Raises NotUnderstood when nothing of
    the prompt can be shown, UsageError for sizes and durations out of range, GeneratorFailed when
    the model made none of the objects.
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
        given = asking.parameters(
            request,
            steps=asking.Number(4, 64, 16, whole=True),
            guidance=asking.Number(1.0, 4.0, 1.5),
        )
        width, height = asking.size(request)
        seconds = asking.duration(request, default=DURATION_S, low=DURATIONS[0], high=DURATIONS[1])
        frame_count = max(1, round(seconds * FRAME_RATE))
        _need_torch()
        from avsafe_generators.world import parse, played

        progress(0.0, "plan")
        text = parse.parse(request.prompt, request.negative_prompt)
        if not text.wishes:
            raise UsageError(
                "one-pass shows one or two objects, and the prompt names none. Name one, for "
                'example "a red ball bouncing by the sea", or ask the world generator.'
            )
        scene, decoded = _scene(
            text, frame_count, request.seed % 2**63, width, height, given,
            _watched(progress, cancelled),
        )  # fmt: skip
        details = _details(text, scene, decoded)
        return played.played(
            scene, FRAME_RATE, frame_count, details, progress, cancelled, begun=_MADE
        )


def _need_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise MissingExtra(
            "The one-pass generator runs a space-time U-Net with torch, which is not installed. "
            "Install it with: pip install 'avsafe[generate]'. The world and two-stage generators "
            "make clips from text without it."
        )


def _watched(progress: Progress, cancelled: Cancelled) -> Callable[[float], None]:
    def watch(share: float) -> None:
        if cancelled():
            raise Stopped(f"one-pass was asked to stop with {share:.0%} of the passes done.")
        progress(_MADE * share, "pass")

    return watch


def _scene(
    text: Description, frame_count: int, seed: int, width: int, height: int,
    given: dict[str, Any], watch: Callable[[float], None],
) -> tuple[Scene, dict[str, Any]]:  # fmt: skip
    """Sample, read, follow, stage."""
    from avsafe_generators.one_pass import maps, model, paths, staging, traits

    clip = model.make(
        text, frame_count, seed, steps=given["steps"], guidance=given["guidance"], watch=watch
    )
    watch(1.0)
    wanted = staging.asked(text)
    seen_frames = maps.read(clip, traits.OBJECTS, expected=len(wanted))
    found, left_out = paths.follow(seen_frames, traits.OBJECTS)
    if not found:
        raise GeneratorFailed(
            f"The model made none of the {len(wanted)} objects that the prompt asks for. Try "
            "another seed, or fewer words."
        )
    setting, margin = maps.setting(clip)
    scene = staging.stage(
        text, found, setting, width=width, height=height,
        duration_s=float(frame_count / FRAME_RATE), seed=seed,
    )  # fmt: skip
    seen = [staging.shown(path) for path in found]
    decoded = {
        "asked": wanted,
        "shown": seen,
        "as_asked": [
            {"asked": w, "shown": p, **staging.agrees(wanted[w], seen[p])}
            for w, p in staging.pairs(text, found)
        ],
        "decoded": {
            "objects_asked": len(wanted),
            "objects_found": len(found),
            "fragments_left_out": left_out,
            "cover": [round(path.cover, 3) for path in found],
            "jitter": [round(path.jitter, 4) for path in found],  # units, before the smoothing
            "setting_margin": round(margin, 3),
            "windows": max(1, -(-frame_count // 40) - 1),
        },
    }
    return scene, decoded


def _details(text: Description, scene: Scene, decoded: dict[str, Any]) -> dict[str, Any]:
    from avsafe_generators.one_pass import staging, traits

    understood, unused = staging.used_and_unused(text)
    more = sum(wish.count for wish in text.wishes) - traits.OBJECTS
    return {
        "caption": scene.caption,
        "understood": understood,
        "unused": unused,
        "ignored": text.ignored,
        "n_ignored": text.n_ignored,
        "dropped_objects": text.dropped + max(0, more),
        **decoded,
        "scene": scene.as_json(),
        "impacts": scene.impacts(),
    }
