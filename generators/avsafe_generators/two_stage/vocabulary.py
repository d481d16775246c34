"""What the two networks were taught: the lists that their weights are in order of.

A change of a list needs new weights (``python -m avsafe_generators.train two-stage``).
"""

from __future__ import annotations

from avsafe_generators.world import words
from avsafe_generators.world.words import Concept

SHAPES = ("ball", "cube", "brick", "pyramid", "star", "ring", "cylinder", "cone", "heart",
          "diamond", "capsule", "coin", "cross", "egg", "moon", "nut")  # fmt: skip
COLORS = ("none", "red", "green", "blue", "yellow", "orange", "purple", "pink", "white", "black",
          "gray", "brown", "cyan")  # fmt: skip
MATERIALS = ("wood", "metal", "gold", "silver", "copper", "glass", "rubber", "stone", "marble",
             "plastic", "ice", "clay", "light")  # fmt: skip
PATTERNS = ("none", "striped", "dotted", "checked")
TONES = ("none", "light", "dark")
SETTINGS = ("studio", "room", "sky", "sea", "desert", "grass", "forest", "mountains", "snowfield",
            "city", "space")  # fmt: skip
TIMES = ("day", "sunset", "dawn", "night")
WEATHERS = ("rain", "snow", "stars", "fog")
CAMERAS = ("none", "pan-left", "pan-right", "zoom-in", "zoom-out")
SIZES = ("tiny", "small", "medium", "big", "huge")
SPEEDS = ("fast", "slow")
MOTIONS = ("left", "right", "orbit", "still", "up", "down", "bounce", "fall", "jump", "float",
           "roll", "slide", "spin", "approach", "recede", "grow", "shrink")  # fmt: skip
MAX_OBJECTS = 2
MAX_TOKENS = 18

_KINDS = {
    "shape": SHAPES, "color": COLORS[1:], "material": MATERIALS, "pattern": PATTERNS[1:],
    "tone": TONES[1:], "setting": SETTINGS, "time": TIMES, "weather": WEATHERS,
    "camera": CAMERAS[1:], "size": SIZES, "speed": SPEEDS, "motion": MOTIONS, "count": ("2",),
}  # fmt: skip
PAD, AND = 0, 1
_IDS = {
    Concept(kind, value): number
    for number, (kind, value) in enumerate(
        ((kind, value) for kind, values in _KINDS.items() for value in values), start=2
    )
}
N_TOKENS = 2 + len(_IDS)


def concepts_of(prompt: str) -> list[Concept | None]:
    """The concepts of a prompt in its order; None stands for a joiner ("and", a comma).

    >>> [c and c.value for c in concepts_of("a red ball and two cubes")]
    ['red', 'ball', None, '2', 'cube']
    """
    table, found = words.lookup(), list[Concept | None]()
    text = words.tokens(prompt)
    skip = False
    for at, word in enumerate(text):
        if skip:
            skip = False
            continue
        follows = text[at + 1 : at + 4]
        if word in words.NEGATIONS:
            skip = True
        elif word in words.JOINERS:
            found.append(None)
        elif word in words.CAMERA:
            side = next((c for c in follows if c in table and table[c].kind == "motion"), None)
            if side and table[side].value in ("left", "right"):
                found.append(Concept("camera", f"pan-{table[side].value}"))
                text[at + 1 + follows.index(side)] = "the"
        elif word in words.FROM:
            side = next((c for c in follows if c in table and table[c].kind == "motion"), None)
            if side and table[side].value in ("left", "right"):
                other = "right" if table[side].value == "left" else "left"
                found.append(Concept("motion", other))
                text[at + 1 + follows.index(side)] = "the"
        elif word in table:
            concept = table[word]
            if concept == Concept("camera", "zoom-in") and words.OUT & set(follows):
                concept = Concept("camera", "zoom-out")
            found.append(concept)
    return found


def tokens(concepts: list[Concept | None]) -> list[int]:
    """``MAX_TOKENS`` numbers, padded; concepts that the networks don't know are left out.

    >>> tokens([Concept("shape", "ball"), None])[:3]
    [2, 1, 0]
    """
    ids = [AND if c is None else _IDS.get(c, PAD) for c in concepts]
    ids = [i for at, i in enumerate(ids) if i != PAD and not (i == AND and at == 0)][:MAX_TOKENS]
    return ids + [PAD] * (MAX_TOKENS - len(ids))


def known(concept: Concept) -> bool:
    """Whether the networks were taught this concept."""
    return concept in _IDS
