"""Scenes of the world as the arrays that the two networks make, and back.

Legend: ``g`` what all share (place, time, weather, camera), ``o`` the looks and the first state of
one object, ``m`` its motion: the cosine transform over time of the way from the first state,
``(GROUPS, 6 * PER_GROUP)``. Categories are one of ±1 numbers each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.sampled import Sampled, grounded
from avsafe_generators.two_stage import vocabulary as v
from avsafe_generators.world.scene import Body, Scene

Array = NDArray[np.float32]

FRAMES = 64  # 4 s at 16 fps, as in Emu Video
RATE = 16.0
DURATION_S = FRAMES / RATE
COEFFICIENTS = 24  # of FRAMES: up to 3 Hz
PER_GROUP = 4  # coefficients of all channels that one token holds
GROUPS = COEFFICIENTS // PER_GROUP
_SOFT = {"rubber": 0.045, "light": 0.02}  # as the world's: squash per unit/s of impact
# spread of the first states: x y z yaw roll scale; where it begins says which way it will go
_STATE = np.array([0.35, 0.4, 0.4, 0.5, 0.5, 0.25])

_SHARED = (v.SETTINGS, v.COLORS, v.TIMES, v.CAMERAS)
_LOOKS = (v.SHAPES, v.COLORS, v.MATERIALS, v.PATTERNS, v.TONES)
G_WIDTH = sum(map(len, _SHARED)) + len(v.WEATHERS)
O_WIDTH = 1 + sum(map(len, _LOOKS)) + 1 + 6
M_WIDTH = 6 * PER_GROUP


def cosines(times: NDArray[Any]) -> NDArray[np.float64]:
    """The first COEFFICIENTS functions of the orthonormal DCT-II, at frames ``times`` (t,)."""
    k = np.arange(COEFFICIENTS)
    scale = np.where(k == 0, np.sqrt(1 / FRAMES), np.sqrt(2 / FRAMES))
    out: NDArray[np.float64] = np.cos(np.pi * (times[:, None] + 0.5) * k / FRAMES) * scale
    return out


def _one_hot(value: str | None, options: Sequence[str]) -> list[float]:
    wanted = "none" if value is None else value
    return [1.0 if option == wanted else -1.0 for option in options]


def path_of(body: Body) -> NDArray[np.float64]:
    """The states of a body at the frames: (FRAMES, 6)."""
    s = body.track.at(np.arange(FRAMES) / RATE)
    return np.stack([s.x, s.y, s.z, s.yaw, s.roll, s.scale], axis=1)


def encode(scene: Scene) -> tuple[Array, Array, Array]:
    """(g (G_WIDTH,), o (MAX_OBJECTS, O_WIDTH), m (MAX_OBJECTS, GROUPS, M_WIDTH)) of a scene."""
    g: list[float] = []
    for value, options in zip(
        (scene.setting, scene.setting_color, scene.time, scene.camera), _SHARED, strict=True
    ):
        g += _one_hot(value, options)
    g += [1.0 if w in scene.weather else -1.0 for w in v.WEATHERS]
    o = np.zeros((v.MAX_OBJECTS, O_WIDTH), np.float32)
    m = np.zeros((v.MAX_OBJECTS, GROUPS, M_WIDTH), np.float32)
    o[:, 0] = -1.0
    basis = cosines(np.arange(FRAMES))
    for i, body in enumerate(scene.bodies[: v.MAX_OBJECTS]):
        path = path_of(body)
        looks = (body.shape, body.color, body.material, body.pattern, body.tone)
        row = [1.0]
        for value, options in zip(looks, _LOOKS, strict=True):
            row += _one_hot(value, options)
        o[i] = [*row, (body.radius - 0.25) * 6, *(path[0] / _STATE)]
        coefficients = basis.T @ (path - path[0])  # (COEFFICIENTS, 6)
        m[i] = coefficients.reshape(GROUPS, M_WIDTH)
    return np.array(g, np.float32), o, m


def decode(
    g: Array, o: Array, m: Array, *, width: int, height: int, duration_s: float, seed: int,
    music: bool = False,
) -> Scene:  # fmt: skip
    """The scene that the arrays say; motion beyond DURATION_S holds its last state."""
    at, shared = 0, []
    for options in _SHARED:
        shared.append(options[int(g[at : at + len(options)].argmax())])
        at += len(options)
    weather = tuple(w for w, x in zip(v.WEATHERS, g[at:], strict=True) if x > 0)
    setting, color, time, camera = shared
    bodies = tuple(_body(o[i], m[i], seed * 31 + i) for i in range(v.MAX_OBJECTS) if o[i, 0] > 0)
    return Scene(
        width, height, duration_s, seed, bodies, setting,
        None if color == "none" else color, time, weather,
        None if camera == "none" else camera, music,
    )  # fmt: skip


def states(o: Array, m: Array, times: NDArray[Any]) -> NDArray[np.float64]:
    """The path of one object at ``times`` in frames, before the physics of the floor: (t, 6)."""
    first = o[-6:].astype(np.float64) * _STATE
    coefficients = m.astype(np.float64).reshape(COEFFICIENTS, 6)
    moved = cosines(times) - cosines(np.zeros(1))  # the first state is kept exactly
    out: NDArray[np.float64] = first + moved @ coefficients
    return out


def _body(o: Array, m: Array, seed: int) -> Body:
    at, looks = 1, []
    for options in _LOOKS:
        value = options[int(o[at : at + len(options)].argmax())]
        looks.append(None if value == "none" else value)
        at += len(options)
    shape, color, material, pattern, tone = looks
    assert shape is not None  # noqa: S101  the lists of shapes and materials have no "none"
    assert material is not None  # noqa: S101
    radius = float(np.clip(o[at] / 6 + 0.25, 0.06, 0.5))
    fine = 8  # points a frame
    path = states(o, m, np.arange(FRAMES * fine) / fine)
    path[:, 5] = np.clip(path[:, 5], 0.2, 2.0)
    path[:, 2] = np.clip(path[:, 2], -0.5, 4.0)
    path, contacts = grounded(path, RATE * fine)
    lowest = float(path[:, 1].min())
    if 0 < lowest < 0.05 and np.ptp(path[:, 1]) < 0.05:
        path[:, 1] = 0.0  # stands on the floor: a hand's breadth above it would show
    turned = float(np.ptp(path[:, 4]))
    track = Sampled(
        x=float(path[0, 0]), z=float(path[0, 2]), radius=radius, path=path, rate=RATE * fine,
        contacts=contacts, soft=_SOFT.get(material, 0.0), roll=turned > 0.5,
        reach=(0.0, 0.0) if np.ptp(path[:, 0]) > 0.1 else None,
    )  # fmt: skip
    name = " ".join(word for word in (tone, pattern, color, material, shape) if word)
    return Body(name, shape, color, material, pattern, tone, radius, track, (), seed % 2**31)
