"""What a manifest store says, out of the library's JSON: actions, sources, ingredients, bindings.

Personal fields (authors, places, CAWG identities, file titles, names of people on certificates) are
left out unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from avsafe.provenance import sourcetypes
from avsafe.provenance.classify import Codes, classify
from avsafe.provenance.report import (
    Action,
    CredentialStatus,
    IngredientReport,
    SoftBindingReport,
)

_MAX_DEPTH = 16  # of ingredients within ingredients; a hostile store may refer to itself
_MAX_INGREDIENTS = 256
# Assertions that are about people or places rather than about the system that made the work.
_PERSONAL = ("stds.schema-org.CreativeWork", "stds.exif", "stds.iptc", "cawg.", "c2pa.metadata")


@dataclass(frozen=True)
class Content:
    """The part of a CredentialReport that comes out of the manifests."""

    manifest_id: str | None
    active_manifest_id: str | None
    issuer: str | None
    signed_at: str | None
    timestamped: bool
    timestamp_authority: str | None
    algorithm: str | None
    claim_generator: str | None
    format: str | None
    actions: tuple[Action, ...]
    source_types: tuple[str, ...]
    ingredients: tuple[IngredientReport, ...]
    soft_bindings: tuple[SoftBindingReport, ...]
    personal: Mapping[str, Any] = field(default_factory=dict)


def describe(
    store: Mapping[str, Any], results: Mapping[str, Any], *, include_personal: bool
) -> Content:
    """The store in our words. ``results`` are its validation results."""
    manifests: Mapping[str, Mapping[str, Any]] = store.get("manifests") or {}
    active_id = store.get("active_manifest")
    label = _binding_manifest(manifests, active_id)
    manifest = manifests.get(label or "", {})
    signature = manifest.get("signature_info") or {}
    ingredients = tuple(_ingredients(manifest, manifests, results, _Budget()))
    stamp = _timestamp(results, label, active_id)
    return Content(
        manifest_id=label,
        active_manifest_id=active_id,
        issuer=_text(signature.get("issuer")),
        signed_at=_text(signature.get("time")),
        timestamped=stamp is not None,
        timestamp_authority=stamp,
        algorithm=_text(signature.get("alg")),
        claim_generator=_claim_generator(manifest),
        format=_text(manifest.get("format")),
        actions=tuple(_actions(manifest)),
        source_types=tuple(dict.fromkeys(_source_types(manifest, ingredients))),
        ingredients=ingredients,
        soft_bindings=tuple(_soft_bindings(manifest)),
        personal=_personal(manifest, signature) if include_personal else {},
    )


def _binding_manifest(manifests: Mapping[str, Any], active: str | None) -> str | None:
    """The manifest that speaks of the content: the active one, or its parent when the active one is
    an update manifest (a later time stamp, for one) that has no binding of its own."""
    label = active
    for _ in range(_MAX_DEPTH):
        manifest = manifests.get(label or "") or {}
        labels = [str(item.get("label", "")) for item in manifest.get("assertions") or ()]
        parents = [
            item
            for item in manifest.get("ingredients") or ()
            if item.get("relationship") == "parentOf" and item.get("active_manifest")
        ]
        says_something = any(name.startswith("c2pa.actions") for name in labels)
        is_update = any(name.startswith("c2pa.time-stamp") for name in labels)
        if not parents or (says_something and not is_update):
            return label
        label = str(parents[0]["active_manifest"])
    return active


def _timestamp(results: Mapping[str, Any], label: str | None, active: str | None) -> str | None:
    """The authority whose time stamp on the binding manifest is valid and trusted."""
    codes = Codes.of(results.get("activeManifest"))
    if not codes.has("timeStamp.trusted"):
        return None
    for code, text in codes.success:
        if code == "timeStamp.trusted":
            return text.rpartition(": ")[2] or "unnamed"
    return None


def _claim_generator(manifest: Mapping[str, Any]) -> str | None:
    infos = manifest.get("claim_generator_info") or ()
    for info in infos:
        name, version = _text(info.get("name")), _text(info.get("version"))
        if name:
            return f"{name} {version}" if version else name
    return _text(manifest.get("claim_generator"))


def _actions(manifest: Mapping[str, Any]) -> Iterator[Action]:
    for data in _assertions(manifest, "c2pa.actions"):
        for item in data.get("actions") or ():
            if not isinstance(item, Mapping):
                continue
            source = _text(item.get("digitalSourceType"))
            yield Action(
                action=_text(item.get("action")) or "unknown",
                when=_text(item.get("when")),
                digital_source_type=sourcetypes.normal(source) if source else None,
                software_agent=_agent(item.get("softwareAgent")),
            )


def _source_types(
    manifest: Mapping[str, Any], ingredients: tuple[IngredientReport, ...]
) -> Iterator[str]:
    """Of this work's own actions, and of the works it is a version of or contains. What merely went
    in (inputTo: a portrait that a model was shown) says nothing about what came out."""
    for action in _actions(manifest):
        if action.digital_source_type:
            yield action.digital_source_type
    for data in _assertions(manifest, "stds.iptc", "c2pa.metadata"):
        source = _text(data.get("Iptc4xmpExt:DigitalSourceType"))
        if source:
            yield sourcetypes.normal(source)
    for item in manifest.get("ingredients") or ():
        source = _text(item.get("digital_source_type") or item.get("digitalSourceType"))
        if source and item.get("relationship") != "inputTo":
            yield sourcetypes.normal(source)
    for ingredient in ingredients:
        if ingredient.relationship != "inputTo" and ingredient.status not in (
            CredentialStatus.ALTERED,
            CredentialStatus.DAMAGED,
        ):
            yield from ingredient.source_types


class _Budget:
    """How many ingredients may still be described."""

    def __init__(self) -> None:
        self.left = _MAX_INGREDIENTS

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def _ingredients(
    manifest: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Any],
    budget: _Budget,
    seen: tuple[str, ...] = (),
) -> Iterator[IngredientReport]:
    for item in manifest.get("ingredients") or ():
        if not isinstance(item, Mapping) or not budget.take() or len(seen) > _MAX_DEPTH:
            return
        label = _text(item.get("active_manifest"))
        own = manifests.get(label or "") or {}
        signature = own.get("signature_info") or {}
        status, failures = _ingredient_status(item, label, own, results)
        below: tuple[IngredientReport, ...] = ()
        if label and label not in seen:
            below = tuple(_ingredients(own, manifests, results, budget, (*seen, label)))
        yield IngredientReport(
            relationship=_text(item.get("relationship")) or "unknown",
            status=status,
            format=_text(item.get("format")),
            manifest_id=label,
            issuer=_text(signature.get("issuer")),
            signed_at=_text(signature.get("time")),
            claim_generator=_claim_generator(own) if own else None,
            source_types=tuple(dict.fromkeys(_source_types(own, below))),
            failures=failures,
            ingredients=below,
        )


def _ingredient_status(
    item: Mapping[str, Any],
    label: str | None,
    own: Mapping[str, Any],
    results: Mapping[str, Any],
) -> tuple[CredentialStatus, tuple[str, ...]]:
    """As it was when the ingredient was taken in (recorded by that signer), plus what is new."""
    if label is None:
        return CredentialStatus.NONE, ()
    if not own:
        return CredentialStatus.DAMAGED, ("ingredient.manifest.missing",)
    recorded = item.get("validation_results") or {}
    codes = Codes.of(recorded.get("activeManifest"))
    if not recorded:  # written before C2PA 2.x: only a list of failures, or nothing
        old = tuple(
            (str(entry.get("code", "")), str(entry.get("explanation") or ""))
            for entry in item.get("validation_status") or ()
        )
        assumed = (("claimSignature.validated", ""), ("assertion.dataHash.match", ""))
        codes = Codes(success=assumed, failure=old)
    new = tuple(
        (code, text)
        for entry in results.get("ingredientDeltas") or ()
        if label in _urls(entry.get("validationDeltas"))
        for code, text in Codes.of(entry.get("validationDeltas")).failure
    )
    codes = Codes(codes.success, codes.informational, codes.failure + new)
    status, _ = classify(codes)
    return status, tuple(dict.fromkeys(codes.failures))


def _urls(deltas: Any) -> str:
    if not isinstance(deltas, Mapping):
        return ""
    return " ".join(str(entry.get("url", "")) for entry in deltas.get("failure") or ())


def _soft_bindings(manifest: Mapping[str, Any]) -> Iterator[SoftBindingReport]:
    for data in _assertions(manifest, "c2pa.soft-binding"):
        for block in data.get("blocks") or ():
            value = block.get("value") if isinstance(block, Mapping) else None
            if isinstance(value, str) and value:
                yield SoftBindingReport(_text(data.get("alg")) or "unknown", value)


def _personal(manifest: Mapping[str, Any], signature: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(item.get("label")): item.get("data")
        for item in manifest.get("assertions") or ()
        if str(item.get("label", "")).startswith(_PERSONAL)
        and not str(item.get("label", "")).startswith("cawg.training-mining")
    }
    if signature.get("common_name"):
        found["signer.common_name"] = str(signature["common_name"])
    if manifest.get("title"):
        found["title"] = str(manifest["title"])
    titles = [str(item["title"]) for item in manifest.get("ingredients") or () if "title" in item]
    if titles:
        found["ingredient.titles"] = titles
    return found


def _assertions(manifest: Mapping[str, Any], *labels: str) -> Iterator[Mapping[str, Any]]:
    for item in manifest.get("assertions") or ():
        data = item.get("data")
        if str(item.get("label", "")).startswith(labels) and isinstance(data, Mapping):
            yield data


def _agent(value: Any) -> str | None:
    if isinstance(value, Mapping):
        name, version = _text(value.get("name")), _text(value.get("version"))
        return f"{name} {version}" if name and version else name
    return _text(value)


def _text(value: Any) -> str | None:
    """A string out of hostile JSON, bounded."""
    return value[:500] if isinstance(value, str) and value else None
