"""The checks of C2PA's public asset rubric (conformance 0.2, specification 2.4), in our own words,
on what we sign. Source: c2pa-org/conformance-public, asset-rubrics, release 1.0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avsafe.provenance import settings, sign, sourcetypes
from avsafe.types import Ingredient, SoftBinding
from tests.provenance_kit import make_manifest, make_media, make_signer

Manifest = dict[str, Any]

INCEPTION = {"c2pa.created", "c2pa.opened"}
# Not an editorial change, so they need no digitalSourceType.
NON_EDITORIAL = {
    *("c2pa.converted", "c2pa.published", "c2pa.repackaged", "c2pa.transcoded"),
    *("c2pa.resized.proportional", "c2pa.enhanced", "c2pa.edited.metadata", "c2pa.redacted"),
    *("c2pa.watermarked", "c2pa.watermarked.bound", "c2pa.watermarked.unbound", "c2pa.placed"),
}
ACTIONS = {
    *NON_EDITORIAL,
    *INCEPTION,
    *("c2pa.addedText", "c2pa.edited", "c2pa.cropped", "c2pa.trimmed", "c2pa.dubbed"),
} - {"c2pa.watermarked"}
ASSERTIONS = {
    *("c2pa.actions.v2", "c2pa.ingredient.v3", "c2pa.soft-binding", "c2pa.ai-disclosure"),
    *("c2pa.hash.data", "c2pa.hash.bmff.v3", "c2pa.time-stamp", "c2pa.embedded-data"),
}
PARAMETERS = {"redacted", "ingredients", "description", "relatedAssertions", "multipleInstances"}
RELATIONSHIPS = {"parentOf", "inputTo", "componentOf"}


def actions(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        item
        for data in manifest["assertions"].values()
        if isinstance(data, dict)
        for item in data.get("actions") or ()
    ]


def ingredients(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        data
        for data in manifest["assertions"].values()
        if isinstance(data, dict) and "relationship" in data
    ]


def created(manifest: Manifest) -> list[str]:
    return [item["url"] for item in manifest["claim.v2"]["created_assertions"]]


CHECKS: dict[str, Callable[[Manifest], bool]] = {
    "every editorial action has a digital source type": lambda m: all(
        "digitalSourceType" in item
        for item in actions(m)
        if item["action"] not in INCEPTION | NON_EDITORIAL
    ),
    "the claim names specification 2.4": lambda m: (
        m["claim.v2"]["claim_generator_info"]["specVersion"].split(".")[:2] == ["2", "4"]
    ),
    "allActionsIncluded is stated in every actions assertion": lambda m: all(
        isinstance(data.get("allActionsIncluded"), bool)
        for data in m["assertions"].values()
        if isinstance(data, dict) and "actions" in data
    ),
    "an opened work has no digital source type": lambda m: (
        not any(
            "digitalSourceType" in item for item in actions(m) if item["action"] == "c2pa.opened"
        )
    ),
    "nothing is malformed and nothing mismatches": lambda m: (
        m["validationResults"]["failure"] == []
    ),
    "the first created actions assertion is c2pa.actions.v2": lambda m: next(
        url for url in created(m) if "c2pa.actions" in url
    ).endswith("c2pa.actions.v2"),
    "the first action is the inception": lambda m: actions(m)[0]["action"] in INCEPTION,
    "there is one inception": lambda m: (
        sum(item["action"] in INCEPTION for item in actions(m)) == 1
    ),
    "standard assertions are known and not deprecated": lambda m: all(
        label.split("__")[0] in ASSERTIONS for label in m["assertions"] if label.startswith("c2pa.")
    ),
    "no deprecated stds assertions": lambda m: (
        not any(label.startswith("stds.") for label in m["assertions"])
    ),
    "standard actions are known and not deprecated": lambda m: all(
        item["action"] in ACTIONS for item in actions(m) if item["action"].startswith("c2pa.")
    ),
    "our own labels and actions are namespaced": lambda m: all(
        "." in name for name in [*m["assertions"], *(item["action"] for item in actions(m))]
    ),
    "action parameters are standard or namespaced": lambda m: all(
        name in PARAMETERS or "." in name
        for item in actions(m)
        for name in item.get("parameters") or ()
    ),
    "no description or single ingredient among parameters": lambda m: (
        not any(
            {"description", "ingredient"} & set(item.get("parameters") or ()) for item in actions(m)
        )
    ),
    "the manifest has a urn:c2pa name": lambda m: m["label"].startswith("urn:c2pa:"),
    "an ingredient has validation results exactly when it has a manifest": lambda m: all(
        ("activeManifest" in item) == ("validationResults" in item) for item in ingredients(m)
    ),
    "an ingredient has a manifest or a digital source type, not both": lambda m: (
        not any("activeManifest" in item and "digitalSourceType" in item for item in ingredients(m))
    ),
    "relationships are standard": lambda m: all(
        item["relationship"] in RELATIONSHIPS for item in ingredients(m)
    ),
    "a created work has a digital source type": lambda m: all(
        item.get("digitalSourceType") in sourcetypes.KNOWN
        for item in actions(m)
        if item["action"] == "c2pa.created"
    ),
    "the claim has no deprecated specVersion": lambda m: "specVersion" not in m["claim.v2"],
    "hash assertions have no url": lambda m: (
        not any(
            "url" in data
            for label, data in m["assertions"].items()
            if label.startswith("c2pa.hash")
        )
    ),
    "an opened work refers to exactly one parent": lambda m: all(
        len((item.get("parameters") or {}).get("ingredients") or ()) == 1
        for item in actions(m)
        if item["action"] == "c2pa.opened"
    ),
    "hash, actions and bindings are created, not gathered": lambda m: (
        (
            len(created(m)) >= len([x for x in m["assertions"] if "ingredient" not in x])
            and m["claim.v2"]["gathered_assertions"] in ([], None)
        )
        or not any(
            name in item["url"]
            for item in m["claim.v2"].get("gathered_assertions") or ()
            for name in ("c2pa.hash", "c2pa.actions", "c2pa.soft-binding")
        )
    ),
}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Manifest]]:
    """What we sign in each of our shapes, as the library's conformance form."""
    import c2pa

    folder = tmp_path_factory.mktemp("rubric")
    signer = make_signer(folder / "keys")
    parent, plain = folder / "parent.mp4", make_media(folder / "plain.png")
    sign.sign_file(make_media(folder / "p.mp4"), parent, make_manifest(), signer)
    shapes = {
        "created mp4": ("mp4", make_manifest()),
        "created png": ("png", make_manifest(digital_source_type=sourcetypes.ALGORITHMIC_MEDIA)),
        "created wav": ("wav", make_manifest(soft_bindings=(), prompt="a bell")),
        "created jpg with label and two marks": (
            "jpg",
            make_manifest(
                visible_label="AI-generated",
                soft_bindings=(
                    SoftBinding("org.example.one", b"1"),
                    SoftBinding("org.example.two", b"2"),
                ),
            ),
        ),
        "created mp4 from inputs": (
            "mp4",
            make_manifest(
                ingredients=(
                    Ingredient(parent, "video/mp4", "video", "video"),
                    Ingredient(plain, "image/png", "portrait", "portrait"),
                    Ingredient(plain, "image/png", "logo", "logo", "componentOf"),
                )
            ),
        ),
        "edited mp4": (
            "mp4",
            make_manifest(
                action="c2pa.edited",
                digital_source_type=sourcetypes.COMPOSITE_WITH_TRAINED,
                ingredients=(Ingredient(parent, "video/mp4", "video", "video", "parentOf"),),
            ),
        ),
    }
    found = {}
    for number, (name, (suffix, manifest)) in enumerate(shapes.items()):
        target = folder / f"s{number}.{suffix}"
        sign.sign_file(make_media(folder / f"a{number}.{suffix}"), target, manifest, signer)
        with settings.context(settings.reading(signer.anchors_pem)) as context:
            reader = c2pa.Reader(str(target), context=context)
            found[name] = json.loads(reader.crjson())["manifests"][0]
            reader.close()
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_every_shape_passes(signed: dict[str, Manifest], check: str) -> None:
    for name, manifest in signed.items():
        assert CHECKS[check](manifest), name


def test_the_checks_can_fail(tmp_path: Path) -> None:
    """A naive manifest, signed without our builder, must not pass them all."""
    import c2pa

    signer = make_signer(tmp_path)
    naive = {
        "claim_generator_info": [{"name": "x", "version": "1"}],
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": sourcetypes.TRAINED_ALGORITHMIC_MEDIA,
                        },
                        {"action": "c2pa.saved"},
                        {"action": "c2pa.cropped"},
                    ]
                },
            }
        ],
    }
    with settings.context(settings.signing(signer.anchors_pem)) as context:
        native = c2pa.Signer.from_callback(signer.sign, c2pa.C2paSigningAlg.ES256, signer.chain_pem)
        builder = c2pa.Builder(naive, context=context)
        with make_media(tmp_path / "a.png").open("rb") as a, (tmp_path / "s.png").open("w+b") as b:
            builder.sign(native, "image/png", a, b)
    reader = c2pa.Reader(str(tmp_path / "s.png"))
    manifest = json.loads(reader.crjson())["manifests"][0]
    reader.close()
    failed = set()
    for name, check in CHECKS.items():
        try:
            passed = check(manifest)
        except (KeyError, TypeError, StopIteration):
            passed = False
        if not passed:
            failed.add(name)
    assert {
        "every editorial action has a digital source type",
        "the claim names specification 2.4",
        "allActionsIncluded is stated in every actions assertion",
        "standard actions are known and not deprecated",
    } <= failed
