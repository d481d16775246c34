"""The settings, one painter each: what lies below and before the sky.

Legend: the canvas is the frame with a margin on every side for the camera to move in; (h, w, 3)
float32 sRGB 0..1. ``v`` is the height in the frame (0 top, 1 bottom), ``u`` runs -1..1 across it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.canvas import DIM, HORIZON, SKY, Canvas, fractal, rgb, tile
from avsafe_generators.world.scene import Scene
from avsafe_generators.world.shading import RGB

Array = NDArray[Any]  # float32

_LAND: dict[str, RGB] = {
    "sea": (0.85, 0.76, 0.58), "desert": (0.87, 0.68, 0.44), "grass": (0.36, 0.56, 0.22),
    "forest": (0.34, 0.28, 0.18), "mountains": (0.45, 0.47, 0.38), "snowfield": (0.91, 0.94, 0.98),
    "city": (0.36, 0.36, 0.38), "space": (0.55, 0.54, 0.52), "sky": (0.93, 0.95, 0.98),
}  # fmt: skip


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


def _ground(canvas: Canvas, color: RGB, top: Array | float, texture: Array) -> None:
    near = np.clip((canvas.v - HORIZON) / (1 - HORIZON), 0, 1.3)
    canvas.paint(canvas.shade(color, texture + 0.10 * near - 0.06), canvas.below(top))


def _land_color(scene: Scene, tint: RGB | None) -> RGB:
    base = np.array(_LAND[scene.setting])
    if tint and scene.setting != "sky":
        base = base * 0.35 + np.array(tint) * 0.65
    return rgb((base * np.array(DIM[scene.time])).astype(np.float32))


def _hills(
    canvas: Canvas,
    scene: Scene,
    color: RGB,
    layers: int,
    height: float,
    cells: float,
    octaves: int,
) -> None:
    haze = np.array(SKY[scene.time][1])
    for layer in range(layers):
        near = 0.35 + 0.65 * (layer + 1) / (layers + 0.6)
        shade = rgb((np.array(color) * near + haze * (1 - near)).astype(np.float32))
        line = canvas.ridge(HORIZON + 0.005 + 0.02 * layer, height * (1.25 - near), cells, octaves)
        canvas.paint(canvas.shade(shade, 0.08 * canvas.noise(30, 4)), canvas.below(line))


def _paint_desert(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
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


def _paint_grass(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    color = _land_color(scene, tint)
    _hills(canvas, scene, rgb(np.array(color) * 0.82), 3, 0.12, 3, 3)
    blades = fractal(canvas.rng, max(8, canvas.h // 5), canvas.w, 170, 2)
    import cv2

    blades = cv2.resize(blades, (canvas.w, canvas.h), interpolation=cv2.INTER_LINEAR)
    _ground(canvas, color, HORIZON + 0.025, 0.16 * blades + 0.22 * canvas.on_floor(0.8, 1.4))


def _paint_forest(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    dim = np.array(DIM[scene.time])
    leaf = np.array((0.20, 0.36, 0.16)) * dim if tint is None else np.array(tint) * 0.5 * dim
    _hills(canvas, scene, rgb(leaf * 0.9), 2, 0.30, 14, 5)
    for layer, near in enumerate((0.45, 0.7, 1.0)):
        bark = rgb(
            np.array((0.24, 0.17, 0.11)) * dim * near
            + np.array(SKY[scene.time][1]) * 0.30 * (1 - near)
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
    canvas.paint(canvas.shade(rgb(leaf), 0.45 * canvas.noise(50, 4)), np.asarray(crown, np.float32))
    _ground(
        canvas,
        _land_color(scene, None),
        HORIZON + 0.09,
        0.30 * canvas.on_floor(0.9) + 0.10 * canvas.noise(120, 3),
    )


def _paint_mountains(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    dim, haze = np.array(DIM[scene.time]), np.array(SKY[scene.time][1])
    for height, near in ((0.42, 0.45), (0.26, 0.75)):
        line = canvas.ridge(HORIZON + 0.02, height, 4, 7)
        rock = (np.array(tint or (0.36, 0.38, 0.44)) * dim * near + haze * (1 - near)).astype(
            np.float32
        )
        texture = 0.16 * canvas.noise(24, 5)
        canvas.paint(canvas.shade(rgb(rock), texture), canvas.below(line))
        snow = canvas.below(line) * np.clip(
            (line + 0.085 + 0.07 * canvas.noise(26, 4) - canvas.v) * 24, 0, 1
        )
        canvas.paint(
            canvas.shade(
                rgb(np.array((0.95, 0.96, 0.98)) * dim * near + haze * (1 - near)), 0.4 * texture
            ),
            snow,
        )
    _ground(
        canvas,
        _land_color(scene, None),
        HORIZON + 0.02,
        0.30 * canvas.on_floor(0.8) + 0.06 * canvas.noise(150, 3),
    )


def _paint_snowfield(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    color = _land_color(scene, tint)
    _hills(canvas, scene, color, 3, 0.10, 2.5, 3)
    _ground(
        canvas,
        color,
        HORIZON + 0.02,
        0.07 * canvas.on_floor(0.6) + 0.025 * canvas.noise(200, 2) - 0.03,
    )


def _paint_city(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    dim, haze, rng = np.array(DIM[scene.time]), np.array(SKY[scene.time][1]), canvas.rng
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


def _paint_space(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
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


def _paint_clouds(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    deck = canvas.noise(5, 6)
    line = HORIZON + 0.05 - 0.05 * deck
    texture = 0.12 * deck + 0.16 * canvas.on_floor(0.25)
    color = rgb(np.array(_LAND["sky"]) * np.array(DIM[scene.time]))
    canvas.paint(canvas.shade(color, texture - 0.02), canvas.below(np.asarray(line), 22))


def _paint_sea(canvas: Canvas, scene: Scene, tint: RGB | None) -> Waves:
    dim = np.array(DIM[scene.time])
    deep = np.array(tint) * 0.6 if tint else np.array((0.06, 0.30, 0.46))
    far = (deep * dim * 0.7 + 0.3 * np.array(SKY[scene.time][1])).astype(np.float32)
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
        band.start, np.asarray(strip[band], np.float32), tile(canvas.rng), x[band], y[band],
        np.asarray(np.broadcast_to(canvas.v - shore, strip.shape)[band], np.float32),
        rgb(np.array((0.96, 0.97, 0.97)) * dim),
    )  # fmt: skip


# ---------------------------------------------------------------- indoors


def _paint_studio(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    color = np.array(tint) if tint else np.array((0.62, 0.64, 0.67))
    color = 0.88 * color + 0.05
    color = color * (0.35 if scene.time == "night" else 0.5 + 0.5 * np.array(DIM[scene.time]))
    pool = np.exp(-((canvas.u / 1.15) ** 2) - ((canvas.v - 0.42) / 0.5) ** 2)
    bend = np.clip(
        (canvas.v - HORIZON + 0.04) / 0.12, 0, 1
    )  # where the paper curves into the floor
    level = 0.66 + 0.40 * pool + 0.13 * (3 * bend**2 - 2 * bend**3)
    paper = 0.022 * canvas.noise(60, 4) + 0.012 * canvas.noise(240, 2)
    canvas.image[:] = color.astype(np.float32) * (level + paper)[..., None]


def _paint_room(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    dim = np.array(DIM[scene.time]) * (0.75 if scene.time != "night" else 1.5)
    wall = (np.array(tint) * 0.8 + 0.12 if tint else np.array((0.86, 0.82, 0.74))) * np.clip(
        dim, 0, 1
    )
    canvas.image[:] = canvas.shade(
        rgb(wall), 0.03 * canvas.noise(40, 4) + 0.02 * canvas.noise(230, 2)
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
            * np.array(DIM[scene.time], np.float32)
        )
    foot = HORIZON + 0.045
    canvas.paint(rgb(np.clip(wall * 1.12, 0, 1)), canvas.below(foot - 0.045) * 0.8)
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
        rgb(np.array((0.56, 0.38, 0.23)) * np.clip(dim * 1.15, 0, 1)),
        np.asarray(tone + fibre, np.float32),
    )
    canvas.paint(floor * seam[..., None], canvas.below(foot))
    canvas.image *= (1 - 0.30 * np.exp(-(((canvas.v - foot) / 0.012) ** 2)))[..., None]


def _paint_stage(canvas: Canvas, scene: Scene, tint: RGB | None) -> None:
    cloth = np.array(tint or (0.56, 0.07, 0.09)) * (0.55 if scene.time == "night" else 0.85)
    phase = float(canvas.rng.uniform(0, 6.28))
    bend = 0.25 * np.sin(canvas.u * 5.1 + phase) + 0.10 * canvas.noise(10, 2)
    fold = 0.5 + 0.5 * np.sin(canvas.u * 26 + 2.6 * bend + 0.5 * canvas.v)
    level = 0.34 + 0.72 * fold**1.5 + 0.06 * np.sin(canvas.u * 78 + 4 * bend)
    canvas.image[:] = cloth.astype(np.float32) * np.asarray(level, np.float32)[..., None]
    canvas.image *= (0.62 + 0.55 * np.clip(canvas.v / HORIZON, 0, 1))[..., None]
    foot = HORIZON + 0.03
    hem = np.array((0.72, 0.55, 0.22)) * (0.5 if scene.time == "night" else 0.9)
    band = canvas.below(foot - 0.035) * (0.75 + 0.25 * fold)
    canvas.paint(rgb(hem * 0.9), np.asarray(band, np.float32))
    depth = 1.0 / np.maximum(canvas.v - np.float32(HORIZON - 0.25), 0.05)
    plank = canvas.u * depth * 1.5
    seam = 1 - 0.45 * np.exp(
        -((np.abs(plank - np.round(plank)) / (0.014 * np.maximum(depth * 0.7, 1))) ** 2)
    )
    tone = 0.10 * np.sin(np.round(plank) * 12.9898) + 0.06 * canvas.on_floor(0.6, 0.25)
    board = np.array((0.34, 0.22, 0.14)) * (0.6 if scene.time == "night" else 1.0)
    floor = canvas.shade(rgb(board), np.asarray(tone, np.float32)) * seam[..., None]
    canvas.paint(floor, canvas.below(foot))
    canvas.image *= (1 - 0.45 * np.exp(-(((canvas.v - foot) / 0.014) ** 2)))[..., None]


OUTDOOR: dict[str, Callable[[Canvas, Scene, RGB | None], Waves | None]] = {
    "sea": _paint_sea, "desert": _paint_desert, "grass": _paint_grass, "forest": _paint_forest,
    "mountains": _paint_mountains, "snowfield": _paint_snowfield, "city": _paint_city,
    "space": _paint_space, "sky": _paint_clouds,
}  # fmt: skip
INDOOR: dict[str, Callable[[Canvas, Scene, RGB | None], None]] = {
    "studio": _paint_studio,
    "room": _paint_room,
    "stage": _paint_stage,
}
