"""Prompt -> what the portrait should show. Takes the words it knows, reports the ones it doesn't.

Adjectives wait for the noun that they describe ("long red hair"); with no noun ahead in the clause
they go back to the noun before ("capelli rossi"). No name of a person is in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from avsafe.errors import NotUnderstood, UsageError
from avsafe_generators.portrait import words

_MAX_REPORTED = 200
_MAX_WORD = 40
_ADJECTIVES = ("color", "tone", "size", "curl", "shape")
_HAIR_COLORS = frozenset(
    ("black", "brown", "auburn", "red", "blond", "platinum", "gray", "white", "pink", "blue",
     "green", "purple", "orange")
)  # fmt: skip
_EYE_COLORS = {
    "blue": "blue", "cyan": "blue", "green": "green", "gray": "gray", "brown": "brown",
    "black": "dark brown", "hazel": "hazel",
}  # fmt: skip
_CLOTHES = frozenset(("crew", "shirt", "v-neck", "turtleneck", "suit", "clothes"))
_BEARDS = frozenset(("beard", "moustache", "goatee", "stubble"))


@dataclass
class Wish:
    """What the words say; None where they leave the choice to the seed."""

    sex: str | None = None
    age: str | None = None
    skin: int | None = None  # 1..10
    hair: str | None = None
    hair_color: str | None = None
    eyes: str | None = None
    beard: str | None = None
    glasses: str | None = None
    expression: str | None = None
    clothing: str | None = None
    cloth_color: str | None = None
    hat: str | None = None
    hat_color: str | None = None
    setting: str | None = None
    backdrop: str | None = None
    light: str | None = None
    turn: str | None = None
    freckles: float | None = None
    makeup: bool = False


@dataclass
class Reading:
    """A wish, and what became of each word."""

    wish: Wish = field(default_factory=Wish)
    understood: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)  # known, with nothing to apply to
    ignored: list[str] = field(default_factory=list)
    n_ignored: int = 0


@dataclass(frozen=True)
class _Word:
    text: str
    kind: str  # of the vocabulary, or "join", "not", "number", "stop", "unknown"
    value: str


def _split(prompt: str) -> list[_Word]:
    table, listed = words.lookup(), words.tokens(prompt)
    out: list[_Word] = []
    at = 0
    while at < len(listed):
        for length in (3, 2, 1):
            row = tuple(listed[at : at + length])
            if len(row) == length and row in table:
                kind, value = table[row]
                out.append(_Word(" ".join(row), kind, value))
                at += length
                break
        else:
            token = listed[at]
            kind = "unknown"
            if token in words.NEGATIONS:
                kind = "not"
            elif token in words.JOINERS:
                kind = "join"
            elif token.isdigit():
                kind = "number"
            elif token in words.STOP_WORDS or token in words.YEARS:
                kind = "stop"
            out.append(_Word(token, kind, token))
            at += 1
    return out


def read(prompt: str, negative_prompt: str = "") -> Reading:
    """Read a prompt. Linear in its length; never fails on odd characters.

    Raises UsageError when a child is asked for, NotUnderstood when no word is known.

    >>> read("a woman with long red hair and green eyes").wish.eyes
    'green'
    """
    _refuse_children(prompt)
    listed = _split(prompt)
    reading = Reading()
    reader = _Reader(reading)
    for index, word in enumerate(listed):
        reader.take(word, listed, index)
    reader.end_clause(final=True)
    _leave_out(reading.wish, negative_prompt)
    if (
        not any(getattr(reading.wish, f.name) not in (None, False) for f in fields(Wish))
        and not reader.known
    ):
        given = ", ".join(reading.ignored[:8]) or "no words"
        raise NotUnderstood(
            f"The portrait generator understands nothing of this prompt ({given}). It draws people "
            "who do not exist from a closed vocabulary; names of people are not understood. For "
            f"example: {words.EXAMPLES}."
        )
    reading.unused += reader.left_over
    reading.understood = [
        w for w in dict.fromkeys(reading.understood) if w not in set(reading.unused)
    ]
    return reading


def _refuse_children(prompt: str) -> None:
    listed = words.tokens(prompt)
    found = [t for i, t in enumerate(listed) if t in words.CHILDREN and not (
        i and listed[i - 1] in words.NEGATIONS)]  # fmt: skip
    ages = [
        int(t[:4]) for i, t in enumerate(listed)
        if t.isdigit() and set(listed[i + 1 : i + 3]) & words.YEARS and int(t[:4]) < 18
    ]  # fmt: skip
    if found or ages:
        what = f'"{found[0]}"' if found else f"an age of {ages[0]}"
        raise UsageError(
            f"The portrait generator draws adults only; the prompt asks for {what}. Write "
            '"young woman", "man", "old person" or an age of 18 or more.'
        )


class _Reader:
    """The state of one left-to-right reading."""

    def __init__(self, reading: Reading) -> None:
        self.out, self.wish = reading, reading.wish
        self.waiting: list[_Word] = []
        self.noun: str | None = None  # the last noun of the clause
        self.taken: set[str] = set()  # kinds that the last noun has already
        self.negated = False
        self.known = False
        self.left_over: list[str] = []

    def take(self, word: _Word, listed: list[_Word], index: int) -> None:
        wish, kind, value = self.wish, word.kind, word.value
        if kind == "unknown":
            self.out.n_ignored += 1
            short = word.text[:_MAX_WORD]
            if len(self.out.ignored) < _MAX_REPORTED and short not in self.out.ignored:
                self.out.ignored.append(short)
            return
        if kind == "join":
            # "blue and white shirt", "black, curly hair": adjectives may wait over a joiner
            if self.noun is not None:
                self.end_clause()
            self.negated = False
            return
        if kind == "not":
            self.negated = True
            return
        if kind == "number":
            after = {w.text for w in listed[index + 1 : index + 3]}
            years = int(word.text[:4])
            if after & words.YEARS and 18 <= years < 130:
                wish.age = "young adult" if years < 32 else "adult" if years < 60 else "old"
                self.out.understood.append(word.text)
                self.known = True
            return
        if kind == "stop":
            return
        self.out.understood.append(word.text)
        self.known = True
        if self.negated:
            self._without(kind, value)
            self.negated = kind in _ADJECTIVES
            return
        if kind in _ADJECTIVES:
            if self.noun is not None and kind not in self.taken and not _noun_ahead(listed, index):
                self._describe(self.noun, [word])
            else:
                self.waiting.append(word)
            return
        self._noun_or_fact(kind, value, word)

    def _noun_or_fact(self, kind: str, value: str, word: _Word) -> None:
        wish = self.wish
        match kind:
            case "noun":
                self._take_noun(value)
            case "sex":
                sex, _, age = value.partition("-")
                wish.sex = wish.sex or (sex if sex != "person" else None)
                wish.age = wish.age or (age or None)
                self._describe_person()
            case "haired":
                wish.hair_color = value
                hair = [w for w in self.waiting if w.kind in ("size", "curl")]
                self._describe("hair", hair)
                self.waiting = [w for w in self.waiting if w not in hair]
            case "hair":
                wish.hair = value
                self._describe("hair", self.waiting)
                self.waiting = []
                self.noun = "hair"
            case "trait":
                if value == "freckles":
                    wish.freckles = 1.0
                else:
                    wish.makeup = True
            case "light" if value == "warm" and self.waiting:
                wish.light = value
            case "age" | "expression" | "setting" | "light" | "turn":
                if getattr(wish, kind) is None:
                    setattr(wish, kind, value)

    def _take_noun(self, value: str) -> None:
        wish = self.wish
        if value in _BEARDS:
            wish.beard = value if wish.beard in (None, "stubble") else wish.beard
        elif value in ("glasses", "sunglasses"):
            wish.glasses = "sunglasses" if value == "sunglasses" else (wish.glasses or "round")
        elif value in ("beanie", "headscarf"):
            wish.hat = value
        elif value in _CLOTHES and value != "clothes":
            wish.clothing = value
        self._describe(value, self.waiting)
        self.waiting = []
        self.noun = value

    def _describe_person(self) -> None:
        """ "black woman", "dark man": of the skin; a size or a curl waits for hair."""
        kept = []
        for word in self.waiting:
            tone = (
                {"white": 2, "black": 9, "brown": 7}.get(word.value)
                if word.kind == "color"
                else None
            )
            if tone is not None and self.wish.skin is None:
                self.wish.skin = tone
            elif word.kind == "tone":
                self._describe("skin", [word])
            else:
                kept.append(word)
        self.waiting, self.noun = kept, None

    def _describe(self, noun: str, adjectives: list[_Word]) -> None:
        wish = self.wish
        self.taken = {w.kind for w in adjectives} if noun != self.noun else self.taken | {
            w.kind for w in adjectives
        }  # fmt: skip
        kinds = {w.kind: w.value for w in adjectives}
        color, tone = kinds.get("color"), kinds.get("tone")
        used = True
        match noun:
            case "hair" | "beard" | "moustache" | "goatee" | "stubble":
                used = self._describe_hair(noun, kinds)
            case "eyes":
                if color in _EYE_COLORS:
                    wish.eyes = _EYE_COLORS[color or ""]
                elif tone:
                    wish.eyes = {"dark": "dark brown", "fair": "blue"}.get(tone, "brown")
                else:
                    used = not adjectives
                if wish.eyes == "brown" and tone == "dark":
                    wish.eyes = "dark brown"
            case "skin":
                tones = {"fair": 2, "medium": 4, "tan": 5, "dark": 9}
                wish.skin = tones.get(tone or "") or {"white": 2, "black": 10, "brown": 7}.get(
                    color or "", wish.skin
                )  # fmt: skip
                if tone == "fair" and color == "brown":
                    wish.skin = 5
            case "glasses":
                if kinds.get("shape") and wish.glasses != "sunglasses":
                    wish.glasses = kinds["shape"]
            case "beanie" | "headscarf":
                wish.hat_color = self._fabric(color, tone) or wish.hat_color
            case "background":
                wish.backdrop = self._fabric(color, tone) or wish.backdrop
                wish.setting = wish.setting or "studio"
            case "lips":
                wish.makeup = True
            case _ if noun in _CLOTHES:
                wish.cloth_color = self._fabric(color, tone) or wish.cloth_color
        if not used:
            self.left_over += [w.text for w in adjectives]

    def _describe_hair(self, noun: str, kinds: dict[str, str]) -> bool:
        wish, color = self.wish, kinds.get("color")
        if color in _HAIR_COLORS:
            if color == "brown" and kinds.get("tone"):
                color = {"dark": "dark brown", "fair": "light brown"}.get(kinds["tone"], color)
            wish.hair_color = color
        elif kinds.get("tone"):
            wish.hair_color = {"dark": "dark brown", "fair": "blond"}.get(kinds["tone"], "brown")
        elif color is not None:
            return False
        if noun == "hair":
            size, curl = kinds.get("size"), kinds.get("curl")
            if curl == "curly":
                wish.hair = "curly"
            elif curl == "wavy":
                wish.hair = "wavy"
            elif size == "long":
                wish.hair = "wavy" if wish.hair == "wavy" else wish.hair or "long"
            elif size == "short":
                wish.hair = wish.hair or "short"
            elif curl == "straight":
                wish.hair = wish.hair or ("bob" if wish.sex == "woman" else "side")
        elif noun == "beard" and kinds.get("size") == "short":
            wish.beard = "stubble"
        return True

    @staticmethod
    def _fabric(color: str | None, tone: str | None) -> str | None:
        if color == "blue" and tone == "dark":
            return "navy"
        if color in ("blond", "platinum", "hazel", "auburn"):
            return {"auburn": "brown"}.get(color, "beige")
        return color or {"dark": "black", "fair": "white"}.get(tone or "")

    def _without(self, kind: str, value: str) -> None:
        wish = self.wish
        if value in _BEARDS:
            wish.beard = "none"
        elif value in ("glasses", "sunglasses"):
            wish.glasses = "none"
        elif value == "hair":
            wish.hair = "bald"
        elif value in ("beanie", "headscarf"):
            wish.hat = "none"
        elif value == "freckles":
            wish.freckles = 0.0
        elif value == "smile":
            wish.expression = "neutral"

    def end_clause(self, *, final: bool = False) -> None:
        if final and self.waiting:
            if self.noun is not None:
                self._describe(self.noun, self.waiting)
            else:
                self.left_over += [w.text for w in self.waiting]
            self.waiting = []
        elif self.noun is not None:
            if self.waiting:
                self._describe(self.noun, self.waiting)
                self.waiting = []
            self.noun, self.taken = None, set()


def _noun_ahead(listed: list[_Word], index: int) -> bool:
    """Only adjectives stand between here and the next noun of the clause."""
    for word in listed[index + 1 : index + 5]:
        if word.kind in ("noun", "hair", "sex"):
            return True
        if word.kind not in (*_ADJECTIVES, "unknown"):
            return False
    return False


def _leave_out(wish: Wish, negative_prompt: str) -> None:
    for word in _split(negative_prompt):
        match word.kind, word.value:
            case "noun", value if value in _BEARDS and wish.beard is None:
                wish.beard = "none"
            case "noun", ("glasses" | "sunglasses"):
                wish.glasses = "none"
            case "noun", ("beanie" | "headscarf"):
                wish.hat = "none"
            case "trait", "freckles":
                wish.freckles = 0.0
            case "expression", "smile" if wish.expression is None:
                wish.expression = "neutral"
