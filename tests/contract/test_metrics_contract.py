"""Every installed metric keeps the contract, built-ins like outsiders; suites name what exists."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from avsafe import plugins, testing
from avsafe.bench import measuring, suitefile
from avsafe.errors import MissingExtra
from avsafe.media.replay import Replay
from avsafe.types import Aggregate, Kind, MetricInfo, RawMedia, SetMetric

FAMILIES = {"video", "sound", "sync", "text", "talking", "set", "safety"}
NAMES = tuple(plugins.catalogue("metrics"))


def prepared(name: str):
    """A metric that works here; others have tests of their own, with stand-in weights."""
    try:
        return measuring.made(measuring.Recipe(name))
    except MissingExtra as error:
        pytest.skip(str(error)[:200])


@pytest.mark.parametrize("name", NAMES)
def test_what_a_metric_says_of_itself(name: str) -> None:
    info = plugins.catalogue("metrics")[name].load().info
    assert isinstance(info, MetricInfo), "info is an attribute of the class: lists read it"
    assert info.name == name, "the plugin's name is the metric's"
    assert info.name.isidentifier()
    assert info.version
    assert info.title
    assert info.source, "where the formula comes from"
    assert info.family in FAMILIES
    assert info.columns
    assert len({column.name for column in info.columns}) == len(info.columns)
    assert all(column.summary for column in info.columns)


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_it_says_what_to_give(name: str) -> None:
    factory = plugins.catalogue("metrics")[name].load()
    if not factory.info.weights:
        return
    with pytest.raises(MissingExtra) as raised:
        factory().prepare()
    assert any(weight in str(raised.value) for weight in factory.info.weights)


@pytest.mark.parametrize("name", NAMES)
def test_values_or_reasons_and_twice_the_same(name: str) -> None:
    metric = prepared(name)
    raw = testing.textured_clip(1.2, 160, 120)
    beside = testing.textured_clip(1.2, 160, 120, seed=0) if metric.info.beside else None
    found = testing.check_metric(metric, raw, beside)
    if metric.info.scope == "clip":
        assert set(found.values) == {metric.info.score_name(c) for c in metric.info.columns}
        for value in found.values.values():
            assert isinstance(value, float) or len(value) > 8, value
            assert not str(value).startswith("the metric failed"), value


def _one(width: int, height: int, count: int, *, value: int = 90) -> RawMedia:
    frame = np.full((height, width, 3), value, np.uint8)
    silence = [np.zeros((1, 160), np.float32)]
    return RawMedia(
        Kind.VIDEO, Replay(lambda: iter([frame] * count)), Fraction(25), count, width, height,
        Replay(lambda: iter(silence)), 16000, 1,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "raw",
    [_one(2, 2, 1), _one(64, 48, 1), _one(64, 48, 12, value=0), _one(3, 90, 4)],
    ids=["2x2", "one frame", "black and silent", "3x90"],
)
def test_poor_clips_give_reasons_and_break_nothing(name: str, raw: RawMedia) -> None:
    metric = prepared(name)
    found = testing.measured(metric, raw, raw if metric.info.beside else None)
    for value in found.values.values():
        assert not str(value).startswith("the metric failed"), value


@pytest.mark.parametrize("name", NAMES)
def test_sets_do_not_depend_on_order(name: str) -> None:
    metric = prepared(name)
    if not isinstance(metric, SetMetric) or metric.info.scope != "set":
        return
    features = {
        f"clip{i}": testing.measured(metric, testing.textured_clip(0.8, 96, 64, seed=i)).features
        for i in range(6)
    }
    items = {k: v for k, v in list(features.items())[:3] if v}
    known = {k: v for k, v in list(features.items())[3:] if v}
    turned = dict(reversed(items.items())), dict(reversed(known.items()))
    one, other = metric.reduce(items, known), metric.reduce(*turned)
    assert one == other
    for figure in one.values():
        assert isinstance(figure, str | Aggregate)
    assert all(isinstance(figure, str) for figure in metric.reduce({}, {}).values())


@pytest.mark.parametrize("suite", suitefile.names())
def test_suites_name_metrics_and_scores_that_there_are(suite: str) -> None:
    found = suitefile.load(suite)
    scores = {"safety." + c.name for c in _safety().columns}
    for spec in found.metrics:
        assert spec.name in NAMES, f"{suite} lists {spec.name}, which no plugin gives"
        info = plugins.catalogue("metrics")[spec.name].load().info
        scores |= {info.score_name(column) for column in info.columns}
    missing = [name for name in found.headline if name not in scores]
    assert not missing, f"the leaderboard of {suite} shows {missing}, which nothing gives"


def _safety() -> MetricInfo:
    from avsafe.bench import safety

    return safety.info()
