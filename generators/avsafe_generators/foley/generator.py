"""The ``foley`` generator: a video (and words, if any) -> its sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import MissingStream, NotUnderstood, UsageError
from avsafe.media.replay import Replay
from avsafe.types import (
    Cancelled,
    GenerationRequest,
    GeneratorInfo,
    Kind,
    Media,
    Progress,
    RawMedia,
    Samples,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators import asking

if TYPE_CHECKING:
    from avsafe_generators.foley.mixing import Levels, Plan
    from avsafe_generators.foley.seeing import Seen
    from avsafe_generators.foley.words import Wish

MAX_DURATION_S = 300.0
NOTHING = "nothing to sync to: no abrupt motion found"
_FIRST_LINE_S, _PAUSE_S = 0.4, 0.5
_LEAST_MOTION = 0.004  # sides/s on average over the frame: less does not move a texture fully
_MOST_REPORTED = 500
_FEW = 0.5  # events a second: with fewer, a word like "drum" makes it look for weaker ones

INFO = GeneratorInfo(
    name="foley",
    version="1",
    tasks=(Task.VIDEO_TO_AUDIO,),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
    realism="stylised",
    max_duration_s=MAX_DURATION_S,
    max_pixels=8192 * 4320,
    digital_source_type="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
    controls=("mix", "output"),
    summary="Sound for a video from its motion: synthetic impacts in time with abrupt changes, and "
    "textures, music and spoken lines that the prompt names; it recognises no objects.",
    card="cards/foley.md",
)


class Foley:
    """Sound for a video, by formulas: no weights, no network, same request same output.

    Input: role ``video``. ``parameters``: ``mix`` (``replace`` the clip's own sound, or ``add`` to
    it), ``output`` (``video``, or ``audio`` for the sound alone). The frames pass unchanged.
    ``RawMedia.details``: ``sync`` (a sentence), ``events`` (``time_s``, ``kind``, ``strength``,
    ``x``, ``material``), ``n_events``, ``textures``, ``music_bpm``, ``lines``, ``understood``,
    ``ignored``, ``left_out``, ``cuts``, ``notes``.

    Raises NotUnderstood when neither the picture nor the prompt gives anything to hear, UsageError
    for a clip that is too long, MissingExtra when a line is to be spoken and no espeak-ng is there.

    >>> Foley().info.tasks[0].value
    'video-to-audio'
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
        from avsafe_generators.foley import mixing, words
        from avsafe_generators.world.sound import RATE_HZ

        # 1. what is asked for
        asking.refuse_other_tasks(request, INFO)
        given = asking.parameters(
            request, mix=asking.Choice("replace", "add"), output=asking.Choice("video", "audio")
        )
        media = asking.media_in(request, "video", need="a video", kinds=(Kind.VIDEO,))
        _refuse(request, media)
        wish = words.read(request.prompt, request.negative_prompt)
        progress(0.0, "watch")
        # 2. what is seen
        raw, seen = _watched(media, progress, cancelled)
        # 3. what is to be heard
        plan, details = _planned(request, wish, seen, RATE_HZ, progress, cancelled)
        # 4. how loud
        levels = mixing.balance(plan, progress, cancelled, (0.7, 0.85))
        original = raw if given["mix"] == "add" and raw.samples is not None else None
        if given["mix"] == "add" and original is None:
            details["notes"].append("The clip has no sound of its own: nothing to add to.")
        progress(0.85, "frames")
        out = RawMedia(
            Kind.AUDIO,
            samples=Replay(lambda: _sound(plan, levels, original, cancelled)),
            rate_hz=RATE_HZ,
            channels=2,
            details=details,
        )
        if given["output"] == "audio":
            return out
        frames = raw.frames or ()
        return replace(
            out,
            kind=Kind.VIDEO,
            frames=asking.Watched(
                lambda: iter(frames), raw.frame_count, progress, cancelled, span=(0.85, 1.0)
            ),
            frame_rate=raw.frame_rate,
            frame_count=raw.frame_count,
            width=raw.width,
            height=raw.height,
        )


def _refuse(request: GenerationRequest, media: Media) -> None:
    if request.width is not None or request.height is not None:
        raise UsageError("The foley generator leaves the frames as they are; leave out the size.")
    if media.duration_s is not None and media.duration_s > MAX_DURATION_S + 0.5:
        raise UsageError(
            f"{media.path.name} lasts {media.duration_s:.0f} s; the foley generator takes at most "
            f"{MAX_DURATION_S:g} s. Cut it."
        )
    if request.duration_s is not None and (
        media.duration_s is None or abs(media.duration_s - request.duration_s) > 0.25
    ):
        raise UsageError("The sound is as long as the video; leave out the duration.")


def _watched(media: Media, progress: Progress, cancelled: Cancelled) -> tuple[RawMedia, Seen]:
    """One pass over the frames."""
    import cv2

    from avsafe.media import decode
    from avsafe_generators.foley.flow import small_size
    from avsafe_generators.foley.seeing import Watcher

    raw = decode(media.path)
    if raw.frames is None or raw.frame_rate is None:
        raise MissingStream(f"{media.path.name} has no moving pictures. Pass a video.")
    watcher = Watcher(float(raw.frame_rate))
    size = small_size(raw.height, raw.width)
    limit = int(MAX_DURATION_S * float(raw.frame_rate)) + 1
    count = 0
    for count, frame in enumerate(raw.frames, 1):
        if cancelled():
            raise Stopped(f"The foley generator was asked to stop at frame {count}.")
        if count > limit:
            raise UsageError(f"{media.path.name} lasts more than {MAX_DURATION_S:g} s. Cut it.")
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        watcher.frame(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        share = count / raw.frame_count if raw.frame_count else 1 - 0.5 ** (count / 200)
        progress(0.7 * min(1.0, share), "watch")
    if count == 0:
        raise MissingStream(f"{media.path.name} has no frame that can be decoded.")
    return raw, watcher.finish()


def _planned(
    request: GenerationRequest, wish: Wish, seen: Seen, rate_hz: int, progress: Progress,
    cancelled: Cancelled,
) -> tuple[Plan, dict[str, Any]]:  # fmt: skip
    from avsafe_generators.foley import music
    from avsafe_generators.foley.mixing import SOFT, Hit, Plan
    from avsafe_generators.foley.seeing import strokes

    events = seen.events if wish.impacts else []
    weak = bool(wish.impacts and wish.strike) and len(events) < _FEW * seen.frame_count / seen.rate
    if weak:
        rising = wish.strike in ("gun", "explosion", "thunder")
        events = sorted([*events, *strokes(seen, rising=rising)], key=lambda e: e.time_s)
    synced = [e for e in events if e.kind != "shake"]
    if not events and not wish.asks:
        why = "impacts are left out" if seen.events else NOTHING
        raise NotUnderstood(
            f"Nothing to hear: {why}, and the prompt names no sound "
            f"({', '.join(wish.ignored[:8]) or 'no words'}). Name an ambience or a texture (wind, "
            "waves, rain, crowd, engine, vento, pioggia), music, or a line: a voice says 'hello'."
        )
    notes = []
    seed = request.seed % 2**63
    total = max(1, round(seen.frame_count / seen.rate * rate_hz))
    if events and wish.strike is None:
        notes.append("The prompt names no material: impacts are a neutral thud.")
    hits = []
    for number, event in enumerate(events):
        material = wish.strike or "thud"
        strength = event.strength * SOFT[event.kind]
        child = int(np.random.SeedSequence([seed, 5, number]).generate_state(1)[0])
        hits.append(Hit(event.time_s, material, strength, event.x, child))
    lines, at = [], _FIRST_LINE_S
    for line in wish.lines:
        from avsafe_generators.foley import speech

        if cancelled():
            raise Stopped("The foley generator was asked to stop before a spoken line.")
        if at * rate_hz >= total:
            break
        progress(0.7, "speech")
        lines.append((at, speech.spoken(line, italian=wish.italian)))
        at += lines[-1][1].size / rate_hz + _PAUSE_S
    if len(lines) < len(wish.lines) or (wish.lines and (at - _PAUSE_S) * rate_hz > total):
        notes.append("The clip ends before the spoken lines do.")
    if wish.lines and not (lines or events or wish.textures or wish.music):
        raise UsageError(
            f"The clip lasts {total / rate_hz:.2f} s and ends before a line could begin (at "
            f"{_FIRST_LINE_S:g} s). Pass a longer one, or leave the line out."
        )
    bpm = (
        music.tempo([e.time_s for e in synced if e.kind in ("hit", "flash")])
        if wish.music
        else None
    )
    plan = Plan(
        total, seed, hits, wish.textures, bool(events) and "room" not in wish.left_out,
        _drive(seen), seen.rate, bpm, lines,
    )  # fmt: skip
    rows = [
        {"time_s": round(e.time_s, 4), "kind": e.kind, "strength": round(e.strength, 3),
         "x": round(e.x, 3), "material": wish.strike or "thud"}
        for e in events
    ]  # fmt: skip
    if wish.ignored:
        notes.append("Words that are not in the vocabulary changed nothing.")
    n_weak = sum(e.kind == "stroke" for e in events)
    if n_weak:
        notes.append(
            f"{n_weak} of the events are weak evidence: small parts of the picture that stop or "
            "start at once, taken because the prompt says that something strikes."
        )
    sync = f"{len(synced)} abrupt changes of the picture have a sound" if synced else NOTHING
    details: dict[str, Any] = {
        "sync": sync if wish.impacts else "impacts are left out, as the prompt asks",
        "events": rows[:_MOST_REPORTED],
        "n_events": len(rows),
        "material": wish.strike or ("thud" if events else None),
        "textures": list(wish.textures),
        "music_bpm": bpm[0] if bpm else None,
        "lines": list(wish.lines[: len(lines)]),
        "understood": list(wish.understood),
        "ignored": list(wish.ignored),
        "left_out": list(wish.left_out),
        "cuts": [round(c, 4) for c in seen.cuts[:_MOST_REPORTED]],
        "notes": [*notes, "Synthetic sound; the picture is read for motion and light alone, no "
                  "object is recognised."],
    }  # fmt: skip
    return plan, details


def _drive(seen: Seen) -> Any:
    """How much moves, 0..1 a frame: own motion and a share of the camera's, smoothed."""
    motion = seen.motion + 0.1 * seen.camera
    if not motion.size:
        return np.zeros(2)
    top = max(float(np.percentile(motion, 95)), _LEAST_MOTION)
    span = max(1, round(0.12 * seen.rate))
    smooth = np.convolve(np.pad(motion, span, mode="edge"), np.ones(2 * span + 1), "valid")
    return np.clip(smooth / (2 * span + 1) / top, 0, 1)


def _sound(
    plan: Plan, levels: Levels, original: RawMedia | None, cancelled: Cancelled
) -> Iterator[Samples]:
    from avsafe_generators.foley import mixing

    under = None
    if original is not None and original.samples is not None:
        under = mixing.at_48k(original.samples, original.rate_hz)
    for block in mixing.render(plan, levels, under):
        if cancelled():
            raise Stopped("The foley generator was asked to stop while it made its sound.")
        yield block
