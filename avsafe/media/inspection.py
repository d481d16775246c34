"""What a file is: container, streams, rates, duration, rotation, digest."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.media.containers import CONTAINERS, sniff
from avsafe.media.limits import Limits
from avsafe.types import AudioStream, Kind, Media, VideoStream

if TYPE_CHECKING:
    from avsafe.media.survey import Survey


def probe(path: Path | str, *, trusted: bool = False, limits: Limits | None = None) -> Media:
    """Look into a file without decoding more than its first frame.

    ``kind`` is what the file carries: a song with a cover picture is AUDIO, a PNG is IMAGE, an
    animated GIF is VIDEO. ``trusted=True`` looks in this process: only for our own files.

    Raises the children of ``UnreadableMedia``.

    >>> probe("clip.mp4").video.frame_rate  # doctest: +SKIP
    Fraction(30000, 1001)
    """
    from avsafe.media.structure import prescan

    path = Path(path).absolute()
    limits = limits or Limits()
    prescan(path, limits)
    if trusted:
        return probe_here(path, limits)
    from avsafe.media import sandbox

    found = sandbox.call(
        "avsafe.media.inspection:probe_json",
        {"path": str(path), "limits": limits.as_json()},
        limits=limits,
    )
    return from_json(path, found)


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a file, read in pieces; hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe_json(path: str, limits: dict[str, Any]) -> dict[str, Any]:
    """``probe_here`` for the sandbox."""
    return as_json(probe_here(Path(path), Limits.from_json(limits)))


def as_json(media: Media) -> dict[str, Any]:
    """For ``from_json``, on the other side of the pipe."""
    video = media.video
    return {
        **asdict(media),
        "path": str(media.path),
        "video": video
        and {**asdict(video), "frame_rate": video.frame_rate and str(video.frame_rate)},
    }


def from_json(path: Path, value: dict[str, Any]) -> Media:
    """Of the file at ``path``. Raises KeyError, TypeError or ValueError for anything
    else."""
    video, audio = value["video"], value["audio"]
    if video:
        rate = video["frame_rate"]
        video = VideoStream(**{**video, "frame_rate": Fraction(rate) if rate else None})
    return Media(
        **{
            **value,
            "path": path,
            "kind": Kind(value["kind"]),
            "video": video,
            "audio": AudioStream(**audio) if audio else None,
        }
    )


def probe_here(path: Path, limits: Limits, seen: Survey | None = None) -> Media:
    """``probe`` in this process, without the pre-scan; ``seen`` when the caller has it already."""
    from avsafe.media.survey import survey

    container, mime = sniff(path)
    seen = seen or survey(path, limits)
    plan = seen.plan
    video = audio = None
    if CONTAINERS[container].demuxer is None:
        from avsafe.media import stills

        with stills.opened(path, limits) as picture:
            video = VideoStream(
                container, plan.width, plan.height, None, 1, None, picture.mode.lower()
            )
    else:
        video, audio = _streams(seen)
    mime = _audio_mime(mime) if plan.kind is Kind.AUDIO else mime
    ends = [stream.duration_s for stream in (video, audio) if stream and stream.duration_s]
    return Media(
        path=path,
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size,
        container=container,
        mime=mime,
        kind=plan.kind,
        video=video,
        audio=audio,
        duration_s=max(ends) if ends else None,
    )


def _streams(seen: Survey) -> tuple[VideoStream | None, AudioStream | None]:
    plan, video, audio = seen.plan, None, None
    if seen.video is not None and plan.width:
        lasts = plan.frame_count / plan.rate if plan.frame_count and plan.rate else None
        video = VideoStream(
            codec=seen.video.codec,
            width=plan.width,
            height=plan.height,
            frame_rate=plan.rate,
            frame_count=seen.video.frames,
            duration_s=None if lasts is None else float(lasts),
            pixel_format=seen.video.pixel_format,
            rotation_deg=int(plan.details.get("rotation_deg", 0)),
        )
    if seen.audio is not None and plan.rate_hz:
        audio = AudioStream(
            codec=seen.audio.codec,
            rate_hz=plan.rate_hz,
            channels=plan.channels,
            duration_s=seen.audio.duration_s or seen.duration_s,
        )
    return video, audio


def _audio_mime(mime: str) -> str:
    return {"video/mp4": "audio/mp4", "video/webm": "audio/webm"}.get(
        mime, mime.replace("video/x-matroska", "audio/x-matroska")
    )
