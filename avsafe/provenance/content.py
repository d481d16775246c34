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
    CertificateReport,
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


@dataclass(frozen=True)
class Store:
    """A manifest store as the library prints it, and which of its manifests are updates."""

    data: Mapping[str, Any]
    updates: frozenset[str] = frozenset()

    @property
    def manifests(self) -> Mapping[str, Mapping[str, Any]]:
        return self.data.get("manifests") or {}

    @property
    def results(self) -> Mapping[str, Any]:
        return self.data.get("validation_results") or {}

    @property
    def active_id(self) -> str | None:
        return _text(self.data.get("active_manifest"))

    @property
    def binding_id(self) -> str | None:
        """The manifest that binds the content: the active one, or the one below it when that is an
        update manifest (a later time stamp, for one), which has no binding of its own."""
        label = self.active_id
        for _ in range(_MAX_DEPTH):
            if label not in self.updates:
                return label
            below = self.parent_of(label or "")
            label = _text(below.get("active_manifest")) if below else None
        return None

    def parent_of(self, label: str) -> Mapping[str, Any] | None:
        """The ingredient that a manifest is a version of."""
        for item in (self.manifests.get(label) or {}).get("ingredients") or ():
            if isinstance(item, Mapping) and item.get("relationship") == "parentOf":
                return item
        return None


def describe(store: Store, *, include_personal: bool) -> Content:
    """The store in our words."""
    label = store.binding_id
    manifest = store.manifests.get(label or "", {})
    signature = manifest.get("signature_info") or {}
    ingredients = tuple(_ingredients(manifest, store, _Budget()))
    authority, trusted, stamped_at = _timestamp(store)
    return Content(
        manifest_id=label,
        active_manifest_id=store.active_id,
        issuer=_text(signature.get("issuer")),
        signed_at=_text(signature.get("time")) or stamped_at,
        timestamped=trusted,
        timestamp_authority=authority,
        algorithm=_text(signature.get("alg")),
        claim_generator=_claim_generator(manifest),
        format=_text(manifest.get("format")),
        actions=tuple(_actions(manifest)),
        source_types=tuple(dict.fromkeys(_source_types(manifest, ingredients))),
        ingredients=ingredients,
        soft_bindings=tuple(_soft_bindings(manifest)),
        personal=_personal(manifest, signature) if include_personal else {},
    )


def _timestamp(store: Store) -> tuple[str | None, bool, str | None]:
    """The authority whose valid time stamp is on the binding manifest, whether we trust it, when.

    The stamp is in the manifest's own signature, or in a later update manifest: an assertion over
    the first signature, from the authority that stamped the update itself.
    """
    codes = Codes.of(store.results.get("activeManifest"))
    top = store.manifests.get(store.active_id or "") or {}
    label = store.binding_id
    if label != store.active_id and not any(
        label in data for data in _assertions(top, "c2pa.time-stamp")
    ):
        return None, False, None
    for code, text in codes.success:
        if code == "timeStamp.validated":
            authority = text.rpartition(": ")[2] or "an authority without a name"
            time = _text((top.get("signature_info") or {}).get("time"))
            return authority, codes.has("timeStamp.trusted"), time
    return None, False, None


def status_of(store: Store) -> tuple[CredentialStatus, str]:
    """The status of the file as a whole.

    With update manifests on top, every manifest down to the one that binds the content must hold:
    its signer is the one that speaks of the content.
    """
    active = Codes.of(store.results.get("activeManifest"))
    deltas = [
        Codes.of(item.get("validationDeltas"))
        for item in store.results.get("ingredientDeltas") or ()
    ]
    status, reason = classify(active, deltas)
    label = store.active_id
    for _ in range(_MAX_DEPTH):
        if status is not CredentialStatus.TRUSTED or label not in store.updates:
            return status, reason
        below = store.parent_of(label or "")
        label = _text(below.get("active_manifest")) if below else None
        if below is None or label not in store.manifests:
            return CredentialStatus.DAMAGED, "the manifest that an update refers to is missing."
        status, reason = classify(_ingredient_codes(below, label or "", store))
    return CredentialStatus.DAMAGED, "its update manifests refer to one another in a circle."


def certificate(raw: Mapping[str, Any], store: Store, *, trusted: bool) -> CertificateReport | None:
    """The certificate behind the manifest that binds the content; ``raw`` is that manifest with all
    it holds. None when the library shows none."""
    signature = raw.get("signature")
    shown = signature.get("certificateInfo") if isinstance(signature, Mapping) else None
    if not isinstance(shown, Mapping):
        return None
    issuer, validity = shown.get("issuer"), shown.get("validity")
    issuer = issuer if isinstance(issuer, Mapping) else {}
    validity = validity if isinstance(validity, Mapping) else {}
    codes = _binding_codes(store)
    revoked = {"signingCredential.ocsp.revoked", "signingCredential.revoked"} & set(codes.failures)
    vouched = codes.has("signingCredential.ocsp.notRevoked")
    return CertificateReport(
        issued_by=_text(issuer.get("O")),
        valid_from=_text(validity.get("notBefore")),
        valid_until=_text(validity.get("notAfter")),
        trust_list=_trust_list(codes) if trusted else None,
        revocation="revoked" if revoked else "not-revoked" if vouched else None,
    )


def _trust_list(codes: Codes) -> str | None:
    """Which anchors the library found the signer's root in; its sentence alone says so."""
    said = dict(codes.success).get("signingCredential.trusted", "")
    lists = {"[user_anchors]": "own", "[system_anchors]": "added"}  # ``settings.reading``
    return next((name for mark, name in lists.items() if mark in said), None)


def _binding_codes(store: Store) -> Codes:
    """What was found of the manifest that binds the content, below its update manifests."""
    codes, label = Codes.of(store.results.get("activeManifest")), store.active_id
    for _ in range(_MAX_DEPTH):
        below = store.parent_of(label or "") if label in store.updates else None
        if below is None:
            break
        label = _text(below.get("active_manifest"))
        codes = _ingredient_codes(below, label or "", store)
    return codes


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
    manifest: Mapping[str, Any], store: Store, budget: _Budget, seen: tuple[str, ...] = ()
) -> Iterator[IngredientReport]:
    for item in manifest.get("ingredients") or ():
        if not isinstance(item, Mapping) or not budget.take() or len(seen) > _MAX_DEPTH:
            return
        label = _text(item.get("active_manifest"))
        own = store.manifests.get(label or "") or {}
        signature = own.get("signature_info") or {}
        failures: tuple[str, ...] = ()
        if label is None:
            status = CredentialStatus.NONE
        elif not own:
            status, failures = CredentialStatus.DAMAGED, ("ingredient.manifest.missing",)
        else:
            codes = _ingredient_codes(item, label, store)
            status, failures = classify(codes)[0], tuple(dict.fromkeys(codes.failures))
        below: tuple[IngredientReport, ...] = ()
        if label and label not in seen:
            below = tuple(_ingredients(own, store, budget, (*seen, label)))
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


def _ingredient_codes(item: Mapping[str, Any], label: str, store: Store) -> Codes:
    """As it was when the ingredient was taken in (recorded by that signer), plus what is new."""
    recorded = item.get("validation_results") or {}
    codes = Codes.of(recorded.get("activeManifest"))
    if not recorded:  # written before C2PA 2.x: only a list of failures, or nothing
        old = tuple(
            (str(entry.get("code", "")), str(entry.get("explanation") or ""))
            for entry in item.get("validation_status") or ()
        )
        # The store itself was checked just now (a broken one would be in the deltas); that the
        # content matched is the word of whoever took it in: the content itself is not here.
        assumed = (("claimSignature.validated", ""), ("assertion.dataHash.match", ""))
        codes = Codes(success=assumed, failure=old)
    for entry in store.results.get("ingredientDeltas") or ():
        deltas = entry.get("validationDeltas")
        if label in _urls(deltas):
            codes = codes.then(Codes.of(deltas))
    return codes


def _urls(deltas: Any) -> str:
    """The addresses that a set of codes speaks about."""
    if not isinstance(deltas, Mapping):
        return ""
    entries = [*(deltas.get("success") or ()), *(deltas.get("failure") or ())]
    return " ".join(str(entry.get("url", "")) for entry in entries)


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
