"""Finding the phrases of a small table in a free prompt: what was understood, what was not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from avsafe_generators.text import plain


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_WORDS = 2000  # of a prompt; the rest counts as ignored
MAX_LISTED = 40  # ignored words that are listed by name
_LONGEST = 5  # words of a phrase
_NOT = _words("no not without senza non niente nessun nessuna nessuno dont")
_SMALL = _words(
    "a an the of in on at to and or with it its is are be by for from as into this that very "
    "un uno una il lo la i gli le l di del dello della dei degli delle d da dal dalla al allo alla "
    "ai alle e o con per su sul sulla nel nella che come molto please per favore"
)


@dataclass(frozen=True)
class Phrases:
    """What a prompt says in the terms of a table."""

    found: tuple[tuple[str, str], ...] = ()  # (concept, the words that said so), in order
    ignored: tuple[str, ...] = ()
    n_ignored: int = 0
    refused: frozenset[str] = field(default_factory=frozenset)  # "no zoom", the negative prompt

    def of(self, *kinds: str) -> list[str]:
        """The values of the concepts ``kind:value`` of these kinds, in order."""
        return [
            concept.partition(":")[2]
            for concept, _ in self.found
            if concept.partition(":")[0] in kinds
        ]

    def words(self, *kinds: str) -> list[str]:
        """The words that said so."""
        return [words for concept, words in self.found if concept.partition(":")[0] in kinds]


def _split(text: str) -> list[str]:
    """Lower case, no accents, split into words.

    >>> _split("Più ACQUA, l'onda")
    ['piu', 'acqua', 'l', 'onda']
    """
    return re.findall(r"[^\W_]+", plain(text))


def table(text: str) -> dict[str, str]:
    """Lines ``concept = phrase, phrase`` as a table phrase -> concept.

    >>> table("move:left = pan left, left")
    {'pan left': 'move:left', 'left': 'move:left'}
    """
    out: dict[str, str] = {}
    for line in text.strip().splitlines():
        concept, _, phrases = line.partition("=")
        for phrase in phrases.split(","):
            out[" ".join(_split(phrase))] = concept.strip()
    return out


def match(prompt: str, known: Mapping[str, str], negative: str = "") -> Phrases:
    """The longest known phrases of a prompt, from left to right.

    What follows "no", "without", "senza" and what the negative prompt names is refused.

    >>> match("zoom in, no rain", {"zoom in": "move:in", "rain": "what:rain"}).found
    (('move:in', 'zoom in'),)
    """
    words = _split(prompt)
    words, cut = words[:MAX_WORDS], max(0, len(words) - MAX_WORDS)
    found: list[tuple[str, str]] = []
    refused = {concept for concept, _ in match(negative, known).found} if negative else set()
    ignored: list[str] = []
    at, negated = 0, False
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            phrase = " ".join(words[at : at + length])
            concept = known.get(phrase)
            if concept is not None:
                break
        else:
            word = words[at]
            if word in _NOT:
                negated = True
            elif word not in _SMALL:
                ignored.append(word)
                negated = False
            at += 1
            continue
        if negated:
            refused.add(concept)
            negated = False
        else:
            found.append((concept, phrase))
        at += length
    kept = tuple(item for item in found if item[0] not in refused)
    unique = tuple(dict.fromkeys(ignored))
    return Phrases(kept, unique[:MAX_LISTED], len(ignored) + cut, frozenset(refused))
