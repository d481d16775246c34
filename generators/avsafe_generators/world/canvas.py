"""What backdrops are painted on: coordinates, noise, masks, and the colours of the hours.

Legend: the canvas is the frame with a margin on every side for the camera to move in; (h, w, 3)
float32 sRGB 0..1. ``v`` is the height in the frame (0 top, 1 bottom), ``u`` runs -1..1 across it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.scene import Scene
from avsafe_generators.world.shading import RGB

Array = NDArray[Any]  # float32

HORIZON = 0.60  # v of the horizon
FLOOR = 0.84  # v of the floor line at depth 0
SKY: dict[str, tuple[RGB, RGB]] = {  # zenith, horizon
    "day": ((0.20, 0.45, 0.80), (0.74, 0.86, 0.95)),
    "sunset": ((0.24, 0.20, 0.44), (0.98, 0.60, 0.34)),
    "dawn": ((0.40, 0.50, 0.74), (0.98, 0.80, 0.70)),
    "night": ((0.03, 0.04, 0.11), (0.11, 0.15, 0.28)),
}
DIM: dict[str, RGB] = {  # what the light of the hour does to a colour of the land
    "day": (1.0, 1.0, 1.0), "sunset": (0.92, 0.68, 0.58), "dawn": (0.90, 0.82, 0.80),
    "night": (0.26, 0.31, 0.46),
}  # fmt: skip


class Canvas:
    """Coordinates and noise for painting one backdrop."""

    def __init__(self, scene: Scene) -> None:
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([scene.seed, 1])))
        share = 0.16 if scene.camera else 0.0
        self.mx, self.my = (round(side * share) for side in (scene.width, scene.height))
        self.w, self.h = scene.width + 2 * self.mx, scene.height + 2 * self.my
        rows = (np.arange(self.h, dtype=np.float32) + 0.5 - self.my) / scene.height
        columns = (np.arange(self.w, dtype=np.float32) + 0.5 - self.mx) / scene.width * 2 - 1
        self.v, self.u = rows[:, None], columns[None, :] * np.float32(scene.width / scene.height)
        self.image = np.zeros((self.h, self.w, 3), np.float32)
        self.pixel = 1.0 / scene.height
        self.open_sky = np.ones((self.h, self.w), np.float32)

    def noise(self, cells: float, octaves: int = 5, height: int | None = None) -> Array:
        """(h, w) smooth noise, about -1..1; ``cells`` across the width of the first octave."""
        return fractal(self.rng, height or self.h, self.w, cells, octaves)

    def on_floor(self, scale: float, stretch: float = 1.0) -> Array:
        """Noise that lies on the ground, seen in perspective; fades with distance."""
        import cv2

        x, y = self.floor_map(scale, stretch)
        seen = cv2.remap(tile(self.rng), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(seen * np.clip((self.v - HORIZON) * 7, 0, 1), np.float32)

    def floor_map(self, scale: float, stretch: float) -> tuple[Array, Array]:
        """Where each pixel reads a tile that lies on the ground."""
        depth = 1.0 / np.maximum(self.v - np.float32(HORIZON) + 0.02, 0.006)
        x = np.mod(self.u * depth * np.float32(40 * scale) + 300, 512)
        y = np.broadcast_to(np.mod(depth * np.float32(90 * scale * stretch), 512), x.shape)
        return np.asarray(x, np.float32), np.ascontiguousarray(y, np.float32)

    def ridge(self, base: float, height: float, cells: float, octaves: int) -> Array:
        """(1, w) outline of hills: the v of their top."""
        line = fractal(self.rng, 4, self.w, cells, octaves)[:1]
        return np.asarray(base - height * (0.5 + 0.5 * line), np.float32)

    def below(self, line: Array | float, soft: float = 1.5) -> Array:
        """(h, w) 1 below a line, 0 above, with an edge ``soft`` pixels wide."""
        ramp = (self.v - line) / np.float32(self.pixel * soft) + 0.5
        return np.asarray(np.clip(np.broadcast_to(ramp, (self.h, self.w)), 0, 1), np.float32)

    def paint(self, color: Array | RGB, mask: Array, *, sky: bool = False) -> None:
        if not sky:
            self.open_sky *= 1 - mask
        self.image += (np.asarray(color, np.float32) - self.image) * mask[..., None]

    def shade(self, color: RGB, texture: Array) -> Array:
        """A colour made lighter and darker by a texture (h, w)."""
        return np.asarray(np.array(color, np.float32) * (1 + texture[..., None]), np.float32)


def fractal(rng: np.random.Generator, h: int, w: int, cells: float, octaves: int) -> Array:
    import cv2

    total, weight = np.zeros((h, w), np.float32), 1.0
    for octave in range(octaves):
        n = cells * 2**octave
        rows, columns = max(2, round(n * h / w) + 2), max(2, round(n) + 2)
        if rows > 2 * h or columns > 2 * w:
            break
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += np.float32(weight) * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        weight *= 0.55
    return np.asarray(np.clip(total * np.float32(0.55), -1.5, 1.5))


def tile(rng: np.random.Generator) -> Array:
    """(512, 512) smooth noise that repeats without a seam."""
    import cv2

    total, weight = np.zeros((512, 512), np.float32), 1.0
    for octave in range(6):
        n = 8 * 2**octave
        grid = np.pad(rng.standard_normal((n, n), dtype=np.float32), 2, mode="wrap")
        cell = 512 // n
        big = cv2.resize(grid, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total += np.float32(weight) * big[2 * cell : -2 * cell, 2 * cell : -2 * cell]
        weight *= 0.55
    return np.asarray(np.clip(total * np.float32(0.55), -1.5, 1.5))


def rgb(color: NDArray[Any]) -> RGB:
    return float(color[0]), float(color[1]), float(color[2])
