"""Hair and hats: their volume as a distance, and the direction of their strands.

Legend: head coordinates (see ``person``); a strand is named by its angle about the crown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.solids import ellipsoid, join, meet, step

Array = NDArray[Any]  # float32


@dataclass(frozen=True)
class Style:
    """A haircut: thickness of the cap and more on top, and what hangs from it."""

    cap: float = 0.10
    top: float = 0.05
    curtain: float | None = None  # height at which hanging hair ends
    width: float = 0.90  # half width of hanging hair
    fringe: float = 0.0  # how far hair hangs over the forehead
    sweep: float = 0.0  # fringe to one side
    lumps: float = 0.020  # depth of the locks
    curl: float = 0.0
    wave: float = 0.0
    quiff: float = 0.0
    knot: str | None = None  # bun | tail
    back: bool = False  # combed back
    over: bool = False  # combed over from the parting
    side: float = 0.0  # how low the side whiskers reach


STYLES = {
    "bald": None,
    "receding": Style(cap=0.035, top=-0.03, fringe=-0.28, lumps=0.006),
    "buzz": Style(cap=0.030, top=0.005, lumps=0.0, fringe=0.0),
    "short": Style(cap=0.070, top=0.10, lumps=0.020, fringe=-0.08, quiff=0.12, back=True),
    "side": Style(cap=0.065, top=0.11, lumps=0.018, fringe=-0.06, sweep=0.06, quiff=0.1, over=True),
    "quiff": Style(cap=0.050, top=0.13, lumps=0.022, fringe=-0.06, quiff=0.17, back=True),
    "fringe": Style(cap=0.11, top=0.05, curtain=-1.0, width=0.86, fringe=0.38, lumps=0.018),
    "bob": Style(cap=0.12, top=0.05, curtain=-0.92, width=0.93, sweep=0.16, lumps=0.022),
    "long": Style(cap=0.11, top=0.05, curtain=-2.0, width=0.90, lumps=0.026, sweep=0.08),
    "wavy": Style(cap=0.12, top=0.06, curtain=-1.85, width=0.96, lumps=0.040, wave=0.07, sweep=0.1),
    "curly": Style(cap=0.20, top=0.08, curtain=-0.75, width=1.0, curl=0.06, lumps=0, fringe=0.06),
    "afro": Style(cap=0.34, top=0.06, curl=0.045, lumps=0.0, fringe=0.0),
    "bun": Style(cap=0.055, top=0.02, lumps=0.012, knot="bun", back=True),
    "ponytail": Style(cap=0.055, top=0.03, lumps=0.012, knot="tail", back=True, sweep=0.0),
}  # fmt: skip
_LINE_Z = np.array([-1.3, -0.55, -0.36, -0.26, -0.12, 0.02, 0.10, 0.22, 0.38, 0.55, 0.72, 1.0])
_LINE_Y = np.array([-0.95, -0.85, -0.45, 0.06, 0.16, 0.10, -0.02, 0.22, 0.52, 0.66, 0.70, 0.72])


class Hair:
    """The hair of one person."""

    def __init__(self, person: Person) -> None:
        self.person = person
        style = STYLES[person.hair]
        if style is not None and style.curtain is not None and person.hat == "beanie":
            style = Style(**{**style.__dict__, "fringe": 0.0})
        if style is not None and person.hair == "curly" and person.sex == "man":
            style = Style(**{**style.__dict__, "curtain": None, "cap": 0.13, "top": 0.13})
        self.style = style
        rng = np.random.Generator(np.random.PCG64([person.seed, 5]))
        self.phase = rng.uniform(0, 6.28, size=10)
        self.rate = rng.uniform(0.85, 1.2, size=10)
        self.part = person.shape["part"]
        self.line_y = _LINE_Y + (person.shape["hairline"] - 0.71) * (_LINE_Z > 0.3)

    def strand(self, x: Array, y: Array, z: Array) -> Array:
        """The angle that names a strand; constant along it."""
        style = self.style
        if style is not None and style.back:
            return np.arctan2(x, y - 0.15) * 1.6  # converge behind the crown
        if style is not None and style.over:
            return 1.5 * z - 0.35 * np.abs(x - self.part) * np.sign(self.part + 0.01)
        across = x - self.part * np.clip(1 - np.abs(x), 0, 1)
        hang = 0.15 * (np.sqrt((0.1 - y) ** 2 + 0.2) + 0.1 - y)
        return np.arctan2(across, z - 0.15 + hang)

    def distance(self, x: Array, y: Array, z: Array, cranium: Array) -> Array:
        """Negative inside the hair."""
        style, p = self.style, self.phase
        if style is None:
            return np.full_like(x, 9.0)
        angle = self.strand(x, y, z)
        rise = step(0.2, 1.0, y)
        growth = (
            np.interp(z, _LINE_Z, self.line_y).astype(np.float32)
            - step(0.35, 0.62, z) * style.fringe
        )
        taper = (
            1.0
            if style.fringe > 0.2 or style.sweep > 0.14
            else 0.12 + 0.88 * step(-0.04, 0.24, y - growth)
        )
        d = cranium - style.cap * taper - style.top * rise * taper
        if style.quiff:
            q = (
                ((x + 0.4 * self.part) / 0.50) ** 2
                + ((y - 0.98) / 0.22) ** 2
                + ((z - 0.55) / 0.4) ** 2
            )
            d = d - style.quiff * np.exp(-q)
        part = np.exp(-(((x - self.part) / 0.035) ** 2)) * step(0.5, 0.8, y) * (z > -0.4)
        if not (style.back or style.curl or style.cap < 0.05):
            d = d + 0.035 * part
        hang = np.interp(z, _LINE_Z, self.line_y).astype(np.float32)
        front = step(0.35, 0.62, z)
        drop = style.fringe - style.sweep * np.tanh((x - self.part) * 3.5) * np.sign(
            self.part + 0.01
        )
        comb = 0.5 + 0.5 * np.sin(angle * 26 * self.rate[0] + p[0]) * np.sin(angle * 11 + p[1])
        ragged = 0.06 * abs(style.fringe) + (0.03 if style.fringe > 0 else 0.012)
        hang = hang - front * (drop - ragged * comb)
        below = (hang - y) * 0.75
        d = meet(d, below, 0.10 if style.fringe > 0.2 or style.sweep > 0.14 else 0.03)
        if style.curtain is not None:
            d = join(d, self._curtain(x, y, z, angle, style), 0.12)
        if style.knot == "bun":
            d = join(d, ellipsoid(x - 0.1 * self.part, y - 1.28, z + 0.30, 0.36, 0.29, 0.34), 0.06)
        if style.knot == "tail":
            s = 1.0 if self.part >= 0 else -1.0
            d = join(d, ellipsoid(x - 0.62 * s, y + 1.15, z + 0.25, 0.20, 0.95, 0.24), 0.06)
        if style.lumps:
            a = angle + 0.12 * np.sin(3.1 * y + p[2])
            lock = np.sin(13 * self.rate[1] * a + p[3]) + 0.7 * np.sin(29 * self.rate[2] * a + p[4])
            d = d - style.lumps * lock * 0.5
        if style.curl:
            f = 8.5 if self.person.hair == "curly" else 13.0
            wx, wy = x + 0.05 * np.sin(7 * y + p[5]), y + 0.05 * np.sin(8 * x + p[6])
            a = np.sin(f * wx + p[7]) * np.sin(f * wy + p[8]) * np.sin(f * z + p[9])
            b = np.sin(2.1 * f * wx + p[1]) * np.sin(2.1 * f * wy + p[2])
            d = d - style.curl * (a + 0.35 * b)
        return d

    def _curtain(self, x: Array, y: Array, z: Array, angle: Array, style: Style) -> Array:
        end = style.curtain or -1.0
        wave = style.wave * np.sin(5.2 * y + self.phase[5] + np.sin(2 * angle))
        ax = np.abs(x) + wave * step(0.2, -0.6, y)
        top = 0.55
        high = (top - end) / 2 * 1.12
        middle = (top + end) / 2
        full = style.width + 0.06 * step(-0.2, -0.9, y)
        d = ellipsoid(ax, y - middle, z + 0.24, full, high, 0.60)
        bottom = (end + 0.02 - y) + 0.05 * np.sin(angle * 9 + self.phase[6])
        d = meet(d, bottom * 0.8, 0.16)
        window = (np.sqrt((x / 0.67) ** 2 + ((y + 0.25) / 0.98) ** 2) - 1) * 0.6
        neck = (np.abs(x) - 0.58) * 0.9
        window = np.minimum(window, neck + 0.8 * step(-0.75, -0.15, y))
        open_front = np.minimum(-window, z + 0.05)
        return meet(d, open_front, 0.10)


class Hat:
    """A beanie or a headscarf."""

    def __init__(self, person: Person) -> None:
        self.kind = person.hat

    def distance(self, x: Array, y: Array, z: Array, cranium: Array) -> Array:
        if self.kind == "beanie":
            slope = y - 0.52 - 0.18 * z + 0.25
            d = meet(cranium - 0.17 - 0.05 * step(0.6, 1.2, y), -slope, 0.06)
            cuff = meet(cranium - 0.215, np.abs(slope - 0.14) - 0.14, 0.06)
            return join(d, cuff, 0.03)
        if self.kind == "headscarf":
            d = cranium - 0.12
            drape = ellipsoid(x, y + 0.95, z + 0.10, 0.93, 1.35, 0.72)
            d = join(d, drape, 0.35)
            face = np.sqrt((x / 0.60) ** 2 + ((y + 0.20) / 0.86) ** 2) - 1
            d = meet(d, np.minimum(-face * 0.55, z + 0.02), 0.09)
            fold = np.sin(9 * y + 4 * np.abs(x) + 3 * z) * step(-0.4, -1.2, y)
            return d - 0.025 * fold
        return np.full_like(x, 9.0)
