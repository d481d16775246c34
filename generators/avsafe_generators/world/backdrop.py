"""The picture behind and below the objects, and the light that it gives.

Legend: the canvas is the frame with a margin on every side for the camera to move in; (h, w, 3)
float32 sRGB 0..1. ``v`` is the height in the frame (0 top, 1 bottom), ``u`` runs -1..1 across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.canvas import DIM, FLOOR, HORIZON, SKY, Canvas, fractal, rgb
from avsafe_generators.world.lamps import SHADOW, lamp, lit
from avsafe_generators.world.places import INDOOR, OUTDOOR, Waves
from avsafe_generators.world.scene import COLORS, Scene
from avsafe_generators.world.shading import RGB, Light

Array = NDArray[Any]  # float32

_KEY: dict[str, tuple[RGB, RGB]] = {  # direction, linear colour
    "day": ((-0.45, 0.78, 0.52), (1.0, 0.96, 0.88)),
    "sunset": ((-0.75, 0.42, 0.5), (1.05, 0.62, 0.34)),
    "dawn": ((0.7, 0.45, 0.55), (0.95, 0.75, 0.60)),
    "night": ((-0.4, 0.8, 0.45), (0.46, 0.54, 0.74)),
}


@dataclass(frozen=True)
class Backdrop:
    """What doesn't change in a scene."""

    image: Array  # (h, w, 3) canvas
    margin_x: int
    margin_y: int
    light: Light
    shadow: float  # strength of a shadow on the floor, 0..1
    gleam: float  # how much the floor mirrors, 0..1
    clouds: Array | None  # (h, 2 w) cover of drifting clouds; wraps around from right to left
    cloud_color: RGB
    open_sky: Array  # (h, w) 1 where nothing stands before the sky
    waves: Waves | None


def paint(scene: Scene) -> Backdrop:
    """Paint the setting of a scene. About 0.1 CPU-s at 512 x 512."""
    canvas = Canvas(scene)
    indoor = scene.setting in INDOOR
    tint = COLORS[scene.setting_color] if scene.setting_color else None
    clouds = waves = None
    if indoor:
        INDOOR[scene.setting](canvas, scene, tint)
    else:
        clouds = _sky(canvas, scene, tint)
        waves = OUTDOOR[scene.setting](canvas, scene, tint)
    _weather_tint(canvas, scene)
    vignette = 1 - 0.16 * np.clip(canvas.u**2 * 0.5 + ((canvas.v - 0.5) * 1.5) ** 2 - 0.25, 0, 1.2)
    picture = canvas.image * vignette[..., None]
    if scene.light:
        picture = lit(canvas, picture, scene.light)
    image = np.clip(picture, 0, 1).astype(np.float32)
    dull = 0.45 if {"rain", "fog", "snow"} & set(scene.weather) else 1.0
    strength = {"day": 0.58, "sunset": 0.5, "dawn": 0.45, "night": 0.45}[scene.time] * (
        0.5 + 0.5 * dull
    )
    strength = min(strength * SHADOW.get(scene.light or "", 1.0), 0.75)
    gleam = {"studio": 0.16, "room": 0.13, "city": 0.1, "stage": 0.18}.get(scene.setting, 0.0)
    gleam += 0.14 * (
        "rain" in scene.weather and scene.setting not in ("desert", "snowfield", "sky")
    )
    cloud_color = tuple(float(c) for c in np.array((0.98, 0.97, 0.97)) * DIM[scene.time])
    return Backdrop(
        image, canvas.mx, canvas.my, _light(scene, image, canvas, indoor), strength, gleam, clouds,
        (cloud_color[0], cloud_color[1], cloud_color[2]), canvas.open_sky, waves,
    )  # fmt: skip


def _light(scene: Scene, image: Array, canvas: Canvas, indoor: bool) -> Light:
    """Reads ambient colours off the picture, so that objects belong to their surroundings."""
    rows = [canvas.my + int(v * scene.height) for v in (0.05, HORIZON - 0.06, FLOOR + 0.05)]
    zenith, horizon, ground = (np.square(image[r : r + 8].mean(axis=(0, 1))) for r in rows)
    direction, key = _KEY[scene.time]
    if indoor:
        direction = (-0.5, 0.72, 0.6)
        lift = {"night": 0.10}.get(scene.time, 0.34)
        zenith, horizon = zenith * 0.5 + lift, horizon * 0.5 + lift
        key = rgb(np.array(key) * 0.5 + 0.5) if scene.time == "night" else key  # lamps are on
    if {"rain", "fog", "snow"} & set(scene.weather):
        key = rgb(np.array(key) * 0.55)
    floor_light = 0.06 if scene.time == "night" else 0.0
    light = Light(
        direction, (key[0], key[1], key[2]),
        *(rgb(c + floor_light) for c in (zenith, horizon, ground)),
    )  # fmt: skip
    return lamp(light, scene.light) if scene.light else light


def _weather_tint(canvas: Canvas, scene: Scene) -> None:
    if "fog" in scene.weather:
        haze = np.array(SKY[scene.time][1], np.float32) * 0.6 + 0.3 * np.array(DIM[scene.time])
        far = np.exp(-(((canvas.v - HORIZON) / 0.22) ** 2)) * 0.85 + 0.12
        canvas.paint(np.asarray(haze, np.float32), np.broadcast_to(far, (canvas.h, canvas.w)))
    elif {"rain", "snow"} & set(scene.weather) and scene.setting != "studio":
        gray = canvas.image.mean(axis=2, keepdims=True)
        canvas.image += (gray * np.array((0.90, 0.95, 1.0), np.float32) - canvas.image) * 0.45


def _sky(canvas: Canvas, scene: Scene, tint: RGB | None) -> Array | None:
    zenith, horizon = (np.array(c, np.float32) for c in SKY[scene.time])
    if tint and scene.setting == "sky":
        zenith = zenith * 0.25 + np.array(tint, np.float32) * (0.75 if scene.time == "day" else 0.3)
    if scene.setting == "space":
        zenith, horizon = np.array((0.010, 0.010, 0.022)), np.array((0.035, 0.03, 0.06))
    blend = np.clip(canvas.v / HORIZON, 0, 1) ** 1.4
    canvas.image[:] = zenith + (horizon - zenith) * blend[..., None]
    u0, v0 = float(canvas.rng.uniform(-0.5, 0.5)), 0.16
    if scene.setting == "space":
        _space(canvas)
    if scene.time == "night" or "stars" in scene.weather or scene.setting == "space":
        _stars(canvas, 420 if "stars" in scene.weather or scene.setting == "space" else 170)
    if scene.time == "night" and scene.setting != "space":
        _disc(canvas, u0, v0, 0.055, (0.94, 0.93, 0.86), 0.35)
    elif scene.time in ("sunset", "dawn"):
        _disc(canvas, u0, HORIZON - 0.10, 0.085, (1.0, 0.86, 0.60), 0.9)
    canvas.image += canvas.noise(3, 4)[..., None] * np.float32(0.012)
    if scene.setting in ("space", "forest") or "stars" in scene.weather:
        return None
    wide = fractal(canvas.rng, canvas.h, 2 * canvas.w, 7, 6)
    wide = (wide + wide[:, ::-1]) * np.float32(0.7)  # mirrored, so that it wraps without a seam
    heavy = 0.35 if {"rain", "snow"} & set(scene.weather) else 0.0
    cover = (
        np.clip((wide - 0.12 + heavy) * 1.5, 0, 0.85)
        * np.clip(1 - canvas.v / (HORIZON * 0.92), 0, 1) ** 0.7
    )
    amount = 0.35 if scene.time == "night" else 0.85
    return np.asarray(cover * np.float32(amount), np.float32)


def _stars(canvas: Canvas, count: int) -> None:
    rng, size = canvas.rng, max(1.0, canvas.h / 512)
    xs, ys = (
        rng.uniform(2, canvas.w - 3, count),
        rng.uniform(2, canvas.my + HORIZON * canvas.h * 0.95, count),
    )
    for x, y, power in zip(xs, ys, rng.uniform(0.15, 1.0, count) ** 2, strict=True):
        reach = int(np.ceil(2 * size))
        x0, y0 = int(x), int(y)
        rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        glow = power * np.exp(-((rows + y0 - y) ** 2 + (columns + x0 - x) ** 2) / (0.45 * size**2))
        top, left = max(0, y0 - reach), max(0, x0 - reach)
        part = canvas.image[top : y0 + reach + 1, left : x0 + reach + 1]
        part += glow[top - y0 + reach :, left - x0 + reach :][
            : part.shape[0], : part.shape[1], None
        ]


def _disc(canvas: Canvas, u: float, v: float, radius: float, color: RGB, halo: float) -> None:
    away = np.sqrt((canvas.u * 0.5 - u * 0.5) ** 2 + (canvas.v - v) ** 2)
    glow = halo * 0.5 * np.exp(-((away / (radius * 3.2)) ** 1.2))
    canvas.paint(color, np.asarray(np.clip(glow, 0, 1), np.float32), sky=True)
    disc = np.clip((radius - away) / canvas.pixel / 1.5 + 0.5, 0, 1)
    canvas.paint(color, np.asarray(disc, np.float32), sky=True)


def _space(canvas: Canvas) -> None:
    mist = np.clip(canvas.noise(2.5, 6) + 0.15, 0, 1) ** 1.5
    hue = 0.5 + 0.5 * canvas.noise(2, 2)
    color = np.stack([0.10 + 0.22 * hue, 0.06 + 0.06 * hue, 0.24 + 0 * hue], axis=-1)
    canvas.image += mist[..., None] * color.astype(np.float32)
