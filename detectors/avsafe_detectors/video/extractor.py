"""The half of the video detector that runs in the sandbox: frames -> measures of windows.

Legend: ``n`` windows of 16 frames at 8 to 20 frames a second, ``d`` measures of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe_detectors.video.features import LENGTH, SIDE, moved, window_features

MAX_WINDOWS = 10  # spread evenly over a longer file
NEAR_RATE = 13.0  # frames a second that are looked at, about: 30 -> 15, 25 -> 12.5, 16 -> 16

WINDOWS = "windows"  # (n, d) float32
TIMES = "times"  # (n, 2) float64: first and last frame, seconds
MOVED = "moved"  # (n,) float64: mean change from frame to frame, grey levels
FACES = "faces"  # (n,) float64: height of the largest face by that of the square; -1: not looked
COUNTS = "counts"  # (4,) float64: frames fed, frames looked at, shorter side in pixels, step


class MotionExtractor:
    """A ``types.FeatureExtractor``. Memory: one window of pictures of 256 x 256."""

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._every = 1
        self._starts: list[int] | None = None  # of windows, in looked-at frames; None: all follow
        self._fed = self._looked = self._asked = 0
        self._side = 0
        self._frames: list[NDArray[np.uint8]] = []
        self._at: list[float] = []
        self._windows: list[NDArray[np.float32]] = []
        self._times: list[tuple[float, float]] = []
        self._moved: list[float] = []
        self._faces: list[float] = []

    def start(self, media: Media) -> None:
        rate = float(media.video.frame_rate or 0) if media.video else 0.0
        self._every = step(rate)
        if rate > 0 and media.duration_s:
            self._starts = starts(int(media.duration_s * rate / self._every))

    def wants(self, time_s: float) -> bool:
        """Whether ``frame`` shall be called for the next frame."""
        number = self._asked
        self._asked += 1
        if number % self._every or len(self._windows) >= MAX_WINDOWS:
            return False
        looked = number // self._every
        if self._starts is None:
            return True
        return any(s <= looked < s + LENGTH for s in self._starts)

    def frame(self, frame: Frame, time_s: float) -> None:
        self._fed += 1
        if len(self._windows) >= MAX_WINDOWS or min(frame.shape[:2]) < 2:
            return
        self._side = min(frame.shape[:2])
        self._frames.append(small(frame))
        self._at.append(time_s)
        self._looked += 1
        if len(self._frames) == LENGTH:
            window = np.stack(self._frames)
            self._windows.append(window_features(window)[0])
            self._times.append((self._at[0], self._at[-1]))
            self._moved.append(moved(window[:, ::4, ::4, 1]))
            self._faces.append(face_share(window[LENGTH // 2]))
            self._frames, self._at = [], []

    def samples(self, block: Samples, rate_hz: int) -> None:
        return

    def finish(self) -> Features:
        d = len(self._windows[0]) if self._windows else 0
        found: dict[str, NDArray[Any]] = {
            WINDOWS: np.array(self._windows, np.float32).reshape(len(self._windows), d),
            TIMES: np.array(self._times, np.float64).reshape(-1, 2),
            MOVED: np.array(self._moved, np.float64),
            FACES: np.array(self._faces, np.float64),
            COUNTS: np.array([self._asked or self._fed, self._looked, self._side, self._every],
                             np.float64),
        }  # fmt: skip
        return found


def step(rate: float) -> int:
    """Every how manieth frame is looked at.

    >>> [step(r) for r in (8, 16, 24, 25, 30, 60)]
    [1, 1, 2, 2, 2, 5]
    """
    return max(1, round(rate / NEAR_RATE))


def starts(looked: int) -> list[int] | None:
    """First frames of at most ``MAX_WINDOWS`` windows among ``looked`` frames.

    >>> starts(40), starts(1600)[:3]
    ([0, 16], [0, 176, 352])
    """
    if looked < LENGTH:
        return None  # the container may be wrong: take what comes
    if looked < LENGTH * (MAX_WINDOWS + 1):
        return [LENGTH * k for k in range(min(looked // LENGTH, MAX_WINDOWS))]
    gap = (looked - LENGTH) / (MAX_WINDOWS - 1)
    return [round(gap * k) for k in range(MAX_WINDOWS)]


def face_share(picture: NDArray[np.uint8]) -> float:
    """Height of the largest face by the picture's; -1 where the weights of the search lack."""
    from avsafe.errors import MissingExtra
    from avsafe.faces import detect

    try:
        found = detect(picture, max_side=SIDE)
    except MissingExtra:
        return -1.0
    return max((min(f.height / picture.shape[0], 1.0) for f in found), default=0.0)


def small(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The central square at 256 x 256: (h, w, 3) -> (256, 256, 3)."""
    import cv2

    h, w = frame.shape[:2]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    cut = frame[top : top + side, left : left + side]
    if side == SIDE:
        return np.array(cut, np.uint8)
    way = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=way), np.uint8)
