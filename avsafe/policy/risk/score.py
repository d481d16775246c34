"""``score``: one text -> RiskReport. First version: the word list alone."""

from __future__ import annotations

from collections.abc import Sequence

from avsafe.policy.risk.lexicon import SCORER, Lexicon
from avsafe.policy.risk.normalise import readings
from avsafe.policy.risk.report import RiskReport, Tally

MAX_CHARS = 4000


def score(
    prompt: str,
    *,
    language: str | None = None,
    negative_prompt: str = "",
    extra: Sequence[str] = (),
) -> RiskReport:
    """Risk scores of a text."""
    tally = Tally()
    lexicon = Lexicon.load()
    unscored = 0
    for text in (prompt, negative_prompt, *extra):
        unscored += max(0, len(text) - MAX_CHARS)
        for reading in readings(text[:MAX_CHARS]):
            part = Tally()
            lexicon.score(reading.text, reading.how, part)
            if reading.hidden and max(part.scores.values()) > 0:
                part.add("obfuscated", reading.hidden, reading.how)
            tally.merge(part)
    return RiskReport(tally.scores, tally.evidence(), (SCORER,), False, unscored)
