"""Scores to evidence: calibrated per condition, capped, weighed by source."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from avsafe.calibration import (
    CAP,
    Calibration,
    Region,
    abstention,
    discoveries,
    ece,
    evidence,
    fit,
    heatmap,
    platt,
    probability,
    segment,
)
from avsafe.errors import UsageError
from avsafe.types import EvidenceStatus


def drawn(n: int, shift: float, seed: int = 0, sources: int = 20):
    """Scores N(0, 1) of real and N(shift, 1) of synthetic media, ``n`` each."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0, 1, n), rng.normal(shift, 1, n)])
    made = np.repeat([False, True], n)
    names = [f"{label}{i % sources}" for label in "rs" for i in range(n)]
    return scores, made, names


def test_platt_finds_the_likelihood_ratio_of_two_gaussians():
    scores, made, names = drawn(5_000, 2.0, sources=5_000)
    found = fit("x", scores, made, names)
    # N(2, 1) against N(0, 1): log ratio = 2 x - 2
    assert found.slope == pytest.approx(2.0, rel=0.06)
    assert found.intercept == pytest.approx(-2.0, rel=0.06)
    assert found.ece < 0.02


def test_threshold_lets_one_percent_of_the_real_pass():
    scores, made, names = drawn(5_000, 3.0)
    found = fit("x", scores, made, names)
    fresh = np.random.default_rng(9).normal(0, 1, 100_000)
    assert (fresh > found.threshold).mean() == pytest.approx(0.01, abs=0.003)
    assert found.false_positive_rate <= 0.01
    assert found.true_positive_rate == pytest.approx(0.75, abs=0.03)  # 1 - Phi(2.33 - 3)


@pytest.mark.parametrize(("n", "rate"), [(50, 1 / 51), (98, 1 / 99), (99, 1 / 100)])
def test_few_real_media_cannot_promise_one_percent(n, rate):
    scores, made, names = drawn(n, 8.0)
    found = fit("x", scores, made, names)
    assert found.false_positive_rate == pytest.approx(rate)


def test_upper_end_counts_sources_not_units():
    few, many = (fit("x", *drawn(1000, 4.0, sources=s)) for s in (5, 500))
    assert few.false_positive_upper > 0.4  # 1 - .05 ** (1 / 5)
    assert many.false_positive_upper < 0.05


def test_a_loud_source_is_one_source():
    # one real source has nine tenths of the units, all of them high
    scores = np.concatenate([np.full(90, 3.0), np.zeros(10), np.full(10, 3.0)])
    made = np.repeat([False, True], [100, 10])
    names = ["loud"] * 90 + [f"r{i}" for i in range(10)] + [f"s{i}" for i in range(10)]
    slope, intercept = platt(scores, made, np.arange(110))
    assert slope * 3 + intercept < 0.5  # by units, a score of 3 says little: log(1 / .9)
    assert fit("x", scores, made, names).llr(3.0) > 1.5  # by sources, log(11)


def test_llr_is_capped_and_by_the_number_of_sources():
    scores, made, _ = drawn(500, 30.0)
    many = fit("x", scores, made, [str(i) for i in range(1000)])
    assert many.llr(30.0) == CAP
    assert many.llr(-1e9) == -CAP
    names = [f"r{i % 3}" for i in range(500)] + [f"s{i % 90}" for i in range(500)]
    assert fit("x", scores, made, names).llr(30.0) == pytest.approx(math.log(4))
    assert many.llr(math.nan) == 0.0


def test_interval_holds_the_probability_and_widens_with_fewer_sources():
    shifts = np.random.default_rng(3).normal(0, 1, 400)  # each source has its own

    def found(sources):
        scores, made, names = drawn(400, 1.0, sources=sources)
        own = shifts[np.unique(names, return_inverse=True)[1]]
        return fit("x", scores + own, made, names)

    few, many = found(4), found(200)
    for one in (few, many):
        low, high = one.interval(1.0)
        assert low <= probability(one.llr(1.0)) <= high
    width = [high - low for low, high in (few.interval(1.0), many.interval(1.0))]
    assert width[0] > width[1]


def test_slope_never_turns_the_score_round():
    scores, made, names = drawn(300, -2.0)
    assert fit("x", scores, made, names).slope == 0.0


@pytest.mark.parametrize(
    ("scores", "made"),
    [([1.0, math.nan, 2.0, 3.0], [0, 0, 1, 1]), ([1.0, 2.0, 3.0], [0, 1, 1]), ([], [])],
)
def test_fit_refuses_what_it_cannot_fit(scores, made):
    with pytest.raises(UsageError):
        fit("x", scores, np.array(made, bool), [str(i) for i in range(len(scores))])


def test_saved_and_read_again(tmp_path):
    condition = fit("clean", *drawn(200, 2.0), where={"bandwidth_hz": 8000.0})
    before = Calibration("speech", "speech", "speech-1", (condition,))
    before.save(tmp_path / "c.json")
    after = Calibration.load(tmp_path / "c.json")
    assert after.condition("clean").llr(1.0) == pytest.approx(condition.llr(1.0), rel=1e-4)
    assert after.condition("clean").where == {"bandwidth_hz": 8000.0}
    with pytest.raises(KeyError):
        after.condition("other")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"conditions": [{"name": 3}]}'])
def test_what_is_no_calibration_says_so(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UsageError, match="no calibration"):
        Calibration.load(tmp_path / "c.json")


def test_evidence_says_how_often_it_is_wrong():
    condition = fit("photo, JPEG 50", *drawn(1000, 4.0))
    of = Calibration("image", "image", "image-1", (condition,))
    high = evidence(of, condition, 6.0, present="The picture has signs", absent="None was found")
    low = evidence(of, condition, -1.0, present="The picture has signs", absent="None was found")
    assert high.status is EvidenceStatus.PRESENT
    assert f"{condition.false_positive_rate:.1%} of real media" in high.summary
    assert '("photo, JPEG 50")' in high.summary
    assert '(nearest measured kind: "photo, JPEG 50")' in low.summary
    assert low.status is EvidenceStatus.ABSENT
    assert "does not mean that it is not AI-made" in low.summary
    assert json.loads(json.dumps(dict(high.details)))["condition"]["n_sources"] == 40
    assert high.probability == pytest.approx(probability(high.llr))


def test_abstention_has_no_number():
    item = abstention("detector.x", "video", "it is drawn; only photos were measured")
    assert (item.probability, item.llr) == (None, None)
    assert item.details["modality"] == "video"


# ---------------------------------------------------------------- ece, region, discoveries


def test_ece_of_a_constant_claim():
    made = np.repeat([False, True], 500)
    assert ece(np.full(1000, 0.5), made, bins=1) == pytest.approx(0.0)
    assert ece(np.full(1000, 0.9), made, bins=1) == pytest.approx(0.4)


def test_ece_does_not_depend_on_the_order_of_equals():
    made = np.repeat([False, True], 50)
    p = np.where(np.arange(100) % 2, 0.4, 0.6)  # the same in both classes
    order = np.random.default_rng(0).permutation(100)
    assert ece(p, made) == pytest.approx(ece(p[order], made[order]), abs=1e-12)
    assert ece(p, made) == pytest.approx(0.1)


def test_region_knows_its_own_and_turns_others_away():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 40))
    seen = rng.normal(size=(600, 6)) @ mix + 0.1 * rng.normal(size=(600, 40))
    region = Region.around(seen[:300], k=8)
    assert (region.distance(seen[300:]) > 1).mean() < 0.05
    off = seen[300:] + 3.0 * rng.normal(size=(300, 40))  # off the plane on which all lie
    assert (region.distance(off) > 1).all()
    again = Region.from_arrays(region.arrays())
    assert again.distance(seen[:5]) == pytest.approx(region.distance(seen[:5]), rel=1e-4)
    with pytest.raises(UsageError):
        Region.around(seen[:7])


def test_discoveries_are_those_of_scipy():
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(1).uniform(size=500) ** 2
    p[:30] *= 1e-3
    assert (discoveries(p, 0.05) == (false_discovery_control(p) <= 0.05)).all()
    assert not discoveries(np.array([math.nan, 0.9]), 0.05).any()
    assert discoveries(np.empty((0, 3))).shape == (0, 3)


def test_false_discoveries_are_few_where_tiles_are_real():
    rng = np.random.default_rng(2)
    any_found = [discoveries(rng.uniform(size=(8, 8)), 0.05).any() for _ in range(2000)]
    assert np.mean(any_found) == pytest.approx(0.05, abs=0.02)


def test_heatmap_is_plain():
    found = heatmap(np.array([[1.0, math.nan]]), np.array([[True, False]]), (0, 0, 1, 1), fdr=0.05)
    assert json.loads(json.dumps(found))["llr"] == [[1.0, None]]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_abstention(score):
    condition = fit("toy", [0, 1, 0, 1, 4, 5, 4, 5.5], [False] * 4 + [True] * 4, list("aabbccdd"))
    known = Calibration("toy", "image", "toy-1", (condition,))
    found = evidence(known, condition, score, present="Signs", absent="None")
    assert found.status is EvidenceStatus.ABSTAINED
    assert (found.llr, found.probability, found.calibration_id) == (None, None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_what_is_no_number_lies_in_no_region(value):
    region = Region.around(np.random.default_rng(0).normal(size=(40, 6)))
    with np.errstate(all="ignore"):
        assert (region.distance(np.full((2, 6), value)) > 1).all()


def test_a_segment_without_numbers():
    assert segment(0, 1, math.nan, flagged=False)["llr"] is None
    with pytest.raises(ValueError, match="segment"):
        segment(0, math.inf, 1.0, flagged=False)
