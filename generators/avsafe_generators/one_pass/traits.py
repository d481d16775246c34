"""What the model is told: traits of a parsed prompt as whole numbers. 0 is "not said".

Legend: ``k`` objects. The words are those of the ``world`` generator, in its five languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.parse import Description, Wish
from avsafe_generators.world.scene import COLORS, SIZES

OBJECTS = 2  # that one clip can show
COLOR = tuple(COLORS)
SHAPE = (
    "ball", "cube", "brick", "pyramid", "star", "ring", "cylinder", "cone", "heart", "diamond",
    "capsule", "coin", "cross", "egg", "moon", "nut",
)  # fmt: skip
SIZE = tuple(SIZES)
ACROSS = ("left", "right", "orbit", "still")
HEIGHT = ("up", "down", "bounce", "fall", "jump", "float")
DEPTH = ("approach", "recede")
SCALE = ("grow", "shrink")
SPEED = ("slow", "fast")
PLACE = ("left", "right")
SETTING = (
    "studio", "room", "sky", "sea", "desert", "grass", "forest", "mountains", "snowfield", "city",
    "space",
)  # fmt: skip
PHASE = ("whole", "first", "later")  # of a clip that is one window, or of a longer one
MOTIONS = {"across": ACROSS, "height": HEIGHT, "depth": DEPTH, "scale": SCALE}

# Sizes of the tables: what can be said, and 0.
FIELDS = (2, *(len(v) + 1 for v in (COLOR, SHAPE, SIZE, *MOTIONS.values(), SPEED, PLACE)))
SCENE_FIELDS = (len(SETTING) + 1, len(PHASE) + 1, OBJECTS + 2)


@dataclass(frozen=True)
class Traits:
    """Conditioning of one clip."""

    objects: NDArray[np.int64]  # (OBJECTS, len(FIELDS)); a row of zeros: no object
    scene: NDArray[np.int64]  # (len(SCENE_FIELDS),)


def _number(value: str | None, table: tuple[str, ...]) -> int:
    return table.index(value) + 1 if value in table else 0


def wishes(text: Description) -> list[Wish]:
    """The objects asked for, one entry each, as many as a clip can show."""
    return [wish for wish in text.wishes for _ in range(wish.count)][:OBJECTS]


def of(text: Description, phase: str = "whole") -> Traits:
    """
    >>> from avsafe_generators.world.parse import parse
    >>> of(parse("a red ball")).objects[0, :3].tolist()  # there, red, ball
    [1, 1, 1]
    """
    objects = np.zeros((OBJECTS, len(FIELDS)), np.int64)
    asked = wishes(text)
    for row, wish in zip(objects, asked, strict=False):
        row[:] = [
            1,
            _number(wish.traits.get("color"), COLOR),
            _number(wish.shape or "ball", SHAPE),
            _number(wish.traits.get("size"), SIZE),
            *(_number(wish.motions.get(axis), values) for axis, values in MOTIONS.items()),
            _number(wish.speed, SPEED),
            _number(wish.place, PLACE),
        ]
    scene = [_number(text.setting, SETTING), _number(phase, PHASE), len(asked) + 1]
    return Traits(objects, np.array(scene, np.int64))


def nothing() -> Traits:
    """The condition of guidance: nothing said at all."""
    return Traits(np.zeros((OBJECTS, len(FIELDS)), np.int64), np.zeros(len(SCENE_FIELDS), np.int64))
