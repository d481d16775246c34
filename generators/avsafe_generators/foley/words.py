"""What a prompt asks to hear: a closed vocabulary in English and Italian.

A line of ``_TABLE`` is ``kind value: words``; ``*`` stands for any ending of up to four letters.
``strike`` is what impacts sound like, ``texture`` what goes on, ``part`` a part of the mix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from avsafe_generators.text import plain

_TABLE = """
strike wood: wood wooden plank table door legno legnos* tavolo porta
strike metal: metal metallic steel iron metallo metallic* ferro acciaio cymbal* coin* monet*
strike glass: glass glasses vetro vetri bicchier* bottle* bottigli*
strike stone: stone stones rock rocks brick* pietra pietre sasso sassi mattone mattoni
strike rubber: rubber ball balls basketball tennis gomma palla palle pallone
strike plastic: plastic plastica
strike clay: clay ceramic ceramica porcelain porcellana plate plates piatto piatti
strike ice: ice icy ghiaccio
strike bell: bell bells chime chimes campana campane campanell*
strike drum: drum drums drumming conga congas bongo bongos tambur* batteria percussion* percussioni
strike gun: gun guns gunshot* shot shots rifle pistol shooting sparo spari fucile pistola
strike explosion: explosion* explode* explodes boom bomb fireworks esplosion* scoppi* bomba
strike thunder: thunder lightning tuono tuoni fulmin*
strike footsteps: footstep* step steps walking walk running passi passo cammin*
strike clap: clap claps clapping handclap* battimani
strike hammer: hammer hammering hammers nail nails martell* chiod*
strike splash: splash splashes splashing spruzz* tuff*
strike thud: thud thuds soft cloth tonf* sordo
texture wind: wind windy breeze vento ventos* brezza
texture water: water river stream creek acqua fiume ruscello
texture waves: wave waves sea ocean surf onda onde mare oceano
texture rain: rain raining rainy pioggia piove piov*
texture fire: fire flames burning campfire fuoco fiamm* falo
texture engine: engine motor car motore auto macchina
texture crowd: crowd people audience folla gente pubblico
texture applause: applause applauding applaus*
texture birds: bird birds birdsong uccell* forest bosco foresta
texture crickets: cricket crickets grill* night notte
texture city: city traffic street citta traffico strada
texture room: room ambience ambient atmosphere stanza ambiente atmosfera
texture whoosh: whoosh swish air fruscio sibilo
part music: music melody soundtrack tune musica melodia colonna
part impacts: impact impacts hit hits colpo colpi impatt* bounc* rimbalz*
part speech: speech voice voices dialogue talking parlato voce voci dialogo
"""
_NOT = frozenset(("no", "not", "without", "senza", "niente", "nessun", "nessuna", "non"))
_ALSO = frozenset(("or", "nor", "o", "ne", "and", "e"))
_ARTICLES = frozenset(("the", "a", "an", "any", "il", "la", "lo", "le", "i", "gli", "un", "una"))
_SMALL = _ARTICLES | _ALSO | _NOT | frozenset(
    ("of", "in", "on", "with", "by", "at", "to", "di", "del", "della", "con", "su", "sul", "da",
     "al", "alla", "nel", "nella", "is", "says", "say", "dice", "some", "and")
)  # fmt: skip
_QUOTED = re.compile(
    r"(?:says?|saying|said|speaks?|shouts?|whispers?|dice|dicono|dicendo|parla|grida)"
    r"\s*+[:,]?\s*+"  # possessive: a wall of spaces is tried once
    r"(?:\"([^\"]{1,2000})\"|“([^”]{1,2000})”|«([^»]{1,2000})»|'((?:[^']|(?<=\w)'(?=\w)){1,2000})')",
    re.IGNORECASE,
)
_MOST_REPORTED = 100
EXAMPLES = "wood, metal, glass, drum, footsteps, wind, waves, rain, crowd, music, legno, vento"


@dataclass(frozen=True)
class Wish:
    """What to make. ``strike`` None: the material is not said."""

    strike: str | None = None
    textures: tuple[str, ...] = ()
    music: bool = False
    lines: tuple[str, ...] = ()  # to be spoken
    impacts: bool = True
    understood: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=())
    italian: bool = False

    @property
    def asks(self) -> bool:
        """Whether it asks for anything that needs no event."""
        return bool(self.textures or self.music or self.lines)


@cache
def _lookup() -> tuple[dict[str, tuple[str, str]], tuple[tuple[str, tuple[str, str]], ...]]:
    exact: dict[str, tuple[str, str]] = {}
    stems: list[tuple[str, tuple[str, str]]] = []
    for line in _TABLE.strip().splitlines():
        head, _, listed = line.partition(":")
        kind, value = head.split()
        for word in listed.split():
            if word.endswith("*"):
                stems.append((word[:-1], (kind, value)))
            else:
                exact[word] = (kind, value)
    return exact, tuple(stems)


def meaning(word: str) -> tuple[str, str] | None:
    """(kind, value) of a plain lower-case word.

    >>> meaning("legnoso"), meaning("banana")
    (('strike', 'wood'), None)
    """
    exact, stems = _lookup()
    if word in exact:
        return exact[word]
    for stem, value in stems:
        if word.startswith(stem) and len(word) <= len(stem) + 4:
            return value
    return None


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+|[,.;]", plain(text))


def read(prompt: str, negative_prompt: str = "") -> Wish:
    """Read both prompts; linear in their length, never fails on odd characters.

    >>> wish = read("a wooden door, wind, no music", "birds")
    >>> wish.strike, wish.textures, wish.left_out
    ('wood', ('wind',), ('birds', 'music'))
    """
    lines = tuple(
        " ".join(next(part for part in found.groups() if part).split())
        for found in _QUOTED.finditer(prompt)
    )
    rest = _QUOTED.sub(" , ", prompt)
    out = {m for m in map(meaning, _tokens(negative_prompt)) if m}
    known: list[tuple[str, tuple[str, str]]] = []
    ignored: list[str] = []
    refuses = was_refused = False
    tokens = _tokens(rest)
    for token in tokens:
        found = meaning(token)
        if token in (",", ".", ";"):
            refuses = was_refused = False
        elif token in _NOT:
            refuses = True
        elif found:
            if refuses:
                out.add(found)
                was_refused = True
            known.append((token, found))
            refuses = False
        elif token in _ALSO and was_refused:
            refuses = token not in ("and", "e")
        elif token not in _ARTICLES:
            refuses = was_refused = False
            if token not in _SMALL:
                ignored.append(token[:40])
    kept = [(token, found) for token, found in known if found not in out]
    strikes = [value for _, (kind, value) in kept if kind == "strike"]
    textures = dict.fromkeys(value for _, (kind, value) in kept if kind == "texture")
    italian = sum(
        t in {"il", "la", "lo", "di", "con", "una", "dice", "voce", "che"} for t in tokens
    )
    return Wish(
        strikes[0] if strikes else None,
        tuple(textures),
        any(found == ("part", "music") for _, found in kept),
        () if ("part", "speech") in out else lines,
        ("part", "impacts") not in out,
        tuple(dict.fromkeys(token for token, _ in known)),
        tuple(dict.fromkeys(ignored))[:_MOST_REPORTED],
        tuple(sorted(value for _, value in out)),
        bool(italian and "says" not in tokens),
    )
