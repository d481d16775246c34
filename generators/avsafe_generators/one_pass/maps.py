"""The world as small maps, and back: what the model makes instead of pixels.

Legend: maps are (c, t, h, w) float32; ``h = w = CELLS`` cells over the frame, row 0 on top. An
object is a bump (a Gaussian of SIGMA cells) in channel 0; the other channels hold its traits times
that bump. The setting's code fills its channels everywhere.

| channel | what |
|---|---|
| 0 | 2 x bump |
| 1 | 2 x bump x size: log2(projected radius / 0.22) |
| 2 | 2 x bump x depth: (z - 0.6) / 0.8 |
| 3-5 | 2 x bump x colour: 2 rgb - 1 |
| 6-9 | 2 x bump x code of the shape |
| 10-13 | code of the setting |

Reading is exact up to the grid for bumps that don't touch: the centre is the windowed centroid
(Bertin, SExtractor's XWIN: with a window as wide as the bump, twice the shift is exact), traits are
the projection onto the bump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.one_pass.traits import SETTING, SHAPE
from avsafe_generators.world.canvas import FLOOR, HORIZON
from avsafe_generators.world.render import PERSPECTIVE
from avsafe_generators.world.scene import COLORS, Scene

Array = NDArray[np.float64]
Maps = NDArray[np.float32]

CELLS = 8
CHANNELS = 14
SIGMA = 0.9  # cells
_GAIN = 2.0
_SIZE, _DEPTH, _RGB, _SHAPE, _SETTING = 1, 2, slice(3, 6), slice(6, 10), slice(10, 14)
PRESENT = 0.45  # a bump lower than this is no object
_NEAR = 1.3  # cells; peaks closer than this are one
_TOUCH = 0.7  # cells; bumps closer than this are not told apart at all
_SHORT = 0.15  # of a bump: less than this left over is no second one


def _codes(count: int) -> Array:
    """(count, 4) corners of a cube of four dimensions, at most 16."""
    bits = (np.arange(count)[:, None] >> np.arange(4)) & 1
    return np.asarray(bits * 2.0 - 1.0, np.float64)


SHAPE_CODES, SETTING_CODES = _codes(len(SHAPE)), _codes(len(SETTING))
_PALETTE = np.array(list(COLORS.values()))


@dataclass(frozen=True)
class Seen:
    """One object in one frame, as read from the maps."""

    x: float  # centre, cells from the left edge of the frame
    y: float  # from the top
    height: float  # of the bump, 0..1 or a little more
    size: float  # projected radius, units
    depth: float
    rgb: tuple[float, float, float]
    shape: tuple[float, ...]  # (4,) code, not yet rounded


def project(x: Array, y: Array, z: Array, radius: Array) -> tuple[Array, Array, Array]:
    """World (units; ``y`` of the lowest point) -> centre in cells and projected radius in units,
    as the renderer of ``world`` draws it in a square frame."""
    scale = 1 / (1 + PERSPECTIVE * z)
    floor = HORIZON + (FLOOR - HORIZON) * scale
    return (
        CELLS * (0.5 + x * scale / 2),
        CELLS * (floor - (y + radius) * scale / 2),
        radius * scale,
    )


def unproject(cx: Array, cy: Array, size: Array, z: Array) -> tuple[Array, Array, Array]:
    """The way back: x, y of the lowest point, radius; units."""
    scale = 1 / (1 + PERSPECTIVE * z)
    floor = HORIZON + (FLOOR - HORIZON) * scale
    radius = size / scale
    return (cx / CELLS - 0.5) * 2 / scale, (floor - cy / CELLS) * 2 / scale - radius, radius


def draw(scene: Scene, times: Array) -> Maps:
    """The maps of a scene at ``times`` (seconds): (CHANNELS, t, CELLS, CELLS)."""
    out = np.zeros((CHANNELS, len(times), CELLS, CELLS))
    out[_SETTING] = SETTING_CODES[SETTING.index(scene.setting)][:, None, None, None]
    if not scene.bodies:
        return out.astype(np.float32)
    centre = np.arange(CELLS) + 0.5
    bumps, values = [], []
    for body in scene.bodies:
        state = body.track.at(times)
        cx, cy, size = project(state.x, state.y, state.z, body.radius * state.scale)
        bumps.append(
            np.exp(-((centre - cx[:, None]) ** 2)[:, None, :] / (2 * SIGMA**2))
            * np.exp(-((centre - cy[:, None]) ** 2)[:, :, None] / (2 * SIGMA**2))
        )
        rgb = _PALETTE[list(COLORS).index(body.color)] if body.color else np.full(3, 0.5)
        fixed = np.concatenate([2 * rgb - 1, SHAPE_CODES[SHAPE.index(body.shape)]])
        rows = [np.ones_like(cx), np.log2(size / 0.22), (state.z - 0.6) / 0.8]
        rows += [np.full_like(cx, v) for v in fixed]
        values.append(np.stack(rows))
    bump, value = np.stack(bumps), np.stack(values)  # (k, t, h, w), (k, 10, t)
    front = bump.argmax(axis=0)  # where two overlap, the higher bump is seen
    for k in range(len(bump)):
        mine = np.where(front == k, _GAIN * bump[k], 0.0)
        out[:10] += value[k][:, :, None, None] * mine
    return out.astype(np.float32)


def read(maps: Maps, most: int, expected: int = 0) -> list[list[Seen]]:
    """For every frame, up to ``most`` objects, highest bump first. Where fewer than ``expected``
    stand apart, bumps that touch are looked for as well."""
    frames = np.asarray(maps.transpose(1, 0, 2, 3), np.float64)
    return [_frame(frame, most, expected) for frame in frames]


def setting(maps: Maps) -> tuple[str, float]:
    """The setting, and how far the code is from the nearest other one (1 is a clean reading)."""
    code = maps[_SETTING].mean(axis=(1, 2, 3))
    far = np.sort(((SETTING_CODES - code) ** 2).sum(axis=1))
    best = int(((SETTING_CODES - code) ** 2).sum(axis=1).argmin())
    return SETTING[best], float((far[1] - far[0]) / 4)


def nearest_color(rgb: Array) -> str:
    """The name of the closest colour."""
    return list(COLORS)[int(((_PALETTE - rgb) ** 2).sum(axis=1).argmin())]


def nearest_shape(code: Array) -> str:
    """The shape with the closest code."""
    return SHAPE[int(((SHAPE_CODES - code) ** 2).sum(axis=1).argmin())]


def _frame(frame: Array, most: int, expected: int) -> list[Seen]:
    heat = frame[0] / _GAIN
    around = np.pad(heat, 1, constant_values=-1)
    rings = [
        around[1 + dy : 1 + dy + CELLS, 1 + dx : 1 + dx + CELLS]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if (dx, dy) != (0, 0)
    ]
    tops = np.argwhere((heat >= np.max(rings, axis=0)) & (heat > PRESENT * 0.7))
    found: list[Seen] = []
    for row, column in sorted(tops.tolist(), key=lambda at: -float(heat[at[0], at[1]])):
        seen = _object(frame, heat, column + 0.5, row + 0.5)
        apart = all(np.hypot(seen.x - o.x, seen.y - o.y) > _NEAR for o in found)
        if seen.height > PRESENT and apart and len(found) < most:
            found.append(seen)
    if len(found) > 1:
        found = _apart(frame, heat, found, 2)
    elif len(found) == 1 and expected > 1:
        found = _split(frame, heat, found[0])
    return [one for one in found if one.height > PRESENT]


def _apart(frame: Array, heat: Array, found: list[Seen], rounds: int) -> list[Seen]:
    """The same objects again, each read on the cells that are its own."""
    for _ in range(rounds):
        found = [_object(frame, heat, one.x, one.y, _own(one, found)) for one in found]
    return found


def _bump(one: Seen) -> Array:
    centre = np.arange(CELLS) + 0.5
    away = (centre[None] - one.x) ** 2 + (centre[:, None] - one.y) ** 2
    return np.asarray(one.height * np.exp(-away / (2 * SIGMA**2)))


def _split(frame: Array, heat: Array, one: Seen) -> list[Seen]:
    """Two bumps that touch look like a long one: a second starts where the first falls short."""
    rest = heat - _bump(one)
    row, column = np.unravel_index(int(rest.argmax()), rest.shape)
    if rest[row, column] < _SHORT:
        return [one]
    x, y = float(column) + 0.5, float(row) + 0.5
    first = _object(frame, heat, 2 * one.x - x, 2 * one.y - y)  # as far on the other side
    first = replace(first, x=1.5 * one.x - 0.5 * x, y=1.5 * one.y - 0.5 * y)
    pair = _apart(frame, heat, [first, replace(first, x=x, y=y)], 6)
    before = float((rest**2).sum())
    after = float(((heat - np.maximum(_bump(pair[0]), _bump(pair[1]))) ** 2).sum())
    near = np.hypot(pair[0].x - pair[1].x, pair[0].y - pair[1].y)
    believed = near > _TOUCH and after < 0.35 * before
    return pair if believed and min(p.height for p in pair) > PRESENT else [one]


def _own(one: Seen, among: list[Seen]) -> Array:
    """(h, w) 1 where no other object is closer: there its bump is the one drawn."""
    centre = np.arange(CELLS) + 0.5
    away = [(centre[None] - o.x) ** 2 + (centre[:, None] - o.y) ** 2 for o in among]
    mine = away[among.index(one)]
    return np.asarray(np.min(away, axis=0) >= mine, np.float64)


def _object(frame: Array, heat: Array, x: float, y: float, own: Array | float = 1.0) -> Seen:
    centre = np.arange(CELLS) + 0.5
    bump = np.zeros_like(heat)
    for _ in range(6):
        bump = own * np.exp(
            -((centre[None] - x) ** 2 + (centre[:, None] - y) ** 2) / (2 * SIGMA**2)
        )
        weight, ideal = bump * np.clip(heat, 0, None), bump * bump
        weight = weight / max(float(weight.sum()), 1e-6) - ideal / max(float(ideal.sum()), 1e-6)
        dx = float((weight * (centre[None] - x)).sum())  # 0 where the bump is, at an edge as well
        dy = float((weight * (centre[:, None] - y)).sum())
        x, y = x + float(np.clip(2 * dx, -0.7, 0.7)), y + float(np.clip(2 * dy, -0.7, 0.7))
        x, y = float(np.clip(x, -0.5, CELLS + 0.5)), float(np.clip(y, -0.5, CELLS + 0.5))
    norm = max(float((bump * bump).sum()), 1e-6)
    value = (frame[:10] * bump).sum(axis=(1, 2)) / (norm * _GAIN)
    height = float(value[0])
    trait = value / max(height, 0.2)
    return Seen(
        x, y, height,
        float(0.22 * 2 ** np.clip(trait[_SIZE], -2.5, 1.5)),
        float(np.clip(trait[_DEPTH], -1.0, 2.2) * 0.8 + 0.6),
        (float(trait[3] + 1) / 2, float(trait[4] + 1) / 2, float(trait[5] + 1) / 2),
        tuple(float(v) for v in trait[_SHAPE]),
    )  # fmt: skip
