"""A region of a still picture that moves in a seamless loop, the rest untouched.

Two kinds of motion. *Advection* (flow, swirl): one velocity per pixel, constant in time, as in
Holynski et al., "Animating pictures with Eulerian motion fields", CVPR 2021; without a network,
two warps half a cycle apart are blended, each fading out where its displacement is largest, with a
cycle that begins elsewhere at another time (Vlachos, "Water flow in Portal 2", SIGGRAPH 2010) and
the contrast that blending costs given back. *Waves* (ripple, sway, flicker): a sum of harmonics of
the loop, for displacement and brightness. Both are periodic by construction.

Legend: ``h`` ``w`` pixels of the patch around the region; a picture ``(h, w, 3)`` uint8.
"""

from __future__ import annotations

import math

import numpy as np

from avsafe.errors import UsageError
from avsafe_generators.cinemagraph import fields
from avsafe_generators.cinemagraph.fields import Field, Picture
from avsafe_generators.cinemagraph.wishes import Wish

_REACH = 0.07  # of the diagonal: how far advection carries a pixel before it begins anew
_PACE = 0.055  # of the diagonal per second: advection at speed 1


_THINNEST = 4  # pixels a side: in less nothing is seen to move


def refuse_thin(mask: Field) -> None:
    """Raise UsageError for a region too small for any motion.

    >>> refuse_thin(np.ones((8, 8), np.float32))
    """
    ys, xs = np.nonzero(mask > 0.5)
    if not ys.size or min(np.ptp(ys), np.ptp(xs)) + 1 < _THINNEST:
        raise UsageError(
            f"The region that moves is less than {_THINNEST} pixels wide or high in this frame. "
            "Pass a larger mask (white moves), or a larger --size."
        )


class Ambient:
    """``frame(index)`` of a loop of ``count`` frames; frame ``count`` is frame 0 again.

    ``opacity`` is the soft mask; where it is 0 every frame has the picture's own pixels.
    """

    def __init__(
        self, picture: Picture, mask: Field, wish: Wish, count: int, rate: float, seed: int,
        *, amount: float = 1.0, feather: float = 0.015,
    ) -> None:  # fmt: skip
        h, w = mask.shape
        refuse_thin(mask)
        self.picture, self.count, self.wish = picture, count, wish
        diagonal = math.hypot(h, w)
        self.opacity = fields.soft(mask, feather * diagonal)
        ys, xs = np.nonzero(mask > 0.5)
        self.box = (
            slice(int(ys.min()), int(ys.max()) + 1),
            slice(int(xs.min()), int(xs.max()) + 1),
        )
        margin = round(0.11 * diagonal)  # texture beyond the edge, for what flows in
        wide = (
            slice(max(0, self.box[0].start - margin), min(h, self.box[0].stop + margin)),
            slice(max(0, self.box[1].start - margin), min(w, self.box[1].stop + margin)),
        )
        self._source = fields.beyond(picture[wide], mask[wide] > 0.5)
        self._offset = (self.box[0].start - wide[0].start, self.box[1].start - wide[1].start)
        self._alpha = self.opacity[self.box][..., None]
        rng = np.random.default_rng([seed % 2**32, 77])
        part, patch = mask[self.box], picture[self.box]
        self._moving: _Advection | _Waves
        if wish.motion in ("flow", "swirl"):
            self._moving = _Advection(patch, part, wish, count, rate, diagonal, rng, amount)
        else:
            self._moving = _Waves(part, wish, count, rate, diagonal, rng, amount)

    @property
    def details(self) -> dict[str, object]:
        return {
            "motion": self.wish.motion,
            "direction_deg": None if self._moving.angle is None else round(self._moving.angle),
            "speed": round(self.wish.speed, 3),
            "cycles_per_loop": self._moving.cycles,
            "region_share": round(float((self.opacity > 0).mean()), 4),
        }

    def patch(self, index: int) -> Picture:
        """The pixels of ``self.box`` in frame ``index``."""
        still = self.picture[self.box]
        moved = self._moving.warp(self._source, self._offset, index % self.count)
        mixed = still + (moved - still) * self._alpha
        return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)

    def frame(self, index: int) -> Picture:
        """The whole picture in frame ``index``."""
        out = self.picture.copy()
        out[self.box] = self.patch(index)
        return out


class _Advection:
    """Two warps half a cycle apart, blended with their contrast kept."""

    def __init__(
        self, patch: Picture, mask: Field, wish: Wish, count: int, rate: float, diagonal: float,
        rng: np.random.Generator, amount: float,
    ) -> None:  # fmt: skip
        h, w = mask.shape
        depth = fields.inside(mask)
        self.angle: float | None
        if wish.motion == "swirl":
            self.angle = None
            vx, vy = _around(depth, wish.angle_deg == 180.0)
        else:
            overall, sx, sy, coherence = fields.streaks(patch, mask)
            self.angle = _sense(overall) if wish.angle_deg is None else wish.angle_deg
            bx, by = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
            # follow the streaks of the picture where they are clear and not across the way
            agree = sx * bx + sy * by
            sign = np.where(agree < 0, -1.0, 1.0).astype(np.float32)
            weight = 0.7 * coherence * np.clip(np.abs(agree) * 2 - 0.8, 0, 1)
            vx = (1 - weight) * bx + weight * sx * sign
            vy = (1 - weight) * by + weight * sy * sign
        if wish.turbulence > 0:
            stream = fields.noise((h, w), 0.10 * diagonal, rng)
            gain = wish.turbulence * 0.02 * diagonal
            dy, dx = np.gradient(stream)  # curl of a stream function: no sources, no sinks
            vx, vy = vx + gain * dy, vy - gain * dx
        # slower at the banks, so that nothing is seen to come out of the edge
        bank = np.clip(depth / (0.04 * diagonal), 0.0, 1.0)
        pace = _PACE * diagonal * wish.speed * amount / rate * (0.35 + 0.65 * bank)
        self._vx, self._vy = (vx * pace).astype(np.float32), (vy * pace).astype(np.float32)
        fastest = float(np.hypot(self._vx, self._vy).max())
        self.cycles = max(1, math.ceil(fastest * count / (2 * _REACH * diagonal) - 1e-6))
        self._count = count
        self._phase = (0.12 * fields.noise((h, w), 0.25 * diagonal, rng)).astype(np.float32)
        gy, gx = np.mgrid[0:h, 0:w]
        self._gx, self._gy = gx.astype(np.float32), gy.astype(np.float32)

    def warp(self, source: Picture, offset: tuple[int, int], index: int) -> Field:
        import cv2

        length = self._count / self.cycles  # frames of a cycle
        phase = self._phase + np.float32(index / length)
        parts, weights = [], []
        for half in (0.0, 0.5):
            turn = phase + np.float32(half)
            turn -= np.floor(turn)
            way = (turn - np.float32(0.5)) * np.float32(length)  # frames, -half..half a cycle
            map_x = self._gx - self._vx * way + np.float32(offset[1])
            map_y = self._gy - self._vy * way + np.float32(offset[0])
            parts.append(
                cv2.remap(source, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
            )
            weights.append(1 - np.abs(turn * 2 - 1))
        mixed = cv2.blendLinear(parts[0], parts[1], weights[0], weights[1])
        return contrast_kept(mixed, parts, weights)


def contrast_kept(mixed: Picture, parts: list[Picture], weights: list[Field]) -> Field:
    """The blend with the local contrast of its parts: blending two textures flattens them."""
    import cv2

    h, w = mixed.shape[:2]
    size = (max(2, w // 4), max(2, h // 4))

    def small(image: Picture) -> Field:
        tiny = cv2.resize(image, (w // 2 or 1, h // 2 or 1), interpolation=cv2.INTER_AREA)
        lum = cv2.cvtColor(tiny, cv2.COLOR_RGB2GRAY).astype(np.float32)
        spread = cv2.boxFilter(lum * lum, -1, (15, 15)) - cv2.boxFilter(lum, -1, (15, 15)) ** 2
        return np.asarray(cv2.resize(np.maximum(spread, 0), size), np.float32)

    first = cv2.resize(weights[0], size)
    wanted = first * small(parts[0]) + (1 - first) * small(parts[1])
    gain = np.sqrt((wanted + 4.0) / (small(mixed) + 4.0))
    gain = cv2.resize(np.clip(gain, 1.0, 1.5).astype(np.float32), (w, h))
    low = cv2.resize(mixed, size, interpolation=cv2.INTER_AREA)
    low = cv2.resize(cv2.GaussianBlur(low, (0, 0), 3.0), (w, h)).astype(np.float32)
    return low + (mixed - low) * gain[..., None]


class _Waves:
    """Displacement and brightness as a sum of harmonics of the loop."""

    def __init__(
        self, mask: Field, wish: Wish, count: int, rate: float, diagonal: float,
        rng: np.random.Generator, amount: float,
    ) -> None:  # fmt: skip
        self._count, self.cycles = count, 1
        self.angle = wish.angle_deg
        loop_s = count / rate
        make = {"ripple": _ripple, "sway": _sway, "flicker": _flicker}[wish.motion]
        # (frequency in cycles a loop, [(cos part, sin part) of x, y and brightness])
        self._terms = make(mask, wish, loop_s, diagonal, rng, amount)
        h, w = mask.shape
        gy, gx = np.mgrid[0:h, 0:w]
        self._gx, self._gy = gx.astype(np.float32), gy.astype(np.float32)

    def warp(self, source: Picture, offset: tuple[int, int], index: int) -> Field:
        import cv2

        fields_now: list[Field | None] = [None, None, None]
        for cycles, parts in self._terms:
            angle = 2 * math.pi * cycles * index / self._count
            c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
            for axis, pair in enumerate(parts):
                if pair is not None:
                    now = pair[0] * c + pair[1] * s
                    before = fields_now[axis]
                    fields_now[axis] = now if before is None else before + now
        dx, dy, light = fields_now
        map_x = self._gx + np.float32(offset[1]) - (0 if dx is None else dx)
        map_y = self._gy + np.float32(offset[0]) - (0 if dy is None else dy)
        out = cv2.remap(
            source,
            map_x.astype(np.float32),
            map_y.astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.float32)
        if light is not None:
            out *= (1 + light)[..., None]
        return out


_Pair = tuple[Field, Field] | None
_Terms = list[tuple[int, tuple[_Pair, _Pair, _Pair]]]


def _ripple(
    mask: Field, wish: Wish, loop_s: float, diagonal: float, rng: np.random.Generator, amount: float
) -> _Terms:
    """Waves on a surface seen at an angle: smaller and denser towards the top of the region."""
    h, w = mask.shape
    near = (0.3 + 0.7 * (np.arange(h) + 0.5) / h).astype(np.float32)  # size of things, 1 in front
    ground = (np.cumsum(1 / near) / near.size * 0.7).astype(np.float32) * (h / 0.7)
    across = (np.arange(w, dtype=np.float32) - w / 2)[None] / near[:, None]
    heading = 90.0 if wish.angle_deg is None else wish.angle_deg
    bank = np.clip(fields.inside(mask) / (0.02 * diagonal), 0.2, 1.0)
    bent = 0.35 * fields.noise((h, w), 0.12 * diagonal, rng)
    terms: _Terms = []
    for length, share in ((0.11, 1.0), (0.075, 0.7), (0.05, 0.5), (0.034, 0.35), (0.024, 0.22)):
        kappa = 2 * math.pi / (length * diagonal)
        angle = math.radians(heading + float(rng.uniform(-38, 38)))
        where = math.cos(angle) * across + math.sin(angle) * ground[:, None]
        phase = kappa * where + float(rng.uniform(0, 2 * math.pi)) + bent
        # deep water: frequency goes with the root of the wave number; whole cycles in the loop
        hz = 0.55 * wish.speed * math.sqrt(0.11 / length)
        cycles = max(1, round(hz * loop_s))
        high = (0.0042 * diagonal * amount * share) * near[:, None] * bank
        cos, sin = np.cos(phase).astype(np.float32), np.sin(phase).astype(np.float32)
        lift = ((high * cos).astype(np.float32), (high * sin).astype(np.float32))
        aside = (lift[0] * np.float32(0.45), lift[1] * np.float32(0.45))
        # a slope towards the light is brighter: a quarter of a wave behind the height
        glint = np.float32(0.055 * amount * share) * bank
        light = ((glint * sin).astype(np.float32), (-glint * cos).astype(np.float32))
        terms.append((cycles, (aside, lift, light)))
    return terms


def _sway(
    mask: Field, wish: Wish, loop_s: float, diagonal: float, rng: np.random.Generator, amount: float
) -> _Terms:
    """Things that hang or stand in the wind: more at the free end, gusts that travel."""
    h, w = mask.shape
    depth = fields.inside(mask)
    free = depth / max(1.0, min(float(depth.max()), 0.12 * diagonal))
    free = np.clip(free, 0, 1) ** 1.2
    heading = math.radians(0.0 if wish.angle_deg is None else wish.angle_deg)
    gy, gx = np.mgrid[0:h, 0:w].astype(np.float32)
    terms: _Terms = []
    for length, share, hz in ((0.5, 1.0, 0.3), (0.22, 0.55, 0.62), (0.09, 0.3, 1.3)):
        wander = fields.noise((h, w), length * 0.6 * diagonal, rng)
        travel = 2 * math.pi / (length * diagonal)
        phase = travel * (math.cos(heading) * gx + math.sin(heading) * gy) + 0.9 * wander
        cycles = max(1, round(hz * wish.speed * loop_s))
        size = 0.0062 * diagonal * amount * share * free
        cos, sin = (
            (size * np.cos(phase)).astype(np.float32),
            (size * np.sin(phase)).astype(np.float32),
        )
        aside = (cos, sin)
        lift = (sin * np.float32(0.3), -cos * np.float32(0.3))
        terms.append((cycles, (aside, lift, None)))
    return terms


def _flicker(
    mask: Field, wish: Wish, loop_s: float, diagonal: float, rng: np.random.Generator, amount: float
) -> _Terms:
    """Fire and light: brightness with a falling spectrum; flames also waver upwards."""
    h, w = mask.shape
    ys = np.nonzero((mask > 0.5).any(axis=1))[0]
    top, foot = float(ys.min()), float(ys.max()) + 1
    gy = np.mgrid[0:h, 0:w][0].astype(np.float32)
    height = np.clip((foot - gy) / max(1.0, foot - top), 0, 1)  # 0 at the foot, 1 at the tip
    terms: _Terms = []
    flame = wish.turbulence > 0
    for hz in (0.7, 1.3, 2.2, 3.4, 5.1):
        cycles = max(1, round(hz * wish.speed * loop_s))
        share = 1 / (0.7 + hz)
        whole = float(rng.uniform(0, 2 * math.pi))
        place = whole + 0.7 * fields.noise((h, w), 0.15 * diagonal, rng)
        glow = 0.16 * amount * share
        light = (
            (glow * np.cos(place)).astype(np.float32),
            (glow * np.sin(place)).astype(np.float32),
        )
        aside: _Pair = None
        if flame:
            travel = 2 * math.pi / max(6.0, 0.8 * (foot - top)) * (0.6 + 0.4 * hz)
            phase = travel * (gy - top) + whole
            size = 0.010 * min(diagonal, 3 * (foot - top)) * amount * share * height**1.3
            aside = (
                (size * np.cos(phase)).astype(np.float32),
                (-size * np.sin(phase)).astype(np.float32),
            )
        terms.append((cycles, (aside, None, light)))
    return terms


def _around(depth: Field, left: bool) -> tuple[Field, Field]:
    """Unit-sized velocity around the middle of the region, slower in the very centre."""
    h, w = depth.shape
    weight = depth / max(1e-6, float(depth.sum()))
    gy, gx = np.mgrid[0:h, 0:w].astype(np.float32)
    cx, cy = float((gx * weight).sum()), float((gy * weight).sum())
    rx, ry = gx - cx, gy - cy
    radius = np.hypot(rx, ry) + 1e-3
    size = np.clip(radius / (0.35 * max(1.0, float(radius[depth > 0].max()))), 0, 1) / radius
    sign = -1.0 if left else 1.0
    return np.asarray(-sign * ry * size, np.float32), np.asarray(sign * rx * size, np.float32)


def _sense(axis_deg: float) -> float:
    """One of the two ways along an axis: downhill where it slopes, else to the right."""
    x, y = math.cos(math.radians(axis_deg)), math.sin(math.radians(axis_deg))
    flip = y < 0 if abs(y) > 0.15 else x < 0
    return (axis_deg + 180.0 if flip else axis_deg) % 360.0
