"""The ``cinemagraph`` generator: picture or video + region -> a seamless loop of that region."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import UsageError
from avsafe.media.replay import Replay
from avsafe.types import (
    Cancelled,
    Frame,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Media,
    Progress,
    RawMedia,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators import asking
from avsafe_generators.cinemagraph import phrases, wishes

if TYPE_CHECKING:
    from avsafe_generators.cinemagraph.ambient import Ambient
    from avsafe_generators.cinemagraph.fields import Field

LOOPS_S = (1.0, 20.0)
LOOP_S = 4.0
FOOTAGE_S = 30.0
_FRAMES = 1800  # of a clip, repeats included

_KNOBS: dict[str, asking.Knob] = {
    "motion": asking.Choice("auto", *wishes.MOTIONS),
    "direction": asking.Choice("auto", *wishes.DIRECTIONS),
    "speed": asking.Number(0.1, 4.0, 1.0),
    "amount": asking.Number(0.0, 2.0, 1.0),
    "feather": asking.Number(0.0, 0.2, 0.015),
    "fps": asking.Number(12, 30, None),
    "repeat": asking.Number(1, 20, 1, whole=True),
}

INFO = GeneratorInfo(
    name="cinemagraph",
    version="1",
    tasks=(Task.CINEMAGRAPH,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="photorealistic",
    max_duration_s=60.0,
    max_pixels=1280 * 720,
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced",
    controls=tuple(_KNOBS),
    summary="A seamless loop of one region of a photo (flow, ripple, swirl, sway, flicker) or of a "
    "video (its own motion), the rest still to the bit; warps, no network.",
    card="cards/cinemagraph.md",
)


class Cinemagraph:
    """One region moves, the rest keeps the pixels of the still picture.

    The input is a picture (role ``image``) or a video (role ``video``); the region comes from the
    mask (picture, video or box ``x,y,w,h``) or from words ("bottom half"). For a picture the words
    choose the motion; a video brings its own, cut where its ends match and crossfaded.

    ``parameters``: ``motion`` (auto, flow, ripple, swirl, sway, flicker), ``direction`` (auto,
    right, down, left, up), ``speed``, ``amount`` (0 to 2), ``feather`` (soft edge inside the mask,
    share of the diagonal), ``fps`` (pictures only; 25), ``repeat`` (plays of the loop).
    ``RawMedia.details``: ``understood``, ``ignored``, ``n_ignored`` words, ``motion``,
    ``seam_ratio`` (the jump from the last frame to the first against a usual step), ``loop_frames``
    and what belongs to the kind of input.

    Raises UsageError without an input or a region, and for videos over 30 s.

    >>> request  # doctest: +SKIP
    GenerationRequest(task=CINEMAGRAPH, prompt="slow waves", inputs=(lake.jpg,), ...)
    >>> Cinemagraph().generate(request).details["motion"]  # doctest: +SKIP
    'ripple'
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
        wanted = asking.parameters(request, mask=asking.Box(), **_KNOBS)
        still, film = asking.optional(request, "image"), asking.optional(request, "video")
        if (still is None) == (film is None):
            raise UsageError(
                "cinemagraph takes a picture or a video: pass --image FILE or --video FILE, and "
                "the region that moves as --mask."
            )
        media = still or film
        assert media is not None  # noqa: S101  one of the two is there
        moving = media.kind is Kind.VIDEO
        loop_s = asking.duration(request, default=LOOP_S, low=LOOPS_S[0], high=LOOPS_S[1])
        if moving and wanted["fps"] is not None:
            raise UsageError("fps is for pictures; a video keeps its own frame rate.")
        width, height = asking.fitted_size(request, media)
        progress(0.0, "region")
        known = wishes.AMBIENT | wishes.HALVES
        said = phrases.match(request.prompt, known, request.negative_prompt)
        mask, named = region_of(request, said, width, height, cancelled)
        details: dict[str, Any] = {
            "understood": said.words("thing", "dir", "speed", *(("where",) if named else ())),
            "ignored": [*said.ignored, *([] if named else said.words("where"))],
            "n_ignored": said.n_ignored + (0 if named else len(said.words("where"))),
            "region": named or "mask",
        }
        if moving:
            return _of_video(request, media, mask, loop_s, wanted, details, progress, cancelled)
        return _of_picture(request, media, mask, said, loop_s, wanted, details, progress, cancelled)


def region_of(
    request: GenerationRequest, said: phrases.Phrases, width: int, height: int,
    cancelled: Cancelled = never_cancelled,
) -> tuple[Field, str]:  # fmt: skip
    """The mask, and the words that named it ("" when a mask did).

    Raises UsageError where there is neither, and for a mask without a white part or too thin.
    """
    from avsafe_generators.cinemagraph.ambient import refuse_thin

    given = asking.region(request, width, height)
    boxes = said.of("where")
    if given is None and not boxes:
        raise UsageError(
            "A cinemagraph needs the region that moves: --mask FILE (white moves), --param "
            "mask=x,y,w,h in fractions of the frame, or words like 'bottom half' in the prompt."
        )
    if given is None:
        x, y, w, h = (float(part) for part in boxes[0].split(","))
        mask = np.zeros((height, width), np.float32)
        mask[
            round(y * height) : round((y + h) * height), round(x * width) : round((x + w) * width)
        ] = 1
        return mask, said.words("where")[0]
    mask = given.at(0)
    if given.moving:  # the region is still: all that the mask video ever covers
        media = asking.optional(request, "mask")
        known = media.video.frame_count if media is not None and media.video is not None else None
        mask = mask.copy()
        for index in range(1, min(250, known or 250)):
            if cancelled():
                raise Stopped("cinemagraph was asked to stop while it read the mask.")
            np.maximum(mask, given.at(index), out=mask)
    if not (mask > 0.5).any():
        raise UsageError("The mask has no white part. White is where the picture moves.")
    refuse_thin(mask)
    return mask, ""


def _of_picture(
    request: GenerationRequest, media: Media, mask: Field, said: phrases.Phrases, loop_s: float,
    wanted: dict[str, Any], details: dict[str, Any], progress: Progress, cancelled: Cancelled,
) -> RawMedia:  # fmt: skip
    from avsafe_generators.cinemagraph.ambient import Ambient

    height, width = mask.shape
    rate = Fraction(str(wanted["fps"] or 25)).limit_denominator(1001)
    count = max(8, round(loop_s * rate))
    repeat = _repeats(wanted["repeat"], count)
    wish = wishes.wish(said, wanted["motion"], wanted["direction"], wanted["speed"])
    source = asking.picture(media, width, height)
    progress(0.03, "motion")
    loop = Ambient(
        source, mask, wish, count, float(rate), request.seed,
        amount=wanted["amount"], feather=wanted["feather"],
    )  # fmt: skip
    progress(0.08, "seam")
    details |= loop.details | {"seam_ratio": _seam(loop), "loop_frames": count, "repeat": repeat}
    if not wish.thing and wanted["motion"] == "auto":
        details["note"] = "no word named a motion: flow along the streaks of the picture"

    def frames() -> Iterator[Frame]:
        for index in range(count * repeat):
            yield loop.frame(index % count)

    return RawMedia(
        Kind.VIDEO,
        frames=asking.Watched(frames, count * repeat, progress, cancelled),
        frame_rate=rate,
        frame_count=count * repeat,
        width=width,
        height=height,
        details=details,
    )


def _seam(loop: Ambient) -> float:
    """The step from the last frame to the first against the median of four other steps."""

    def step(at: int) -> float:
        one, other = loop.patch(at), loop.patch(at + 1)
        return float(np.abs(one.astype(np.int16) - other).mean())

    usual = [step(round(loop.count * share)) for share in (0.13, 0.38, 0.55, 0.81)]
    return round((step(loop.count - 1) + 1e-3) / (float(np.median(usual)) + 1e-3), 3)


def _of_video(
    request: GenerationRequest, media: Media, mask: Field, loop_s: float,
    wanted: dict[str, Any], details: dict[str, Any], progress: Progress, cancelled: Cancelled,
) -> RawMedia:  # fmt: skip
    from avsafe_generators.cinemagraph import filmed

    height, width = mask.shape
    progress = beat = asking.Beat(progress)
    clip = asking.footage(media, width, height, max_duration_s=FOOTAGE_S, cancelled=cancelled)
    found = filmed.survey(clip.frames, mask, clip.frame_count, progress, cancelled)
    shortest_s = min(LOOPS_S[0], loop_s)
    chosen = filmed.cut(found, float(clip.frame_rate), loop_s, shortest_s)
    repeat = _repeats(wanted["repeat"], chosen.count)
    details["ignored"] = [*details["ignored"], *details["understood"]]
    details["n_ignored"] += len(details["understood"])
    details |= {
        "understood": [details["region"]] if details["region"] != "mask" else [],
        "motion": "filmed",
        "loop_from_s": round(float(chosen.start / clip.frame_rate), 3),
        "loop_frames": chosen.count,
        "crossfade_frames": chosen.fade,
        "camera_shake_px": round(found.shake_px, 2),
        "seam_ratio": round(chosen.seam_ratio, 3),
        "repeat": repeat,
        "sound": "left out: it would not loop" if clip.sound is not None else "none",
        "note": "a video brings its own motion: words of motion change nothing",
    }
    details["ignored"] = [word for word in details["ignored"] if word != details["region"]]

    def read() -> Iterator[Frame]:
        for frame in clip.frames:
            beat.again()
            yield frame

    def frames() -> Iterator[Frame]:
        for _ in range(repeat):
            yield from filmed.loop(Replay(read), mask, found, chosen, wanted["feather"], cancelled)

    count = chosen.count * repeat
    return RawMedia(
        Kind.VIDEO,
        frames=asking.Watched(frames, count, progress, cancelled, span=(0.4, 1.0)),
        frame_rate=clip.frame_rate,
        frame_count=count,
        width=width,
        height=height,
        details=details,
    )


def _repeats(repeat: int, count: int) -> int:
    if repeat * count > _FRAMES:
        raise UsageError(
            f"{repeat} plays of {count} frames are {repeat * count} frames; at most {_FRAMES} are "
            "made. Ask for fewer, or a shorter loop."
        )
    return repeat
