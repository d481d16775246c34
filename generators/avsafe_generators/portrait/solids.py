"""The head, its hair and the body as signed distances, built from ellipsoids and soft bumps.

Legend: points are three float32 arrays x, y, z of one shape (units, see ``person``); a distance is
negative inside. Distances are slightly wrong far from a surface, never too long by more than a
fifth, which the tracer allows for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.person import Person

Array = NDArray[Any]  # float32


def ellipsoid(x: Array, y: Array, z: Array, rx: Any, ry: float, rz: float) -> Array:
    """Distance to an ellipsoid at the origin, good near its surface."""
    a, b, c = x / rx, y / ry, z / rz
    near = np.sqrt(a * a + b * b + c * c) + 1e-6
    a, b, c = a / rx, b / ry, c / rz
    return near * (near - 1) / (np.sqrt(a * a + b * b + c * c) + 1e-6)


def cone(
    x: Array, y: Array, z: Array, a: tuple[float, float, float], b: tuple[float, float, float],
    ra: float, rb: float,
) -> Array:  # fmt: skip
    """A rod from a to b whose radius goes from ra to rb."""
    dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    px, py, pz = x - a[0], y - a[1], z - a[2]
    h = np.clip((px * dx + py * dy + pz * dz) / (dx * dx + dy * dy + dz * dz), 0, 1)
    px, py, pz = px - h * dx, py - h * dy, pz - h * dz
    return np.sqrt(px * px + py * py + pz * pz) - (ra + (rb - ra) * h)


def join(a: Array, b: Array, k: float) -> Array:
    """Union with a fillet of size k."""
    h = np.clip(k - np.abs(a - b), 0, None)
    return np.minimum(a, b) - h * h * (0.25 / k)


def meet(a: Array, b: Array, k: float) -> Array:
    """Intersection with a rounded edge of size k."""
    h = np.clip(k - np.abs(a - b), 0, None)
    return np.maximum(a, b) + h * h * (0.25 / k)


def step(low: Any, high: Any, x: Any) -> Array:
    """0 below low, 1 above high, smooth between; low may be the greater one."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def turned(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rows are the axes of the head: head = matrix @ camera."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    matrix: NDArray[np.float64] = about_z @ about_x @ about_y
    return matrix


PIVOT = np.array([0.0, -0.55, -0.15])


class Solids:
    """The surfaces of one person."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.s = s = person.shape
        self.matrix = turned(person.yaw, person.pitch, person.roll)
        smile = 1.0 if person.expression == "smile" else 0.0
        old = person.age
        # x, y, z, sigma x, y, z, amplitude; x is mirrored
        self.bumps = np.array(
            [
                (s["eye_x"], 0.0, 0.78, 0.155, 0.095, 0.25, -s["socket"]),
                (0.13, 0.04, 0.85, 0.07, 0.10, 0.2, -0.025),  # beside the bridge
                (0.36, 0.215, 0.80, 0.22, 0.065, 0.3, s["brow"]),
                (0.0, 0.17, 0.90, 0.12, 0.07, 0.3, s["brow"] * 0.6),
                (0.45, s["cheek_y"] + 0.06 * smile, 0.62, 0.15, 0.13, 0.3, s["cheek"]),
                (
                    0.30,
                    -0.36 + 0.05 * smile,
                    0.80,
                    0.13,
                    0.13,
                    0.3,
                    0.035 * smile + s["full"] * 0.4,
                ),
                (0.42, -0.55, 0.55, 0.16, 0.17, 0.3, s["full"] - 0.03),
                (0.50, -0.66, 0.20, 0.14, 0.16, 0.3, s["jaw"]),
                (0.0, -0.60, 0.88, 0.24, 0.17, 0.3, 0.065),  # muzzle
                (0.0, -0.80, 0.85, 0.17, 0.05, 0.3, -0.035),  # under the lower lip
                (0.74, 0.12, 0.42, 0.14, 0.2, 0.3, -0.045),  # temples
                (0.0, 0.52, 0.78, 0.38, 0.2, 0.3, 0.025),  # forehead
                (0.0, -0.50, 0.98, 0.028, 0.05, 0.2, -0.014),  # philtrum
                (
                    0.30,
                    -0.115,
                    0.80,
                    0.13,
                    0.035,
                    0.2,
                    0.018 * old + 0.012 * smile,
                ),  # under the eye
                (0.38, -0.82, 0.42, 0.1, 0.1, 0.25, 0.05 * max(0.0, old - 0.5)),  # jowls
            ],
            np.float32,
        )

    # ------------------------------------------------------------ frames

    def to_head(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        m = self.matrix.astype(np.float32)
        px, py, pz = x - np.float32(PIVOT[0]), y - np.float32(PIVOT[1]), z - np.float32(PIVOT[2])
        return (
            m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + np.float32(PIVOT[0]),
            m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + np.float32(PIVOT[1]),
            m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + np.float32(PIVOT[2]),
        )

    def from_head(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) points of the head in camera coordinates."""
        out: NDArray[np.float64] = (points - PIVOT) @ self.matrix + PIVOT
        return out

    # ------------------------------------------------------------ skin

    def cranium(self, x: Array, y: Array, z: Array) -> Array:
        s = self.s
        return ellipsoid(x, y - 0.27, z + 0.10, s["cran_w"], s["cran_h"], 0.95)

    def head(self, x: Array, y: Array, z: Array, cranium: Array) -> Array:
        """Head without neck and hair, in head coordinates."""
        s = self.s
        ax = np.abs(x)
        d = ellipsoid(x, y + 0.34, z - 0.17, s["face_w"], s["face_h"], 0.69)
        d = join(cranium, d, 0.30)
        chin = ellipsoid(x, y - s["chin_y"], z - 0.55, s["chin_w"] * 1.15, 0.17, 0.22)
        d = join(d, chin, 0.30)
        front = z > 0.0
        if front.any():
            fx, fy, fz, fd = ax[front], y[front], z[front], d[front]
            fd = self._face(x[front], fx, fy, fz, fd)
            d = d.copy()
            d[front] = d[front] + (fd - d[front]) * np.clip(fz * 8, 0, 1)
        if self.person.beard in ("beard", "goatee", "moustache"):
            low = (y < 0.1) & (z > -0.1)
            if low.any():
                lx, ly, lz = x[low], y[low], z[low]
                tuft = 1 + 0.25 * np.sin(23 * lx + 9 * ly) * np.sin(19 * ly + 7 * lz)
                d[low] -= 0.052 * beard_mask(self.person, lx, ly, lz) * tuft
        ear = self._ear(ax, y, z)
        return join(d, ear, 0.05)

    def _ear(self, ax: Array, y: Array, z: Array) -> Array:
        e = self.s["ear"]
        lx, ly, lz = ax - (self.s["cran_w"] - 0.015), y + 0.10, z + 0.06
        lz = lz + 0.25 * ly
        lx = lx + 0.35 * lz + 0.02
        shell = ellipsoid(lx, ly - 0.03, lz, 0.055 * e, 0.26 * e, 0.155 * e)
        dish = np.exp(-(((ly - 0.05) / 0.13) ** 2) - ((lz + 0.0) / 0.075) ** 2)
        return shell + 0.05 * dish * (lx > -0.02)

    def _face(self, x: Array, ax: Array, y: Array, z: Array, d: Array) -> Array:
        s = self.s
        for cx, cy, cz, sx, sy, sz, amp in self.bumps.tolist():
            if amp == 0.0:
                continue
            u, v, w = (ax - cx) / sx, (y - cy) / sy, (z - cz) / sz
            d = d - amp * np.exp(-(u * u + v * v + w * w))
        # lid over the eyeball
        ball = np.sqrt((ax - s["eye_x"]) ** 2 + (y + 0.005) ** 2 + (z - 0.585) ** 2) - 0.178
        d = join(d, ball, 0.05)
        # nose: bridge, tip, wings, nostrils
        ny, nz = s["nose_y"], s["nose_z"]
        bz = s["bridge_z"]
        nose = cone(
            x,
            y,
            z,
            (0, 0.13, 0.815 + bz),
            (0, ny + 0.07, 0.985 + nz),
            s["bridge"],
            s["nose_r"] * 0.85,
        )
        tip = ellipsoid(
            x, y - ny - 0.01, z - 0.995 - nz, s["nose_r"] * 1.15, s["nose_r"] * 0.92, s["nose_r"]
        )
        wing = ellipsoid(ax - s["nose_w"], y - ny + 0.025, z - 0.895 - nz * 0.5, 0.058, 0.068, 0.10)
        nose = join(join(nose, tip, 0.06), wing, 0.075)
        d = join(d, nose, 0.15)
        hole = np.exp(-(((ax - s["nose_w"] * 0.58) / 0.034) ** 2) - ((y - ny + 0.088) / 0.026) ** 2)
        d = d + 0.05 * hole * step(0.75, 0.95, z)
        # lips
        u = np.clip(ax / s["mouth_w"], 0, 1.2)
        line = self.mouth_line(ax)
        v = y - line
        body = np.clip(1 - u * u, 0, 1)
        up, low = s["lip_up"] + 0.012, s["lip_low"] + 0.012
        lip = 0.055 * np.exp(-(((v - 0.55 * up) / (0.62 * up)) ** 2)) * body**0.7
        lip += 0.072 * np.exp(-(((v + 0.5 * low) / (0.60 * low)) ** 2)) * body**0.8
        lip -= 0.030 * np.exp(-((v / 0.019) ** 2)) * np.sqrt(np.clip(1.08 - u * u, 0, 1))
        corner = np.exp(-(((ax - s["mouth_w"] * 1.04) / 0.035) ** 2) - (v / 0.035) ** 2)
        return d - (lip - 0.022 * corner) * step(0.4, 0.6, z)

    def mouth_line(self, ax: Array) -> Array:
        """Height of the line between the lips."""
        s = self.s
        lift = {"smile": 0.050, "serious": -0.016}.get(self.person.expression, 0.004)
        u = np.clip(ax / s["mouth_w"], 0, 1.1)
        return s["mouth_y"] + lift * u**2.2 - 0.010 * np.exp(-((u / 0.2) ** 2))

    def neck(self, x: Array, y: Array, z: Array) -> Array:
        r = self.s["neck"]
        d = cone(x, y, z, (0, -0.55, -0.20), (0, -2.3, -0.34), r, r * 1.06)
        trap = cone(np.abs(x), y, z, (0.15, -1.40, -0.42), (1.1, -1.92, -0.45), 0.28, 0.2)
        d = join(d, trap, 0.35)
        return join(d, self.torso(x, y, z) + 0.03, 0.2)

    # ------------------------------------------------------------ clothes

    def torso(self, x: Array, y: Array, z: Array) -> Array:
        w = self.s["shoulder"]
        ax = np.abs(x)
        man = self.person.sex == "man"
        d = cone(ax, y, z, (0.2, -1.72, -0.36), (w - 0.25, -2.02, -0.36), 0.27, 0.36)
        chest = ellipsoid(x, np.maximum(y + 2.75, 0.0), z + 0.30,
                          w * 0.80, 0.98, 0.68 if man else 0.62)  # fmt: skip
        arm = cone(ax, y, z, (w - 0.08, -2.15, -0.36), (w + 0.22, -4.6, -0.3), 0.36, 0.36)
        return join(join(d, chest, 0.35), arm, 0.22)


_BEARD_X = np.array([0.0, 0.10, 0.30, 0.42, 0.56, 0.66, 0.74])
_BEARD_Y = np.array([-0.47, -0.46, -0.54, -0.53, -0.42, -0.22, 0.02])


def beard_mask(person: Person, x: Array, y: Array, z: Array) -> Array:
    """0..1 where a beard of the person's kind grows; head coordinates."""
    s, kind = person.shape, person.beard
    ax = np.abs(x)
    line = np.interp(ax, _BEARD_X, _BEARD_Y).astype(np.float32)
    mask = step(0.03, -0.04, y - line) * step(-0.10, 0.06, z) * step(-1.22, -1.02, y)
    u = np.clip(ax / s["mouth_w"], 0, 1.2)
    lift = {"smile": 0.050, "serious": -0.016}.get(person.expression, 0.004)
    v = y - s["mouth_y"] - lift * np.clip(u, 0, 1.1) ** 2.2
    body = np.clip(1 - u * u, 0, 1)
    lips = step(
        -0.03,
        0.012,
        np.minimum(s["lip_up"] * body**0.6 + 0.008 - v, v + s["lip_low"] * body**0.7 + 0.012),
    )
    lips = lips * (u < 1.08)
    mask = mask * (1 - lips)
    soul = np.exp(-(((ax - 0.15) / 0.06) ** 2) - ((v + s["lip_low"] + 0.045) / 0.035) ** 2)
    mask = mask * (1 - 0.8 * soul)
    if kind == "moustache":
        mask = mask * step(-0.02, 0.02, v + 0.05 * u) * step(0.37, 0.31, ax)
    if kind == "goatee":
        mask = mask * step(0.33, 0.26, ax)
    return mask * step(0.0, 0.3, z + 0.25 * (ax > 0.5))
