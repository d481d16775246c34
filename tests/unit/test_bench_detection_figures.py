"""Figures of detectors against closed forms, brute force and scikit-learn."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from avsafe import calibration
from avsafe.bench.detection import curves, figures
from avsafe.bench.detection.figures import Judged

NORMAL = NormalDist()


def normal(n: int = 4000, distance: float = 2.0, digits: int = 6, seed: int = 0):
    """Scores of two normal distributions and their labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2 == 1
    return (rng.normal(0, 1, n) + distance * y).round(digits), y


def judged(score, y, source=None):
    of = np.array([str(i) for i in range(len(y))] if source is None else source, object)
    return Judged(np.asarray(score, float), np.asarray(y, bool), of, len(y))


def test_areas_and_points_of_a_curve_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    for digits in (6, 1, 0):  # the fewer, the more ties
        score, y = normal(600, 1.0, digits)
        fpr, tpr = curves.roc(score, y)
        assert curves.auc(fpr, tpr)[0] == pytest.approx(metrics.roc_auc_score(y, score), abs=1e-12)
        theirs = metrics.roc_curve(y, score, drop_intermediate=False)
        np.testing.assert_allclose(fpr[0], theirs[0])
        np.testing.assert_allclose(tpr[0], theirs[1])


def test_the_area_is_the_share_of_pairs_in_order():
    score, y = normal(160, 1.0, 1)
    wanted = np.mean([(a < b) + 0.5 * (a == b) for a in score[~y] for b in score[y]])
    assert curves.auc(*curves.roc(score, y))[0] == pytest.approx(wanted, abs=1e-12)


def test_error_rates_of_normal_scores():
    score, y = normal(200_000)
    fpr, tpr = curves.roc(score, y)
    assert curves.eer(fpr, tpr)[0] == pytest.approx(NORMAL.cdf(-1), abs=2e-3)
    wanted = NORMAL.cdf(2 + NORMAL.inv_cdf(0.01))  # above the 99 % quantile of the real ones
    assert curves.tpr_at(fpr, tpr, 0.01)[0] == pytest.approx(wanted, abs=0.01)


def test_equal_error_rate_at_the_ends():
    y = np.array([False, False, True, True])
    for score, wanted in (((0, 1, 2, 3), 0.0), ((3, 2, 1, 0), 1.0), ((1, 1, 1, 1), 0.5)):
        assert curves.eer(*curves.roc(np.array(score, float), y))[0] == pytest.approx(wanted)


def test_at_most_one_alarm_in_a_hundred():
    real = [i / 1000 for i in range(300)]
    made = [0.2965, 0.2955, 0.5]  # above all but 3, but 4 and all real ones
    score, y = np.array(real + made), np.array([False] * 300 + [True] * 3)
    assert curves.tpr_at(*curves.roc(score, y), 0.01)[0] == pytest.approx(2 / 3)
    few = figures.ranking(judged(score[1:200], y[1:200]))["auc"]
    assert few.reason == "no synthetic unit was judged"
    short = figures.ranking(judged(score[201:], y[201:]))["tpr_at_1pct"]
    assert short.value is None
    assert short.reason.startswith("1 % of 99 real units cannot be seen")


def test_weights_are_units_drawn_again():
    """A weight of two is the unit twice."""
    score, y = normal(60, 1.0, 1)
    of = np.array([f"{i % 7}{label}" for i, label in enumerate(y)], object)
    weight = next(curves.drawn(y, of, 20))
    for row in weight:
        index = np.repeat(np.arange(60), row.astype(int))
        once = curves.roc(score[index], y[index])
        again = curves.roc(score, y, row)
        for read in (curves.auc, curves.eer):
            assert read(*again)[0] == pytest.approx(read(*once)[0], abs=1e-12)
        for name in set(of.tolist()):
            assert len(set(row[of == name].tolist())) == 1, "a source is drawn whole"
    assert (weight[:, y] >= 0).all()
    assert {round(float(v)) for v in (weight * y).sum(1)} != {30}, "sources differ in size"


def test_intervals_cover_new_sources():
    """Of 60 samples of 12 sources a class, the interval misses the truth in about one of twenty."""
    rng = np.random.default_rng(1)
    missed = 0
    truth = float(NORMAL.cdf(1.2 / np.sqrt(2 * (1 + 0.25))))
    for draw in range(60):
        of = np.repeat(np.arange(24), 8)
        y = of >= 12
        score = rng.normal(0, 1, 192) + rng.normal(0, 0.5, 24)[of] + 1.2 * y
        found = figures.ranking(judged(score, y, of), draws=200)["auc"]
        assert found.low is not None
        assert found.high is not None
        missed += not found.low <= truth <= found.high
        assert found.n_sources == 24, draw
    assert missed <= 8  # P(more) < 0.2 % at 5 %


def test_one_source_has_no_interval_and_alike_draws_have_wilsons():
    score, y = [0.0, 0.1, 0.9, 1.0] * 5, [False, False, True, True] * 5
    one = figures.ranking(judged(score, y, ["r" if not label else "s" for label in y]))["auc"]
    assert (one.value, one.low, one.high) == (1.0, None, None)
    perfect = figures.ranking(judged(score, y))["auc"]
    assert perfect.high == 1.0
    assert perfect.low == pytest.approx(0.7225, abs=1e-3)  # Wilson's, 10 of 10


def test_calibration_error_is_that_of_calibration_and_the_bins_agree():
    score, y = normal(2001, 2.0)
    p = 1 / (1 + np.exp(-2 * (score - 1)))
    found = figures.calibrated(judged(p, y), draws=10)
    assert found["ece"].value == pytest.approx(calibration.ece(p, y), abs=1e-12)
    weight = curves.balanced(y)
    gaps = [
        float(weight[part].sum()) * abs(one["probability"] - one["share"])
        for part, one in zip(
            np.array_split(np.argsort(p, kind="stable"), 10), curves.reliability(p, y), strict=True
        )
    ]
    assert sum(gaps) == pytest.approx(calibration.ece(p, y), abs=1e-12)
    assert found["ece"].value < 0.03, "these probabilities are right"


def test_coverage_and_risk_by_hand():
    p = np.array([0.99, 0.95, 0.1, 0.8, 0.45, 0.5])
    y = np.array([True, False, False, True, False, True])
    coverage, risk = curves.coverage_risk(p, y)
    # from the surest: right, wrong, right, right, right, half wrong; three of each class
    np.testing.assert_allclose(coverage, np.arange(1, 7) / 6)
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1.5 / 6])
    assert curves.area(coverage, risk) == pytest.approx(np.mean(risk))


def test_equally_sure_units_enter_together_in_any_order():
    p, y = np.array([0.8, 0.2, 0.8, 0.2]), np.array([True, True, False, False])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 1, 3]):
        coverage, risk = curves.coverage_risk(p[order], y[order])
        assert coverage.tolist() == [1.0]
        assert risk.tolist() == [0.5]


def test_classes_of_unequal_size_weigh_the_same():
    """Nine in ten units are real: calling everything real is still half wrong."""
    p, y = np.full(100, 0.01), np.arange(100) < 10
    assert curves.coverage_risk(p, y)[1][-1] == pytest.approx(0.5)


def test_figures_without_units_are_reasons():
    nothing = judged([], [])
    for figure in (figures.ranking(nothing) | figures.calibrated(nothing)).values():
        assert figure.value is None
        assert figure.reason == "no unit was judged"
    assert figures.share(np.zeros(0, bool), np.zeros(0, object), 4).reason == "no unit was judged"


def test_the_order_of_units_changes_nothing():
    score, y = normal(300, 1.0, 1)
    of = np.array([f"{i % 9}{label}" for i, label in enumerate(y)], object)
    turn = np.random.default_rng(5).permutation(300)
    one, other = (figures.ranking(judged(score[i], y[i], of[i])) for i in (np.arange(300), turn))
    assert one["auc"].value == pytest.approx(other["auc"].value, abs=1e-12)
    assert one["auc"].low == pytest.approx(other["auc"].low, abs=1e-9)


def test_what_chance_makes_of_true_probabilities():
    """True probabilities have the error that ``by_chance`` says, and false ones a larger one."""
    errors = {}
    for n in (60, 400):
        rng = np.random.default_rng(n)
        y = np.arange(n) % 2 == 1
        seen = []
        for _ in range(40):
            x = rng.normal(0, 1, n) + 2 * y
            seen.append(calibration.ece(1 / (1 + np.exp(-2 * (x - 1))), y))
        x = rng.normal(0, 1, n) + 2 * y
        p = 1 / (1 + np.exp(-2 * (x - 1)))
        errors[n], most = figures.by_chance(p, y)
        assert most > errors[n]
        assert errors[n] == pytest.approx(np.mean(seen), rel=0.25)
        assert calibration.ece(np.sqrt(p), y) > 1.5 * errors[n]
    assert errors[60] > 2 * errors[400]


def test_capped_probabilities_have_one_error_in_any_order():
    """Nineteen of twenty above the cap are synthetic, and .95 is said: that is no error."""
    p = np.repeat([0.05, 0.95], 200)
    y = np.concatenate([np.arange(200) < 10, np.arange(200) >= 10])
    for order in (np.argsort(y, kind="stable"), np.argsort(~y, kind="stable"), np.arange(400)):
        assert curves.ece(p[order], y[order]) == pytest.approx(0.0, abs=1e-12)
