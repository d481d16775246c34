"""Other people's files and other people's verifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avsafe.provenance import sign
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialReport, CredentialStatus
from avsafe.provenance.signer import LocalSigner
from avsafe.types import EvidenceStatus
from tests.provenance_kit import (
    OPENSSL,
    make_manifest,
    make_media,
    make_signer,
    time_stamp_authority,
)

# As the publishers state it (c2pa-org/public-testfiles, contentauth/c2pa-rs fixtures).
EXPECTED = {
    "adobe-20220124-A.jpg": "none",
    "adobe-20220124-I.jpg": "none",
    "adobe-20220124-C.jpg": "intact-unknown-signer",
    "adobe-20220124-CA.jpg": "intact-unknown-signer",
    "adobe-20220124-E-dat-CA.jpg": "altered",
    "adobe-20220124-E-sig-CA.jpg": "damaged",
    "video1.mp4": "intact-unknown-signer",
    "sample1.wav": "none",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_published_expectations(shared_media: Path, name: str) -> None:
    report = read(shared_media / "c2pa" / name, anchors="")
    assert report.status == EXPECTED[name]
    assert CredentialReport.from_json(report.to_json()) == report
    expected = {
        "none": EvidenceStatus.ABSENT,
        "intact-unknown-signer": EvidenceStatus.PRESENT,
        "altered": EvidenceStatus.INVALID,
        "damaged": EvidenceStatus.INVALID,
    }
    assert report.evidence().status is expected[EXPECTED[name]]
    assert not report.declares_ai  # none of these files says so


def test_the_list_is_complete(shared_media: Path) -> None:
    files = {path.name for path in (shared_media / "c2pa").iterdir()}
    assert {name for name in files if not name.lower().startswith("readme")} == set(EXPECTED)


def test_details_of_an_old_file(shared_media: Path) -> None:
    report = read(shared_media / "c2pa" / "adobe-20220124-CA.jpg", anchors="")
    assert report.issuer == "C2PA Test Signing Cert"
    assert report.signed_at is not None
    assert report.claim_generator is not None
    assert [item.action for item in report.actions] == ["c2pa.opened", "c2pa.color_adjustments"]
    (parent,) = report.ingredients
    assert (parent.relationship, parent.status) == ("parentOf", CredentialStatus.NONE)
    assert "Adobe make_test" not in str(report.to_json())  # an author's name
    path = shared_media / "c2pa" / "adobe-20220124-CA.jpg"
    asked = read(path, anchors="", include_personal=True)
    assert "Adobe make_test" in str(asked.personal)


def test_bytes_that_an_old_video_leaves_uncovered(shared_media: Path) -> None:
    report = read(shared_media / "c2pa" / "video1.mp4", anchors="")
    named = " ".join(item.what for item in report.uncovered)
    assert "chunk offsets" in named  # C2PA 1.x left them out: frames can be reordered
    assert "the credential itself" in named


# ---------------------------------------------------------------- a second verifier


def second_opinion(path: Path, anchors: str, authority: str = "") -> dict[str, Any]:
    encypher = pytest.importorskip("encypher_c2pa")
    return dict(
        encypher.verify(
            str(path),
            trust_pem=anchors,
            tsa_trust_pem=authority or None,
            no_default_trust=True,
            telemetry=False,
            online=False,
        )
    )


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> LocalSigner:
    return make_signer(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize("suffix", ["mp4", "png", "wav", "jpg"])
def test_a_second_verifier_agrees(tmp_path: Path, signer: LocalSigner, suffix: str) -> None:
    path = tmp_path / f"s.{suffix}"
    sign.sign_file(make_media(tmp_path / f"a.{suffix}"), path, make_manifest(), signer)
    report = second_opinion(path, signer.anchors_pem)
    assert report["validation_state"] == "Trusted"
    assert report["hard_binding"] == "match"
    assert report["validation_results"]["failure"] == []
    stranger = second_opinion(path, make_signer(tmp_path / "other").anchors_pem)
    assert stranger["validation_state"] == "Valid"
    data = bytearray(path.read_bytes())
    data[200 if suffix == "wav" else -40] ^= 0x01
    path.write_bytes(data)
    altered = second_opinion(path, signer.anchors_pem)
    assert altered["validation_state"] == "Invalid"
    assert altered["hard_binding"] == "mismatch"
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.ALTERED


@pytest.mark.skipif(OPENSSL is None, reason="no openssl program to play the authority")
@pytest.mark.parametrize("suffix", ["mp4", "png", "wav", "jpg"])
def test_a_second_verifier_accepts_our_time_stamps(
    tmp_path: Path, signer: LocalSigner, suffix: str
) -> None:
    path = tmp_path / f"s.{suffix}"
    with time_stamp_authority(tmp_path / "tsa") as authority:
        sign.sign_file(
            make_media(tmp_path / f"a.{suffix}"),
            path,
            make_manifest(),
            signer,
            timestamp_url=authority.url,
        )
        report = second_opinion(path, signer.anchors_pem, authority.root_pem)
    codes = {item["code"] for item in report["validation_results"]["success"]}
    assert {"timeStamp.validated", "timeStamp.trusted"} <= codes
    assert report["validation_state"] == "Trusted"
