"""Validation codes -> status, and the report that carries it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsafe.provenance import sourcetypes
from avsafe.provenance.classify import Codes, classify
from avsafe.provenance.content import Store, certificate
from avsafe.provenance.report import (
    Action,
    ByteRange,
    CredentialReport,
    CredentialStatus,
    IngredientReport,
    SoftBindingReport,
)
from avsafe.types import EvidenceStatus

SOUND = ("claimSignature.validated", "claimSignature.insideValidity", "assertion.dataHash.match")
TRUSTED = (*SOUND, "signingCredential.trusted")


def codes(success: tuple[str, ...] = TRUSTED, failure: tuple[str, ...] = ()) -> Codes:
    return Codes(
        success=tuple((code, "") for code in success), failure=tuple((code, "") for code in failure)
    )


@pytest.mark.parametrize(
    ("success", "failure", "expected"),
    [
        (TRUSTED, (), "trusted"),
        (SOUND, ("signingCredential.untrusted",), "intact-unknown-signer"),
        (SOUND, ("signingCredential.invalid",), "intact-unknown-signer"),
        (SOUND, ("signingCredential.ocsp.revoked",), "intact-unknown-signer"),
        (SOUND, (), "intact-unknown-signer"),
        (SOUND, ("signingCredential.untrusted", "signingCredential.expired"), "expired"),
        (SOUND[:2], ("assertion.dataHash.mismatch",), "altered"),
        (SOUND[:2], ("assertion.bmffHash.mismatch", "signingCredential.untrusted"), "altered"),
        (SOUND[:2], ("assertion.bmffHash.mismatch", "signingCredential.expired"), "altered"),
        (SOUND[2:], ("claimSignature.mismatch",), "damaged"),
        # A hash in a claim that nobody signed says nothing about the content.
        ((), ("assertion.dataHash.mismatch", "claimSignature.mismatch"), "damaged"),
        ((), ("assertion.dataHash.mismatch",), "damaged"),
        (SOUND, ("assertion.hashedURI.mismatch",), "damaged"),
        (SOUND, ("assertion.missing",), "damaged"),
        (SOUND, ("claim.cbor.invalid",), "damaged"),
        (SOUND, ("general.error",), "damaged"),
        (SOUND[:2], (), "damaged"),  # nothing binds the content
        ((), (), "damaged"),
        (TRUSTED, ("cawg.x509.credential.untrusted",), "trusted"),
    ],
    ids=str,
)
def test_each_state(success: tuple[str, ...], failure: tuple[str, ...], expected: str) -> None:
    assert classify(codes(success, failure))[0] == expected


def test_an_old_writers_exclusion_is_told_from_altered_content() -> None:
    text = "asset hash exclusion does not match the manifest location"
    found = Codes(
        success=tuple((code, "") for code in SOUND),
        failure=(("assertion.dataHash.mismatch", text), ("signingCredential.untrusted", "")),
    )
    assert classify(found)[0] is CredentialStatus.MALFORMED_BUT_INTACT


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ("signingCredential.expired", "trusted"),
        ("signingCredential.untrusted", "trusted"),
        ("ingredient.manifest.mismatch", "damaged"),
        ("claimSignature.mismatch", "damaged"),
    ],
)
def test_what_an_ingredient_does_to_the_whole(failure: str, expected: str) -> None:
    assert classify(codes(), [codes(failure=(failure,))])[0] == expected


@given(st.lists(st.text(max_size=30), max_size=5), st.lists(st.text(max_size=30), max_size=5))
def test_unknown_codes_never_make_a_file_trusted(good: list[str], bad: list[str]) -> None:
    found = codes(tuple(good), tuple(bad))
    assert classify(found)[0] is CredentialStatus.DAMAGED
    if bad and not all(code.startswith("cawg.") for code in bad):
        status, _ = classify(codes(TRUSTED, tuple(bad)))
        assert status is not CredentialStatus.TRUSTED


def test_a_later_finding_outweighs_a_recorded_one() -> None:
    recorded = codes(TRUSTED)
    now = codes((), ("signingCredential.untrusted",))
    assert classify(recorded.then(now))[0] is CredentialStatus.INTACT_UNKNOWN_SIGNER
    lifted = codes(SOUND, ("signingCredential.untrusted",)).then(codes(TRUSTED))
    assert classify(lifted)[0] is CredentialStatus.TRUSTED
    broken = codes(TRUSTED, ("claimSignature.mismatch",)).then(codes(TRUSTED))
    assert classify(broken)[0] is CredentialStatus.DAMAGED


REPORT = CredentialReport(
    status=CredentialStatus.TRUSTED,
    reason="unchanged.",
    manifest_id="urn:c2pa:1",
    issuer="Example Studio",
    actions=(Action("c2pa.created", "2026-01-01T00:00:00Z", sourcetypes.ALGORITHMIC_MEDIA, "w 1"),),
    source_types=(sourcetypes.ALGORITHMIC_MEDIA,),
    ingredients=(
        IngredientReport(
            "inputTo",
            CredentialStatus.EXPIRED,
            failures=("signingCredential.expired",),
            ingredients=(IngredientReport("parentOf", CredentialStatus.NONE),),
        ),
    ),
    soft_bindings=(SoftBindingReport("org.example.mark.1", "AQI="),),
    uncovered=(ByteRange(0, 8, "a free box", blank=True),),
)


def test_a_report_survives_the_way_out_of_the_sandbox() -> None:
    assert CredentialReport.from_json(json.loads(json.dumps(REPORT.to_json()))) == REPORT
    assert len(list(REPORT.ingredients[0].tree())) == 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("trusted", "present"),
        ("intact-unknown-signer", "present"),
        ("expired", "present"),
        ("malformed-but-intact", "present"),
        ("altered", "invalid"),
        ("damaged", "invalid"),
        ("none", "absent"),
        ("remote-only", "abstained"),
        ("unreadable", "failed"),
    ],
)
def test_evidence_says_what_it_means(status: str, expected: str) -> None:
    report = CredentialReport(CredentialStatus(status), "because.", issuer="Example Studio")
    evidence = report.evidence()
    assert evidence.status is EvidenceStatus(expected)
    assert evidence.source == "credential"
    assert evidence.details["status"] == status
    assert evidence.summary.endswith(".")
    assert "C2PA" not in evidence.summary
    json.dumps(evidence.details)


def test_every_status_is_evidence() -> None:
    for status in CredentialStatus:
        CredentialReport(status, "because.").evidence()


def test_no_credential_is_not_called_authentic() -> None:
    text = CredentialReport(CredentialStatus.NONE, "").summary().lower()
    assert "authentic" not in text
    assert "says nothing about how it was made" in text


@pytest.mark.parametrize(
    ("code", "synthetic", "trained"),
    [
        ("trainedAlgorithmicMedia", True, True),
        ("compositeWithTrainedAlgorithmicMedia", True, True),
        ("compositeSynthetic", True, True),
        ("algorithmicMedia", True, False),
        ("digitalCapture", False, False),
        ("algorithmicallyEnhanced", False, False),
    ],
)
def test_what_is_declared(code: str, synthetic: bool, trained: bool) -> None:
    report = CredentialReport(CredentialStatus.TRUSTED, "", source_types=(sourcetypes.IPTC + code,))
    assert (report.declares_ai, report.declares_trained) == (synthetic, trained)
    assert ("AI" in report.summary()) is trained


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("signingCredential.ocsp.revoked", "failure", "revoked"),
        ("signingCredential.revoked", "failure", "revoked"),
        ("signingCredential.ocsp.notRevoked", "success", "not-revoked"),
        ("signingCredential.ocsp.inaccessible", "informational", None),
    ],
)
def test_what_is_known_of_a_revocation(code, kind, said):
    store = Store(
        {"active_manifest": "a", "validation_results": {"activeManifest": {kind: [{"code": code}]}}}
    )
    found = certificate({"signature": {"certificateInfo": {}}}, store, trusted=False)
    assert found is not None
    assert found.revocation == said
    assert certificate({"signature": "x"}, store, trusted=True) is None
