"""Figures of run folders whose truth is known; the same bytes whatever the order of the rows."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from avsafe.bench.aggregate import aggregate, parquet_missing
from avsafe.bench.runfolder import pattern, take
from avsafe.bench.worst import robust_z
from avsafe.errors import UsageError
from tests import bench_runs

SYSTEMS = ("plain", "better", "twin")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bench_runs.write(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def figures(folder: Path) -> dict[str, Any]:
    return aggregate(folder)


def _pair(figures: dict[str, Any], score: str, a: str, b: str) -> dict[str, Any]:
    return next(
        line for line in figures["pairs"] if (line["score"], line["a"], line["b"]) == (score, a, b)
    )


def test_intervals_hold_the_true_means(figures: dict[str, Any]) -> None:
    for score in ("sharpness", "safe", "speech.quality", "sync.offset"):
        for system in SYSTEMS:
            found = figures["systems"][system][score]
            assert found["low"] <= bench_runs.TRUTH[score][system] <= found["high"], (score, system)


def test_every_figure_says_n_of_n(figures: dict[str, Any]) -> None:
    plain = figures["systems"]["plain"]
    assert (plain["sharpness"]["n_scored"], plain["sharpness"]["n_expected"]) == (46, 48)
    assert (plain["speech.quality"]["n_scored"], plain["speech.quality"]["n_expected"]) == (40, 48)
    assert plain["sharpness"]["n_clusters"] == 16
    assert plain["sharpness"]["interval"] == "95 % BCa bootstrap and t, 16 clusters"
    assert plain["safe"]["interval"] == "95 % Wilson, 16 clusters"
    assert plain["frechet"]["details"]["floor"]["mean"] == 41.5
    missing = plain["clip_score"]
    assert missing["value"] is None
    assert missing["reason"].startswith("weights 'clip' were not given")


def test_a_real_difference_is_found_and_none_is_invented(figures: dict[str, Any]) -> None:
    """Positive control: better differs by .10 and 1.5. Negative: plain and twin are the same."""
    for score, sign in (("sharpness", -1), ("flicker", 1)):
        line = _pair(figures, score, "plain", "better")
        assert line["better"] == "better"
        assert sign * line["difference"] > 0
        assert line["p_holm"] < 0.05
        assert line["low"] <= _truth(score, "plain") - _truth(score, "better") <= line["high"]
        assert figures["best"][score] == {
            "system": "better", "alone": True, "not_told_from": [], "tested": True
        }  # fmt: skip
    for score in ("sharpness", "flicker", "safe", "speech.quality"):
        assert _pair(figures, score, "plain", "twin")["better"] is None
    assert figures["best"]["safe"]["alone"] is False
    assert figures["best"]["frechet"]["tested"] is False
    assert figures["best"]["sync.offset"] is None


def _truth(score: str, system: str) -> float:
    found = bench_runs.TRUTH[score][system]
    # the mean of a lognormal factor with sigma sqrt(.2 ** 2 + .1 ** 2)
    return found * 2.718281828 ** (0.05 / 2) if score == "flicker" else found


def test_pairs_use_common_items_and_one_family(figures: dict[str, Any]) -> None:
    line = _pair(figures, "sharpness", "plain", "twin")
    assert (line["n"], line["n_expected"]) == (23, 24)
    assert figures["families"] == {"headline": 12, "other": 0}
    smallest = min(figures["pairs"], key=lambda one: one["p"])
    assert smallest["p_holm"] == pytest.approx(12 * smallest["p"])
    assert not any(line["score"] in ("sync.offset", "frechet") for line in figures["pairs"])


def test_failures_are_counted_by_reason(figures: dict[str, Any]) -> None:
    first, *others = figures["failures"]
    assert first == {
        "system": "plain", "metric": None, "status": "failed",
        "reason": "the file ends after N bytes", "example": "the file ends after 120 bytes",
        "count": 2, "clips": ["item 03", "item 03 #1"],
    }  # fmt: skip
    assert {(line["system"], line["metric"], line["count"]) for line in others} == {
        (system, "speech", 6) for system in SYSTEMS
    }
    assert figures["not_computed"] == {
        "clip_score": "weights 'clip' were not given: --weights clip=FILE"
    }


def test_the_order_of_rows_changes_no_byte(folder: Path, tmp_path: Path) -> None:
    aggregate(folder)
    rows = bench_runs.rows(SYSTEMS)
    for seed in range(2):
        random.Random(seed).shuffle(rows)
        again = bench_runs.write(tmp_path / str(seed), made=rows)
        aggregate(again)
        for name in ("aggregates.json", "aggregates.csv", "scores.csv"):
            assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_row_that_succeeded_later_counts_and_rows_of_other_runs_do_not(tmp_path: Path) -> None:
    rows = bench_runs.rows(["plain"], items=4, samples=1)
    good = next(row for row in rows if row.get("metric") == "sharpness")
    failed = {**good, "status": "failed", "values": {"sharpness": None}, "reasons": {}}
    other = {**good, "run": "older", "values": {"sharpness": 99.0}}
    stranger = {**good, "system": "nobody"}
    for order in ([failed, *rows, other, stranger], [other, *rows, stranger, failed]):
        run = bench_runs.write(tmp_path / str(id(order)), ["plain"], made=order)
        figures = aggregate(run)
        assert figures["rows_aside"] == 2
        assert figures["systems"]["plain"]["sharpness"]["most"] < 1


def test_a_run_that_did_not_finish_says_so(tmp_path: Path) -> None:
    rows = [row for row in bench_runs.rows(["twin"], items=10, samples=1)
            if row["kind"] == "clip" or row["item"] < "item 07"]  # fmt: skip
    figures = aggregate(bench_runs.write(tmp_path, ["twin"], made=rows))
    found = figures["systems"]["twin"]["sharpness"]
    assert (found["n_scored"], found["n_expected"]) == (7, 10)
    line = next(one for one in figures["failures"] if one["metric"] == "sharpness")
    assert (line["reason"], line["count"]) == ("no row: the run did not finish", 3)


def test_one_item_gives_a_figure_without_an_interval(tmp_path: Path) -> None:
    figures = aggregate(
        bench_runs.write(tmp_path, ["twin"], made=bench_runs.rows(["twin"], items=1))
    )
    found = figures["systems"]["twin"]["sharpness"]
    assert found["value"] is not None
    assert (found["low"], found["high"]) == (None, None)
    assert "one cluster" in found["interval"]


def test_nothing_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.json.*--out"):
        aggregate(tmp_path)
    run = bench_runs.write(tmp_path / "empty", ["plain"], made=[])
    figures = aggregate(run)
    assert figures["systems"]["plain"]["sharpness"]["reason"] == "the system has no clip"
    (run / "run.json").write_text("{")
    with pytest.raises(UsageError, match="no JSON"):
        aggregate(run)


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    run = bench_runs.write(tmp_path, ["twin"], made=bench_runs.rows(["twin"], items=5, samples=1))
    before = aggregate(run)["systems"]["twin"]["sharpness"]
    with (run / "scores.jsonl").open("a") as file:
        file.write('{"kind": "score", "system": "tw')
    assert aggregate(run)["systems"]["twin"]["sharpness"] == before


def test_tables_hold_every_score_of_every_clip(folder: Path, figures: dict[str, Any]) -> None:
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 48 * 5
    bad = [row for row in rows if row["item"] == "item 03" and row["system"] == "plain"]
    assert {(row["status"], row["value"]) for row in bad} == {("failed", "")}
    assert all(row["reason"].startswith("the clip: the file ends") for row in bad)
    mine = [float(row["value"]) for row in rows
            if (row["system"], row["score"]) == ("twin", "sharpness")]  # fmt: skip
    assert sum(mine) / 48 == pytest.approx(figures["systems"]["twin"]["sharpness"]["value"])
    assert figures["tables"]["parquet"] is (parquet_missing() is None)
    assert (folder / "scores.parquet").exists() is (parquet_missing() is None)


def test_parquet_says_the_same_as_csv(folder: Path, figures: dict[str, Any]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(folder / "scores.parquet").to_pylist()
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in found] == [float(r["value"]) if r["value"] else None
                                               for r in rows]  # fmt: skip


def test_the_worst_clip_is_named_with_what_is_odd_about_it(tmp_path: Path) -> None:
    rows = bench_runs.rows(["twin"], items=12, samples=1)
    for row in rows:
        if row["item"] == "item 07":
            if row["kind"] == "clip":
                row["width"] = 64
            elif row["metric"] == "sharpness":
                row["values"] = {"sharpness": 0.01}
            elif row["metric"] == "flicker":
                row["values"] = {"flicker": 40.0}
    figures = aggregate(bench_runs.write(tmp_path, ["twin"], made=rows))
    worst = figures["worst"]["sharpness"][0]
    assert worst["item"] == "item 07"
    assert any(why.startswith("Flicker 40 (median") for why in worst["why"])
    assert any(why.startswith("width 64 pixels") for why in worst["why"])
    assert figures["worst"]["flicker"][0]["item"] == "item 07"


def test_robust_distance_of_a_normal_sample_is_the_z_score() -> None:
    import numpy as np

    values = np.random.default_rng(0).normal(5, 2, 4000).tolist()
    assert robust_z(9.0, values) == pytest.approx(2.0, abs=0.08)
    assert robust_z(1.0, [1.0, 1.0]) == 0.0


def test_the_file_is_plain_json_without_nan(folder: Path, figures: dict[str, Any]) -> None:
    def refuse(text: str) -> float:
        raise AssertionError(text)

    assert json.loads((folder / "aggregates.json").read_text(), parse_constant=refuse) == figures


def test_reasons_that_differ_in_names_and_numbers_count_together() -> None:
    same = {pattern(f"no file item {i:02d}.mp4 in ours, {i} tried", ("s", f"item {i:02d}", "0"))
            for i in range(12)}  # fmt: skip
    assert same == {"no file ….mp4 in ours, N tried"}
    assert pattern("H264 at 16kHz, 3 of 4") == "H264 at 16kHz, N of N"
    assert take(("s", "item", "item#3")) == "3"


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "score", "system": ["plain"], "metric": {}}',
        '{"kind": "clip", "system": "plain", "item": [1], "sample": {}}'.replace('"plain"', "7"),
        '{"kind": "score", "system": "plain", "metric": "sharpness", "run": "other"}',
        '{"kind": ["score"]}',
        "[" * 100_000,
        "\x00\xff{",
    ],
)
def test_rows_that_make_no_sense_stand_aside(tmp_path: Path, line: str) -> None:
    folder = bench_runs.write(tmp_path / "run")
    before = aggregate(folder)["systems"]
    with (folder / "scores.jsonl").open("a") as file:
        file.write(line + "\n")
    assert aggregate(folder)["systems"] == before


def test_values_of_a_wrong_kind_are_reasons(tmp_path: Path) -> None:
    folder = bench_runs.write(tmp_path / "run", ["plain"])
    path = folder / "scores.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    strange: list[Any] = [10**400, True, "0.5", [1], None, float("nan")]
    scores = [row for row in rows if row.get("metric") == "sharpness"]
    for row, value in zip(scores, strange, strict=False):
        row["values"], row["cpu_s"] = {"sharpness": value}, "much"
    scores[len(strange)]["values"] = [0.5]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure = aggregate(folder)["systems"]["plain"]["sharpness"]
    assert (figure["n_scored"], figure["n_expected"]) == (46 - 7, 48)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sets.json", "[]"),
        ("sets.json", '{"plain": []}'),
        ("sets.json", '{"plain": {"frechet": 3}}'),
        ("sets.json", "{"),
        ("run.json", '{"suite": "s", "systems": {}, "metrics": {}}'),
        ("run.json", '{"suite": "s", "systems": ["plain"], "metrics": []}'),
        ("run.json", '{"suite": "s", "systems": ["plain"], "metrics": {"m": {"columns": [1]}}}'),
        ("run.json", '{"suite": "s", "systems": ["plain"], "metrics": {}, "clips": [1]}'),
    ],
)
def test_damaged_files_of_a_run_say_so(tmp_path: Path, name: str, text: str) -> None:
    folder = bench_runs.write(tmp_path / "run")
    (folder / name).write_text(text)
    with pytest.raises(UsageError, match=name):
        aggregate(folder)


def test_a_set_figure_without_a_number_inside_is_still_written(tmp_path: Path) -> None:
    folder = bench_runs.write(tmp_path / "run", ["plain"])
    found = bench_runs.sets(["plain"])
    found["plain"]["frechet"]["details"]["floor"]["high"] = float("nan")
    found["plain"]["frechet"]["n_scored"] = "many"
    (folder / "sets.json").write_text(json.dumps(found))
    figure = aggregate(folder)["systems"]["plain"]["frechet"]
    assert figure["details"]["floor"]["high"] is None
    assert figure["n_scored"] == 0
