"""What happens to a picture between camera or generator and us. The same for both classes.

Legend: a picture is (h, w, 3) uint8 RGB. Each damage is a name -> picture -> picture.
"""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
else:
    Picture = Any

# name -> condition by which a file of this kind is judged
CELLS = {
    "clean": "lossless or JPEG 90 and above",
    "jpeg 90": "lossless or JPEG 90 and above",
    "jpeg 75": "JPEG 60 to 89",
    "jpeg 50": "JPEG 40 to 59",
    "webp 75": "WebP",
    "half": "reduced",
    "double": "enlarged",
    "social": "resized, JPEG 60 to 89",
    "noise 3": "noisy",
    "denoised": "denoised",
    "h264 23": "video frame",
    "h264 30": "video frame",
}


def damaged(picture: Picture, name: str, rng: np.random.Generator) -> Picture:
    """One of CELLS, or "mixed": a random chain, for training only."""
    if name == "mixed":
        return _mixed(picture, rng)
    kind, _, strength = name.partition(" ")
    if kind == "jpeg":
        return jpeg(picture, int(strength), rng)
    if kind == "webp":
        return webp(picture, int(strength))
    if kind == "h264":
        return h264(picture, int(strength))
    if kind == "noise":
        return noise(picture, float(strength), rng)
    if name == "half":
        return resized(picture, 0.5, rng)
    if name == "double":
        return resized(picture, 2.0, rng)
    if name == "social":  # what messengers and networks do: smaller, then JPEG
        small = resized(picture, float(rng.uniform(0.6, 0.9)), rng)
        return jpeg(small, int(rng.integers(70, 86)), rng)
    if name == "denoised":
        return denoised(picture, rng)
    if name == "clean":
        return picture
    raise KeyError(name)


def earlier(picture: Picture, rng: np.random.Generator) -> Picture:
    """What a picture went through before: nothing, or one JPEG or WebP, at an unknown place."""
    kind = rng.random()
    if kind < 0.5:
        return picture
    shift = rng.integers(0, 8, 2)
    padded = np.pad(picture, ((int(shift[0]), 0), (int(shift[1]), 0), (0, 0)), mode="reflect")
    quality = int(rng.integers(80, 99))
    coded = jpeg(padded, quality, rng) if kind < 0.9 else webp(padded, quality)
    return np.ascontiguousarray(coded[shift[0] :, shift[1] :])


def _mixed(picture: Picture, rng: np.random.Generator) -> Picture:
    for _ in range(int(rng.integers(1, 3))):
        kind = int(rng.integers(0, 9))
        if kind == 0:
            picture = resized(picture, float(rng.uniform(0.6, 1.6)), rng)
        elif kind == 1:
            picture = noise(picture, float(rng.uniform(1, 5)), rng)
        elif kind == 2:
            picture = denoised(picture, rng)
        elif kind == 3:
            picture = sharpened(picture, float(rng.uniform(0.3, 1.2)))
        elif kind == 4:
            picture = gamma(picture, float(np.exp(rng.uniform(-0.5, 0.5))))
        elif kind == 5:
            picture = webp(picture, int(rng.integers(50, 96)))
        elif kind == 6:
            picture = h264(picture, int(rng.integers(18, 34)))
        else:
            picture = jpeg(picture, int(rng.integers(50, 96)), rng)
    return picture


def jpeg(picture: Picture, quality: int, rng: np.random.Generator | None = None) -> Picture:
    """4:2:0 mostly, 4:4:4 for a quarter where a generator is given."""
    from PIL import Image

    sampling = 0 if rng is not None and rng.random() < 0.25 else 2
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=sampling)
    return np.asarray(Image.open(file).convert("RGB"))


def webp(picture: Picture, quality: int) -> Picture:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=quality, method=2)
    return np.asarray(Image.open(file).convert("RGB"))


def h264(picture: Picture, crf: int) -> Picture:
    """The last of three equal frames, so that it is coded as one inside a film."""
    import av

    h, w = (v // 2 * 2 for v in picture.shape[:2])
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:h, :w]), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as coded:
        last = list(coded.decode(video=0))[-1]
        return np.asarray(last.to_ndarray(format="rgb24"), np.uint8)


def resized(picture: Picture, scale: float, rng: np.random.Generator) -> Picture:
    """By area, bilinear, cubic or Lanczos, as chance has it."""
    import cv2

    ways = [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]
    way = ways[int(rng.integers(0, 3))]
    if scale < 0.75:
        way = cv2.INTER_AREA  # the others alias
    h, w = picture.shape[:2]
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def noise(picture: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    drawn = rng.standard_normal(picture.shape, np.float32) * sigma
    return np.asarray(np.clip(np.rint(picture + drawn), 0, 255), np.uint8)


def denoised(picture: Picture, rng: np.random.Generator) -> Picture:
    """Bilateral filter (Tomasi and Manduchi 1998), or a median of 3 x 3."""
    import cv2

    if rng.random() < 0.2:
        return np.asarray(cv2.medianBlur(picture, 3), np.uint8)
    reach = float(rng.uniform(10, 35))
    return np.asarray(cv2.bilateralFilter(picture, 5, reach, 3), np.uint8)


def sharpened(picture: Picture, amount: float) -> Picture:
    import cv2

    soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
    return np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)


def gamma(picture: Picture, power: float) -> Picture:
    table = np.rint(255 * (np.arange(256) / 255) ** power).astype(np.uint8)
    return table[picture]
