"""``decide``: one request -> allow, review or deny, with the rules that said so.

1. score the effective text     prompt, negative prompt, text among the parameters
2. ask the base set             a forbid wins; nothing permits -> D0
3. check its obligations        one that the gate does not know -> D1
4. ask the review set           only when the base set allows

Whatever goes wrong on the way is a denial with a reason (D2, D3) and an error in the log.
"""

from __future__ import annotations

import logging
import math
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from avsafe.policy import risk as risk_scores
from avsafe.policy.engine import KNOWN_OBLIGATIONS, Policy, Rule, Unclear
from avsafe.policy.risk import RiskReport
from avsafe.policy.risk.normalise import readings
from avsafe.types import (
    Decision,
    Effect,
    GenerationRequest,
    GeneratorInfo,
    Obligation,
    Principal,
    Task,
)

_log = logging.getLogger(__name__)

NOTHING_PERMITS = "D0-nothing-permits-this"
UNKNOWN_OBLIGATION = "D1-unknown-obligation"
POLICY_FAILED = "D2-policy-not-evaluated"
RISK_FAILED = "D3-risk-not-scored"
# The house never releases without these two, whatever a permit forgets to say.
FLOOR = (Obligation("c2pa", "sign"), Obligation("watermark", "invisible"))
_EU = frozenset(  # members on 2020-02-01, https://european-union.europa.eu
    re.findall(
        r"[A-Z]{2}",
        "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK",
    )
)
_SIGNS = "+<=>|~^°$€£¥×÷±−\t\n\r"  # beside numbers, punctuation and blanks
_LONGEST_NUMBERS = 400
LIKENESS = (  # what a rule may meet; anything else is denied as unknown is
    "none", "synthetic_attested", "consented", "proposed", "no_face", "expired", "unknown",
    "mismatch", "protected",
)  # fmt: skip
_PORTRAIT_ROLES = frozenset({"portrait", "face", "voice"})


def local_principal() -> Principal:
    """The one user of a fresh install, who owns everything.

    >>> local_principal().roles
    ('owner',)
    """
    return Principal(user="local", roles=("owner",))


def decide(
    request: GenerationRequest,
    policy: Policy,
    *,
    generator: GeneratorInfo | None,
    likeness: str = "none",
    consent_scope: Iterable[str] = (),
    jobs_today: int = 0,
    quota: int = 1000,
    risk: RiskReport | None = None,
    territory: str = "",
) -> Decision:
    """Decide one request. Never raises on a request: what cannot be decided is denied.

    Args:
        request: ``principal`` must come from the authenticated identity.
        policy: from ``Policy.load``.
        generator: of the registered generator; ``None`` when the name is not registered, which the
            default policy permits for ``release`` only. The decision records which it was.
        likeness: one of ``LIKENESS``.
        consent_scope: purposes that the consent record covers.
        jobs_today: jobs of this principal already reserved today, this one not counted.
        quota: jobs a day.
        risk: scores of the effective text when already known; ``None`` scores it here.
        territory: ISO country code of the installation, for licences that leave some out.

    Returns:
        Decision with sorted rules, reasons (in the order of the rules) and obligations; ``risk``
        0-100 per category; ``details`` say which scorers ran and whether the generator is
        registered.

    >>> from avsafe.types import GenerationRequest, Task
    >>> request = GenerationRequest(local_principal(), Task.RELEASE, "elsewhere", "a red ball")
    >>> decide(request, Policy.load(None), generator=None).rules
    ('P3-owner-release-unregistered',)
    """
    details: dict[str, Any] = {"registered_generator": generator is not None}
    try:
        if risk is None:
            risk = risk_scores.score(
                request.prompt,
                negative_prompt=request.negative_prompt,
                extra=tuple(wishes(request.parameters, generator.controls if generator else ())),
            )
        scores = {name: int(risk.scores[name]) for name in risk_scores.CATEGORIES}
    except Exception as error:
        _log.exception("risk scoring failed; the request is denied")
        reason = f"The text of the request could not be scored ({type(error).__name__})."
        return _fixed(policy, RISK_FAILED, reason, details=details)
    details |= {"scorers": list(risk.scorers), "risk_complete": risk.complete}
    details |= {"evidence": list(risk.evidence)} if risk.evidence else {}

    try:
        question, entities = _question(
            request, generator, risk, scores, likeness, consent_scope, jobs_today, quota, territory
        )
        base = policy.ask_base(question, entities)
        if not base.allowed:
            if not base.rules:
                reason = (
                    f"No rule permits {request.principal.user!r} to ask for {request.task.value!r}"
                    f" with {'this' if generator else 'an unregistered'} generator."
                )
                return _fixed(policy, NOTHING_PERMITS, reason, scores, details)
            return _decision(policy, Effect.DENY, base.rules, scores, details)
        obligations = {item for rule in base.rules for item in rule.obligations}
        unknown = sorted(map(str, obligations - KNOWN_OBLIGATIONS))
        if unknown:
            names = ", ".join(
                rule.rule_id
                for rule in base.rules
                if any(item not in KNOWN_OBLIGATIONS for item in rule.obligations)
            )
            _log.error("policy %s asks for unknown obligations: %s", names, unknown)
            known = ", ".join(sorted(map(str, KNOWN_OBLIGATIONS)))
            reason = (
                f"The rule {names} asks for {', '.join(unknown)}, which nothing here can carry "
                f"out (known: {known})."
            )
            return _fixed(policy, UNKNOWN_OBLIGATION, reason, scores, details)
        review = policy.ask_review(question, entities)
    except Unclear as error:
        _log.error("the policy gave no clean answer, the request is denied: %s", error)
        return _fixed(
            policy, POLICY_FAILED, f"The policy gave no clean answer: {error}", scores, details
        )
    except Exception as error:
        _log.exception("the policy could not be asked; the request is denied")
        reason = f"The policy could not be asked ({type(error).__name__}: {error})."
        return _fixed(policy, POLICY_FAILED, reason, scores, details)
    if not review.allowed:
        if not review.rules:
            _log.error("the review set denies without a rule; the request is denied")
            return _fixed(policy, POLICY_FAILED, "The review set named no rule.", scores, details)
        return _decision(
            policy, Effect.REVIEW, review.rules, scores, details, obligations | set(FLOOR)
        )
    return _decision(policy, Effect.ALLOW, base.rules, scores, details, obligations | set(FLOOR))


def wishes(parameters: Mapping[str, Any], controls: Collection[str]) -> Iterable[str]:
    """The texts of a request's parameters in which something may be wished for.

    Of a control (``GeneratorInfo.controls``: a command line, a file name) only the words that hold
    a blank count: a sentence that was put into a command line is a prompt, ``--size`` is none.
    Numbers are no wish: a box, a ratio, a time.

    >>> list(wishes({"argv": "paint --text 'a red ball' {output}", "mood": "calm"}, ["argv"]))
    ['calm', 'a red ball']
    >>> list(wishes({"mask": "0.52,0.38,0.44,0.5", "shape": "16:9"}, []))
    []
    """
    free = parameter_texts({k: v for k, v in parameters.items() if k not in controls})
    yield from (text for text in free if not _only_numbers(text))
    for value in (v for k, v in parameters.items() if k in controls):
        words: Iterable[str] = parameter_texts(value)
        if isinstance(value, str):
            try:
                words = shlex.split(value)
            except ValueError:  # unbalanced quotes: no command line, so all of it is text
                words = [value]
        yield from (word for word in words if any(c.isspace() for c in word.strip()))


def _only_numbers(text: str) -> bool:
    """Digits, signs and blanks, however it is read: no letter and no pictogram, nor one hidden in
    escapes, hexadecimal digits or letters drawn in boxes.
    """
    if len(text) > _LONGEST_NUMBERS:  # nobody's box; the scorers count what they do not read
        return False
    return all(
        unicodedata.category(character)[0] in "NPZ" or character in _SIGNS
        for reading in (text, *(found.text for found in readings(text)))
        for character in reading
    )


def parameter_texts(value: Any, depth: int = 0) -> Iterable[str]:
    """Every string inside a request's parameters, names included, at any depth."""
    if depth > 20:
        raise ValueError("parameters are nested deeper than 20 levels")
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, str | bytes | Mapping | list | tuple | set | frozenset):
                yield from parameter_texts(item, depth + 1)
            if isinstance(key, str) and len(key) > 24:  # longer than a parameter's name
                yield key
    elif isinstance(value, list | tuple | set | frozenset):
        for item in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            yield from parameter_texts(item, depth + 1)


def _question(
    request: GenerationRequest,
    generator: GeneratorInfo | None,
    risk: RiskReport,
    scores: Mapping[str, int],
    likeness: str,
    consent_scope: Iterable[str],
    jobs_today: int,
    quota: int,
    territory: str,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The Cedar request and the entities it names."""
    user = {"type": "Avsafe::User", "id": request.principal.user}
    resource = {"type": "Avsafe::Generator", "id": request.generator}
    groups = [{"type": "Avsafe::Role", "id": name} for name in request.principal.roles]
    groups += [{"type": "Avsafe::Team", "id": name} for name in request.principal.teams]
    context: dict[str, Any] = {
        "task": Task(request.task).value,
        "risk": dict(scores),
        "risk_complete": risk.complete,
        "unscored_chars": risk.unscored_chars,
        "purpose": request.purpose,
        "territory": territory.upper(),
        "likeness": likeness,
        "consent_scope": sorted(set(consent_scope)),
        "portrait": any(item.role in _PORTRAIT_ROLES for item in request.inputs),
        "registered_generator": generator is not None,
        "jobs_today": int(jobs_today),
        "quota": int(quota),
    }
    if request.duration_s is not None:
        context["duration_ms"] = math.ceil(request.duration_s * 1000)
    if request.width is not None and request.height is not None:
        context["pixels"] = int(request.width) * int(request.height)
    elif request.width is not None or request.height is not None:
        side = int(request.width or request.height or 0)
        context["pixels"] = side * side  # the other side is the generator's choice: take a square
    question = {
        "principal": user,
        "action": {"type": "Avsafe::Action", "id": Task(request.task).value},
        "resource": resource,
        "context": context,
    }
    entities: list[dict[str, Any]] = [
        {"uid": user, "attrs": {"suspended": request.principal.suspended}, "parents": groups},
        {"uid": resource, "attrs": _generator_attributes(generator), "parents": []},
    ]
    entities += [{"uid": group, "attrs": {}, "parents": []} for group in groups]
    return question, entities


def _generator_attributes(generator: GeneratorInfo | None) -> dict[str, Any]:
    if generator is None:  # media made elsewhere: its limits are its maker's affair
        return {
            "tasks": [Task.RELEASE.value],
            "licence": "unknown",
            "commercial_ok": False,
            "worldwide": True,
            "territories": [],
            "excluded": [],
            "realism": "unknown",
            "max_duration_ms": 2**62,
            "max_pixels": 2**62,
        }
    worldwide, only, excluded = territories(generator.territory)
    return {
        "tasks": [Task(task).value for task in generator.tasks],
        "licence": generator.licence,
        "commercial_ok": generator.commercial_ok,
        "worldwide": worldwide,
        "territories": sorted(only),
        "excluded": sorted(excluded),
        "realism": generator.realism,
        "max_duration_ms": math.floor(generator.max_duration_s * 1000),
        "max_pixels": int(generator.max_pixels),
    }


def territories(text: str) -> tuple[bool, frozenset[str], frozenset[str]]:
    """A licence's territory -> (worldwide, only these, all but these), as upper-case codes.

    >>> territories("worldwide except GB, KR")[2] == {"GB", "KR"}
    True
    """
    words = text.strip()
    if words.lower() == "worldwide":
        return True, frozenset(), frozenset()
    match = re.fullmatch(r"worldwide\s+(?:except|excluding|without)\s+(.+)", words, re.I)
    codes = frozenset(re.findall(r"[A-Z]+", (match[1] if match else words).upper()))
    codes |= _EU if "EU" in codes else frozenset()
    if match:
        return False, frozenset(), codes
    return False, codes or frozenset({"NOT STATED"}), frozenset()


def _decision(
    policy: Policy,
    effect: Effect,
    rules: tuple[Rule, ...],
    scores: Mapping[str, int],
    details: Mapping[str, Any],
    obligations: Iterable[Obligation] = (),
) -> Decision:
    appeals = sorted({rule.appeal for rule in rules if rule.appeal})
    return Decision(
        effect=effect,
        rules=tuple(rule.rule_id for rule in rules),
        reasons=tuple(rule.reason for rule in rules),
        obligations=tuple(sorted(obligations, key=str)),
        risk=dict(scores),
        appeal=" ".join(appeals) or None,
        policy_sha256=policy.sha256,
        details=dict(details),
    )


def _fixed(
    policy: Policy,
    rule_id: str,
    reason: str,
    scores: Mapping[str, int] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Decision:
    rule = Rule(rule_id, "forbid", reason)
    return _decision(policy, Effect.DENY, (rule,), scores or {}, details or {})
