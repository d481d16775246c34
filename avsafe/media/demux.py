"""Open a container with FFmpeg, fenced in: forced demuxer, files only, known decoders only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error

from avsafe.errors import (
    LimitExceeded,
    MediaTooLarge,
    TruncatedMedia,
    UnreadableMedia,
    UnsupportedMedia,
)
from avsafe.media.containers import CONTAINERS, sniff

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

    from avsafe.media.limits import Limits

# Decoders that FFmpeg may start, by its own names. Everything else in FFmpeg (several hundred game
# and camera formats) stays shut: each is code that a hostile file could reach.
VIDEO_DECODERS = frozenset(
    [
        "h264",
        "hevc",
        "mpeg4",
        "mpeg1video",
        "mpeg2video",
        "mpegvideo",
        "h263",
        "msmpeg4v2",
        "msmpeg4",
        "vp8",
        "vp9",
        "libvpx",
        "libvpx-vp9",
        "libdav1d",
        "av1",
        "theora",
        "mjpeg",
        "png",
        "apng",
        "gif",
        "webp",
        "prores",
        "dnxhd",
        "ffv1",
        "huffyuv",
        "ffvhuff",
        "utvideo",
        "rawvideo",
        "qtrle",
        "cinepak",
        "dvvideo",
    ]
)
AUDIO_DECODERS = frozenset(
    [
        "aac",
        "mp3",
        "mp3float",
        "mp2",
        "mp2float",
        "mp1",
        "mp1float",
        "ac3",
        "eac3",
        "opus",
        "libopus",
        "vorbis",
        "flac",
        "alac",
        "adpcm_ms",
        "adpcm_ima_wav",
        "adpcm_ima_qt",
        "wmav1",
        "wmav2",
        "pcm_u8",
        "pcm_s8",
        "pcm_s16le",
        "pcm_s16be",
        "pcm_s24le",
        "pcm_s24be",
        "pcm_s32le",
        "pcm_s32be",
        "pcm_f32le",
        "pcm_f32be",
        "pcm_f64le",
        "pcm_f64be",
        "pcm_alaw",
        "pcm_mulaw",
    ]
)
_OPTIONS = {
    "protocol_whitelist": "file,pipe",
    "codec_whitelist": ",".join(sorted(VIDEO_DECODERS | AUDIO_DECODERS)),
    "probesize": str(5 << 20),  # FFmpeg's default, named so that no build can change it
    "analyzeduration": str(5_000_000),  # microseconds; the same
}


@dataclass(frozen=True)
class Named:
    """What a container says of one stream."""

    codec: str
    pixel_format: str = ""
    frames: int | None = None
    duration_s: float | None = None

    @classmethod
    def of(cls, stream: VideoStream | AudioStream | None) -> Named | None:
        if stream is None:
            return None
        lasts = stream.duration and stream.time_base and float(stream.duration * stream.time_base)
        return cls(
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=getattr(stream.codec_context, "pix_fmt", None) or "unknown",
            frames=stream.frames or None,
            duration_s=lasts or None,
        )


@contextmanager
def translated(name: str) -> Iterator[None]:
    """FFmpeg's errors as ours."""
    try:
        yield
    except MemoryError as error:
        raise LimitExceeded(
            f"{name} needs more memory than is allowed to decode. Raise Limits.memory_bytes if you "
            "trust the file."
        ) from error
    except (av.error.EOFError, av.error.InvalidDataError) as error:
        raise UnreadableMedia(
            f"{name} begins like media but cannot be read: FFmpeg says {error.strerror!r}. It is "
            "damaged or cut off; pass a whole file."
        ) from error
    except av.error.FFmpegError as error:
        raise UnreadableMedia(f"{name} cannot be read: FFmpeg says {error.strerror!r}.") from error


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[InputContainer]:
    """An input container, closed at the end."""
    container, _ = sniff(path)
    demuxer = CONTAINERS[container].demuxer
    if demuxer is None:
        raise UnsupportedMedia(f"{path.name} is a still picture ({container}); it has no streams.")
    with (
        translated(path.name),
        av.open(
            f"file:{path}", format=demuxer, container_options=_OPTIONS, metadata_errors="replace"
        ) as opened_container,
    ):
        if len(opened_container.streams) > limits.max_streams:
            raise MediaTooLarge(
                f"{path.name} has {len(opened_container.streams)} streams; the limit is "
                f"{limits.max_streams} (Limits.max_streams)."
            )
        yield opened_container


def video_stream(container: InputContainer, limits: Limits) -> VideoStream | None:
    """The picture stream, ready to decode; a cover picture of an audio file is not one."""
    for stream in container.streams.video:
        if is_cover(stream):
            continue
        _check_decoder(stream, VIDEO_DECODERS, container.name)
        context = stream.codec_context
        if context.width * context.height > limits.max_pixels:
            raise MediaTooLarge(
                f"{_base(container.name)} declares {context.width} x {context.height} pixels; the "
                f"limit is {limits.max_pixels} (Limits.max_pixels)."
            )
        context.options = {"max_pixels": str(limits.max_pixels)}
        context.thread_type = "AUTO"
        context.thread_count = 1  # a second costs 6 % more CPU, and 25 MB for 1080p
        return stream
    return None


def audio_stream(container: InputContainer, limits: Limits) -> AudioStream | None:
    """The first sound stream, ready to decode."""
    for stream in container.streams.audio:
        _check_decoder(stream, AUDIO_DECODERS, container.name)
        context = stream.codec_context
        if context.rate <= 0 or context.channels <= 0:
            raise TruncatedMedia(
                f"{_base(container.name)} declares a sound stream without a rate or channels. It "
                "is damaged or cut off; pass a whole file."
            )
        if context.rate > limits.max_rate_hz or context.channels > limits.max_channels:
            raise MediaTooLarge(
                f"{_base(container.name)} declares {context.channels} channels at {context.rate} "
                f"Hz; the limits are {limits.max_channels} and {limits.max_rate_hz}."
            )
        return stream
    return None


def is_cover(stream: Stream) -> bool:
    """Whether a picture stream is the cover of an audio file, or its thumbnails."""
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _check_decoder(stream: VideoStream | AudioStream, allowed: frozenset[str], name: str) -> None:
    # A stream of an unknown codec has no decoder at all, and PyAV gives None for its context.
    context = stream.codec_context
    found = context.codec.name if context is not None else "unknown"
    if found not in allowed:
        raise UnsupportedMedia(
            f"{_base(name)} holds a {stream.type} stream of codec {found!r}, which avsafe does not "
            "decode. Convert it to H.264, VP9, AV1, AAC, Opus or FLAC."
        )


def _base(name: str) -> str:
    return Path(name.removeprefix("file:")).name
