"""Does a text name a real person? By form, not by a list of persons: given name and surname, title
and surname, a placeholder such as [PERSON]. What is claimed of that person then decides how grave
it is.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from avsafe.policy.risk.lexicon import phrase_pattern
from avsafe.policy.risk.normalise import fold
from avsafe.policy.risk.report import Tally

SCORER = "names-1"
_FILE = Path(__file__).with_name("names.toml")
_NAMED, _TITLED, _CLAIMED = 60, 64, 85  # borderline, borderline, plain
_WORD = r"[A-ZÀ-ÖØ-Þ][\w'’\-]+"
_PAIR = re.compile(
    rf"(?<![\w'’])({_WORD})\s+(?:(?:de|da|di|del|della|von|van|la|le|el)\s+)?({_WORD})"
)
_PLACEHOLDER = re.compile(
    r"[\[<{(](?:real |famous |the )?(?:person|persona|personne|name|nome|nom|nombre|celebrity|"
    r"politician|actress|actor|singer|victim)(?:[ _]?(?:name|[a-z]|\d))?[\]>})]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Lists:
    given: frozenset[str]
    titles: re.Pattern[str]
    not_surnames: frozenset[str]
    saints: frozenset[str]
    claims: re.Pattern[str]

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> _Lists:
        data = tomllib.loads(_FILE.read_text(encoding="utf-8"))
        return cls(
            frozenset(data["given"]),
            phrase_pattern(data["titles"]),
            frozenset(data["not_surnames"]),
            frozenset(data["saints"]),
            phrase_pattern(data["claims"]),
        )


def score(text: str, how: str, tally: Tally) -> None:
    """Add to ``named_person`` what the form of a text says. ``text`` keeps its capitals."""
    lists = _Lists.load()
    source = f"{SCORER} ({how})"
    found = _TITLED if _PLACEHOLDER.search(text) else _by_form(text, lists)
    if found:
        claimed = lists.claims.search(fold(text))
        tally.add("named_person", _CLAIMED if claimed else found, source)


def _by_form(text: str, lists: _Lists) -> int:
    words = re.findall(r"[^\W\d_]+", text)
    capitals = sum(word[0].isupper() for word in words)
    if len(words) > 4 and capitals > 0.7 * len(words):
        return 0  # a text all in capitals or in title case: capitals say nothing
    best = 0
    start = 0
    while match := _PAIR.search(text, start):
        start = match.start(2)  # the second word may begin the next pair
        first, second = fold(match[1]), fold(match[2])
        before = re.findall(r"[^\W\d_]+", fold(text[: match.start()]))[-1:]
        if second in lists.not_surnames or first in lists.saints or set(before) & lists.saints:
            continue
        if first in lists.given and len(second) > 2:
            best = max(best, _NAMED)
        if lists.titles.fullmatch(first) and second not in lists.given:
            best = max(best, _TITLED)
    return best
