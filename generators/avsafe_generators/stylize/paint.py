"""Painterly styles: watercolor and oil.

Legend: a picture ``(h, w, 3)`` uint8 RGB; ``scale`` is 1 for frames 720 pixels high.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
_WORK = 960 * 540  # pixels at which brush-sized detail is worked out


def kuwahara(picture: Image, radius: int) -> Image:
    """Smooth patches with clean edges: of eight windows around a pixel the even ones count.

    The weighted form of Papari et al., "Artistic edge and corner enhancing smoothing" (IEEE TIP 16,
    2007) with box windows. Float32 ``(h, w, 3)``, 0..1, in and out.
    """
    import cv2

    h, w = picture.shape[:2]
    size = (2 * radius + 1, 2 * radius + 1)
    pad = radius + 1
    mean = cv2.blur(picture, size, borderType=cv2.BORDER_REFLECT)
    luma = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    spread = cv2.blur(luma * luma, size, borderType=cv2.BORDER_REFLECT)
    spread -= cv2.blur(luma, size, borderType=cv2.BORDER_REFLECT) ** 2
    weight = 1 / (4e-4 + np.maximum(spread, 0)) ** 2
    mixed = cv2.multiply(mean, cv2.merge([weight, weight, weight]))
    packed = cv2.copyMakeBorder(
        cv2.merge([*cv2.split(mixed), weight]), pad, pad, pad, pad, cv2.BORDER_REFLECT
    )
    total = np.zeros((h, w, 4), np.float32)
    for k in range(8):
        dx = round(radius * math.cos(k * math.pi / 4))
        dy = round(radius * math.sin(k * math.pi / 4))
        total += packed[pad + dy : pad + dy + h, pad + dx : pad + dx + w]
    return np.asarray(total[..., :3] / total[..., 3:], np.float32)


def work_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, math.sqrt(_WORK / (width * height)))
    return max(8, round(width * scale)), max(8, round(height * scale))


def paper(width: int, height: int, grain: float, rng: np.random.Generator) -> Image:
    """Fibres and tooth of paper: mean 0, deviation about 1, (h, w) float32."""
    from avsafe_generators.cinemagraph.fields import noise

    out = (
        0.55 * noise((height, width), 2.6 * grain, rng)
        + 0.35 * noise((height, width), 7 * grain, rng)
        + 0.25 * noise((height, width), 40 * grain, rng)
    )
    return np.asarray(out, np.float32)


class Watercolor:
    """Washes on paper: flat patches with wavering edges, pigment pooled at the edges and in the
    paper's hollows (the density model of Bousseau et al., "Interactive watercolor rendering",
    NPAR 2006)."""

    memory = 0.78

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        from avsafe_generators.cinemagraph.fields import noise

        self._full, self._work = (width, height), work_size(width, height)
        ww, wh = self._work
        self._scale = max(0.35, wh / 540 if width >= height else ww / 540)
        gy, gx = np.mgrid[0:wh, 0:ww].astype(np.float32)
        s = self._scale
        self._map_x = gx + 1.5 * s * noise((wh, ww), 14 * s, rng) + s * noise((wh, ww), 5, rng)
        self._map_y = gy + 1.5 * s * noise((wh, ww), 14 * s, rng) + s * noise((wh, ww), 5, rng)
        grain = max(0.6, min(width, height) / 720)
        wash = noise((height, width), 90 * grain, rng) * 0.5 + noise(
            (height, width), 240 * grain, rng
        )
        self._density = (1 + 0.085 * paper(width, height, grain, rng) + 0.085 * wash).astype(
            np.float32
        )
        self._tone = (1 + 0.012 * paper(width, height, grain, rng)).astype(np.float32)

    def draw(self, picture: Image) -> Image:
        import cv2

        small = cv2.resize(picture, self._work, interpolation=cv2.INTER_AREA)
        flat = kuwahara(small.astype(np.float32) / 255, max(2, round(4.2 * self._scale)))
        flat = cv2.remap(
            flat, self._map_x, self._map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        luma = flat @ np.array([0.299, 0.587, 0.114], np.float32)
        steep = np.hypot(
            cv2.Sobel(luma, cv2.CV_32F, 1, 0, scale=0.25),
            cv2.Sobel(luma, cv2.CV_32F, 0, 1, scale=0.25),
        )
        pooled = np.tanh(cv2.GaussianBlur(steep, (0, 0), 1.1 * self._scale) * 9) * 0.75
        # light washes: colours lifted towards the paper, a little more saturated
        grey = luma[..., None]
        flat = np.clip(grey + (flat - grey) * 1.28, 0, 1)
        flat = 1 - (1 - flat**0.82) * 0.9
        full = cv2.resize(flat, self._full, interpolation=cv2.INTER_CUBIC)
        density = cv2.resize(pooled.astype(np.float32), self._full) + self._density
        # C (1 - (1 - C)(d - 1)): density d darkens a pigment without greying it
        out = full * (1 - (1 - full) * (density - 1)[..., None]) * self._tone[..., None]
        out *= np.array([1.0, 0.992, 0.965], np.float32)
        return np.asarray(np.clip(out * 255, 0, 255), np.uint8)


class Oil:
    """Thick paint: larger patches, strokes along the edges of things, light on their relief."""

    memory = 0.8

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self._full, self._work = (width, height), work_size(width, height)
        ww, wh = self._work
        self._scale = max(0.35, min(ww, wh) / 540)
        self._noise = rng.standard_normal((wh, ww)).astype(np.float32)
        gy, gx = np.mgrid[0:wh, 0:ww]
        self._gx, self._gy = gx.astype(np.float32), gy.astype(np.float32)

    def draw(self, picture: Image) -> Image:
        import cv2

        small = cv2.resize(picture, self._work, interpolation=cv2.INTER_AREA)
        flat = kuwahara(small.astype(np.float32) / 255, max(2, round(5.2 * self._scale)))
        luma = flat @ np.array([0.299, 0.587, 0.114], np.float32)
        gx, gy = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
        wide = 5.0 * self._scale
        xx, xy, yy = (cv2.GaussianBlur(p, (0, 0), wide) for p in (gx * gx, gx * gy, gy * gy))
        # a faint slope everywhere gives even areas one direction instead of noise
        angle = 0.5 * np.arctan2(2 * xy + 2e-5, xx - yy + 1e-5) + np.float32(math.pi / 2)
        tx, ty = np.cos(angle), np.sin(angle)
        bristles: Any = self._noise
        step = 1.0
        for _ in range(4):  # averages along the strokes, twice as far each time
            ahead = cv2.remap(
                bristles, self._gx + tx * step, self._gy + ty * step, cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )  # fmt: skip
            back = cv2.remap(
                bristles, self._gx - tx * step, self._gy - ty * step, cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            )  # fmt: skip
            bristles = 0.34 * bristles + 0.33 * (ahead + back)
            step *= 1.9
        bristles = cv2.GaussianBlur(bristles, (0, 0), 0.8)
        bristles = bristles / (float(bristles.std()) + 1e-6)
        relief: Any = 0.55 * bristles + 5.0 * luma
        light: Any = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=0.25) + cv2.Sobel(
            relief, cv2.CV_32F, 0, 1, scale=0.25
        )
        grey = luma[..., None]
        vivid = np.clip(grey + (flat - grey) * 1.32, 0, 1)
        vivid = vivid + 0.10 * (vivid * vivid * (3 - 2 * vivid) - vivid) * 3
        shade = (0.085 * np.tanh(1.3 * light) + 0.022 * bristles) * (1.1 - 0.6 * luma)
        out = vivid * (1 + shade[..., None]) + 0.3 * np.maximum(shade, 0)[..., None]
        large = cv2.resize(out.astype(np.float32), self._full, interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(large * 255, 0, 255), np.uint8)
