"""What detectors say together."""

from __future__ import annotations

import math

import pytest

from avsafe import fusion
from avsafe.calibration import abstention
from avsafe.types import Evidence, EvidenceStatus

PRESENT, ABSENT = EvidenceStatus.PRESENT, EvidenceStatus.ABSENT


def said(name: str, llr: float, *, status=None, modality: str = "", fpr: float = 0.01, **changes):
    fields = {
        "source": f"detector.{name}",
        "status": status or (PRESENT if llr > 2 else ABSENT),
        "summary": "because",
        "llr": llr,
        "calibration_id": "cal",
        "details": {"modality": modality or name, "condition": {"name": "c", "fpr": fpr}},
    }
    return Evidence(**(fields | changes))


def test_one_strong_detector_in_a_measured_condition_suspects():
    assert fusion.fuse([said("speech", 3.0)]).suspects


def test_more_false_alarms_than_one_percent_never_suspect():
    found = [said("speech", 3.0, fpr=0.011), said("image", 3.0, fpr=0.02)]
    fused = fusion.fuse(found)
    assert fused.llr > fusion.ENOUGH
    assert not fused.suspects
    assert fused.weak == ("detector.speech", "detector.image")
    assert "not enough to suspect" in fusion.statement(found).summary


def test_a_high_ratio_below_its_threshold_does_not_suspect():
    assert not fusion.fuse([said("speech", 3.0, status=ABSENT)]).suspects


def test_what_speaks_against_it_counts():
    fused = fusion.fuse([said("speech", 3.0), said("image", -2.0)])
    assert fused.llr == pytest.approx(3.0 - 0.7 * 2.0)
    assert not fused.suspects
    assert fused.conflicts == (("detector.speech", "detector.image"),)
    found = fusion.statement([said("speech", 3.0), said("image", -2.0)])
    assert "disagree: speech against image" in found.summary
    assert found.status is ABSENT


def test_one_modality_counts_once():
    pair = [said("a", 3.0, modality="image"), said("b", 1.0, modality="image")]
    assert fusion.fuse(pair).llr == pytest.approx(2.0)
    assert fusion.fuse([said("a", 2.4), said("b", 1.0)]).llr == pytest.approx(2.4 + 0.7)


def test_ratios_are_capped_whatever_a_plugin_says():
    assert fusion.fuse([said("a", 1e9)]).llr == 3.0


@pytest.mark.parametrize(
    "change",
    [
        {"llr": None},
        {"llr": math.nan},
        {"calibration_id": None},
        {"status": EvidenceStatus.FAILED},
        {"details": {}},
        {"details": {"modality": "image", "condition": {"fpr": True}}},
        {"details": {"modality": "image", "condition": {"fpr": math.nan}}},
        {"details": {"modality": "image", "condition": ["fpr"]}},
        {"details": {"modality": ["image"], "condition": {"fpr": 0.0}}},
        {"source": "watermark.video"},
    ],
)
def test_what_is_not_calibrated_has_no_part(change):
    item = said("x", 3.0, status=PRESENT)
    changed = Evidence(**({f: getattr(item, f) for f in item.__dataclass_fields__} | change))
    assert fusion.fuse([changed]) == fusion.Fused(0.0)


def test_nobody_qualified_is_an_abstention():
    found = fusion.statement([abstention("detector.x", "image", "too small")])
    assert found.status is EvidenceStatus.ABSTAINED
    assert (found.llr, found.probability) == (None, None)
    assert fusion.statement([]) is None


def test_nothing_found_is_no_sign_of_authenticity():
    found = fusion.statement([said("speech", -3.0), abstention("detector.x", "image", "small")])
    assert found.status is ABSENT
    assert "1 of 2 detectors could judge" in found.summary
    assert "does not mean that it is not AI-made" in found.summary


def test_one_detector_is_one():
    assert "1 of 1 detector could judge" in fusion.statement([said("speech", -3.0)]).summary
