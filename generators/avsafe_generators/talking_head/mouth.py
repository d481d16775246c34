"""What is seen between the lips: a dark cavity, teeth, the tongue; in the portrait's light.

Legend: ``u`` to the right and ``v`` down on the head, in distances between the eyes, from the line
of the lips at rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS
from avsafe.types import Frame
from avsafe_generators.talking_head import anatomy

Array = NDArray[np.float32]
INNER = list(GROUPS["lips_inner"])
_UPPER_EDGE = 0.045  # of the upper teeth under the resting line; 63 mm between the eyes: 2.8 mm
_LOWER_EDGE = 0.035  # of the lower teeth under the resting line while the jaw is shut
_TOOTH = 0.125  # width of a middle incisor: 8 mm


class Mouth:
    """Paints the inside of the mouth into a frame."""

    def __init__(self, portrait: Frame, points: NDArray[Any]) -> None:
        """The light is that of the skin between lips and chin in the portrait."""
        low = points[anatomy.PLACE[17]]
        chin = points[anatomy.PLACE[152]]
        nose = points[anatomy.PLACE[2]]
        lip = points[anatomy.PLACE[0]]
        around = [low + (chin - low) * 0.5, nose + (lip - nose) * 0.5]
        around += [points[anatomy.PLACE[m]] for m in (136, 365)]
        h, w = portrait.shape[:2]
        skin = []
        for x, y in np.round(around).astype(int):
            x, y = int(np.clip(x, 2, w - 3)), int(np.clip(y, 2, h - 3))
            skin.append(portrait[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3))
        colour = np.median(np.concatenate(skin), 0).astype(np.float32)
        light = float(np.clip(colour @ [0.3, 0.59, 0.11] / 150, 0.62, 1.15))
        tint = colour / max(1.0, float(colour.max()))
        cast = (0.85 + 0.15 * tint / max(1e-3, float(tint.mean()))).astype(np.float32)
        self._teeth = np.array([222, 212, 198], np.float32) * light * cast
        self._tongue = np.array([150, 74, 70], np.float32) * light * cast
        self._dark = np.array([34, 12, 12], np.float32) * light * cast

    def draw(
        self, frame: Frame, inner: NDArray[Any], place: NDArray[Any], jaw: float, width: float
    ) -> None:
        """``inner`` (20, 2) px: the inner contour in the frame. ``place`` (2, 3): px -> (u, v).
        ``jaw``: how far it dropped, ``width`` of the resting mouth, both between the eyes."""
        import cv2

        scale = 1 / float(np.hypot(place[0, 0], place[0, 1]))
        pad = 4
        low = np.floor(inner.min(0)).astype(int) - pad
        high = np.ceil(inner.max(0)).astype(int) + pad + 1
        low = np.maximum(low, 0)
        high = np.minimum(high, [frame.shape[1], frame.shape[0]])
        open_px = float(inner[1:10, 1].mean() - inner[11:, 1].mean())
        if open_px < 0.4 or (high - low).min() < 3:
            return
        mask = np.zeros((high - low)[::-1], np.uint8)
        fixed = np.round((inner - low) * 16).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, lineType=cv2.LINE_AA, shift=4)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.6, scale * 0.009))
        alpha = (soft.astype(np.float32) / 255)[..., None]
        # a gap of a pixel is a shadow, not a cavity
        alpha *= np.float32(np.clip((open_px - 0.4) / max(1.5, 0.03 * scale), 0, 1))
        ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        u = place[0, 0] * xs + place[0, 1] * ys + place[0, 2]
        v = place[1, 0] * xs + place[1, 1] * ys + place[1, 2]
        colour = self._inside(u, v, jaw, width, 1.2 / scale)
        patch = frame[low[1] : high[1], low[0] : high[0]]
        mixed = patch + (colour - patch) * alpha
        frame[low[1] : high[1], low[0] : high[0]] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)

    def _inside(self, u: Array, v: Array, jaw: float, width: float, blur: float) -> Array:
        def below(edge: Array | float, soft: float = blur) -> Array:
            return np.asarray(np.clip((v - edge) / soft + 0.5, 0, 1), np.float32)

        half = 0.43 * width
        inner = np.clip(1 - (u / half) ** 2, 0, 1)
        round_ = np.sqrt(inner)  # the row of teeth is an arch: darker and shorter to the sides
        floor = _LOWER_EDGE + jaw
        tongue = below(floor - 0.05 - 0.06 * inner, 0.05) * np.clip(
            1 - (u / (0.34 * width)) ** 2, 0, 1
        )
        out = self._dark + (self._tongue * 0.8 - self._dark) * (0.75 * tongue)[..., None]
        gaps = np.abs(np.mod(u / _TOOTH, 1.0) - 0.5) * 2  # 1 between two teeth
        seams = 1 - 0.16 * np.clip((gaps - 0.86) / 0.14, 0, 1)
        light = (0.42 + 0.58 * round_) * seams
        shade = np.clip(0.72 + (v + 0.03) * 5.0, 0.62, 1.0)  # under the shadow of the upper lip
        upper = (1 - below(_UPPER_EDGE - 0.05 * (1 - inner))) * (inner > 0)
        upper = upper * np.clip(inner * 4, 0, 1)
        out = out + (self._teeth * (light * shade)[..., None] - out) * (upper * 0.95)[..., None]
        lower = below(floor + 0.012 * (1 - inner)) * np.clip(inner * 3, 0, 1)
        dim = self._teeth * (light * 0.72)[..., None]
        return np.asarray(out + (dim - out) * (lower * 0.9)[..., None], np.float32)
