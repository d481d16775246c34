"""What the pixels of a face look like, region by region: detail at three scales, noise, colour, and
how much of the finest detail stays from one frame to the next.

Legend: ``k`` looks, ``r`` regions, ``f`` figures; a patch is (h, w) float32. A region of a look is
a pair of boxes at the same place in two frames that follow each other.

A mouth that another program drew has passed through another chain than the skin around it: smaller
pictures, other noise, other compression. So what counts is the difference between regions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces import Landmarks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

    F32 = NDArray[np.float32]

REGIONS = ("mouth", "jaw", "upper", "around")
FIGURES = (
    *("level", "spread", "fine", "middle", "coarse", "noise", "blue", "red", "colour", "stays"),
)  # fmt: skip
TOP_EYES = 64.0  # px between the eyes; larger faces are shrunk to that: one scale, bounded cost
LEAST_SIDE = 8  # px of a patch
LONGEST = 400  # looks


class Regions:
    """Feed frames with a face; every first of a pair opens a look, the next frame closes it."""

    def __init__(self) -> None:
        self._open: tuple[Landmarks, int, list[list[F32]]] | None = None
        self._rows: list[F32] = []
        self._at: list[int] = []

    def take(self, frame: Frame, face: Landmarks, number: int, *, first: bool) -> bool:
        """A frame; ``first`` asks for a new look. True when one was opened."""
        if self._open is not None:
            where, at, before = self._open
            after = [_planes(patch) for patch in patches(frame, where)]
            self._rows.append(np.stack([figures(a, b) for a, b in zip(before, after, strict=True)]))
            self._at.append(at)
            self._open = None
        if first and len(self._rows) < LONGEST:
            self._open = (face, number, [_planes(patch) for patch in patches(frame, face)])
            return True
        return False

    def skip(self) -> None:
        """A frame without a face, or of another scene."""
        self._open = None

    def whole(self) -> tuple[F32, NDArray[np.int32]]:
        """(k, r, f) NaN where a region has no pixels, and the frames (k,) of the looks."""
        none = np.zeros((0, len(REGIONS), len(FIGURES)), np.float32)
        rows = np.stack(self._rows).astype(np.float32) if self._rows else none
        return rows, np.array(self._at, np.int32)


def boxes(face: Landmarks) -> dict[str, list[tuple[float, float, float, float]]]:
    """x0, y0, x1, y1 of each region's boxes, in px of the frame."""
    eyes = face.interocular
    lips, oval = face.group("lips_outer"), face.group("oval")
    (mx0, my0), (mx1, my1) = lips.min(0), lips.max(0)
    my0, my1 = my0 - 0.12 * eyes, my1 + 0.12 * eyes
    mx0, mx1 = mx0 - 0.10 * eyes, mx1 + 0.10 * eyes
    (ox0, oy0), (ox1, oy1) = oval.min(0), oval.max(0)
    both = np.concatenate([face.group(n) for n in ("left_eye", "right_eye", "nose_bridge")])
    (ux0, uy0), (ux1, uy1) = both.min(0), both.max(0)
    wide = 0.5 * eyes
    return {
        "mouth": [(mx0, my0, mx1, my1)],
        "jaw": [(ox0 + 0.1 * eyes, my0 - 0.3 * eyes, mx0, my1),
                (mx1, my0 - 0.3 * eyes, ox1 - 0.1 * eyes, my1)],
        "upper": [(ux0, uy0 - 0.15 * eyes, ux1, uy1)],
        "around": [(ox0 - wide - 0.25 * eyes, oy0, ox0 - 0.25 * eyes, oy1),
                   (ox1 + 0.25 * eyes, oy0, ox1 + wide + 0.25 * eyes, oy1)],
    }  # fmt: skip


def patches(frame: Frame, face: Landmarks) -> list[list[NDArray[np.uint8]]]:
    """The pixels (h, w, 3) of each region, where it lies in the frame and is large enough."""
    import cv2

    height, width = frame.shape[:2]
    shrink = min(1.0, TOP_EYES / max(1.0, face.interocular))
    found = []
    for wanted in boxes(face).values():
        own = []
        for x0, y0, x1, y1 in wanted:
            a, b = int(np.clip(round(x0), 0, width)), int(np.clip(round(x1), 0, width))
            c, d = int(np.clip(round(y0), 0, height)), int(np.clip(round(y1), 0, height))
            small_w, small_h = round((b - a) * shrink), round((d - c) * shrink)
            if min(small_w, small_h) < LEAST_SIDE:
                continue
            part: Any = np.ascontiguousarray(frame[c:d, a:b])
            if shrink < 1:
                part = cv2.resize(part, (small_w, small_h), interpolation=cv2.INTER_AREA)
            own.append(np.asarray(part, np.uint8))
        found.append(own)
    return found


def _planes(own: list[NDArray[np.uint8]]) -> list[F32]:
    """Luma, and the two differences of colour (JFIF), of each patch: (3, h, w)."""
    out = []
    for patch in own:
        r, g, b = np.moveaxis(patch.astype(np.float32), -1, 0)
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        out.append(np.stack([luma, (b - luma) * 0.564, (r - luma) * 0.713]))
    return out


def figures(before: list[F32], after: list[F32]) -> F32:
    """(f,) of one region: means over its patches, NaN without one.

    ``fine``, ``middle``, ``coarse`` are logarithms of the power of diagonal and upright detail of
    2, 4 and 8 px (Haar); ``noise`` of the median of the finest; ``stays`` the correlation of the
    finest detail with that of the next frame at the same place.
    """
    rows = [_figures(a, b) for a, b in zip(before, after, strict=False) if a.shape == b.shape]
    if not rows:
        return np.full(len(FIGURES), np.nan, np.float32)
    return np.asarray(np.mean(rows, axis=0), np.float32)


def _figures(a: F32, b: F32) -> list[float]:
    luma = a[0]
    diagonal, upright, rest = haar(luma)
    scales = [_log(np.square(upright).mean())]
    for _ in range(2):
        _, more, rest = haar(rest)
        scales.append(_log(np.square(more).mean()) if more.size else scales[-1])
    later, _, _ = haar(b[0])
    colour = _log(np.mean([np.square(haar(plane)[1]).mean() for plane in a[1:]]))
    return [
        float(luma.mean()), float(luma.std()), *scales,
        _log(np.median(np.abs(diagonal)) ** 2), float(a[1].mean()), float(a[2].mean()), colour,
        _correlation(diagonal, later),
    ]  # fmt: skip


def haar(x: F32) -> tuple[F32, F32, F32]:
    """Diagonal detail, upright detail (both directions, (2, ...)) and means of 2 x 2 pixels.

    >>> [float(v.sum()) for v in haar(np.ones((2, 2), np.float32))]
    [0.0, 0.0, 1.0]
    """
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    p, q, r, s = x[:h:2, :w:2], x[:h:2, 1:w:2], x[1:h:2, :w:2], x[1:h:2, 1:w:2]
    upright = np.stack([p - q + r - s, p + q - r - s]) / 2
    diagonal, rest = (p - q - r + s) / 2, (p + q + r + s) / 4
    return (
        np.asarray(diagonal, np.float32),
        upright.astype(np.float32),
        np.asarray(rest, np.float32),
    )


def _log(power: Any) -> float:
    return math.log(float(power) + 0.01)


def _correlation(a: F32, b: F32) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / power if power > 1e-6 else 0.0
