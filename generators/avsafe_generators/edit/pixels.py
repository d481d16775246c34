"""Operators on the pixels of one frame; each a pure function of the frame and its parameters.

Legend: a picture is (h, w, 3) float32 RGB in 0..255; ``amount`` is a share, negative for less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Sepia: the luma times a warm paper tone.
_SEPIA = np.array([1.07, 0.90, 0.70], np.float32)
_MOON = np.array([0.55, 0.72, 1.10], np.float32)  # moonlight as films print it: blue, less red


def brightness(picture: F32, amount: float = 0.3, **_: Any) -> F32:
    """A gamma curve: black and white stay, the middle rises (0.3: from 50 % to 60 %)."""
    gamma = 1.0 / (1.0 + amount) if amount >= 0 else 1.0 - amount * 1.3
    return cast(F32, 255 * np.power(picture / 255, gamma))


def contrast(picture: F32, amount: float = 0.3, **_: Any) -> F32:
    """Distances from middle grey times 1 + amount."""
    return cast(F32, 127.5 + (picture - 127.5) * max(0.0, 1 + amount))


def saturation(picture: F32, amount: float = 0.4, **_: Any) -> F32:
    """Distances from the grey of the same luma times 1 + amount."""
    grey = (picture @ _LUMA)[..., None]
    return cast(F32, grey + (picture - grey) * max(0.0, 1 + amount))


def temperature(picture: F32, amount: float = 0.35, **_: Any) -> F32:
    """Warmer (red up, blue down), or cooler for a negative amount; the luma stays."""
    gains = np.array([1 + 0.3 * amount, 1 + 0.03 * amount, 1 - 0.4 * amount], np.float32)
    warmer = picture * gains
    luma = (picture @ _LUMA) / np.maximum(warmer @ _LUMA, 1e-3)
    return cast(F32, warmer * np.clip(luma, 0.5, 2.0)[..., None])


def greyscale(picture: F32, **_: Any) -> F32:
    return cast(F32, np.repeat((picture @ _LUMA)[..., None], 3, axis=2))


def sepia(picture: F32, **_: Any) -> F32:
    return cast(F32, (picture @ _LUMA)[..., None] * _SEPIA)


def invert(picture: F32, **_: Any) -> F32:
    return 255 - picture


def night(picture: F32, **_: Any) -> F32:
    """A day-for-night grade: darker, bluer, less colour; the brightest parts keep some light."""
    grey = (picture @ _LUMA)[..., None] / 255
    dull = 0.45 * picture / 255 + 0.55 * grey
    dark = np.power(np.clip(dull, 0, 1), 1.3) * 0.5
    lamps = 0.25 * np.clip((grey - 0.85) / 0.15, 0, 1) ** 2
    return cast(F32, 255 * (dark * _MOON + lamps))


def blur(picture: F32, amount: float = 1.0, **_: Any) -> F32:
    """A Gaussian; amount 1 is 2 % of the shorter side."""
    import cv2

    sigma = max(0.6, 0.02 * amount * min(picture.shape[:2]))
    return cast(F32, cv2.GaussianBlur(picture, (0, 0), sigma))


def sharpen(picture: F32, amount: float = 1.0, **_: Any) -> F32:
    """Unsharp masking of the luma, halos limited to what the neighbourhood shows plus 8 levels."""
    import cv2

    luma = np.ascontiguousarray(picture @ _LUMA)
    detail = luma - cv2.GaussianBlur(luma, (0, 0), 1.4)
    raised = luma + 1.2 * amount * detail
    kernel = np.ones((5, 5), np.uint8)
    raised = np.clip(raised, cv2.erode(luma, kernel) - 8, cv2.dilate(luma, kernel) + 8)
    return cast(F32, picture + (raised - luma)[..., None])


def denoise(picture: F32, amount: float = 1.0, **_: Any) -> F32:
    """A bilateral filter on 8 bits: noise goes, edges stay."""
    import cv2

    level = float(np.clip(22 * amount, 5, 80))
    return cast(F32, cv2.bilateralFilter(np.ascontiguousarray(picture), 7, level, 3.0))


def pixelate(picture: F32, **_: Any) -> F32:
    """Cells of a sixteenth of the shorter side."""
    import cv2

    height, width = picture.shape[:2]
    cell = max(2, min(height, width) // 16)
    size = (-(-width // cell), -(-height // cell))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cast(F32, cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def vignette(picture: F32, amount: float = 0.6, **_: Any) -> F32:
    """Darker towards the corners, by up to ``amount``."""
    height, width = picture.shape[:2]
    ys, xs = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    far = np.clip((np.hypot(xs, ys) - 0.45) / 0.96, 0, 1)
    shade = 1 - min(1.0, amount) * far * far * (3 - 2 * far)
    return cast(F32, (picture * shade[..., None]).astype(np.float32))


def style(picture: F32, style: str = "cartoon", **_: Any) -> F32:
    """Simple looks, frame by frame; the generator ``stylize`` does more, and steadier."""
    import cv2

    byte = np.clip(picture, 0, 255).astype(np.uint8)
    luma = np.ascontiguousarray(picture @ _LUMA)
    if style == "sketch":
        soft = cv2.GaussianBlur(luma, (0, 0), 6.0)
        drawn = np.clip(255 * (luma + 2) / (soft + 2), 0, 255)
        return np.repeat((255 * (drawn / 255) ** 1.6)[..., None], 3, axis=2).astype(np.float32)
    if style == "emboss":
        edge = cv2.filter2D(luma, -1, np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32))
        return np.repeat(np.clip(128 + edge, 0, 255)[..., None], 3, axis=2).astype(np.float32)
    if style == "poster":
        smooth = cv2.bilateralFilter(byte, 7, 40, 5).astype(np.float32)
        return cast(F32, np.round(smooth / 51) * 51)
    if style == "oil":
        small = cv2.resize(byte, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        for _round in range(2):
            small = cv2.medianBlur(small, 7)
        size = (byte.shape[1], byte.shape[0])
        return sharpen(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC).astype(np.float32))
    half = cv2.resize(byte, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for _round in range(3):
        half = cv2.bilateralFilter(half, 7, 45, 6)
    flat = cv2.resize(half, byte.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if style == "watercolour":
        paper = cv2.GaussianBlur(flat, (0, 0), 1.2).astype(np.float32)
        return saturation((255 * (paper / 255) ** 0.8).astype(np.float32), 0.25)
    even = flat.astype(np.float32)
    tone = even @ _LUMA
    step = (tone / 32 - np.floor(tone / 32)).astype(
        np.float32
    )  # eight tones with soft borders, the hue left alone
    toned = 32 * (np.floor(tone / 32) + ramp_at(step, 0.35, 0.65))
    shades = even * ((toned + 12) / (tone + 12))[..., None]
    edge = cv2.GaussianBlur(luma, (0, 0), 1.0) - cv2.GaussianBlur(luma, (0, 0), 3.0)
    ink = np.clip(1 + (edge + 6) / 14, 0.1, 1)[..., None]  # lines where it is darker than around
    return saturation((shades * ink).astype(np.float32), 0.35)


def ramp_at(values: F32, low: float, high: float) -> F32:
    """0 below ``low``, 1 above ``high``, straight between."""
    return cast(F32, np.clip((values - low) / (high - low), 0, 1))


OPERATORS: Mapping[str, Callable[..., F32]] = {
    "brightness": brightness, "contrast": contrast, "saturation": saturation,
    "temperature": temperature, "greyscale": greyscale, "sepia": sepia, "invert": invert,
    "night": night, "blur": blur, "sharpen": sharpen, "denoise": denoise, "pixelate": pixelate,
    "vignette": vignette, "style": style,
}  # fmt: skip
