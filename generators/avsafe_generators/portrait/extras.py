"""Glasses, drawn on the plane before the eyes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.solids import PIVOT, step
from avsafe_generators.portrait.trace import Camera, World, along

Array = NDArray[Any]  # float32
_FRAMES = (
    (0.06, 0.05, 0.05),
    (0.30, 0.16, 0.08),
    (0.10, 0.13, 0.22),
    (0.55, 0.45, 0.28),
    (0.40, 0.07, 0.09),
)
PLANE_Z = 0.97


def draw_glasses(
    image: Array, person: Person, world: World, camera: Camera, px: Array, py: Array, depth: Array,
    key: Array,
) -> None:  # fmt: skip
    """Draw into a linear image."""
    m = world.solids.matrix.astype(np.float32)
    z = np.full_like(px, PLANE_Z)
    for _ in range(3):
        x, y = along(px, py, z)
        at = (
            m[2, 0] * (x - PIVOT[0])
            + m[2, 1] * (y - PIVOT[1])
            + m[2, 2] * (z - PIVOT[2])
            + PIVOT[2]
        )
        z = (z + (PLANE_Z - at) / m[2, 2]).astype(np.float32)
    x, y = along(px, py, z)
    hx, hy, _ = world.solids.to_head(x, y, z)
    soft = 0.8 / camera.unit
    rim, lens = _frame(person, hx, hy)
    shadow_rim, _ = _frame(person, hx + 0.025 * key[0], hy + 0.05)
    behind = depth > z  # hair in front of the glasses
    on_face = (depth > 0.2) & ~behind
    shadow = step(0.03, -0.01, shadow_rim) * on_face
    image *= (1 - 0.28 * shadow)[..., None]
    inside = step(soft, -soft, lens) * ~behind
    if person.glasses == "sunglasses":
        fade = np.clip(0.93 - 0.35 * (0.15 - hy), 0.75, 0.95) * inside
        image += (np.array([0.012, 0.012, 0.016], np.float32) - image) * fade[..., None]
    streak = np.exp(-(((hx * 0.8 + hy - 0.10 - 0.30 * np.sign(hx)) / 0.05) ** 2))
    image += (inside * (0.012 + 0.035 * streak))[..., None]
    tint = np.array(_FRAMES[person.seed % len(_FRAMES)], np.float32) ** 2.2
    alpha = step(soft, -soft, rim) * ~behind
    gleam = 0.10 * step(0.0, -0.02, rim) * np.clip(hy * 4 + 0.3, 0, 1)
    image += (tint + gleam[..., None] - image) * alpha[..., None]
    _temples(image, person, world, camera, depth, tint)


def _frame(person: Person, x: Array, y: Array) -> tuple[Array, Array]:
    """Distances (units) to the frame and to the lenses."""
    ax = np.abs(x)
    lx, ly = ax - 0.345, y + 0.035
    if person.glasses == "round":
        lens = np.hypot(lx / 0.235, ly / 0.222) - 1
        lens = lens * 0.225
        thick = 0.016
    else:
        power = 3.6
        lens = ((np.abs(lx) / 0.255) ** power + (np.abs(ly) / (0.185 - 0.02 * lx)) ** power) ** (
            1 / power
        ) - 1
        lens = lens * 0.20
        thick = 0.024
    ring = np.abs(lens) - thick
    arch = np.hypot(ax * 0.9, (y - 0.005) * 1.0)
    bridge = np.maximum(np.abs(arch - 0.085) - thick * 0.8, np.maximum(ax - 0.115, 0.025 - y))
    return np.minimum(ring, bridge), lens


def _temples(
    image: Array, person: Person, world: World, camera: Camera, depth: Array, tint: Array
) -> None:
    """The arms from the frame to the ears."""
    rows, columns = np.mgrid[0 : depth.shape[0], 0 : depth.shape[1]].astype(np.float32)
    for side in (-1.0, 1.0):
        ends = np.array([[0.585 * side, 0.045, PLANE_Z - 0.01], [0.80 * side, 0.035, 0.05]])
        points = world.solids.from_head(ends)
        (x0, y0), (x1, y1) = camera.project(points)
        dx, dy = x1 - x0, y1 - y0
        h = np.clip(((columns - x0) * dx + (rows - y0) * dy) / (dx * dx + dy * dy + 1e-6), 0, 1)
        far = np.hypot(columns - x0 - h * dx, rows - y0 - h * dy)
        z = points[0, 2] + h * (points[1, 2] - points[0, 2])
        alpha = np.clip(0.018 * camera.unit - far + 0.5, 0, 1) * (z > depth - 0.02)
        image += (tint - image) * alpha[..., None]
