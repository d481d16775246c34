"""Smooth fills of a hole in one picture, and the fills that show that something was hidden.

Legend: ``h`` ``w`` pixels, ``c`` channels; values float32 in 0..255, holes bool, True inside.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Frame

F32 = NDArray[np.float32]
Hole = NDArray[np.bool_]

_COARSEST = 3  # pixels: the pyramid stops where a side is no longer than this
_SETTLE = 24  # rounds of averaging after the pyramid: takes away its blocks
_THICK = 6.0  # pixels to the edge: thinner holes have no room for more than the membrane
_TELEA_SIDE = 240  # pixels: the longer side at which edges are carried on
_CELLS = 12  # a pixelated hole is about this many cells across


def spread(values: F32, weight: F32, settle: int = 0) -> F32:
    """Known values spread smoothly over what is not known: a pyramid down, and back up.

    ``values`` (h, w, c), ``weight`` (h, w) in 0..1, 0 where a value is not known. Where the weight
    is 1 the value stays; where it is 0 it is a smooth mean of what lies around (the push-pull
    interpolation of Gortler et al., "The Lumigraph", 1996, section 3.4). ``settle`` rounds of
    averaging bring the unknown part close to the membrane (Laplace's equation).

    >>> import numpy as np
    >>> line = np.zeros((1, 5, 1), np.float32); line[0, 4] = 8.0
    >>> weight = np.array([[1, 0, 0, 0, 1]], np.float32)
    >>> bool((np.diff(spread(line, weight)[0, :, 0]) >= 0).all())
    True
    """
    import cv2

    height, width = weight.shape
    known = np.clip(weight, 0, 1)
    levels: list[tuple[F32, F32]] = [(values * known[..., None], known)]
    while min(levels[-1][1].shape) > _COARSEST or max(levels[-1][1].shape) > 4 * _COARSEST:
        total, seen = levels[-1]
        if max(seen.shape) <= 2:
            break
        smaller: Any = cv2.pyrDown(seen)
        levels.append((_channels(cv2.pyrDown(total), values.shape[2]), smaller))
    total, seen = levels[-1]
    mean = (total.sum((0, 1)) / max(float(seen.sum()), 1e-6)).astype(np.float32)
    filled = np.broadcast_to(mean, total.shape).astype(np.float32)
    for total, seen in reversed(levels):
        rows, columns = seen.shape
        if filled.shape[:2] != (rows, columns):
            filled = _channels(
                cv2.resize(filled, (columns, rows), interpolation=cv2.INTER_LINEAR), values.shape[2]
            )
        own = total / np.maximum(seen, 1e-4)[..., None]
        # a level that has seen a quarter of its surroundings trusts itself
        trust = np.clip(seen * 4.0 if rows != height or columns != width else seen, 0, 1)[..., None]
        filled = filled + trust * (own - filled)
    unknown = (known <= 0)[..., None]
    for _ in range(settle):
        around = _channels(cv2.blur(filled, (3, 3)), values.shape[2])
        filled = np.where(unknown, around, filled)
    return cast(F32, filled.astype(np.float32))


def smooth(picture: F32, hole: Hole) -> F32:
    """A picture (h, w, 3) with its hole filled by the membrane through the hole's edge."""
    return spread(picture, (~hole).astype(np.float32), settle=_SETTLE)


def continued(picture: F32, hole: Hole) -> F32:
    """The membrane, and in thick holes half of it the edges of the surroundings carried on
    (Telea, "An image inpainting technique based on the fast marching method", 2004).

    The mean of the two errs less than either: one blurs, the other guesses.
    """
    import cv2

    soft = smooth(picture, hole)
    depth = cv2.distanceTransform(np.pad(hole, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    if float(depth.max()) < _THICK:
        return soft
    scale = min(1.0, _TELEA_SIDE / max(hole.shape))
    size = (max(2, round(hole.shape[1] * scale)), max(2, round(hole.shape[0] * scale)))
    base = np.where(hole[..., None], soft, picture)  # nothing of the hole enters the small picture
    small = cv2.resize(np.clip(base, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(hole.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    drawn = cv2.inpaint(small, inside, 4, cv2.INPAINT_TELEA)
    drawn = cv2.resize(drawn, hole.shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    result = picture.copy()
    result[hole] = (0.5 * (soft + drawn))[hole]
    return result


def hidden(frame: Frame, hole: Hole, how: str, colour: tuple[int, int, int]) -> F32:
    """A frame (h, w, 3) whose hole is blurred, pixelated or painted: ``how`` blur, pixelate, color.

    Blurring and pixelating see only the hole's own pixels and their neighbours. The strength grows
    with the hole, so that a face or a number plate that fills it can't be read any more.
    """
    import cv2

    picture = frame.astype(np.float32)
    if not hole.any():
        return picture
    if how == "color":
        picture[hole] = colour
        return picture
    ys, xs = np.nonzero(hole)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    span = max(bottom - top, right - left)
    part = picture[top:bottom, left:right]
    if how == "pixelate":
        cell = max(2, round(span / _CELLS))
        rows, columns = -(-part.shape[0] // cell), -(-part.shape[1] // cell)
        small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
        hid = cv2.resize(small, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_NEAREST)
    else:
        sigma = max(3.0, span / 8)
        hid = cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    inside = hole[top:bottom, left:right]
    part[inside] = hid[inside]
    return picture


def _channels(array: Any, channels: int) -> F32:
    """OpenCV drops a last axis of one; put it back."""
    return cast(F32, array if array.ndim == 3 else array.reshape(*array.shape[:2], channels))
