"""Intervals, tests and corrections against scipy, recorded figures of statsmodels, and coverage."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from avsafe.bench import inference as inf
from avsafe.bench.statistics import wilson

stats = pytest.importorskip("scipy.stats")  # a dependency; imported where it is used


def _clustered(rng: np.random.Generator, g: int, most: int) -> tuple[list[float], list[str]]:
    """True mean 0; clips of a cluster share two thirds of their variance."""
    sizes = rng.integers(1, most + 1, g)
    which = np.repeat(np.arange(g), sizes)
    values = rng.normal(0, 0.8, g)[which] + rng.normal(0, 0.6, len(which))
    return [float(v) for v in values], [f"prompt {i}" for i in which]


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(("g", "most"), [(5, 6), (10, 1), (12, 6), (30, 4)])
def test_clustered_intervals_cover_the_truth(g: int, most: int) -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        found = inf.clustered_mean(*_clustered(rng, g, most), draws=1000)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits / 300 >= 0.92


def test_without_clusters_the_same_data_would_be_called_too_sure() -> None:
    """The negative control: intervals that treat clips as independent cover far less."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        values, _ = _clustered(rng, 12, 6)
        found = inf.clustered_mean(values, [str(i) for i in range(len(values))], draws=500)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits / 300 < 0.85


def test_shares_cover_the_truth_within_clusters() -> None:
    rng = np.random.default_rng(4)
    for truth in (0.5, 0.9):
        hits = 0
        for _ in range(300):
            which = np.repeat(np.arange(15), rng.integers(1, 8, 15))
            chance = rng.beta(3 * truth, 3 * (1 - truth), 15)[which]
            votes = (rng.random(len(which)) < chance).astype(int)
            found = inf.clustered_share(votes.tolist(), [str(i) for i in which])
            assert found.low is not None
            assert found.high is not None
            hits += found.low <= truth <= found.high
        assert hits / 300 >= 0.92


def test_bca_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, 1.0, 60)
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, rng=2,
        confidence_level=1 - 2 * stats.norm.cdf(-math.sqrt(60 / 59) * stats.t.ppf(0.975, 59)),
    ).confidence_interval  # fmt: skip
    ours = inf.bca(values, np.ones(60), draws=20_000)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_one_clip_a_cluster_and_few_of_them_is_students_t() -> None:
    values = [0.3, 0.9, 0.4, 0.8, 0.1]
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = inf.clustered_mean(values, list("abcde"))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_the_robust_error_agrees_with_statsmodels() -> None:
    # statsmodels 0.15.0: OLS(v, ones).fit(cov_type="cluster", cov_kwds={"groups": g}).bse; with
    # clusters of one size the jackknife and the sandwich with g / (g - 1) are the same number
    values = [1.0, 2.0, 4.0, 3.0, 7.0, 5.0, 5.5, 9.0]
    sums, counts = inf.cluster_sums(values, list("aabbccdd"))
    assert inf.robust_error(sums, counts) == pytest.approx(1.2844219, abs=1e-7)


def test_the_robust_error_of_unequal_clusters_is_the_jackknifes() -> None:
    values = np.array([1.0, 2.0, 4.0, 3.0, 7.0, 5.0, 5.5, 9.0])
    groups = np.array(list("aabbbccd"))
    means = np.array([values[groups != g].mean() for g in "abcd"])
    error = math.sqrt(3 / 4 * ((means - means.mean()) ** 2).sum())
    sums, counts = inf.cluster_sums(values.tolist(), groups.tolist())
    assert inf.robust_error(sums, counts) == pytest.approx(error, rel=1e-12)


def test_an_interval_stays_in_the_range_of_its_score() -> None:
    values = [1.0, 1.0, 1.0, 1.0, 0.9]
    free = inf.clustered_mean(values, list("abcde"))
    kept = inf.clustered_mean(values, list("abcde"), low=0.0, high=1.0)
    assert free.high is not None
    assert free.high > 1
    assert kept.high == 1.0
    assert kept.low == free.low


def test_one_cluster_gives_a_figure_and_no_interval() -> None:
    found = inf.clustered_mean([1.0, 3.0], ["p", "p"])
    assert (found.value, found.low, found.high) == (2.0, None, None)
    assert "one cluster" in found.method


def test_equal_values_give_an_interval_without_width() -> None:
    found = inf.clustered_mean([0.1] * 20, [str(i) for i in range(20)])
    assert (found.value, found.low, found.high) == (0.1, 0.1, 0.1)


def test_no_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="no value"):
        inf.clustered_mean([], [])
    with pytest.raises(ValueError, match="give one for each"):
        inf.clustered_mean([1.0], ["a", "b"])
    with pytest.raises(ValueError, match="zeros and ones"):
        inf.clustered_share([0.5], ["a"])


def test_the_order_of_values_changes_no_bit() -> None:
    rng = np.random.default_rng(8)
    values, groups = _clustered(rng, 20, 5)
    values = [v * 10.0 ** rng.integers(-6, 6) for v in values]
    first = inf.clustered_mean(values, groups)
    for seed in range(5):
        order = list(range(len(values)))
        random.Random(seed).shuffle(order)
        assert inf.clustered_mean([values[i] for i in order], [groups[i] for i in order]) == first


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize(("k", "n"), [(0, 10), (7, 10), (10, 10)])
def test_a_share_without_clusters_is_wilsons(k: int, n: int) -> None:
    found = inf.clustered_share([1] * k + [0] * (n - k), [str(i) for i in range(n)])
    assert (found.low, found.high) == wilson(k, n)
    assert inf.wilson_at(k / n, n) == pytest.approx(wilson(k, n), abs=1e-12)


def test_copies_of_one_answer_count_once() -> None:
    """Ten identical votes in each of eight clusters know no more than eight votes."""
    copied = inf.clustered_share([1, 1, 1, 0, 1, 0, 1, 1] * 10, [str(i) for i in range(8)] * 10)
    single = inf.clustered_share([1, 1, 1, 0, 1, 0, 1, 1], [str(i) for i in range(8)])
    assert copied.value == single.value
    assert copied.low is not None
    assert single.low is not None
    assert copied.low <= single.low + 0.02
    everybody = inf.clustered_share([1] * 40, [str(i % 4) for i in range(40)])
    assert (everybody.low, everybody.high) == pytest.approx(wilson(4, 4))


# ---------------------------------------------------------------- tests


@pytest.mark.parametrize("n", [1, 2, 5, 9, 13])
def test_the_exact_sign_flip_agrees_with_scipy(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1, n)
    theirs = stats.permutation_test(
        (differences,), lambda x, axis: np.sum(x, axis=axis), permutation_type="samples",
        n_resamples=np.inf, vectorized=True,
    ).pvalue if n > 1 else 1.0  # fmt: skip
    p, least, name = inf.sign_flip(differences.tolist())
    assert p == pytest.approx(theirs, abs=1e-12)
    assert least == 2.0 ** (1 - n)
    assert name == "exact sign-flip"


def test_many_flips_agree_with_scipys() -> None:
    differences = np.random.default_rng(2).normal(0.3, 1, 40)
    theirs = stats.permutation_test(
        (differences,), lambda x, axis: np.sum(x, axis=axis), permutation_type="samples",
        n_resamples=50_000, vectorized=True, rng=1,
    ).pvalue  # fmt: skip
    p, least, _ = inf.sign_flip(differences.tolist())
    assert p == pytest.approx(theirs, abs=4 * math.sqrt(theirs / inf.FLIPS))
    assert least == 1e-4


def test_under_no_difference_p_below_five_percent_comes_in_five_percent() -> None:
    rng = np.random.default_rng(6)
    below = sum(inf.sign_flip(rng.normal(0, 1, 20).tolist(), flips=999)[0] <= 0.05
                for _ in range(600))  # fmt: skip
    assert stats.binomtest(below, 600, 0.05).pvalue > 0.01


def test_clusters_flip_together() -> None:
    """Thirty clips of three prompts cannot be more certain than three prompts are."""
    a = {f"{p}{i}": 1.0 for p in "xyz" for i in range(10)}
    b = dict.fromkeys(a, 0.0)
    found = inf.paired(a, b, {item: item[0] for item in a})
    assert found is not None
    assert (found.n, found.n_clusters, found.p, found.least_p) == (30, 3, 0.25, 0.25)


def test_paired_differences_are_of_common_items() -> None:
    a = {"p": 3.0, "q": 5.0, "r": 7.0, "only a": 99.0}
    b = {"p": 1.0, "q": 4.0, "r": 7.0, "only b": -99.0}
    found = inf.paired(a, b, {})
    assert found is not None
    assert (found.n, found.difference, found.mean_a, found.mean_b) == (3, 1.0, 5.0, 4.0)
    assert found.effect == pytest.approx(1.0)  # differences 2, 1, 0: mean 1, sd 1
    assert found.won == pytest.approx((1 + 1 + 0.5) / 3)
    turned = inf.paired(b, a, {})
    assert turned is not None
    assert (turned.difference, turned.p, turned.won) == (-1.0, found.p, pytest.approx(1 - 2.5 / 3))
    assert inf.paired({"p": 1.0}, {"q": 1.0}, {}) is None


def test_equal_systems_are_not_told_apart() -> None:
    a = {str(i): float(i) for i in range(10)}
    found = inf.paired(a, dict(a), {})
    assert found is not None
    assert (found.difference, found.p, found.effect, found.won) == (0.0, 1.0, None, 0.5)


def test_holm_agrees_with_a_published_example_and_statsmodels() -> None:
    # statsmodels 0.15.0: multipletests([...], method="holm")[1]
    given = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]
    assert inf.holm(given) == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.5, 0.12])
    assert inf.holm([]) == []
    assert inf.holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("n", "effect"),  # statsmodels 0.15.0: TTestPower().solve_power(nobs=n, alpha=.05, power=.8)
    [(5, 1.6819971), (10, 0.9960019), (34, 0.4950291), (200, 0.1990647)],
)
def test_what_could_have_been_seen_agrees_with_statsmodels(n: int, effect: float) -> None:
    assert inf.detectable(1 / math.sqrt(n), n) == pytest.approx(effect, rel=1e-5)
