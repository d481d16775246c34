"""The audio mark through files: the way of a release, and what people do to files afterwards."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from avsafe import media, testing
from avsafe.types import Kind, RawMedia
from avsafe.watermark.audio import AudioWatermarker

KEY = bytes(range(32))
PAYLOAD = 0x00C0FFEE
MARKER = AudioWatermarker()


def marked(raw: RawMedia, attempt: int = 0) -> RawMedia:
    embedder = MARKER.embedder(raw, PAYLOAD, KEY, attempt=attempt)
    blocks = [embedder.samples(block) for block in raw.samples or ()] + [embedder.flush()]
    embedder.mark()
    return RawMedia(Kind.AUDIO, samples=blocks, rate_hz=raw.rate_hz, channels=raw.channels)


def found_in(path: Path, *, trusted: bool = True):
    features = media.analyse(path, {"audio": MARKER.extractor}, trusted=trusted)
    return MARKER.detect(features["audio"], KEY)


def recoded(source: Path, destination: Path, codec: str, bit_rate: int, rate_hz: int) -> Path:
    with av.open(str(source)) as inside, av.open(str(destination), "w") as outside:
        stream = outside.add_stream(codec, rate=rate_hz)
        stream.bit_rate = bit_rate
        resampler = None
        for frame in inside.decode(audio=0):
            if resampler is None:
                stream.layout = frame.layout
                stream.codec_context.open(strict=False)
                size = stream.codec_context.frame_size
                resampler = av.AudioResampler(stream.format, frame.layout, rate_hz, size)
            for part in resampler.resample(frame):
                outside.mux(stream.encode(part))
        for part in resampler.resample(None):
            outside.mux(stream.encode(part))
        outside.mux(stream.encode(None))
    return destination


def babble(duration_s: float, rate_hz: int, channels: int) -> RawMedia:
    blocks = testing.babble(duration_s, rate_hz, 4, channels)
    return RawMedia(Kind.AUDIO, samples=blocks, rate_hz=rate_hz, channels=channels)


@pytest.mark.parametrize("suffix", [".m4a", ".wav", ".flac"])
def test_read_back_from_the_written_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"released{suffix}"
    media.encode(marked(babble(7, 44_100, 2)), path)
    found = found_in(path, trusted=False)
    assert (found.present, found.payload) == (True, PAYLOAD)


@pytest.mark.parametrize(
    ("codec", "bit_rate", "suffix", "rate_hz"),
    [
        ("aac", 128_000, ".mp4", 48_000),
        ("aac", 64_000, ".mp4", 44_100),
        ("libmp3lame", 128_000, ".mp3", 44_100),
        ("pcm_s16le", 0, ".wav", 16_000),
    ],
)
def test_survives_a_second_encoding(tmp_path, codec, bit_rate, suffix, rate_hz) -> None:
    released = tmp_path / "released.m4a"
    media.encode(marked(babble(10, 48_000, 1)), released)
    again = recoded(released, tmp_path / f"again{suffix}", codec, bit_rate, rate_hz)
    found = found_in(again)
    assert (found.present, found.payload) == (True, PAYLOAD)


@pytest.mark.parametrize("name", ["real_general/videollava_1.mp4", "real_talking/latentsync_1.mp4"])
def test_real_sound_release_and_aac_128k(tmp_path: Path, shared_media: Path, name: str) -> None:
    source = shared_media / name
    assert not found_in(source).present
    raw = media.decode(source, trusted=True)
    released = tmp_path / "released.m4a"
    media.encode(marked(raw), released)
    again = recoded(released, tmp_path / "again.mp4", "aac", 128_000, raw.rate_hz)
    found = found_in(again)
    assert (found.present, found.payload) == (True, PAYLOAD)


def test_silent_track_of_a_real_clip_is_refused(shared_media: Path) -> None:
    raw = media.decode(shared_media / "real_general/sam2_cups.mp4", trusted=True)
    assert not any(np.any(block) for block in raw.samples or ())
    assert "too quiet for an audio mark" in (MARKER.can_mark(raw) or "")
