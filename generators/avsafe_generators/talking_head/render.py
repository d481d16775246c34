"""Motion and a portrait -> frames.

Legend: a frame is (h, w, 3) uint8 RGB; latents (c,) of ``anatomy`` in their unit spread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.faces import GROUPS
from avsafe.types import Frame
from avsafe_generators.layers import Weights
from avsafe_generators.talking_head import anatomy
from avsafe_generators.talking_head.eyes import Eyes
from avsafe_generators.talking_head.mouth import INNER, Mouth
from avsafe_generators.talking_head.warp import Head, Pose

_LIMITS = np.radians([15.0, 10.0, 10.0])  # of yaw, pitch, roll; a single picture shows no more
_SURE_UNTIL = 0.5  # of a limit: to here poses are kept, beyond they bend to the limit


def soft_limit(x: NDArray[Any], limit: NDArray[Any]) -> NDArray[Any]:
    """``x`` up to half the limit, then bent towards it.

    >>> soft_limit(np.array([0.1, 9.0]), np.array([1.0, 1.0])).round(2).tolist()
    [0.1, 1.0]
    """
    knee = _SURE_UNTIL * limit
    beyond = np.maximum(np.abs(x) - knee, 0)
    bent = knee + (limit - knee) * np.tanh(beyond / (limit - knee))
    return np.asarray(np.where(np.abs(x) <= knee, x, np.sign(x) * bent))


class Renderer:
    """Draws frames of one portrait. ``frame`` depends on nothing but its arguments."""

    def __init__(self, portrait: Frame, points: NDArray[Any], weights: Weights) -> None:
        self._portrait = np.ascontiguousarray(portrait)
        height, width = portrait.shape[:2]
        shape = weights["shape"].astype(np.float64)
        self.head = Head(points, shape, width, height)
        self._eyes = Eyes(self._portrait, points)
        self._mouth = Mouth(self._portrait, points)
        self._components = weights["components"].astype(np.float64)
        self._scale = weights["scale"].astype(np.float64)
        self._rest = self._closing()
        body = self.head.body
        self._width = float(anatomy.mouth_width(body[:, :2]))
        self._fit = float(np.clip(self._width / float(weights["mouth_width"][0]), 0.6, 1.5))
        corners = body[list(anatomy.CORNERS), :2]
        self._line = corners.mean(0) * [1, 0] + [0, self._line_height()]
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        self._at = columns, rows
        self._pixel = (
            (np.array([self.head.columns, self.head.rows]) - 1) / (np.array([width, height]) - 1)
        ).astype(np.float32)

    def _closing(self) -> NDArray[np.float64]:
        """What shuts the portrait's own mouth: each lip goes half of the gap."""
        body = self.head.body[:, :2]
        away = np.zeros_like(body)
        lips = GROUPS["lips_inner"], GROUPS["lips_outer"]
        gaps = []
        for i in range(1, 10):
            below, above = lips[0][i], lips[0][20 - i]
            gaps.append(body[below, 1] - body[above, 1])
        for ring in lips:
            for i in range(1, 10):
                half = max(0.0, gaps[i - 1]) / 2
                away[ring[i], 1] -= half
                away[ring[20 - i], 1] += half
        return away

    def _line_height(self) -> float:
        body = self.head.body[:, :2] + self._rest
        return float(body[INNER[5], 1] + body[INNER[15], 1]) / 2

    def displacement(self, latent: NDArray[Any]) -> NDArray[np.float64]:
        """(c,) -> (p, 2): what the face does, on the head, between the eyes."""
        real = latent * self._scale
        brow, mouth = real[anatomy.BROW_AT], real[anatomy.MOUTH_AT]
        face = np.tensordot(brow, self._components[: anatomy.BROW], 1)
        face = face + self._fit * np.tensordot(mouth, self._components[anatomy.BROW :], 1)
        face = face + self._rest
        return self._untangled(np.asarray(face))

    def _untangled(self, face: NDArray[Any]) -> NDArray[Any]:
        """Lips that would pass through each other meet instead."""
        body = self.head.body[:, :2] + face
        for i in range(1, 10):
            below, above = INNER[i], INNER[20 - i]
            over = body[above, 1] - body[below, 1]
            if over > 0:
                for place, sign in ((above, -0.5), (below, 0.5)):
                    face[place, 1] += sign * over
        return face

    def frame(
        self, latent: NDArray[Any], gaze: tuple[float, float] = (0.0, 0.0), nearer: float = 1.0
    ) -> Frame:
        """``gaze``: how far the irises go to the right and down, in distances between the eyes."""
        import cv2

        angles = soft_limit(latent[:3] * self._scale[:3], _LIMITS)
        yaw, pitch, roll = (float(angle) for angle in angles)
        pose = Pose(yaw, pitch, roll, nearer)
        blink = float(np.clip(latent[anatomy.BLINK] * self._scale[anatomy.BLINK], 0, 1))
        face = self.displacement(latent)
        texture = self._portrait.copy()
        self._eyes.draw(texture, blink, gaze)
        upper, lower = self.head.flows(face, pose)
        points = self.head.landmarks(face, pose)
        map_x, map_y = self._maps(upper, lower, points[INNER])
        drawn = cv2.remap(texture, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        out = np.asarray(drawn, np.uint8)
        # the lip covers all but the edge of the lower teeth
        jaw = float(max(face[anatomy.PLACE[152], 1], face[anatomy.PLACE[14], 1] - 0.04))
        self._mouth.draw(out, points[INNER], self._place(pose), max(0.0, jaw), self._width)
        return out

    def _maps(self, upper: Any, lower: Any, inner: NDArray[Any]) -> tuple[Any, Any]:
        """The flow at every pixel: below the line of the lips the lower layer's."""
        import cv2

        width, height = self.head.size
        px, py = self._pixel
        affine = np.array([[px, 0, 0], [0, py, 0]], np.float32)
        full = cv2.warpAffine(
            upper, affine, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        map_x, map_y = full[..., 0] + self._at[0], full[..., 1] + self._at[1]
        reach = 0.8 * self.head.scale
        centre = inner.mean(0)
        half = np.array([np.ptp(inner[:, 0]) / 2 + reach, reach * 1.15])
        low = np.clip(np.floor(centre - half).astype(int), 0, [width - 1, height - 1])
        high = np.clip(np.ceil(centre + half).astype(int) + 1, 1, [width, height])
        if (high - low).min() < 2:
            return map_x, map_y
        affine[:, 2] = px * low[0], py * low[1]
        more = cv2.warpAffine(
            lower - upper, affine, tuple(int(n) for n in high - low),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        cut = np.s_[low[1] : high[1], low[0] : high[0]]
        xs, ys = self._at[0][cut], self._at[1][cut]
        # the line halfway between the lips, straight on beyond the corners
        middle = (inner[1:10] + inner[11:][::-1]) / 2
        line = np.vstack([inner[:1], middle, inner[10:11]])
        line = line[np.argsort(line[:, 0])]
        slope = (line[-1, 1] - line[0, 1]) / max(1e-3, line[-1, 0] - line[0, 0])
        at = xs[0]
        rule = np.interp(at, line[:, 0], line[:, 1])
        aside = np.maximum(line[0, 0] - at, 0) + np.maximum(at - line[-1, 0], 0)
        rule = rule + slope * (np.minimum(at - line[0, 0], 0) + np.maximum(at - line[-1, 0], 0))
        soft = 0.8 + 0.6 * aside
        below = np.clip((ys - rule.astype(np.float32)) / soft.astype(np.float32) + 0.5, 0, 1)
        edge = np.hypot((xs - centre[0]) / half[0], (ys - centre[1]) / half[1])
        fade = np.clip((1 - edge) / 0.35, 0, 1).astype(np.float32)
        share = (below * fade * fade * (3 - 2 * fade)).astype(np.float32)
        map_x[cut] += share * more[..., 0]
        map_y[cut] += share * more[..., 1]
        return map_x, map_y

    def _place(self, pose: Pose) -> NDArray[np.float64]:
        """px in the frame -> (u, v) on the plane of the mouth, (2, 3)."""
        depth = float(self.head.body[INNER, 2].mean()) - 0.06
        base = np.array([[0, 0], [1, 0], [0, 1]], float) + self._line
        body = np.column_stack([base, np.full(3, depth)])
        view = self.head.posed(body @ self.head.turn.T, pose)[:, :2]
        px = view * self.head.scale + self.head.shift
        out = np.linalg.inv(np.column_stack([px[1] - px[0], px[2] - px[0]]))
        return np.column_stack([out, -out @ px[0]])
