"""Intervals and bounds against published values and scipy; rows that survive a torn line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from avsafe.bench import statistics
from avsafe.sharding.rows import Store, code_hash, identity
from avsafe.types import Score

stats = pytest.importorskip("scipy.stats")  # a dependency; imported where it is used


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (10, 10), (188, 200), (15, 148)])
def test_wilson_agrees_with_scipy(k: int, n: int) -> None:
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert statistics.wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_gives_the_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_knows_nothing_without_trials_and_refuses_nonsense() -> None:
    assert statistics.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="make no sense"):
        statistics.wilson(3, 2)


def test_rate_bound_is_the_rule_of_three() -> None:
    assert statistics.rate_bound(0, 100_000) == pytest.approx(-math.log(0.05) / 1e5, rel=1e-3)
    assert statistics.rate_bound(0, 0) == 1.0
    theirs = stats.binomtest(2, 500, alternative="less").proportion_ci(method="exact").high
    assert statistics.rate_bound(2, 500) == pytest.approx(theirs, rel=1e-9)


def test_bootstrap_agrees_with_scipy_and_is_repeatable() -> None:
    values = np.random.default_rng(1).normal(44, 1, 40)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=2).confidence_interval
    ours = statistics.bootstrap_mean(list(values))
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.06)
    assert ours == statistics.bootstrap_mean(list(values))


def test_aggregates_count_what_is_missing() -> None:
    scores = [Score("exact", "a", 1.0), Score("exact", "b", 0.0), Score.unscored("exact", "c", "?")]
    found = statistics.share("exact", scores, 3)
    assert found is not None
    assert (found.value, found.n_scored, found.n_expected) == (0.5, 2, 3)
    assert statistics.share("exact", scores[2:], 1) is None
    assert statistics.mean("exact", scores[2:], 1) is None


def _row(**values: object) -> dict[str, object]:
    base = {"kind": "score", "run": "r", "watermarker": "video", "clip": "c", "key": 0}
    return {**base, "attack": "x", "status": "ok", **values}


def test_a_store_keeps_the_last_row_and_repeats_what_failed(tmp_path: Path) -> None:
    store = Store(tmp_path / "scores.jsonl")
    store.append(_row(status="failed", reason="once"))
    assert store.done() == set()
    store.append(_row(p_value=math.nan, exact=np.bool_(True)))
    assert store.done() == {identity(_row())}
    (only,) = store.read()
    assert only["p_value"] is None
    assert only["exact"] is True


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    store = Store(tmp_path / "scores.jsonl")
    store.append(_row(attack="one"))
    with store.path.open("a") as file:
        file.write(json.dumps(_row(attack="two"))[:40])  # a writer was killed here
    store.append(_row(attack="three"))
    assert [row["attack"] for row in store.read()] == ["one", "three"]


def test_the_hash_follows_code_and_settings(tmp_path: Path) -> None:
    file = tmp_path / "mark.py"
    file.write_text("a")
    first = code_hash([file], {"seconds": 5})
    assert code_hash([file], {"seconds": 5}) == first
    assert code_hash([file], {"seconds": 6}) != first
    file.write_text("b")
    assert code_hash([file], {"seconds": 5}) != first
