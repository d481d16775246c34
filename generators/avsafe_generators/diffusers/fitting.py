"""A request against a pipeline's signature: what it can be asked, and what it would have to ignore.

Legend: a picture is ``(h, w, 3)`` uint8 RGB; ``n`` frames; sides in pixels.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from avsafe.errors import UsageError
from avsafe.types import GenerationRequest, Kind, Task
from avsafe_generators import asking

# How a request is served: one call, one call for each frame, or one picture changed.
Way = Literal["new", "from-picture", "whole-video", "each-frame", "picture", "sound"]
MAX_FRAMES = 257  # held in memory as uint8: 0.7 GB at 1280 x 720
# Frames a second that the families were trained at (the examples of their pipelines' pages).
_TRAINED_AT = {
    "Wan": 16, "AnimateDiff": 8, "CogVideoX": 8, "HunyuanVideo15": 24, "HunyuanVideo": 15,
    "Mochi": 30, "Allegro": 15, "SkyReels": 24,
}  # fmt: skip
_ASSUMED_RATE = 16


@dataclass(frozen=True)
class Signature:
    """The arguments of a pipeline's call, with their defaults."""

    pipeline: str
    defaults: Mapping[str, Any]
    required: frozenset[str] = frozenset()

    @classmethod
    def of(cls, pipeline: type) -> Signature:
        parameters = inspect.signature(pipeline.__call__).parameters
        return cls(
            pipeline.__name__,
            {
                name: None if item.default is inspect.Parameter.empty else item.default
                for name, item in parameters.items()
                if name != "self"
            },
            frozenset(n for n, i in parameters.items() if i.default is inspect.Parameter.empty),
        )

    def __contains__(self, name: str) -> bool:
        return name in self.defaults

    @property
    def makes(self) -> Kind:
        """By its arguments: seconds of sound, a number of frames or a video, else pictures."""
        if "audio_end_in_s" in self or "audio_length_in_s" in self:
            return Kind.AUDIO
        return Kind.VIDEO if "num_frames" in self or "video" in self else Kind.IMAGE

    def cannot(self, task: Task, why: str) -> UsageError:
        takes = [
            name
            for name in ("prompt", "image", "mask_image", "video", "mask", "num_frames")
            if name in self
        ]
        return UsageError(
            f"{self.pipeline} can't do {task}: {why} (it takes: {', '.join(takes) or 'none'}; it "
            f"makes: {self.makes}). Use the pipeline of its family that does."
        )


def way(request: GenerationRequest, signature: Signature) -> Way:
    """How the pipeline can serve the request. Nothing is loaded. Raises UsageError."""
    task = request.task
    has_picture = asking.optional(request, "image", "portrait") is not None
    has_video = asking.optional(request, "video") is not None
    if task is Task.VIDEO_TO_AUDIO:
        if signature.makes is not Kind.AUDIO:
            raise signature.cannot(task, "it makes no sound")
        return "sound"
    if signature.makes is Kind.AUDIO:
        raise signature.cannot(task, "it makes sound alone")
    inputs = {"image", "video"} & signature.required
    if inputs and task is Task.TEXT_TO_VIDEO:
        raise signature.cannot(task, f"it needs an input ({inputs.pop()}) to begin with")
    if task is Task.TEXT_TO_VIDEO:
        if "num_frames" not in signature:
            raise signature.cannot(task, "it takes no number of frames")
        return "new"
    if task is Task.IMAGE_TO_VIDEO:
        if signature.makes is not Kind.VIDEO or "image" not in signature:
            raise signature.cannot(task, "it makes no video from a picture")
        return "from-picture"
    if task is Task.TEXT_TO_IMAGE or (has_picture and not has_video):
        return _way_of_picture(request, signature, has_picture)
    if task is Task.INPAINT_VIDEO:
        if "video" in signature and "mask" in signature:
            return "whole-video"
        if signature.makes is Kind.IMAGE and "image" in signature and "mask_image" in signature:
            return "each-frame"
        raise signature.cannot(task, "it takes no mask")
    if "video" in signature:
        return "whole-video"
    if signature.makes is Kind.IMAGE and "image" in signature:
        return "each-frame"
    raise signature.cannot(task, "it takes neither a video nor a picture to change")


def _way_of_picture(request: GenerationRequest, signature: Signature, has_picture: bool) -> Way:
    if not has_picture:
        if {"image", "video"} & signature.required:
            raise signature.cannot(request.task, "it needs an input to begin with")
        if signature.makes is Kind.VIDEO and "num_frames" not in signature:
            raise signature.cannot(request.task, "it makes videos alone")
        return "new"
    if signature.makes is not Kind.IMAGE or "image" not in signature:
        raise signature.cannot(request.task, "it changes no picture")
    if request.task is Task.INPAINT_VIDEO and "mask_image" not in signature:
        raise signature.cannot(request.task, "it takes no mask")
    return "picture"


def settings(
    request: GenerationRequest, signature: Signature, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Prompt, steps, guidance and strength as the pipeline calls them.

    Raises UsageError for each that was asked for and that the pipeline would not take.
    """
    call: dict[str, Any] = {}
    if "prompt" in signature:
        if not request.prompt.strip() and request.task in (
            Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO, Task.VIDEO_TO_AUDIO, Task.EDIT_VIDEO,
        ):  # fmt: skip
            raise UsageError(f"{signature.pipeline} needs a prompt for {request.task}: --prompt.")
        call["prompt"] = request.prompt
    elif request.prompt.strip():
        raise UsageError(f"{signature.pipeline} takes no prompt; leave it out.")
    wanted = {
        "negative_prompt": request.negative_prompt or None,
        "num_inference_steps": given["steps"],
        "guidance_scale": given["guidance"],
        "strength": given["strength"],
    }
    own = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
    for name, value in wanted.items():
        if value is None:
            continue
        if name not in signature:
            raise UsageError(
                f"{signature.pipeline} takes no {own.get(name, name)} ({name}); leave it out."
            )
        call[name] = value
    return call


@dataclass(frozen=True)
class Grid:
    """What sizes and lengths a loaded pipeline can make."""

    side: int  # sides are multiples of it
    frames: int  # n = k * frames + 1; 1 when any number will do

    @classmethod
    def of(cls, pipeline: Any) -> Grid:
        side = _whole(
            pipeline,
            "vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_scale_factor",
        )  # fmt: skip
        patch = _config(pipeline, "transformer", "patch_size")
        if isinstance(patch, list | tuple):
            patch = patch[-1]
        frames = _whole(pipeline, "vae_scale_factor_temporal", "vae_temporal_compression_ratio")
        return cls(max(2, side * (patch if isinstance(patch, int) else 1)), frames)

    def rounded(self, frames: int) -> int:
        """The next number of frames that the pipeline makes.

        >>> Grid(16, 4).rounded(16), Grid(8, 1).rounded(16)
        (17, 16)
        """
        if self.frames <= 1:
            return frames
        return math.ceil((max(1, frames) - 1) / self.frames) * self.frames + 1

    def checked(self, width: int, height: int) -> tuple[int, int]:
        """The size as asked. Raises UsageError with the nearest when the pipeline can't make it."""
        if width % self.side or height % self.side:
            near = [max(1, round(side / self.side)) * self.side for side in (width, height)]
            raise UsageError(
                f"This pipeline makes sides that are multiples of {self.side}; asked for {width} x "
                f"{height}. The nearest is --size {near[0]}x{near[1]}."
            )
        return width, height

    def within(self, width: int, height: int) -> tuple[int, int]:
        """The size rounded down to what the pipeline makes."""
        return tuple(max(1, side // self.side) * self.side for side in (width, height))  # type: ignore[return-value]


def frame_rate(
    signature: Signature, request: GenerationRequest, given: Mapping[str, Any]
) -> tuple[Fraction, str]:
    """(frames a second, where the number comes from)."""
    if given["fps"] is not None:
        return Fraction(str(given["fps"])).limit_denominator(1001), "the request"
    for name in ("frame_rate", "fps"):
        value = signature.defaults.get(name)
        if isinstance(value, int | float) and value > 0:
            return Fraction(str(value)).limit_denominator(1001), "the pipeline's default"
    for family, rate in _TRAINED_AT.items():
        if signature.pipeline.startswith(family):
            return Fraction(rate), "what its family was trained at"
    return Fraction(_ASSUMED_RATE), "assumed; set fps"


def frame_count(request: GenerationRequest, given: Mapping[str, Any], rate: Fraction) -> int | None:
    """The frames asked for, by number or by duration; None leaves it to the pipeline."""
    if given["num_frames"] is not None and request.duration_s is not None:
        raise UsageError("Give a duration or num_frames, not both.")
    if given["num_frames"] is not None:
        return int(given["num_frames"])
    if request.duration_s is None:
        return None
    count = max(1, round(request.duration_s * rate))
    if count > MAX_FRAMES:
        raise UsageError(
            f"{request.duration_s:g} s at {float(rate):g} frames a second are {count} frames; at "
            f"most {MAX_FRAMES} are made. Ask for less, or lower fps."
        )
    return count


def _whole(pipeline: Any, *names: str) -> int:
    for name in names:
        value = getattr(pipeline, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return 1


def _config(pipeline: Any, part: str, name: str) -> Any:
    return getattr(getattr(getattr(pipeline, part, None), "config", None), name, None)
