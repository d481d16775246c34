"""The robustness suite from clips to a report, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from avsafe import media
from avsafe.bench.clips import OWN_PROMPTS
from avsafe.cli import app
from avsafe.sharding import pool
from avsafe.sharding.rows import Store
from avsafe.testing import textured_clip

ATTACKS = "h264_crf28,crop_10,screenshot_png"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for seed in (1, 2):
        clip = textured_clip(1.2, 256, 192, seed=seed, sound=False)
        media.encode(clip, folder / f"scene{seed}.mp4")
    return folder


def bench(clips: Path, out: Path, *more: str) -> Any:
    arguments = ["bench", "run", "watermark", "--media", str(clips), "--out", str(out)]
    arguments += ["--watermarker", "video", "--keys", "1", "--seconds", "1.2"]
    arguments += ["--false-positives", "3", "--json", *more]
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def first(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    out = tmp_path_factory.mktemp("out")
    return bench(clips, out, "--attacks", ATTACKS), out


def test_rows_figures_and_a_page_that_needs_nothing_else(
    clips: Path, first: tuple[Any, Path]
) -> None:
    result, out = first
    assert result.exit_code == 0, result.output
    rows = Store(out / "scores.jsonl").read()
    scores = [row for row in rows if row["kind"] == "score"]
    assert {row["attack"] for row in scores} == set(ATTACKS.split(","))
    assert [row["status"] for row in scores] == ["ok"] * 6, scores
    found = json.loads((out / "aggregates.json").read_text())["watermarkers"]["video"]
    by_name = {line["name"]: line for line in found["attacks"]}
    for name in ("h264_crf28", "crop_10"):
        exact = by_name[name]["exact"]
        assert (exact["n_scored"], exact["n_expected"]) == (2, 2)
        assert exact["low"] <= exact["value"] <= exact["high"]
    assert found["chance"]["n"] == 3
    assert found["chance"]["found"] == []
    assert found["quality"]["psnr_db"]["least"] > 40
    page = (out / "report.html").read_text()
    assert "Wilson 95 % interval" in page
    for outside in ("http://", "https://", "<script", "@import", "url(//"):
        assert outside not in page.replace("http://www.w3.org/", ""), outside
    assert "scene1.mp4" in page
    for file in ("report.html", "aggregates.json", "scores.jsonl"):
        assert str(clips.parent) not in (out / file).read_text(), "a path of this machine"


def test_a_second_run_measures_nothing_again(clips: Path, first: tuple[Any, Path]) -> None:
    _, out = first
    before = (out / "scores.jsonl").read_bytes()
    again = bench(clips, out, "--attacks", ATTACKS)
    assert json.loads(again.stdout)["n_new"] == 0
    assert (out / "scores.jsonl").read_bytes() == before


def test_a_lost_row_is_measured_again_with_the_same_key(
    clips: Path, first: tuple[Any, Path], tmp_path: Path
) -> None:
    _, out = first
    lines = (out / "scores.jsonl").read_text().splitlines(keepends=True)
    gone = next(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "score")
    kept = [line for i, line in enumerate(lines) if i != gone]
    (tmp_path / "scores.jsonl").write_text("".join(kept))
    again = bench(clips, tmp_path, "--attacks", ATTACKS)
    assert json.loads(again.stdout)["n_new"] == 1
    before, after = json.loads(lines[gone]), Store(tmp_path / "scores.jsonl").read()[-1]
    for name in ("clip", "attack", "run", "exact", "p_value"):
        assert after[name] == before[name], name


def test_a_corrupt_clip_is_rows_with_a_reason(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.mp4").write_bytes((clips / "scene1.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(4000))
    out = tmp_path / "out"
    result = bench(folder, out, "--attacks", "h264_crf28")
    assert result.exit_code == 0
    assert "1 rows failed: mixed/broken.mp4" in result.stderr
    (failed,) = [r for r in Store(out / "scores.jsonl").read() if r["status"] == "failed"]
    assert failed["reason"]
    found = json.loads((out / "aggregates.json").read_text())["watermarkers"]["video"]
    exact = found["attacks"][0]["exact"]
    assert (exact["n_scored"], exact["n_expected"]) == (1, 2)
    assert bench(folder, out, "--attacks", "h264_crf28", "--strict").exit_code == 1


def test_copies_are_told_from_releases(clips: Path, tmp_path: Path) -> None:
    """The run of copies itself: it is left out where single attacks are asked for."""
    from avsafe.bench.watermark import copying

    store = Store(tmp_path / "rows.jsonl")
    named = [(f"{n}.mp4", str(clips / f"{n}.mp4")) for n in ("scene1", "scene2")]
    copying.run(copying.Pair(str(store.path), "r", "video", named[0], named[1], 1.2, "1"))
    rows = store.read()
    copied = [row for row in rows if row["kind"] == "copy"]
    assert [row["status"] for row in copied] == ["ok"] * 3, copied
    assert not any(row["fingerprint_agrees"] for row in copied)
    (averaged,) = [row for row in rows if row["kind"] == "averaging"]
    assert -1 <= averaged["one_frame"] <= 1
    assert averaged["n_frames"] == 30


def test_our_own_clips_are_shown_marked_amplified_and_attacked() -> None:
    from avsafe.bench.report import sheets

    (strip,) = sheets.strips("video", "1", count=1)
    assert strip.psnr_db > 40
    assert strip.prompt == OWN_PROMPTS[0]
    for uri in (strip.marked, strip.difference, strip.attacked):
        assert uri.startswith("data:image/webp;base64,")


def test_what_makes_no_sense_is_refused(clips: Path, tmp_path: Path) -> None:
    assert bench(clips, tmp_path, "--attacks", "smash").exit_code != 0
    arguments = ["bench", "run", "nothing", "--media", str(clips), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert "known: detectors, edit" in str(result.exception)


def test_the_list_names_suites_watermarkers_and_attacks() -> None:
    result = CliRunner().invoke(app, ["bench", "list", "--json"])
    found = json.loads(result.stdout)
    names = [suite["name"] for suite in found["suites"]]
    assert {"t2v", "i2v", "v2a", "talking-head", "edit", "watermark", "watermark --media"} <= {
        *names
    }
    assert "temporal_flicker" in {metric["name"] for metric in found["metrics"]}
    assert {"video", "audio", "image"} <= set(found["watermarkers"])
    assert "social" in {attack["name"] for attack in found["attacks"]["video"]}


def _die_at_two(number: int) -> None:
    import os

    if number == 2:
        os._exit(9)


def test_a_task_that_kills_its_process_is_reported_and_the_others_finish() -> None:
    lost: list[tuple[int, str]] = []
    kept: list[int] = []
    pool.run(
        _die_at_two,
        [1, 2, 3, 4],
        jobs=2,
        keep=lambda task, answer: kept.append(task),
        lost=lambda task, reason: lost.append((task, reason)),
    )
    assert [task for task, _ in lost] == [2]
    assert "process died" in lost[0][1]
    assert sorted(kept) == [1, 3, 4]
