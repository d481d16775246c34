"""Frames of a scene. Each frame is a function of its number alone, so any pass gives the same.

Legend: frames are (h, w, 3); positions in pixels, x right and y down; ``R`` is the radius of an
object on the screen. The camera is level: an object at depth ``z`` is drawn at 1 / (1 + 0.3 z) of
its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.backdrop import Backdrop, paint
from avsafe_generators.world.canvas import FLOOR, HORIZON
from avsafe_generators.world.scene import Body, Scene
from avsafe_generators.world.shading import METALS, Look, Sprite, albedo, sprite
from avsafe_generators.world.solids import orientation, reach
from avsafe_generators.world.tracks import leg

Array = NDArray[Any]  # float32
Pixels = NDArray[np.uint8]

PITCH = 0.24  # radians; the camera looks down on the objects by this much
PERSPECTIVE = 0.3
SHUTTER = 0.5  # of the frame time, as a 180° film shutter
ZOOM, PAN = 1.28, 0.12  # largest enlargement; largest shift, in widths
TILT, SHAKE = 0.07, 0.022  # largest shift in heights; size of a tremble in shorter sides
_MAX_SIDE = 460  # pixels of a rendered view; larger ones are enlarged


@dataclass(frozen=True)
class _View:
    """The camera at one time: p -> (p - centre) * zoom + centre + (shift, rise)."""

    zoom: float
    shift: float
    rise: float
    cx: float
    cy: float

    def apply(self, x: Any, y: Any) -> tuple[Any, Any]:
        return (
            (x - self.cx) * self.zoom + self.cx + self.shift,
            (y - self.cy) * self.zoom + self.cy + self.rise,
        )


@dataclass(frozen=True)
class _Placed:
    """A body at one frame: sub-positions within the shutter, and its middle state."""

    xs: Array
    ys: Array
    R: float
    floor_x: float
    floor_y: float
    height: float  # of the lowest point above the floor, in pixels
    depth: float
    squash: float
    yaw: float
    roll: float


class Renderer:
    """Draws the frames of one scene, in any order."""

    def __init__(self, scene: Scene, frame_rate: Fraction) -> None:
        self.scene = scene
        self.frame_s = float(1 / frame_rate)
        self.unit = min(scene.width, scene.height) / 2
        self.back: Backdrop = paint(scene)
        self._views: dict[int, tuple[tuple[Any, ...], Sprite]] = {}
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([scene.seed, 2])))
        shape = (scene.height + 64, scene.width + 64, 1)
        self._film = (rng.standard_normal(shape, dtype=np.float32) * 1.3).astype(np.float32)
        self._drops = rng.uniform(size=(260, 4)).astype(np.float64)

    def frame(self, index: int) -> Pixels:
        """Frame ``index``: (h, w, 3) uint8 RGB, at ``index / frame_rate`` seconds."""
        time_s = index * self.frame_s
        view = self._view(time_s)
        canvas = self._background(time_s, view)
        placed = [(self._place(body, time_s, view), body) for body in self.scene.bodies]
        placed.sort(key=lambda item: -item[0].depth)
        for where, body in placed:
            self._shadow(canvas, where, body)
        for where, body in placed:
            self._object(canvas, where, body)
        grain = self._film[index * 37 % 64 :, index * 53 % 64 :][
            : canvas.shape[0], : canvas.shape[1]
        ]
        canvas *= 255
        canvas += grain
        out: Pixels = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
        for where, body in placed:
            if body.track.swing:
                self._string(out, where, body, view)
        return self._weather(out, time_s)

    def bounds(self, body: Body, time_s: float) -> tuple[float, float, float, float]:
        """left, top, right, bottom in pixels of the sphere around an object."""
        x, y, radius, _ = self._project(body, np.array([time_s]), self._view(time_s))
        cx, cy, size = float(x[0]), float(y[0]), float(radius[0])
        return cx - size, cy - size, cx + size, cy + size

    # ------------------------------------------------------------ camera

    def _view(self, time_s: float) -> _View:
        scene = self.scene
        travel = max(min(scene.duration_s, 8.0), 1.5)
        along = float(leg(np.array([time_s]), travel)[0])
        zoom, shift, rise = 1.0, 0.0, 0.0
        match scene.camera:
            case "zoom-in":
                zoom = 1 + (ZOOM - 1) * along
            case "zoom-out":
                zoom = ZOOM - (ZOOM - 1) * along
            case "pan-left" | "pan-right":
                sign = 1 if scene.camera == "pan-right" else -1
                shift = sign * (1 - 2 * along) * PAN * scene.width
            case "tilt-up" | "tilt-down":
                sign = 1 if scene.camera == "tilt-up" else -1
                rise = sign * (2 * along - 1) * TILT * scene.height
            case "shake":
                side = min(scene.width, scene.height)
                shift = SHAKE * side * _tremble(time_s, (1.3, 2.9, 7.1), (0.4, 2.2, 5.1))
                rise = SHAKE * side * _tremble(time_s, (1.7, 3.7, 8.3), (1.9, 0.3, 3.3))
        return _View(zoom, shift, rise, scene.width / 2, 0.62 * scene.height)

    def _background(self, time_s: float, view: _View) -> Array:
        import cv2

        back, scene = self.back, self.scene
        image = back.image.copy()
        if back.clouds is not None:
            height, wide = back.clouds.shape
            rows = min(height, back.margin_y + int(scene.height * HORIZON))
            move = np.array([[1, 0, -(time_s * 0.008 * scene.width) % wide], [0, 1, 0]], np.float64)
            cover = cv2.warpAffine(
                back.clouds[:rows], move, (image.shape[1], rows), flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )  # fmt: skip
            cover *= back.open_sky[:rows]
            image[:rows] += (np.array(back.cloud_color, np.float32) - image[:rows]) * cover[
                ..., None
            ]
        if back.waves is not None:
            self._sea(image, time_s)
        if scene.camera is None:
            return image
        x, y = view.apply(-back.margin_x, -back.margin_y)
        matrix = np.array([[view.zoom, 0, x], [0, view.zoom, y]], np.float64)
        size = (scene.width, scene.height)
        return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR), np.float32)

    def _sea(self, image: Array, time_s: float) -> None:
        import cv2

        waves = self.back.waves
        assert waves is not None  # noqa: S101  the caller looked
        band = image[waves.top : waves.top + waves.mask.shape[0]]
        seen = [
            cv2.remap(
                waves.tile, np.mod(waves.map_x + dx * time_s, 512).astype(np.float32),
                np.mod(waves.map_y + dy * time_s, 512).astype(np.float32), cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
            for dx, dy in ((14.0, 22.0), (-11.0, 34.0))
        ]  # fmt: skip
        swell = seen[0] + seen[1]
        level = waves.mask * (0.10 * swell + 0.30 * np.clip(swell - 0.75, 0, 1))
        band += level[..., None] * np.array(waves.foam, np.float32)
        edge = waves.below_shore - np.float32(0.007 * np.sin(2 * np.pi * time_s / 5.0))
        foam = np.exp(-((edge / 0.0045) ** 2)) * np.clip(0.75 + 0.35 * seen[0], 0, 1)
        band += (np.array(waves.foam, np.float32) - band) * foam[..., None]

    # ------------------------------------------------------------ objects

    def _place(self, body: Body, time_s: float, view: _View) -> _Placed:
        shutter = SHUTTER * self.frame_s
        ends = np.array([time_s - shutter / 2, time_s, time_s + shutter / 2])
        x, y, _, _ = self._project(body, np.maximum(ends, 0.0), view)
        moved = float(np.hypot(x[2] - x[0], y[2] - y[0]))
        steps = int(np.clip(np.ceil(moved / 2.5), 1, 9))
        times = time_s + ((np.arange(steps) + 0.5) / steps - 0.5) * shutter
        xs, ys, _, _ = self._project(body, np.maximum(times, 0.0), view)
        now = np.array([time_s])
        state = body.track.at(now)
        _, _, radius, floor = self._project(body, now, view)
        return _Placed(
            xs.astype(np.float32), ys.astype(np.float32), float(radius[0]),
            float(floor[0][0]), float(floor[1][0]),
            float(state.y[0]) * float(radius[0]) / body.radius,
            float(state.z[0]), float(state.squash[0]), float(state.yaw[0]), float(state.roll[0]),
        )  # fmt: skip

    def _project(
        self, body: Body, t: NDArray[np.float64], view: _View
    ) -> tuple[Any, Any, Any, Any]:
        """Screen x and y of the centre, radius, and the point of the floor below; arrays over t."""
        state, scene = body.track.at(t), self.scene
        scale = self.unit / (1 + PERSPECTIVE * state.z)
        floor = (HORIZON + (FLOOR - HORIZON) / (1 + PERSPECTIVE * state.z)) * scene.height
        x = scene.width / 2 + state.x * scale
        size = body.radius * state.scale
        below = np.array([self._support(body, roll) for roll in state.roll]) * size
        y = floor - (state.y + below * (1 - state.squash)) * scale
        px, py = view.apply(x, y)
        return px, py, size * scale * view.zoom, view.apply(x, floor)

    def _support(self, body: Body, roll: float) -> float:
        if not (body.track.roll or body.track.swing or body.track.shake):
            roll = 0.0
        if body.shape == "ball":
            return 0.98
        return reach(body.shape, orientation(0.0, float(roll), 0.0))[0]

    def _sprite(self, body: Body, where: _Placed) -> Sprite:
        side = min(_MAX_SIDE, 8 * int(np.ceil((2 * where.R + 4) / 8)))
        plain = body.shape == "ball" and body.pattern is None
        plain = plain and body.material in METALS | {"glass", "ice", "clay", "light"}
        yaw, roll = (0.0, 0.0) if plain else (where.yaw, where.roll)
        key = (side, yaw, roll)
        known = self._views.get(id(body))
        if known is None or known[0] != key:
            look = Look(body.shape, body.material, body.color, body.pattern, body.tone, body.seed)
            known = (key, sprite(look, self.back.light, orientation(yaw, roll, PITCH), side))
            self._views[id(body)] = known
        return known[1]

    def _object(self, canvas: Array, where: _Placed, body: Body) -> None:
        view = self._sprite(body, where)
        layer = np.dstack([view.rgb, view.alpha])
        if self.back.gleam > 0 and where.height < 3 * where.R:
            self._mirror(canvas, layer, view, where)
        if body.material == "light":
            self._halo(canvas, where, albedo(_look(body)))
        box = _box(canvas, where.xs, where.ys, where.R * 1.35 + 2)
        if box is None:
            return
        left, top, right, bottom = box
        part = canvas[top:bottom, left:right]
        if view.bend is not None:
            self._refract(canvas, part, view, where, left, top)
        total = np.zeros((*part.shape[:2], 4), np.float32)
        for x, y in zip(where.xs, where.ys, strict=True):
            total += _warp(layer, view, where, float(x) - left, float(y) - top, part.shape)
        total /= len(where.xs)
        part *= 1 - total[..., 3:]
        part += total[..., :3]

    def _refract(
        self, canvas: Array, part: Array, view: Sprite, where: _Placed, left: int, top: int
    ) -> None:
        import cv2

        assert view.bend is not None  # noqa: S101  the caller looked
        middle = len(where.xs) // 2
        x, y = float(where.xs[middle]) - left, float(where.ys[middle]) - top
        bend = _warp(view.bend, view, where, x, y, part.shape)
        rows, columns = np.mgrid[0 : part.shape[0], 0 : part.shape[1]].astype(np.float32)
        seen = cv2.remap(
            canvas, columns + left + bend[..., 0] * where.R, rows + top + bend[..., 1] * where.R,
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        part += (seen * np.array(view.tint, np.float32) - part) * bend[..., 2:]

    def _mirror(self, canvas: Array, layer: Array, view: Sprite, where: _Placed) -> None:
        middle = len(where.xs) // 2
        x, y = where.xs[middle], 2 * where.floor_y - where.ys[middle] + where.R * 0.22
        box = _box(canvas, np.array([x]), np.array([y]), where.R * 1.2)
        if box is None:
            return
        left, top, right, bottom = box
        part = canvas[top:bottom, left:right]
        seen = _warp(layer, view, where, float(x) - left, float(y) - top, part.shape, flip=True)
        rows = np.arange(top, bottom, dtype=np.float32)[:, None, None]
        fade = np.clip(1 - (rows - where.floor_y) / (1.6 * where.R + 1), 0, 1) * self.back.gleam
        part *= 1 - seen[..., 3:] * fade
        part += seen[..., :3] * fade

    def _halo(self, canvas: Array, where: _Placed, color: tuple[float, float, float]) -> None:
        x, y = float(where.xs.mean()), float(where.ys.mean())
        box = _box(canvas, np.array([x]), np.array([y]), where.R * 3.2)
        if box is None:
            return
        left, top, right, bottom = box
        rows = (np.arange(top, bottom, dtype=np.float32)[:, None] - y) / where.R
        columns = (np.arange(left, right, dtype=np.float32)[None] - x) / where.R
        away = np.sqrt(rows * rows + columns * columns)
        glow = 0.62 * np.exp(-np.clip(away - 0.8, 0, 4) * 1.9) * np.clip((3.2 - away) / 0.8, 0, 1)
        canvas[top:bottom, left:right] += glow[..., None] * np.array(color, np.float32)

    def _shadow(self, canvas: Array, where: _Placed, body: Body) -> None:
        if body.material == "light":
            return
        lx, ly, _ = self.back.light.direction
        lift = where.height / max(where.R, 1.0)  # in radii
        x = where.floor_x - lx / ly * (0.45 * where.height + 0.15 * where.R)
        wide = where.R * (
            reach(body.shape, orientation(where.yaw, 0.0, 0.0))[1] * 0.98 + 0.10 * lift
        )
        tall = wide * 0.30
        soft = min(0.22 + 0.20 * lift, 0.95)
        strength = self.back.shadow / (1 + 0.30 * lift + 0.10 * lift * lift)
        strength *= 0.55 if body.material in ("glass", "ice") else 1.0
        size = wide * (1 + soft) + 2
        box = _box(canvas, np.array([x]), np.array([where.floor_y]), size)
        if box is None:
            return
        left, top, right, bottom = box
        rows = (np.arange(top, bottom, dtype=np.float32)[:, None] - where.floor_y) / tall
        columns = (np.arange(left, right, dtype=np.float32)[None] - x) / wide
        inside = np.clip((1 + soft - np.sqrt(rows * rows + columns * columns)) / (2 * soft), 0, 1)
        inside = inside * inside * (3 - 2 * inside)
        canvas[top:bottom, left:right] *= (1 - strength * inside)[..., None]

    def _string(self, out: Pixels, where: _Placed, body: Body, view: _View) -> None:
        import cv2

        swing = body.track.swing
        assert swing is not None  # noqa: S101  the caller looked
        x, y = float(where.xs.mean()), float(where.ys.mean())
        length = swing[0] * where.R / body.radius
        ux, uy = -np.sin(where.roll), -np.cos(where.roll)
        start = (x + ux * where.R * 0.95, y + uy * where.R * 0.95)
        end = (x + ux * (length + where.R * 4), y + uy * (length + where.R * 4))
        points = [tuple(round(float(c) * 16) for c in p) for p in (start, end)]
        shade = 225 if self.scene.time == "night" else 60
        cv2.line(
            out, points[0], points[1], (shade,) * 3, max(1, out.shape[0] // 400), cv2.LINE_AA, 4
        )

    # ------------------------------------------------------------ weather

    def _weather(self, out: Pixels, time_s: float) -> Pixels:
        falls = [kind for kind in ("rain", "snow") if kind in self.scene.weather]
        if not falls:
            return out
        import cv2

        height, width = out.shape[:2]
        layer = np.zeros((height, width), np.uint8)
        for x0, y0, near, sway in self._drops:
            if falls[0] == "rain":
                y = (y0 + time_s * (1.5 + 1.3 * near)) % 1.15 - 0.1
                x = (x0 + 0.06 * (y + time_s * 0.2)) % 1.0
                tall = (0.035 + 0.05 * near) * height
                a = (int(x * width * 16), int(y * height * 16))
                b = (int((x * width - 0.05 * tall) * 16), int((y * height - tall) * 16))
                cv2.line(layer, a, b, int(45 + 75 * near), max(1, height // 540), cv2.LINE_AA, 4)
            else:
                y = (y0 + time_s * (0.09 + 0.12 * near)) % 1.06 - 0.03
                x = (x0 + 0.025 * np.sin(2 * np.pi * (sway + 0.3 * time_s)) + 0.01 * time_s) % 1.0
                size = (0.0018 + 0.0042 * near) * height
                at = (int(x * width * 16), int(y * height * 16))
                cv2.circle(layer, at, int(size * 16), int(120 + 125 * near), -1, cv2.LINE_AA, 4)
        if falls[0] == "snow":
            layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.0016 * height + 0.3), np.uint8)
        white: Pixels = np.full_like(out, 235)
        share = (layer.astype(np.float32) / 255)[..., None]
        return (out + (white.astype(np.float32) - out) * share + 0.5).astype(np.uint8)


def _tremble(time_s: float, rates_hz: tuple[float, ...], phases: tuple[float, ...]) -> float:
    """A hand that holds a camera, about -1..1: slow sway and a little fast tremor."""
    waves = zip(rates_hz, phases, (0.6, 0.3, 0.12), strict=True)
    return float(sum(a * np.sin(2 * np.pi * hz * time_s + p) for hz, p, a in waves))


def _look(body: Body) -> Look:
    return Look(body.shape, body.material, body.color, body.pattern, body.tone, body.seed)


def _box(canvas: Array, xs: Array, ys: Array, size: float) -> tuple[int, int, int, int] | None:
    """left, top, right, bottom of the pixels within ``size`` of any position; None when outside."""
    height, width = canvas.shape[:2]
    left, right = max(0, int(xs.min() - size)), min(width, int(xs.max() + size) + 2)
    top, bottom = max(0, int(ys.min() - size)), min(height, int(ys.max() + size) + 2)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _warp(
    layer: Array, view: Sprite, where: _Placed, x: float, y: float, shape: tuple[int, ...],
    *, flip: bool = False,
) -> Array:  # fmt: skip
    """A layer of a sprite drawn with its centre at (x, y) of a patch; zero outside."""
    import cv2

    pixel = 2 * view.extent / layer.shape[0]
    wide, tall = where.R * (1 + 0.5 * where.squash), where.R * (1 - where.squash)
    tall = -tall if flip else tall
    offset = 0.5 * pixel - view.extent
    matrix = np.array(
        [[wide * pixel, 0, x + wide * offset - 0.5], [0, tall * pixel, y + tall * offset - 0.5]]
    )
    size = (shape[1], shape[0])
    return np.asarray(cv2.warpAffine(layer, matrix, size, flags=cv2.INTER_LINEAR), np.float32)
