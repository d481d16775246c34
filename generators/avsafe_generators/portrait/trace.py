"""The camera, and the surfaces that its rays meet.

Legend: pixel (i, j) is row, column; a ray leaves the eye at (0, EYE_Y, EYE_Z) towards -z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.hair import Hair, Hat
from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.solids import Solids, join

Array = NDArray[Any]  # float32
EYE_Y, EYE_Z = -0.20, 15.0
SPAN = 3.62  # units across the shorter side of the picture, at z = 0


class World:
    """All surfaces of a person in camera coordinates."""

    def __init__(self, person: Person) -> None:
        self.solids, self.hair, self.hat = Solids(person), Hair(person), Hat(person)
        style = self.hair.style
        self.hairy = style is not None and person.hat != "headscarf"
        self.hatted = person.hat != "none"
        long = (style is not None and (style.curtain is not None or style.knot == "tail")) or (
            person.hat == "headscarf"
        )
        self.low = -2.5 if long else -1.25

    def parts(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array, Array]:
        """Distances to skin, hair, hat and clothes."""
        s = self.solids
        hx, hy, hz = s.to_head(x, y, z)
        cranium = s.cranium(hx, hy, hz)
        skin = join(s.head(hx, hy, hz, cranium), s.neck(x, y, z), 0.10)
        far = np.full_like(x, 9.0)
        hair = self.hair.distance(hx, hy, hz, cranium) if self.hairy else far
        if self.hatted:
            hat = self.hat.distance(hx, hy, hz, cranium)
            if self.hat.kind == "beanie":
                hair = np.maximum(hair, hy - 0.26 - 0.18 * hz)  # tucked under the cuff
        else:
            hat = far
        return skin, hair, hat, s.torso(x, y, z)

    def nearest(self, x: Array, y: Array, z: Array) -> Array:
        """Distance to whatever is nearest; the head's details only where they matter."""
        out = np.empty_like(x)
        body = y < -1.0
        away = np.sqrt(x * x + (y - 0.05) ** 2 + (z + 0.05) ** 2) - 1.55
        head = (away < 0.35) | (body & (y > self.low - 0.3) & (np.abs(x) < 1.5))
        out[:] = np.where(head, 0.0, np.maximum(away, 0.3))
        low = ~head & (y < -0.6)
        if low.any():
            bx, by, bz = x[low], y[low], z[low]
            out[low] = np.minimum(
                out[low], np.minimum(self.solids.neck(bx, by, bz), self.solids.torso(bx, by, bz))
            )
        if head.any():
            d = self.parts(x[head], y[head], z[head])
            out[head] = np.minimum(np.minimum(d[0], d[1]), np.minimum(d[2], d[3]))
        return out


@dataclass(frozen=True)
class Camera:
    """Pixels of a picture and the rays through them."""

    width: int
    height: int
    zoom: float = 1.0

    @property
    def unit(self) -> float:
        """Pixels of one unit at z = 0."""
        return min(self.width, self.height) / SPAN * self.zoom

    @property
    def centre_y(self) -> float:
        """Row of y = EYE_Y."""
        return min(self.height * 0.52, self.height / 2 + 0.02 * self.width)

    def rays(self) -> tuple[Array, Array]:
        """x and y of each pixel's ray at z = 0, shape (h, w) each."""
        columns = (np.arange(self.width) + 0.5 - self.width / 2) / self.unit
        rows = EYE_Y - (np.arange(self.height) + 0.5 - self.centre_y) / self.unit
        x, y = np.meshgrid(columns, rows)
        return x.astype(np.float32), y.astype(np.float32)

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) -> (n, 2) pixels x, y."""
        scale = EYE_Z / (EYE_Z - points[:, 2])
        x = points[:, 0] * scale * self.unit + self.width / 2
        y = -(points[:, 1] - EYE_Y) * scale * self.unit + self.centre_y
        return np.stack([x, y], axis=1)


@dataclass
class Hits:
    """Where rays end: points, how near a missing ray came, and which ones hit."""

    x: Array
    y: Array
    z: Array
    near: Array  # least distance over the ray


def along(px: Array, py: Array, z: Array) -> tuple[Array, Array]:
    """x and y at depth z of the rays through (px, py) at z = 0."""
    share = (EYE_Z - z) / EYE_Z
    return px * share, (py - EYE_Y) * share + EYE_Y


def march(
    distance: Callable[[Array, Array, Array], Array], px: Array, py: Array, start: Array,
    steps: int, stop: float = -1.9, eps: float = 0.0015,
) -> tuple[Array, Array]:  # fmt: skip
    """Flat arrays: depth z where each ray ends, and its least distance to a surface. The path is
    taken along z: rays are within 8 degrees of it."""
    z = start.copy()
    near = np.full_like(z, 9.0)
    best = z.copy()
    active = np.arange(z.size)
    for _ in range(steps):
        x, y = along(px[active], py[active], z[active])
        d = distance(x, y, z[active])
        closer = d < near[active]
        index = active[closer]
        near[index] = d[closer]
        best[index] = z[index]
        z[active] -= d * 0.82
        active = active[(np.abs(d) > eps) & (z[active] > stop)]
        if active.size == 0:
            break
    hit = z > stop
    return np.where(hit, z, best), np.where(hit, 0.0, near)
