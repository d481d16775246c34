"""Drawn styles: pencil, ink, comic, poster, neon, blueprint.

Lines are soft thresholds of a difference of Gaussians (XDoG: Winnemöller et al., "XDoG: an eXtended
difference-of-Gaussians compendium", Computers & Graphics 36, 2012), so that a small change of the
picture is a small change of the line.

Legend: a picture ``(h, w, 3)`` uint8 RGB; ink ``(h, w)`` float32, 1 on the line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.stylize.clip import Clip
from avsafe_generators.stylize.paint import kuwahara, paper, work_size

Image = NDArray[Any]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def luma_of(picture: Image) -> Image:
    import cv2

    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)


def ink(luma: Image, width_px: float, threshold: float = 0.012, hardness: float = 90.0) -> Image:
    """Dark lines: where a pixel is darker than what is around it. ``luma`` 0..1."""
    import cv2

    narrow = cv2.GaussianBlur(luma, (0, 0), width_px)
    broad = cv2.GaussianBlur(luma, (0, 0), 1.6 * width_px)
    out: Image = 0.5 + 0.5 * np.tanh(hardness * (broad - narrow - threshold))
    return out


class Pencil:
    """Graphite on paper: outlines, and hatching in three directions that darkness calls up."""

    memory = 0.8

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        self._s = max(0.45, min(width, height) / 720)
        self._clip = clip
        self._hatch = [_hatching(width, height, a, self._s, rng) for a in (-40.0, -52.0, 38.0)]
        self._paper = paper(width, height, self._s, rng)

    def draw(self, picture: Image) -> Image:
        import cv2

        luma = luma_of(picture)
        lines = np.maximum(
            ink(luma, 1.0 * self._s, 0.015, 80), 0.8 * ink(luma, 2.4 * self._s, 0.013, 60)
        )
        tone = cv2.GaussianBlur(luma, (0, 0), 1.6 * self._s)
        tone = np.clip((tone - self._clip.dark) / (self._clip.bright - self._clip.dark), 0, 1)
        dark = 1 - tone**0.75
        graphite = np.zeros_like(dark)
        for hatch, start, weight in zip(
            self._hatch, (0.16, 0.42, 0.66), (0.42, 0.36, 0.36), strict=True
        ):
            amount = np.clip((dark - start) / 0.34, 0, 1)
            graphite = graphite + weight * amount * np.clip(
                0.35 + 0.5 * hatch + 0.65 * amount, 0, 1
            )
        graphite = np.clip(graphite + 0.22 * dark**2, 0, 0.86)
        # the tooth of the paper takes graphite unevenly
        graphite *= np.clip(1 - 0.10 * self._paper, 0.4, 1.4)
        out = np.clip(1 - np.maximum(graphite, 0.85 * lines), 0.05, 1) + 0.008 * self._paper
        sheet = np.array([250, 248, 242], np.float32)
        return np.asarray(np.clip(out[..., None] * sheet, 0, 255), np.uint8)


def _hatching(
    width: int, height: int, angle_deg: float, scale: float, rng: np.random.Generator
) -> Image:
    """Noise drawn out along a direction: pencil strokes, mean 0, deviation 1."""
    import cv2

    side = int(np.hypot(width, height)) + 8
    raw: Any = rng.standard_normal((side, side)).astype(np.float32)
    raw = cv2.GaussianBlur(raw, (0, 0), sigmaX=14 * scale, sigmaY=0.85 * scale)
    raw = raw / (float(raw.std()) + 1e-6)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), angle_deg, 1.0)
    turned = cv2.warpAffine(raw, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    y, x = (side - height) // 2, (side - width) // 2
    return np.ascontiguousarray(turned[y : y + height, x : x + width])


class Ink:
    """Black ink on white: areas of shade and lines, as in a woodcut."""

    memory = 0.72

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        self._s = max(0.45, min(width, height) / 720)
        self._clip = clip
        self._cut = _hatching(width, height, 12.0, self._s * 2.2, rng)

    def draw(self, picture: Image) -> Image:
        import cv2

        luma = luma_of(picture)
        lines = ink(luma, 1.7 * self._s, 0.010, 130)
        tone = cv2.GaussianBlur(luma, (0, 0), 2.2 * self._s)
        tone = (tone - self._clip.dark) / (self._clip.bright - self._clip.dark)
        # local contrast keeps form inside the shadows; engraved strokes make the half tones
        tone = tone + 0.9 * (tone - cv2.GaussianBlur(tone, (0, 0), 22 * self._s))
        black = 0.5 + 0.5 * np.tanh(7 * (0.40 + 0.10 * self._cut - tone))
        out = 1 - np.maximum(black, lines)
        sheet, dye = np.array([248, 244, 234], np.float32), np.array([24, 22, 26], np.float32)
        return np.asarray(np.clip(dye + out[..., None] * (sheet - dye), 0, 255), np.uint8)


class Comic:
    """Even colours in steps of light, black outlines (Winnemöller et al., "Real-time video
    abstraction", SIGGRAPH 2006: soft steps don't jump)."""

    memory = 0.76

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        self._full, self._work = (width, height), work_size(width, height)
        self._s = max(0.45, min(width, height) / 720)
        self._radius = max(2, round(3.4 * min(self._work) / 540))
        self._clip = clip

    def draw(self, picture: Image) -> Image:
        import cv2

        small = cv2.resize(picture, self._work, interpolation=cv2.INTER_AREA)
        flat = kuwahara(small.astype(np.float32) / 255, self._radius)
        lab: Image = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB)
        light = np.clip(
            (lab[..., 0] / 100 - self._clip.dark) / (self._clip.bright - self._clip.dark), 0, 1
        )
        light = 0.08 + 0.92 * light**0.85
        steps = 6.0
        nearest = np.round(light * steps) / steps
        stepped = nearest + np.tanh((light - nearest) * steps * 2.6) / (2 * steps)
        lab[..., 0] = 100 * np.clip(0.25 * light + 0.75 * stepped, 0, 1)
        lab[..., 1:] *= 1.45
        colour = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)
        colour = cv2.resize(colour, self._full, interpolation=cv2.INTER_CUBIC)
        smooth = cv2.resize(flat @ _LUMA, self._full, interpolation=cv2.INTER_CUBIC)
        lines = np.maximum(
            ink(smooth, 1.5 * self._s, 0.014, 130), ink(smooth, 3.0 * self._s, 0.024, 90)
        )
        out = colour * (1 - 0.94 * lines)[..., None]
        return np.asarray(np.clip(out * 255, 0, 255), np.uint8)


class Poster:
    """A screen print: twelve colours of the clip in clean shapes."""

    memory = 0.72

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        import cv2

        self._full, self._work = (width, height), work_size(width, height)
        self._radius = max(2, round(4.5 * min(self._work) / 540))
        self._palette = clip.palette(12, 2.0)
        vivid = self._palette.copy()
        chroma = np.hypot(vivid[:, 1] - 128, vivid[:, 2] - 128)
        gain = 1 + 0.9 * np.clip((chroma - 7) / 14, 0, 1)  # greys stay grey
        vivid[:, 1:] = 128 + (vivid[:, 1:] - 128) * gain[:, None]
        low, high = float(vivid[:, 0].min()), float(vivid[:, 0].max())
        vivid[:, 0] = 22 + (vivid[:, 0] - low) / max(1.0, high - low) * 226
        shown = np.clip(vivid, 0, 255).astype(np.uint8)[None]
        self._inks = cv2.cvtColor(shown, cv2.COLOR_LAB2RGB)[0].astype(np.float32)

    def draw(self, picture: Image) -> Image:
        import cv2

        small = cv2.resize(picture, self._work, interpolation=cv2.INTER_AREA)
        flat = kuwahara(small.astype(np.float32) / 255, self._radius)
        lab: Image = cv2.cvtColor((flat * 255).astype(np.uint8), cv2.COLOR_RGB2LAB).astype(
            np.float32
        )
        lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
        total = np.zeros((*lab.shape[:2], 3), np.float32)
        weight = np.full(lab.shape[:2], 1e-12, np.float32)
        least = None
        apart = [
            ((lab - colour) ** 2) @ np.array([1.0, 2.2, 2.2], np.float32)
            for colour in self._palette
        ]
        least = np.minimum.reduce(apart)
        for distance, dye in zip(apart, self._inks, strict=True):
            share = np.exp((least - distance) / 40.0)  # nearly the nearest colour alone
            total += share[..., None] * dye
            weight += share
        out = cv2.resize(total / weight[..., None], self._full, interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(out, 0, 255), np.uint8)


class Neon:
    """Outlines glow in the colours of things, the rest goes dark."""

    memory = 0.78

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self._full, self._work = (width, height), work_size(width, height)
        self._s = max(0.4, min(self._work) / 540)

    def draw(self, picture: Image) -> Image:
        import cv2

        small = cv2.resize(picture, self._work, interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(small, (0, 0), 1.3 * self._s).astype(np.float32) / 255
        luma = soft @ _LUMA
        steep = np.zeros_like(luma)
        for c in range(3):
            steep = np.maximum(
                steep,
                np.hypot(
                    cv2.Sobel(soft[..., c], cv2.CV_32F, 1, 0, scale=0.25),
                    cv2.Sobel(soft[..., c], cv2.CV_32F, 0, 1, scale=0.25),
                ),
            )
        edge = np.clip((steep - 0.022) * 13, 0, 1.2)
        wide = cv2.GaussianBlur(soft, (0, 0), 9 * self._s)
        chroma = wide - (wide @ _LUMA)[..., None]
        size = np.sqrt((chroma**2).sum(axis=-1, keepdims=True))
        # where a thing has no colour of its own: cyan in the dark, magenta in the light
        lum = np.clip((wide @ _LUMA)[..., None], 0, 1)
        own = 0.5 + 0.62 * chroma / (size + 0.02)
        plain = (1 - lum) * np.array([0.1, 0.85, 1.0], np.float32) + lum * np.array(
            [1.0, 0.25, 0.85], np.float32
        )
        share = np.clip(size * 7 - 0.15, 0, 1)
        hue = own * share + plain * (1 - share)
        glow = edge[..., None] * hue
        halo = cv2.GaussianBlur(glow, (0, 0), 3 * self._s) + 0.9 * cv2.GaussianBlur(
            glow, (0, 0), 11 * self._s
        )
        core = (edge[..., None] ** 2) * (0.35 + 0.65 * hue)
        out = 0.10 * soft * np.array([0.5, 0.45, 1.0], np.float32) + 0.85 * halo + core
        out = 1 - np.exp(-1.5 * out)
        large = cv2.resize(out.astype(np.float32), self._full, interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.clip(large * 255, 0, 255), np.uint8)


class Blueprint:
    """White lines on blue paper with a grid."""

    memory = 0.76

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self._s = max(0.45, min(width, height) / 720)
        step = max(8, round(36 * self._s))
        gy, gx = np.mgrid[0:height, 0:width]
        grid = ((gx % step == 0) | (gy % step == 0)) * 0.10
        grid = grid + ((gx % (5 * step) == 0) | (gy % (5 * step) == 0)) * 0.10
        self._sheet = (grid + 0.035 * paper(width, height, self._s, rng)).astype(np.float32)

    def draw(self, picture: Image) -> Image:
        import cv2

        luma = luma_of(picture)
        lines = np.maximum(
            ink(luma, 1.1 * self._s, 0.008, 110), 0.8 * ink(luma, 2.6 * self._s, 0.012, 80)
        )
        wash = cv2.GaussianBlur(luma, (0, 0), 3 * self._s)
        out = np.clip(0.05 + 0.16 * wash + self._sheet, 0, 1)
        out = np.maximum(out, 0.92 * lines)
        deep, white = np.array([14, 52, 118], np.float32), np.array([240, 246, 255], np.float32)
        return np.asarray(np.clip(deep + out[..., None] * (white - deep), 0, 255), np.uint8)
