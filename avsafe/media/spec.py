"""How a file is to be encoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodeSpec:
    """Choices for ``encode``; None takes the container's default.

    Defaults: H.264 and AAC in MP4, MOV and MKV; VP9 and Opus in WebM; 16-bit PCM in WAV.
    """

    video_codec: str | None = None  # h264 | vp9
    audio_codec: str | None = None  # aac | opus | flac | mp3 | pcm16 | float
    crf: int = 18  # visually transparent for x264; 0 best, 51 worst
    preset: str = "faster"  # x264; measured in docs/media.md: 0.7 x the CPU of "medium"
    gop_s: float = 2.0  # seconds between key frames
    audio_kbps: int = 192
    pixel_format: str = "yuv420p"  # what every player shows
    faststart: bool = False  # the index before the data; rewrites the file once
    signing_room: bool = False  # index and room for a credential before the data, in one pass
    image_quality: int = 95  # JPEG and lossy WebP, 1..100
    lossless: bool = False  # WebP
    threads: int = 4  # fixed, because x264's output depends on it
