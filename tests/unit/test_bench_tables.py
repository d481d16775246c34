"""Runs as pandas tables say what the figures say."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from avsafe.bench import tables
from avsafe.bench.aggregate import aggregate
from avsafe.errors import MissingExtra
from tests import bench_runs

pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bench_runs.write(tmp_path_factory.mktemp("run"))


def test_means_of_the_table_are_the_figures(folder: Path) -> None:
    table, figures = tables.scores(folder), aggregate(folder)["systems"]
    for system in ("plain", "better", "twin"):
        mine = table.loc[system]
        for score in ("sharpness", "flicker"):
            assert math.isclose(mine[score].mean(), figures[system][score]["value"], rel_tol=1e-12)
            assert mine[score].notna().sum() == figures[system][score]["n_scored"]


def test_a_value_or_a_reason_never_both(folder: Path) -> None:
    table, reasons = tables.scores(folder), tables.reasons(folder)
    lacking = table["sharpness"].isna()
    assert lacking.any()
    assert reasons["sharpness"].notna()[lacking].all()
    assert not reasons["sharpness"].notna()[~lacking].any()


def test_aggregates_hold_every_system_and_score(folder: Path) -> None:
    table, figures = tables.aggregates(folder), aggregate(folder)["systems"]
    assert len(table) == sum(len(scores) for scores in figures.values())
    line = table[(table.system == "better") & (table.score == "sharpness")].iloc[0]
    assert line.low <= line.value <= line.high


def test_without_pandas_it_says_where_the_figures_are(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"scores\.csv"):
        tables.scores(folder)
