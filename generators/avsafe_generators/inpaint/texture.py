"""Grain for a fill that would be too smooth: fine detail copied from the surroundings.

Patches of the picture's detail (the picture less its own blur) are laid into the hole one by one,
each from where the surroundings fit best: like the blurred fill in colour, like what lies beside it
already in detail. After Efros and Freeman, "Image quilting for texture synthesis and transfer"
(2001), with feathered seams.

Legend: ``h`` ``w`` pixels; values float32 in 0..255, holes bool, True inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from avsafe_generators.inpaint.fill import F32, Hole

PATCH = 28  # pixels
OVERLAP = 10
SIGMA = 5.0  # pixels: finer than this is detail
REACH = 200  # pixels around the hole that are searched
_COLOUR = 0.35  # weight of the blurred colours beside that of the detail already laid
_STEP = 2  # pixels between the places of a source that are tried


def grain(picture: F32, fill: F32, hole: Hole) -> F32:
    """Detail (h, w, 3) to be added to ``fill`` inside ``hole``; zero outside, and where nothing of
    the surroundings is large enough to copy from.

    Args:
        picture: (h, w, 3) with anything in the hole. fill: the same with the hole filled.
    """
    import cv2

    out = np.zeros_like(picture)
    ys, xs = np.nonzero(hole)
    if not len(ys):
        return out
    height, width = hole.shape
    top, bottom = max(0, ys.min() - REACH), min(height, ys.max() + 1 + REACH)
    left, right = max(0, xs.min() - REACH), min(width, xs.max() + 1 + REACH)
    whole = np.where(hole[..., None], fill, picture)[top:bottom, left:right]
    inside = hole[top:bottom, left:right]
    blurred: Any = cv2.GaussianBlur(whole, (0, 0), SIGMA)
    detail = np.where(inside[..., None], 0.0, whole - blurred).astype(np.float32)
    near: Any = cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8))
    detail[near > 0] *= ~inside[near > 0][:, None]
    # a patch may come from where all of it is known
    sources: Any = cv2.erode(
        (near == 0).astype(np.uint8), np.ones((PATCH, PATCH), np.uint8), anchor=(0, 0),
        borderType=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    usable = sources[: inside.shape[0] - PATCH + 1, : inside.shape[1] - PATCH + 1][::_STEP, ::_STEP]
    if min(inside.shape) <= PATCH or not usable.any():
        return out
    laid = (~inside).astype(np.float32)
    ramp = np.minimum(np.arange(PATCH) + 1, np.arange(PATCH)[::-1] + 1) / OVERLAP
    window = np.minimum(1.0, ramp).astype(np.float32)
    feather = np.minimum.outer(window, window)
    stack = np.concatenate([detail, blurred], axis=2).astype(np.float32)
    for y, x in _places(inside):
        block = (slice(y, y + PATCH), slice(x, x + PATCH))
        if not inside[block].any():
            continue
        cost = _cost(stack, laid, block)
        cost = np.where(usable > 0, cost, np.inf)
        sy, sx = (int(i) * _STEP for i in np.unravel_index(int(np.argmin(cost)), cost.shape))
        source = detail[sy : sy + PATCH, sx : sx + PATCH]
        share = np.where(inside[block], np.maximum(feather, laid[block] < 0.02), 0.0)[..., None]
        # the energy of two unrelated details mixed is less than that of either: make up for it
        norm = np.sqrt(share * share + (1 - share) ** 2)
        stack[block][..., :3] = ((1 - share) * stack[block][..., :3] + share * source) / norm
        laid[block] = np.maximum(laid[block], share[..., 0])
    found = np.where(inside[..., None], stack[..., :3], 0.0)
    out[top:bottom, left:right] = found
    return out


def _places(inside: Hole) -> list[tuple[int, int]]:
    """Upper left corners of the patches, row by row."""
    ys, xs = np.nonzero(inside)
    step = PATCH - OVERLAP
    rows = range(max(0, ys.min() - OVERLAP // 2), int(ys.max()) + 1, step)
    columns = range(max(0, xs.min() - OVERLAP // 2), int(xs.max()) + 1, step)
    height, width = inside.shape
    return [(min(y, height - PATCH), min(x, width - PATCH)) for y in rows for x in columns]


def _cost(stack: F32, laid: F32, block: tuple[slice, slice]) -> F32:
    """Squared difference of the block to every place, on a grid of ``_STEP`` pixels."""
    import cv2

    template = np.ascontiguousarray(stack[block])
    known = laid[block]
    total: Any = 0.0
    for channels, weight in ((slice(0, 3), known), (slice(3, 6), np.full_like(known, _COLOUR))):
        mask = np.ascontiguousarray(np.repeat(weight[..., None], 3, axis=2))
        total = total + cv2.matchTemplate(
            np.ascontiguousarray(stack[..., channels]),
            np.ascontiguousarray(template[..., channels]),
            cv2.TM_SQDIFF, mask=mask,
        )  # fmt: skip
    return np.asarray(total[::_STEP, ::_STEP], np.float32)
