"""Eyes of a portrait: lids that close, irises that look elsewhere. In the portrait's own place.

Legend: an eye's patch is (h, w) px around it; ``a`` runs along the eye from 0 at one corner to 1 at
the other, ``b`` downwards across it, in px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS, Landmarks
from avsafe.types import Frame

Array = NDArray[np.float32]
_CORNER, _UPPER, _LOWER = slice(0, 1), slice(1, 8), slice(9, 16)  # of an eye's outline, see GROUPS

_MOST = 0.05  # between the eyes: how far an iris goes; farther it would leave its white


@dataclass(frozen=True)
class _Eye:
    x: int
    y: int
    columns: Array  # (h, w) px in the portrait
    rows: Array
    a: Array  # (h, w)
    b: Array
    upper: Array  # (h, w): b of the lids at that a
    lower: Array
    across: Array  # (2,) the eye's axis, of length 1
    down: Array
    room: float  # px of skin above the lid that may stretch


class Eyes:
    """Draws closed and turned eyes into a portrait."""

    def __init__(self, portrait: Frame, points: NDArray[Any]) -> None:
        self._portrait = portrait
        self._between = Landmarks(np.asarray(points, np.float32)).interocular
        self._eyes = []
        for eye, brow in (("right_eye", "right_brow"), ("left_eye", "left_brow")):
            found = _measure(points[list(GROUPS[eye])], points[list(GROUPS[brow])], portrait.shape)
            if found is not None:
                self._eyes.append(found)

    def draw(self, target: Frame, blink: float, gaze: tuple[float, float]) -> None:
        """Into a copy of the portrait: ``blink`` 0 open to 1 closed; ``gaze`` how far the irises
        go, to the right and down, in distances between the eyes."""
        for eye in self._eyes:
            gap = eye.lower - eye.upper
            size = float(gap.max())
            map_x, map_y = eye.columns, eye.rows
            if max(map(abs, gaze)) > 1e-3:
                # the ball turns behind the lids: whole in the middle, still at lids and corners
                to_lid = np.minimum(eye.b - eye.upper, eye.lower - eye.b)
                inside = np.clip(to_lid / (0.14 * size), 0, 1)
                inside = inside * np.clip(1 - np.abs(2 * eye.a - 1) ** 4, 0, 1)
                right, down = (float(np.clip(g, -_MOST, _MOST)) * self._between for g in gaze)
                move = eye.across * right + eye.down * down
                map_x = map_x - inside * np.float32(move[0])
                map_y = map_y - inside * np.float32(move[1])
            patch = self._cut(map_x, map_y)
            if blink > 0.01:
                patch = self._closed(eye, patch, gap, size, min(1.0, blink))
            h, w = eye.columns.shape
            target[eye.y : eye.y + h, eye.x : eye.x + w] = patch

    def _cut(self, map_x: Array, map_y: Array) -> Frame:
        import cv2

        out = cv2.remap(
            self._portrait, map_x.astype(np.float32), map_y.astype(np.float32),
            cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(out, np.uint8)

    def _closed(self, eye: _Eye, patch: Frame, gap: Array, size: float, blink: float) -> Frame:
        """The skin above the lid stretched down over the eye, with a line of lashes at its end."""
        import cv2

        top = eye.upper - eye.room
        lid = eye.upper + np.float32(blink) * (gap + np.float32(0.14 * size) * (gap > 0.3))
        # the lashes of the open lid stay out of the skin that is stretched
        skin_end = eye.upper - np.minimum(np.float32(0.3 * size), 0.5 * eye.room)
        stretch = (skin_end - top) / np.maximum(lid - top, 1e-3)
        back = top + (eye.b - top) * stretch - eye.b
        # beside the eye and above its fold nothing moves
        aside = np.clip(gap / max(1.0, 0.25 * size), 0, 1)
        back = back * aside
        skin = self._cut(eye.columns + back * eye.down[0], eye.rows + back * eye.down[1])
        # lashes that were caught all the same smear into a shade
        aside_px = max(0.5, 0.05 * self._between)
        shade_of = cv2.GaussianBlur(skin, (0, 0), sigmaX=aside_px, sigmaY=0.5)
        cover = np.clip(lid - eye.b + 0.5, 0, 1) * (eye.b > top) * np.clip(gap / 1.0, 0, 1)
        cover = cover * np.float32(np.clip(blink / 0.12, 0, 1))
        out = patch + (shade_of.astype(np.float32) - patch) * cover[..., None]
        thick = max(0.8, 0.016 * self._between)
        line = np.exp(-(((eye.b - lid) / thick) ** 2)) * np.clip(gap / (0.3 * size + 1e-3), 0, 1)
        shade = 1 - 0.62 * line * np.float32(np.clip(blink / 0.3, 0, 1))
        return np.asarray(np.clip(out * shade[..., None] + 0.5, 0, 255), np.uint8)


def _measure(outline: NDArray[Any], brow: NDArray[Any], shape: tuple[int, ...]) -> _Eye | None:
    # from the corner at the left of the picture to the one at the right
    order = np.argsort(outline[:, 0])
    left, right = outline[order[0]], outline[order[-1]]
    across = right - left
    length = float(np.hypot(*across))
    if length < 4:
        return None
    across = across / length
    down = np.array([-across[1], across[0]])
    local = (outline - left) @ np.stack([across / length, down], 1)
    middle = local[:, 1].mean()
    upper = local[(local[:, 1] <= middle) | (local[:, 0] < 0.02) | (local[:, 0] > 0.98)]
    lower = local[(local[:, 1] > middle) | (local[:, 0] < 0.02) | (local[:, 0] > 0.98)]
    upper, lower = upper[np.argsort(upper[:, 0])], lower[np.argsort(lower[:, 0])]
    to_brow = float((middle - ((brow - left) @ down)).min())
    room = float(np.clip(0.55 * (to_brow + local[:, 1].min()), 0.12 * length, 0.5 * length))
    reach = np.array([0.15 * length, room + 0.1 * length])
    low = np.floor(outline.min(0) - reach).astype(int)
    high = np.ceil(outline.max(0) + reach * [1, 0.5]).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, [shape[1], shape[0]])
    if (high - low).min() < 4:
        return None
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    from_left = np.stack([columns, rows], -1) - left
    a, b = (from_left @ across / length).astype(np.float32), (from_left @ down).astype(np.float32)
    at = np.clip(a, 0, 1)
    up = np.interp(at, upper[:, 0], _smoothed(upper[:, 1])).astype(np.float32)
    lo = np.interp(at, lower[:, 0], _smoothed(lower[:, 1])).astype(np.float32)
    open_here = np.clip(np.minimum(a, 1 - a) / 0.06, 0, 1)
    lo = up + np.maximum(lo - up, 0) * open_here
    return _Eye(int(low[0]), int(low[1]), columns, rows, a, b, up, lo.astype(np.float32),
                across.astype(np.float32), down.astype(np.float32), room)  # fmt: skip


def _smoothed(y: NDArray[Any]) -> NDArray[Any]:
    out = y.copy()
    out[1:-1] = 0.25 * y[:-2] + 0.5 * y[1:-1] + 0.25 * y[2:]
    return out
