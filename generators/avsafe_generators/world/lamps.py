"""Light that a prompt asks for by name: what it does to the picture and to the objects.

Legend: the canvas image is (h, w, 3) float32 sRGB 0..1; colours of ``Light`` are linear.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.canvas import FLOOR, HORIZON, Canvas
from avsafe_generators.world.shading import RGB, Light

Array = NDArray[Any]  # float32

# strength of shadows on the floor, against those of the hour
SHADOW = {"spot": 1.25, "warm": 0.95, "golden": 1.2, "neon": 0.7, "back": 1.1}


def lit(canvas: Canvas, image: Array, light: str) -> Array:
    """The picture under a named light."""
    u, v = canvas.u, canvas.v
    match light:
        case "spot":
            floor = np.exp(-((u / 0.95) ** 2) - ((v - FLOOR + 0.02) / 0.155) ** 2)
            half = 0.10 + 0.62 * np.clip(v / FLOOR, 0, 1)
            cone = np.clip((half - np.abs(u)) / (0.10 + 0.16 * v), 0, 1) * np.clip(
                (FLOOR + 0.06 - v) / 0.25, 0, 1
            )
            out = image * (0.24 + 0.95 * floor)[..., None]
            beam = (0.085 * cone * (1 - 0.45 * np.clip(v / FLOOR, 0, 1)))[..., None]
            return np.asarray(out + beam * np.array((1.0, 0.96, 0.86), np.float32), np.float32)
        case "warm":
            glow = 0.72 + 0.34 * np.exp(-((u / 1.0) ** 2) - ((v - 0.66) / 0.45) ** 2)
            return image * glow[..., None] * np.array((1.10, 0.87, 0.64), np.float32)
        case "golden":
            ramp = 1.10 - 0.20 * np.clip((u + 1) / 2, 0, 1)  # brighter where the sun stands
            haze = 0.10 * np.exp(-(((v - HORIZON) / 0.20) ** 2)) * np.clip(0.7 - 0.5 * u, 0, 1.3)
            out = image * ramp[..., None] * np.array((1.10, 0.90, 0.66), np.float32)
            return np.asarray(
                out + haze[..., None] * np.array((1.0, 0.72, 0.36), np.float32), np.float32
            )
        case "neon":
            pink = np.exp(-(((u + 1.05) / 0.85) ** 2)) * (0.5 + 0.5 * np.clip(v, 0, 1))
            blue = np.exp(-(((u - 1.05) / 0.85) ** 2)) * (0.5 + 0.5 * np.clip(v, 0, 1))
            dark = image * np.array((0.36, 0.32, 0.48), np.float32)
            base = 0.35 + 0.65 * image.mean(axis=2, keepdims=True)
            out = dark + base * pink[..., None] * np.array((0.62, 0.08, 0.42), np.float32)
            return np.asarray(
                out + base * blue[..., None] * np.array((0.04, 0.34, 0.62), np.float32), np.float32
            )
        case _:  # back
            glow = np.exp(-((u / 0.75) ** 2) - ((v - HORIZON + 0.06) / 0.22) ** 2)
            streak = np.exp(-((u / 0.42) ** 2)) * np.clip((v - HORIZON) / 0.1, 0, 1)
            out = image * 0.62 + 0.62 * glow[..., None] * np.array((1.0, 0.94, 0.82), np.float32)
            return np.asarray(
                out + 0.16 * streak[..., None] * np.array((1.0, 0.92, 0.78), np.float32), np.float32
            )


def _scaled(color: RGB, share: RGB | float) -> RGB:
    red, green, blue = np.array(color) * np.array(share)
    return float(red), float(green), float(blue)


def lamp(light: Light, name: str) -> Light:
    """The light on the objects under a named light."""
    match name:
        case "spot":
            return replace(
                light, direction=_unit((-0.12, 0.93, 0.36)), key=(1.5, 1.44, 1.28),
                zenith=_scaled(light.zenith, 0.35), horizon=_scaled(light.horizon, 0.35),
                ground=_scaled(light.ground, 0.6),
            )  # fmt: skip
        case "warm":
            tint = (1.15, 0.80, 0.50)
            return replace(
                light, direction=_unit((-0.5, 0.6, 0.62)), key=(1.15, 0.76, 0.40),
                zenith=_scaled(light.zenith, tint), horizon=_scaled(light.horizon, tint),
                ground=_scaled(light.ground, tint),
            )  # fmt: skip
        case "golden":
            tint = (1.1, 0.82, 0.52)
            return replace(
                light, direction=_unit((-0.84, 0.36, 0.40)), key=(1.42, 0.90, 0.40),
                zenith=_scaled(light.zenith, 0.8), horizon=_scaled(light.horizon, tint),
                ground=_scaled(light.ground, tint),
            )  # fmt: skip
        case "neon":
            return replace(
                light, direction=_unit((-0.86, 0.30, 0.42)), key=(1.25, 0.22, 0.85),
                zenith=(0.10, 0.10, 0.26), horizon=(0.08, 0.42, 0.80), ground=(0.20, 0.06, 0.24),
            )  # fmt: skip
        case _:  # back
            return replace(
                light, direction=_unit((0.10, 0.50, -0.86)), key=(1.7, 1.58, 1.36),
                zenith=_scaled(light.zenith, 0.55), horizon=_scaled(light.horizon, 0.55),
                ground=_scaled(light.ground, 0.8),
            )  # fmt: skip


def _unit(direction: RGB) -> RGB:
    return _scaled(direction, float(1 / np.linalg.norm(direction)))
