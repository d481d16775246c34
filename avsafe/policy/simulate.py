"""Compare two policy folders over a file of requests: what would change before it does.

One JSON object a line. ``task`` is needed, the rest has the defaults of a fresh install::

    {"task": "text-to-video", "prompt": "a red ball", "negative_prompt": "", "purpose": "general",
     "generator": {"name": "g", "commercial_ok": false, "max_duration_s": 10}, "user": "local",
     "roles": ["owner"], "teams": [], "suspended": false, "likeness": "none", "consent_scope": [],
     "duration_s": 4, "width": 512, "height": 512, "parameters": {}, "jobs_today": 0, "quota": 1000,
     "territory": ""}

``"generator": null`` stands for a name that is not registered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError
from avsafe.policy import risk as risk_scores
from avsafe.policy.decision import LIKENESS, decide, local_principal, parameter_texts
from avsafe.policy.engine import Policy
from avsafe.types import Decision, GenerationRequest, GeneratorInfo, Kind, Principal, Task

# What is asked about when no generator is named: registered, offers everything, free licence.
ANY_GENERATOR = GeneratorInfo(
    name="any-registered",
    version="",
    tasks=tuple(Task),
    kind=Kind.VIDEO,
    licence="Apache-2.0",
    commercial_ok=True,
)
_REQUEST_KEYS = (
    "prompt",
    "negative_prompt",
    "purpose",
    "duration_s",
    "width",
    "height",
    "parameters",
)
_CALL_KEYS = ("likeness", "consent_scope", "jobs_today", "quota", "territory")
_WHO_KEYS = ("user", "roles", "teams", "suspended")


@dataclass(frozen=True)
class Case:
    """One line of the file, ready to be decided."""

    line: int
    request: GenerationRequest
    generator: GeneratorInfo | None
    call: Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A request on which the two folders differ in effect, rules or obligations."""

    line: int
    task: str
    prompt: str
    before: Decision
    after: Decision


@dataclass(frozen=True)
class Simulation:
    requests: int
    before: Mapping[str, int]  # effect -> number of requests
    after: Mapping[str, int]
    changes: tuple[Change, ...]


def read_cases(path: Path) -> Iterator[Case]:
    """Raises UsageError, which names the line, on anything that is not a request."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _case(number, json.loads(line))
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise UsageError(f"{path}, line {number}: not a request: {error}") from error


def simulate(before: Policy, after: Policy, cases: Iterable[Case]) -> Simulation:
    """Every text is scored once; both policies see the same scores."""
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    changes: list[Change] = []
    requests = 0
    for case in cases:
        requests += 1
        request = case.request
        risk = risk_scores.score(
            request.prompt,
            negative_prompt=request.negative_prompt,
            extra=tuple(parameter_texts(request.parameters)),
        )
        one, two = (
            decide(request, policy, generator=case.generator, risk=risk, **case.call)
            for policy in (before, after)
        )
        counts[0][one.effect.value] += 1
        counts[1][two.effect.value] += 1
        if (one.effect, one.rules, one.obligations) != (two.effect, two.rules, two.obligations):
            changes.append(Change(case.line, request.task.value, request.prompt, one, two))
    return Simulation(requests, dict(counts[0]), dict(counts[1]), tuple(changes))


def _case(number: int, body: Any) -> Case:
    if not isinstance(body, dict) or "task" not in body:
        raise ValueError("expected a JSON object with at least 'task'")
    known = {"task", "generator", *_REQUEST_KEYS, *_CALL_KEYS, *_WHO_KEYS}
    strange = sorted(set(body) - known)
    if strange:
        raise ValueError(f"unknown key {strange[0]!r} (known: {', '.join(sorted(known))})")
    if body.get("likeness", "none") not in LIKENESS:
        raise ValueError(f"'likeness' is one of: {', '.join(LIKENESS)}")
    default = local_principal()
    who = Principal(
        user=str(body.get("user", default.user)),
        teams=tuple(body.get("teams", default.teams)),
        roles=tuple(body.get("roles", default.roles)),
        suspended=bool(body.get("suspended", default.suspended)),
    )
    generator = _generator(body.get("generator", {}))
    request = GenerationRequest(
        principal=who,
        task=Task(body["task"]),
        generator=generator.name if generator else "not-registered",
        **{key: body[key] for key in _REQUEST_KEYS if key in body},
    )
    if not isinstance(request.prompt, str) or not isinstance(request.negative_prompt, str):
        raise ValueError("'prompt' and 'negative_prompt' are strings")
    (request.prompt + request.negative_prompt).encode()  # half of a pair is no text
    return Case(number, request, generator, {key: body[key] for key in _CALL_KEYS if key in body})


def _generator(body: Any) -> GeneratorInfo | None:
    if body is None:
        return None
    strange = sorted(set(body) - {item.name for item in fields(GeneratorInfo)})
    if strange:
        raise ValueError(f"a generator has no {strange[0]!r}")
    values = dict(body)
    if "tasks" in values:
        values["tasks"] = tuple(Task(item) for item in values["tasks"])
    if "kind" in values:
        values["kind"] = Kind(values["kind"])
    return replace(ANY_GENERATOR, **values)
