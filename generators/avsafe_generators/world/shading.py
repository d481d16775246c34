"""The looks of materials: from normals and points on a solid to colours.

Legend: ``k`` touched pixels. Light is computed in linear values (square of sRGB) and comes out as
sRGB 0..1. ``Sprite`` arrays are float32: ``rgb`` (s, s, 3) already multiplied by ``alpha`` (s, s).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.scene import COLORS
from avsafe_generators.world.solids import SOLIDS, Hits, cast

Array = NDArray[Any]  # float32
RGB = tuple[float, float, float]

# material: natural colour (None: any), gloss (exponent), shine (strength of highlight)
_NATURAL: dict[str, RGB] = {
    "wood": (0.66, 0.43, 0.24), "metal": (0.76, 0.78, 0.81), "gold": (0.98, 0.76, 0.32),
    "silver": (0.93, 0.94, 0.95), "copper": (0.88, 0.52, 0.36), "glass": (0.86, 0.95, 0.95),
    "stone": (0.56, 0.55, 0.53), "marble": (0.92, 0.90, 0.87), "ice": (0.78, 0.91, 0.98),
    "rubber": (0.8, 0.2, 0.2), "plastic": (0.2, 0.45, 0.9), "clay": (0.78, 0.47, 0.33),
    "light": (1.0, 0.86, 0.45),
}  # fmt: skip
_GLOSS: dict[str, tuple[float, float]] = {
    "wood": (26.0, 0.14), "rubber": (9.0, 0.10), "plastic": (60.0, 0.55), "stone": (8.0, 0.04),
    "marble": (70.0, 0.45), "clay": (32.0, 0.28), "ice": (90.0, 0.8), "glass": (160.0, 1.6),
    "metal": (70.0, 0.9), "gold": (60.0, 0.9), "silver": (90.0, 1.0), "copper": (60.0, 0.8),
    "light": (10.0, 0.0),
}  # fmt: skip
METALS = frozenset(("metal", "gold", "silver", "copper"))
CLEAR = frozenset(("glass", "ice"))


@dataclass(frozen=True)
class Light:
    """Where light comes from; colours linear 0..1."""

    direction: RGB  # towards the key light
    key: RGB
    zenith: RGB
    horizon: RGB
    ground: RGB


@dataclass(frozen=True)
class Sprite:
    """One view of an object, before it is put into a frame."""

    rgb: Array
    alpha: Array
    extent: float  # the square spans -extent..extent radii
    bend: Array | None = None  # (s, s, 2) where a clear body shows the background, in radii
    tint: RGB = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Look:
    """What decides the colours of an object, apart from the light."""

    shape: str
    material: str
    color: str | None
    pattern: str | None
    tone: str | None
    seed: int


def albedo(look: Look) -> RGB:
    """The base colour in sRGB."""
    base = np.array(_NATURAL[look.material])
    if look.color:
        wanted = np.array(COLORS[look.color])
        if look.material == "wood":
            base = wanted * 0.72 + base * 0.28
        elif look.material in ("stone", "marble"):
            base = wanted * 0.7 + base * 0.3
        elif look.material in METALS:
            base = wanted * 0.85 + 0.12
        else:
            base = wanted
    if look.tone == "dark":
        base = base * 0.55
    elif look.tone == "light":
        base = base * 0.55 + 0.45
    red, green, blue = np.clip(base, 0.02, 1.0)
    return float(red), float(green), float(blue)


def sprite(look: Look, light: Light, turn: NDArray[Any], side: int) -> Sprite:
    """Render an object seen by the camera, ``side`` pixels square."""
    extent = 1.0 + 3.0 / side
    hits = cast(SOLIDS[look.shape], turn, side, extent)
    color = np.sqrt(np.clip(_shade(look, light, hits), 0.0, None))
    color = np.where(color > 0.8, 1 - 0.2 * np.exp(-(color - 0.8) / 0.2), color)  # soft shoulder
    alpha = np.zeros(side * side, np.float32)
    rgb = np.zeros((side * side, 3), np.float32)
    weight = hits.cover
    if look.material in CLEAR:
        edge = 1 - np.clip(hits.normal[2], 0, 1)
        solid = np.clip((0.12 if look.material == "glass" else 0.45) + 0.7 * edge**2.2, 0, 1)
        glow = np.clip(color.max(axis=0) - 0.72, 0, 1) * 2.2
        weight = hits.cover * np.clip(np.maximum(solid, glow), 0, 1)
    alpha[hits.index] = weight
    rgb[hits.index] = (color * weight[None]).T
    bend = None
    tint: RGB = (1.0, 1.0, 1.0)
    if look.material in CLEAR:
        flow = np.zeros((side * side, 3), np.float32)
        slope = np.sqrt(np.clip(1 - hits.normal[2], 0, 1))  # a thick rim bends more
        flow[hits.index, 0] = -0.8 * hits.normal[0] * slope
        flow[hits.index, 1] = 0.8 * hits.normal[1] * slope
        flow[hits.index, 2] = hits.cover
        red, green, blue = albedo(look)
        tint = (0.5 + 0.5 * red, 0.5 + 0.5 * green, 0.5 + 0.5 * blue)
        bend = flow.reshape(side, side, 3)
    return Sprite(rgb.reshape(side, side, 3), alpha.reshape(side, side), extent, bend, tint)


def _shade(look: Look, light: Light, hits: Hits) -> Array:
    """Linear light (3, k)."""
    normal, point = hits.normal, hits.point
    grain = _grain(look, point)
    base = np.square(np.array(albedo(look), np.float32))[:, None] * grain
    if look.pattern:
        base = _patterned(look, base, point)
    if look.material == "light":
        core = 0.75 + 0.5 * np.clip(normal[2], 0, 1)
        return base * core[None] * 1.25 + 0.18 * np.clip(normal[2], 0, 1) ** 3
    if look.material == "stone":
        normal = _roughened(normal, point, look.seed, 0.24)
    toward = _unit(light.direction)
    key = np.clip(normal[0] * toward[0] + normal[1] * toward[1] + normal[2] * toward[2], -1, 1)
    up = 0.5 + 0.5 * normal[1]
    sky, ground = _column(light.zenith) * 0.6 + _column(light.horizon) * 0.4, _column(light.ground)
    ambient = ground * (1 - up)[None] * 0.75 + sky * up[None]
    half = _unit((toward[0], toward[1], toward[2] + 1.0))
    gloss, shine = _GLOSS[look.material]
    facing = np.clip(normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2], 0, 1)
    highlight = shine * facing**gloss * _column(light.key)
    rim = (1 - np.clip(normal[2], 0, 1)) ** 4
    if look.material in METALS or look.material in CLEAR:
        mirror = _surroundings(light, normal, toward)
        if look.material in METALS:
            brushed = 1 + 0.05 * np.sin(90 * point[1] + 3 * np.sin(7 * point[0]))
            return base * mirror * (1.15 * brushed)[None] + highlight * (base * 0.5 + 0.5)
        through = np.clip(-key - 0.15, 0, 1) ** 1.5  # light gathered on the far side from the key
        lit = base * (ambient * 0.55 + 0.75 * _column(light.key) * through[None])
        return mirror * (0.35 + 0.65 * rim)[None] * (0.55 + 0.45 * base) + highlight + lit
    wrapped = np.clip((key + 0.12) / 1.12, 0, 1)  # the light is large, its edge on the body soft
    body = base * (_column(light.key) * wrapped[None] + ambient * 0.62)
    mirror_share = {"plastic": 0.5, "marble": 0.35, "clay": 0.2, "wood": 0.08}.get(
        look.material, 0.05
    )
    reflected = _surroundings(light, normal, toward) * (0.04 + rim)[None] * mirror_share
    return body + highlight * 0.8 + reflected


def _surroundings(light: Light, normal: Array, toward: RGB) -> Array:
    """What a mirror sees: sky, a darker band at the horizon, the ground, a soft box and a strip."""
    x, y, z = 2 * normal[2] * normal[0], 2 * normal[2] * normal[1], 2 * normal[2] ** 2 - 1
    above = np.clip(y, 0, 1) ** 0.6
    sky = _column(light.horizon) * (1 - above)[None] * 1.25 + _column(light.zenith) * above[None]
    below = np.clip(-y, 0, 1)
    ground = _column(light.ground) * (0.35 + 0.65 * below)[None] * 0.8
    edge = 1 / (1 + np.exp(-y * 22))
    seen = ground * (1 - edge)[None] + sky * edge[None]
    seen = seen * (1 - 0.55 * np.exp(-(((y + 0.04) * 7) ** 2)))[None]
    box = np.clip((x * toward[0] + y * toward[1] + z * toward[2] - 0.86) * 14, 0, 1)
    strip = np.exp(-(((x - 0.75) * 5) ** 2)) * (np.abs(y - 0.25) < 0.6)
    return seen + _column(light.key) * (1.5 * box + 0.35 * strip)[None]


def _grain(look: Look, point: Array) -> Array:
    """(k,) or (3, k) factor on the base colour."""
    x, y, z = point
    shift = np.float32(look.seed % 997) * 0.37
    if look.material == "wood":
        wave = 0.10 * np.sin(2.3 * y + shift) + 0.05 * np.sin(5.1 * y + 2.0 * x + shift)
        radius = np.hypot(x + 0.85 + wave, z * 0.9 + 0.35 + 0.08 * np.sin(1.7 * y))
        ring = 0.5 + 0.5 * np.sin(34 * radius + 1.2 * np.sin(6 * y + shift))
        fibre = np.sin(150 * radius + 9 * np.sin(1.5 * y)) * np.sin(41 * x + 57 * z + shift)
        factor = 0.62 + 0.5 * ring**1.6 + 0.06 * fibre
        return np.stack([factor**0.85, factor, factor**1.25])
    if look.material == "marble":
        vein = np.abs(np.sin(2.2 * x + 1.6 * y + 2.4 * _cloud(point, 2.1, shift) + shift))
        return (1 - 0.55 * np.exp(-vein * 9) - 0.12 * np.exp(-vein * 2.2))[None]
    if look.material == "stone":
        return (0.82 + 0.22 * _cloud(point, 4.0, shift) + 0.16 * _cloud(point, 17.0, shift))[None]
    if look.material == "clay":
        return (1 + 0.05 * np.sin(26 * y + 0.6 * _cloud(point, 3.0, shift)))[None]
    if look.material == "rubber" and look.pattern is None and look.shape == "ball":
        # the seam of a mould, so that a turning ball is seen to turn
        seam = np.exp(-((y / 0.05) ** 2)) + np.exp(-(((np.abs(x) - 0.55) / 0.05) ** 2))
        return (1 - 0.4 * np.clip(seam, 0, 1))[None]
    if look.material == "plastic" and look.pattern is None and look.shape == "ball":
        return (1 - 0.35 * (np.abs(y) < 0.16) + 0.02 * _cloud(point, 5.0, shift))[None]
    return np.ones((1, x.size), np.float32)


def _patterned(look: Look, base: Array, point: Array) -> Array:
    x, y, z = point
    other = np.float32(0.9) if float(base.mean()) < 0.45 else np.float32(0.03)
    if look.pattern == "striped":
        mask = _step(np.sin(11 * y + 0.4), 9)
    elif look.pattern == "dotted":
        cell = np.cos(8.5 * x) * np.cos(8.5 * y) + np.cos(8.5 * y) * np.cos(8.5 * z)
        mask = _step(cell + np.cos(8.5 * x) * np.cos(8.5 * z) - 0.9, 5)
    elif look.shape in ("ball", "egg", "capsule"):
        mask = _step(np.sin(5 * np.arctan2(z, x)) * np.sin(7 * y), 12)
    else:
        mask = _step(np.sin(9 * x + 0.7) * np.sin(9 * y + 0.7) * np.sin(9 * z + 0.7), 30)
    return base * (1 - mask)[None] + other * mask[None]


def _step(value: Array, sharpness: float) -> Array:
    return np.clip(0.5 + value * np.float32(sharpness), 0, 1)


def _cloud(point: Array, scale: float, shift: np.float32 | float) -> Array:
    """Smooth pseudo-noise, -1..1: waves that bend one another."""
    x, y, z = point * np.float32(scale)
    a = np.sin(x * 1.7 + 1.3 * np.sin(y * 1.3 + shift) + shift)
    b = np.sin(y * 1.9 + 1.1 * np.sin(z * 1.6 + shift) + 2.0)
    c = np.sin(z * 2.1 + 1.2 * np.sin(x * 1.5 + shift) + 4.0)
    return (a * b + b * c + c * a) / 2


def _roughened(normal: Array, point: Array, seed: int, strength: float) -> Array:
    shift = np.float32(seed % 991) * 0.41
    bumps = np.stack(
        [_cloud(point, 9.0, shift + k) + 0.6 * _cloud(point, 23.0, shift - k) for k in (0, 3, 7)]
    )
    rough = normal + np.float32(strength) * bumps
    return rough / np.maximum(np.sqrt((rough * rough).sum(axis=0)), np.float32(1e-6))


def _column(color: RGB) -> Array:
    return np.array(color, np.float32)[:, None]


def _unit(vector: RGB) -> RGB:
    x, y, z = np.array(vector) / np.linalg.norm(vector)
    return float(x), float(y), float(z)
