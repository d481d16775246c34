"""Prompts as plain words: what every reader of words begins with."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Lower case without accents.

    >>> plain("Étoile ÉTÉ")
    'etoile ete'
    """
    decomposed = unicodedata.normalize("NFKD", text)
    return (
        "".join(c for c in decomposed if not unicodedata.combining(c)).casefold().replace("ß", "ss")
    )


def bare(text: str) -> str:
    """Lower case without accents and without letters that nobody sees (joiners, direction marks).

    >>> bare("Più al\\u200bto")
    'piu alto'
    """
    decomposed = unicodedata.normalize("NFKD", text).lower()
    return "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf"))
