"""What goes into a manifest, what is refused, and settings that must not be misspelt."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from avsafe.errors import UsageError
from avsafe.provenance import settings, sourcetypes
from avsafe.provenance.manifest import definition
from avsafe.types import Ingredient, SoftBinding
from tests.provenance_kit import make_manifest


def assertion(definition_: dict[str, Any], label: str) -> dict[str, Any]:
    (found,) = [item for item in definition_["assertions"] if item["label"] == label]
    assert found["created"] is True  # vouched for by us, not gathered from elsewhere
    return dict(found["data"])


def ingredient(relationship: str = "inputTo", label: str = "portrait") -> Ingredient:
    return Ingredient(Path("x.png"), "image/png", label, label, relationship)


def test_a_created_work() -> None:
    actions = assertion(definition(make_manifest()), "c2pa.actions.v2")
    assert actions["allActionsIncluded"] is True
    created, marked = actions["actions"]
    assert created == {
        "action": "c2pa.created",
        "when": "2026-03-01T12:00:00Z",
        "digitalSourceType": sourcetypes.TRAINED_ALGORITHMIC_MEDIA,
        "softwareAgent": {"name": "world", "version": "1.0"},
    }
    assert marked["action"] == "c2pa.watermarked.bound"


def test_an_edited_work_opens_its_parent_first() -> None:
    manifest = make_manifest(
        action="c2pa.edited",
        digital_source_type=sourcetypes.COMPOSITE_WITH_TRAINED,
        ingredients=(ingredient("parentOf", "video"), ingredient("inputTo", "mask")),
    )
    opened, edited, _ = assertion(definition(manifest), "c2pa.actions.v2")["actions"]
    assert opened["action"] == "c2pa.opened"
    assert opened["parameters"] == {"ingredientIds": ["video"]}
    assert "digitalSourceType" not in opened
    assert edited["action"] == "c2pa.edited"
    assert edited["digitalSourceType"] == sourcetypes.COMPOSITE_WITH_TRAINED
    assert edited["parameters"] == {"ingredientIds": ["mask"]}


def test_parts_are_placed_and_labels_are_added_text() -> None:
    manifest = make_manifest(
        ingredients=(ingredient("componentOf", "logo"),), visible_label="AI-generated"
    )
    names = [
        item["action"] for item in assertion(definition(manifest), "c2pa.actions.v2")["actions"]
    ]
    assert names == ["c2pa.created", "c2pa.placed", "c2pa.addedText", "c2pa.watermarked.bound"]


def test_soft_bindings_carry_the_mark() -> None:
    data = assertion(definition(make_manifest()), "c2pa.soft-binding")
    assert data["alg"] == "org.example.mark.1"
    assert base64.b64decode(data["blocks"][0]["value"]) == b"\x01\x02\x03\x04"
    assert data["blocks"][0]["scope"] == {}
    without = definition(make_manifest(soft_bindings=()))
    assert "watermarked" not in json.dumps(without)


def test_the_prompt_is_hashed_unless_it_is_set_on_purpose() -> None:
    assert "prompt" not in assertion(definition(make_manifest()), "org.avsafe.generation")
    told = assertion(definition(make_manifest(prompt="a red ball")), "org.avsafe.generation")
    assert told["prompt"] == "a red ball"
    assert told["prompt_hash"] == {"alg": "hmac-sha256", "value": "ab" * 32}


@pytest.mark.parametrize("use", ["allowed", "notAllowed", "constrained"])
def test_training_and_mining(use: str) -> None:
    data = assertion(definition(make_manifest(training_mining=use)), "cawg.training-mining")
    assert {entry["use"] for entry in data["entries"].values()} == {use}
    assert "cawg.data_mining" in data["entries"]


def test_ai_is_disclosed_only_where_a_model_was_trained() -> None:
    labels = {item["label"] for item in definition(make_manifest())["assertions"]}
    assert "c2pa.ai-disclosure" in labels
    procedural = make_manifest(digital_source_type=sourcetypes.ALGORITHMIC_MEDIA)
    labels = {item["label"] for item in definition(procedural)["assertions"]}
    assert "c2pa.ai-disclosure" not in labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digital_source_type": "trainedAlgorithmicMedia"}, "is not a digital source type"),
        ({"digital_source_type": sourcetypes.IPTC + "trainedAlgoritmicMedia"}, "is not a digital"),
        ({"digital_source_type": sourcetypes.IPTC + "softwareImage"}, "is retired"),
        ({"created_at": datetime(2026, 1, 1)}, "timezone-aware"),
        ({"training_mining": "no"}, "training_mining must be one of"),
        ({"action": "c2pa.published"}, "Expected action"),
        ({"action": "c2pa.edited"}, "exactly one ingredient"),
        ({"ingredients": (ingredient("parentOf"),)}, "has no parent"),
        ({"ingredients": (ingredient("fatherOf"),)}, "relationship must be"),
        ({"ingredients": (ingredient(), ingredient())}, "must be unique"),
        ({"soft_bindings": (SoftBinding("Our Mark", b"1"),)}, "reverse-domain name"),
        ({"soft_bindings": (SoftBinding("org.example.mark", b""),)}, "has no value"),
        ({"title": "/home/ann/clip.mp4"}, "local path"),
        ({"title": " "}, "must have a title"),
        ({"generator": ""}, "must have a generator"),
    ],
    ids=str,
)
def test_what_the_library_would_sign_and_should_not(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        definition(make_manifest(**changes))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"trust": {"trust_anchor": "x"}}, "Did you mean 'trust_anchors'"),
        ({"verfy": {}}, "Did you mean 'verify'"),
        ({"verify": {"remote_manifest_fech": False}}, "Did you mean 'remote_manifest_fetch'"),
        ({"verify": {"verify_trust": False}}, "no C2PA setting 'verify.verify_trust'"),
        ({"builder": {"thumbnail": {"enable": False}}}, "Did you mean 'thumbnail.enabled'"),
        ({"verify": {"remote_manifest_fetch": "false"}}, "must be bool, not str"),
        ({"core": {"allowed_network_hosts": "x"}}, "must be list"),
    ],
    ids=str,
)
def test_misspelt_settings_raise(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings.check(given)
    with pytest.raises(UsageError, match=message):
        settings.context(given)


def test_our_own_settings_pass_and_stay_off_the_network() -> None:
    for chosen in (settings.reading("PEM"), settings.signing("PEM")):
        settings.check(chosen)
        assert chosen["verify"]["remote_manifest_fetch"] is False
        assert chosen["verify"]["ocsp_fetch"] is False
        assert chosen["core"]["allowed_network_hosts"] == []
    assert settings.signing("")["builder"]["thumbnail.enabled"] is False


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", True),
        ("http://cv.iptc.org/newscodes/digitalsourcetype/TRAINEDALGORITHMICMEDIA", True),
        (sourcetypes.COMPOSITE_WITH_TRAINED, True),
        (sourcetypes.ALGORITHMIC_MEDIA, False),
        (sourcetypes.IPTC + "digitalCapture", False),
        ("trainedAlgorithmicMedia", False),
    ],
)
def test_which_declarations_mean_a_trained_model(uri: str, expected: bool) -> None:
    assert sourcetypes.declares([uri], sourcetypes.AI) is expected
