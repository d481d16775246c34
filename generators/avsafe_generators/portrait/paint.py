"""What is painted on the surfaces: eyes, brows, lips, beard, wrinkles, cloth.

Legend: flat arrays over the pixels of one material; head coordinates (see ``person``); colours are
sRGB 0..1, shape (n, 3). Painted edges are soft over one pixel, so that they need no filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.solids import Solids, beard_mask, step

Array = NDArray[Any]  # float32


class Grain:
    """Smooth random textures that repeat, read anywhere."""

    def __init__(self, seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64([seed, 11]))
        self.table = rng.standard_normal((256, 256)).astype(np.float32)

    def at(self, u: Array, v: Array) -> Array:
        """Bilinear value at (u, v), one random number a unit; mean 0, deviation about 0.6."""
        import cv2

        flat = (np.mod(u, 256.0).astype(np.float32), np.mod(v, 256.0).astype(np.float32))
        n = u.size
        wide = 16384
        pad = (-n) % wide
        a = np.pad(flat[0].ravel(), (0, pad)).reshape(-1, wide)
        b = np.pad(flat[1].ravel(), (0, pad)).reshape(-1, wide)
        seen = cv2.remap(self.table, a, b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return np.asarray(seen, np.float32).ravel()[:n].reshape(u.shape)


@dataclass
class Coat:
    """Paint of one material."""

    color: Array  # (n, 3)
    gloss: Array  # 0 matt .. 1 wet
    height: Array  # bump, units
    eye: Array  # 0..1, where the eyeball is seen
    eye_color: Array  # (n, 3), of the eyeball, unlit
    eye_normal: Array  # (n, 3), head coordinates


def mix(a: Any, b: Any, share: Array) -> Array:
    """(n, 3) colours, share (n,)."""
    out: Array = a + (np.asarray(b, np.float32) - a) * share[:, None]
    return out


def skin(
    person: Person, solids: Solids, grain: Grain, x: Array, y: Array, z: Array, px: float
) -> Coat:
    """Paint the skin; ``px`` is the size of a pixel in units."""
    s = person.shape
    n = x.size
    ax = np.abs(x)
    front = step(0.25, 0.5, z)
    base = np.array(person.skin, np.float32)
    color = np.tile(base, (n, 1))
    mottle = grain.at(x * 5 + 3, y * 5 + z * 2) * 0.6 + grain.at(x * 17, y * 17 + z * 6) * 0.4
    color *= (1 + 0.018 * mottle)[:, None]
    light = float(base.mean())
    blush = np.array([1.0, 0.74, 0.70], np.float32)
    cheeks = np.exp(-(((ax - 0.43) / 0.19) ** 2) - ((y + 0.30) / 0.15) ** 2) * front
    nose = np.exp(-((x / 0.15) ** 2) - ((y - s["nose_y"]) / 0.13) ** 2) * front
    chin = np.exp(-((x / 0.2) ** 2) - ((y + 0.97) / 0.12) ** 2) * front
    ears = step(0.70, 0.78, ax) * step(-0.5, -0.3, y) * step(0.35, 0.2, y)
    pink = (0.42 + 0.25 * person.makeup) * cheeks + 0.30 * nose + 0.18 * chin + 0.35 * ears
    color *= 1 + (blush - 1) * (pink * (0.35 + 0.65 * light))[:, None]
    if person.freckles:
        spots = step(0.75, 1.3, grain.at(x * 46, y * 46)) * step(-0.2, 0.4, grain.at(x * 9, y * 9))
        where = np.exp(-(((ax - 0.25) / 0.28) ** 2) - ((y + 0.22) / 0.18) ** 2) * front
        color = mix(color, base * (0.70, 0.56, 0.46), 0.75 * person.freckles * spots * where)
    if person.age > 0.7:
        spots = step(0.9, 1.3, grain.at(x * 14 + 50, y * 14)) * step(
            0.0, 0.5, grain.at(x * 4, y * 4)
        )
        color = mix(color, base * (0.78, 0.66, 0.58), 0.35 * spots)
    gloss = np.full(n, 0.28, np.float32) + 0.12 * nose
    gloss += 0.10 * np.exp(-((x / 0.3) ** 2) - ((y - 0.45) / 0.2) ** 2) * front
    height = 0.00035 * grain.at(x * 60, y * 60) * front
    height = height + _wrinkles(person, x, ax, y, front)
    color = _beard(person, grain, color, solids, x, y, z)
    color, gloss = _lips(person, solids, grain, color, gloss, x, y, front, px)
    color = _brows(person, grain, color, x, y, front, px)
    return _eyes(person, grain, color, gloss, height, x, y, z, front, px)


def _wrinkles(person: Person, x: Array, ax: Array, y: Array, front: Array) -> Array:
    age, s = person.age, person.shape
    smile = 1.0 if person.expression == "smile" else 0.0
    h = np.zeros_like(x)
    fold = np.interp(y, [-0.80, -0.62, -0.50, -0.34], [0.36, 0.345, 0.275, 0.165])
    window = step(-0.80, -0.66, y) * step(-0.33, -0.40, y)
    depth = 0.004 + 0.020 * max(0.0, age - 0.15) + 0.010 * smile
    h -= depth * np.exp(-(((ax - fold) / 0.030) ** 2)) * window
    if age > 0.35:
        wave = 0.02 * np.sin(5 * x + person.seed % 7)
        for k, level in enumerate((0.40, 0.48, 0.565)):
            line = np.exp(-(((y - level - wave * (1 + 0.3 * k)) / 0.013) ** 2))
            h -= 0.012 * (age - 0.25) * line * step(0.48, 0.2, ax)
        angle = np.arctan2(y + 0.01, ax - s["eye_x"] - s["eye_w"] * 0.9)
        far = np.hypot(y, ax - s["eye_x"] - s["eye_w"] * 0.9)
        feet = (
            np.cos(angle * 10)
            * np.exp(-(((far - 0.11) / 0.05) ** 2))
            * step(0.9, 0.4, np.abs(angle))
        )
        h -= 0.007 * (age - 0.25) * feet
        h -= (
            0.012
            * (age - 0.3)
            * np.exp(-(((ax - 0.055) / 0.012) ** 2))
            * step(0.12, 0.18, y)
            * step(0.32, 0.24, y)
        )
        u = (ax - s["eye_x"]) / 0.16
        bag = y + 0.125 - 0.035 * u * u
        h -= 0.013 * age * np.exp(-((bag / 0.016) ** 2)) * step(1.1, 0.6, np.abs(u))
        mouth = np.interp(y, [-1.0, -0.72], [0.36, 0.305])
        h -= (
            0.016
            * (age - 0.3)
            * np.exp(-(((ax - mouth) / 0.02) ** 2))
            * step(-0.95, -0.85, y)
            * step(-0.70, -0.75, y)
        )
    return h * front


def _beard(
    person: Person, grain: Grain, color: Array, solids: Solids, x: Array, y: Array, z: Array
) -> Array:
    if person.beard == "none":
        return color
    mask = beard_mask(person, x, y, z)
    fine = grain.at(x * 60 + 9, y * 22 + z * 25)
    speck = grain.at(x * 95, y * 95 + z * 60)
    hair = np.array(person.hair_color, np.float32)
    if person.hair_name in ("white", "platinum", "blond", "gray", "light brown"):
        hair = hair * 0.9
    if person.hair_name in ("pink", "blue", "green", "purple", "orange"):
        hair = np.array((0.16, 0.11, 0.08), np.float32)
    if person.beard == "stubble":
        return mix(color, color * 0.35 + hair * 0.45, mask * np.clip(0.42 + 0.28 * speck, 0, 1))
    strands = hair[None] * (1 + 0.30 * fine)[:, None]
    edge = np.clip(mask * 1.5 + 0.22 * fine * (mask > 0.02) * (mask < 0.9), 0, 1)
    return mix(color, strands, 0.95 * edge)


def _lips(
    person: Person, solids: Solids, grain: Grain, color: Array, gloss: Array, x: Array, y: Array,
    front: Array, px: float,
) -> tuple[Array, Array]:  # fmt: skip
    s = person.shape
    u = x / s["mouth_w"]
    au = np.clip(np.abs(u), 0, 1.05)
    v = y - solids.mouth_line(np.abs(x))
    arch = np.clip(1 - au**1.7, 0, 1) ** 0.75
    bow = 1 - s["cupid"] * np.exp(-((u / 0.15) ** 2)) + 0.12 * np.exp(-(((au - 0.25) / 0.18) ** 2))
    up = s["lip_up"] * arch * bow
    low = s["lip_low"] * np.clip(1 - au**2.3, 0, 1) ** 0.8
    soft = max(px * 1.2, 0.011)
    inside = step(-soft, soft, np.minimum(up - v, v + low)) * (np.abs(u) < 1.04) * front
    base = np.array(person.skin, np.float32)
    light = float(base.mean())
    natural = (
        base * np.array([0.93, 0.64, 0.63], np.float32)
        if light > 0.42
        else base * np.array([1.22, 0.80, 0.80], np.float32)
    )
    rouge = np.array([0.70, 0.17, 0.20], np.float32) * (0.55 + 0.55 * light)
    tint = natural + (rouge - natural) * (0.45 * person.makeup)
    fine = grain.at(x * 55 + 7, y * 6)
    lip = tint[None] * (1 + 0.05 * fine)[:, None] * np.where(v > 0, 0.90, 1.03)[:, None]
    color = mix(color, lip, inside * 0.92)
    corner = np.sqrt(np.clip(1.06 - au * au, 0, 1)) * front
    seam = np.exp(-((v / max(0.011, px * 0.9)) ** 2)) * corner
    color = mix(color, base * np.array([0.36, 0.20, 0.19], np.float32), 0.85 * seam)
    under = np.exp(-(((v + low + 0.035) / 0.03) ** 2)) * np.clip(1 - (au / 0.75) ** 2, 0, 1) * front
    color = mix(color, color * np.array([0.86, 0.78, 0.76], np.float32), 0.6 * under)
    return color, gloss + inside * (0.25 + 0.35 * person.makeup) * (v < 0)


def _brows(
    person: Person, grain: Grain, color: Array, x: Array, y: Array, front: Array, px: float
) -> Array:
    s = person.shape
    ax = np.abs(x)
    side = np.where(x < 0, s["asym"], -s["asym"])
    inner, outer = 0.125, 0.575
    u = (ax - inner) / (outer - inner)
    frown = 0.045 * np.clip(1 - u, 0, 1) ** 2 if person.expression == "serious" else 0.0
    lift = 0.012 if person.expression == "smile" else 0.0
    line = s["brow_y"] + side + lift + s["brow_tilt"] * (u - 0.4) - frown
    line = line + s["brow_arch"] * (1 - ((u - 0.60) / 0.60) ** 2)
    thick = s["brow_t"] * np.clip(
        np.interp(u, [-0.05, 0.08, 0.35, 0.75, 1.0], [0.45, 0.9, 1.05, 0.68, 0.12]), 0, 2
    )
    v = y - line
    strokes = grain.at(ax * 75 - v * 60 + 31 * (x < 0), v * 7 + ax * 4)
    mask = step(0.022, -0.012, np.abs(v) - thick + 0.007 * strokes)
    mask *= step(-0.06, 0.05, u) * step(1.03, 0.93, u) * front
    hair = np.array(person.hair_color, np.float32)
    if person.hair_name in ("pink", "blue", "green", "purple", "orange", "platinum"):
        hair = np.array((0.24, 0.16, 0.11), np.float32)
    dark = hair * (0.62 if person.age < 0.7 else 0.85)
    tone = dark[None] * (1 + 0.18 * strokes)[:, None]
    return mix(color, tone, mask * (0.86 if person.hair_name not in ("blond", "white") else 0.72))


def _eyes(
    person: Person, grain: Grain, color: Array, gloss: Array, height: Array, x: Array, y: Array,
    z: Array, front: Array, px: float,
) -> Coat:  # fmt: skip
    s = person.shape
    ax = np.abs(x)
    right = x > 0
    narrow = {"serious": 0.90, "smile": 0.88}.get(person.expression, 1.0)
    wide = s["eye_w"]
    u = (ax - s["eye_x"]) / wide
    v = y - s["eye_tilt"] * (ax - s["eye_x"])
    flat = np.clip(1 - np.abs(u) ** 2.1, 0, 1)
    peak = 1 + s["lid_peak"] * u
    upper = s["eye_up"] * narrow * flat**0.78 * peak - 0.012 * np.clip(-u - 0.6, 0, 1)
    cheek = 0.010 if person.expression == "smile" else 0.0
    lower = -(s["eye_low"] - cheek) * np.clip(1 - np.abs(u) ** 2.4, 0, 1) ** 0.8
    lower = lower - 0.010 * np.clip(-u - 0.55, 0, 1)
    near = (np.abs(u) < 1.0) & (front > 0)
    soft = px * 0.8
    opening = np.minimum(upper - v, v - lower)
    eye = step(-soft, soft, opening) * near
    # lids: crease, shade, under-eye
    skin_dark = color * np.array([0.66, 0.52, 0.48], np.float32)
    crease = v - upper - s["hood"] * (0.75 + 0.35 * np.clip(u, -1, 1))
    reach = step(1.22, 0.8, np.abs(u)) * front
    color = mix(color, skin_dark, 0.62 * np.exp(-((crease / 0.014) ** 2)) * reach)
    lid = step(-0.02, 0.02, -crease) * step(-0.01, 0.02, v - upper) * reach
    shade = (
        np.array([0.55, 0.40, 0.42], np.float32)
        if person.makeup
        else np.array([0.80, 0.68, 0.64], np.float32)
    )
    color = mix(color, color * shade, lid * (0.30 + 0.35 * person.makeup))
    hollow = np.exp(-(((v - lower + 0.055) / 0.045) ** 2)) * step(1.1, 0.7, np.abs(u)) * front
    color = mix(
        color, color * np.array([0.82, 0.74, 0.76], np.float32), hollow * (0.25 + 0.35 * person.age)
    )
    rim = np.exp(-(((v - lower + 0.006) / 0.011) ** 2)) * step(1.02, 0.9, np.abs(u)) * front
    color = mix(color, color * np.array([0.80, 0.60, 0.58], np.float32), 0.75 * rim)
    # lashes
    lash = (0.017 if person.sex == "woman" else 0.011) * (0.55 + 0.55 * np.clip(u + 0.7, 0, 1.6))
    lash = lash * (1 + 0.5 * person.makeup)
    wing = np.clip(u - 0.86, 0, 0.4) * wide
    tooth = 0.5 + 0.5 * np.sin(u * 46)
    length = lash * (
        1 + (0.75 if person.sex == "woman" else 0.35) * tooth * np.clip(u + 0.8, 0, 1.2)
    )
    over = v - upper - 0.30 * wing
    lashes = step(length + soft, length - soft, over) * step(-0.012 - soft, -0.012 + soft, over)
    lashes *= step(1.14 + 0.04 * person.makeup, 0.98, np.abs(u)) * front
    lashes *= step(-1.05, -0.75, u)
    # eyeball
    aim_x = s["eye_x"] + np.where(right, 1.0, -1.0) * s["gaze"] * 0.10 - 0.006
    ix, iy = ax - aim_x, y - 0.012
    r = np.hypot(ix, iy)
    iris = 0.0745
    white = np.array([0.93, 0.905, 0.885], np.float32)
    ball: Array = np.tile(white, (x.size, 1))
    pinkish = np.clip(np.abs(u) - 0.62, 0, 1) * 1.5
    ball = mix(ball, np.array([0.86, 0.60, 0.56], np.float32), np.clip(pinkish, 0, 0.75))
    angle = np.arctan2(iy, ix)
    fibre = grain.at(angle * 9 + 60, r * 20) * 0.6 + grain.at(angle * 22, r * 9) * 0.4
    tone = np.array(person.eye_color, np.float32)
    glow = 1.0 + 0.75 * np.clip(-iy / iris, -0.5, 1) + 0.25 * fibre
    ring = tone[None] * glow[:, None]
    inner = np.clip(tone * 1.15 + np.array([0.10, 0.07, 0.02], np.float32), 0, 1)
    ring = mix(ring, inner, 0.40 * step(0.052, 0.032, r))
    ring = mix(ring, tone * 0.28, step(iris * 0.74, iris * 0.98, r))
    ball = mix(ball, ring, step(iris + soft * 1.2, iris - soft * 1.2, r))
    ball = mix(
        ball, np.array([0.015, 0.012, 0.012], np.float32), step(0.034 + soft, 0.034 - soft, r)
    )
    shadow = step(0.050, 0.0, upper - v)
    ball = ball * (1 - 0.55 * shadow)[:, None] * (1 - 0.25 * np.clip(np.abs(u), 0, 1) ** 3)[:, None]
    ball = mix(ball, np.array([0.82, 0.50, 0.46], np.float32), 0.7 * step(-0.86, -0.97, u))
    color = mix(
        color,
        np.array([0.045, 0.030, 0.028], np.float32),
        np.clip(lashes, 0, 1) * 0.93,
    )
    ez = np.sqrt(np.clip(0.165**2 - (ax - s["eye_x"]) ** 2 - y * y, 0.002, 1))
    normal: Array = np.stack([(ax - s["eye_x"]) * np.where(right, 1, -1), y, ez], -1) / 0.165
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return Coat(color, gloss, height, np.clip(eye * (1 - lashes * 0.9), 0, 1), ball, normal)


def cloth(
    person: Person, grain: Grain, x: Array, y: Array, z: Array, px: float
) -> tuple[Array, Array, Array]:
    """(colour, share of cloth against skin, bump) on the body, in camera coordinates."""
    base = np.array(person.cloth_color, np.float32)
    n, ax = x.size, np.abs(x)
    color = np.tile(base, (n, 1))
    fold = grain.at(x * 2.2 + 5, y * 1.3 + 9) + 0.5 * grain.at(x * 5, y * 2.5 + 3)
    weave = grain.at(x * 80, y * 80)
    color *= (1 + 0.03 * weave)[:, None]
    height = 0.020 * fold + 0.0012 * weave
    soft = px
    kind = person.clothing
    if kind == "turtleneck":
        edge = -1.17 - y - 0.04 * np.cos(2.5 * x)
        share = step(-soft, soft, edge)
        ribs = np.sin(np.arctan2(x, z + 0.25) * 46) * step(0.42, 0.36, edge)
        height = height + 0.004 * ribs
        color *= (1 - 0.30 * np.exp(-(((edge - 0.40) / 0.035) ** 2)))[:, None]
        return color, share, height
    if kind == "crew":
        edge = np.hypot(x / 0.66, (y + 1.38) / 0.50) - 1
        edge = np.where(y > -1.38, np.maximum(edge, ax / 0.66 - 1), edge) * 0.5
        band = step(0.085, 0.075, edge)
        height = height + 0.010 * band + 0.002 * band * np.sin(np.arctan2(x, y + 1.38) * 90)
        color *= (1 - 0.25 * np.exp(-(((edge - 0.082) / 0.010) ** 2)))[:, None]
        return color, step(-soft, soft, edge), height
    if kind == "v-neck":
        edge = (ax - 0.56 * np.clip(y + 2.22, 0, 1.5) ** 0.9) * 0.8
        edge = np.where(y > -1.7, (ax - 0.305 - 1.05 * (y + 1.7)) * 0.7, edge)
        band = step(0.070, 0.060, edge)
        height = height + 0.010 * band
        color *= (1 - 0.22 * np.exp(-(((edge - 0.066) / 0.010) ** 2)))[:, None]
        return color, step(-soft, soft, edge), height
    # shirt and suit: an open collar with two flaps
    edge = (ax - 0.36 * np.clip(y + 1.88, 0, 1.5)) * 0.9
    edge = np.where(y > -1.42, (ax - 0.166 - 1.3 * (y + 1.42)) * 0.6, edge)
    slope = -1.40 - 0.15 * (ax - 0.4)
    outer = 0.70 - 0.9 * (-1.45 - y)
    flap = np.minimum(np.minimum(outer - ax + 0.02, y + 1.93 + 0.1 * ax), edge + 0.02)
    flap = np.minimum(flap, slope + 0.30 - y)
    on = step(-soft, soft, flap)
    if kind == "suit":
        shirt = np.array([0.90, 0.90, 0.89], np.float32)
        v = ax - 0.42 * np.clip(y + 2.9, 0, 2) ** 1.1 * 0.62
        jacket = step(-soft, soft, v)
        lapel = step(0.33, 0.32, v) * jacket
        color = mix(np.tile(shirt, (n, 1)) * (1 + 0.02 * weave)[:, None], color, jacket)
        color *= (1 - 0.30 * np.exp(-(((v - 0.325) / 0.014) ** 2)) * jacket)[:, None]
        color *= (1 - 0.45 * np.exp(-(((v + 0.015) / 0.02) ** 2)))[:, None]
        height = height + 0.016 * lapel
        tint = shirt
    else:
        tint = base
        placket = np.exp(-(((ax - 0.075) / 0.008) ** 2)) * step(-1.85, -1.9, y)
        color *= (1 - 0.22 * placket)[:, None]
        button = step(0.030, 0.022, np.hypot(x, np.mod(y + 1.98, 0.36) - 0.18)) * step(
            -1.9, -1.95, y
        )
        color = mix(color, np.clip(base * 0.7 + 0.25, 0, 1), 0.8 * button)
    color = mix(color, np.tile(tint, (n, 1)) * 1.0, on)
    color *= (
        1
        - 0.42
        * np.exp(-((np.clip(-flap, 0, 1) / 0.035) ** 2))
        * (flap < 0)
        * (edge > 0)
        * step(-2.1, -1.9, y)
    )[:, None]
    height = height + 0.022 * step(-0.015, 0.03, flap)
    return color, step(-soft, soft, edge), height
