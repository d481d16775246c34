"""What the pages say, by language: one JSON file each in ``words/``, with the same keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("words")
DEFAULT = "en"


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages, the default first.

    >>> languages()
    ('en', 'it')
    """
    found = sorted(path.stem for path in FOLDER.glob("*.json"))
    return (DEFAULT, *(code for code in found if code != DEFAULT))


@cache
def words(language: str) -> Words:
    """Raises KeyError for a language that there is not."""
    if language not in languages():
        raise KeyError(language)
    return Words(language, json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8")))


def preferred(header: str) -> str:
    """The language of an Accept-Language header that we have and that weighs most (RFC 9110).

    >>> preferred("fr;q=0.9, it-CH;q=0.8, en;q=0.1")
    'it'
    """
    best, weight = DEFAULT, 0.0
    for part in header.split(",")[:20]:
        tag, _, rest = part.strip().partition(";")
        code = tag.strip().lower().partition("-")[0]
        try:
            q = float(rest.partition("q=")[2]) if "q=" in rest else 1.0
        except ValueError:
            continue
        if code in languages() and q > weight:
            best, weight = code, q
    return best


def asked_for(path: str, header: str) -> str:
    """The language that a path begins with, or else the one preferred.

    >>> asked_for("/it/verify", "en"), asked_for("/nowhere", "it")
    ('it', 'it')
    """
    first = path.strip("/").partition("/")[0]
    return first if first in languages() else preferred(header)


class Words:
    """Text by key, parts joined with ":"; a key that is missing is a mistake of ours: KeyError.

    >>> words("it")("status:absent")
    'non trovato'
    """

    def __init__(self, language: str, table: Mapping[str, Any]) -> None:
        self.language, self._table = language, table

    def __call__(self, key: str, **values: object) -> str:
        return str(self._find(key)).format(**values)

    def pair(self, key: str) -> tuple[str, str]:
        first, second = self._find(key)
        return first, second

    def known(self, key: str, otherwise: str) -> str:
        """The text, or ``otherwise`` where there is none (names of plugins of others)."""
        try:
            found = self._find(key)
        except (KeyError, TypeError):
            return otherwise
        return found if isinstance(found, str) else otherwise

    def _find(self, key: str) -> Any:
        found: Any = self._table
        for part in key.split(":"):
            found = found[part]
        return found
