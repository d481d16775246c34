"""What a style needs to know of a whole clip, so that colours don't jump with the content.

One pass over small versions of some frames; memory does not grow with the duration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import MissingStream
from avsafe.types import Cancelled, Frame, Progress

_KEPT = 48  # frames that are remembered, spread over the clip
_THUMB = 48  # pixels of the longer side
_PALETTE_SEED = 11


@dataclass(frozen=True)
class Clip:
    """Levels and colours of a clip."""

    dark: float  # 2nd percentile of luma, 0..1
    middle: float  # median
    bright: float  # 98th percentile
    thumbs: NDArray[Any]  # (n, 3) uint8 pixels of the kept frames

    def palette(self, size: int, colourful: float = 1.0) -> NDArray[np.float32]:
        """``size`` colours of the clip, (size, 3) CIELAB as OpenCV scales it, dark to bright.
        ``colourful`` above 1 finds small colourful things before shades of grey."""
        import cv2

        lab = cv2.cvtColor(self.thumbs[None], cv2.COLOR_RGB2LAB)[0].astype(np.float32)
        lab[:, 1:] = 128 + (lab[:, 1:] - 128) * colourful
        cv2.setRNGSeed(_PALETTE_SEED)
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.3)
        labels = np.zeros((len(lab), 1), np.int32)
        size = min(size, len(np.unique(lab, axis=0)))
        _, _, centres = cv2.kmeans(lab, size, labels, stop, 2, cv2.KMEANS_PP_CENTERS)
        found = np.asarray(centres, np.float32)
        found[:, 1:] = 128 + (found[:, 1:] - 128) / colourful
        return found[np.argsort(found[:, 0])]


def survey(
    frames: Iterable[Frame], count: int | None, progress: Progress, cancelled: Cancelled
) -> Clip:
    """Reads the clip once. Raises MissingStream where there is no frame."""
    import cv2

    step, kept = max(1, (count or 0) // _KEPT), []
    for index, frame in enumerate(frames):
        if cancelled():
            raise Stopped("stylize was asked to stop while it read the clip.")
        if index % step == 0:
            scale = _THUMB / max(frame.shape[:2])
            size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
            kept.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA).reshape(-1, 3))
            if len(kept) > 2 * _KEPT:  # the length was not known beforehand
                kept, step = kept[::2], step * 2
        progress(0.02 + 0.08 * min(1.0, index / max(1, count or 600)), "colours")
    if not kept:
        raise MissingStream("The video has no frame that can be decoded.")
    pixels = np.concatenate(kept)
    luma = (pixels @ np.array([0.299, 0.587, 0.114])) / 255
    dark, middle, bright = (float(v) for v in np.quantile(luma, [0.02, 0.5, 0.98]))
    return Clip(dark, middle, max(bright, dark + 0.1), np.ascontiguousarray(pixels))


NEUTRAL = Clip(0.02, 0.45, 0.95, np.zeros((1, 3), np.uint8))
