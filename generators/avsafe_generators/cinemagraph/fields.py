"""Fields over a picture: soft edges of a mask, texture beyond its edge, noise, streaks.

Legend: a picture is ``(h, w, 3)`` uint8, a field ``(h, w)`` float32; angles in degrees, 0 to the
right and 90 down.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]  # uint8; Any, since OpenCV's annotations don't say which type comes out
Field = NDArray[Any]  # float32


def inside(mask: Field) -> Field:
    """Distance of each pixel of the mask to its edge, pixels. The frame's border is no edge."""
    import cv2

    solid = cv2.copyMakeBorder((mask > 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    if solid.all():
        return np.full(mask.shape, float(sum(mask.shape)), np.float32)
    # a pixel beside the edge has distance 1: begin at 0 there, so that the edge is soft
    out = cv2.distanceTransform(solid, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(np.maximum(out - 0.5, 0.0), np.float32)


def soft(mask: Field, width_px: float) -> Field:
    """Opacity of a mask that fades within ``width_px`` inside its edge and is 0 outside it."""
    share = np.clip(inside(mask) / max(1.0, width_px), 0.0, 1.0)
    out: Field = (share * share * (3 - 2 * share)).astype(np.float32)
    return out


def beyond(picture: Picture, known: NDArray[np.bool_]) -> Picture:
    """The picture with what isn't known filled by the known part mirrored at its edge, over a
    smooth ground: texture goes on beyond the edge."""
    import cv2

    if known.all() or not known.any():
        return picture
    h, w = known.shape
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ys, xs = np.nonzero(known)
    nearest = np.zeros((int(labels.max()) + 1, 2), np.float32)
    nearest[labels[ys, xs]] = np.stack([xs, ys], axis=1)
    edge = nearest[labels]  # (h, w, 2) the nearest known pixel
    gy, gx = np.mgrid[0:h, 0:w].astype(np.float32)
    map_x, map_y = 2 * edge[..., 0] - gx, 2 * edge[..., 1] - gy
    good = (map_x >= 0) & (map_x < w) & (map_y >= 0) & (map_y < h)
    xi, yi = np.clip(map_x, 0, w - 1).astype(np.int32), np.clip(map_y, 0, h - 1).astype(np.int32)
    good &= known[yi, xi]
    mirrored = np.where(good[..., None], picture[yi, xi], 0)
    ground = smooth_fill(picture, known)
    weight = good.astype(np.float32)
    weight = cv2.GaussianBlur(weight, (0, 0), 2.0) * weight
    # detail of the mirrored part, faded with the distance, over the smooth ground
    detail = mirrored.astype(np.float32) - smooth_fill(mirrored.astype(np.uint8), good | known)
    far = np.hypot(edge[..., 0] - gx, edge[..., 1] - gy)
    detail *= (weight * np.clip(1.6 - far / (0.12 * math.hypot(h, w)), 0.0, 1.0))[..., None]
    filled = np.clip(ground + detail, 0, 255).astype(np.uint8)
    return np.asarray(np.where(known[..., None], picture, filled), np.uint8)


def smooth_fill(picture: Picture, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Low frequencies of the known part, carried on everywhere (pull and push over a pyramid)."""
    import cv2

    weight = known.astype(np.float32)
    levels: list[tuple[Any, Any]] = [(picture.astype(np.float32) * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 2:
        values, weights = levels[-1]
        size = ((weights.shape[1] + 1) // 2, (weights.shape[0] + 1) // 2)
        levels.append(
            (
                cv2.resize(values, size, interpolation=cv2.INTER_AREA),
                cv2.resize(weights, size, interpolation=cv2.INTER_AREA),
            )
        )
    values, weights = levels[-1]
    out: NDArray[Any] = values / np.maximum(weights, 1e-6)[..., None]
    detail = max(2, round(math.log2(max(4, min(picture.shape[:2]) / 24))))
    for values, weights in reversed(levels[detail:-1]):
        size = (weights.shape[1], weights.shape[0])
        coarse = cv2.resize(out, size, interpolation=cv2.INTER_LINEAR)
        sure = np.minimum(1.0, weights)[..., None]
        own = values / np.maximum(weights, 1e-6)[..., None]
        out = own * sure + coarse * (1 - sure)
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.resize(out, size, interpolation=cv2.INTER_CUBIC), np.float32)


def noise(shape: tuple[int, int], grain_px: float, rng: np.random.Generator) -> Field:
    """Smooth noise of mean 0 and deviation 1 with details of ``grain_px``."""
    import cv2

    step = max(1.0, grain_px / 3)
    small = (max(4, math.ceil(shape[0] / step)), max(4, math.ceil(shape[1] / step)))
    raw = cv2.GaussianBlur(rng.standard_normal(small).astype(np.float32), (0, 0), 1.5)
    out = cv2.resize(raw, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray((out - out.mean()) / max(1e-6, float(out.std())), np.float32)


def streaks(picture: Picture, mask: Field) -> tuple[float, Field, Field, Field]:
    """Direction of the streaks of a picture: overall degrees in the mask, and per pixel the unit
    vector ``(x, y)`` (sign open) with its coherence 0..1. Structure tensor (Bigun and Granlund,
    "Optimal orientation detection of linear symmetry", ICCV 1987)."""
    import cv2

    h, w = mask.shape
    scale = min(1.0, 320 / max(h, w))
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    within = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    within = np.where(within > 0.95, within, 0)  # not the outline of the mask
    lum = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    gx, gy = cv2.Sobel(lum, cv2.CV_32F, 1, 0), cv2.Sobel(lum, cv2.CV_32F, 0, 1)
    products = [cv2.GaussianBlur(p * within, (0, 0), 9.0) for p in (gx * gx, gx * gy, gy * gy)]
    xx, xy, yy = products
    across = 0.5 * np.arctan2(2 * xy, xx - yy)  # direction of the gradient
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1.0)
    total = 0.5 * math.atan2(2 * float(xy.sum()), float((xx - yy).sum()))
    big = (w, h)
    # doubled angles add up where single ones cancel
    cos2 = cv2.resize(np.cos(2 * across).astype(np.float32), big)
    sin2 = cv2.resize(np.sin(2 * across).astype(np.float32), big)
    along = 0.5 * np.arctan2(sin2, cos2) + math.pi / 2
    strength = cv2.resize(coherence.astype(np.float32), big)
    return (
        math.degrees(total) + 90.0,
        np.cos(along).astype(np.float32),
        np.sin(along).astype(np.float32),
        np.clip(strength, 0, 1).astype(np.float32),
    )
