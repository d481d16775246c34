"""Settings: the picture behind and below the objects, and the light that it gives.

Legend: the canvas is the frame with a margin on every side for the camera to move in; (h, w, 3)
float32 sRGB 0..1. ``v`` is the height in the frame (0 top, 1 bottom), ``u`` runs -1..1 across it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.scene import COLORS, Scene
from avsafe_generators.world.shading import RGB, Light

Array = NDArray[np.float32]

HORIZON = 0.60  # v of the horizon
FLOOR = 0.84  # v of the floor line at depth 0
_SKY: dict[str, tuple[RGB, RGB]] = {  # zenith, horizon
    "day": ((0.20, 0.45, 0.80), (0.74, 0.86, 0.95)),
    "sunset": ((0.24, 0.20, 0.44), (0.98, 0.60, 0.34)),
    "dawn": ((0.40, 0.50, 0.74), (0.98, 0.80, 0.70)),
    "night": ((0.03, 0.04, 0.11), (0.11, 0.15, 0.28)),
}
_DIM: dict[str, RGB] = {  # what the light of the hour does to a colour of the land
    "day": (1.0, 1.0, 1.0), "sunset": (0.92, 0.68, 0.58), "dawn": (0.90, 0.82, 0.80),
    "night": (0.26, 0.31, 0.46),
}  # fmt: skip
_KEY: dict[str, tuple[RGB, RGB]] = {  # direction, linear colour
    "day": ((-0.45, 0.78, 0.52), (1.0, 0.96, 0.88)),
    "sunset": ((-0.75, 0.42, 0.5), (1.05, 0.62, 0.34)),
    "dawn": ((0.7, 0.45, 0.55), (0.95, 0.75, 0.60)),
    "night": ((-0.4, 0.8, 0.45), (0.46, 0.54, 0.74)),
}
_LAND: dict[str, RGB] = {
    "sea": (0.85, 0.76, 0.58), "desert": (0.87, 0.68, 0.44), "grass": (0.36, 0.56, 0.22),
    "forest": (0.34, 0.28, 0.18), "mountains": (0.45, 0.47, 0.38), "snowfield": (0.91, 0.94, 0.98),
    "city": (0.36, 0.36, 0.38), "space": (0.55, 0.54, 0.52), "sky": (0.93, 0.95, 0.98),
}  # fmt: skip


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


@dataclass(frozen=True)
class Waves:
    """Moving water: a band of rows of the canvas, and where each of its pixels reads the swell."""

    top: int
    mask: Array  # (rows, w)
    tile: Array  # (512, 512) periodic
    map_x: Array  # (rows, w) each
    map_y: Array
    below_shore: Array  # (rows, w) v minus the shore line
    foam: RGB


class _Canvas:
    """Coordinates and noise for painting one backdrop."""

    def __init__(self, scene: Scene) -> None:
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([scene.seed, 1])))
        share = 0.16 if scene.camera else 0.0
        self.mx, self.my = (int(round(side * share)) for side in (scene.width, scene.height))
        self.w, self.h = scene.width + 2 * self.mx, scene.height + 2 * self.my
        rows = (np.arange(self.h, dtype=np.float32) + 0.5 - self.my) / scene.height
        columns = (np.arange(self.w, dtype=np.float32) + 0.5 - self.mx) / scene.width * 2 - 1
        self.v, self.u = rows[:, None], columns[None, :] * np.float32(scene.width / scene.height)
        self.image = np.zeros((self.h, self.w, 3), np.float32)
        self.pixel = 1.0 / scene.height
        self.open_sky = np.ones((self.h, self.w), np.float32)

    def noise(self, cells: float, octaves: int = 5, height: int | None = None) -> Array:
        """(h, w) smooth noise, about -1..1; ``cells`` across the width of the first octave."""
        return _fractal(self.rng, height or self.h, self.w, cells, octaves)

    def on_floor(self, scale: float, stretch: float = 1.0) -> Array:
        """Noise that lies on the ground, seen in perspective; fades with distance."""
        import cv2

        x, y = self.floor_map(scale, stretch)
        seen = cv2.remap(_tile(self.rng), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(seen * np.clip((self.v - HORIZON) * 7, 0, 1), np.float32)

    def floor_map(self, scale: float, stretch: float) -> tuple[Array, Array]:
        """Where each pixel reads a tile that lies on the ground."""
        depth = 1.0 / np.maximum(self.v - np.float32(HORIZON) + 0.02, 0.006)
        x = np.mod(self.u * depth * np.float32(40 * scale) + 300, 512)
        y = np.broadcast_to(np.mod(depth * np.float32(90 * scale * stretch), 512), x.shape)
        return np.asarray(x, np.float32), np.ascontiguousarray(y, np.float32)

    def ridge(self, base: float, height: float, cells: float, octaves: int) -> Array:
        """(1, w) outline of hills: the v of their top."""
        line = _fractal(self.rng, 4, self.w, cells, octaves)[:1]
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


def _fractal(rng: np.random.Generator, h: int, w: int, cells: float, octaves: int) -> Array:
    import cv2

    total, weight = np.zeros((h, w), np.float32), 1.0
    for octave in range(octaves):
        n = cells * 2**octave
        rows, columns = max(2, int(round(n * h / w)) + 2), max(2, int(round(n)) + 2)
        if rows > 2 * h or columns > 2 * w:
            break
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += np.float32(weight) * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
        weight *= 0.55
    return np.asarray(np.clip(total * np.float32(0.55), -1.5, 1.5))


def _tile(rng: np.random.Generator) -> Array:
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


def paint(scene: Scene) -> Backdrop:
    """Paint the setting of a scene. About 0.1 CPU-s at 512 x 512."""
    canvas = _Canvas(scene)
    indoor = scene.setting in ("studio", "room")
    tint = COLORS[scene.setting_color] if scene.setting_color else None
    clouds = waves = None
    if indoor:
        _INDOOR[scene.setting](canvas, scene, tint)
    else:
        clouds = _sky(canvas, scene, tint)
        waves = _OUTDOOR[scene.setting](canvas, scene, tint)
    _weather_tint(canvas, scene)
    vignette = 1 - 0.16 * np.clip(canvas.u**2 * 0.5 + ((canvas.v - 0.5) * 1.5) ** 2 - 0.25, 0, 1.2)
    image = np.clip(canvas.image * vignette[..., None], 0, 1).astype(np.float32)
    dull = 0.45 if {"rain", "fog", "snow"} & set(scene.weather) else 1.0
    strength = {"day": 0.58, "sunset": 0.5, "dawn": 0.45, "night": 0.45}[scene.time] * (
        0.5 + 0.5 * dull
    )
    gleam = {"studio": 0.16, "room": 0.13, "city": 0.1}.get(scene.setting, 0.0)
    gleam += 0.14 * (
        "rain" in scene.weather and scene.setting not in ("desert", "snowfield", "sky")
    )
    cloud_color = tuple(float(c) for c in np.array((0.98, 0.97, 0.97)) * _DIM[scene.time])
    return Backdrop(
        image, canvas.mx, canvas.my, _light(scene, image, canvas, indoor), strength, gleam, clouds,
        (cloud_color[0], cloud_color[1], cloud_color[2]), canvas.open_sky, waves,
    )  # fmt: skip


def _light(scene: Scene, image: Array, canvas: _Canvas, indoor: bool) -> Light:
    """Reads ambient colours off the picture, so that objects belong to their surroundings."""
    rows = [canvas.my + int(v * scene.height) for v in (0.05, HORIZON - 0.06, FLOOR + 0.05)]
    zenith, horizon, ground = (np.square(image[r : r + 8].mean(axis=(0, 1))) for r in rows)
    direction, key = _KEY[scene.time]
    if indoor:
        direction = (-0.5, 0.72, 0.6)
        lift = {"night": 0.10}.get(scene.time, 0.34)
        zenith, horizon = zenith * 0.5 + lift, horizon * 0.5 + lift
        key = tuple(0.5 * k + 0.5 for k in key) if scene.time == "night" else key  # lamps are on
    if {"rain", "fog", "snow"} & set(scene.weather):
        key = tuple(0.55 * k for k in key)
    floor_light = 0.06 if scene.time == "night" else 0.0
    return Light(
        direction, (key[0], key[1], key[2]),
        *(_rgb(c + floor_light) for c in (zenith, horizon, ground)),
    )  # fmt: skip


def _rgb(color: NDArray[np.float32]) -> RGB:
    return float(color[0]), float(color[1]), float(color[2])


def _weather_tint(canvas: _Canvas, scene: Scene) -> None:
    if "fog" in scene.weather:
        haze = np.array(_SKY[scene.time][1], np.float32) * 0.6 + 0.3 * np.array(_DIM[scene.time])
        far = np.exp(-(((canvas.v - HORIZON) / 0.22) ** 2)) * 0.85 + 0.12
        canvas.paint(np.asarray(haze, np.float32), np.broadcast_to(far, (canvas.h, canvas.w)))
    elif {"rain", "snow"} & set(scene.weather) and scene.setting != "studio":
        gray = canvas.image.mean(axis=2, keepdims=True)
        canvas.image += (gray * np.array((0.90, 0.95, 1.0), np.float32) - canvas.image) * 0.45


# ---------------------------------------------------------------- outdoors


def _sky(canvas: _Canvas, scene: Scene, tint: RGB | None) -> Array | None:
    zenith, horizon = (np.array(c, np.float32) for c in _SKY[scene.time])
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
    wide = _fractal(canvas.rng, canvas.h, 2 * canvas.w, 7, 6)
    wide = (wide + wide[:, ::-1]) * np.float32(0.7)  # mirrored, so that it wraps without a seam
    heavy = 0.35 if {"rain", "snow"} & set(scene.weather) else 0.0
    cover = (
        np.clip((wide - 0.12 + heavy) * 1.5, 0, 0.85)
        * np.clip(1 - canvas.v / (HORIZON * 0.92), 0, 1) ** 0.7
    )
    amount = 0.35 if scene.time == "night" else 0.85
    return np.asarray(cover * np.float32(amount), np.float32)


def _stars(canvas: _Canvas, count: int) -> None:
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


def _disc(canvas: _Canvas, u: float, v: float, radius: float, color: RGB, halo: float) -> None:
    away = np.sqrt((canvas.u * 0.5 - u * 0.5) ** 2 + (canvas.v - v) ** 2)
    glow = halo * 0.5 * np.exp(-((away / (radius * 3.2)) ** 1.2))
    canvas.paint(color, np.asarray(np.clip(glow, 0, 1), np.float32), sky=True)
    disc = np.clip((radius - away) / canvas.pixel / 1.5 + 0.5, 0, 1)
    canvas.paint(color, np.asarray(disc, np.float32), sky=True)


def _space(canvas: _Canvas) -> None:
    mist = np.clip(canvas.noise(2.5, 6) + 0.15, 0, 1) ** 1.5
    hue = 0.5 + 0.5 * canvas.noise(2, 2)
    color = np.stack([0.10 + 0.22 * hue, 0.06 + 0.06 * hue, 0.24 + 0 * hue], axis=-1)
    canvas.image += mist[..., None] * color.astype(np.float32)


def _ground(canvas: _Canvas, color: RGB, top: Array | float, texture: Array) -> None:
    near = np.clip((canvas.v - HORIZON) / (1 - HORIZON), 0, 1.3)
    canvas.paint(canvas.shade(color, texture + 0.10 * near - 0.06), canvas.below(top))


def _land_color(scene: Scene, tint: RGB | None) -> RGB:
    base = np.array(_LAND[scene.setting])
    if tint and scene.setting != "sky":
        base = base * 0.35 + np.array(tint) * 0.65
    return _rgb((base * np.array(_DIM[scene.time])).astype(np.float32))


def _hills(
    canvas: _Canvas,
    scene: Scene,
    color: RGB,
    layers: int,
    height: float,
    cells: float,
    octaves: int,
) -> None:
    haze = np.array(_SKY[scene.time][1])
    for layer in range(layers):
        near = 0.35 + 0.65 * (layer + 1) / (layers + 0.6)
        shade = _rgb((np.array(color) * near + haze * (1 - near)).astype(np.float32))
        line = canvas.ridge(HORIZON + 0.005 + 0.02 * layer, height * (1.25 - near), cells, octaves)
        canvas.paint(canvas.shade(shade, 0.08 * canvas.noise(30, 4)), canvas.below(line))


def _paint_desert(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    color = _land_color(scene, tint)
    _hills(canvas, scene, color, 3, 0.13, 2.2, 2)
    ripples = 0.05 * np.sin(
        canvas.on_floor(0.7) * 4 + 60 * np.sqrt(np.clip(canvas.v - HORIZON, 0, 1))
    )
    _ground(
        canvas,
        color,
        HORIZON + 0.02,
        np.asarray(ripples + 0.08 * canvas.on_floor(1.0) + 0.025 * canvas.noise(180, 2)),
    )


def _paint_grass(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    color = _land_color(scene, tint)
    _hills(canvas, scene, _rgb(np.array(color) * 0.82), 3, 0.12, 3, 3)
    blades = _fractal(canvas.rng, max(8, canvas.h // 5), canvas.w, 170, 2)
    import cv2

    blades = cv2.resize(blades, (canvas.w, canvas.h), interpolation=cv2.INTER_LINEAR)
    _ground(canvas, color, HORIZON + 0.025, 0.16 * blades + 0.22 * canvas.on_floor(0.8, 1.4))


def _paint_forest(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    dim = np.array(_DIM[scene.time])
    leaf = np.array((0.20, 0.36, 0.16)) * dim if tint is None else np.array(tint) * 0.5 * dim
    _hills(canvas, scene, _rgb(leaf * 0.9), 2, 0.30, 14, 5)
    for layer, near in enumerate((0.45, 0.7, 1.0)):
        bark = _rgb(
            (
                np.array((0.24, 0.17, 0.11)) * dim * near
                + np.array(_SKY[scene.time][1]) * 0.30 * (1 - near)
            )
        )
        mask = np.zeros((canvas.h, canvas.w), np.float32)
        foot = HORIZON + 0.03 + 0.035 * layer
        for u in canvas.rng.uniform(-1.1, 1.1, 7) * float(canvas.u.max()):
            wide = 0.012 + 0.016 * near * float(canvas.rng.uniform(0.7, 1.5))
            edge = (
                wide * (1 + 0.35 * np.clip((canvas.v - foot + 0.1) * 6, 0, 1))
                - np.abs(canvas.u - u) / 2
            )
            mask = np.maximum(mask, np.clip(edge / canvas.pixel, 0, 1) * (canvas.v < foot))
        canvas.paint(canvas.shade(bark, 0.25 * canvas.noise(60, 3)), mask)
    crown = np.clip((canvas.noise(9, 6) + 0.75 - canvas.v * 2.6) * 3, 0, 1)
    canvas.paint(
        canvas.shade(_rgb(leaf), 0.45 * canvas.noise(50, 4)), np.asarray(crown, np.float32)
    )
    _ground(
        canvas,
        _land_color(scene, None),
        HORIZON + 0.09,
        0.30 * canvas.on_floor(0.9) + 0.10 * canvas.noise(120, 3),
    )


def _paint_mountains(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    dim, haze = np.array(_DIM[scene.time]), np.array(_SKY[scene.time][1])
    for height, near in ((0.42, 0.45), (0.26, 0.75)):
        line = canvas.ridge(HORIZON + 0.02, height, 4, 7)
        rock = (np.array(tint or (0.36, 0.38, 0.44)) * dim * near + haze * (1 - near)).astype(
            np.float32
        )
        texture = 0.16 * canvas.noise(24, 5)
        canvas.paint(canvas.shade(_rgb(rock), texture), canvas.below(line))
        snow = canvas.below(line) * np.clip(
            (line + 0.085 + 0.07 * canvas.noise(26, 4) - canvas.v) * 24, 0, 1
        )
        canvas.paint(
            canvas.shade(
                _rgb(np.array((0.95, 0.96, 0.98)) * dim * near + haze * (1 - near)), 0.4 * texture
            ),
            snow,
        )
    _ground(
        canvas,
        _land_color(scene, None),
        HORIZON + 0.02,
        0.30 * canvas.on_floor(0.8) + 0.06 * canvas.noise(150, 3),
    )


def _paint_snowfield(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    color = _land_color(scene, tint)
    _hills(canvas, scene, color, 3, 0.10, 2.5, 3)
    _ground(
        canvas,
        color,
        HORIZON + 0.02,
        0.07 * canvas.on_floor(0.6) + 0.025 * canvas.noise(200, 2) - 0.03,
    )


def _paint_city(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    dim, haze, rng = np.array(_DIM[scene.time]), np.array(_SKY[scene.time][1]), canvas.rng
    lit = {"day": 0.0, "dawn": 0.25, "sunset": 0.35, "night": 0.55}[scene.time]
    height = canvas.h - 2 * canvas.my
    for near, tall in ((0.45, 0.42), (0.8, 0.30)):
        left = 0
        while left < canvas.w:
            wide = int(height * rng.uniform(0.06, 0.13))
            top = canvas.my + int(height * (HORIZON - tall * rng.uniform(0.35, 1.0)))
            bottom = canvas.my + int(height * (HORIZON + 0.03))
            wall = (
                np.array(tint or (0.42, 0.43, 0.47)) * rng.uniform(0.8, 1.15) * dim * near
                + haze * (1 - near)
            ).astype(np.float32)
            part = canvas.image[top:bottom, left : left + wide]
            canvas.open_sky[top:bottom, left : left + wide] = 0
            part[:] = wall * (
                1 - 0.12 * np.linspace(0, 1, part.shape[0], dtype=np.float32)[:, None, None]
            )
            cell = max(4, height // 56)
            for row in range(cell, part.shape[0] - cell, cell * 2):
                for column in range(cell, part.shape[1] - cell, cell + cell // 2):
                    glow = rng.uniform() < lit
                    pane = np.array((1.0, 0.84, 0.5)) if glow else wall * 0.72
                    part[row : row + cell, column : column + max(2, cell // 2 + 1)] = pane
            left += wide + int(height * rng.uniform(0, 0.02))
    _ground(
        canvas,
        _land_color(scene, None),
        HORIZON + 0.03,
        0.10 * canvas.on_floor(1.5) + 0.05 * canvas.noise(220, 2),
    )


def _paint_space(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    u, v, radius = 0.45, 0.22, 0.13
    x, y = (canvas.u / 2 - u / 2) / radius, (canvas.v - v) / radius
    inside = np.clip((1 - np.sqrt(x * x + y * y)) * radius / canvas.pixel, 0, 1)
    sun = np.clip(-0.7 * x - 0.5 * y + 0.5 * np.sqrt(np.clip(1 - x * x - y * y, 0, 1)), 0.03, 1)
    planet = canvas.shade(tint or (0.35, 0.55, 0.85), 0.35 * canvas.noise(8, 5)) * sun[..., None]
    canvas.paint(np.asarray(planet, np.float32), np.asarray(inside, np.float32))
    craters = np.abs(canvas.on_floor(0.5)) * 0.5 + 0.22 * canvas.on_floor(1.2)
    _ground(
        canvas,
        (0.47, 0.46, 0.45),
        canvas.ridge(HORIZON + 0.03, 0.03, 3, 4),
        craters - 0.22 + 0.05 * canvas.noise(200, 2),
    )


def _paint_clouds(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    deck = canvas.noise(5, 6)
    line = HORIZON + 0.05 - 0.05 * deck
    texture = 0.12 * deck + 0.16 * canvas.on_floor(0.25)
    color = _rgb(np.array(_LAND["sky"]) * np.array(_DIM[scene.time]))
    canvas.paint(canvas.shade(color, texture - 0.02), canvas.below(np.asarray(line), 22))


def _paint_sea(canvas: _Canvas, scene: Scene, tint: RGB | None) -> Waves:
    dim = np.array(_DIM[scene.time])
    deep = np.array(tint) * 0.6 if tint else np.array((0.06, 0.30, 0.46))
    far = (deep * dim * 0.7 + 0.3 * np.array(_SKY[scene.time][1])).astype(np.float32)
    near = (np.array((0.25, 0.60, 0.64)) * dim).astype(np.float32)
    shore = HORIZON + 0.135 + 0.012 * np.sin(canvas.u * 2.2 + float(canvas.rng.uniform(0, 6)))
    depth = np.clip((canvas.v - HORIZON) / 0.135, 0, 1) ** 1.3
    water = far + (near - far) * depth[..., None]
    canvas.paint(np.broadcast_to(water, canvas.image.shape), canvas.below(HORIZON))
    sand = 0.07 * canvas.on_floor(1.2) + 0.05 * canvas.noise(190, 3)
    wet = -0.30 * np.exp(-np.clip(canvas.v - shore, 0, 1) / 0.025)
    _ground(canvas, _land_color(scene, None), np.asarray(shore), np.asarray(sand + wet, np.float32))
    strip = canvas.below(HORIZON, 2) * (1 - canvas.below(np.asarray(shore + 0.012), 8))
    rows = np.flatnonzero(strip.max(axis=1) > 0)
    band = slice(int(rows[0]), int(rows[-1]) + 1)
    x, y = canvas.floor_map(0.35, 1.6)
    return Waves(
        band.start, np.asarray(strip[band], np.float32), _tile(canvas.rng), x[band], y[band],
        np.asarray(np.broadcast_to(canvas.v - shore, strip.shape)[band], np.float32),
        _rgb(np.array((0.96, 0.97, 0.97)) * dim),
    )  # fmt: skip


# ---------------------------------------------------------------- indoors


def _paint_studio(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    color = np.array(tint) if tint else np.array((0.62, 0.64, 0.67))
    color = 0.88 * color + 0.05
    color = color * (0.35 if scene.time == "night" else 0.5 + 0.5 * np.array(_DIM[scene.time]))
    pool = np.exp(-((canvas.u / 1.15) ** 2) - ((canvas.v - 0.42) / 0.5) ** 2)
    bend = np.clip(
        (canvas.v - HORIZON + 0.04) / 0.12, 0, 1
    )  # where the paper curves into the floor
    level = 0.66 + 0.40 * pool + 0.13 * (3 * bend**2 - 2 * bend**3)
    paper = 0.022 * canvas.noise(60, 4) + 0.012 * canvas.noise(240, 2)
    canvas.image[:] = color.astype(np.float32) * (level + paper)[..., None]


def _paint_room(canvas: _Canvas, scene: Scene, tint: RGB | None) -> None:
    dim = np.array(_DIM[scene.time]) * (0.75 if scene.time != "night" else 1.5)
    wall = (np.array(tint) * 0.8 + 0.12 if tint else np.array((0.86, 0.82, 0.74))) * np.clip(
        dim, 0, 1
    )
    canvas.image[:] = canvas.shade(
        _rgb(wall), 0.03 * canvas.noise(40, 4) + 0.02 * canvas.noise(230, 2)
    )
    canvas.image *= (0.94 - 0.16 * np.abs(canvas.v - 0.35))[..., None]
    lean = canvas.u * 0.5 + (canvas.v - 0.3) * 0.25  # light that falls through a window
    for side in (-0.16, 0.07):
        beam = np.clip((0.10 - np.abs(lean - side)) / 0.015, 0, 1) * np.clip(
            (0.19 - np.abs(canvas.v - 0.27)) / 0.015, 0, 1
        )
        canvas.image += (
            beam[..., None]
            * np.array((0.20, 0.17, 0.11), np.float32)
            * np.array(_DIM[scene.time], np.float32)
        )
    foot = HORIZON + 0.045
    canvas.paint(_rgb(np.clip(wall * 1.12, 0, 1)), canvas.below(foot - 0.045) * 0.8)
    depth = 1.0 / np.maximum(canvas.v - np.float32(HORIZON - 0.25), 0.05)
    plank = canvas.u * depth * 1.9
    seam = 1 - 0.35 * np.exp(
        -((np.abs(plank - np.round(plank)) / (0.012 * np.maximum(depth * 0.7, 1))) ** 2)
    )
    tone = 0.09 * np.sin(np.round(plank) * 12.9898) + 0.10 * np.sin(
        np.round(plank) * 4.1 + depth * 3
    )
    fibre = 0.10 * canvas.on_floor(0.6, 0.25) + 0.05 * np.sin(plank * 60 + 3 * canvas.noise(12, 3))
    floor = canvas.shade(
        _rgb(np.array((0.56, 0.38, 0.23)) * np.clip(dim * 1.15, 0, 1)),
        np.asarray(tone + fibre, np.float32),
    )
    canvas.paint(floor * seam[..., None], canvas.below(foot))
    canvas.image *= (1 - 0.30 * np.exp(-(((canvas.v - foot) / 0.012) ** 2)))[..., None]


_OUTDOOR: dict[str, Callable[[_Canvas, Scene, RGB | None], Waves | None]] = {
    "sea": _paint_sea, "desert": _paint_desert, "grass": _paint_grass, "forest": _paint_forest,
    "mountains": _paint_mountains, "snowfield": _paint_snowfield, "city": _paint_city,
    "space": _paint_space, "sky": _paint_clouds,
}  # fmt: skip
_INDOOR: dict[str, Callable[[_Canvas, Scene, RGB | None], None]] = {
    "studio": _paint_studio,
    "room": _paint_room,
}
