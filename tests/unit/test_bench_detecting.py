"""Figures of detectors: the known answer, chance, abstention, and none at all."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avsafe import plugins
from avsafe.bench import detecting
from avsafe.bench.work import Work
from avsafe.types import Aggregate, Sample


def work(name: str, *tags: str) -> Work:
    return Work("set", name, Sample(name, {}, tags=tags))


def alone(pairs):
    """Every clip a source of its own."""
    return [(*pair, str(i)) for i, pair in enumerate(pairs)]


def test_a_perfect_and_a_blind_detector() -> None:
    rng = np.random.default_rng(2)
    n = 200
    perfect = [(True, 0.9 + i / 1e4) for i in range(n)] + [(False, 0.1) for _ in range(n)]
    blind = [(i % 2 == 0, float(v)) for i, v in enumerate(rng.random(2 * n))]
    sure = detecting.of_detector(alone(perfect))
    assert {k: v.value for k, v in sure.items() if isinstance(v, Aggregate)} == {
        "auc": 1.0, "hits_at_1pct": 1.0, "abstention": 0.0
    }  # fmt: skip
    chance = detecting.of_detector(alone(blind))
    auc, hits = chance["auc"], chance["hits_at_1pct"]
    assert isinstance(auc, Aggregate)
    assert isinstance(hits, Aggregate)
    assert auc.low < 0.5 < auc.high
    assert auc.high - auc.low < 0.15
    assert hits.value < 0.05
    turned = detecting.of_detector(alone([(not label, value) for label, value in perfect]))
    assert isinstance(turned["auc"], Aggregate)
    assert turned["auc"].value == 0.0


def test_abstentions_and_labels_are_counted() -> None:
    asked = [(True, 0.9), (False, 0.2), (False, "abstained: too short"), (None, 0.5), (True, None)]
    found = detecting.of_detector(alone(asked))
    auc, abstention = found["auc"], found["abstention"]
    assert isinstance(auc, Aggregate)
    assert isinstance(abstention, Aggregate)
    assert (auc.n_scored, auc.n_expected) == (2, 4)
    assert math.isnan(auc.low), "one source of each class gives no interval"
    assert abstention.value == pytest.approx(2 / 5)
    only = detecting.of_detector(alone([(True, 0.9), (False, "abstained: x")]))
    assert only["auc"] == "no real unit was judged"
    assert detecting.of_detector([])["auc"] == "there is no clip"


def test_clips_of_one_person_are_not_many() -> None:
    """The interval is over sources: a hundred clips of two people are two."""
    rng = np.random.default_rng(3)
    asked = [(label, float(rng.normal(0.4 + 0.2 * label, 0.2)), f"{label}{i % 2}")
             for label in (False, True) for i in range(100)]  # fmt: skip
    few = detecting.of_detector(asked)["auc"]
    many = detecting.of_detector(alone([pair[:2] for pair in asked]))["auc"]
    assert isinstance(few, Aggregate)
    assert isinstance(many, Aggregate)
    assert few.details["n_sources"] == 4
    assert few.value == many.value


def test_the_folder_is_the_label() -> None:
    assert detecting.label_of(work("a", "Synthetic")) is True
    assert detecting.label_of(work("b", "real")) is False
    assert detecting.label_of(work("c", "clips")) is None


def test_no_detector_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "catalogue", lambda kind: {})
    found = detecting.figures([work("a", "real")], {})
    assert found == {"detectors": detecting.NONE_INSTALLED}


def test_every_detector_has_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "catalogue", lambda kind: {"one": None, "two": None})
    works = [work("a", "real"), work("b", "fake")]
    values = {
        "a": {"safety.detector_one": 0.1, "safety.detector_two": "abstained: x"},
        "b": {"safety.detector_one": 0.8, "safety.detector_two": 0.3},
    }
    found = detecting.figures(works, values)
    assert set(found) == {
        f"detector_{n}.{f}" for n in ("one", "two") for f in ("auc", "hits_at_1pct", "abstention")
    }
    assert found["detector_one.auc"].value == 1.0  # type: ignore[union-attr]
    assert isinstance(found["detector_two.auc"], str)
