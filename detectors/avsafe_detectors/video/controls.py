"""Benign films made from filmed clips: what owners do to a film, and what stands for one.

Legend: frames are (h, w, 3) uint8 RGB, square.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = list[NDArray[np.uint8]]


def doubled(frames: Frames) -> Frames:
    """Every frame twice, as old films are shown."""
    return [f for f in frames for _ in (0, 1)][: len(frames)]


def slow(frames: Frames) -> Frames:
    """Half speed: the mean of two neighbours between them."""
    out = []
    for a, b in pairwise(frames):
        out += [a, ((a.astype(np.uint16) + b) // 2).astype(np.uint8)]
    return out[: len(frames)]


def time_lapse(frames: Frames) -> Frames:
    """Every second frame."""
    return frames[::2]


def ken_burns(frames: Frames) -> Frames:
    """A slow move over one frame."""
    import cv2

    still, n = frames[0], len(frames)
    side = still.shape[0]
    out = []
    for i in range(n):
        part, shift = 0.9 - 0.1 * i / n, 0.08 * i / n * side
        matrix = np.array([[part, 0, shift], [0, part, 0.4 * shift]], np.float32)
        way = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size, rim = (side, side), cv2.BORDER_REFLECT
        out.append(cv2.warpAffine(still, matrix, size, flags=way, borderMode=rim))
    return [np.asarray(f, np.uint8) for f in out]


def denoised(frames: Frames) -> Frames:
    """Edge-preserving smoothing in space, a running mean of noise in time."""
    import cv2

    out: Frames = []
    before: Any = None
    for f in frames:
        clean = cv2.bilateralFilter(f, 5, 18, 3).astype(np.float32)
        if before is not None:
            near = (np.abs(clean - before) < 6).all(-1, keepdims=True)
            clean = np.where(near, 0.6 * clean + 0.4 * before, clean)
        before = clean
        out.append(np.clip(np.rint(clean), 0, 255).astype(np.uint8))
    return out


def enlarged(frames: Frames) -> Frames:
    """From half the size."""
    import cv2

    side = frames[0].shape[0]
    small = [cv2.resize(f, (side // 2, side // 2), interpolation=cv2.INTER_AREA) for f in frames]
    return [np.asarray(cv2.resize(f, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
            for f in small]  # fmt: skip


def sharpened(frames: Frames) -> Frames:
    """As telephones do, with more colour."""
    import cv2

    out = []
    for f in frames:
        x = f.astype(np.float32)
        x = x + 0.8 * (x - cv2.GaussianBlur(x, (0, 0), 1.5))
        grey = x.mean(-1, keepdims=True)
        out.append(np.clip(grey + 1.25 * (x - grey), 0, 255).astype(np.uint8))
    return out


MADE: dict[str, Callable[[Frames], Frames]] = {
    "frame-doubled": doubled, "slow motion": slow, "time lapse": time_lapse,
    "ken burns": ken_burns, "denoised": denoised, "enlarged": enlarged, "sharpened": sharpened,
}  # fmt: skip
