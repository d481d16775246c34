"""How the picture moves: dense flow, the camera taken out, points that ride on what moves.

Legend: luma frames are (h, w) uint8 of about ``SIDE``² pixels; flow is (h, w, 2) float32, x right
and y down, in pixels from one frame to the next; ``p`` points, each with ``HISTORY`` displacements.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIDE = 128  # pixels: the square root of the area that is looked at; fast things then stay findable
HISTORY = 9  # displacements kept of each point
_GRID = 3  # pixels between points
_MOST = 900  # points at once
_REST_S = 0.5  # a point that has not moved for so long goes


def small_size(h: int, w: int) -> tuple[int, int]:
    """(width, height) of the frame that is looked at: about SIDE² pixels, never more than it has.

    >>> small_size(720, 1280)
    (171, 96)
    """
    scale = min(1.0, SIDE / math.sqrt(h * w))
    return max(16, round(w * scale)), max(16, round(h * scale))


def shrunk(luma: Array) -> Array:
    """The frame at about SIDE² pixels; never enlarged beyond 16 pixels a side.

    >>> shrunk(np.zeros((720, 1280), np.uint8)).shape
    (96, 171)
    """
    import cv2

    h, w = luma.shape[:2]
    size = small_size(h, w)
    if size == (w, h):
        return luma
    out: Array = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return out


class Flow:
    """Dense inverse search (Kroeger et al., ECCV 2016), and the camera's share of it."""

    def __init__(self) -> None:
        import cv2

        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._basis = np.zeros((0, 0, 3), np.float32)
        self._grid = np.zeros((0, 0, 2), np.float32)
        self.change: Array = np.zeros((0, 0), np.uint8)  # of the last pair, the camera followed
        self.camera = np.zeros((2, 3))  # of the last pair: displacement = camera @ (x, y, 1)

    def between(self, before: Array, after: Array) -> tuple[Array, Array, Array]:
        """(flow, what is left of it without the camera, (h, w) bool where it can't be trusted:
        there and back again ends elsewhere)."""
        import cv2

        if self._grid.shape[:2] != before.shape:
            h, w = before.shape
            y, x = np.mgrid[0:h, 0:w].astype(np.float32)
            self._grid = np.stack([x, y], axis=-1)
            self._basis = np.stack([np.ones_like(x), x / w - 0.5, y / h - 0.5], axis=-1)
        flow = self._dis.calc(before, after, None)
        back = _looked_up(self._dis.calc(after, before, None), self._grid + flow)
        torn = _length(flow + back) > 1.0 + 0.1 * _length(flow)
        camera = self._camera(flow)
        # Grain alone makes flow in plain areas: no motion where the picture, followed as the camera
        # goes, stays the same.
        change = cv2.absdiff(before, _looked_up(after, self._grid + camera))
        self.change = change
        grain = float(np.median(change[::3, ::3]))
        quiet = cv2.blur(change, (9, 9)) <= max(2.0, 1.6 * grain + 1.0)
        left = flow - camera
        left[quiet] = 0
        return flow, left, torn

    def _camera(self, flow: Array) -> Array:
        """The affine motion that most of the picture shares: least squares, reweighted."""
        seen = flow[4:-4:6, 4:-4:6].reshape(-1, 2)
        rows = self._basis[4:-4:6, 4:-4:6].reshape(-1, 3)
        solved = np.zeros((3, 2))
        solved[0] = np.median(seen, axis=0)
        for _ in range(5):
            off = np.hypot(*(seen - rows @ solved).T)
            scale = max(1.4826 * float(np.median(off)), 0.06)
            weight = np.clip(1 - (off / (4.0 * scale)) ** 2, 0, None) ** 2
            heavy = rows * weight[:, None]
            normal = heavy.T @ rows + np.diag([1e-6, 1e-2, 1e-2]) * len(rows)
            solved = np.linalg.solve(normal, heavy.T @ seen)
        h, w = flow.shape[:2]
        slopes = solved[1:].T / np.array([w, h])
        self.camera = np.column_stack([slopes, solved[0] - 0.5 * (solved[1] + solved[2])])
        camera: Array = (self._basis @ solved).astype(np.float32)
        return camera


def _length(field: Array) -> Array:
    out: Array = np.hypot(field[..., 0], field[..., 1])
    return out


def _looked_up(image: Array, at: Array) -> Array:
    import cv2

    out: Array = cv2.remap(
        image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return out


class Points:
    """Points that ride on what moves, with their last displacements (the camera taken out)."""

    def __init__(self) -> None:
        self._count = 0
        self._set(self._new(np.zeros((0, 2), np.float32)))

    def _new(self, at: Array) -> dict[str, Array]:
        n = len(at)
        self._count += n
        return {
            "name": np.arange(self._count - n, self._count),
            "at": at,
            "moved": np.full((n, HISTORY, 2), np.nan, np.float32),  # newest last, pixels per frame
            "places": np.full((n, HISTORY, 2), np.nan, np.float32),  # before each displacement
            "torn": np.ones((n, HISTORY), bool),
            "still": np.zeros(n, np.int32),
        }

    def _set(self, of: dict[str, Array]) -> None:
        self.name, self.at, self.moved = of["name"], of["at"], of["moved"]
        self.places, self.torn, self._still = of["places"], of["torn"], of["still"]

    def _all(self) -> dict[str, Array]:
        return {"name": self.name, "at": self.at, "moved": self.moved, "places": self.places,
                "torn": self.torn, "still": self._still}  # fmt: skip

    def _keep(self, keep: Array) -> None:
        self._set({key: value[keep] for key, value in self._all().items()})

    def shift(self) -> None:
        """One interval of which nothing is known: the clip has ended."""
        nothing = np.full_like(self.moved[:, :1], np.nan)
        self.moved = np.concatenate([self.moved[:, 1:], nothing], axis=1)
        self.places = np.concatenate([self.places[:, 1:], nothing], axis=1)
        self.torn = np.concatenate([self.torn[:, 1:], np.ones_like(self.torn[:, :1])], axis=1)

    def step(self, flow: Array, left: Array, torn: Array, rate: float) -> None:
        """One frame further."""
        h, w = torn.shape
        slow = max(0.2, 3.0 / rate)  # pixels a frame: below it a point rests
        self._seed(left, 1.5 * slow)
        if not len(self.at):
            return
        own = _sample(left, self.at)
        to = self.at + _sample(flow, self.at)
        inside = (to[:, 0] >= 1) & (to[:, 1] >= 1) & (to[:, 0] < w - 2) & (to[:, 1] < h - 2)
        x, y = np.rint(self.at).astype(int).T
        bad = torn[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]
        self.moved = np.concatenate([self.moved[:, 1:], own[:, None]], axis=1)
        self.places = np.concatenate([self.places[:, 1:], self.at[:, None]], axis=1)
        self.torn = np.concatenate([self.torn[:, 1:], bad[:, None]], axis=1)
        self.at = to
        self._still = np.where(np.hypot(*own.T) < slow, self._still + 1, 0)
        self._keep(inside & (self._still < _REST_S * rate + HISTORY))

    def _seed(self, left: Array, fast: float) -> None:
        cells = left[_GRID // 2 :: _GRID, _GRID // 2 :: _GRID]
        moving = _length(cells) > fast
        held: Array = np.zeros(cells.shape[:2], bool)
        if len(self.at):
            x = np.clip((self.at[:, 0] // _GRID).astype(int), 0, cells.shape[1] - 1)
            y = np.clip((self.at[:, 1] // _GRID).astype(int), 0, cells.shape[0] - 1)
            held[y, x] = True
            # two points in one cell follow the same thing: the older one stays
            _, first = np.unique(y * cells.shape[1] + x, return_index=True)
            keep = np.zeros(len(self.at), bool)
            keep[first] = True
            self._keep(keep)
        y, x = np.nonzero(moving & ~held)
        room = max(0, _MOST - len(self.at))
        if len(y) > room:
            take = np.linspace(0, len(y) - 1, room).astype(int)
            y, x = y[take], x[take]
        at = np.stack([x * _GRID + _GRID // 2, y * _GRID + _GRID // 2], axis=1).astype(np.float32)
        new = self._new(at)
        self._set({key: np.concatenate([old, new[key]]) for key, old in self._all().items()})


def _sample(field: Array, at: Array) -> Array:
    """Bilinear values of (h, w, 2) at (p, 2)."""
    h, w = field.shape[:2]
    x = np.clip(at[:, 0], 0, w - 1.001)
    y = np.clip(at[:, 1], 0, h - 1.001)
    i, j = x.astype(int), y.astype(int)
    a, b = (x - i)[:, None], (y - j)[:, None]
    out: Array = (field[j, i] * (1 - a) + field[j, i + 1] * a) * (1 - b) + (
        field[j + 1, i] * (1 - a) + field[j + 1, i + 1] * a
    ) * b
    return out
