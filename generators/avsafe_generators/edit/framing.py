"""Edits of the frame: crop, zoom, turn, steady, and text on top; masks go along."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import UsageError
from avsafe_generators.edit import lettering
from avsafe_generators.edit.clip import Clip, Pair
from avsafe_generators.edit.regions import PAINTS

_LEAST = 64  # pixels: sides below are too small for what comes after
_STEADY_S = 0.8  # s: shakes shorter than this go
_ZOOM = 1.08  # how much a steadied clip is enlarged, so that its borders stay outside


def each(
    clip: Clip, change: Callable[[NDArray[Any]], NDArray[Any]], width: int, height: int
) -> Clip:
    """A clip whose every frame and mask is changed the same way."""

    def pairs() -> Iterator[Pair]:
        for frame, mask in clip.pairs():
            yield (
                np.ascontiguousarray(change(frame)),
                None if mask is None else np.ascontiguousarray(change(mask)),
            )

    return replace(clip, pairs=pairs, width=width, height=height)


def crop(clip: Clip, shape: str) -> Clip:
    """To a ratio (centred), a half, the middle half, or the box of the mask in the first frame."""
    width, height = clip.width, clip.height
    x, y, w, h = 0, 0, width, height
    ratio = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", shape)
    if ratio:
        across, down = float(ratio.group(1)), float(ratio.group(2))
        if not 0.1 <= across / max(down, 1e-9) <= 10:
            raise UsageError(f"A crop to {shape} is too narrow; ratios go from 1:10 to 10:1.")
        w, h = min(width, round(height * across / down)), min(height, round(width * down / across))
        x, y = (width - w) // 2, (height - h) // 2
    elif shape == "mask":
        mask = next(clip.pairs())[1]
        if mask is None:
            raise UsageError("To crop to the mask, pass --mask (box, picture or video).")
        ys, xs = np.nonzero(mask > 0.5)
        if not len(xs):
            raise UsageError("The mask is empty in the first frame; there is nothing to crop to.")
        x, y = int(xs.min()), int(ys.min())
        w, h = int(xs.max()) + 1 - x, int(ys.max()) + 1 - y
    else:
        x, y, w, h = {
            "left half": (0, 0, width // 2, height),
            "right half": (width - width // 2, 0, width // 2, height),
            "top half": (0, 0, width, height // 2),
            "bottom half": (0, height - height // 2, width, height // 2),
            "centre": (width // 4, height // 4, width // 2, height // 2),
        }[shape]
    w, h = w // 2 * 2, h // 2 * 2
    if min(w, h) < _LEAST:
        raise UsageError(
            f"The crop would leave {w} x {h} pixels of {width} x {height}; at least {_LEAST} on a "
            "side must stay. Crop less, or pass larger footage."
        )
    return each(clip, lambda picture: picture[y : y + h, x : x + w], w, h)


def rotate(clip: Clip, degrees: int) -> Clip:
    """Clockwise by 90, 180 or 270 degrees."""
    turns = -(degrees // 90) % 4
    width, height = (clip.height, clip.width) if degrees % 180 else (clip.width, clip.height)
    return each(clip, lambda picture: np.rot90(picture, turns), width, height)


def flip(clip: Clip, axis: str) -> Clip:
    """Left and right swapped (horizontal), or top and bottom."""
    way = 1 if axis == "horizontal" else 0
    return each(clip, lambda picture: np.flip(picture, way), clip.width, clip.height)


def zoom(clip: Clip, factor: float) -> Clip:
    """The middle enlarged to the whole frame."""
    import cv2

    w, h = max(2, round(clip.width / factor)), max(2, round(clip.height / factor))
    x, y = (clip.width - w) // 2, (clip.height - h) // 2
    size = (clip.width, clip.height)

    def change(picture: NDArray[Any]) -> NDArray[Any]:
        part = np.ascontiguousarray(picture[y : y + h, x : x + w])
        out: NDArray[Any] = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
        return np.clip(out, 0, 1) if picture.ndim == 2 else out

    return each(clip, change, clip.width, clip.height)


def stabilise(clip: Clip) -> Clip:
    """Shakes taken out: the camera's path is measured in a first pass and smoothed over 0.8 s; the
    frame is enlarged by 8 %, so small gaps stay outside it, and larger ones are mirrored."""
    import cv2

    @cache
    def path() -> NDArray[np.float64]:
        return _camera_path(clip)

    def pairs() -> Iterator[Pair]:
        from scipy.ndimage import gaussian_filter1d

        walked = path()
        sigma = _STEADY_S * float(clip.rate) / 2
        wanted = gaussian_filter1d(walked, sigma, axis=0, mode="nearest")
        size = (clip.width, clip.height)
        cx, cy = clip.width / 2, clip.height / 2
        for (frame, mask), here, there in zip(clip.pairs(), walked, wanted, strict=False):
            dx, dy, turn, grow = there - here
            scale = _ZOOM * np.exp(grow)
            cos, sin = scale * np.cos(turn), scale * np.sin(turn)
            matrix = np.array(
                [
                    [cos, -sin, cx - cos * cx + sin * cy + dx],
                    [sin, cos, cy - sin * cx - cos * cy + dy],
                ]
            )
            border = cv2.BORDER_REFLECT_101
            moved: Any = cv2.warpAffine(
                frame, matrix, size, flags=cv2.INTER_CUBIC, borderMode=border
            )
            kept: Any = (
                None if mask is None else cv2.warpAffine(mask, matrix, size, borderMode=border)
            )
            yield moved, kept

    return replace(clip, pairs=pairs)


def _camera_path(clip: Clip) -> NDArray[np.float64]:
    """(t, 4): x, y (pixels, of the middle), turn (radians), log scale, summed since the start."""
    import cv2

    scale = min(1.0, 480 / max(clip.width, clip.height))
    size = (max(16, round(clip.width * scale)), max(16, round(clip.height * scale)))
    middle = np.array([clip.width / 2, clip.height / 2])
    steps = [np.zeros(4)]
    last: Any = None
    for frame, _ in clip.pairs():
        grey = cv2.resize(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA
        )
        if last is not None:
            step = np.zeros(4)
            points: Any = cv2.goodFeaturesToTrack(last, 250, 0.01, 8)
            if points is not None and len(points) >= 8:
                tracker: Any = cv2.calcOpticalFlowPyrLK
                moved, found, _ = tracker(last, grey, points, None)
                keep = found.ravel() == 1
                matrix = None
                if keep.sum() >= 8:
                    matrix, _ = cv2.estimateAffinePartial2D(
                        points[keep] / scale, moved[keep] / scale, ransacReprojThreshold=2.0
                    )
                if matrix is not None:
                    shift = matrix[:, :2] @ middle + matrix[:, 2] - middle
                    grow = float(np.clip(np.hypot(matrix[0, 0], matrix[1, 0]), 0.8, 1.25))
                    step[:] = *shift, np.arctan2(matrix[1, 0], matrix[0, 0]), np.log(grow)
            steps.append(step)
        last = grey
    return np.cumsum(steps, 0)


def text(
    clip: Clip, text: str, where: str = "bottom", colour: str = "white", size: str = "medium"
) -> Clip:
    """Words drawn over every frame, with a dark rim; nothing else of the frame changes.

    The font is ``lettering``'s; words that are too wide get smaller. Raises UsageError for letters
    that it has not and for a text that does not fit.
    """
    share = {"small": 0.05, "medium": 0.08, "large": 0.13}[size]
    letters, alpha, (top, left) = lettering.placed(
        text, clip.width, clip.height, max(10, round(share * clip.height)), where,
        (255, 255, 255) if colour == "white" else PAINTS[colour],
    )  # fmt: skip
    part = (slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1]))
    shown = alpha > 0

    def pairs() -> Iterator[Pair]:
        for frame, mask in clip.pairs():
            out = frame.copy()
            under = out[part]
            mixed = (under + alpha * (letters - under) + 0.5).astype(np.uint8)
            out[part] = np.where(shown, mixed, under)
            yield out, mask

    return replace(clip, pairs=pairs)
