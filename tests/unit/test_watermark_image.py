"""The image mark: PNG, JPEG, crops, and a screenshot of a marked clip."""

import io

import numpy as np
import pytest
from PIL import Image

from avsafe.errors import CannotMark
from avsafe.types import Detection, Frame, Kind, RawMedia
from avsafe.watermark.image import ImageWatermarker
from avsafe.watermark.residual import TileExtractor
from avsafe.watermark.video import VideoWatermarker

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
PAYLOAD = 0xFEED_0000_1234_5678


def photograph(height: int, width: int, seed: int = 0) -> Frame:
    """Clouds of every size (1/f), in colour, with one smooth half."""
    generator = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    slope = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width))
    planes = []
    for _ in range(3):
        plane = np.fft.ifft2(np.fft.fft2(generator.normal(size=(height, width))) * slope).real
        planes.append(128 + 45 * plane / plane.std())
    picture = np.stack(planes, axis=-1)
    picture[: height // 2] = 0.3 * picture[: height // 2] + 90
    return np.clip(picture, 0, 255).astype(np.uint8)


def raw(picture: Frame, kind: Kind = Kind.IMAGE) -> RawMedia:
    height, width = picture.shape[:2]
    return RawMedia(kind, [picture], None, 1, width, height)


def detect(picture: Frame, key: bytes = KEY) -> Detection:
    extractor = TileExtractor()
    extractor.frame(picture, 0.0)
    return ImageWatermarker().detect(extractor.finish(), key)


def saved(picture: Frame, **options: object) -> Frame:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, **options)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("size", [(128, 200), (512, 512), (513, 767), (1024, 600), (1200, 1600)])
def test_png_round_trip(size: tuple[int, int]) -> None:
    picture = photograph(*size)
    one = ImageWatermarker().embedder(raw(picture), PAYLOAD, KEY)
    marked = one.frame(picture)
    found = detect(saved(marked, format="PNG"))
    assert found.payload == PAYLOAD
    assert one.mark().modality is Kind.IMAGE
    assert one.mark().psnr_db >= 42
    assert not detect(picture).present
    assert not detect(marked, OTHER).present


@pytest.mark.parametrize("quality", [95, 85, 75])
@pytest.mark.parametrize("size", [(512, 512), (600, 900), (1080, 1920)])
@pytest.mark.parametrize("seed", [0, 1])
def test_jpeg(size: tuple[int, int], quality: int, seed: int) -> None:
    picture = photograph(*size, seed)
    marked = ImageWatermarker().embedder(raw(picture), PAYLOAD, KEY).frame(picture)
    assert detect(saved(marked, format="JPEG", quality=quality)).payload == PAYLOAD


def test_crop_and_resize() -> None:
    picture = photograph(900, 1200)
    marked = ImageWatermarker().embedder(raw(picture), PAYLOAD, KEY).frame(picture)
    assert detect(marked[100:820, 150:1150]).payload == PAYLOAD
    half = np.asarray(Image.fromarray(marked).resize((600, 450), Image.Resampling.LANCZOS))
    assert detect(saved(half, format="JPEG", quality=90)).payload == PAYLOAD
    turned = np.asarray(Image.fromarray(marked).rotate(4, Image.Resampling.BICUBIC))
    assert detect(saved(turned, format="JPEG", quality=85)).payload == PAYLOAD


def test_screenshot_of_a_clip_names_the_release_of_the_clip() -> None:
    picture = photograph(720, 1280)
    one = VideoWatermarker().embedder(raw(picture, Kind.VIDEO), PAYLOAD, KEY)
    found = detect(saved(one.frame(picture), format="PNG"))
    assert found.payload == PAYLOAD
    assert ImageWatermarker().algorithm == one.mark().algorithm


def test_too_small_an_image() -> None:
    with pytest.raises(CannotMark, match="100x127"):
        ImageWatermarker().embedder(raw(np.zeros((127, 100, 3), np.uint8)), PAYLOAD, KEY)
