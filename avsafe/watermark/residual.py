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

from avsafe.types import Features, Frame, Media, Samples
from avsafe.watermark.tile import SHORT_SIDE

MAX_LONG_SIDE = 4 * SHORT_SIDE  # a longer strip is cut: memory stays bounded
MAX_SHAPES = 3  # canonical shapes kept apart when the picture size changes midway
_DENSE_FRAMES = 600  # every frame of the first 20-40 s; then the gain is small and
_STRIDE = 8  # one frame in eight is enough
_WINDOW = 9  # canonical pixels; of 9, 15, 25 the shortest gave the surest decoding
_FLOOR = 0.75  # levels: under the noise that a codec leaves in flat areas
_CLIP = 2.0  # local standard deviations


def residual(frame: Frame) -> NDArray[np.float32]:
    """One frame ``(h, w, 3)`` uint8 RGB -> its canonical residual, float32 within +-2.

    >>> residual(np.zeros((180, 320, 3), np.uint8)).shape
    (360, 640)
    """
    import cv2

    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = luma.shape
    scale = SHORT_SIDE / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = luma if scale == 1 else cv2.resize(luma, size, interpolation=interpolation)
    small = small[:MAX_LONG_SIDE, :MAX_LONG_SIDE]
    high = small - cv2.blur(cv2.blur(small, (9, 9)), (9, 9))  # like a Gaussian of 3.7 pixels
    power = cv2.blur(high * high, (_WINDOW, _WINDOW))
    # running sums can leave a tiny negative power in black areas: its root would be NaN
    deviation = np.sqrt(np.maximum(power, 0))
    normalised: NDArray[np.float32] = np.clip(high / (deviation + _FLOOR), -_CLIP, _CLIP)
    return normalised


class TileExtractor:
    """The FeatureExtractor of the video and the image mark.

    Gives ``residual.I`` ``(h, w)`` float32, the mean over the frames of one canonical shape, and
    ``frames.I`` ``(1,)`` float32, how many; I = 0 is the shape seen most. Memory does not grow with
    the clip: at most three shapes are kept, further ones are counted in ``frames.dropped``.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._seen = 0
        self._dropped = 0

    def start(self, media: Media) -> None:
        """Nothing to prepare: sizes are taken from the frames, which may lie less."""

    def frame(self, frame: Frame, time_s: float) -> None:
        """Add one frame."""
        self._seen += 1
        if self._seen > _DENSE_FRAMES and self._seen % _STRIDE:
            return
        if frame.ndim != 3 or min(frame.shape[:2]) < 16:  # 16: too small for any wave of the tile
            self._dropped += 1
            return
        one = residual(frame)
        shape = one.shape
        if shape in self._sums:
            self._sums[shape] += one
            self._counts[shape] += 1
        elif len(self._sums) < MAX_SHAPES:
            self._sums[shape] = one
            self._counts[shape] = 1
        else:
            self._dropped += 1

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound carries no tile."""

    def finish(self) -> Features:
        """The features; empty arrays are never made, no frame gives ``frames.dropped`` alone."""
        features: dict[str, NDArray[Any]] = {
            "frames.dropped": np.array([self._dropped], np.float32)
        }
        often = sorted(self._sums, key=lambda shape: -self._counts[shape])
        for index, shape in enumerate(often):
            features[f"residual.{index}"] = self._sums[shape] / np.float32(self._counts[shape])
            features[f"frames.{index}"] = np.array([self._counts[shape]], np.float32)
        return features
