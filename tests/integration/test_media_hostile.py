"""Broken and hostile files through the whole way: each gets its typed error, none gets through."""

from __future__ import annotations

import logging
import random
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avsafe.errors import (
    EmptyFile,
    LimitExceeded,
    MediaTooLarge,
    TruncatedMedia,
    UnreadableMedia,
    UnsupportedMedia,
)
from avsafe.media import EncodeSpec, Limits, analyse, decode, encode, probe
from avsafe.types import Kind, RawMedia

MEANS = {"m": "avsafe.media.selftest:Means"}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole clip with its index in front, so that cutting it leaves the index."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3)).astype(np.uint8)
    tone = 0.3 * np.sin(np.arange(76800) * 0.1).astype(np.float32)[None]
    raw = RawMedia(
        Kind.VIDEO, noise, Fraction(25), 40, 64, 48, samples=[tone], rate_hz=48000, channels=1
    )
    path = tmp_path_factory.mktemp("good") / "good.mp4"
    encode(raw, path, EncodeSpec(faststart=True))
    return path


@pytest.mark.parametrize("use", [probe, decode, lambda path: analyse(path, MEANS)])
def test_every_entry_looks_first(use: object, tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(EmptyFile):
        use(path)  # type: ignore[operator]


def test_a_cut_clip_is_truncated(good: Path, tmp_path: Path) -> None:
    data = good.read_bytes()
    for share in (0.3, 0.6, 0.95):
        path = tmp_path / "cut.mp4"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(TruncatedMedia):
            probe(path)


def test_a_flipped_bit_in_the_pictures_is_survived_and_said(
    good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged packet is left out and the grid kept: the other evidence must not be lost."""
    data = bytearray(good.read_bytes())
    start = data.index(b"mdat") + 2000
    data[start : start + 3000] = random.Random(5).randbytes(3000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        raw = decode(path, trusted=True)
        assert len(list(raw.frames or ())) == 40
    assert analyse(path, MEANS)["m"]["means"].shape == (40,)


def test_random_bytes_in_every_place_end_in_a_typed_error_or_a_result(
    good: Path, tmp_path: Path
) -> None:
    data = good.read_bytes()
    source = random.Random(11)
    path = tmp_path / "fuzzed.mp4"
    answers = set()
    for _ in range(14):
        changed = bytearray(data)
        for _ in range(source.choice((1, 5, 40))):
            # mostly in the index, where a change does most
            at = source.randrange(min(len(data), source.choice((3000, len(data)))))
            changed[at] = source.randrange(256)
        path.write_bytes(changed)
        try:
            analyse(path, MEANS, limits=replace(Limits(), cpu_s=5, wall_s=10))
            answers.add("result")
        except UnreadableMedia as error:  # anything else fails the test
            answers.add(type(error).__name__)
    assert "result" in answers
    assert len(answers) > 1


def test_a_forged_length_is_refused(tmp_path: Path) -> None:
    """Two frames, the second 100 days later: holding the first would fill any disk."""
    path = tmp_path / "long.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pts in (0, 1, 2, 25 * 8_640_000):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaTooLarge, match=r"8640000 s.*Limits.max_duration_s"):
        probe(path)
    beginning = decode(path, max_duration_s=0.12)
    assert len(list(beginning.frames or ())) == 3


def test_pixels_are_limited_by_what_the_stream_says_too(good: Path) -> None:
    """The container's figures can lie; the decoder is held to the limit as well."""
    with pytest.raises(MediaTooLarge, match="64 x 48"):
        probe(good, limits=replace(Limits(), max_pixels=64 * 47))
    path = good.with_name("lying.mp4")
    data = good.read_bytes()
    entry = data.index(b"avc1") + 4 + 24
    path.write_bytes(data[:entry] + bytes([0, 16, 0, 16]) + data[entry + 4 :])
    with pytest.raises(MediaTooLarge):
        decode(path, limits=replace(Limits(), max_pixels=64 * 47))


@pytest.mark.skipif(sys.platform != "linux", reason="address-space limits are Linux's")
def test_memory_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    encode(RawMedia(Kind.IMAGE, frames=[np.zeros((5000, 7000, 3), np.uint8)]), path)
    assert path.stat().st_size < 400_000  # expands 300 times
    with pytest.raises(LimitExceeded, match="memory"):
        for _ in decode(path, limits=replace(Limits(), memory_bytes=300 << 20)).frames or ():
            pass


def test_cpu_time_is_limited(good: Path) -> None:
    spins = {"s": "avsafe.media.selftest:Spinning"}
    with pytest.raises(LimitExceeded, match="1 s of CPU time"):
        analyse(good, spins, limits=replace(Limits(), cpu_s=1))


def test_a_codec_off_the_list_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "odd.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flv", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnsupportedMedia, match="flv"):
        probe(path)


def test_a_playlist_with_a_media_name_reads_no_other_file(good: Path, tmp_path: Path) -> None:
    for name, text in (
        ("a.mp4", f"ffconcat version 1.0\nfile {good}\n"),
        ("b.mp4", f"#EXTM3U\n#EXTINF:1,\n{good}\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(UnsupportedMedia):
            decode(path)


def test_a_name_is_never_a_protocol(good: Path, tmp_path: Path) -> None:
    for name in ("concat:x|y.mp4", "http:x.mp4", "-i.mp4", "%d.mp4", "a b\u202e.mp4"):
        path = tmp_path / name
        path.write_bytes(good.read_bytes())
        assert probe(path).kind is Kind.VIDEO


def test_a_wrong_suffix_is_read_by_content(
    good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(good.read_bytes())
    media = probe(path)
    assert (media.container, media.mime) == ("mp4", "video/mp4")
    assert "named .png but holds mp4" in caplog.text
