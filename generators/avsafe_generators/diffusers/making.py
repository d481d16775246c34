"""The ways of serving a request: new, from a picture, a whole video, frame by frame, sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import GeneratorFailed, UsageError
from avsafe.media.replay import Replay
from avsafe.types import Cancelled, Frame, GenerationRequest, Kind, Progress, RawMedia, Samples
from avsafe_generators import asking
from avsafe_generators.asking.inputs import covered
from avsafe_generators.diffusers import fitting, running
from avsafe_generators.diffusers.fitting import MAX_FRAMES, Grid, Signature, Way

if TYPE_CHECKING:
    from avsafe_generators.asking import Footage, Region

_SOUND_S = (0.5, 120.0)
_GREY = 127  # what a masked region is filled with: the model must not see what it replaces


class Maker:
    """Serves one request with one loaded pipeline."""

    def __init__(
        self,
        request: GenerationRequest,
        pipeline: Any,
        signature: Signature,
        given: Mapping[str, Any],
        call: Mapping[str, Any],
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        self._request, self._pipeline, self._signature = request, pipeline, signature
        self._given, self._call, self._cancelled = given, dict(call), cancelled
        self._name, self._grid = signature.pipeline, Grid.of(pipeline)
        self._watch = running.Watch(progress, cancelled, self._name)
        checker = getattr(pipeline, "safety_checker", None)
        self._details: dict[str, Any] = {
            "safety_checker": None if checker is None else type(checker).__name__,
            "steps_reported": running.reports_steps(signature),
            "prompt_cut": _is_cut(pipeline, signature, request.prompt),
        }

    def make(self, way: Way) -> RawMedia:
        """Raw media, all of it made. Raises UsageError, GeneratorFailed, Cancelled."""
        ways: dict[Way, Callable[[], RawMedia]] = {
            "new": self._new,
            "from-picture": self._from_picture,
            "whole-video": self._whole_video,
            "each-frame": self._each_frame,
            "picture": self._picture,
            "sound": self._sound,
        }
        self._details["made_as"] = way
        return ways[way]()

    # ------------------------------------------------------------ the ways

    def _new(self) -> RawMedia:
        self._sized()
        if self._request.task == "text-to-image":
            if "num_frames" in self._signature:
                self._call["num_frames"] = 1
            return self._one_picture(self._run())
        return self._video(*self._timed())

    def _from_picture(self) -> RawMedia:
        media = asking.media_in(
            self._request, "image", "portrait", need="a picture", kinds=(Kind.IMAGE,)
        )
        width, height = self._fitted(media)
        self._call["image"] = _pil(asking.picture(media, width, height))
        return self._video(*self._timed())

    def _whole_video(self) -> RawMedia:
        clip, frames = self._footage()
        region = self._region(clip)
        wanted = len(frames)
        padded = frames + [frames[-1]] * (self._grid.rounded(wanted) - wanted)
        shown = padded
        if region is not None:
            masks = [region.at(i) for i in range(wanted)]
            masks += [masks[-1]] * (len(padded) - wanted)
            self._call["mask"] = [_pil((mask > 0.5).astype(np.uint8) * 255) for mask in masks]
            grey = np.full_like(frames[0], _GREY)
            shown = [_blend(f, grey, m) for f, m in zip(padded, masks, strict=True)]
        self._call["video"] = [_pil(frame) for frame in shown]
        if "num_frames" in self._signature:
            self._call["num_frames"] = len(padded)
        if "frame_rate" in self._signature:
            self._call["frame_rate"] = float(clip.frame_rate)
        made = running.frames_of(self._run(), self._name)
        if len(made) < wanted:
            raise GeneratorFailed(
                f"{self._name} returned {len(made)} frames of a video of {wanted}."
            )
        made = [_resized(frame, clip.width, clip.height) for frame in made[:wanted]]
        if region is not None:
            made = [_blend(f, m, mask) for f, m, mask in zip(frames, made, masks, strict=False)]
        return self._like(clip, made)

    def _each_frame(self) -> RawMedia:
        clip, frames = self._footage()
        region = self._region(clip)
        made: list[Frame] = []
        for index, frame in enumerate(frames):
            self._watch.span(
                0.1 + 0.85 * index / len(frames),
                0.1 + 0.85 * (index + 1) / len(frames),
                f"frame {index + 1} of {len(frames)}",
            )
            mask = None if region is None else region.at(index)
            made.append(self._changed(frame, mask))
        self._details["note"] = "each frame on its own, from the same noise: it may flicker"
        return self._like(clip, made)

    def _picture(self) -> RawMedia:
        media = asking.media_in(
            self._request, "image", "portrait", need="a picture", kinds=(Kind.IMAGE,)
        )
        width, height = self._fitted(media)
        picture = asking.picture(media, width, height)
        region = asking.region(self._request, width, height) if self._masked() else None
        if region is None and self._masked():
            raise UsageError(_NO_MASK.format(task=self._request.task))
        made = self._changed(picture, None if region is None else region.at(0))
        return self._still(made)

    def _sound(self) -> RawMedia:
        media = asking.optional(self._request, "video")
        clip = None
        if media is not None:
            clip = asking.footage(media, max_duration_s=_SOUND_S[1], cancelled=self._cancelled)
        length = None if clip is None else clip.duration_s
        name = "audio_end_in_s" if "audio_end_in_s" in self._signature else "audio_length_in_s"
        default = self._signature.defaults.get(name)
        seconds = asking.duration(
            self._request,
            default=length or (float(default) if default else 10.0),
            low=min(_SOUND_S[0], length or 1.0),
            high=_SOUND_S[1],
        )
        self._call[name] = seconds
        found = running.sound_of(self._run(), self._pipeline, self._name)
        if found is None:
            raise GeneratorFailed(f"{self._name} returned no sound.")
        sound, rate_hz = found
        sound = _cut(sound, round(seconds * rate_hz))
        if clip is None:
            return RawMedia(Kind.AUDIO, **_heard(sound, rate_hz), details=self._details)
        self._details["note"] = "made from the prompt alone: this model does not see the video"
        return RawMedia(
            Kind.VIDEO,
            frames=clip.frames, frame_rate=clip.frame_rate, frame_count=clip.frame_count,
            width=clip.width, height=clip.height,
            **_heard(sound, rate_hz), details=self._details,
        )  # fmt: skip

    # ------------------------------------------------------------ what they share

    def _run(self, call: Mapping[str, Any] | None = None) -> Any:
        if call is None:
            self._watch.span(0.1, 0.95, "sampling")
        return running.run(
            self._pipeline, self._signature, call or self._call, self._request.seed, self._watch
        )

    def _sized(self) -> None:
        """The size that was asked for; without one the pipeline's own."""
        request = self._request
        if request.width is None and request.height is None:
            return
        if "width" not in self._signature or "height" not in self._signature:
            raise UsageError(f"{self._name} makes one size only; leave --size out.")
        size = asking.size(request, low=16, max_pixels=1920 * 1920)
        self._call["width"], self._call["height"] = self._grid.checked(*size)

    def _fitted(self, media: Any) -> tuple[int, int]:
        """The size of an input that the pipeline can make; passed on where it takes one."""
        size = asking.fitted_size(self._request, media, low=16)
        asked = self._request.width is not None or self._request.height is not None
        width, height = self._grid.checked(*size) if asked else self._grid.within(*size)
        if "width" in self._signature and "height" in self._signature:
            self._call["width"], self._call["height"] = width, height
        return width, height

    def _timed(self) -> tuple[Fraction, int | None]:
        """Frame rate and number of frames asked for, told to the pipeline."""
        rate, source = fitting.frame_rate(self._signature, self._request, self._given)
        self._details["frame_rate_from"] = source
        wanted = fitting.frame_count(self._request, self._given, rate)
        if wanted is not None:
            if "num_frames" not in self._signature:
                raise UsageError(f"{self._name} makes one length only; leave the duration out.")
            self._call["num_frames"] = self._grid.rounded(wanted)
        if "frame_rate" in self._signature:
            self._call["frame_rate"] = float(rate)
        if "fps" in self._signature:
            self._call["fps"] = round(rate)
        return rate, wanted

    def _video(self, rate: Fraction, wanted: int | None) -> RawMedia:
        output = self._run()
        frames = running.frames_of(output, self._name)
        if wanted is not None and len(frames) < wanted:
            raise GeneratorFailed(f"{self._name} made {len(frames)} frames; asked for {wanted}.")
        frames = frames[:wanted]
        height, width = frames[0].shape[:2]
        found = running.sound_of(output, self._pipeline, self._name)
        heard: dict[str, Any] = {}
        if found is not None:
            sound, rate_hz = found
            heard = _heard(_cut(sound, round(len(frames) / rate * rate_hz)), rate_hz)
        return RawMedia(
            Kind.VIDEO,
            frames=_frames(frames), frame_rate=rate, frame_count=len(frames),
            width=width, height=height, **heard, details=self._details,
        )  # fmt: skip

    def _one_picture(self, output: Any) -> RawMedia:
        return self._still(running.frames_of(output, self._name)[0])

    def _still(self, frame: Frame) -> RawMedia:
        height, width = frame.shape[:2]
        return RawMedia(
            Kind.IMAGE,
            frames=_frames([frame]), frame_count=1, width=width, height=height,
            details=self._details,
        )  # fmt: skip

    def _footage(self) -> tuple[Footage, list[Frame]]:
        """The frames to work on, in memory: at most 257 of them."""
        media = asking.media_in(self._request, "video", need="a video", kinds=(Kind.VIDEO,))
        width, height = self._fitted(media)
        clip = asking.footage(
            media, width, height, max_duration_s=MAX_FRAMES, cancelled=self._cancelled
        )
        wanted = fitting.frame_count(self._request, self._given, clip.frame_rate)
        frames: list[Frame] = []
        for frame in clip.frames:
            if len(frames) == wanted:
                break
            if len(frames) == MAX_FRAMES:
                raise UsageError(
                    f"{media.path.name} has more than {MAX_FRAMES} frames, the most that are held "
                    "for a model. Cut it, or say how much of it: --duration, or num_frames."
                )
            frames.append(frame)
        if not frames:
            raise UsageError(f"{media.path.name} has no frame.")
        return clip, frames

    def _masked(self) -> bool:
        return self._request.task == "inpaint-video"

    def _region(self, clip: Footage) -> Region | None:
        if not self._masked():
            return None
        region = asking.region(
            self._request, clip.width, clip.height, max_duration_s=MAX_FRAMES,
            frame_rate=clip.frame_rate,
        )  # fmt: skip
        if region is None:
            raise UsageError(_NO_MASK.format(task=self._request.task))
        return region

    def _changed(self, frame: Frame, mask: Any) -> Frame:
        """One picture through an image pipeline; outside the mask it stays as it was."""
        call = {**self._call, "image": _pil(frame)}
        if mask is not None:
            call["mask_image"] = _pil((mask > 0.5).astype(np.uint8) * 255)
        made = running.frames_of(self._run(call), self._name)[0]
        made = _resized(made, frame.shape[1], frame.shape[0])
        return made if mask is None else _blend(frame, made, mask)

    def _like(self, clip: Footage, frames: Sequence[Frame]) -> RawMedia:
        """A video with the rate and the sound of the clip that it was made from."""
        heard: dict[str, Any] = {}
        whole = clip.sound
        if whole is not None and whole.samples is not None:
            length = round(len(frames) / clip.frame_rate * whole.rate_hz)
            heard = {
                "samples": Replay(lambda: _first(whole.samples, length)),
                "rate_hz": whole.rate_hz,
                "channels": whole.channels,
            }
        return RawMedia(
            Kind.VIDEO,
            frames=_frames(frames), frame_rate=clip.frame_rate, frame_count=len(frames),
            width=clip.width, height=clip.height, **heard, details=self._details,
        )  # fmt: skip


_NO_MASK = "{task} needs a mask: --mask FILE (white is replaced), or --param mask=x,y,w,h."


def _pil(picture: Any) -> Any:
    from PIL import Image

    return Image.fromarray(picture)


def _blend(frame: Frame, made: Frame, mask: Any) -> Frame:
    """``made`` where the mask is 1, ``frame`` where it is 0."""
    share = mask[..., None]
    out: Frame = (frame * (1.0 - share) + made * share + 0.5).astype(np.uint8)
    return out


def _resized(frame: Frame, width: int, height: int) -> Frame:
    return covered(frame, width, height)


def _frames(frames: Sequence[Frame]) -> Replay[Frame]:
    kept = tuple(frames)
    return Replay(lambda: (frame.copy() for frame in kept))


def _heard(sound: Samples, rate_hz: int) -> dict[str, Any]:
    blocks = [sound[:, at : at + rate_hz] for at in range(0, sound.shape[1], rate_hz)]
    return {
        "samples": Replay(lambda: (block.copy() for block in blocks)),
        "rate_hz": rate_hz,
        "channels": sound.shape[0],
    }


def _cut(sound: Samples, length: int) -> Samples:
    """Exactly ``length`` samples: cut, or followed by silence."""
    return np.pad(sound[:, :length], ((0, 0), (0, max(0, length - sound.shape[1]))))


def _first(blocks: Any, length: int) -> Iterator[Samples]:
    for block in blocks:
        if length <= 0:
            return
        yield block[:, :length]
        length -= block.shape[1]


def _is_cut(pipeline: Any, signature: Signature, prompt: str) -> bool | None:
    """Whether the model reads only the beginning of the prompt; None where that can't be told."""
    tokenizer = getattr(pipeline, "tokenizer", None)
    if tokenizer is None or not prompt:
        return None
    limit = signature.defaults.get("max_sequence_length") or getattr(
        tokenizer, "model_max_length", None
    )
    if not isinstance(limit, int):
        return None
    try:
        return len(tokenizer(prompt, truncation=False).input_ids) > limit
    except Exception:
        return None
