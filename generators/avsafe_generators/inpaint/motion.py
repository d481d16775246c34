"""How the picture moves from one frame to the next, with the motion inside the hole guessed.

The hole is never looked at: it is filled smoothly before the flow is measured, and the flow inside
it is the camera's motion (a homography through the flow outside, RANSAC) plus what moves otherwise
around the hole, spread into it.

Legend: ``h`` ``w`` pixels of the frame, ``a`` ``b`` pixels of the smaller working picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Frame
from avsafe_generators.inpaint.fill import F32, Hole, spread

WORK_SIDE = 448  # pixels: the longer side of the working picture
_CUT = 40.0  # grey levels: mean error outside the hole above which the scene has changed
_GRID = 6  # working pixels between the points that the homography goes through
_FEWEST = 24  # points for a homography


@dataclass(frozen=True)
class Look:
    """A frame as the motion estimate sees it: (a, b) grey without the hole, and where it was."""

    grey: NDArray[np.uint8]
    hole: Hole
    scale: float  # working pixels in a pixel


@dataclass(frozen=True)
class Step:
    """Motion between frame ``t - 1`` and ``t``, (a, b, 2) in pixels of the frame: x, y.

    ``back`` leads from a pixel of ``t`` to where it was in ``t - 1``; ``fore`` the other way.
    """

    back: NDArray[np.float16]
    fore: NDArray[np.float16]
    scale: float
    cut: bool


def look(frame: Frame, hole: Hole) -> Look:
    """What of a frame (h, w, 3) the motion estimate may see, at the working size."""
    import cv2

    height, width = hole.shape
    scale = min(1.0, WORK_SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    seen = (~hole).astype(np.float32)
    # the mean of the seen pixels alone, so that nothing of the hole leaks into its edge
    total = cv2.resize(grey * seen, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    unseen = share < 0.25
    small: Any = total / np.maximum(share, 1e-3)
    if unseen.any():
        small = spread(small[..., None], (~unseen).astype(np.float32), settle=4)[..., 0]
    return Look(np.clip(small + 0.5, 0, 255).astype(np.uint8), unseen, scale)


def step(before: Look, after: Look) -> Step:
    """The motion between two neighbouring frames, both ways, completed inside the holes."""
    import cv2

    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    fore = flow.calc(before.grey, after.grey, None)
    back = flow.calc(after.grey, before.grey, None)
    holes = _grown(before.hole | after.hole)
    error = np.abs(carried(before.grey.astype(np.float32), back) - after.grey)
    cut = bool(error[~holes].mean() > _CUT) if (~holes).any() else True
    scale = 1.0 / before.scale
    return Step(
        (_completed(back, fore, _grown(after.hole)) * scale).astype(np.float16),
        (_completed(fore, back, _grown(before.hole)) * scale).astype(np.float16),
        before.scale,
        cut,
    )


def carried(picture: F32, flow: F32) -> F32:
    """A picture (a, b) or (a, b, c) looked up where the flow (a, b, 2) leads."""
    import cv2

    rows, columns = flow.shape[:2]
    xs, ys = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    return cast(
        F32,
        cv2.remap(
            picture, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
    )  # fmt: skip


def _completed(flow: F32, other: F32, hole: Hole) -> F32:
    """The flow, with the hole filled by the camera's motion and what moves around the hole."""
    if not hole.any():
        return flow
    there_and_back = np.hypot(*np.moveaxis(flow + carried(other, flow), -1, 0))
    good = ~hole & (there_and_back < 0.75)
    camera = _camera(flow, good)
    # what cannot be followed there and back says little of what goes on behind the hole
    weight = np.where(hole, 0.0, np.where(good, 1.0, 0.02)).astype(np.float32)
    rest = spread(flow - camera, weight)
    return cast(F32, np.where(hole[..., None], camera + rest, flow).astype(np.float32))


def _camera(flow: F32, good: Hole) -> F32:
    """The flow of a homography through the good flow; the mean shift where that is too little."""
    import cv2

    rows, columns = good.shape
    ys, xs = np.mgrid[_GRID // 2 : rows : _GRID, _GRID // 2 : columns : _GRID]
    keep = good[ys, xs]
    start = np.stack([xs[keep], ys[keep]], 1).astype(np.float32)
    moved = flow[ys[keep], xs[keep]]
    matrix: Any = None
    if len(start) >= _FEWEST:
        matrix, _ = cv2.findHomography(start, start + moved, cv2.RANSAC, 0.6, maxIters=500)
    if matrix is None:
        shift = np.median(moved, 0) if len(start) else np.zeros(2)
        return np.broadcast_to(shift.astype(np.float32), flow.shape).copy()
    grid_y, grid_x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    depth = matrix[2, 0] * grid_x + matrix[2, 1] * grid_y + matrix[2, 2]
    depth = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    new_x = (matrix[0, 0] * grid_x + matrix[0, 1] * grid_y + matrix[0, 2]) / depth
    new_y = (matrix[1, 0] * grid_x + matrix[1, 1] * grid_y + matrix[1, 2]) / depth
    limit = float(max(rows, columns))
    camera = np.stack([new_x - grid_x, new_y - grid_y], -1)
    return cast(F32, np.clip(camera, -limit, limit).astype(np.float32))


def _grown(hole: Hole) -> Hole:
    """The hole and two working pixels around it: the flow there still feels the hole's edge."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    return cast(Hole, cv2.dilate(hole.astype(np.uint8), kernel).astype(bool))
