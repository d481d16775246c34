"""What leaves the sandbox for the picture mark: the mean normalised luma residual. Knows no key.

Legend: ``h`` ``w`` pixels of the canonical picture (short side 360, long side at most 1440).

Every frame is brought to the canonical scale, high-passed, divided by its local standard deviation
(the mark is embedded stronger in texture, where it is also harder to see it; dividing makes every
place count alike) and clipped. The mean over frames keeps the mark, which stands still, while
content that moves and coding noise average out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe.watermark.tile import SHORT_SIDE

MAX_LONG_SIDE = 4 * SHORT_SIDE  # a longer strip is cut: memory stays bounded
MAX_SHAPES = 3  # canonical shapes kept apart when the picture size changes midway
NAMES = (*(str(index) for index in range(MAX_SHAPES)), "fresh")
_DENSE_FRAMES = 600  # every frame of the first 20-40 s; then the gain is small and
_STRIDE = 8  # one frame in eight is enough
_WINDOW = 9  # canonical pixels; of 9, 15, 25 the shortest gave the surest decoding
_FLOOR = 0.75  # levels: under the noise that a codec leaves in flat areas
_CUT = 24.0  # levels, mean difference of 32x32 thumbnails: another picture, not motion
CLIP = 2.0  # local standard deviations


def residual(frame: Frame) -> NDArray[np.float32]:
    """One frame ``(h, w, 3)`` uint8 RGB -> its canonical residual, float32 within +-2.

    >>> residual(np.zeros((180, 320, 3), np.uint8)).shape
    (360, 640)
    """
    return _normalised(_canonical(frame))


def _canonical(frame: Frame) -> NDArray[np.float32]:
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else frame
    luma = grey.astype(np.float32)
    height, width = luma.shape
    scale = SHORT_SIDE / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = luma if scale == 1 else cv2.resize(luma, size, interpolation=interpolation)
    return np.asarray(small[:MAX_LONG_SIDE, :MAX_LONG_SIDE], np.float32)


def _normalised(small: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    high = small - cv2.blur(cv2.blur(small, (9, 9)), (9, 9))  # like a Gaussian of 3.7 pixels
    power = cv2.blur(high * high, (_WINDOW, _WINDOW))
    # running sums can leave a tiny negative power in black areas: its root would be NaN
    deviation = np.sqrt(np.maximum(power, 0))
    normalised: NDArray[np.float32] = np.clip(high / (deviation + _FLOOR), -CLIP, CLIP)
    return normalised


class _Mean:
    """A running mean of residuals of one shape."""

    def __init__(self, first: NDArray[np.float32]) -> None:
        self.total = first.copy()
        self.count = 1

    def add(self, one: NDArray[np.float32]) -> None:
        self.total += one
        self.count += 1

    def features(self, name: str) -> dict[str, NDArray[Any]]:
        mean = self.total / np.float32(self.count)
        return {f"residual.{name}": mean, f"frames.{name}": np.array([self.count], np.float32)}


class TileExtractor:
    """The FeatureExtractor of the video and the image mark.

    Gives ``residual.NAME`` ``(h, w)`` float32, a mean over frames, and ``frames.NAME`` ``(1,)``
    float32, how many. The names 0, 1, 2 are the canonical shapes by frames seen: every frame of
    that shape. ``fresh`` is the first frame and those right after a cut: a codec writes these
    without motion compensation. Where textured content pans, all other frames carry the mark along
    with the content, so that their mean hides it. Memory does not grow with the clip: frames of
    further shapes are only counted, in ``frames.dropped``.
    """

    picture: Picture = "luma"

    def __init__(self) -> None:
        self._means: dict[tuple[int, ...], _Mean] = {}
        self._fresh: _Mean | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._seen = 0
        self._dropped = 0

    def start(self, media: Media) -> None:
        """Nothing to prepare: sizes are taken from the frames, which may lie less."""

    def frame(self, frame: Frame, time_s: float) -> None:
        """Add one frame."""
        self._seen += 1
        if self._seen > _DENSE_FRAMES and self._seen % _STRIDE:
            return
        if min(frame.shape[:2]) < 16:  # too small for any wave of the tile
            self._dropped += 1
            return
        small = _canonical(frame)
        one = _normalised(small)
        if one.shape in self._means:
            self._means[one.shape].add(one)
        elif len(self._means) < MAX_SHAPES:
            self._means[one.shape] = _Mean(one)
        else:
            self._dropped += 1
        if not self._is_fresh(small):
            return
        if self._fresh is None:
            self._fresh = _Mean(one)
        elif self._fresh.total.shape == one.shape:
            self._fresh.add(one)

    def _is_fresh(self, small: NDArray[np.float32]) -> bool:
        import cv2

        before = self._thumbnail
        thumbnail = np.asarray(cv2.resize(small, (32, 32), interpolation=cv2.INTER_AREA))
        self._thumbnail = thumbnail.astype(np.float32)
        return before is None or float(np.abs(thumbnail - before).mean()) > _CUT

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound carries no tile."""

    def finish(self) -> Features:
        """The features; no frame gives ``frames.dropped`` alone. ``fresh`` is left out when it is
        the same as the whole."""
        features: dict[str, NDArray[Any]] = {
            "frames.dropped": np.array([self._dropped], np.float32)
        }
        often = sorted(self._means.values(), key=lambda mean: -mean.count)
        for index, mean in enumerate(often):
            features |= mean.features(str(index))
        if self._fresh is not None and self._fresh.count < often[0].count:
            features |= self._fresh.features("fresh")
        return features
