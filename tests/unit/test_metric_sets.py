"""Distances of sets of clips: against closed forms and plain loops, and the same for any division
of the work."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsafe import testing
from avsafe.errors import MissingExtra, Unscorable, UsageError
from avsafe.media.replay import Replay
from avsafe.testing import check_metric, measured
from avsafe.types import Aggregate, Clip, Kind, RawMedia, Sample, Shape
from avsafe_metrics.sets import kernel, resampling
from avsafe_metrics.sets.backbones import motion_texture, sound_texture
from avsafe_metrics.sets.cmmd import Cmmd
from avsafe_metrics.sets.density_coverage import COLUMNS, DensityCoverage
from avsafe_metrics.sets.fad import Fad
from avsafe_metrics.sets.fd import Fd
from avsafe_metrics.sets.fd_motion_texture import FdMotionTexture
from avsafe_metrics.sets.fd_panns import FdPanns
from avsafe_metrics.sets.fd_passt import FdPasst
from avsafe_metrics.sets.fd_sound_texture import FdSoundTexture
from avsafe_metrics.sets.feeding import PictureMeter, SoundMeter, WindowMeter, resampled
from avsafe_metrics.sets.fid import Fid
from avsafe_metrics.sets.frechet import frechet_distance, frechet_of_moments, gaussian
from avsafe_metrics.sets.fvd import Fvd
from avsafe_metrics.sets.inception_score import inception_score
from avsafe_metrics.sets.inception_score_of_frames import InceptionScoreOfFrames
from avsafe_metrics.sets.kid import Kid
from avsafe_metrics.sets.kl_panns import KlPanns
from avsafe_metrics.sets.kvd import Kvd
from avsafe_metrics.sets.neighbours import neighbours
from avsafe_metrics.sets.posterior_kl import posterior_kl
from avsafe_metrics.sets.rows import Rows, table

RNG = np.random.default_rng


def items_of(values, rows_each=2, prefix="clip"):
    """Sample id -> features, ``rows_each`` rows a sample."""
    parts = np.split(values, len(values) // rows_each)
    return {f"{prefix}{i}": {"features": part} for i, part in enumerate(parts)}


def by_sqrtm(x, y, ddof=1):
    import scipy.linalg

    s1, s2 = (np.cov(a, rowvar=False, ddof=ddof) for a in (x, y))
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root).real)


# ---------------------------------------------------------------- Fréchet


def test_frechet_of_gaussians_that_commute_has_its_closed_form():
    rng = RNG(0)
    a, b, shift = rng.uniform(0.1, 3, 7), rng.uniform(0.1, 3, 7), rng.normal(size=7)
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]  # of both alike: the distance stays
    found = frechet_of_moments(
        np.zeros(7), turn @ np.diag(a**2) @ turn.T, shift, turn @ np.diag(b**2) @ turn.T
    )
    assert found == pytest.approx(np.sum(shift**2) + np.sum((a - b) ** 2), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(60, 90), (12, 90), (90, 12), (9, 14)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_frechet_is_that_of_sqrtm_on_every_route(n, m, ddof):
    rng = RNG(n)
    x = rng.normal(size=(n, 20)) @ rng.normal(size=(20, 20))
    y = rng.normal(size=(m, 20)) * 2 + 1
    # sqrtm itself loses half its digits where a covariance is singular
    tolerance = 1e-9 if min(n, m) > 20 else 1e-5
    assert frechet_distance(x, y, ddof=ddof) == pytest.approx(by_sqrtm(x, y, ddof), rel=tolerance)
    assert frechet_distance(y, x, ddof=ddof) == pytest.approx(
        frechet_distance(x, y, ddof=ddof), rel=1e-12
    )


@pytest.mark.parametrize("n", [8, 200])
def test_frechet_of_a_known_damage(n):
    x = RNG(1).normal(size=(n, 16))
    assert frechet_distance(x, x + 0.5) == pytest.approx(16 * 0.25, rel=1e-7)
    spread = np.trace(np.cov(x.T))
    assert frechet_distance(x, x.mean(0) + 3 * (x - x.mean(0))) == pytest.approx(4 * spread)
    assert frechet_distance(x, x[::-1]) == pytest.approx(0.0, abs=1e-7 * spread)


def test_frechet_with_a_feature_that_never_moves_is_that_of_the_others():
    rng = RNG(2)
    x, y = rng.normal(size=(50, 5)), rng.normal(size=(40, 5)) + 0.3
    wider = [np.hstack([a, np.full((len(a), 1), 7.0), a[:, :1]]) for a in (x, y)]
    assert gaussian(wider[0]).factor.shape == (7, 5)  # singular: of five eigenvectors, no jitter
    twice = np.diag([2**0.5, 1, 1, 1, 1])  # the repeated feature counts twice
    expected = frechet_distance(x @ twice, y @ twice)
    assert frechet_distance(*wider) == pytest.approx(expected, rel=1e-7)


def test_frechet_refuses_what_it_cannot_answer():
    with pytest.raises(ValueError, match="1 row"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="3 features against 4"):
        frechet_distance(np.zeros((5, 3)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        frechet_of_moments([0, 0], np.diag([1.0, -1.0]), [0, 0], np.eye(2))


# ---------------------------------------------------------------- kernels


def test_mmd_is_that_of_a_plain_loop():
    rng = RNG(3)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1

    def k(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    own = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    other = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert kernel.mmd2(x, y) == pytest.approx(own + other - 2 * across, rel=1e-12)


def test_mmd_is_unbiased_and_grows_with_the_shift():
    rng = RNG(4)
    draws = [kernel.mmd2(rng.normal(size=(12, 4)), rng.normal(size=(12, 4))) for _ in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / 20
    x, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 4))
    shifted = [kernel.mmd2(x, y + by) for by in (0.0, 0.5, 1.0, 2.0)]
    assert shifted == sorted(shifted)


@pytest.mark.parametrize("biased", [False, True])
def test_mmd_without_each_group_is_mmd_of_the_rest(biased):
    rng = RNG(5)
    x, y, group = rng.normal(size=(11, 3)), rng.normal(size=(6, 3)), np.arange(11) % 3
    found = kernel.mmd2_without(x, group, y, biased=biased)
    plain = kernel.mmd2_biased if biased else kernel.mmd2
    np.testing.assert_allclose(found, [plain(x[group != g], y) for g in range(3)], rtol=1e-10)


def test_cmmd_of_opposite_embeddings_has_its_closed_form():
    x, y = np.tile([2.0, 0.0], (4, 1)), np.tile([-0.5, 0.0], (3, 1))  # lengths do not matter
    assert kernel.cmmd(x, y) == pytest.approx(1000 * (2 - 2 * math.exp(-4 / 200)), rel=1e-9)
    with pytest.raises(ValueError, match="length 0"):
        kernel.cmmd(np.zeros((2, 2)), y)


def test_kid_subsets_average_to_the_full_estimator():
    rng = RNG(6)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 5)) + 0.5
    found = kernel.kid_subsets(x, y, subsets=300, size=20)
    full = kernel.mmd2(x, y)
    assert found.mean == pytest.approx(full, abs=4 * found.deviation / math.sqrt(300))
    with pytest.raises(ValueError, match="subsets of 50 rows from 40"):
        kernel.kid_subsets(x, y, size=50)


# ---------------------------------------------------------------- classes and neighbours


def test_inception_score_between_its_ends():
    sure = 200 * np.eye(5)[np.arange(50) % 5]
    parts = inception_score(sure, splits=5, seed=None)  # ten rows each, two of every class
    assert parts.mean == pytest.approx(5.0, rel=1e-9)
    assert parts.deviation == pytest.approx(0.0, abs=1e-9)
    assert inception_score(sure, splits=5).mean < 5.0  # shuffled: some part lacks a class
    assert inception_score(sure, splits=1).mean == pytest.approx(5.0, rel=1e-9)
    assert inception_score(sure[:1].repeat(50, 0), splits=5).mean == pytest.approx(1.0)
    two = np.log([[0.75, 0.25], [0.25, 0.75]])
    expected = math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert inception_score(two, splits=1).mean == pytest.approx(expected)


def test_posterior_kl_is_that_of_scipy():
    from scipy.special import softmax
    from scipy.stats import entropy

    rng = RNG(7)
    a, b = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    expected = entropy(softmax(b, axis=1), softmax(a, axis=1), axis=1)
    np.testing.assert_allclose(posterior_kl(a, b, least=0.0), expected, rtol=1e-10)
    np.testing.assert_allclose(posterior_kl(b, b), 0.0, atol=1e-5)


def test_neighbours_are_those_of_a_plain_loop():
    rng = RNG(8)
    x, y, k = rng.normal(size=(25, 3)) + 0.4, rng.normal(size=(30, 3)), 3

    def reach(rows):
        return [sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows]

    ball_x, ball_y = reach(x), reach(y)
    inside = np.array(
        [[np.linalg.norm(a - b) <= r for b, r in zip(y, ball_y, strict=True)] for a in x]
    )
    back = np.array(
        [[np.linalg.norm(b - a) <= r for a, r in zip(x, ball_x, strict=True)] for b in y]
    )
    found = neighbours(x, y, k=k)
    assert found.precision == pytest.approx(inside.any(1).mean())
    assert found.recall == pytest.approx(back.any(1).mean())
    assert found.density == pytest.approx(inside.sum() / (k * 25))
    assert found.coverage == pytest.approx(inside.any(0).mean())


def test_neighbours_tell_missing_variety_from_missing_realism():
    rng = RNG(9)
    y = np.concatenate([rng.normal(size=(100, 4)) - 10, rng.normal(size=(100, 4)) + 10])
    same = neighbours(np.concatenate([y[::2] + 0.01, y[1::2] + 0.01]), y)
    half = neighbours(rng.normal(size=(200, 4)) + 10, y)  # one of two modes
    off = neighbours(rng.normal(size=(200, 4)) * 0.1, y)  # between them
    assert same.precision == 1.0
    assert same.coverage == 1.0
    assert half.precision > 0.85
    assert 0.4 < half.coverage <= 0.5
    assert 0.4 < half.recall <= 0.5
    assert (off.precision, off.density, off.coverage) == (0.0, 0.0, 0.0)
    fair = neighbours(rng.normal(size=(800, 4)), rng.normal(size=(800, 4)), k=3)
    assert fair.coverage == pytest.approx(1 - 0.5**3, abs=0.04)
    assert fair.density == pytest.approx(1.0, abs=0.1)


# ---------------------------------------------------------------- chance


def test_jackknife_of_a_mean_is_the_textbook_interval():
    from scipy.stats import t

    values = RNG(10).normal(size=30)
    rows = Rows(values[:, None], np.arange(30))
    found = resampling.jackknife(rows, values.mean(), lambda some: some.mean(), groups=30)
    reach = t.ppf(0.975, 29) * values.std(ddof=1) / math.sqrt(30)
    assert found.high - values.mean() == pytest.approx(reach, rel=1e-9)
    assert values.mean() - found.low == pytest.approx(reach, rel=1e-9)


def test_jackknife_leaves_whole_clips_out():
    clips = RNG(11).normal(size=20)
    one = Rows(clips[:, None], np.arange(20))
    five = Rows(np.repeat(clips, 5)[:, None], np.repeat(np.arange(20), 5))
    plain, repeated = (
        resampling.jackknife(rows, clips.mean(), lambda some: some.mean()) for rows in (one, five)
    )
    assert repeated.high == pytest.approx(plain.high)  # five equal frames a clip are no more clips


def test_the_floor_is_what_real_clips_score_and_a_shift_is_beyond_it():
    rng = RNG(12)
    y, same = (Rows(rng.normal(size=(80, 4)), np.arange(80)) for _ in range(2))
    off = Rows(rng.normal(size=(80, 4)) + 1.5, np.arange(80))
    fair = resampling.split_half(same, y, frechet_distance)
    apart = resampling.split_half(off, y, frechet_distance)
    assert (fair.n, fair.m, fair.apart) == (40, 40, False)
    assert fair.at_size == pytest.approx(fair.mean, rel=0.5)
    assert apart.apart
    assert apart.at_size == pytest.approx(4 * 1.5**2 + apart.mean, rel=0.25)
    assert apart.mean == fair.mean  # of the reference alone
    assert (
        resampling.split_half(same, Rows(np.zeros((3, 2)), np.arange(3)), frechet_distance) is None
    )


def test_two_samples_are_told_apart_by_whole_clips_alone():
    rng = RNG(33)
    p_values = []
    for _ in range(40):
        x, y = (Rows(rng.normal(size=(12, 3)), np.arange(12)) for _ in range(2))
        p_values.append(resampling.two_sample(x, y, permutations=99).p_value)
    assert 0.35 < np.mean(p_values) < 0.65  # uniform: 0.5, deviation 0.046
    off = Rows(y.values + 1.5, y.owner)
    assert resampling.two_sample(off, y).p_value == 0.001
    # repeating frames is no more evidence
    many = [Rows(np.repeat(r.values, 4, 0), np.repeat(r.owner, 4)) for r in (x, y)]
    once, again = resampling.two_sample(x, y), resampling.two_sample(*many)
    assert again.energy == pytest.approx(once.energy, rel=1e-9)
    assert again.p_value == pytest.approx(once.p_value, abs=0.002)


def test_the_limit_takes_the_bias_of_few_clips_out():
    rng = RNG(13)
    y = Rows(rng.normal(size=(4000, 8)), np.arange(4000))
    x = Rows(rng.normal(size=(120, 8)), np.arange(120))  # the truth is 0
    raw = frechet_distance(x.values, y.values)
    limit = resampling.extrapolated(x, y, frechet_distance)
    assert raw > 0.08
    assert abs(limit) < raw / 2


# ---------------------------------------------------------------- rows


def test_a_table_does_not_depend_on_the_order_of_samples():
    values = RNG(14).normal(size=(12, 3)).astype(np.float32)
    items = items_of(values)
    one, other = table(items), table(dict(reversed(items.items())))
    assert one.names == other.names
    assert np.array_equal(one.values, other.values)
    assert one.samples == 6
    assert one.of(np.array([0])).shape == (2, 3)
    assert one.without(np.array([0])).shape == (10, 3)


def test_a_table_names_the_clip_that_does_not_fit():
    with pytest.raises(ValueError, match=r"^(a|b): [23] features a row"):
        table({"a": {"features": np.zeros((1, 2))}, "b": {"features": np.zeros((1, 3))}})
    with pytest.raises(ValueError, match="a: features that are not finite"):
        table({"a": {"features": np.full((1, 2), np.nan)}})


# ---------------------------------------------------------------- torchmetrics

states = pytest.importorskip("avsafe_metrics.states", reason="torch and torchmetrics")
X, Y = RNG(15).normal(size=(24, 5)).astype(np.float32), RNG(16).normal(size=(20, 5)) + 0.5
IDS = [f"clip {i // 2}" for i in range(24)]  # two rows a sample
REAL = [f"real {i}" for i in range(20)]


def fed(metric, x, ids, places, y=Y, real=REAL):
    import torch

    if len(x):
        metric.update(torch.from_numpy(np.ascontiguousarray(x)), ids, places=places)
    metric.update(torch.from_numpy(y.astype(np.float32)), real, real=True)
    return metric


PLACES = [i % 2 for i in range(24)]
WHOLE = {
    kind: fed(kind(), X, IDS, PLACES).compute()
    for kind in (states.FrechetDistance, states.KernelDistance, states.ClipMMD)
}


@settings(max_examples=25, deadline=None)
@given(
    shard=st.lists(st.integers(0, 6), min_size=24, max_size=24),
    order=st.permutations(range(24)),
    shards=st.sampled_from([1, 2, 7]),
    repeated=st.lists(st.integers(0, 23), max_size=5),
    kind=st.sampled_from(list(WHOLE)),
)
def test_any_division_of_the_work_gives_the_same_bits(shard, order, shards, repeated, kind):
    parts = [[i for i in order if shard[i] % shards == s] for s in range(shards)]
    parts[0] = parts[0] + repeated  # as a sampler does that fills its last batch
    merged = None
    for s, part in enumerate(parts):
        real = slice(s, None, shards)
        metric = fed(
            kind(), X[part], [IDS[i] for i in part], [PLACES[i] for i in part], Y[real], REAL[real]
        )
        if merged is None:
            merged = metric
        else:
            merged.merge_state(metric)
    assert float(merged.compute()) == float(WHOLE[kind])


def test_processes_that_are_gathered_give_the_same_bits():
    import torch

    halves = [fed(states.FrechetDistance(), X[s::2], IDS[s::2], PLACES[s::2], Y[s::2], REAL[s::2])
              for s in (0, 1)]  # fmt: skip
    other = {name: torch.cat(getattr(halves[1], name)) for name in ("rows", "keys")}

    def gather(tensor, group=None):
        return [tensor, other["keys" if tensor.dtype == torch.int64 else "rows"]]

    metric = halves[0]
    metric.dist_sync_fn = gather
    metric.distributed_available_fn = lambda: True
    assert float(metric.compute()) == float(WHOLE[states.FrechetDistance])


def test_a_sample_that_comes_twice_with_other_rows_is_refused():
    metric = fed(states.FrechetDistance(), X[:4], ["a", "b", "c", "d"], None)
    fed(metric, X[4:8], ["a", "b", "c", "d"], None)
    with pytest.raises(ValueError, match="one id came twice"):
        metric.compute()


def test_the_streaming_metric_agrees_with_the_benchmark_bit_for_bit():
    n = 24  # samples, of two rows
    x, y = RNG(17).normal(size=(2 * n, 4)), RNG(18).normal(size=(2 * n, 4))
    x, y = x.astype(np.float32), y.astype(np.float32)
    found = Fd(backbone="motion_texture").reduce(items_of(x), items_of(y))[""]
    ids = [f"clip{i // 2}" for i in range(2 * n)]
    metric = fed(states.FrechetDistance(), x[::-1], ids[::-1], [i % 2 for i in range(2 * n)][::-1],
                 y, ids)  # fmt: skip
    assert float(metric.compute()) == found.value


def test_clip_scores_know_no_order_and_count_what_has_no_number():
    values = [1e16, 1.0, -1e16, float("nan"), 3.0]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3]):
        metric = states.ClipScores()
        for i in order:
            metric.update([values[i]], [f"c{i}"])
        metric.update([1.0], ["c1"])  # twice is once
        assert float(metric.compute()) == 1.0  # (1e16 + 1 - 1e16 + 3) / 4, exactly
        assert (metric.n_scored, metric.n_expected) == (4, 5)
    empty = states.ClipScores()
    empty.update([float("nan")], ["a"])
    with pytest.raises(ValueError, match="none of 1 clips"):
        empty.compute()


def test_posterior_kl_pairs_by_id():
    import torch

    metric = states.PosteriorKL()
    a, b = RNG(19).normal(size=(3, 4)), RNG(20).normal(size=(3, 4))
    metric.update(torch.from_numpy(a), ["a", "b", "only here"])
    metric.update(torch.from_numpy(b), ["b", "a", "only there"], real=True)
    expected = posterior_kl(a[:2], b[[1, 0]]).mean()
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-12)


def test_the_other_shells_give_the_pure_functions_numbers():
    import torch

    metric = states.InceptionScore(splits=1)
    metric.update(torch.from_numpy(100 * np.eye(4)), list("abcd"))
    assert float(metric.compute()) == pytest.approx(4.0)
    found = fed(states.DensityCoverage(k=3), X, IDS, PLACES).compute()
    assert {name: float(v) for name, v in found.items()} == vars(
        neighbours(*fed(states.DensityCoverage(), X, IDS, PLACES).tables(), k=3)
    )


# ---------------------------------------------------------------- figures


def test_a_figure_comes_with_interval_floor_and_sizes():
    rng = RNG(21)
    x, y = rng.normal(size=(60, 6)) + 0.6, rng.normal(size=(60, 6))
    metric = Fvd(frames=16)
    found = metric.reduce(items_of(x), items_of(y))[""]
    assert isinstance(found, Aggregate)
    assert found.value == pytest.approx(frechet_distance(x, y, ddof=0), rel=1e-9)
    assert found.low < found.value < found.high
    assert (found.n_scored, found.n_expected) == (30, 30)
    details = found.details
    assert (details["rows"], details["reference_rows"], details["features"]) == (60, 60, 6)
    assert details["floor"]["apart"]
    assert details["floor"]["n"] == 15
    assert details["two_sample"]["p_value"] == 0.001
    assert "note" not in details
    few = Fid().reduce(
        items_of(rng.normal(size=(20, 40)), 1), items_of(rng.normal(size=(20, 40)), 1)
    )
    assert "20 rows for 40 features" in few[""].details["note"]


SET_METRICS = (Fid, Kid, Fvd, Kvd, Fad, FdPanns, FdPasst, Cmmd, FdMotionTexture, FdSoundTexture, Fd)


@pytest.mark.parametrize("make", SET_METRICS)
def test_too_few_clips_or_no_reference_is_a_reason(make):
    metric = make()
    rows = RNG(22).normal(size=(16, 3))
    assert "needs a reference" in metric.reduce(items_of(rows), {})[""]
    assert "8 clips: " in metric.reduce(items_of(rows), items_of(rows))[""]
    many = items_of(RNG(23).normal(size=(60, 3)))
    assert "8 clips in the reference" in metric.reduce(many, items_of(rows))[""]
    broken = {**many, "odd": {"features": np.full((1, 3), np.inf)}}
    assert "odd: features that are not finite" in metric.reduce(broken, many)[""]


@pytest.mark.parametrize("make", SET_METRICS)
def test_figures_do_not_depend_on_the_order_of_clips(make):
    x, y = items_of(RNG(24).normal(size=(60, 4))), items_of(RNG(25).normal(size=(60, 4)))
    turned = make().reduce(dict(reversed(x.items())), dict(reversed(y.items())))
    assert turned == make().reduce(x, y)
    assert math.isfinite(turned[""].value)


def test_kid_says_what_subsets_give_only_where_there_are_enough_rows():
    x, y = items_of(RNG(26).normal(size=(60, 3))), items_of(RNG(27).normal(size=(60, 3)))
    metric = Kid()
    assert "subsets" not in metric.reduce(x, y)[""].details
    metric.subset_size = 50
    assert metric.reduce(x, y)[""].details["subsets"]["size"] == 50


def test_density_and_coverage_come_with_what_halves_of_the_reference_score():
    x, y = items_of(RNG(28).normal(size=(80, 3)) + 9), items_of(RNG(29).normal(size=(80, 3)))
    found = DensityCoverage(backbone="sound_texture").reduce(x, y)
    assert tuple(found) == COLUMNS
    assert found["coverage"].value == 0.0
    assert found["coverage"].metric == "density_coverage.coverage"
    halves = found["precision"].details["halves"]
    assert halves["at_size"] == 0.0
    assert halves["real_mean"] > 0.5


def test_what_cannot_be_reduced_is_a_reason_and_stops_no_run():
    """A neighbour that no row has, and an embedding without a direction."""
    y = items_of(RNG(37).normal(size=(48, 3)))
    found = DensityCoverage(backbone="sound_texture", k=47).reduce(y, y)
    assert set(found) == set(COLUMNS)
    for reason in found.values():
        assert reason == (
            "48 rows, 44 where clips are left out, and 48 in the reference: a neighbour of rank 47 "
            "needs more; give more clips or a smaller k"
        )
    nothing = items_of(np.zeros((48, 3)))
    assert "length 0" in Cmmd().reduce(nothing, y)[""]


def test_what_the_default_backbone_needs_is_said_of_the_class():
    """Lists read the class: it must say what the class without parameters asks for."""
    assert Fd.info.weights == Fd().info.weights == ("inception",)
    assert DensityCoverage.info.wants == DensityCoverage().info.wants == ("luma",)
    with pytest.raises(MissingExtra, match="--weights inception=PATH"):
        Fd().prepare()


def test_kl_counts_clips_without_a_reference():
    logits = RNG(30).normal(size=(4, 6))
    ours = {f"c{i}": {"logits": logits[i : i + 1]} for i in range(4)}
    theirs = {f"c{i}": {"logits": logits[i : i + 1] * (1 + i)} for i in range(3)}
    found = KlPanns().reduce(ours, theirs)[""]
    expected = posterior_kl(logits[:3], logits[:3] * np.array([[1], [2], [3]])).mean()
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert (found.n_scored, found.n_expected, found.details["without_reference"]) == (3, 4, 1)
    assert "own name" in KlPanns().reduce(ours, {"other": theirs["c0"]})[""]


def test_inception_score_asks_for_enough_frames():
    logits = 50 * np.eye(4)[np.arange(100) % 4]
    items = {f"c{i}": {"logits": part} for i, part in enumerate(np.split(logits, 25))}
    metric = InceptionScoreOfFrames(splits=2)
    assert metric.reduce(items, {})[""].value == pytest.approx(4.0, rel=0.05)
    assert "needs at least 500" in InceptionScoreOfFrames().reduce(items, {})[""]


# ---------------------------------------------------------------- damage of known size


FRECHET = (Fid, Fvd, Fad, FdPanns, FdPasst, FdMotionTexture, FdSoundTexture, Fd)


@pytest.mark.parametrize("make", FRECHET)
def test_frechet_metrics_give_a_shift_its_square_and_the_same_clips_nothing(make):
    y = RNG(34).normal(size=(60, 4))
    same, moved = (make().reduce(items_of(y + by), items_of(y))[""] for by in (0.0, 0.5))
    assert same.value == pytest.approx(0, abs=1e-9)
    assert moved.value == pytest.approx(4 * 0.5**2, rel=1e-9)


@pytest.mark.parametrize("make", [Kid, Kvd])
def test_kernel_metrics_of_two_points_have_their_closed_form(make):
    """All clips at 1 against all at 0: k(1, 1) + k(0, 0) - 2 k(1, 0) = 8 + 1 - 2."""
    one, nought = np.ones((24, 1)), np.zeros((24, 1))
    assert make().reduce(items_of(one), items_of(nought))[""].value == pytest.approx(7)
    assert make().reduce(items_of(one), items_of(one))[""].value == pytest.approx(0, abs=1e-12)
    fair = RNG(35).normal(size=(160, 3))
    figure = make().reduce(items_of(fair[:80]), items_of(fair[80:]))[""]
    assert not figure.details["floor"]["apart"]
    assert figure.low < 0 < figure.high, "two draws of one distribution"


def test_density_and_coverage_of_the_same_clips_and_of_one_mode_of_two():
    rng = RNG(36)
    y = np.concatenate([rng.normal(size=(40, 3)) - 20, rng.normal(size=(40, 3)) + 20])
    metric = DensityCoverage(backbone="sound_texture")
    same = metric.reduce(items_of(y), items_of(y))
    assert {name: same[name].value for name in COLUMNS[1:]} == dict.fromkeys(COLUMNS[1:], 1.0)
    assert same["density"].value >= 1.0
    half = metric.reduce(items_of(y[40:]), items_of(y))  # real clips, but of one mode
    assert half["precision"].value == 1.0
    assert half["coverage"].value == half["recall"].value == 0.5


class Colours:
    """Stands for a network of pictures: a row is the mean colour, and so are three logits."""

    name, frames = "colours", 4

    def __init__(self):
        self.digests = {}

    def prepare(self, frame):
        return frame.reshape(-1, 3).mean(axis=0).astype(np.float32) / 255

    def features(self, given):
        rows = given.mean(axis=1) if given.ndim == 3 else given
        return {"features": rows, "logits": 100 * rows}


class Levels:
    """Stands for a network of sound: a row is the level in dB; it hears high and low."""

    name, rate_hz = "levels", 16000

    def __init__(self):
        self.digests = {}

    def features(self, sound):
        level = 10 * np.log10(np.mean(sound.astype(np.float64) ** 2))
        high = np.mean(np.diff(np.signbit(sound)) != 0) > 0.1
        return {
            "features": np.array([[level, 0.0]], np.float32),
            "logits": np.log([[0.9, 0.1] if high else [0.1, 0.9]]),
        }


def made_of(metric, backbone, clips):
    metric.backbone = backbone
    found = {name: measured(metric, raw) for name, raw in clips.items()}
    assert not any(one.values for one in found.values()), found
    return {name: one.features for name, one in found.items()}


def tinted(damage=lambda picture: picture, colour=None):
    """24 clips of four frames, each of a colour of its own or all of one, with texture."""
    clips = {}
    for seed in range(24):
        rng = RNG(100 + seed)
        tint = rng.integers(60, 160, 3) if colour is None else np.array(colour)
        picture = np.clip(tint + rng.integers(-20, 21, (16, 20, 1)), 0, 255).astype(np.uint8)
        shown = np.ascontiguousarray(damage(picture))
        clips[f"c{seed}"] = RawMedia(
            Kind.VIDEO, Replay(lambda shown=shown: iter([shown] * 4)), Fraction(25), 4, 20, 16
        )
    return clips


@pytest.mark.parametrize("make", [Fid, Fvd])
def test_brighter_clips_are_as_far_off_as_they_are_brighter(make):
    """From clips to the figure: 40 levels more in three colours; a mirror changes no colour."""
    metric = make()
    plain, brighter, mirrored = (
        made_of(metric, Colours(), tinted(damage))
        for damage in (lambda p: p, lambda p: p + np.uint8(40), lambda p: p[:, ::-1])
    )
    assert metric.reduce(brighter, plain)[""].value == pytest.approx(3 * (40 / 255) ** 2, rel=1e-5)
    assert metric.reduce(mirrored, plain)[""].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("make", [Kid, Kvd])
def test_clips_of_another_colour_have_the_kernels_distance(make):
    metric = make()
    black, white = (
        made_of(metric, Colours(), tinted(lambda p, v=v: np.full_like(p, v))) for v in (0, 255)
    )
    assert metric.reduce(white, black)[""].value == pytest.approx(7, rel=1e-6)
    assert metric.reduce(white, white)[""].value == pytest.approx(0, abs=1e-9)


def test_cmmd_of_clips_of_another_colour_has_its_closed_form():
    metric = Cmmd()
    red, dark, blue = (
        made_of(metric, Colours(), tinted(lambda p, c=c: np.full_like(p, c)))
        for c in ((200, 0, 0), (90, 0, 0), (0, 0, 200))
    )
    assert metric.reduce(blue, red)[""].value == pytest.approx(1000 * (2 - 2 * math.exp(-0.01)))
    assert metric.reduce(dark, red)[""].value == pytest.approx(0, abs=1e-9)  # a gain is none


def test_inception_score_counts_the_kinds_of_clips():
    metric = InceptionScoreOfFrames(splits=1)
    colours = [(220, 0, 0), (0, 220, 0), (0, 0, 220)]
    kinds = [made_of(metric, Colours(), tinted(lambda p, c=c: np.full_like(p, c))) for c in colours]
    for count in (1, 2, 3):
        mixed = {f"{i}{name}": row for i in range(count) for name, row in kinds[i].items()}
        assert metric.reduce(mixed, {})[""].value == pytest.approx(count, rel=1e-6)


def heard(gain=1.0, swapped=0):
    """24 clips of a second at levels of their own; ``swapped`` of them low instead of high."""
    clips = {}
    for seed in range(24):
        hz, level = 200 if seed < swapped else 4000, RNG(200 + seed).uniform(0.05, 0.3)
        wave = gain * level * np.sin(2 * np.pi * hz * np.arange(16000) / 16000 + 0.3)
        block = wave[None].astype(np.float32)
        clips[f"c{seed}"] = RawMedia(
            Kind.AUDIO, samples=Replay(lambda block=block: iter([block])), rate_hz=16000, channels=1
        )
    return clips


@pytest.mark.parametrize("make", [Fad, FdPanns, FdPasst])
def test_quieter_clips_are_as_far_off_as_they_are_quieter(make):
    """Half the amplitude is 6.02 dB; an inverted wave is as loud."""
    metric = make()
    plain, quieter, inverted = (made_of(metric, Levels(), heard(gain)) for gain in (1, 0.5, -1))
    assert metric.reduce(quieter, plain)[""].value == pytest.approx(6.0206**2, rel=1e-4)
    assert metric.reduce(inverted, plain)[""].value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("swapped", [0, 12, 24])
def test_kl_counts_the_clips_that_sound_like_something_else(swapped):
    """KL of (.9, .1) to (.1, .9) is .8 ln 9; gain is nothing else."""
    metric = KlPanns()
    plain = made_of(metric, Levels(), heard())
    damaged = made_of(metric, Levels(), heard(0.5, swapped))
    found = metric.reduce(damaged, plain)[""]
    assert found.value == pytest.approx(swapped / 24 * 0.8 * math.log(9), abs=1e-4)


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("make", [Fid, Fvd, Fad, FdPanns, FdPasst, Cmmd])
def test_absent_weights_are_named_with_what_to_give(make, tmp_path):
    name = make().info.weights[0]
    with pytest.raises(MissingExtra, match=f"--weights {name}=PATH"):
        make().prepare()
    with pytest.raises(MissingExtra, match="are not there"):
        make(weights={name: str(tmp_path / "none.pth")}).prepare()


def test_a_program_a_pickle_and_other_tensors_are_refused(tmp_path):
    import torch

    class Doubles(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    script, other = tmp_path / "script.pt", tmp_path / "other.pth"
    torch.jit.script(Doubles()).save(str(script))
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(3)}, other)
    code = tmp_path / "code.pth"
    torch.save({"f": Fraction(1, 2)}, code)
    for path, said in (
        (script, "TorchScript program, and loading one runs it"),
        (other, "of another shape"),
        (code, "cannot be read as tensors"),
    ):
        with pytest.raises(MissingExtra, match=said):
            Fid(weights={"inception": str(path)}).prepare()


def test_a_backbone_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="No backbone 'dino'"):
        Fd(backbone="dino")
    pytest.importorskip("torch")
    from avsafe_metrics.sets.backbones.i3d import I3D

    with pytest.raises(UsageError, match="windows of 8 frames; I3D needs 9"):
        I3D(None, frames=8)
    assert Fd(backbone="videomae").info.name == "fd_videomae"
    assert DensityCoverage(backbone="panns").info.wants == ("sound",)


def test_cmmd_frames_are_stretched_and_normalised_for_the_tower(monkeypatch, tmp_path):
    from avsafe_metrics.sets.backbones.clip import Clip as Tower
    from avsafe_metrics.text import clip_backbone

    class Fake:
        side, mean, std, digests, name = 8, (0.5, 0.5, 0.5), (0.25,) * 3, {"clip": "00"}, "fake"

        def prepared(self, batch):
            return batch.mean(dim=(2, 3)).numpy()

    monkeypatch.setattr(clip_backbone, "load", lambda *given, **more: Fake())
    tower = Tower("weights", "fake")
    prepared = tower.prepare(np.full((20, 30, 3), 255, np.uint8))
    assert prepared.shape == (3, 8, 8)
    np.testing.assert_allclose(tower.features(prepared[None])["features"], 2.0)  # (1 - 0.5) / 0.25


# ---------------------------------------------------------------- feeding


class Counted:
    name, frames, rate_hz = "counted", 4, 16000

    def __init__(self):
        self.digests, self.batches, self.sounds = {}, [], []

    def prepare(self, frame):
        return frame[:1, :1].astype(np.float32)

    def features(self, given):
        if given.ndim == 1:
            self.sounds.append(given)
            return {"features": np.zeros((1, 2), np.float32)}
        self.batches.append(given)
        return {"features": given.reshape(len(given), -1)[:, :2]}


def numbered(count, rate=Fraction(10)):
    """Frame i is of brightness i."""
    frames = [np.full((32, 40, 3), i, np.uint8) for i in range(count)]
    return RawMedia(Kind.VIDEO, Replay(lambda: iter(frames)), rate, count, 40, 32)


class Probe:
    def __init__(self, meter, wants=("rgb",)):
        self.info = replace(Fid.info, wants=wants)
        self._meter = meter

    def prepare(self):
        pass

    def digests(self):
        return {}

    def open(self, clip):
        return self._meter(clip)


def test_pictures_are_spread_over_the_clip_and_held_in_batches():
    backbone = Counted()
    found = measured(Probe(lambda clip: PictureMeter(backbone, clip, 10)), numbered(100))
    assert found.features["features"][:, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert [len(batch) for batch in backbone.batches] == [8, 2]
    unknown = replace(numbered(45), frame_count=None)
    found = measured(Probe(lambda clip: PictureMeter(Counted(), clip, 3)), unknown)
    assert found.features["features"][:, 0].tolist() == [0, 10, 20]  # one a second


def test_windows_are_of_consecutive_frames_from_first_to_last():
    backbone = Counted()
    measured(Probe(lambda clip: WindowMeter(backbone, clip, 3)), numbered(20))
    firsts = [batch[0, :, 0, 0, 0].tolist() for batch in backbone.batches]
    assert firsts == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
    short = measured(Probe(lambda clip: WindowMeter(Counted(), clip, 1)), numbered(3))
    assert short.values == {"fid": "3 frames: counted takes windows of 4 frames"}


def test_sound_reaches_the_backbone_at_its_rate_and_silence_is_a_reason():
    def meter(backbone):
        return Probe(lambda clip: SoundMeter(backbone, clip.shape), ("sound",))

    backbone = Counted()
    measured(meter(backbone), testing.sound_only(1.5, 48000))
    assert backbone.sounds[0].shape == (24000,)
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(32000) / 32000)
    np.testing.assert_allclose(
        resampled(tone, 48000, 32000)[500:-500], expected[500:-500], atol=1e-3
    )
    quiet = replace(testing.sound_only(1.0), samples=[np.zeros((1, 48000), np.float32)])
    assert "silent" in measured(meter(Counted()), quiet).values["fid"]


# ---------------------------------------------------------------- without weights


def frames_of(seed, damage=lambda frames: frames, count=8):
    clip = testing.textured_clip(count / 25, 96, 72, seed=seed, sound=False)
    frames = damage(list(clip.frames))
    return replace(clip, frames=Replay(lambda: iter(frames)))


def test_motion_texture_holds_the_contract():
    found = check_metric(FdMotionTexture(), testing.textured_clip(1.4, 96, 72, sound=False))
    assert found.features["features"].shape == (2, motion_texture.WIDTH)
    sound = check_metric(FdSoundTexture(), testing.sound_only(3.2))
    assert sound.features["features"].shape == (3, sound_texture.WIDTH)
    assert len(motion_texture.SCALES) == motion_texture.WIDTH
    assert len(sound_texture.SCALES) == sound_texture.WIDTH


def test_hostile_media_give_reasons():
    one = measured(FdMotionTexture(), numbered(1)).values
    assert one == {"fd_motion_texture": "1 frames: motion needs three"}
    tiny = testing.textured_clip(0.4, 16, 16, sound=False)
    assert "16 x 16 pixels" in measured(FdMotionTexture(), tiny).values["fd_motion_texture"]
    short = testing.sound_only(0.5)
    assert "0.50 s of sound" in measured(FdSoundTexture(), short).values["fd_sound_texture"]
    quiet = replace(testing.sound_only(2.0), samples=[np.zeros((1, 96000), np.float32)])
    assert "silent" in measured(FdSoundTexture(), quiet).values["fd_sound_texture"]


def texture_of(frames):
    found = measured(FdMotionTexture(), frames).features["features"].mean(axis=0)
    return found * motion_texture.SCALES


def test_motion_texture_sees_each_damage_in_the_number_that_is_of_it():
    import cv2

    plain = texture_of(frames_of(3))
    blurred = texture_of(frames_of(3, lambda fs: [cv2.GaussianBlur(f, (0, 0), 2.0) for f in fs]))
    assert blurred[5] < plain[5] - 1.0  # the finest band: a tenth of the energy or less
    assert blurred[0] == pytest.approx(plain[0], abs=0.5)  # the coarsest stays
    rng = RNG(31)
    noisy = texture_of(
        frames_of(3, lambda fs: [np.clip(f + rng.normal(0, 25, f.shape), 0, 255).astype(np.uint8)
                                 for f in fs])
    )  # fmt: skip
    assert noisy[5] > plain[5] + 0.5
    frozen = texture_of(frames_of(3, lambda fs: [fs[0]] * len(fs)))
    median = motion_texture.TEXTURE + motion_texture.SPREAD + 1
    assert frozen[median] == pytest.approx(-2.0, abs=0.05)  # log10(0 + 0.01): nothing moves
    assert plain[median] > -1.2  # the disc and the texture do


def test_fd_motion_texture_grows_with_the_damage():
    import cv2

    def features(seeds, sigma=0.0):
        def blur(frames):
            return [cv2.GaussianBlur(f, (0, 0), sigma) for f in frames] if sigma else frames

        return {
            f"c{seed}": measured(FdMotionTexture(), frames_of(seed, blur)).features
            for seed in seeds
        }

    real, same = features(range(10)), features(range(10, 20))
    found = [
        FdMotionTexture().reduce(some, real)[""]
        for some in (same, features(range(10, 20), 0.8), features(range(10, 20), 2.0))
    ]
    values = [figure.value for figure in found]
    assert values[1] > values[0] + 5
    assert values[2] > 2 * values[1]
    assert not found[0].details["floor"]["apart"]
    assert found[2].details["floor"]["apart"]


def test_sound_texture_hears_each_damage_in_the_number_that_is_of_it():
    from scipy.signal import butter, sosfilt

    sound = np.concatenate(testing.babble(2.0, 16000, 4), axis=1)[0]
    scales = sound_texture.SCALES
    plain, louder = (sound_texture.rows(s)[0] * scales for s in (sound, 0.5 * sound))
    assert plain[0] - louder[0] == pytest.approx(20 * math.log10(2), abs=1e-3)
    np.testing.assert_allclose(louder[1:9], plain[1:9], atol=0.3)  # the spectrum stays
    low = sosfilt(butter(8, 2000, fs=16000, output="sos"), sound).astype(np.float32)
    dull = sound_texture.rows(low)[0] * scales
    assert dull[8] < plain[8] - 15  # dB in the highest bands
    gated = sound * (np.sin(2 * np.pi * 8 * np.arange(sound.size) / 16000) > 0)
    pumped = sound_texture.rows(gated.astype(np.float32))[0] * scales
    assert (pumped[9:17] > plain[9:17] + 3).all()  # every band now goes up and down


def test_fd_sound_texture_grows_with_noise():
    def features(seeds, noise=0.0):
        rng = RNG(32)
        return {
            f"c{s}": {"features": sound_texture.rows(
                np.concatenate(testing.babble(2.0, 16000, s), axis=1)[0]
                + noise * rng.standard_normal(32000).astype(np.float32))}
            for s in seeds
        }  # fmt: skip

    real = features(range(12))
    found = [
        FdSoundTexture().reduce(features(range(12, 24), noise), real)[""]
        for noise in (0.0, 0.01, 0.03, 0.1)
    ]
    values = [figure.value for figure in found]
    assert values == sorted(values)
    assert values[3] > 3 * values[1]
    assert not found[0].details["floor"]["apart"]
    assert found[3].details["floor"]["apart"]


def test_a_meter_says_no_before_the_first_frame_where_it_can():
    shape = Shape(Kind.VIDEO, 16, 16, Fraction(25), 10)
    with pytest.raises(Unscorable, match="16 x 16"):
        FdMotionTexture().open(Clip(Sample("a", {}), shape))
