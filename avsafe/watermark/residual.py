"""What leaves the sandbox for the picture mark: mean normalised luma residuals. Knows no key.

Legend: ``h`` ``w`` pixels of the canonical picture (short side 360, long side at most 1440);
``j = 8`` bins of time.

Every frame is brought to the canonical scale, high-passed, divided by its local standard deviation
(the mark is embedded stronger in texture, where it is also harder to see it; dividing makes every
place count alike) and clipped. The mean over frames keeps the mark, while content that moves and
coding noise average out. The mark changes its sign every SEGMENT_S, so frames are summed by their
time modulo two segments: the difference of the two halves of that cycle also loses the content that
stands still, wherever a trimmed copy begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe.watermark.tile import SEGMENT_S, SHORT_SIDE

MAX_LONG_SIDE = 4 * SHORT_SIDE  # a longer strip is cut: memory stays bounded
MAX_SHAPES = 2  # canonical shapes kept apart when the picture size changes midway
BINS = 8  # j
_CYCLE_S = 2 * SEGMENT_S
_APART_S = 0.058  # frames closer than this to the last are skipped: 12 to 17 a second are enough
_DENSE_FRAMES = 600  # of the first 40 s; then the gain is small and
_STRIDE = 8  # one frame in eight is enough
_WINDOW = 9  # canonical pixels; of 7, 9, 13 no other was better by more than 0.2 dB
_FLOOR = 0.75  # levels: under the noise that a codec leaves in flat areas
_CUT = 24.0  # levels, mean difference of 32x32 thumbnails: another picture, not motion
_LEAST_SIDE = 16  # pixels: too small for any wave of the tile
CLIP = 2.0  # local standard deviations


def residual(frame: Frame) -> NDArray[np.float32]:
    """One frame, ``(h, w)`` uint8 luma or ``(h, w, 3)`` RGB -> canonical residual within +-2.

    >>> residual(np.zeros((180, 320), np.uint8)).shape
    (360, 640)
    """
    return _normalised(_canonical(frame))


def _canonical(frame: Frame) -> NDArray[np.float32]:
    import cv2

    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else frame
    height, width = luma.shape
    scale = SHORT_SIDE / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale < 1:
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    small = luma.astype(np.float32)
    if scale > 1:
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(small[:MAX_LONG_SIDE, :MAX_LONG_SIDE], np.float32)


def _normalised(small: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    high = small - cv2.blur(cv2.blur(small, (9, 9)), (9, 9))  # like a Gaussian of 3.7 pixels
    power = cv2.blur(high * high, (_WINDOW, _WINDOW))
    # running sums can leave a tiny negative power in black areas: its root would be NaN
    deviation = np.sqrt(np.maximum(power, 0, out=power), out=power)
    deviation += _FLOOR
    np.divide(high, deviation, out=high)
    normalised: NDArray[np.float32] = np.clip(high, -CLIP, CLIP, out=high)
    return normalised


class _Sums:
    """Residuals of one shape, summed by time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sums = np.zeros((BINS, *shape), np.float32)
        self.counts = np.zeros(BINS, np.int64)

    def add(self, one: NDArray[np.float32], time_s: float) -> None:
        index = int(time_s % _CYCLE_S / _CYCLE_S * BINS + 1e-6) % BINS
        self.sums[index] += one
        self.counts[index] += 1

    def features(self, name: str) -> dict[str, NDArray[Any]]:
        counts = self.counts.astype(np.float32)
        self.sums /= np.maximum(counts, 1)[:, None, None]
        return {f"residual.{name}": self.sums, f"frames.{name}": counts}


class TileExtractor:
    """The FeatureExtractor of the video and the image mark.

    Gives ``residual.NAME`` ``(j, h, w)`` float32, the mean residual of each bin of time (j = 8 bins
    of half a second, time modulo 4 s), and ``frames.NAME`` ``(j,)`` float32, how many frames are in
    each. The names 0 and 1 are the canonical shapes by frames seen. ``fresh`` is the first frame
    and those right after a cut alone: a codec writes these without motion compensation. Where
    textured content pans, all other frames carry the mark along with the content, so that their
    mean hides it. Memory does not grow with the clip: frames of further
    shapes are only counted, in ``frames.dropped``.
    """

    picture: Picture = "luma"

    def __init__(self) -> None:
        self._sums: dict[tuple[int, ...], _Sums] = {}
        self._fresh: _Sums | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._last_s: float | None = None
        self._seen = 0
        self._dropped = 0

    def start(self, media: Media) -> None:
        """Nothing to prepare: sizes are taken from the frames, which may lie less."""

    def wants(self, time_s: float) -> bool:
        """Whether a frame at this time would be used: those too soon after another are not."""
        return self._last_s is None or not 0 <= time_s - self._last_s < _APART_S

    def frame(self, frame: Frame, time_s: float) -> None:
        """Add one frame, unless it comes too soon after another."""
        if not self.wants(time_s):
            return
        self._last_s = time_s
        self._seen += 1
        if self._seen > _DENSE_FRAMES and self._seen % _STRIDE:
            return
        if min(frame.shape[:2]) < _LEAST_SIDE:
            self._dropped += 1
            return
        small = _canonical(frame)
        one = _normalised(small)
        if one.shape not in self._sums and len(self._sums) == MAX_SHAPES:
            self._dropped += 1
            return
        self._sums.setdefault(one.shape, _Sums(one.shape)).add(one, time_s)
        if not self._is_fresh(small):
            return
        if self._fresh is None:
            self._fresh = _Sums(one.shape)
        if self._fresh.sums.shape[1:] == one.shape:
            self._fresh.add(one, time_s)

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
        often = sorted(self._sums.values(), key=lambda sums: -int(sums.counts.sum()))
        whole = int(often[0].counts.sum()) if often else 0
        if self._fresh is not None and int(self._fresh.counts.sum()) < whole:
            features |= self._fresh.features("fresh")
        for index, sums in enumerate(often):
            features |= sums.features(str(index))
        return features
