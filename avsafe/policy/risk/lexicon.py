"""The word list: terms, pairs of terms in one sentence, harmless phrases, ages."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from avsafe.policy.risk.normalise import fold
from avsafe.policy.risk.report import CATEGORIES, Tally

SCORER = "lexicon-1"
_FILE = Path(__file__).with_name("lexicon.toml")
_AGE = re.compile(
    r"\b(\d{1,2})[\s-]*(?:years?[\s-]*old|year[\s-]*old|yrs?[\s-]*old|y\.?/?o\b|anni\b|ans\b|anos\b|"
    r"jahre?\b|jahrige\w*|[\s-]*jahrig\w*)"
)
_ADULT = 18
_MASKED = re.compile(
    r"(?<!\w)[^\W\d_]+[*#_$%.\-·•]{1,4}[^\W\d_]+(?!\w)|(?<!\w)[^\W\d_]{1,3}[*#]{2,6}(?!\w)"
)


@dataclass(frozen=True)
class _Terms:
    category: str
    score: int
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class _Pair:
    category: str
    score: int
    first: re.Pattern[str]
    second: re.Pattern[str]


@dataclass(frozen=True)
class Lexicon:
    """The compiled word list."""

    safe: re.Pattern[str]
    soften: re.Pattern[str]
    strip: re.Pattern[str]
    terms: tuple[_Terms, ...]
    pairs: tuple[_Pair, ...]
    strong_words: tuple[str, ...]  # single words of score >= 75: a masked word may be one of them

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Lexicon:
        data = tomllib.loads(_FILE.read_text(encoding="utf-8"))
        for item in data["terms"] + data["pairs"]:
            if item["category"] not in CATEGORIES:
                raise ValueError(f"{_FILE.name}: no such category: {item['category']}")
        terms = tuple(
            _Terms(item["category"], item["score"], phrase_pattern(item["words"]))
            for item in data["terms"]
        )
        pairs = tuple(
            _Pair(
                item["category"],
                item["score"],
                phrase_pattern(item["first"]),
                phrase_pattern(item["second"]),
            )
            for item in data["pairs"]
        )
        words = {
            word.strip("*")
            for item in data["terms"]
            for word in item["words"]
            if item["score"] >= 50 and item["category"] != "minor" and " " not in word
        }
        strong = tuple(sorted(word for word in words if len(word) >= 4 and word.isalpha()))
        return cls(
            safe=phrase_pattern(data["safe"]["phrases"]),
            soften=phrase_pattern(data["soften"]["phrases"]),
            strip=phrase_pattern(data["negative"]["clothing"]),
            terms=terms,
            pairs=pairs,
            strong_words=strong,
        )

    def score(self, text: str, how: str, tally: Tally) -> None:
        """Add what a text holds. ``how`` names the reading it came from."""
        folded = self.safe.sub(" , ", self._unmask(fold(text)))
        for item in self.terms:
            for match in item.pattern.finditer(folded):
                tally.add(item.category, item.score, _source(match[0], how))
        for sentence in re.split(r"[.!?;\n]\s+", folded):
            for pair in self.pairs:
                one, two = pair.first.search(sentence), pair.second.search(sentence)
                if one and two:
                    tally.add(pair.category, pair.score, _source(f"{one[0]} + {two[0]}", how))
        for match in _AGE.finditer(folded):
            if 0 < int(match[1]) < _ADULT:
                tally.add("minor", 90, _source("an age under 18", how))

    def _unmask(self, folded: str) -> str:
        """``p*rn`` -> ``porn`` where a strong word fits; other stars stay."""

        def replace(match: re.Match[str]) -> str:
            mask = re.compile(re.sub(r"[^a-z]", ".", match[0]) + r"\w{0,3}")
            fits = (word for word in self.strong_words if mask.fullmatch(word))
            return next(fits, match[0])

        return _MASKED.sub(replace, folded)


def term_hash(term: str) -> str:
    """The name of a term in the evidence: the first 8 hex digits of SHA-256 of its folded form.

    >>> term_hash("Gore") == term_hash("gore")
    True
    """
    return hashlib.sha256(fold(term).encode()).hexdigest()[:8]


def terms() -> Iterator[str]:
    """Every term of the word list, to look up a hash."""
    data = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    for item in data["terms"]:
        yield from item["words"]


def _source(term: str, how: str) -> str:
    return f"{SCORER}:{term_hash(term)} ({how})"


def phrase_pattern(words: list[str]) -> re.Pattern[str]:
    """One pattern for a list of folded phrases: "*" is any letters of a word, a space any break.

    Longest first, so that the most telling term is the one that is reported.

    >>> bool(phrase_pattern(["fake id*"]).search("a fake-ids shop"))
    True
    """
    parts = []
    for word in sorted(set(words), key=lambda item: (-len(item), item)):
        pieces = [re.escape(piece).replace(r"\*", r"\w*") for piece in word.split()]
        parts.append(r"[\W_]+".join(pieces))
    return re.compile(r"(?<![^\W_])(?:" + "|".join(parts) + r")(?![^\W_])")
