"""From a description to a scene: what the prompt leaves open is drawn from the seed.

Legend: lengths in units (half the shorter side of the frame, at depth 0), times in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avsafe_generators.world.parse import Description, Wish, phrases
from avsafe_generators.world.relations import arrange
from avsafe_generators.world.tracks import (
    GRAVITY,
    Flight,
    Impact,
    Track,
    falling,
    jumping,
    resting,
)
from avsafe_generators.world.words import Concept

# sRGB 0..1
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.12, 0.12), "green": (0.13, 0.62, 0.22), "blue": (0.13, 0.30, 0.86),
    "yellow": (0.97, 0.82, 0.13), "orange": (0.96, 0.48, 0.08), "purple": (0.50, 0.17, 0.72),
    "pink": (0.96, 0.50, 0.68), "white": (0.93, 0.93, 0.92), "black": (0.07, 0.07, 0.08),
    "gray": (0.52, 0.53, 0.55), "brown": (0.45, 0.27, 0.14), "cyan": (0.10, 0.72, 0.76),
}  # fmt: skip
SIZES = {"tiny": 0.13, "small": 0.18, "medium": 0.25, "big": 0.34, "huge": 0.44}  # radius
# Share of the speed that a contact with a hard floor leaves; handbook orders of magnitude, raised a
# little for the soft ones so that a clip of a few seconds shows more than one contact.
RESTITUTION = {
    "rubber": 0.83, "plastic": 0.74, "metal": 0.62, "gold": 0.5, "silver": 0.55, "copper": 0.55,
    "wood": 0.58, "glass": 0.66, "stone": 0.42, "marble": 0.5, "ice": 0.5, "clay": 0.45,
    "light": 0.75,
}  # fmt: skip
FLOOR_KEEPS = {
    "sea": 0.72,
    "desert": 0.7,
    "grass": 0.8,
    "forest": 0.75,
    "snowfield": 0.65,
}  # else 1
SURFACE = {
    "sea": "sand", "desert": "sand", "grass": "grass", "forest": "earth", "snowfield": "snow",
    "mountains": "stone", "city": "stone", "room": "wood", "sky": "cloud", "space": "stone",
    "studio": "hard", "stage": "wood",
}  # fmt: skip
PULL = {"space": 0.35, "sky": 0.8}  # share of the usual gravity
NATURAL = frozenset(
    ("wood", "metal", "gold", "silver", "copper", "stone", "marble", "ice", "glass")
)
ROUND = frozenset(("ball", "ring", "coin", "egg"))  # these roll when they move along the floor
TURNED = frozenset(("cube", "brick", "pyramid", "nut", "cylinder"))  # look better at an angle
SPEED = {"fast": 1.7, "slow": 0.55}
_HEADROOM = {"zoom-in": 1.3, "zoom-out": 1.3, "tilt-up": 1.2, "tilt-down": 1.2, "shake": 1.06}
AXES = ("across", "height", "depth", "turn", "scale")


@dataclass(frozen=True)
class Body:
    """One object with its looks and its motion."""

    name: str  # "red rubber ball"
    shape: str
    color: str | None
    material: str
    pattern: str | None
    tone: str | None
    radius: float
    track: Track
    motions: tuple[str, ...]
    seed: int
    relation: str | None = None  # what it does to another object, or how it stands to it
    target: int | None = None  # number of that object

    @property
    def impacts(self) -> tuple[Impact, ...]:
        return self.track.impacts()


@dataclass(frozen=True)
class Scene:
    """All that the renderer and the synthesiser need; equal scenes give equal output."""

    width: int
    height: int
    duration_s: float
    seed: int
    bodies: tuple[Body, ...]
    setting: str
    setting_color: str | None
    time: str
    weather: tuple[str, ...]
    camera: str | None
    music: bool
    caption: str = ""
    dropped: int = 0
    light: str | None = None

    def impacts(self) -> list[dict[str, Any]]:
        """Every contact before the end, in order of time: with the floor, or (``other`` and
        ``other_name``; ``surface`` is then its material) with another object."""
        rows = [
            {"time_s": round(hit.time_s, 6), "object": index, "name": body.name,
             "material": body.material, "surface": self._surface(hit.other),
             "speed": round(hit.speed, 4)} | self._other(hit.other)
            for index, body in enumerate(self.bodies)
            for hit in body.impacts
            if hit.time_s < self.duration_s and hit.leads
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (row["time_s"], row["object"]))

    def _surface(self, other: int) -> str:
        return self.bodies[other].material if other >= 0 else SURFACE[self.setting]

    def _other(self, other: int) -> dict[str, Any]:
        return {"other": other, "other_name": self.bodies[other].name} if other >= 0 else {}

    def as_json(self) -> dict[str, Any]:
        """Plain data for the manifest or a metric: setting and objects."""
        return {
            "setting": self.setting,
            "time": self.time,
            "weather": list(self.weather),
            "camera": self.camera,
            "music": self.music,
            "light": self.light,
            "objects": [
                {"shape": b.shape, "color": b.color, "material": b.material, "pattern": b.pattern,
                 "radius": round(b.radius, 4), "motions": list(b.motions)}
                | ({"relation": b.relation, "target": b.target} if b.relation else {})
                for b in self.bodies
            ],
        }  # fmt: skip


@dataclass
class _Stage:
    """What the placement of objects needs to know."""

    half_width: float  # usable, at depth 0
    top: float  # height of the frame above the floor
    duration_s: float
    pull: float
    keeps: float
    rng: np.random.Generator = field(repr=False)


def plan(
    text: Description, *, width: int, height: int, duration_s: float, seed: int
) -> Scene:  # fmt: skip
    """Fill in what the prompt leaves open, place the objects, and say in a caption what came of
    it."""
    rng = np.random.Generator(np.random.PCG64(seed))
    setting = text.setting or _pick(
        ("studio", "grass", "room", "sky", "desert"), rng, text, "setting"
    )
    if "snow" in text.weather and text.setting is None:
        setting = "snowfield"
    time = text.time or ("night" if "stars" in text.weather else "day")
    if setting == "space":
        time = "night"
    unit = min(width, height) / 2
    margin = 0.10 + 0.24 * (text.camera is not None)
    stage = _Stage(
        half_width=width / 2 / unit * (1 - margin),
        top=1.60 / _HEADROOM.get(text.camera or "", 1.0),
        duration_s=duration_s,
        pull=GRAVITY * PULL.get(setting, 1.0),
        keeps=FLOOR_KEEPS.get(setting, 1.0),
        rng=rng,
    )
    wishes = [w for wish in text.wishes for w in [wish] * wish.count]
    bodies = _place(wishes, text, stage)
    if any(wish.target is not None for wish in wishes):
        bodies = arrange(wishes, bodies, stage.half_width, duration_s)
    scene = Scene(
        width, height, duration_s, seed, tuple(bodies), setting, text.setting_color, time,
        tuple(text.weather), text.camera, text.music, dropped=text.dropped, light=text.light,
    )  # fmt: skip
    return Scene(**{**scene.__dict__, "caption": caption(scene)})


def _pick(options: Sequence[str], rng: np.random.Generator, text: Description, kind: str) -> str:
    allowed = [o for o in options if Concept(kind, o) not in text.excluded] or list(options)
    return allowed[int(rng.integers(len(allowed)))]


def _place(wishes: list[Wish], text: Description, stage: _Stage) -> list[Body]:
    """Side by side in slots, each in a depth lane of its own when anything crosses the frame."""
    count = len(wishes)
    radii = [SIZES[w.traits.get("size", "medium")] for w in wishes]
    fit = min(1.0, 2 * stage.half_width / (2.3 * sum(radii) + 1e-9))
    fit = max(fit, 0.5)
    crossing = any(
        {"left", "right", "orbit", "roll", "slide"} & set(w.motions.values()) for w in wishes
    )
    bodies = []
    looks: dict[int, tuple[str | None, str]] = {}  # objects of one wish look the same
    for index, wish in enumerate(wishes):
        radius = radii[index] * fit
        if id(wish) not in looks:
            looks[id(wish)] = _looks(wish, text, stage.rng)
        z = 0.1 + index * (0.5 if crossing else 0.0) + (0.28 * (index % 2) if count > 2 else 0.0)
        free = max(stage.half_width - radius, 0.05)
        slot = 0.0 if count == 1 else (2 * (index + 0.5) / count - 1) * free
        slot += float(stage.rng.uniform(-0.06, 0.06))
        if wish.place:
            slot = free * (-0.65 if wish.place == "left" else 0.65)
        x = float(np.clip(slot, -free, free))
        bodies.append(_body(wish, looks[id(wish)], radius, x, z, free, (index, count), stage))
    return bodies


def _looks(wish: Wish, text: Description, rng: np.random.Generator) -> tuple[str | None, str]:
    """(colour, material); a natural material that was asked for keeps its own colour."""
    material = wish.traits.get("material") or _pick(
        ("rubber", "plastic", "wood", "metal"), rng, text, "material"
    )
    color = wish.traits.get("color")
    if color is None and not ("material" in wish.traits and material in NATURAL):
        color = _pick(tuple(COLORS)[:7], rng, text, "color")
    return color, material


def _body(
    wish: Wish, looks: tuple[str | None, str], radius: float, x: float, z: float, free: float,
    order: tuple[int, int], stage: _Stage,
) -> Body:  # fmt: skip
    shape = wish.shape or "ball"
    color, material = looks
    track, motions = _track(wish, shape, radius, x, z, free, material, order, stage)
    traits = [wish.traits.get(key) for key in ("size", "tone", "pattern")]
    told = [*traits, color, _ADJECTIVE.get(material, material), shape]
    name = " ".join(word for word in told if word)
    return Body(
        name, shape, color, material, wish.traits.get("pattern"), wish.traits.get("tone"), radius,
        track, motions, int(stage.rng.integers(2**31)),
    )  # fmt: skip


def _track(
    wish: Wish, shape: str, radius: float, x: float, z: float, free: float, material: str,
    order: tuple[int, int], stage: _Stage,
) -> tuple[Track, tuple[str, ...]]:  # fmt: skip
    rng, want = stage.rng, dict(wish.motions)
    pace = SPEED.get(wish.speed or "", 1.0)
    pull = stage.pull * pace * pace
    draw = rng.uniform(size=6)  # the same number of draws whatever moves, so seeds stay comparable
    headroom = max(stage.top - 2 * radius, 0.25)
    parts: dict[str, Any] = {"phase": float(draw[0] * 2 * np.pi)}
    travel = float(np.clip(stage.duration_s - 0.05, 1.5, 7.0)) / pace
    parts["travel_s"] = travel
    lag = 0.7 * free * order[0] / max(order[1], 2)  # several that cross don't hide one another
    sides = (-free + lag, free - 0.7 * free * (order[1] > 1) + lag)
    if want.get("turn") in ("roll", "slide") and "across" not in want:
        want["across"] = "right" if draw[1] < 0.5 else "left"
    grounded = "height" not in want
    match want.get("across"):
        case "left" | "right":
            parts["reach"] = sides if want["across"] == "right" else (-sides[0], -sides[1])
            parts["roll"] = want.get("turn") == "roll" or (
                grounded and shape in ROUND and want.get("turn") is None
            )
        case "orbit":
            half = min(0.62, free)
            parts["orbit"] = (half, 0.32, 2 * np.pi / 4.0 * pace)
            z, x = z + 0.34, float(np.clip(x, -(free - half), free - half))
        case "swing":
            parts["swing"] = (min(1.0, headroom), min(0.6, free), 2 * np.pi / 2.2 * pace)
            parts["hover"] = (0.12, 0.0, 0.0)
            x = float(np.clip(x, -(free - 0.5), free - 0.5)) if free > 0.5 else 0.0
    flight: Flight = resting()
    keep = RESTITUTION[material] * stage.keeps
    drop = min(1.15, headroom) * (0.86 + 0.14 * draw[2])
    first = np.sqrt(2 * drop / pull)
    match want.get("height"):
        case "bounce":
            flight = falling(drop, max(keep, 0.45), start_s=float((draw[3] - 0.75) * first * 0.8),
                             end_s=stage.duration_s, pull=pull, driven=True)  # fmt: skip
        case "fall":
            flight = falling(headroom * 0.96, keep, start_s=0.12 + 0.5 * float(draw[3]),
                             end_s=stage.duration_s, pull=pull)  # fmt: skip
        case "jump":
            flight = jumping(drop * 0.6, start_s=0.15 + 0.5 * float(draw[3]),
                             end_s=stage.duration_s, pull=pull, pause_s=0.3 / pace)  # fmt: skip
        case "float":
            parts["hover"] = (headroom * 0.42, 0.09, 2 * np.pi / 3.0 * pace)
        case "up" | "down":
            ends = (0.02, headroom * 0.94)
            parts["climb"] = ends if want["height"] == "up" else ends[::-1]
    match want.get("turn"):
        case "spin":
            parts["spin"] = 2 * np.pi * 0.45 * pace * (1 if draw[4] < 0.5 else -1)
        case "shake":
            parts["shake"] = 0.025
    if "depth" in want:
        parts["depth"] = (1.7, 0.0) if want["depth"] == "approach" else (0.0, 1.7)
    if "scale" in want:
        parts["growth"] = (0.45, 1.0) if want["scale"] == "grow" else (1.0, 0.45)
    yaw = 0.5 + 0.35 * float(draw[5]) if shape in TURNED and not parts.get("roll") else 0.25
    parts["yaw"] = yaw if x <= 0 else -yaw
    parts["soft"] = {"rubber": 0.045, "light": 0.02}.get(material, 0.0)
    track = Track(x=x, z=z, radius=radius, flight=flight, **parts)
    return track, tuple(want[axis] for axis in AXES if axis in want)


_ING = {
    "left": "moving left", "right": "moving right", "orbit": "orbiting", "swing": "swinging",
    "still": "at rest", "up": "rising", "down": "sinking", "bounce": "bouncing", "fall": "falling",
    "jump": "jumping", "float": "floating", "roll": "rolling", "slide": "sliding",
    "spin": "spinning", "shake": "shaking", "approach": "coming closer", "recede": "moving away",
    "grow": "growing", "shrink": "shrinking",
}  # fmt: skip
_WHERE = {
    "studio": "in a studio", "room": "in a room", "sky": "in the sky above clouds",
    "sea": "on a beach by the sea", "desert": "in a desert", "grass": "on a meadow",
    "forest": "in a forest", "mountains": "in front of mountains",
    "snowfield": "on a field of snow",
    "city": "in front of a city", "space": "on a moon in space", "stage": "on a stage",
}  # fmt: skip
_CAMERA = {
    "pan-left": "the camera pans left", "pan-right": "the camera pans right",
    "zoom-in": "the camera zooms in", "zoom-out": "the camera zooms out",
    "tilt-up": "the camera tilts up", "tilt-down": "the camera tilts down",
    "shake": "the camera shakes",
}  # fmt: skip


_DOING = {
    "hit": "striking", "push": "pushing", "chase": "chasing", "around": "circling around",
    "stack": "on top of", "beside": "next to", "leftof": "to the left of",
    "rightof": "to the right of", "behind": "behind", "front": "in front of",
}  # fmt: skip
_LIGHT = {"spot": "in a spotlight", "warm": "in warm light", "golden": "in golden light",
          "neon": "in neon light", "back": "lit from behind"}  # fmt: skip
_ADJECTIVE = {"light": "glowing", "wood": "wooden", "gold": "golden", "ice": "icy"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


def _plural(name: str) -> str:
    return "es" if name.endswith("s") else "s"


def caption(scene: Scene) -> str:
    """What is really shown, in one English sentence: choices of the seed included."""
    groups: dict[tuple[str, tuple[str, ...]], int] = {}
    things, told = _related(scene)
    for index, body in enumerate(scene.bodies):
        if index not in told:
            groups[body.name, body.motions] = groups.get((body.name, body.motions), 0) + 1
    for (name, motions), count in groups.items():
        noun = (
            f"{_article(name)} {name}" if count == 1 else f"{_NUMBERS[count]} {name}{_plural(name)}"
        )
        things.append(f"{noun} {phrases(_ING[m] for m in motions) or 'at rest'}")
    where = _WHERE[scene.setting]
    if scene.setting_color and scene.setting == "studio":
        where = f"in a {scene.setting_color} studio"
    elif scene.setting_color:
        where += f", tinted {scene.setting_color}"
    at = {"day": "by day", "night": "at night", "sunset": "at sunset", "dawn": "at dawn"}[
        scene.time
    ]
    extra = [_LIGHT[scene.light]] if scene.light else []
    extra += [f"with {phrases(scene.weather)}"] if scene.weather else []
    extra += [_CAMERA[scene.camera]] if scene.camera else []
    extra += ["with music"] if scene.music else []
    sentence = ", ".join([f"{phrases(things) or 'an empty scene'} {where} {at}", *extra])
    return sentence[0].upper() + sentence[1:] + "."


_MUTUAL = ("hit", "chase", "stack", "beside")


def _related(scene: Scene) -> tuple[list[str], set[int]]:
    """What objects do to one another, in words, and the numbers of those that are told of."""
    bodies, told, things = scene.bodies, set[int](), list[str]()
    for index, body in enumerate(bodies):
        if body.relation is None or body.target is None:
            continue
        target = bodies[body.target]
        struck = [k for k, b in enumerate(bodies) if b.name == target.name and k != index]
        pile = [k for k, b in enumerate(bodies) if b.name == body.name]
        if len(pile) > 1 and body.relation in _MUTUAL and body.name == target.name:
            if index not in told:
                count, verb = _NUMBERS[len(pile)], _DOING[body.relation]
                things.append(f"{count} {body.name}{_plural(body.name)} {verb} one another")
            told |= set(pile)
            continue
        several = len(struck) > 1 and body.relation == "hit" and body.name != target.name
        name = (
            f"{_NUMBERS[len(struck)]} {target.name}{_plural(target.name)}"
            if several
            else (f"{'the' if body.target in told else _article(target.name)} {target.name}")
        )
        if body.name == target.name:
            name = "another"
        if body.target not in told and target.relation is None and not several:
            ways = [_ING[m] for m in target.motions if body.relation not in ("hit", "push")]
            name += f" {phrases(ways)}" if ways else ""
        doing = [_ING[m] for m in body.motions if m not in ("left", "right", "roll")]
        which = "the" if index in told else _article(body.name)
        verb = phrases([*doing, _DOING[body.relation]]) if doing else _DOING[body.relation]
        things.append(f"{which} {body.name} {verb} {name}")
        told |= {index, body.target, *(struck if several else ())}
    return things, told


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"
