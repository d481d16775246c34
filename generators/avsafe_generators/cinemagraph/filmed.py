"""A region of a video that loops, the rest frozen: alignment, the best cut, the crossfade.

Three passes over the footage, none of which holds it in memory. The cut is chosen as in Schödl et
al., "Video textures" (SIGGRAPH 2000): the two moments whose neighbourhoods look most alike.

Legend: ``n`` frames, a frame ``(h, w, 3)`` uint8, an alignment ``(2, 3)`` from a frame to frame 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Cancelled as Stopped
from avsafe.errors import UsageError
from avsafe.types import Cancelled, Frame, Progress
from avsafe_generators.cinemagraph import fields
from avsafe_generators.cinemagraph.ambient import contrast_kept

_SMALL = 320  # pixels of the longer side for the alignment
_LOOK = 64  # pixels of the longer side of the region for the comparison
_AROUND = 2  # frames before and after a cut that must look alike, too

Alignment = NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """What the first pass measured of every frame."""

    alignments: list[Alignment]  # to frame 0, in pixels of the footage
    looks: NDArray[np.float32]  # (n, p) the region, small, aligned
    light: NDArray[np.float64]  # (n,) mean of what is outside the region

    @property
    def shake_px(self) -> float:
        return max(float(np.hypot(a[0, 2], a[1, 2])) for a in self.alignments)


@dataclass(frozen=True)
class Cut:
    """Frames ``start`` to ``stop - 1`` are one loop; the last ``fade`` blend into those before
    ``start``."""

    start: int
    stop: int
    fade: int
    seam_ratio: float  # jump at the seam against a usual step, on the small looks

    @property
    def count(self) -> int:
        return self.stop - self.start


def survey(
    frames: Iterable[Frame], mask: fields.Field, count: int | None,
    progress: Progress, cancelled: Cancelled,
) -> Survey:  # fmt: skip
    import cv2

    h, w = mask.shape
    scale = min(1.0, _SMALL / max(h, w))
    size = (max(16, round(w * scale)), max(16, round(h * scale)))
    still = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) < 0.02).astype(np.uint8)
    ys, xs = np.nonzero(mask > 0.5)
    box = (slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1))
    part = mask[box]
    look = _LOOK / max(part.shape)
    look_size = (max(4, round(part.shape[1] * look)), max(4, round(part.shape[0] * look)))
    weight = cv2.resize(part, look_size, interpolation=cv2.INTER_AREA)
    alignments: list[Alignment] = []
    looks: list[NDArray[Any]] = []
    light: list[float] = []
    first: NDArray[Any] | None = None
    points: NDArray[Any] | None = None
    for index, frame in enumerate(frames):
        if cancelled():
            raise Stopped("The search for a loop was asked to stop.")
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        if first is None:
            first = grey
            points = cv2.goodFeaturesToTrack(grey, 300, 0.01, 5, mask=still)
        alignment = _align(grey, first, points, scale)
        alignments.append(alignment)
        aligned = (
            frame
            if np.array_equal(alignment, np.eye(2, 3))
            else cv2.warpAffine(frame, alignment, (w, h), borderMode=cv2.BORDER_REPLICATE)
        )
        tiny = cv2.resize(aligned[box], look_size, interpolation=cv2.INTER_AREA)
        looks.append((tiny.astype(np.float32) * weight[..., None]).ravel())
        light.append(float(grey[still > 0].mean()) if still.any() else 1.0)
        progress(0.02 + 0.38 * min(1.0, index / max(1, count or 250)), "reading")
    if len(looks) < 8:
        raise UsageError(
            f"The video has {len(looks)} frames; a loop needs 8 at least. Pass a longer one, or a "
            "picture."
        )
    return Survey(alignments, np.stack(looks).astype(np.float32), np.maximum(light, 1.0))


def _align(
    grey: NDArray[Any], first: NDArray[Any], points: NDArray[Any] | None, scale: float
) -> Alignment:
    """Where the still part of a frame lies in frame 0; the identity for a camera on a tripod."""
    import cv2

    nothing = np.eye(2, 3)
    if points is None or len(points) < 8:
        return nothing
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, grey, points, points.copy())
    good = found.ravel() > 0
    if int(good.sum()) < 8:
        return nothing
    cv2.setRNGSeed(7)
    matrix, inliers = cv2.estimateAffinePartial2D(moved[good], points[good])
    if matrix is None or int(inliers.sum()) < 8:
        return nothing
    corner = np.array([[0, 0, 1], [grey.shape[1], grey.shape[0], 1]], np.float64)
    if np.abs(corner @ matrix.T - corner[:, :2]).max() < 0.35:
        return nothing
    out: Alignment = np.array(matrix, np.float64)
    out[:, 2] /= scale
    return out


def cut(found: Survey, rate: float, longest_s: float, shortest_s: float) -> Cut:
    """The loop whose ends look most alike; among equals the longer one.

    Raises UsageError when the video is too short for a loop of ``shortest_s``.
    """
    looks = found.looks
    n = len(looks)
    fade = max(2, min(round(0.4 * rate), n // 5))
    low, high = max(2 * fade, round(shortest_s * rate)), round(longest_s * rate)
    high = min(high, n - fade - _AROUND)
    if high < low:
        raise UsageError(
            f"The video has {n} frames; a loop of {shortest_s:g} s needs {low + fade + _AROUND}. "
            "Pass a longer video, or ask for a shorter --duration."
        )
    power = (looks.astype(np.float64) ** 2).sum(axis=1)
    apart = power[:, None] + power[None] - 2.0 * (looks @ looks.T).astype(np.float64)
    apart = np.maximum(apart, 0.0) / looks.shape[1]
    step = float(np.median(np.diagonal(apart, 1))) + 1e-6
    near = np.full((n, n), np.inf)
    a = _AROUND
    inner = sum(apart[a + k : n - a + k, a + k : n - a + k] for k in range(-a, a + 1))
    near[a : n - a, a : n - a] = np.asarray(inner) / (2 * a + 1)
    starts = np.arange(n)[:, None]
    lengths = np.arange(n)[None] - starts
    allowed = (starts >= fade) & (lengths >= low) & (lengths <= high)
    cost = np.where(allowed, near / step + 0.6 * (high - lengths) / max(1, high), np.inf)
    start, stop = (int(v) for v in np.unravel_index(int(np.argmin(cost)), cost.shape))
    shown = looks[start:stop].copy()
    for k in range(fade):
        share = (k + 1) / (fade + 1)
        at = stop - start - fade + k
        shown[at] = (1 - share) * shown[at] + share * looks[start - fade + k]
    steps = np.sqrt(np.mean(np.diff(shown, axis=0) ** 2, axis=1))
    seam = math.sqrt(float(np.mean((shown[0] - shown[-1]) ** 2)))
    return Cut(start, stop, fade, seam / max(1e-6, float(np.median(steps))))


def loop(
    frames: Iterable[Frame], mask: fields.Field, found: Survey, chosen: Cut, feather: float,
    cancelled: Cancelled,
) -> Iterator[Frame]:  # fmt: skip
    """The frames of one loop. Outside the mask every one has the pixels of frame ``start``."""
    import cv2

    h, w = mask.shape
    opacity = fields.soft(mask, feather * math.hypot(h, w))
    ys, xs = np.nonzero(opacity > 0)
    box = (slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1))
    alpha = opacity[box][..., None]
    still: Frame | None = None
    before: list[NDArray[Any]] = []  # the frames that the end fades into
    to_start = _square(found.alignments[chosen.start])
    ones = np.ones((h, w), np.float32)

    def patch(index: int, frame: Frame) -> tuple[NDArray[Any], NDArray[Any]]:
        """The region of a frame as frame ``start`` would show it, and how far it is valid."""
        matrix = (np.linalg.inv(to_start) @ _square(found.alignments[index]))[:2]
        gain = np.clip(found.light[chosen.start] / found.light[index], 0.9, 1.1)
        if np.allclose(matrix, np.eye(2, 3), atol=1e-3):
            return frame[box].astype(np.float32) * np.float32(gain), alpha
        moved = cv2.warpAffine(
            frame, matrix, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        valid = cv2.warpAffine(ones, matrix, (w, h), flags=cv2.INTER_LINEAR)
        sure = np.clip(valid[box] * 4 - 3, 0, 1)[..., None]
        return moved[box].astype(np.float32) * np.float32(gain), alpha * sure

    # the first frame of the loop comes after those that its end fades into: find it first
    for index, frame in enumerate(frames):
        if cancelled():
            raise Stopped("The cinemagraph was asked to stop.")
        if index == chosen.start:
            still = frame.copy()
            break
    assert still is not None  # noqa: S101  the survey saw this frame
    for index, frame in enumerate(frames):
        if cancelled():
            raise Stopped("The cinemagraph was asked to stop.")
        if index >= chosen.stop:
            break
        if index < chosen.start - chosen.fade:
            continue
        now, weight = patch(index, frame)
        base = still[box].astype(np.float32)
        now = np.clip(base + (now - base) * weight, 0, 255)
        if index < chosen.start:
            before.append(now.astype(np.uint8))
            continue
        back = index - (chosen.stop - chosen.fade)
        if back >= 0:
            share = (back + 1) / (chosen.fade + 1)
            one, other = np.rint(now).astype(np.uint8), before[back]
            first = np.full(one.shape[:2], 1 - share, np.float32)
            mixed = cv2.blendLinear(one, other, first, 1 - first)
            kept = contrast_kept(mixed, [one, other], [first, 1 - first])
            # the contrast is given back inside; at the edge the blend must stay the still picture
            now = mixed + (kept - mixed) * alpha
        out = still.copy()
        out[box] = np.clip(np.rint(now), 0, 255).astype(np.uint8)
        out[box][alpha[..., 0] == 0] = still[box][alpha[..., 0] == 0]
        yield out


def _square(matrix: Alignment) -> NDArray[np.float64]:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])
