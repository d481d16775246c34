"""What the risk scorers say of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# Meanings: the comments of policy/default/schema.cedarschema.
CATEGORIES = (
    "sexual",
    "minor",
    "violence",
    "self_harm",
    "hate",
    "extremism",
    "dangerous",
    "fraud",
    "political",
    "named_person",
    "ip",
    "obfuscated",
)


@dataclass(frozen=True)
class RiskReport:
    """Scores 0-100 per category: 0 nothing seen, 50 borderline, 100 plain.

    ``evidence`` never repeats the text: a term shows as the first 8 hex digits of its SHA-256,
    which an officer can look up with ``avsafe.policy.risk.lexicon.term_hash``.
    """

    scores: Mapping[str, int]
    evidence: tuple[str, ...] = ()  # "sexual 90 lexicon:1f3a9c02 (despaced)", strongest first
    scorers: tuple[str, ...] = ()  # which ones ran, by name and version
    complete: bool = False  # True: the embedding classifier was among them
    unscored_chars: int = 0  # characters beyond what was read

    def __post_init__(self) -> None:
        missing = set(CATEGORIES) - set(self.scores)
        if missing:
            raise ValueError(f"no score for {', '.join(sorted(missing))}")
        object.__setattr__(self, "scores", MappingProxyType(dict(self.scores)))


@dataclass
class Tally:
    """The highest score seen per category, and what gave it."""

    scores: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0))
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, category: str, score: float, source: str) -> None:
        value = max(0, min(100, round(score)))
        if value > self.scores[category]:
            self.scores[category] = value
            self.sources[category] = source

    def merge(self, other: Tally, cap: int = 100) -> None:
        for category, score in other.scores.items():
            if score:
                self.add(category, min(score, cap), other.sources[category])

    def evidence(self) -> tuple[str, ...]:
        found = [(score, name) for name, score in self.scores.items() if score >= 25]
        found.sort(key=lambda item: (-item[0], item[1]))
        return tuple(f"{name} {score} {self.sources[name]}" for score, name in found)
