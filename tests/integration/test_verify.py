"""Verification of files that were not made here: published, hostile, copied, hidden."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from avsafe import gate, media, panel, plugins, testing
from avsafe.findings import label_of
from avsafe.home import Home
from avsafe.policy import local_principal
from avsafe.types import Evidence, EvidenceStatus, GenerationRequest, Label, Task
from avsafe.verify import verify
from avsafe.workspace import Lookup, Workspace

# What the publisher of each file states (c2pa-org/public-testfiles, contentauth/c2pa-rs).
PUBLISHED = {
    "adobe-20220124-A.jpg": (Label.INCONCLUSIVE, "none"),
    "adobe-20220124-I.jpg": (Label.INCONCLUSIVE, "none"),
    "adobe-20220124-C.jpg": (Label.DECLARED_OTHER, "intact-unknown-signer"),
    "adobe-20220124-CA.jpg": (Label.DECLARED_OTHER, "intact-unknown-signer"),
    "adobe-20220124-E-dat-CA.jpg": (Label.ALTERED, "altered"),
    "adobe-20220124-E-sig-CA.jpg": (Label.ALTERED, "damaged"),
    "video1.mp4": (Label.DECLARED_OTHER, "intact-unknown-signer"),
    "sample1.wav": (Label.INCONCLUSIVE, "none"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_expectations(name: str, shared_media: Path, home: Home) -> None:
    label, status = PUBLISHED[name]
    verdict = verify(shared_media / "c2pa" / name, Lookup(home))
    assert verdict.label is label, verdict
    assert verdict.evidence[0].details["status"] == status


def hostile(folder: Path) -> dict[str, Path]:
    """Files that a person who wishes us ill would send."""
    clip = folder / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), clip)
    whole = clip.read_bytes()
    files = {
        "empty.mp4": b"",
        "random.mp4": np.random.default_rng(0).bytes(50_000),
        "half.mp4": whole[: len(whole) // 2],
        "boxes.mp4": whole[:32] + struct.pack(">I4s", 8, b"free") * 100_000,
        "huge-box.mp4": whole[:32] + struct.pack(">I4sQ", 1, b"mdat", 1 << 62),
        "text.mp4": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "script.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


def test_hostile_files_are_unreadable_verdicts(tmp_path: Path, home: Home) -> None:
    for name, path in hostile(tmp_path).items():
        verdict = verify(path, Lookup(home))
        assert verdict.label is Label.UNREADABLE, f"{name}: {verdict}"
        assert all(e.summary for e in verdict.evidence)


def test_a_copied_mark_borrows_no_manifest(workspace: Workspace, tmp_path: Path) -> None:
    """Somebody who holds the key's output copies a release's number into another clip: the mark is
    found, the fingerprint disagrees, and the verdict does not name the release as its source."""
    released = gate.generate(
        GenerationRequest(
            local_principal(),
            Task.TEXT_TO_VIDEO,
            "world",
            prompt="a red metal ball bouncing on grass",
            duration_s=2.0,
        ),
        tmp_path / "released.mp4",
        workspace,
    )
    marker = plugins.load("watermarkers", "video")
    other = testing.textured_clip(2.0, 384, 288, sound=False, seed=9)
    payload = next(m.payload for m in released.marks if m.modality == "video")
    embedder = marker.embedder(other, payload, workspace.watermark_key)
    forged = tmp_path / "forged.mp4"
    media.encode(other.with_frames(map(embedder.frame, other.frames or ())), forged)
    verdict = verify(forged, Lookup(workspace.home))
    found = next(e for e in verdict.evidence if e.source == "watermark.video")
    assert found.status is EvidenceStatus.PRESENT
    assert found.details["recovered"] is False
    assert "copied" in found.summary
    assert verdict.label is Label.INCONCLUSIVE


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: {},
        lambda f: f | {"times_ms": f["times_ms"][:1]},
        lambda f: f | {"hashes": np.zeros(7, np.uint8)},
        lambda f: f | {"thumbs": np.zeros((3, 2), np.uint8)},
        lambda f: f | {"duration_s": np.zeros(3)},
    ],
)
def test_features_that_lie_raise_nothing(
    spoil, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from a process that a hostile file may have taken over."""
    clip = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), clip)
    examine = panel.examine

    def spoiled(*args, **kwargs):
        seen, found = examine(*args, **kwargs)
        return seen, found | {"fingerprint": spoil(dict(found["fingerprint"]))}

    monkeypatch.setattr(panel, "examine", spoiled)
    verdict = verify(clip, Lookup(workspace.home))
    assert verdict.label is Label.UNREADABLE
    assert "fingerprint" in verdict.evidence[-1].summary


def test_a_report_that_lies_raises_nothing(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avsafe.provenance.report import CredentialReport

    clip = tmp_path / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 160, 120), clip)
    from_json = CredentialReport.from_json
    monkeypatch.setattr(
        CredentialReport, "from_json", classmethod(lambda cls, _: from_json({"status": "fine"}))
    )
    verdict = verify(clip, Lookup(home), credential_only=True)
    assert verdict.evidence[0].status is EvidenceStatus.FAILED


def test_what_was_not_compared_is_not_called_different(
    workspace: Workspace, tmp_path: Path
) -> None:
    flat = media_file(tmp_path / "flat.png", np.full((160, 160, 3), 90, np.uint8))
    evidence = verify(flat, Lookup(workspace.home), detectors=["none"]).evidence
    found = next(item for item in evidence if item.source == "fingerprint")
    assert found.status is EvidenceStatus.ABSTAINED
    assert "compared with nothing" in found.summary


def media_file(path: Path, frame: np.ndarray) -> Path:
    media.encode(testing.still(160, 160).with_frames([frame]), path)
    return path


def test_real_clips_are_never_recovered(
    workspace: Workspace, shared_media: Path, tmp_path: Path
) -> None:
    """A handful of real clips against a registry that knows a release; all of them in
    benchmarks/vertical.py."""
    gate.generate(
        GenerationRequest(
            local_principal(), Task.TEXT_TO_VIDEO, "world", prompt="a blue ball", duration_s=1.0
        ),
        tmp_path / "x.mp4",
        workspace,
    )
    for name in ("real_general/cotracker_bear.mp4", "real_talking/grid_bbaf2n.mpg"):
        assert verify(shared_media / name, Lookup(workspace.home)).label is Label.INCONCLUSIVE


def test_keys_stay_out_of_the_sandbox(home: Home, tmp_path: Path, monkeypatch) -> None:
    """The process that decodes gets neither the state folder nor any secret of the environment."""
    monkeypatch.setenv("AVSAFE_TEST_SECRET", "hush")
    from avsafe.media import sandbox

    seen = sandbox.call("avsafe.media.selftest:environment", {})
    assert "AVSAFE_TEST_SECRET" not in seen
    assert "AVSAFE_HOME" not in seen
    assert os.environ["AVSAFE_HOME"] not in str(seen)


# ---------------------------------------------------------------- the label


def evidence(source: str, found: str, **details: object) -> Evidence:
    return Evidence(source, EvidenceStatus(found), "because", details=details)


TRUSTED_AI = evidence("credential", "present", status="trusted", declares_ai=True)
UNKNOWN_AI = evidence("credential", "present", status="intact-unknown-signer", declares_ai=True)
CAMERA = evidence("credential", "present", status="trusted", declares_ai=False)
EXPIRED_AI = evidence("credential", "present", status="expired", declares_ai=True)
BROKEN = evidence("credential", "invalid", status="altered", declares_ai=True)
NONE = evidence("credential", "absent", status="none")
RECOVERED = evidence("watermark.video", "present", recovered=True)
COPIED = evidence("watermark.video", "present", recovered=False)
TWIN = evidence("fingerprint", "present", release_id="x")
UNREAD = evidence("domain", "failed")
GUESS = Evidence("detector.x", EvidenceStatus.PRESENT, "because", 0.99, 4.0, "cal-1")
SUSPECT = evidence("detectors", "present")


@pytest.mark.parametrize(
    ("found", "label"),
    [
        ([TRUSTED_AI], Label.SYNTHETIC_DECLARED),
        ([UNKNOWN_AI], Label.SYNTHETIC_DECLARED),
        ([CAMERA], Label.DECLARED_OTHER),
        ([CAMERA, RECOVERED], Label.SYNTHETIC_RECOVERED),
        ([CAMERA, SUSPECT], Label.SYNTHETIC_SUSPECTED),
        ([EXPIRED_AI], Label.INCONCLUSIVE),
        ([BROKEN, RECOVERED], Label.ALTERED),
        ([NONE, RECOVERED], Label.SYNTHETIC_RECOVERED),
        ([NONE, COPIED], Label.INCONCLUSIVE),
        ([NONE, TWIN], Label.INCONCLUSIVE),
        ([NONE, GUESS], Label.INCONCLUSIVE),
        ([NONE, SUSPECT], Label.SYNTHETIC_SUSPECTED),
        ([NONE, UNREAD], Label.UNREADABLE),
        ([BROKEN, UNREAD], Label.ALTERED),
        ([NONE], Label.INCONCLUSIVE),
        ([], Label.INCONCLUSIVE),
    ],
)
def test_label(found: list[Evidence], label: Label) -> None:
    assert label_of(found) is label
