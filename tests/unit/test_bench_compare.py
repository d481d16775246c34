"""Two runs against each other: what is found, what is refused, what is only warned of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avsafe.bench.compare import as_text, compare
from avsafe.errors import UsageError
from tests import bench_runs

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Run a is of "plain"; run b holds ``system``'s clips under the same name."""

    def make(system: str = "plain", change: Change = lambda run: None) -> tuple[Path, Path]:
        before = [r for r in bench_runs.rows(["plain"], seed=1) if r["item"] != "item 03"]
        after = [{**r, "system": "plain"} for r in bench_runs.rows([system], seed=1)]
        run = bench_runs.run_json(["plain"])
        other = copy.deepcopy(run)
        change(other)
        return (
            bench_runs.write(tmp_path / "a", ["plain"], made=before, run=run),
            bench_runs.write(tmp_path / "b", ["plain"], made=after, run=other),
        )

    return make


def _line(found: dict[str, Any], score: str) -> dict[str, Any]:
    return next(line for line in found["lines"] if line["score"] == score)


def test_a_better_run_is_called_better_in_both_directions(runs: Any) -> None:
    found = compare(*runs("better"))
    for score in ("sharpness", "flicker", "speech.quality"):
        line = _line(found, score)
        assert line["verdict"] == "better", line
        assert line["difference"] == pytest.approx(line["mean_after"] - line["mean_before"])
    assert _line(found, "sharpness")["difference"] > 0 > _line(found, "flicker")["difference"]
    assert _line(found, "safe")["verdict"] == "not told apart"
    assert _line(found, "sync.offset")["verdict"] == "not told apart"
    assert found["comparisons"] == 5
    assert _line(found, "sharpness")["n"] == 23
    assert _line(found, "sharpness")["n_expected"] == 24


def test_the_other_way_round_it_is_worse(runs: Any) -> None:
    a, b = runs("better")
    assert _line(compare(b, a), "sharpness")["verdict"] == "worse"
    assert _line(compare(b, a), "flicker")["verdict"] == "worse"


def test_a_run_against_itself_changes_nothing(runs: Any) -> None:
    a, _ = runs()
    found = compare(a, a)
    assert all(line["difference"] == 0 for line in found["lines"])
    assert found["warnings"] == []
    assert found["same_clips"] == {"plain / plain": {"n": 46, "moved": {}}}


def test_another_suite_is_refused(runs: Any) -> None:
    def other(run: dict[str, Any]) -> None:
        run["suite_sha256"] = "6" * 64

    a, b = runs(change=other)
    with pytest.raises(UsageError, match=r"555555.*666666.*--across-suites"):
        compare(a, b)
    found = compare(a, b, across_suites=True)
    assert "only items of the same name" in found["warnings"][0]
    assert _line(found, "sharpness")["n"] == 23


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.update(version="2"), "version 1 and version 2"),
        (lambda m: m.update(weights={"net": "b" * 64}), "other weights: none and net bbbbbbbbbbbb"),
        (lambda m: m.update(parameters={"every": 4}), "other parameters: none and {'every': 4}"),
        (lambda m: m.update(not_computed="no weights"), "not computed in b"),
        (lambda m: m["columns"][0].update(unit="%"), "other columns, units or ranges"),
    ],
)
def test_versions_and_weights_never_mix(runs: Any, change: Change, why: str) -> None:
    found = compare(*runs("better", lambda run: change(run["metrics"]["sharpness"])))
    assert why in found["refused"]["sharpness"]
    assert not any(line["score"] == "sharpness" for line in found["lines"])
    assert _line(found, "flicker")["verdict"] == "better"
    assert why in as_text(found)


def test_a_metric_that_one_run_lacks_is_named(runs: Any) -> None:
    found = compare(*runs(change=lambda run: run["metrics"].pop("flicker")))
    assert found["refused"]["flicker"] == "only a has it"


def test_other_code_decoders_and_machines_are_warned_of(runs: Any) -> None:
    def other(run: dict[str, Any]) -> None:
        run["metrics"]["safe"]["run"] = "newer"
        run["environment"]["python"] = "3.13"
        run["settings"]["jobs"] = 7

    a, b = runs(change=other)
    rows = [json.loads(line) for line in (b / "scores.jsonl").read_text().splitlines()]
    for row in rows:
        row["run"] = "newer" if row.get("metric") == "safe" else row.get("run")
        if row["kind"] == "clip":
            row["decoded_by"] = "another"
    (b / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    warnings = compare(a, b)["warnings"]
    assert "environment: python was '3.11', is '3.13'" in warnings
    assert "decoded by sandbox, libav 62; now by another" in warnings
    assert "safe: same version and weights, other code or settings" in warnings
    assert len(warnings) == 3


def test_equal_bytes_with_other_scores_mean_that_the_measuring_changed(runs: Any) -> None:
    a, b = runs("better")  # the same digests by construction
    found = compare(a, b)
    assert found["same_clips"]["plain / plain"]["n"] == 46
    assert found["same_clips"]["plain / plain"]["moved"]["sharpness"]["clips"] == 46
    assert "the measuring changed" in as_text(found)


def test_sets_stand_side_by_side_without_a_test(runs: Any) -> None:
    line = _line(compare(*runs()), "frechet")
    assert (line["p"], line["difference"], line["mean_before"]) == (None, 0.0, 120.0)


def test_systems_are_matched_by_name_alone_or_as_told(tmp_path: Path) -> None:
    a = bench_runs.write(tmp_path / "a", ["plain"], made=bench_runs.rows(["plain"], 9, 1))
    b = bench_runs.write(tmp_path / "b", ["better"], made=bench_runs.rows(["better"], 9, 1))
    assert compare(a, b)["systems"] == {"plain": "better"}
    c = bench_runs.write(tmp_path / "c", ["better", "twin"])
    with pytest.raises(UsageError, match="--system BEFORE=AFTER"):
        compare(a, c)
    assert compare(a, c, systems={"plain": "twin"})["systems"] == {"plain": "twin"}
    with pytest.raises(UsageError, match="There is no 'nobody'"):
        compare(a, c, systems={"nobody": "twin"})


def test_the_text_fits_a_terminal_and_the_json_is_plain(runs: Any) -> None:
    found = compare(*runs("better"))
    text = as_text(found)
    assert "sharpness" in text
    assert "better" in text
    assert max(len(line) for line in text.splitlines() if "warning" not in line) <= 120
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_few_clusters_among_many_comparisons_are_called_too_few(tmp_path: Path) -> None:
    """Two clusters give p of 1 / 2 at least: whatever is seen is no evidence."""
    a = bench_runs.write(tmp_path / "a", ["plain"], made=bench_runs.rows(["plain"], 3, 1))
    b = bench_runs.write(tmp_path / "b", ["better"], made=bench_runs.rows(["better"], 3, 1))
    line = _line(compare(a, b), "sharpness")
    assert line["least_p"] * 4 > 0.05
    assert line["verdict"] == "too few to tell"
