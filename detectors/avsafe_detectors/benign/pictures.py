"""Still pictures that nobody generated: drawn, scanned, textured, and photos that programs treated.

Where a set needs a photo and none is given, a drawn scene seen by a simulated camera (Bayer filter,
shot and read noise) takes its place.

Legend: ``h`` ``w`` pixels; a frame is ``(h, w, 3)`` uint8 RGB.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Frame, RawMedia
from avsafe_detectors.benign.control import SIZE, first_frame, still

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Rng = np.random.Generator
_TEXT = """
the of and to in is that for it with as was on be at by this had not are but from or have an they
which one you were her all she there would their we him been has when who will more no if out so
said what up its about into than them can only other new some could time these two may then do
first any my now such like our over man me even most made after also did many
"""
WORDS = _TEXT.split()


@cache
def font(size: int) -> FreeTypeFont:
    """Pillow's own typeface: the same everywhere."""
    from PIL import ImageFont

    return ImageFont.load_default(size)  # type: ignore[return-value]


def sentence(rng: Rng, words: int) -> str:
    return " ".join(rng.choice(WORDS, words)).capitalize() + "."


def colour(rng: Rng, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in rng.integers(low, high, 3))
    return r, g, b


def page(rng: Rng, width: int, height: int, letters: int = 15, dark: bool = False) -> Frame:
    """A page of text with a headline, as a browser or a printer shows it."""
    from PIL import Image, ImageDraw

    ground, ink = ((24, 26, 30), (220, 222, 225)) if dark else ((255, 255, 255), (25, 25, 28))
    sheet = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(sheet)
    margin = max(6, width // 14)
    draw.text((margin, margin), sentence(rng, 4), fill=ink, font=font(2 * letters))
    y = margin + 3 * letters
    while y < height - margin:
        if rng.random() < 0.12:
            y += letters
            continue
        words = sentence(rng, 18)
        while len(words) > 8 and draw.textlength(words, font=font(letters)) > width - 2 * margin:
            words = words.rsplit(" ", 1)[0]
        draw.text((margin, y), words, fill=ink, font=font(letters))
        y += round(1.45 * letters)
    return np.array(sheet)


def scene(rng: Rng, width: int = SIZE[0], height: int = SIZE[1]) -> Frame:
    """A view with sky, ground, texture and things in it; no noise yet."""
    import cv2

    ys = np.linspace(0, 1, height)[:, None, None]
    top, bottom = np.array(colour(rng, 110, 240)), np.array(colour(rng, 60, 200))
    view = top * (1 - ys) + bottom * ys + np.zeros((height, width, 3))
    horizon = int(height * rng.uniform(0.4, 0.7))
    view[horizon:] = np.array(colour(rng, 40, 150))
    view += rough(rng, height, width)[..., None] * np.where(ys > horizon / height, 22, 6)
    view = np.ascontiguousarray(np.clip(view, 0, 255))
    for _ in range(int(rng.integers(6, 14))):
        centre = (int(rng.integers(0, width)), int(rng.integers(horizon // 2, height)))
        axes = (int(rng.integers(8, width // 7)), int(rng.integers(8, height // 5)))
        paint = tuple(float(c) for c in colour(rng, 20, 235))
        if rng.random() < 0.5:
            cv2.ellipse(view, centre, axes, float(rng.uniform(0, 180)), 0, 360, paint, -1,
                        cv2.LINE_AA)  # fmt: skip
        else:
            far = (centre[0] + axes[0], centre[1] + axes[1])
            cv2.rectangle(view, centre, far, paint, -1, cv2.LINE_AA)
    view *= 1 + 0.12 * rough(rng, height, width)[..., None]
    soft: Any = cv2.GaussianBlur(np.clip(view, 0, 255).astype(np.float32), (0, 0), 0.7)
    return np.asarray(soft.round(), np.uint8)


def rough(rng: Rng, height: int, width: int, slope: float = 1.2) -> np.ndarray:
    """Texture ``(h, w)`` of unit spread whose amplitude falls with the frequency, as views have."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    spectrum /= np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** slope
    texture = np.fft.irfft2(spectrum, (height, width))
    return np.asarray(texture / texture.std())


def seen_by_camera(rng: Rng, view: Frame, noise: float = 1.0) -> Frame:
    """A view through a Bayer filter with shot and read noise, demosaiced."""
    import cv2

    h, w = (side - side % 2 for side in view.shape[:2])
    light = view[:h, :w].astype(np.float32)
    mosaic = np.empty((h, w), np.float32)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = light[y::2, x::2, channel]
    spread = noise * np.sqrt(1.2 + 0.02 * mosaic)
    mosaic += spread * rng.standard_normal(mosaic.shape, np.float32)
    sensor = np.clip(mosaic.round(), 0, 255).astype(np.uint8)
    # OpenCV names a pattern by its second row and column: BG is red at the upper left
    return np.asarray(cv2.cvtColor(sensor, cv2.COLOR_BayerBG2RGB), np.uint8)


def photo(rng: Rng, given: RawMedia | None, noise: float = 1.0) -> Frame:
    """The given photo, or the stand-in."""
    if given is not None:
        return first_frame(given)
    return seen_by_camera(rng, scene(rng), noise)


# ---------------------------------------------------------------- sets


def denoised(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A photo after an edge-preserving filter, as telephones apply it."""
    import cv2

    smooth = cv2.bilateralFilter(photo(rng, given, 1.6), 7, float(rng.uniform(18, 40)), 5.0)
    return still(np.asarray(smooth, np.uint8))


def plain(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A photo as it is; the suffix of the set says how it is written."""
    return still(photo(rng, given))


def enlarged(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A photo enlarged 1.4 to 2 times."""
    import cv2

    small = photo(rng, given)
    times = float(rng.uniform(1.4, 2.0))
    return still(np.asarray(cv2.resize(small, None, fx=times, fy=times,
                                       interpolation=cv2.INTER_CUBIC), np.uint8))  # fmt: skip


def sharpened(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A photo after an unsharp mask and more contrast."""
    import cv2

    taken = photo(rng, given).astype(np.float32)
    blurred: Any = cv2.GaussianBlur(taken, (0, 0), 1.5)
    crisp = taken + float(rng.uniform(0.8, 1.6)) * (taken - blurred)
    return still(np.clip((crisp - 128) * 1.15 + 128, 0, 255).astype(np.uint8))


def night(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A dark photo with strong noise."""
    view = photo(rng, given, 0.5).astype(np.float32) * 0.25 + 8
    return still(seen_by_camera(rng, np.clip(view, 0, 255).astype(np.uint8), 4.0))


def scanned(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A printed page from a scanner: askew, uneven light, paper grain."""
    import cv2

    width, height = 620, 876
    sheet = page(rng, width, height, 13).astype(np.float32)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-1.5, 1.5)), 1.0)
    paper: Any = cv2.warpAffine(sheet, turn, (width, height), borderValue=(236, 234, 228))
    light = 0.95 + 0.03 * rough(rng, height, width, 2.0)[..., None]
    grain = 1.5 * rng.standard_normal((height, width, 1))
    return still(np.clip(paper * light * (0.97, 0.965, 0.94) + grain, 0, 255).astype(np.uint8))


def foliage(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Thousands of leaves: as much fine detail as a picture holds."""
    import cv2

    width, height = SIZE
    view = np.full((height, width, 3), colour(rng, 10, 50), np.uint8)
    for depth in np.linspace(0.35, 1, 4000):
        green = depth * np.array([rng.uniform(40, 130), rng.uniform(90, 200), rng.uniform(20, 80)])
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(3, 11)), int(rng.integers(1, 5)))
        paint = tuple(float(v) for v in green)
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(view, centre, axes, angle, 0, 360, paint, -1, cv2.LINE_AA)
    return still(seen_by_camera(rng, view))


def qr_code(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A QR code with its margin."""
    import cv2

    text = "https://example.org/" + "".join(rng.choice(list("abcdefghijk0123456789"), 24))
    code = np.pad(np.asarray(cv2.QRCodeEncoder.create().encode(text)), 3, constant_values=255)
    side = int(rng.integers(10, 16))
    large = np.kron(code, np.ones((side, side), np.uint8))
    return still(np.repeat(large[..., None], 3, axis=2))


def gradient(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """One colour that passes into another, without any grain."""
    width, height = SIZE
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[0:height, 0:width] / max(SIZE)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    share = ((along - along.min()) / np.ptp(along))[..., None]
    both = np.array(colour(rng)) * (1 - share) + np.array(colour(rng)) * share
    return still(both.round().astype(np.uint8))


def drawing(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A flat drawn picture with outlines."""
    from avsafe_detectors.benign.moving import cartoon_frame

    return still(cartoon_frame(rng)(0))


def diagram(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A chart with bars, a curve, axes and a caption."""
    from PIL import Image, ImageDraw

    width, height = SIZE
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    draw.text((60, 14), sentence(rng, 5), fill=(20, 20, 20), font=font(18))
    bars = int(rng.integers(5, 11))
    step = (width - 120) / bars
    heights = rng.uniform(0.1, 0.9, bars) * (height - 130)
    for number, tall in enumerate(heights):
        x = 60 + number * step
        box = (x + 0.15 * step, height - 50 - tall, x + 0.85 * step, height - 50)
        draw.rectangle(box, fill=colour(rng, 60, 220))
        draw.text((x + 0.3 * step, height - 44), f"{number}", fill=(40, 40, 40), font=font(14))
    line = [(60 + (k + 0.5) * step, height - 60 - 0.8 * v) for k, v in enumerate(heights)]
    draw.line(line, fill=colour(rng, 0, 120), width=3)
    draw.line([(60, 50), (60, height - 50), (width - 60, height - 50)], fill=(0, 0, 0), width=2)
    return still(np.array(sheet))


def tiny(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A picture of 16 x 16 pixels."""
    import cv2

    return still(np.asarray(cv2.resize(photo(rng, given), (16, 16),
                                       interpolation=cv2.INTER_AREA), np.uint8))  # fmt: skip
