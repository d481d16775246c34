"""A policy folder, parsed once, and one question put to it.

Cedar answers "allow" when a ``forbid`` fails with an error, unless the request is checked against
the schema. So the schema is always passed, every policy is validated and linted when it is loaded,
and whatever is not a clean answer raises ``Unclear``, which ``decide`` turns into a denial.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cedarpy

from avsafe.errors import PolicyError
from avsafe.types import Obligation

DEFAULT_FOLDER = Path(__file__).parent / "default"
BASE, REVIEW, SCHEMA = "base.cedar", "review.cedar", "schema.cedarschema"
MAX_POLICY_BYTES = 1 << 20  # a file of rules that people read is far smaller
# Cedar's parser calls itself for each level and each link of a chain, and ends the process where
# its stack does. Rules come from whoever tries some on the page, too.
DEEPEST = 50  # brackets inside brackets
LONGEST_RULE = 8000  # characters, without texts and comments

KNOWN_OBLIGATIONS = frozenset(
    {
        Obligation("watermark", "invisible"),
        Obligation("c2pa", "sign"),
        Obligation("label", "visible"),
        Obligation("notice", "whole-clip"),
    }
)
_ANNOTATIONS = frozenset({"id", "reason", "effect", "obligation", "appeal", "severity"})
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*', re.DOTALL)
# Stands for "nothing to look at" in the review set, which holds only forbids; never shown.
_NO_REVIEW = '@id("no-review-needed") permit (principal, action, resource);'


class Unclear(Exception):
    """Cedar gave no clean answer; the message says why."""


@dataclass(frozen=True)
class Rule:
    """One policy as people wrote it."""

    rule_id: str
    effect: str  # permit | forbid
    reason: str
    obligations: tuple[Obligation, ...] = ()
    appeal: str | None = None


@dataclass(frozen=True)
class Answer:
    """What one set of rules says; ``rules`` are those that decided, sorted by id."""

    allowed: bool
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Policy:
    """Two sets of rules and the schema, parsed and checked. ``sha256`` is of the three texts."""

    folder: Path
    sha256: str
    rules: Mapping[str, Rule]  # every rule of both sets, by id
    _base: RuleSet = field(repr=False)
    _review: RuleSet = field(repr=False)

    @classmethod
    def load(cls, folder: Path | None = None) -> Policy:
        """Read and check ``base.cedar``, ``review.cedar`` and ``schema.cedarschema``.

        ``None``, an absent folder or an empty one give the packaged default. A folder that holds
        anything must hold all three files. Raises PolicyError, which names the policy and what is
        wrong with it.

        >>> len(Policy.load(None).sha256)
        64
        """
        if folder is None or not folder.exists() or (folder.is_dir() and not _has_files(folder)):
            folder = DEFAULT_FOLDER
        texts = {name: _read(folder, name) for name in (BASE, REVIEW, SCHEMA)}
        digest = hashlib.sha256()
        for name in (BASE, REVIEW, SCHEMA):
            digest.update(f"{name}\0{len(texts[name])}\0".encode())  # lengths: no text can shift
            digest.update(texts[name].encode())
        try:
            schema = cedarpy.Schema.from_str(texts[SCHEMA])
        except ValueError as error:
            raise PolicyError(f"{folder / SCHEMA} is not a Cedar schema: {error}") from error
        base = RuleSet.parse(texts[BASE], schema, folder / BASE, review=False)
        review = RuleSet.parse(texts[REVIEW], schema, folder / REVIEW, review=True)
        both = sorted(set(base.by_id()) & set(review.by_id()))
        if both:
            raise PolicyError(
                f"{folder}: @id {both[0]!r} is used in {BASE} and in {REVIEW}. "
                "Give every policy its own id."
            )
        return cls(folder, digest.hexdigest(), base.by_id() | review.by_id(), base, review)

    def ask_base(
        self, question: Mapping[str, Any], entities: Sequence[Mapping[str, Any]]
    ) -> Answer:
        return self._base.ask(question, entities)

    def ask_review(
        self, question: Mapping[str, Any], entities: Sequence[Mapping[str, Any]]
    ) -> Answer:
        """``allowed`` is True when no review rule fits."""
        return self._review.ask(question, entities)


@dataclass(frozen=True)
class RuleSet:
    """One parsed file of rules."""

    policies: Any  # cedarpy.PolicySet
    schema: Any  # cedarpy.Schema
    rules: Mapping[str, Rule]  # by Cedar's own id: policy0, policy1, ...

    @classmethod
    def parse(cls, text: str, schema: Any, path: Path, *, review: bool) -> RuleSet:
        _refuse_endless(text, path)
        try:
            handle = cedarpy.PolicySet.from_str(text)
            tree = json.loads(cedarpy.policies_to_json_str(text))
        except ValueError as error:
            raise PolicyError(f"{path} does not parse: {error}") from error
        except RecursionError:
            raise PolicyError(f"{path} holds a condition that is too long: divide it.") from None
        if tree.get("templates"):
            raise PolicyError(f"{path}: templates (?principal, ?resource) are not supported.")
        rules: dict[str, Rule] = {}
        for cedar_id, node in tree["staticPolicies"].items():
            rules[cedar_id] = _lint(node, f"{path}: {cedar_id}", review=review)
        seen: dict[str, str] = {}
        for cedar_id, rule in rules.items():
            if rule.rule_id in seen:
                raise PolicyError(
                    f"{path}: @id {rule.rule_id!r} is used twice ({seen[rule.rule_id]} and "
                    f"{cedar_id}). Give every policy its own id."
                )
            seen[rule.rule_id] = cedar_id
        _validate(text, schema, path, rules)
        if review:
            handle = handle.with_added_str(_NO_REVIEW)
        elif not any(rule.effect == "permit" for rule in rules.values()):
            raise PolicyError(f"{path} permits nothing: add at least one `permit`.")
        return cls(handle, schema, rules)

    def by_id(self) -> dict[str, Rule]:
        return {rule.rule_id: rule for rule in self.rules.values()}

    def ask(self, question: Mapping[str, Any], entities: Sequence[Mapping[str, Any]]) -> Answer:
        """Raises Unclear on any error, any undecided answer and any rule that is not ours."""
        try:
            result = cedarpy.is_authorized(
                dict(question), self.policies, json.dumps(list(entities)), self.schema
            )
        except Exception as error:
            raise Unclear(f"{type(error).__name__}: {error}") from error
        except BaseException as error:
            # A panic of the Rust library is not an Exception, and must not leave the gate open.
            if type(error).__name__ != "PanicException":
                raise
            raise Unclear(f"the policy engine panicked: {error}") from error
        diagnostics = result.diagnostics
        if diagnostics.errors:
            raise Unclear("; ".join(sorted(str(item) for item in diagnostics.errors)))
        if result.decision not in (cedarpy.Decision.Allow, cedarpy.Decision.Deny):
            raise Unclear(f"no decision ({result.decision})")
        found = [self.rules[key] for key in diagnostics.reasons if key in self.rules]
        rules = tuple(sorted(found, key=lambda rule: rule.rule_id))  # Cedar's order varies
        return Answer(result.decision is cedarpy.Decision.Allow, rules)


def parse_obligations(text: str) -> tuple[Obligation, ...]:
    """``"watermark=invisible; c2pa=sign"`` -> two obligations, in that order.

    >>> [str(item) for item in parse_obligations("label=visible; c2pa=sign")]
    ['label=visible', 'c2pa=sign']
    """
    items = [item.strip() for item in text.split(";")]
    pairs = [item.partition("=") for item in items if item]
    return tuple(Obligation(name.strip(), value.strip()) for name, _, value in pairs)


def _has_files(folder: Path) -> bool:
    return any(True for _ in folder.iterdir())


def _read(folder: Path, name: str) -> str:
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(
            f"{path} cannot be read ({error.strerror}). A policy folder holds {BASE}, {REVIEW} and "
            f"{SCHEMA}: start from `avsafe policy init FOLDER`."
        ) from error
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyError(f"{path} is larger than {MAX_POLICY_BYTES} bytes.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path} is not UTF-8 text: {error}") from error


def _refuse_endless(text: str, path: Path) -> None:
    """Raises PolicyError for rules that Cedar's parser would die of."""
    plain = _TEXTS.sub("", text)
    if any(len(rule) > LONGEST_RULE for rule in plain.split(";")):
        raise PolicyError(f"{path} holds a rule of more than {LONGEST_RULE} characters: divide it.")
    depth = 0
    for bracket in re.findall(r"[\[({\])}]", plain):
        depth = depth + 1 if bracket in "[({" else max(0, depth - 1)
        if depth > DEEPEST:
            raise PolicyError(f"{path} holds more than {DEEPEST} brackets inside one another.")


def _lint(node: Mapping[str, Any], where: str, *, review: bool) -> Rule:
    """What Cedar lets pass and a safety officer would not."""
    notes = node.get("annotations") or {}
    rule_id = (notes.get("id") or "").strip()
    if not rule_id:
        raise PolicyError(f"{where} has no @id. Every policy needs one of its own.")
    where = f"{where} (@id {rule_id!r})"
    reason = (notes.get("reason") or "").strip()
    if not reason:
        raise PolicyError(f"{where} has no @reason. Write one sentence for the person who asks.")
    strange = sorted(set(notes) - _ANNOTATIONS)
    if strange:
        known = ", ".join(f"@{name}" for name in sorted(_ANNOTATIONS))
        raise PolicyError(f"{where} has the annotation @{strange[0]}; known are {known}.")
    effect = node["effect"]
    wanted = "review" if review else {"permit": "allow", "forbid": "deny"}[effect]
    if review and effect != "forbid":
        raise PolicyError(f"{where}: {REVIEW} holds only `forbid`; permits belong in {BASE}.")
    if notes.get("effect", None if review else wanted) != wanted:
        raise PolicyError(f'{where}: expected @effect("{wanted}") here.')
    obligations = parse_obligations(notes.get("obligation") or "")
    if obligations and effect != "permit":
        raise PolicyError(f"{where}: @obligation has no meaning on a `forbid`.")
    return Rule(rule_id, effect, reason, obligations, notes.get("appeal") or None)


def _validate(text: str, schema: Any, path: Path, rules: Mapping[str, Rule]) -> None:
    result = cedarpy.validate_policies(text, schema)
    if result.validation_passed:
        return
    lines = []
    for error in result.errors:
        rule = rules.get(error.policy_id)
        message = error.error
        if rule:
            message = f"@id {rule.rule_id!r}: {message.replace(error.policy_id, rule.rule_id)}"
        lines.append(message)
    raise PolicyError(f"{path} does not fit the schema: " + "; ".join(sorted(lines)))
