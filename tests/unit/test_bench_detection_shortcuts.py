"""The shortcut audit: what leaks is seen, what does not is not, and sources are not memorised."""

from __future__ import annotations

import numpy as np
import pytest

from avsafe.bench.detection import shortcuts

N = 400


def clips(seed: int = 0):
    """Labels and sources: 20 of each class with 10 clips each."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(40), 10)
    return rng, of >= 20, np.array([f"source {i}" for i in of], object), of


def test_what_leaks_is_seen_and_named():
    rng, y, source, _ = clips()
    found = shortcuts.audit(
        {"duration_s": rng.normal(5, 1, N) + 2.0 * y, "kbps": rng.lognormal(5, 1, N)}, y, source
    )
    assert found["met"] is False
    assert found["all"]["value"] > 0.85
    assert found["each"]["duration_s"]["value"] > 0.85
    assert abs(found["each"]["kbps"]["value"] - 0.5) < 0.12


def test_what_is_alike_passes():
    rng, y, source, _ = clips(1)
    containers = np.array(["mp4", "wav", "mkv"], object)[rng.integers(0, 3, N)]
    found = shortcuts.audit({"size": rng.lognormal(9, 1, N), "container": containers}, y, source)
    assert found["met"] is True
    assert found["all"]["low"] < 0.5 < found["all"]["high"]


def test_a_size_of_each_source_is_not_learned_by_heart():
    """Each source has its own size, unrelated to its label: clips of it are never in both halves,
    so the sizes of one half say nothing of the other."""
    rng, y, source, of = clips(2)
    sizes = rng.normal(0, 1, 40)[of] + rng.normal(0, 1e-3, N)
    found = shortcuts.audit({"size": np.exp(sizes)}, y, source)
    assert abs(found["all"]["value"] - 0.5) < 0.25
    assert found["all"]["high"] - found["all"]["low"] > 0.2, "40 sources are 40, not 400"


def test_a_container_alone_is_a_shortcut():
    _, y, source, _ = clips()
    found = shortcuts.audit({"container": np.where(y, "mp4", "mov").astype(object)}, y, source)
    assert found["all"]["value"] == 1.0
    assert found["met"] is False


def test_being_absent_is_a_shortcut_too():
    """Synthetic clips without sound have no leading silence."""
    _, y, source, _ = clips()
    silence = np.array([None if label else 0.1 for label in y], object)
    assert shortcuts.audit({"leading_silence_s": silence}, y, source)["all"]["value"] == 1.0


def test_the_regression_is_that_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (200, 3)), rng.random(200) < 0.3
    x[y] += (1.0, 0.3, 0.0)
    mine = shortcuts._fitted(x, y, x)
    z = (x - x.mean(0)) / x.std(0)
    theirs = linear.LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000, tol=1e-8)
    np.testing.assert_allclose(mine, theirs.fit(z, y).decision_function(z), atol=2e-3)


def test_too_few_sources_are_a_reason():
    y = np.array([False] * 40 + [True] * 40)
    source = np.array([f"{i % 4}{label}" for i, label in enumerate(y)], object)
    found = shortcuts.audit({"size": np.arange(80.0)}, y, source)
    assert found["met"] is None
    assert "4 sources of one class" in found["all"]["reason"]
    assert shortcuts.audit({}, y, source)["met"] is None


def test_folds_hold_whole_sources_of_both_classes():
    _, y, source, _ = clips()
    fold = shortcuts.folds(y, source)
    for name in set(source.tolist()):
        assert len(set(fold[source == name].tolist())) == 1
    for k in range(shortcuts.FOLDS):
        assert y[fold == k].any()
        assert not y[fold == k].all()


def test_a_source_of_both_classes_is_refused():
    y = np.arange(100) % 2 == 0
    source = np.array([str(i % 10 // 2) for i in range(100)], object)
    assert (
        "would be in both halves"
        in shortcuts.audit({"s": np.ones(100)}, y, source)["all"]["reason"]
    )
