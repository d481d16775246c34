"""Drawing over time: what was drawn before moves along and is kept where it still fits.

Dense optical flow (DIS: Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016)
from each frame to the one before; where the frame before, moved along, agrees with this one, source
and drawing are recursive averages along the motion (as in Ruder et al., "Artistic style transfer
for videos", GCPR 2016, the confidence from the photometric error). Where it doesn't (occlusion, a
cut), the new frame stands alone.

Legend: a frame ``(h, w, 3)`` uint8, a confidence ``(h, w)`` float32, 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOW_SIDE = 448  # pixels of the longer side at which motion is measured
_TOLERANCE = 9.0  # levels of difference that still count as the same thing
_CUT = 34.0  # mean difference after moving along: another scene
_SOURCE_KEPT = 0.65  # of the picture before, at full confidence: noise is averaged away

Image = NDArray[Any]


class Motion:
    """From frame to frame: where each pixel was before, and how sure that is."""

    def __init__(self, width: int, height: int) -> None:
        import cv2

        scale = min(1.0, _FLOW_SIDE / max(width, height))
        self._size = (max(16, round(width * scale)), max(16, round(height * scale)))
        self._full = (width, height)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: Image | None = None
        gy, gx = np.mgrid[0:height, 0:width]
        self._gx, self._gy = gx.astype(np.float32), gy.astype(np.float32)
        sy, sx = np.mgrid[0 : self._size[1], 0 : self._size[0]]
        self._sx, self._sy = sx.astype(np.float32), sy.astype(np.float32)

    def step(self, frame: Image) -> tuple[Image, Image, Image] | None:
        """(map x, map y, confidence) into the frame before; None for the first and after a cut."""
        import cv2

        small = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        before, self._before = self._before, grey
        if before is None:
            return None
        flow = self._dis.calc(grey, before, np.zeros((*grey.shape, 2), np.float32))
        moved = cv2.remap(
            before, self._sx + flow[..., 0], self._sy + flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        apart: Image = cv2.absdiff(moved, grey).astype(np.float32)
        if float(apart.mean()) > _CUT:
            return None
        apart = cv2.GaussianBlur(apart, (0, 0), 1.6)
        sure: Image = np.exp(-((apart / _TOLERANCE) ** 2))
        # where the flow itself changes fast something covers or uncovers
        bend = sum(
            np.abs(cv2.Sobel(flow[..., c], cv2.CV_32F, dx, 1 - dx)) for c in (0, 1) for dx in (0, 1)
        )
        sure = sure / (1 + (np.asarray(bend) / 4.0) ** 2)
        width, height = self._full
        kx, ky = width / self._size[0], height / self._size[1]
        large = cv2.resize(flow, self._full, interpolation=cv2.INTER_LINEAR)
        map_x = self._gx + large[..., 0] * np.float32(kx)
        map_y = self._gy + large[..., 1] * np.float32(ky)
        confidence = cv2.resize(sure.astype(np.float32), self._full)
        return map_x, map_y, confidence


class Steady:
    """Draws frame after frame with ``draw``; ``memory`` is the share of the drawing before that is
    kept at full confidence (0: only the source is averaged)."""

    def __init__(
        self, draw: Callable[[Image], Image], memory: float, width: int, height: int, steady: float
    ) -> None:
        self._draw, self._memory, self._steady = draw, memory * steady, steady
        self._motion = Motion(width, height) if steady > 0 else None
        self._source: Image | None = None
        self._drawn: Image | None = None

    def frame(self, frame: Image) -> Image:
        found = self._motion.step(frame) if self._motion is not None else None
        if found is None or self._source is None or self._drawn is None:
            # float16 would do; float32 keeps the rounding of uint8 out of the recursion
            self._source = frame
            self._drawn = self._draw(frame)
            return self._drawn
        map_x, map_y, confidence = found
        kept = confidence * np.float32(_SOURCE_KEPT * self._steady)
        self._source = _along(self._source, frame, map_x, map_y, kept)
        drawn = self._draw(self._source)
        if self._memory > 0:
            kept = confidence * np.float32(self._memory)
            drawn = _along(self._drawn, drawn, map_x, map_y, kept)
        self._drawn = drawn
        return drawn


def _along(before: Image, now: Image, map_x: Image, map_y: Image, kept: Image) -> Image:
    """The picture now, with ``kept`` of the one before moved along."""
    import cv2

    moved = cv2.remap(before, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.blendLinear(moved, now, kept, 1 - kept))
