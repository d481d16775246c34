"""What a sampled scene shows: colours, shapes, place and motions, judged from the scene alone.

The rules are first checked on scenes that the world itself planned (``python -m
avsafe_generators.train two-stage`` prints both): a motion is right when every axis of it that the
prompt names is right. Paths are (t, 6): x, y, z, yaw, roll, scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.two_stage.latents import FRAMES, RATE
from avsafe_generators.two_stage.vocabulary import MAX_OBJECTS
from avsafe_generators.world.parse import Description, Wish
from avsafe_generators.world.scene import Body, Scene

Array = NDArray[np.float64]


def motions(body: Body) -> dict[str, str]:
    """axis -> motion, as the words of the world name them; axes without motion are left out."""
    s = body.track.at(np.arange(FRAMES) / RATE)
    found = {
        "across": _across(s.x, s.z),
        "height": next(iter(_height(s.y)), None),
        "turn": _turn(s.x, s.yaw, s.roll),
        "depth": _first_way(s.z - s.z[0], 0.5, ("recede", "approach")),
        "scale": _first_way(s.scale - s.scale[0], 0.2, ("grow", "shrink")),
    }
    if found["across"] == "orbit":
        found["depth"] = None
    named = {axis: value for axis, value in found.items() if value}
    return named or {"across": "still"}


def _across(x: Array, z: Array) -> str | None:
    if np.ptp(z) > 0.25 and np.ptp(x) > 0.25 and _heading(x, z) > 2.0:
        return "orbit"
    return _first_way(x - x[0], 0.22, ("right", "left"))


def _heading(x: Array, z: Array) -> float:
    """Radians that the way turns, seen from above; a sudden way back is no turn."""
    dx, dz = np.diff(x), np.diff(z)
    moving = np.hypot(dx, dz) > 0.01
    angles = np.unwrap(np.arctan2(dz[moving], dx[moving]))
    steps = np.diff(angles)
    return float(abs(steps[np.abs(steps) < 0.6].sum())) if len(steps) else 0.0


def _first_way(way: Array, least: float, names: tuple[str, str]) -> str | None:
    """The direction of the first large move; None when there is none."""
    if np.abs(way).max() < least:
        return None
    first = int(np.argmax(np.abs(way) > 0.6 * np.abs(way).max()))
    return names[0] if way[first] > 0 else names[1]


def _height(y: Array) -> tuple[str, ...]:
    """Names that fit, the best first: a drop that rebounds twice is both a fall and a bounce."""
    if np.ptp(y) < 0.1:
        return ("float",) if y.mean() > 0.15 else ()
    low = y < 0.05
    leaves = int(np.sum(low[:-1] & ~low[1:]))  # from the floor
    bend = y[2:] - 2 * y[1:-1] + y[:-2]
    contacts = [
        i
        for i in range(1, len(y) - 1)
        if y[i] <= y[i - 1] and y[i] < y[i + 1] and y[i] < 0.25 and bend[i - 1] > 0.05
    ]
    if y[0] < 0.1 and leaves >= 1 and low.mean() > 0.12 and y.max() > 0.15:
        rises = _first_way(y - y[0], 0.2, ("up", "down"))
        steady = bend.max() < 0.02
        return (rises or "up",) if steady else ("jump",)
    falls = np.diff(y).min() < -0.06  # faster than anything sinks
    dropped = falls and y[0] > 0.8 * y.max() and y.min() < 0.15
    if contacts:
        names = ("fall", "bounce") if y[-10:].max() < 0.15 and dropped else ("bounce", "fall")
        return tuple(n for n in names if (dropped if n == "fall" else len(contacts) >= 2))
    if falls:
        return ("fall",)
    way = _first_way(y - y[0], 0.2, ("up", "down"))
    goes_back = np.ptp(y) > 1.5 * abs(y[-1] - y[0]) and y.min() > 0.1
    if way is None or (goes_back and np.ptp(y) < 0.3):
        return ("float",) if y.min() > 0.1 else ()
    return (way,)


def _turn(x: Array, yaw: Array, roll: Array) -> str | None:
    if np.ptp(yaw) > 2.0:
        return "spin"
    moved = np.ptp(x) > 0.22
    if np.ptp(roll) > 0.8 and moved:
        return "roll"
    return "slide" if moved else None


def right_motion(wish: Wish, body: Body) -> bool:
    """Whether the body moves as the wish says, on every axis that it names."""
    seen = motions(body)
    for axis, wanted in wish.motions.items():
        if wanted == "still":
            if set(seen) & {"height", "depth", "scale"} or seen.get("across", "still") != "still":
                return False
        elif axis == "height":
            if wanted not in _height(body.track.at(np.arange(FRAMES) / RATE).y):
                return False
        elif seen.get(axis) != wanted:
            return False
    return True


def right(wish: Wish, body: Body | None) -> dict[str, bool]:
    """colour, shape, motion of one object against what the prompt asked; what it left open is
    right by nature and counted nowhere."""
    checks: dict[str, Any] = {}
    if "color" in wish.traits:
        checks["colour"] = body is not None and body.color == wish.traits["color"]
    if wish.shape:
        checks["shape"] = body is not None and body.shape == wish.shape
    if "material" in wish.traits:
        checks["material"] = body is not None and body.material == wish.traits["material"]
    if wish.motions:
        checks["motion"] = body is not None and right_motion(wish, body)
    return checks


def judged(text: Description, scene: Scene) -> dict[str, bool]:
    """Everything that the prompt asked for: right or wrong in the scene; of objects, of all."""
    each = objects(text, scene)
    out = {"objects": len(scene.bodies) == len(each)} if each else {}
    for name in ("colour", "shape", "material", "motion"):
        checks = [checks[name] for checks in each if name in checks]
        if checks:
            out[name] = all(checks)
    if len(each) == MAX_OBJECTS:
        looks = [c.get("colour", True) and c.get("shape", True) for c in each]
        out["two objects: looks"] = all(looks)
        out["two objects: looks and motion"] = all(looks) and out.get("motion", True)
    if text.setting:
        out["background"] = scene.setting == text.setting
    return out


def objects(text: Description, scene: Scene) -> list[dict[str, bool]]:
    """``right`` of each object that the prompt asked for, in its order."""
    wishes = [wish for wish in text.wishes for _ in range(wish.count)]
    return [
        right(wish, scene.bodies[i] if i < len(scene.bodies) else None)
        for i, wish in enumerate(wishes)
    ]


def misses(text: Description, scene: Scene) -> list[str]:
    """What the prompt asked for and the scene shows otherwise."""
    return [name for name, ok in judged(text, scene).items() if not ok and ":" not in name]
