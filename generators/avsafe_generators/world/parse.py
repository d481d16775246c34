"""Prompt -> what to show. Tolerant: it takes the words it knows and reports the ones it doesn't.

The grammar: adjectives wait for the next noun; after a noun, in the same clause, they go back to it
when it still lacks them ("boule rouge", "the ball is red"). Motions belong to the last object of
the clause, or wait for the next one. What is left over at the end belongs to all objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from avsafe.errors import NotUnderstood
from avsafe_generators.world import words
from avsafe_generators.world.words import Concept

ADJECTIVES = frozenset(("color", "material", "pattern", "size", "tone"))
# Motions of one kind exclude one another; those of different kinds add up.
AXIS_OF_MOTION = {
    **dict.fromkeys(("left", "right", "orbit", "swing", "still"), "across"),
    **dict.fromkeys(("up", "down", "bounce", "fall", "jump", "float"), "height"),
    **dict.fromkeys(("roll", "slide", "spin", "shake"), "turn"),
    **dict.fromkeys(("approach", "recede"), "depth"),
    **dict.fromkeys(("grow", "shrink"), "scale"),
}
# What an object that does this to another may still do besides, and what the other may.
MAY_ALSO = {
    "hit": (("left", "right", "roll", "slide"), ()),
    "push": (("left", "right", "roll", "slide"), ()),
    "chase": (("spin",), ("spin",)),
    "around": (("spin", "shake"), ("spin", "shake", "bounce", "jump", "float", "grow", "shrink")),
    "stack": (("spin", "shake"), ("spin", "slide", "left", "right", "bounce", "jump",
                                  "float", "up", "down", "orbit", "still")),
    **dict.fromkeys(
        ("beside", "leftof", "rightof", "behind", "front"),
        (("spin", "shake", "bounce", "fall", "jump", "float", "up", "down", "grow", "shrink",
          "still"),) * 2,
    ),
}  # fmt: skip
_MAX_REPORTED = 200  # words listed in `ignored`; the number of all of them is reported beside it
_MAX_WORD = 40  # letters shown of one unknown word


@dataclass
class Wish:
    """One object as asked for; None where the prompt leaves the choice to the seed."""

    shape: str | None = None
    count: int = 1
    traits: dict[str, str] = field(default_factory=dict)  # color, material, pattern, size, tone
    motions: dict[str, str] = field(default_factory=dict)  # axis -> motion
    place: str | None = None  # left | right
    speed: str | None = None
    relation: str | None = None  # what it does to `target`, or how it stands to it
    target: Wish | None = None  # itself: the objects of one wish do it to one another


@dataclass
class Description:
    """What was understood of a prompt, and what was not."""

    wishes: list[Wish] = field(default_factory=list)
    setting: str | None = None
    setting_color: str | None = None
    time: str | None = None
    weather: list[str] = field(default_factory=list)
    camera: str | None = None
    music: bool = False
    understood: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)  # known, but with nothing to apply to
    ignored: list[str] = field(default_factory=list)
    n_ignored: int = 0
    excluded: frozenset[Concept] = frozenset()
    light: str | None = None  # spot | warm | golden | neon | back
    dropped: int = 0  # objects beyond words.MAX_COUNT


class _Reader:
    """The state of one left-to-right reading."""

    def __init__(self, excluded: frozenset[Concept]) -> None:
        self.out = Description(excluded=excluded)
        self.waiting = Wish()  # adjectives, number and motions that wait for their noun
        self.last: Wish | None = None  # the object that words after it may still describe
        self.clause_has_object = False
        self.pending: tuple[Wish, str] | None = None  # a relation that waits for its other object

    def adjective(self, concept: Concept, *, noun_follows: bool) -> None:
        goes_back = (
            self.last is not None
            and self.clause_has_object
            and not noun_follows
            and concept.kind not in self.last.traits
        )
        target = self.last if goes_back and self.last is not None else self.waiting
        target.traits[concept.kind] = concept.value

    def motion(self, value: str) -> None:
        target = self.last if self.last is not None and self.clause_has_object else self.waiting
        target.motions[AXIS_OF_MOTION[value]] = value

    def shape(self, value: str) -> None:
        wish, self.waiting = self.waiting, Wish()
        if (
            self.last is not None
            and not wish.traits
            and wish.count == 1
            and self.last.shape is None
        ):
            wish = self.last
        wish.shape = value
        if self.pending is not None and self.pending[0] is not wish:
            self.pending[0].relation, self.pending[0].target = self.pending[1], wish
            self.pending = None
        self.last = wish
        self.clause_has_object = True
        self.out.wishes.append(wish)

    def relation(self, value: str) -> None:
        subject = self.last
        if subject is not None and subject.relation is None:
            self.pending = (subject, value)

    def drop_relation(self) -> None:
        """No other object came: several may do it among themselves, one may stand at a side."""
        if self.pending is None:
            return
        (subject, value), self.pending = self.pending, None
        if value in ("leftof", "rightof"):
            subject.place = value.removesuffix("of")
        elif subject.count > 1 and value in ("hit", "chase", "stack", "beside"):
            subject.relation, subject.target = value, subject

    def setting(self, value: str) -> None:
        if self.pending is not None and self.pending[0].count > 1:
            self.drop_relation()  # "two balls collide on grass"
        self.pending = None  # "in front of mountains"
        color = self.waiting.traits.pop("color", None)
        if self.waiting.traits.pop("tone", None) == "dark" and self.out.time is None:
            self.out.time = "night"
        self.out.setting = self.out.setting or value
        self.out.setting_color = self.out.setting_color or color

    def end_clause(self) -> None:
        """Adjectives that found no noun describe the object before them, where it lacks them."""
        self.drop_relation()
        if self.last is not None:
            for kind in list(self.waiting.traits):
                if kind not in self.last.traits:
                    self.last.traits[kind] = self.waiting.traits.pop(kind)
        self.clause_has_object = False


def parse(prompt: str, negative_prompt: str = "") -> Description:
    """Read a prompt. Linear in its length; never fails on odd characters.

    Raises NotUnderstood when nothing of it can be shown.

    >>> parse("two red balls bouncing by the sea").wishes[0].count
    2
    """
    reader = _Reader(_concepts_in(negative_prompt))
    tokens = words.tokens(prompt)
    _read(tokens, reader)
    _finish(reader)
    out = reader.out
    out.unused = [w for w in out.understood if words.lookup()[w] not in _used(out)]
    out.understood = [w for w in out.understood if w not in out.unused]
    if not (out.wishes or out.setting or out.time or out.weather or out.light):
        given = ", ".join(out.ignored[:8]) or "no words"
        raise NotUnderstood(
            f"The world generator understands nothing of this prompt ({given}). It knows a closed "
            "vocabulary in English, Italian, French, Spanish and German; for example: "
            f"{words.EXAMPLES}."
        )
    return out


def _used(out: Description) -> set[Concept]:
    """Every concept that changes what is shown, or that was left out because a prompt said so."""
    used = {Concept("weather", value) for value in out.weather} | set(out.excluded)
    used |= {Concept("setting", out.setting or ""), Concept("color", out.setting_color or "")}
    used |= {Concept("time", out.time or ""), Concept("light", out.light or "")}
    used.add(Concept("camera", out.camera or ""))
    if out.camera == "zoom-out":
        used.add(Concept("camera", "zoom-in"))
    if out.camera in ("tilt-up", "tilt-down"):
        used.add(Concept("motion", out.camera.removeprefix("tilt-")))
    if out.camera == "shake":
        used.add(Concept("motion", "shake"))
    if "stars" in out.weather or any(wish.shape == "star" for wish in out.wishes):
        used |= {Concept("weather", "stars"), Concept("shape", "star")}  # a plural may mean either
    if any(wish.shape == "moon" for wish in out.wishes):
        used.add(Concept("time", "night"))
    if out.music:
        used.add(Concept("sound", "music"))
    if out.time == "night":
        used.add(Concept("tone", "dark"))
    for wish in out.wishes:
        used |= {Concept(kind, value) for kind, value in wish.traits.items()}
        used |= {Concept("motion", value) for value in wish.motions.values()}
        used |= {Concept("shape", wish.shape or ""), Concept("speed", wish.speed or "")}
        used.add(Concept("relation", wish.relation or ""))
        used |= {Concept("count", str(number)) for number in range(2, words.MAX_COUNT + 1)}
        if wish.place:
            used |= {Concept("relation", f"{wish.place}of")}
        if wish.relation == "around":
            used.add(Concept("motion", "orbit"))
        if wish.place or {"left", "right"} & set(wish.motions.values()) or out.camera:
            used |= {Concept("motion", "left"), Concept("motion", "right")}
    return used


def _concepts_in(text: str) -> frozenset[Concept]:
    table = words.lookup()
    return frozenset(table[t] for t in words.tokens(text) if t in table)


def _read(tokens: list[str], reader: _Reader) -> None:
    table, out = words.lookup(), reader.out
    understood: dict[str, None] = {}
    ignored: dict[str, None] = {}
    negated: set[Concept] = set()
    negate = False
    content: list[str] = ["", ""]  # the two words before, articles left out
    for position, token in enumerate(tokens):
        if token in words.JOINERS:
            reader.end_clause()
            negate = False
            content = ["", ""]
            continue
        if token in words.NEGATIONS:
            negate = True
            continue
        if token in words.BACKGROUND and reader.waiting.traits.get("color"):
            reader.setting("studio")
        concept = table.get(token)
        if concept is None and token in words.CAMERA:
            content = [content[1], token]
            continue
        if concept is None:
            if token in words.STOP_WORDS or token in words.OUT:
                if token in words.FROM or token in words.PLACED:
                    content = [content[1], token]
                if token in words.OUT and out.camera == "zoom-in":
                    out.camera = "zoom-out"
            elif len(ignored) < _MAX_REPORTED or token in ignored:
                out.n_ignored += token not in ignored
                ignored[token[:_MAX_WORD]] = None
            else:
                out.n_ignored += 1
            content = [content[1], token] if token not in words.STOP_WORDS else content
            continue
        understood[token] = None
        if negate or concept in out.excluded:
            negated |= {concept}
            negate = negate and concept.kind in ADJECTIVES
        else:
            _take(concept, token, content, tokens[position + 1 : position + 6], reader)
        content = [content[1], token]
    reader.end_clause()
    out.excluded |= negated
    out.understood, out.ignored = list(understood), list(ignored)


def _take(
    concept: Concept, token: str, before: list[str], after: list[str], reader: _Reader
) -> None:
    out, value = reader.out, concept.value
    match concept.kind:
        case "motion" if value in ("left", "right") and set(before) & words.CAMERA:
            out.camera = f"pan-{value}"
        case "motion" if value in ("up", "down") and set(before) & words.CAMERA:
            out.camera = f"tilt-{value}"
        case "motion" if value == "shake" and set(before) & words.CAMERA:
            out.camera = "shake"
        case "relation":
            reader.relation(value)
        case "light":
            out.light = out.light or value
        case "motion" if value in ("left", "right") and before[1] in words.FROM:
            opposite = "right" if value == "left" else "left"
            reader.motion(opposite)
        case "motion" if value in ("left", "right") and before[1] in words.PLACED:
            (reader.last or reader.waiting).place = value
        case "motion":
            reader.motion(value)
        case "color" if set(after[:1]) & words.BACKGROUND or (
            set(before) & words.BACKGROUND and reader.last is not None
        ):
            out.setting, out.setting_color = out.setting or "studio", value
        case "color" | "material" | "pattern" | "size" | "tone":
            reader.adjective(concept, noun_follows=_noun_follows(after))
        case "shape" | "weather" if token in words.STAR_PLURALS:
            if _described(reader):
                reader.shape("star")
            elif "stars" not in out.weather:
                out.weather.append("stars")
        case "time" if token in words.MOONS and reader.waiting.traits:
            reader.shape("moon")
        case "shape":
            reader.shape(value)
        case "count":
            reader.waiting.count = int(value)
        case "speed":
            (reader.last or reader.waiting).speed = value
        case "setting":
            reader.setting(value)
        case "time":
            out.time = out.time or value
        case "weather":
            if value not in out.weather:
                out.weather.append(value)
        case "camera":
            out.camera = value
        case "sound":
            out.music = True


def _noun_follows(after: list[str]) -> bool:
    """Only adjectives, numbers and motions stand between here and the next noun."""
    for token in after:
        concept = words.lookup().get(token)
        if concept is None:
            return token in words.BACKGROUND
        if concept.kind in ("shape", "setting"):
            return True
        if concept.kind not in ADJECTIVES | {"count", "motion", "speed"}:
            return token in words.STAR_PLURALS | words.MOONS
    return False


def _described(reader: _Reader) -> bool:
    return bool(reader.waiting.traits) or reader.waiting.count > 1 or bool(reader.waiting.motions)


def _finish(reader: _Reader) -> None:
    """Give what is left over to all objects; a motion or a colour alone moves or paints a ball."""
    out, left = reader.out, reader.waiting
    tone = left.traits.pop("tone", None)
    if out.wishes:
        for wish in out.wishes:
            for axis, motion in left.motions.items():
                wish.motions.setdefault(axis, motion)
            wish.speed = wish.speed or left.speed
    elif left.traits or left.motions:
        out.wishes.append(left)
    elif tone == "dark" and out.setting and out.time is None:
        out.time = "night"
    for wish in out.wishes:
        _reconcile(wish, out.wishes)
    kept: list[Wish] = []
    for wish in out.wishes:
        room = words.MAX_COUNT - sum(w.count for w in kept)
        out.dropped += max(0, wish.count - room)
        if room > 0:
            wish.count = min(wish.count, room)
            kept.append(wish)
    out.wishes = kept
    for wish in kept:
        if wish.target is not None and not any(wish.target is other for other in kept):
            wish.relation = wish.target = None


def _reconcile(wish: Wish, wishes: list[Wish]) -> None:
    """An object that strikes another can't bounce at once: what can't be shown is let go of."""
    if wish.relation is None or wish.target is None:
        return
    if wish.target.target is not None and wish.target is not wish and wish.relation != "stack":
        chain = wish.relation in ("hit", "push", "chase", "around")
        if chain or wish.target.target is wish:
            wish.relation = wish.target = None  # "it hits a cube that hits a star": the last one
            return
    if wish.count > 1 and wish.target is not wish:
        wish.relation = wish.target = None  # several that strike one: not known how
        return
    subject, other = MAY_ALSO[wish.relation]
    for which, allowed in (
        (wish, subject),
        (wish.target, other if wish.target is not wish else subject),
    ):
        which.motions = {axis: m for axis, m in which.motions.items() if m in allowed}
        which.place = None if which is wish else which.place


def phrases(items: Iterable[str]) -> str:
    """Join as a person would.

    >>> phrases(["a", "b", "c"])
    'a, b and c'
    """
    listed = list(items)
    return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
