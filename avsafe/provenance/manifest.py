"""types.Manifest -> the manifest definition that the C2PA library builds a claim from.

Written for C2PA 2.4. Everything the definition states was decided here: no thumbnail, no automatic
action, no path, no user, and the prompt only when the manifest carries it on purpose.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from avsafe.errors import UsageError
from avsafe.provenance import sourcetypes
from avsafe.types import Ingredient, Manifest, SoftBinding

SPEC_VERSION = "2.4.0"
GENERATION_LABEL = "org.avsafe.generation"  # our own assertion: request, not media

CREATED = "c2pa.created"
EDITED = "c2pa.edited"
_RELATIONSHIPS = ("parentOf", "componentOf", "inputTo")
_TRAINING_USES = ("allowed", "notAllowed", "constrained")

# The C2PA soft binding algorithm list (c2pa-org/softbinding-algorithm-list) gives names such as
# "com.adobe.trustmark.Q"; an algorithm of one's own has a reverse-domain name of the same form.
_ALGORITHM = re.compile(r"[a-z0-9-]+(\.[A-Za-z0-9_-]+)+")


def definition(manifest: Manifest) -> dict[str, Any]:
    """The definition, as JSON types. Ingredients are only referred to; ``sign`` adds their bytes.

    Raises UsageError when the manifest contradicts itself or the standard.
    """
    check(manifest)
    assertions = [
        _actions(manifest),
        *_soft_bindings(manifest.soft_bindings),
        _training_mining(manifest.training_mining),
        _generation(manifest),
    ]
    if manifest.digital_source_type in sourcetypes.AI:
        assertions.append(_ai_disclosure(manifest))
    return {
        "claim_version": 2,
        "claim_generator_info": [claim_generator()],
        "title": manifest.title,
        "format": manifest.mime,
        "assertions": assertions,
    }


def claim_generator() -> dict[str, str]:
    """Who writes the claim: this package."""
    return {"name": "avsafe", "version": _own_version(), "specVersion": SPEC_VERSION}


def ingredient_definition(ingredient: Ingredient) -> dict[str, Any]:
    """How one ingredient is described; its label is what the actions refer to."""
    return {
        "title": ingredient.title,
        "format": ingredient.mime,
        "relationship": ingredient.relationship,
        "label": ingredient.label,
        "instance_id": ingredient.label,
    }


def check(manifest: Manifest) -> None:
    """Raise UsageError for what the library would sign without complaint and should not."""
    sourcetypes.check(manifest.digital_source_type)
    if manifest.created_at.tzinfo is None:
        raise UsageError("Manifest.created_at must be timezone-aware, e.g. datetime.now(UTC).")
    if manifest.training_mining not in _TRAINING_USES:
        raise UsageError(
            f"training_mining must be one of {', '.join(_TRAINING_USES)}, "
            f"not {manifest.training_mining!r}."
        )
    for name, value in (("title", manifest.title), ("generator", manifest.generator)):
        if not value.strip():
            raise UsageError(f"A manifest must have a {name}.")
        if "/" in value and value.startswith(("/", "~", "file:")):
            raise UsageError(f"The manifest's {name} {value!r} is a local path; give a name.")
    parents = [item for item in manifest.ingredients if item.relationship == "parentOf"]
    if manifest.action == EDITED and len(parents) != 1:
        raise UsageError(
            f"An edit has exactly one ingredient with relationship parentOf, found {len(parents)}."
        )
    if manifest.action == CREATED and parents:
        raise UsageError(
            "A created work has no parent. Use inputTo for what went into it, or c2pa.edited."
        )
    if manifest.action not in (CREATED, EDITED):
        raise UsageError(f"Expected action {CREATED} or {EDITED}, not {manifest.action!r}.")
    labels = [item.label for item in manifest.ingredients]
    for item in manifest.ingredients:
        if item.relationship not in _RELATIONSHIPS:
            raise UsageError(
                f"Ingredient {item.label!r}: relationship must be one of "
                f"{', '.join(_RELATIONSHIPS)}, not {item.relationship!r}."
            )
        if not item.label or labels.count(item.label) > 1:
            raise UsageError(f"Ingredient labels must be unique and not empty, found {labels}.")
    for binding in manifest.soft_bindings:
        if not _ALGORITHM.fullmatch(binding.algorithm):
            raise UsageError(
                f"Soft binding algorithm {binding.algorithm!r} is not a name of the C2PA list or "
                "a reverse-domain name such as org.example.mark.1."
            )
        if not binding.value:
            raise UsageError(f"Soft binding {binding.algorithm} has no value.")


def _actions(manifest: Manifest) -> dict[str, Any]:
    when = _rfc3339(manifest.created_at)
    agent = {"name": manifest.generator, "version": manifest.generator_version or "unknown"}
    base = {"when": when, "softwareAgent": agent}
    source = {"digitalSourceType": manifest.digital_source_type}
    by_relation = {
        relation: [item.label for item in manifest.ingredients if item.relationship == relation]
        for relation in _RELATIONSHIPS
    }
    inputs = _referring(by_relation["inputTo"])
    if manifest.action == CREATED:
        actions: list[dict[str, Any]] = [{"action": CREATED, **base, **source, **inputs}]
    else:
        # What was opened is the parent; how it was changed, and by what, is the edit.
        actions = [
            {"action": "c2pa.opened", "when": when, **_referring(by_relation["parentOf"])},
            {"action": EDITED, **base, **source, **inputs},
        ]
    if by_relation["componentOf"]:
        actions.append(
            {"action": "c2pa.placed", "when": when, **_referring(by_relation["componentOf"])}
        )
    own = {"when": when, "softwareAgent": {"name": "avsafe", "version": _own_version()}}
    if manifest.visible_label:
        actions.append(
            {
                "action": "c2pa.addedText",
                **own,
                # The label's wording is a person's, drawn without a generative model.
                "digitalSourceType": sourcetypes.IPTC + "digitalCreation",
                "description": f"Visible label: {manifest.visible_label}",
            }
        )
    if manifest.soft_bindings:
        actions.append({"action": "c2pa.watermarked.bound", **own})
    return {
        "label": "c2pa.actions.v2",
        "created": True,
        "data": {"actions": actions, "allActionsIncluded": True},
    }


def _referring(labels: Iterable[str]) -> dict[str, Any]:
    ids = list(labels)
    return {"parameters": {"ingredientIds": ids}} if ids else {}


def _soft_bindings(bindings: Iterable[SoftBinding]) -> list[dict[str, Any]]:
    return [
        {
            "label": "c2pa.soft-binding",
            "created": True,
            "data": {
                "alg": binding.algorithm,
                "blocks": [{"scope": {}, "value": base64.b64encode(binding.value).decode("ascii")}],
            },
        }
        for binding in bindings
    ]


def _training_mining(use: str) -> dict[str, Any]:
    entries = ("ai_training", "ai_generative_training", "ai_inference", "data_mining")
    return {
        "label": "cawg.training-mining",
        "created": True,
        "data": {"entries": {f"cawg.{entry}": {"use": use} for entry in entries}},
    }


def _generation(manifest: Manifest) -> dict[str, Any]:
    data: dict[str, Any] = {"release_id": manifest.release_id}
    if manifest.prompt_hash:
        data["prompt_hash"] = {"alg": "hmac-sha256", "value": manifest.prompt_hash}
    if manifest.prompt is not None:
        data["prompt"] = manifest.prompt
    if manifest.visible_label:
        data["visible_label"] = manifest.visible_label
    if manifest.details:
        data["details"] = dict(manifest.details)
    return {"label": GENERATION_LABEL, "created": True, "data": data}


def _ai_disclosure(manifest: Manifest) -> dict[str, Any]:
    """C2PA 2.4, "AI disclosure": what kind of thing made it, and its name."""
    return {
        "label": "c2pa.ai-disclosure",
        "created": True,
        "data": {"modelType": "c2pa.types.model", "modelName": manifest.generator},
    }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _own_version() -> str:
    try:
        return version("avsafe")
    except PackageNotFoundError:
        return "0"
