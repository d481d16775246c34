"""Solids as signed distance functions, and the rays that find their surface.

Legend: ``k`` points; coordinates are float32 arrays of shape (k,), in units of the object's radius:
every solid lies within the unit sphere. ``x`` right, ``y`` up, ``z`` towards the viewer. The
formulas are the usual exact distances or lower bounds (after I. Quilez, "Distance functions", and
Hart, "Sphere tracing", The Visual Computer 12, 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[Any]  # float32
Distance = Callable[[Points, Points, Points], Points]

_STEPS = 40  # of a ray; edges seen at a grazing angle need the most
_RELAX = 0.95  # shortens steps, because some of the distances are only nearly bounds


def _ball(x: Points, y: Points, z: Points) -> Points:
    return np.sqrt(x * x + y * y + z * z) - 0.98


def _box(hx: float, hy: float, hz: float, edge: float) -> Distance:
    def distance(x: Points, y: Points, z: Points) -> Points:
        qx, qy, qz = np.abs(x) - (hx - edge), np.abs(y) - (hy - edge), np.abs(z) - (hz - edge)
        px, py, pz = np.maximum(qx, 0), np.maximum(qy, 0), np.maximum(qz, 0)
        inside = np.minimum(np.maximum(qx, np.maximum(qy, qz)), 0)
        return np.sqrt(px * px + py * py + pz * pz) + inside - edge

    return distance


def _pyramid(x: Points, y: Points, z: Points) -> Points:
    # the normal of a side, for a height of 1.28 on a half base of 0.56
    side = np.maximum(np.abs(x), np.abs(z)) * 0.9162 + (y - 0.74) * 0.4008
    return np.maximum(side, -(y + 0.52)) - 0.03


def _ring(x: Points, y: Points, z: Points) -> Points:
    around = np.sqrt(x * x + y * y) - 0.7
    return np.sqrt(around * around + z * z) - 0.26


def _cylinder(x: Points, y: Points, z: Points) -> Points:
    return _capped(np.sqrt(x * x + z * z) - 0.6, np.abs(y) - 0.74, 0.05)


def _coin(x: Points, y: Points, z: Points) -> Points:
    radial = np.sqrt(x * x + y * y)
    body = _capped(radial - 0.96, np.abs(z) - 0.13, 0.03)
    groove = np.sqrt((radial - 0.78) ** 2 + (np.abs(z) - 0.13) ** 2) - 0.045
    return np.maximum(body, -groove)


def _cone(x: Points, y: Points, z: Points) -> Points:
    side = np.sqrt(x * x + z * z) * 0.9015 + (y - 0.86) * 0.4327
    return np.maximum(side, -(y + 0.62)) - 0.04


def _octahedron(x: Points, y: Points, z: Points) -> Points:
    # a brilliant-like gem: a steep crown on top of a deep pavilion
    radial = np.maximum(np.maximum(np.abs(x), np.abs(z)), (np.abs(x) + np.abs(z)) * 0.7071)
    crown = radial * 0.62 + y * 0.785 - 0.52
    pavilion = radial * 0.80 - y * 0.60 - 0.555
    return np.maximum(np.maximum(crown, pavilion), y - 0.42) - 0.015


def _capsule(x: Points, y: Points, z: Points) -> Points:
    up = y - np.clip(y, -0.5, 0.5)
    return np.sqrt(x * x + up * up + z * z) - 0.47


def _egg(x: Points, y: Points, z: Points) -> Points:
    wide = 0.72 - 0.13 * np.clip(y, -1, 1)
    k = np.sqrt((x / wide) ** 2 + (y / 0.96) ** 2 + (z / wide) ** 2)
    return (k - 1) * 0.58


def _star_outline(x: Points, y: Points) -> Points:
    """Five points; outer radius 0.98, sides as those of a pentagram made a little fuller."""
    k1x, k1y = np.float32(0.809016994), np.float32(-0.587785252)
    x = np.abs(x)
    push = 2 * np.maximum(k1x * x + k1y * y, 0)
    x, y = x - push * k1x, y - push * k1y
    push = 2 * np.maximum(-k1x * x + k1y * y, 0)
    x, y = x + push * k1x, y - push * k1y
    x = np.abs(x)
    y = y - np.float32(0.92)
    inner = np.float32(0.5)
    bx, by = inner * -k1y, inner * k1x - 1
    along = np.clip((x * bx + y * by) / (bx * bx + by * by), 0, 0.92)
    dx, dy = x - bx * along, y - by * along
    return np.sqrt(dx * dx + dy * dy) * np.sign(y * bx - x * by)


def _heart_outline(x: Points, y: Points) -> Points:
    x, y = np.abs(x) / 1.5, (y + 0.84) / 1.5
    far = x + y > 1
    rx, ry = x - 0.25, y - 0.75
    top = np.sqrt(rx * rx + ry * ry) - np.float32(0.35355339)
    half = 0.5 * np.maximum(x + y, 0)
    low = np.minimum(x * x + (y - 1) ** 2, (x - half) ** 2 + (y - half) ** 2)
    return np.where(far, top, np.sqrt(low) * np.sign(x - y)) * np.float32(1.5)


def _moon_outline(x: Points, y: Points) -> Points:
    outer = np.sqrt((x + 0.05) ** 2 + y * y) - 0.9
    inner = np.sqrt((x - 0.4) ** 2 + y * y) - 0.74
    return np.maximum(outer, -inner)


def _cross_outline(x: Points, y: Points) -> Points:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.maximum(x, y) - 0.88, np.minimum(x, y) - 0.3)


def _nut_outline(x: Points, y: Points) -> Points:
    hexagon = np.maximum(np.abs(y) * 0.866 + np.abs(x) * 0.5, np.abs(x)) - 0.8
    return np.maximum(hexagon, 0.36 - np.sqrt(x * x + y * y))


def _capped(side: Points, cap: Points, edge: float) -> Points:
    a, b = side + edge, cap + edge
    pa, pb = np.maximum(a, 0), np.maximum(b, 0)
    return np.sqrt(pa * pa + pb * pb) + np.minimum(np.maximum(a, b), 0) - edge


def _prism(outline: Callable[[Points, Points], Points], half: float, edge: float) -> Distance:
    def distance(x: Points, y: Points, z: Points) -> Points:
        return _capped(outline(x, y), np.abs(z) - half, edge)

    return distance


SOLIDS: dict[str, Distance] = {
    "ball": _ball,
    "cube": _box(0.575, 0.575, 0.575, 0.07),
    "brick": _box(0.82, 0.4, 0.4, 0.05),
    "pyramid": _pyramid,
    "star": _prism(_star_outline, 0.24, 0.1),
    "ring": _ring,
    "cylinder": _cylinder,
    "cone": _cone,
    "heart": _prism(_heart_outline, 0.3, 0.18),
    "diamond": _octahedron,
    "capsule": _capsule,
    "coin": _coin,
    "cross": _prism(_cross_outline, 0.28, 0.06),
    "egg": _egg,
    "moon": _prism(_moon_outline, 0.22, 0.08),
    "nut": _prism(_nut_outline, 0.3, 0.06),
}


@dataclass(frozen=True)
class Hits:
    """Where the rays of a square grid of pixels meet a solid. ``k`` pixels are touched.

    ``index`` counts pixels row by row in the ``side`` x ``side`` grid; ``cover`` is 0..1 and soft
    at the outline; ``normal`` (3, k) is in camera space, ``point`` (3, k) in the solid's own space.
    """

    side: int
    index: NDArray[np.int64]
    cover: Points
    normal: NDArray[Any]
    point: NDArray[Any]


def orientation(yaw: float, roll: float, pitch: float) -> NDArray[Any]:
    """(3, 3) from the solid's space to camera space: roll, then yaw, then the camera's pitch."""
    cy, sy, cr, sr, cp, sp = (
        np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch),
    )  # fmt: skip
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return (about_x @ about_y @ about_z).astype(np.float32)


def cast(solid: Distance, turn: NDArray[Any], side: int, extent: float) -> Hits:
    """Parallel rays through ``side`` x ``side`` pixels that span -extent..extent.

    ``turn`` is ``orientation(...)``. About 25 distance evaluations a touched pixel.
    """
    pixel = np.float32(2 * extent / side)
    axis = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * pixel - np.float32(extent)
    px, py = np.meshgrid(axis, -axis)
    near = (px * px + py * py).ravel()
    index = np.flatnonzero(near < np.float32((1.0 + 1.5 * pixel) ** 2))
    px, py = px.ravel()[index], py.ravel()[index]
    depth = np.sqrt(np.maximum(np.float32(1.0) - near[index], 0)).astype(np.float32)
    back = turn.T  # camera space -> solid's space
    step = -back[:, 2]  # a ray goes away from the viewer
    origin = back[:, :2] @ np.stack([px, py]) + back[:, 2:3] * depth[None]
    limit = 2 * depth + 2 * pixel
    gone, least, least_at = np.zeros_like(px), np.full_like(px, 9.0), np.zeros_like(px)
    active = np.arange(index.size)
    near_enough = np.float32(0.25) * pixel
    inset = np.float32(0.5) * pixel  # so that the soft outline lies half inside, half outside
    for _ in range(_STEPS):
        t = gone[active]
        d = solid(*(origin[i, active] + step[i] * t for i in range(3))) + inset
        closer = d < least[active]
        where = active[closer]
        least[where], least_at[where] = d[closer], t[closer]
        go = (d > near_enough) & (t < limit[active])
        gone[active] = t + np.where(go, np.maximum(d * np.float32(_RELAX), near_enough), 0)
        active = active[go]
        if active.size == 0:
            break
    cover = np.clip(1.0 - (least - near_enough) / pixel, 0.0, 1.0).astype(np.float32)
    touched = cover > 0
    point = origin[:, touched] + step[:, None] * least_at[touched][None]
    normal = turn @ _gradient(solid, point, np.float32(0.6) * pixel)
    return Hits(side, index[touched], cover[touched], normal.astype(np.float32), point)


def _gradient(solid: Distance, point: NDArray[Any], e: np.float32) -> NDArray[Any]:
    """Unit normals (3, k) from four distances at the corners of a tetrahedron."""
    total = np.zeros_like(point)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        k = np.array(corner, np.float32)[:, None]
        total += k * solid(*(point + k * e))
    return total / np.maximum(np.sqrt((total * total).sum(axis=0)), np.float32(1e-9))


@cache
def rim(shape: str) -> NDArray[Any]:
    """(k, 3) points of the surface, enough to tell how far it reaches in any direction."""
    solid = SOLIDS[shape]
    step = np.arange(1400) + 0.5  # Fibonacci lattice: even over the sphere
    up = (1 - 2 * step / step.size).astype(np.float32)
    turn = (np.pi * (1 + 5**0.5) * step).astype(np.float32)
    flat = np.sqrt(1 - up * up)
    way = np.stack([flat * np.cos(turn), up, flat * np.sin(turn)])
    gone = np.zeros(step.size, np.float32)
    for _ in range(60):  # from outside towards the centre line, so holes don't matter
        d = solid(*(way * (1.02 - gone)))
        gone = np.clip(gone + np.maximum(d, 0) * np.float32(0.9), 0, 1.02)
    found = way * (1.02 - gone)
    return np.ascontiguousarray(found[:, gone < 1.0].T)


def reach(shape: str, turn: NDArray[Any]) -> tuple[float, float]:
    """How far a turned solid reaches below its centre and to the side, in radii.

    >>> import numpy as np
    >>> round(reach("ball", np.eye(3, dtype=np.float32))[0], 2)
    0.98
    """
    points = rim(shape) @ turn.T
    return float(-points[:, 1].min()), float(np.abs(points[:, 0]).max())
