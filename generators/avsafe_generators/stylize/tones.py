"""Styles of light and colour alone: noir, vintage, duotone, thermal.

Levels are those of the whole clip, grain and vignette stand still; nothing flickers unless asked.

Legend: a picture ``(h, w, 3)`` uint8 RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.cinemagraph.fields import noise
from avsafe_generators.stylize.clip import Clip

Image = NDArray[Any]


def vignette(width: int, height: int, strength: float) -> Image:
    gy, gx = np.mgrid[0:height, 0:width].astype(np.float32)
    r = ((gx / width - 0.5) ** 2 + (gy / height - 0.5) ** 2) / 0.5
    return np.asarray((1 - strength * np.clip(r, 0, 1) ** 1.3), np.float32)


def levels(luma: Image, clip: Clip) -> Image:
    """0 at the clip's dark, 1 at its bright, the median at 0.42."""
    out = np.clip((luma - clip.dark) / (clip.bright - clip.dark), 0, 1)
    middle = min(0.8, max(0.15, (clip.middle - clip.dark) / (clip.bright - clip.dark)))
    return np.asarray(out ** float(np.clip(np.log(0.42) / np.log(middle), 0.6, 1.7)), np.float32)


class Noir:
    """Black and white with deep shadows, glowing lights and a dark border."""

    memory = 0.35

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        self._s = max(0.4, min(width, height) / 720)
        self._clip, self._dim = clip, vignette(width, height, 0.5)
        self._grain = 0.016 * noise((height, width), 1.6 * self._s, rng)

    def draw(self, picture: Image) -> Image:
        import cv2

        # an orthochromatic mix: skin and lips darker, skies lighter
        luma = (picture @ np.array([0.22, 0.56, 0.22], np.float32)) / 255
        tone = levels(luma.astype(np.float32), self._clip)
        tone = tone + 0.35 * (tone - cv2.GaussianBlur(tone, (0, 0), 18 * self._s))
        tone = np.clip(tone, 0, 1)
        curve = tone * tone * (3 - 2 * tone)
        curve = 0.45 * curve + 0.35 * curve * curve + 0.18 * tone
        bloom = cv2.GaussianBlur(np.maximum(curve - 0.6, 0), (0, 0), 14 * self._s)
        out = (curve + 0.55 * bloom) * self._dim
        out = np.clip(out + self._grain * (0.4 + out), 0, 1)
        grey = (out * 255).astype(np.uint8)
        return np.asarray(cv2.merge([grey, grey, grey]))


class Vintage:
    """A faded film: warm lights, teal shadows, halation, soft corners. ``flicker`` above 0 lets
    brightness and grain change from frame to frame."""

    memory = 0.35

    def __init__(
        self, width: int, height: int, rng: np.random.Generator, clip: Clip, flicker: float
    ) -> None:
        self._s = max(0.4, min(width, height) / 720)
        self._dim, self._flicker, self._rng = vignette(width, height, 0.38), flicker, rng
        self._shape = (height, width)
        self._grain = self._new_grain()
        gy, gx = np.mgrid[0:height, 0:width].astype(np.float32)
        leak = np.exp(-((gx / width - 1.02) ** 2) / 0.05 - ((gy / height - 0.25) ** 2) / 0.35)
        self._leak = (0.16 * leak)[..., None] * np.array([1.0, 0.42, 0.12], np.float32)
        x = np.linspace(0, 1, 256, dtype=np.float32)
        curve = 0.085 + 0.86 * (0.55 * x + 0.45 * x * x * (3 - 2 * x))
        self._curves = np.stack(
            [curve**0.90 + 0.012, curve**0.98, 0.055 + 0.83 * curve**1.02], axis=-1
        ).astype(np.float32)

    def _new_grain(self) -> Image:
        return np.asarray(0.018 * noise(self._shape, 1.8 * self._s, self._rng), np.float32)

    def draw(self, picture: Image) -> Image:
        import cv2

        soft = cv2.GaussianBlur(picture, (0, 0), max(0.3, 0.7 * self._s))
        out = np.empty(picture.shape, np.float32)
        for c in range(3):
            out[..., c] = self._curves[:, c][soft[..., c]]
        grey = (out @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        out = grey + (out - grey) * 0.78
        small = cv2.resize(out, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        halo = cv2.GaussianBlur(np.maximum(small - 0.62, 0), (0, 0), 5 * self._s)
        halo = cv2.resize(halo, (picture.shape[1], picture.shape[0]))
        out = out + halo * np.array([1.0, 0.5, 0.22], np.float32) * 0.9 + self._leak
        out *= self._dim[..., None]
        if self._flicker > 0:
            self._grain = self._new_grain()
            out *= np.float32(1 + 0.05 * self._flicker * self._rng.standard_normal())
        out += self._grain[..., None]
        return np.asarray(np.clip(out * 255, 0, 255), np.uint8)


def _gradient(stops: list[tuple[float, tuple[int, int, int]]]) -> Image:
    """(256, 3) uint8 from colours at positions 0..1."""
    at = np.array([stop for stop, _ in stops])
    colours = np.array([colour for _, colour in stops], float)
    x = np.linspace(0, 1, 256)
    return np.asarray(
        np.stack([np.interp(x, at, colours[:, c]) for c in range(3)], axis=-1), np.uint8
    )


class Duotone:
    """Two inks: deep blue in the shadows, warm coral to cream in the lights."""

    memory = 0.35
    _MAP = _gradient(
        [(0.0, (16, 14, 62)), (0.35, (86, 30, 118)), (0.68, (246, 104, 94)), (1.0, (255, 240, 205))]
    )

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        self._clip = clip

    def draw(self, picture: Image) -> Image:
        import cv2

        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        tone = levels(luma, self._clip)
        tone = 0.6 * tone + 0.4 * tone * tone * (3 - 2 * tone)
        return np.asarray(self._MAP[(tone * 255).astype(np.uint8)])


class Thermal:
    """The colours of a heat camera over brightness: it looks like heat and measures none."""

    memory = 0.45
    _MAP = _gradient(
        [
            (0.0, (4, 2, 22)), (0.18, (44, 8, 118)), (0.38, (150, 18, 138)), (0.56, (232, 62, 64)),
            (0.74, (252, 148, 24)), (0.9, (252, 232, 92)), (1.0, (255, 255, 236)),
        ]
    )  # fmt: skip

    def __init__(self, width: int, height: int, rng: np.random.Generator, clip: Clip) -> None:
        self._clip, self._s = clip, max(0.4, min(width, height) / 720)

    def draw(self, picture: Image) -> Image:
        import cv2

        # skin and other warm colours count as warmer; the sensor is soft
        warm = picture @ np.array([0.62, 0.36, 0.02], np.float32)
        tone = levels((warm / 255).astype(np.float32), self._clip)
        tone = cv2.GaussianBlur(tone, (0, 0), 2.4 * self._s)
        tone = np.clip(tone + 0.3 * (tone - cv2.GaussianBlur(tone, (0, 0), 30 * self._s)), 0, 1)
        return np.asarray(self._MAP[(tone * 255).astype(np.uint8)])
