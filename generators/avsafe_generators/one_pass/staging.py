"""From decoded paths to a scene that the ``world`` generator's renderer and synthesiser take.

The model makes what is where and how it moves: colours, shapes, sizes, paths, setting. Materials,
patterns, light and dark, the hour, the weather and music are no part of the maps; they are taken
from the prompt, as a costume for what the model made.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.one_pass import traits
from avsafe_generators.one_pass.motion import motions
from avsafe_generators.one_pass.paths import RATE, Path
from avsafe_generators.sampled import Sampled
from avsafe_generators.world.parse import Description, Wish
from avsafe_generators.world.scene import NATURAL, ROUND, TURNED, Body, Scene, caption
from avsafe_generators.world.words import Concept, lookup

Array = NDArray[np.float64]

_FINE = 4  # points a frame of the path that is drawn
_SPIN = 2 * np.pi * 0.45  # radians/s, where the prompt says so
_SAID = {"light": "glowing", "wood": "wooden", "gold": "golden", "ice": "icy"}
_CASUAL = ("plastic", "wood", "metal")  # materials of things whose material nobody named
# what the words of ``world`` know and this model doesn't
_BEYOND = frozenset(
    [Concept("motion", m) for m in ("swing", "shake")]
    + [Concept("camera", c) for c in ("zoom-in", "zoom-out", "pan-left", "pan-right")]
)


def used_and_unused(text: Description) -> tuple[list[str], list[str]]:
    """The understood words, and the known ones that this generator makes no use of."""
    table = lookup()
    beyond = [w for w in text.understood if table[w] in _BEYOND]
    return [w for w in text.understood if w not in beyond], [*text.unused, *beyond]


def asked(text: Description) -> list[dict[str, Any]]:
    """The objects that the model was asked for, as plain data; None where the seed chooses."""
    return [
        {
            "color": wish.traits.get("color"),
            "shape": wish.shape or "ball",
            "motions": {
                axis: value
                for axis, values in traits.MOTIONS.items()
                if (value := wish.motions.get(axis)) in values and value != "still"
            },
        }
        for wish in traits.wishes(text)
    ]


def shown(path: Path) -> dict[str, Any]:
    """One decoded object in the words of ``asked``."""
    return {"color": path.color, "shape": path.shape, "motions": motions(path)}


def agrees(wish: dict[str, Any], seen: dict[str, Any]) -> dict[str, bool]:
    """Which traits of an object came out as asked; what wasn't asked for agrees, save motions."""
    return {
        "color": wish["color"] in (None, seen["color"]),
        "shape": wish["shape"] == seen["shape"],
        "motion": wish["motions"] == seen["motions"],
    }


def pairs(text: Description, paths: Sequence[Path]) -> list[tuple[int, int]]:
    """(wish, path) by whichever pairing makes most traits agree."""
    wanted, seen = asked(text), [shown(path) for path in paths]
    count = min(len(wanted), len(seen))

    def agreement(order: tuple[int, ...]) -> float:
        pairs = [agrees(wanted[w], seen[p]) for p, w in enumerate(order)]
        return sum(2 * a["color"] + 2 * a["shape"] + a["motion"] for a in pairs)

    if count < len(seen):  # more was seen than asked for: the first ones found are paired
        seen = seen[:count]
    best = max(itertools.permutations(range(len(wanted)), count), key=agreement)
    return sorted((wish, path) for path, wish in enumerate(best))


def stage(
    text: Description,
    paths: Sequence[Path],
    setting: str,
    *,
    width: int,
    height: int,
    duration_s: float,
    seed: int,
) -> Scene:
    """The scene of a decoded clip, dressed as the prompt says; ``caption`` tells what it shows."""
    rng = np.random.Generator(np.random.PCG64(seed))
    wishes = traits.wishes(text)
    of_path = {path: wishes[wish] for wish, path in pairs(text, paths)} if wishes else {}
    bodies = [
        _body(path, of_path.get(index, Wish()), duration_s, rng) for index, path in enumerate(paths)
    ]
    time = text.time or ("night" if "stars" in text.weather else "day")
    scene = Scene(
        width, height, duration_s, seed, tuple(bodies), setting,
        text.setting_color if text.setting == setting else None,
        "night" if setting == "space" else time, tuple(text.weather), None, text.music,
    )  # fmt: skip
    return Scene(**{**scene.__dict__, "caption": caption(scene)})


def _body(path: Path, wish: Wish, duration_s: float, rng: np.random.Generator) -> Body:
    moves = motions(path)
    bounces = moves.get("height") == "bounce"
    casual = "rubber" if bounces else _CASUAL[int(rng.integers(len(_CASUAL)))]
    seed = int(rng.integers(2**31))
    material = wish.traits.get("material") or casual
    natural = wish.traits.get("material") in NATURAL and "color" not in wish.traits
    color = None if natural else path.color
    pattern, tone = wish.traits.get("pattern"), wish.traits.get("tone")
    told = [tone, pattern, color, _SAID.get(material, material), path.shape]
    steady = "scale" not in moves
    radius = float(np.median(path.radius) if steady else path.radius.max())
    values = tuple(moves.values())
    if wish.motions.get("turn") == "spin":
        values = (*values, "spin")
    return Body(
        " ".join(word for word in told if word), path.shape, color, material, pattern, tone,
        radius, _track(path, wish, material, radius, steady, moves, duration_s), values, seed,
    )  # fmt: skip


def _track(
    path: Path, wish: Wish, material: str, radius: float, steady: bool, moves: dict[str, str],
    duration_s: float,
) -> Sampled:  # fmt: skip
    count = len(path.x)
    frame_s = np.arange(count) / RATE
    fine = np.arange((count - 1) * _FINE + 1) / (RATE * _FINE)
    contacts = tuple(hit for hit in path.contacts if hit[0] < duration_s)
    # on the floor at every contact, wherever it lies between two frames
    knots = sorted([*zip(frame_s, path.y, strict=True), *((t, 0.0) for t, _ in path.contacts)])
    y = np.interp(fine, [t for t, _ in knots], [v for _, v in knots])
    y = y * np.clip(y / 0.05, 0, 1)  # what all but touches the floor, touches it
    x, z = np.interp(fine, frame_s, path.x), np.interp(fine, frame_s, path.z)
    size = np.full_like(fine, 1.0) if steady else np.interp(fine, frame_s, path.radius / radius)
    across = moves.get("across")
    rolls = (
        across in ("left", "right") and "height" not in moves and path.shape in ROUND
        and wish.motions.get("turn") in (None, "roll")
    )  # fmt: skip
    roll = -(x - x[0]) / radius if rolls else np.zeros_like(fine)
    turned = 0.5 if path.shape in TURNED and not rolls else 0.25
    yaw = np.full_like(fine, turned if x[0] <= 0 else -turned)
    if wish.motions.get("turn") == "spin":
        yaw = yaw + _SPIN * fine
    return Sampled(
        x=float(x[0]), z=float(z[0]), radius=radius, roll=rolls,
        reach=(float(x.min()), float(x.max())) if across else None,
        soft={"rubber": 0.045, "light": 0.02}.get(material, 0.0),
        path=np.stack([x, y, z, yaw, roll, size], axis=1), rate=float(RATE * _FINE),
        contacts=contacts,
    )  # fmt: skip
