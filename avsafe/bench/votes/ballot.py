"""A blinded, balanced ballot: who votes on which pair, in which order, with which side left.

1. a question is one pair of systems on one item by one criterion; it gets ``votes`` votes
2. questions go around the raters, so that all have as many, give or take one
3. of each rater's votes on a pair by a criterion, half have the first system left
4. repeats (sides exchanged) and checks (the answer is known) are mixed in
5. names of files and trials tell nothing; what they are stands in the key alone
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from avsafe.bench.votes.criteria import CRITERIA
from avsafe.errors import UsageError

_APART = 4  # trials between a question and its repeat, where there are as many


@dataclass(frozen=True)
class Check:
    """Two clips of which anybody sees the better one."""

    criterion: str
    good: Path
    bad: Path
    text: str = ""


@dataclass(frozen=True)
class Plan:
    """``key`` says what is what and stays with who asks; ``ballot`` goes to the raters; ``files``
    are the clips by their blind names."""

    key: dict[str, Any]
    ballot: dict[str, Any]
    files: dict[str, Path]


def plan(
    systems: Mapping[str, Mapping[str, Path]],
    *,
    texts: Mapping[str, str] | None = None,
    clusters: Mapping[str, str] | None = None,
    criteria: Sequence[str] = ("quality", "faithfulness"),
    raters: int = 3,
    votes: int = 3,
    items: int | None = None,
    repeats: float = 0.1,
    checks: Sequence[Check] = (),
    seed: str | None = None,
) -> Plan:
    """Plan votes on every pair of ``systems`` (name -> item -> clip) over the items that both have.

    ``votes`` of different raters on each question; ``items`` takes that many, drawn by the seed;
    ``repeats`` is the share of each rater's questions asked twice; every rater gets all ``checks``.
    Without ``seed`` a secret one is drawn: who knows the seed can undo the blinding. UsageError for
    a plan that cannot be.
    """
    texts, clusters = texts or {}, clusters or {}
    _sensible(systems, criteria, raters, votes, repeats, checks)
    secret = seed or secrets.token_hex(16)
    rng = random.Random(secret)  # noqa: S311 - shuffles; names come from a hash of the secret
    questions = _questions(systems, texts, criteria, items, rng)
    names = _Names(secret)
    trials: dict[str, dict[str, Any]] = {}
    order: dict[str, list[str]] = {}
    for rater, asked in enumerate(_shared_out(questions, raters, votes, rng)):
        mine: dict[str, list[str]] = {name: [] for name in criteria}
        for index, (first_left, question) in enumerate(_sided(asked, rater, rng)):
            trial = names.trial(f"{rater} {index}")
            trials[trial] = _trial(question, first_left, clusters, names, systems)
            mine[question[0]].append(trial)
        for criterion, block in mine.items():
            _repeat(block, criterion, trials, names, rater, repeats, rng)
            for number, check in enumerate(checks):
                if check.criterion == criterion and block:
                    trial = names.trial(f"{rater} check {number}")
                    trials[trial] = _check(check, names, rng)
                    block.insert(rng.randint(0, len(block)), trial)
        turned = [*criteria[rater % len(criteria) :], *criteria[: rater % len(criteria)]]
        order[str(rater + 1)] = [trial for criterion in turned for trial in mine[criterion]]
    ident = hashlib.sha256(f"{secret} {sorted(trials)}".encode()).hexdigest()[:12]
    key: dict[str, Any] = {
        "ballot": ident,
        "seed": secret,
        "systems": list(systems),
        "criteria": list(criteria),
        "questions": len(questions),
        "votes": votes,
        "trials": trials,
        "raters": order,
        "clips": names.meaning,
    }
    return Plan(key, _public(key, texts), names.files)


def _sensible(
    systems: Mapping[str, Mapping[str, Path]],
    criteria: Sequence[str],
    raters: int,
    votes: int,
    repeats: float,
    checks: Sequence[Check],
) -> None:
    if len(systems) < 2:
        raise UsageError(f"A vote compares two systems or more; there is {len(systems)}.")
    for name in (*criteria, *(check.criterion for check in checks)):
        if name not in CRITERIA:
            raise UsageError(f"No criterion {name!r} (known: {', '.join(CRITERIA)}).")
    if not criteria or len(set(criteria)) < len(criteria):
        raise UsageError("Name one criterion or more, each once.")
    if not 1 <= votes <= raters:
        raise UsageError(
            f"{votes} votes on each question take as many raters or more; there are {raters}."
        )
    if not 0 <= repeats <= 1:
        raise UsageError(f"Repeats are a share from 0 to 1, not {repeats}.")


Question = tuple[str, str, str, str]  # criterion, first system, second system, item


def _questions(
    systems: Mapping[str, Mapping[str, Path]],
    texts: Mapping[str, str],
    criteria: Sequence[str],
    items: int | None,
    rng: random.Random,
) -> list[Question]:
    every = sorted({item for clips in systems.values() for item in clips})
    shared = [i for i in every if sum(i in clips for clips in systems.values()) > 1]
    if not shared:
        raise UsageError("No item has clips of two systems: clips are matched by their item.")
    if items is not None and items < len(shared):
        shared = sorted(rng.sample(shared, items))
    asked = []
    for criterion in criteria:
        for a, b in combinations(systems, 2):
            for item in shared:
                if item not in systems[a] or item not in systems[b]:
                    continue
                if CRITERIA[criterion].shows_text and not texts.get(item, "").strip():
                    raise UsageError(
                        f"{criterion!r} asks whether a clip shows what its text says, and item "
                        f"{item!r} has no text."
                    )
                asked.append((criterion, a, b, item))
    return asked


def _shared_out(
    questions: Sequence[Question], raters: int, votes: int, rng: random.Random
) -> list[list[Question]]:
    shuffled = list(questions)
    rng.shuffle(shuffled)
    hands: list[list[Question]] = [[] for _ in range(raters)]
    for index, question in enumerate(shuffled):
        for vote in range(votes):
            hands[(index * votes + vote) % raters].append(question)
    return hands


def _sided(
    asked: Sequence[Question], rater: int, rng: random.Random
) -> list[tuple[bool, Question]]:
    """Each question with whether its first system is left; half of every kind, in random order."""
    kinds: dict[tuple[str, str, str], list[Question]] = {}
    for question in asked:
        kinds.setdefault(question[:3], []).append(question)
    sided = []
    for number, kind in enumerate(sorted(kinds)):
        found = kinds[kind]
        rng.shuffle(found)
        sided += [((i + rater + number) % 2 == 0, q) for i, q in enumerate(found)]
    rng.shuffle(sided)
    return sided


def _trial(
    question: Question,
    first_left: bool,
    clusters: Mapping[str, str],
    names: _Names,
    systems: Mapping[str, Mapping[str, Path]],
) -> dict[str, Any]:
    criterion, a, b, item = question
    left, right = (a, b) if first_left else (b, a)
    return {
        "kind": "pair", "criterion": criterion, "item": item,
        "cluster": clusters.get(item) or item, "a": a, "b": b, "left": left, "right": right,
        "files": [names.clip(left, item, systems[left][item]),
                  names.clip(right, item, systems[right][item])],
    }  # fmt: skip


def _repeat(
    block: list[str],
    criterion: str,
    trials: dict[str, dict[str, Any]],
    names: _Names,
    rater: int,
    share: float,
    rng: random.Random,
) -> None:
    count = round(share * len(block))
    for number, trial in enumerate(rng.sample(block, count)):
        first = trials[trial]
        again = names.trial(f"{rater} {criterion} again {number}")
        trials[again] = {
            **first, "kind": "repeat", "of": trial, "left": first["right"],
            "right": first["left"], "files": first["files"][::-1],
        }  # fmt: skip
        least = min(block.index(trial) + 1 + _APART, len(block))
        block.insert(rng.randint(least, len(block)), again)


def _check(check: Check, names: _Names, rng: random.Random) -> dict[str, Any]:
    files = [names.clip("good", str(check.good), check.good),
             names.clip("bad", str(check.bad), check.bad)]  # fmt: skip
    left = rng.random() < 0.5
    return {
        "kind": "check", "criterion": check.criterion, "text": check.text,
        "expected": "left" if left else "right", "files": files if left else files[::-1],
    }  # fmt: skip


class _Names:
    """Names that tell nothing, the same for the same secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self.files: dict[str, Path] = {}
        self.meaning: dict[str, list[str]] = {}

    def trial(self, what: str) -> str:
        return self._hash("trial", what)

    def clip(self, system: str, item: str, path: Path) -> str:
        name = self._hash("clip", system, item) + path.suffix.lower()
        self.files[name] = path
        self.meaning[name] = [system, path.name if system in ("good", "bad") else item]
        return name

    def _hash(self, *what: str) -> str:
        text = "\0".join((self._secret, *what))
        return hashlib.sha256(text.encode()).hexdigest()[:14]


def _public(key: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    def shown(ident: str) -> dict[str, Any]:
        trial = key["trials"][ident]
        text = ""
        if CRITERIA[trial["criterion"]].shows_text:
            text = trial.get("text") or texts.get(trial.get("item", ""), "")
        return {"id": ident, "criterion": trial["criterion"], "text": text,
                "left": trial["files"][0], "right": trial["files"][1]}  # fmt: skip

    return {
        "ballot": key["ballot"],
        "criteria": {
            name: {
                "question": CRITERIA[name].question,
                "reasons": CRITERIA[name].reasons,
                "sound": CRITERIA[name].with_sound,
            }
            for name in key["criteria"]
        },
        "raters": {rater: [shown(t) for t in trials] for rater, trials in key["raters"].items()},
    }
