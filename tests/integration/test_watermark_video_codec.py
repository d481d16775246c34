"""The video mark through real x264: the release (CRF 18), then coded again."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avsafe.types import Detection, Frame, Kind, RawMedia
from avsafe.watermark.residual import TileExtractor
from avsafe.watermark.video import MOST_CHANCE, VideoWatermarker

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
PAYLOAD = 0xA5A5_1234_0F0F_4321
RATE = Fraction(25)


def scene(frames: int, height: int, width: int) -> list[Frame]:
    """A panning 1/f texture, a smooth sky with a little grain, a moving flat disc."""
    generator = np.random.default_rng(7)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(2 * width)[None]
    slope = 1 / np.maximum(np.hypot(fy, fx), 1 / width)
    ground = np.fft.ifft2(np.fft.fft2(generator.normal(size=(height, 2 * width))) * slope).real
    ground = 110 + 40 * ground / ground.std()
    sky = height // 3
    y, x = np.mgrid[:height, :width]
    clip = []
    for t in range(frames):
        picture = ground[:, 2 * t : 2 * t + width, None] * np.array([1.0, 0.9, 0.7])
        picture[:sky] = np.linspace(150, 210, sky)[:, None, None] + np.array([-20, 0, 30])
        picture[:sky] += generator.normal(0, 1.0, (sky, width, 1))
        picture[np.hypot(y - height / 2, x - width / 4 - 3 * t) < height / 8] = (200, 60, 50)
        clip.append(np.clip(picture, 0, 255).astype(np.uint8))
    return clip


def coded(frames: list[Frame], path: Path, crf: int, size: tuple[int, int] | None) -> list[Frame]:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height = size or (width, height)
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "medium"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(*(size or (width, height)), "yuv420p")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def detect(frames: list[Frame], key: bytes = KEY) -> Detection:
    extractor = TileExtractor()
    for index, frame in enumerate(frames):
        extractor.frame(frame, float(index / RATE))
    return VideoWatermarker().detect(extractor.finish(), key)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    frames = scene(75, 360, 640)
    raw = RawMedia(Kind.VIDEO, frames, RATE, len(frames), 640, 360)
    one = VideoWatermarker().embedder(raw, PAYLOAD, KEY)
    marked = [one.frame(frame) for frame in frames]
    assert (one.mark().psnr_db or 0) >= 42
    assert not detect(frames).present
    return coded(marked, tmp_path_factory.mktemp("clip") / "release.mp4", 18, None)


def test_the_release_decodes(released: list[Frame]) -> None:
    assert detect(released).payload == PAYLOAD
    assert not detect(released, OTHER).present


@pytest.mark.parametrize(
    ("name", "crf", "size", "margin"),
    [
        ("coded again", 28, None, 0),
        # texture that pans keeps the mark in key frames alone: not much is left for more damage
        ("smaller", 23, (480, 270), 0),
        ("larger", 23, (960, 540), 0),
        ("cropped", 23, None, 36),
    ],
)
def test_the_mark_survives(
    released: list[Frame],
    tmp_path: Path,
    name: str,
    crf: int,
    size: tuple[int, int] | None,
    margin: int,
) -> None:
    frames = [f[margin : 360 - margin, margin : 640 - margin] for f in released]
    found = detect(coded(frames, tmp_path / "again.mp4", crf, size))
    assert found.payload == PAYLOAD, name
    assert found.p_value < MOST_CHANCE
