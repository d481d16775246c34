"""The path of the camera over a photo, and where a pixel of the clip lies in the photo.

A source pixel ``p`` of nearness ``n`` is seen at
``c + (p - c) zoom (1 + dolly (n - pivot)) + shift + slide (n - pivot)``: ``zoom`` and ``shift``
move the picture as a whole, ``dolly`` and ``slide`` the near against the far (``c`` is the centre).

Legend: lengths are shares of the frame's width; ``u`` is the time, 0..1 over the clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from avsafe_generators.cinemagraph.fields import Field

_PANS = {  # the way that the picture goes when the camera goes the other
    "pan-left": (1.0, 0.0),
    "pan-right": (-1.0, 0.0),
    "pan-up": (0.0, 1.0),
    "pan-down": (0.0, -1.0),
}
CLOSED = frozenset(("breathing", "still"))  # moves that come back by themselves


@dataclass(frozen=True)
class View:
    """The camera at one moment."""

    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    dolly: float = 0.0
    slide: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Path:
    """A move: ``at(u)`` is the view at time ``u``."""

    move: str
    amount: float
    parallax: float
    loop: bool
    focus: tuple[float, float] = (0.5, 0.5)  # of the frame; where ken-burns goes

    def at(self, u: float) -> View:
        a, p = self.amount, self.parallax
        if self.loop or self.move in CLOSED:
            turn = 2 * math.pi * u
            way = 0.5 - 0.5 * math.cos(turn)  # there and back
        else:
            turn, way = 0.0, eased(u)
        both = 2 * way - 1  # -1..1
        if self.move.startswith("pan-"):
            x, y = _PANS[self.move]
            return View(
                shift=(0.034 * a * both * x, 0.026 * a * both * y),
                slide=(0.030 * a * p * both * x, 0.020 * a * p * both * y),
            )
        if self.move in ("zoom-in", "zoom-out"):
            near = way if self.move == "zoom-in" else 1 - way
            return View(zoom=1 + 0.16 * a * near, dolly=0.20 * a * p * near)
        if self.move == "orbit":
            if self.loop:
                return View(
                    slide=(-0.030 * a * p * math.cos(turn), 0.013 * a * p * math.sin(turn)),
                    zoom=1 + 0.012 * a * math.sin(turn),
                )
            return View(
                slide=(0.036 * a * p * both, 0.010 * a * p * (1 - both * both)),
                shift=(-0.006 * a * both, 0.0),
                zoom=1 + 0.02 * a * way,
            )
        if self.move == "dolly-zoom":
            return View(dolly=min(0.6, 0.42 * a * p) * way)
        if self.move == "ken-burns":
            x, y = self.focus[0] - 0.5, self.focus[1] - 0.5
            reach = math.hypot(x, y)
            if reach < 0.04:
                x, y, reach = 0.07, 0.04, math.hypot(0.07, 0.04)
            scale = 0.055 * a / reach
            return View(
                zoom=1 + 0.15 * a * way,
                shift=(-scale * x * both, -scale * y * both),
                dolly=0.05 * a * p * way,
            )
        if self.move == "breathing":
            return View(
                zoom=1 + 0.020 * a * way,
                dolly=0.05 * a * p * way,
                slide=(0.008 * a * p * math.sin(turn), 0.004 * a * p * math.sin(2 * turn)),
            )
        return View()


def eased(u: float) -> float:
    """A start and an end without a jerk, a steady middle: speed rises over a fifth of the time.

    >>> eased(0.0), eased(0.5), eased(1.0)
    (0.0, 0.5, 1.0)
    """
    ramp = 0.22
    top = 1 / (1 - ramp)  # the speed of the middle

    def begun(t: float) -> float:
        # the integral of a raised cosine from 0 to t <= ramp
        return top * (t / 2 - ramp / (2 * math.pi) * math.sin(math.pi * t / ramp))

    if u < ramp:
        return begun(u)
    if u > 1 - ramp:
        return 1 - begun(1 - u)
    return begun(ramp) + top * (u - ramp)


def seen_from(
    view: View, near: Field, pivot: float, size: tuple[int, int], x: Field, y: Field, base: float
) -> tuple[Field, Field]:
    """Where the clip's pixels ``x``, ``y`` lie in the picture, both in pixels of a frame of
    ``size`` (width, height); ``near`` has any resolution. Three steps of a fixed point: ``near``
    changes slowly."""
    import cv2

    w, h = size
    cx, cy = (w - 1) / 2, (h - 1) / 2
    zoom = view.zoom * base
    kx, ky = np.float32(near.shape[1] / w), np.float32(near.shape[0] / h)
    ox, oy = (
        (x - cx - view.shift[0] * w).astype(np.float32),
        (y - cy - view.shift[1] * w).astype(np.float32),
    )
    px, py = ox / zoom, oy / zoom
    if view.dolly == 0 and view.slide == (0.0, 0.0):
        return (px + cx).astype(np.float32), (py + cy).astype(np.float32)
    for _ in range(3):
        depth = cv2.remap(
            near,
            ((px + cx + 0.5) * kx - 0.5).astype(np.float32),
            ((py + cy + 0.5) * ky - 0.5).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ) - np.float32(pivot)
        scale = zoom * (1 + view.dolly * depth)
        px = (ox - view.slide[0] * w * depth) / scale
        py = (oy - view.slide[1] * w * depth) / scale
    return (px + cx).astype(np.float32), (py + cy).astype(np.float32)


def crop(path: Path, near: Field, pivot: float, size: tuple[int, int]) -> float:
    """The least enlargement with which no view of the path shows a border of the picture."""
    w, h = size
    xs = np.linspace(0, w - 1, 65, dtype=np.float32)
    ys = np.linspace(0, h - 1, 65, dtype=np.float32)
    x = np.concatenate([xs, xs, np.zeros(65, np.float32), np.full(65, w - 1, np.float32)])[None]
    y = np.concatenate([np.zeros(65, np.float32), np.full(65, h - 1, np.float32), ys, ys])[None]
    views = [path.at(u) for u in np.linspace(0, 1, 33)]

    def hidden(base: float) -> bool:
        for view in views:
            px, py = seen_from(view, near, pivot, size, x, y, base)
            if px.min() < 0 or py.min() < 0 or px.max() > w - 1 or py.max() > h - 1:
                return False
        return True

    low, high = 1.0, 1.02
    if path.move == "still":
        return 1.0
    while not hidden(high) and high < 6.0:
        low, high = high, 1 + (high - 1) * 1.6
    for _ in range(10):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if hidden(middle) else (middle, high)
    return high + 0.002
