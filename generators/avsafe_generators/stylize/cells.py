"""Styles of cells that stand still on the screen: pixel, points, mosaic, halftone.

The cells never move, only their colours do, and those are averages over the cell.

Legend: a picture ``(h, w, 3)`` uint8 RGB.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.stylize.clip import Clip

Image = NDArray[Any]


class Pixel:
    """Few large pixels in 28 colours of the clip. A pixel changes its colour only when another one
    is clearly nearer."""

    memory = 0.0
    _STAY = 110.0  # squared CIELAB distance by which another colour must be nearer

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        import cv2

        step = max(2, round(min(width, height) / 96))
        self._cells, self._full = (max(4, width // step), max(4, height // step)), (width, height)
        self._palette = clip.palette(28)
        vivid = self._palette.copy()
        vivid[:, 1:] = 128 + (vivid[:, 1:] - 128) * 1.25
        self._shown = cv2.cvtColor(
            np.clip(vivid, 0, 255).astype(np.uint8)[None], cv2.COLOR_LAB2RGB
        )[0]
        self._before: Image | None = None

    def draw(self, picture: Image) -> Image:
        import cv2

        cells = cv2.resize(picture, self._cells, interpolation=cv2.INTER_AREA)
        # a touch of local contrast: small pictures need it
        soft = cv2.GaussianBlur(cells, (0, 0), 1.2)
        cells = cv2.addWeighted(cells, 1.6, soft, -0.6, 0)
        lab = cv2.cvtColor(cells, cv2.COLOR_RGB2LAB).astype(np.float32)
        apart = ((lab[:, :, None] - self._palette) ** 2).sum(axis=-1)
        best = apart.argmin(axis=-1)
        if self._before is not None:
            stays = np.take_along_axis(apart, self._before[..., None], -1)[..., 0]
            nearest = np.take_along_axis(apart, best[..., None], -1)[..., 0]
            best = np.where(nearest + self._STAY < stays, best, self._before)
        self._before = best
        return np.asarray(
            cv2.resize(self._shown[best], self._full, interpolation=cv2.INTER_NEAREST)
        )


def _scattered(
    width: int, height: int, step: float, jitter: float, rng: np.random.Generator
) -> Image:
    """Points of a hexagonal grid, shaken: (n, 2) float32 x, y."""
    rows = math.ceil(height / (step * 0.866)) + 2
    cols = math.ceil(width / step) + 2
    gy, gx = np.mgrid[-1:rows, -1:cols].astype(np.float32)
    x = (gx + 0.5 * (np.arange(-1, rows) % 2)[:, None]) * step
    y = gy * step * 0.866
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    points += rng.uniform(-jitter, jitter, points.shape).astype(np.float32) * step
    return np.asarray(points, np.float32)


def _nearest(points: Image, width: int, height: int) -> tuple[Image, Image, Image]:
    """For each pixel the index of the nearest point, its distance, and that to the second."""
    from scipy.spatial import cKDTree

    gy, gx = np.mgrid[0:height, 0:width]
    where = np.stack([gx.ravel(), gy.ravel()], axis=1).astype(np.float32)
    distance, index = cKDTree(points).query(where, k=2)
    shape = (height, width)
    return (
        index[:, 0].reshape(shape),
        distance[:, 0].reshape(shape).astype(np.float32),
        distance[:, 1].reshape(shape).astype(np.float32),
    )


class _Cells:
    """Mean colour of the cells of a fixed partition."""

    def __init__(self, index: Image) -> None:
        used, self.index = np.unique(index, return_inverse=True)
        self.index = self.index.reshape(index.shape)
        self.number = len(used)
        self._flat = self.index.ravel()
        self._size = np.bincount(self._flat, minlength=self.number).astype(np.float32)

    def means(self, picture: Image) -> Image:
        sums = [
            np.bincount(self._flat, weights=picture[..., c].ravel(), minlength=self.number)
            for c in range(3)
        ]
        return np.asarray((np.stack(sums, axis=1) / self._size[:, None]), np.float32)


class Points:
    """Dots of pure colour, small ones over large ones; each dot has its own fixed tint."""

    memory = 0.0

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        s = max(0.5, min(width, height) / 720)
        self._layers = []
        for step, radius in ((15 * s, 0.74), (9.5 * s, 0.52), (7.0 * s, 0.46)):
            points = _scattered(width, height, max(3.5, step), 0.30, rng)
            index, distance, _ = _nearest(points, width, height)
            cells = _Cells(index)
            size = (
                max(3.5, step) * radius * rng.uniform(0.72, 1.08, cells.number).astype(np.float32)
            )
            cover = np.clip(size[cells.index] - distance + 0.5, 0, 1)
            shade = np.clip(1.06 - 0.16 * distance / max(3.5, step), 0.8, 1.06)
            tint = rng.normal(0, 13, (cells.number, 3)).astype(np.float32)
            tint -= 0.6 * tint.mean(axis=1, keepdims=True)
            self._layers.append(
                (cells, cover[..., None], shade[..., None].astype(np.float32), tint)
            )

    def draw(self, picture: Image) -> Image:
        out: Image | None = None
        for cells, cover, shade, tint in self._layers:
            colours = cells.means(picture)
            grey = colours.mean(axis=1, keepdims=True)
            colours = np.clip(grey + (colours - grey) * 1.4 + tint, 0, 255)
            dots = colours[cells.index] * shade
            out = dots if out is None else out + (dots - out) * cover
        assert out is not None  # noqa: S101  there are layers
        return np.asarray(np.clip(out, 0, 255), np.uint8)


class Mosaic:
    """Tesserae of one colour each with dark joints and a bevel that catches the light."""

    memory = 0.0

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        s = max(0.5, min(width, height) / 720)
        step = max(5.0, 15 * s)
        points = _scattered(width, height, step, 0.20, rng)
        index, first, second = _nearest(points, width, height)
        self._cells = _Cells(index)
        gap = (second - first) / 2  # distance to the joint
        self._face = np.clip((gap - 0.25 * s) / max(0.8, 0.8 * s), 0, 1).astype(np.float32)[
            ..., None
        ]
        rise = np.clip(gap / (0.28 * step), 0, 1).astype(np.float32)
        gy, gx = np.asarray(np.gradient(rise))
        self._light = (1 - 0.55 * step * 0.28 * 0.5 * (gx + gy))[..., None].astype(np.float32)
        self._tint = rng.normal(1.0, 0.045, (self._cells.number, 1)).astype(np.float32)

    def draw(self, picture: Image) -> Image:
        colours = self._cells.means(picture)
        grey = colours.mean(axis=1, keepdims=True)
        colours = np.clip((grey + (colours - grey) * 1.3) * self._tint, 0, 255)
        tiles = colours[self._cells.index] * self._light
        joint = 0.42 * tiles + 10  # mortar in the shade of its tile
        return np.asarray(np.clip(joint + (tiles - joint) * self._face, 0, 255), np.uint8)


class Halftone:
    """Four inks in dots on screens at the printer's angles."""

    memory = 0.0

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        pitch = max(3.2, min(width, height) / 135)
        gy, gx = np.mgrid[0:height, 0:width].astype(np.float32)
        self._blur = pitch * 0.30
        self._screens = []
        for angle in (15.0, 75.0, 0.0, 45.0):  # cyan, magenta, yellow, black
            c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            u, v = (c * gx + s * gy) / pitch, (c * gy - s * gx) / pitch
            screen = 0.5 + 0.25 * (np.cos(2 * math.pi * u) + np.cos(2 * math.pi * v))
            # equal area: the threshold at which a share a of the paper is covered is 1 - a
            ranks = np.sort(screen[:: max(1, height // 256), :: max(1, width // 256)].ravel())
            share = np.searchsorted(ranks, screen.ravel()) / ranks.size
            self._screens.append(share.reshape(screen.shape).astype(np.float32))
        self._soft = pitch

    def draw(self, picture: Image) -> Image:
        import cv2

        soft = cv2.GaussianBlur(picture, (0, 0), self._blur).astype(np.float32) / 255
        grey = soft.mean(axis=-1, keepdims=True)
        soft = np.clip(grey + (soft - grey) * 1.25, 0, 1)
        cmy = 1 - soft
        black = np.clip((cmy.min(axis=-1) - 0.2) / 0.8, 0, 1) ** 1.15
        # grey is black ink; magenta and yellow dyes are stronger than cyan
        rest = np.clip(cmy - 0.95 * black[..., None], 0, 1) * np.array([1, 0.86, 0.78], np.float32)
        inks = [*np.moveaxis(rest, -1, 0), black]
        dyes = ((0.0, 0.62, 0.89), (0.90, 0.08, 0.50), (1.0, 0.90, 0.05), (0.10, 0.09, 0.11))
        out = np.empty_like(soft)
        out[:] = (0.965, 0.945, 0.895)
        for amount, screen, dye in zip(inks, self._screens, dyes, strict=True):
            cover = np.clip((amount - (1 - screen)) * self._soft * 0.6 + 0.5, 0, 1)
            cover = cover * np.clip(amount * 12, 0, 1)
            out *= 1 - cover[..., None] * (1 - np.array(dye, np.float32))
        return np.asarray(np.clip(out * 255, 0, 255), np.uint8)
