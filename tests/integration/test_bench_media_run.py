"""A folder of clips, good and bad, from the command line to figures."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avsafe import media, testing
from avsafe.bench import measuring, run
from avsafe.cli import app
from avsafe.errors import MissingExtra, UsageError
from avsafe.media.replay import Replay
from avsafe.sharding import executors
from avsafe.sharding.rows import OF_A_SCORE, Store
from avsafe.types import Kind

GOOD = 20
SUITE = """
suite: small
title: A small suite
summary: Two metrics of pictures and one of sound.
requires: [pictures, sound, motion]
metrics: [temporal_flicker, black, loudness, psnr, fd_motion_texture]
headline: [temporal_flicker, loudness.integrated]
safety: false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Twenty good clips, and five that cannot be scored."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(GOOD):
        clip = testing.textured_clip(0.6, 96, 64, seed=index)
        media.encode(clip, folder / f"clip{index:02}.mp4")
    whole = (folder / "clip00.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
    media.encode(testing.textured_clip(0.6, 96, 64, sound=False), folder / "silent.mp4")
    one = testing.textured_clip(0.04, 96, 64)
    media.encode(one, folder / "one-frame.mp4")
    (folder / "notes.txt").write_text("not a clip")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    return folder


FEW = 8


@pytest.fixture(scope="module")
def few(folder, tmp_path_factory) -> Path:
    """Eight of the good clips, and the five others."""
    few = tmp_path_factory.mktemp("few") / folder.name
    few.mkdir()
    for path in folder.iterdir():
        if not path.name.startswith("clip") or int(path.stem[4:]) < FEW:
            shutil.copy(path, few)
    return few


@pytest.fixture
def suite(tmp_path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


def bench(*words: object):
    return CliRunner().invoke(app, ["bench", "run", *map(str, words)])


def clip_rows(out: Path) -> dict[str, dict]:
    rows = Store(out / "scores.jsonl", OF_A_SCORE).read()
    return {Path(row["path"]).name: row for row in rows if row["kind"] == "clip"}


def test_twenty_are_scored_and_five_say_why(folder, suite, tmp_path):
    out = tmp_path / "out"
    result = bench(suite, "--videos", folder, "--out", out)
    assert result.exit_code == 0, result.output
    rows = clip_rows(out)
    assert len(rows) == GOOD + 5
    bad = {name: row["reason"] for name, row in rows.items() if row["status"] != "ok"}
    assert set(bad) == {"truncated.mp4", "silent.mp4", "one-frame.mp4", "notes.txt", "noise.mp4"}
    assert "sound" in bad["silent.mp4"]
    assert "2 frames" in bad["one-frame.mp4"]
    assert all(len(reason) > 15 for reason in bad.values()), bad
    assert f"5 of {GOOD + 5} clips are unscored" in result.output.replace("\n", " ")
    figures = json.loads((out / "aggregates.json").read_text())
    flicker = figures["systems"][folder.name]["temporal_flicker"]
    assert (flicker["n_scored"], flicker["n_expected"]) == (GOOD, GOOD + 5)
    assert flicker["low"] <= flicker["value"] <= flicker["high"]


def test_strict_is_an_exit_code(few, suite, tmp_path):
    out = tmp_path / "out"
    words = (suite, "--videos", few, "--out", out, "--metric", "temporal_flicker")
    assert bench(*words, "--strict").exit_code == 1
    only = tmp_path / "good"
    only.mkdir()
    shutil.copy(few / "clip00.mp4", only)
    assert bench(suite, "--videos", only, "--out", tmp_path / "b", "--strict",
                 "--metric", "temporal_flicker").exit_code == 0  # fmt: skip


def figures_of(out: Path) -> str:
    found = json.loads((out / "aggregates.json").read_text())
    return json.dumps(found["systems"], sort_keys=True)


def test_figures_do_not_depend_on_how_a_run_was_divided(few, suite, tmp_path):
    """One process, two processes, and seven runs in another order: the same to the last bit."""
    outs = [tmp_path / name for name in ("one", "two", "seven")]
    options = run.Options(str(suite), outs[0], (("clips", few),))
    run.run(options)
    run.run(run.Options(str(suite), outs[1], (("clips", few),), jobs=2))
    parts = sorted(few.iterdir(), reverse=True)
    for index in range(7):  # a run sees more of the clips each time, and never all but at the end
        grown = tmp_path / "grown" / few.name
        grown.mkdir(parents=True, exist_ok=True)
        for path in parts[index::7]:
            shutil.copy(path, grown)
        run.run(run.Options(str(suite), outs[2], (("clips", grown),)))
    assert figures_of(outs[0]) == figures_of(outs[1]) == figures_of(outs[2])


def test_what_is_measured_is_not_measured_again(few, suite, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = run.Options(str(suite), out, (("clips", few),), metrics=("temporal_flicker",))
    first = run.run(options)
    assert first.n_new == 2 * (FEW + 5)
    monkeypatch.setattr(measuring, "measure_clip", lambda task: pytest.fail("measured again"))
    assert run.run(options).n_new == 0
    assert json.loads((out / "run.json").read_text())["suite"] == "small"


def test_a_run_that_was_interrupted_goes_on(few, suite, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = run.Options(str(suite), out, (("clips", few),), metrics=("temporal_flicker",))
    measured, real = [], measuring.measure_clip

    def until_interrupted(task):
        if len(measured) == 6:
            raise KeyboardInterrupt
        measured.append(task)
        return real(task)

    monkeypatch.setattr(measuring, "measure_clip", until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(options)
    monkeypatch.setattr(measuring, "measure_clip", real)
    assert run.run(options).n_new == 2 * (FEW + 5 - 6)


def test_a_process_that_dies_is_a_row_and_is_tried_again(few, suite, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = run.Options(str(suite), out, (("clips", few),), metrics=("temporal_flicker",))
    real = measuring.measure_clip

    def breaks(task):
        if task.work.item == "clip03":
            raise RuntimeError("out of luck")
        return real(task)

    monkeypatch.setattr(measuring, "measure_clip", breaks)
    assert run.run(options).n_failed > 5
    assert clip_rows(out)["clip03.mp4"]["status"] == "failed"
    monkeypatch.setattr(measuring, "measure_clip", real)
    run.run(options)
    assert clip_rows(out)["clip03.mp4"]["status"] == "ok"


def test_a_reference_is_paired_by_name_and_played_in_step(few, suite, tmp_path):
    out, references = tmp_path / "out", tmp_path / "ref"
    references.mkdir()
    for index in (0, 1):
        shutil.copy(few / f"clip{index:02}.mp4", references)
    clip = testing.textured_clip(0.6, 96, 64, seed=2)
    dark = clip.with_frames(Replay(lambda: (np.uint8(f * 0.5) for f in clip.frames)))
    media.encode(dark, references / "clip02.mp4")
    run.run(run.Options(str(suite), out, (("clips", few),), reference=references))
    rows = Store(out / "scores.jsonl", OF_A_SCORE).read()
    psnr = {
        row["item"]: row["values"] | row["reasons"]
        for row in rows if row["kind"] == "score" and row["metric"] == "psnr"
    }  # fmt: skip
    assert "no reference" in str(psnr["clip05"])
    values = [v for v in psnr["clip02"].values() if isinstance(v, float)]
    assert values
    assert min(values) < 20, "a clip at half its brightness is some 12 dB away"
    same = [str(v) for v in psnr["clip00"].values()]
    assert all("inf" in v or "equal" in v or float(v) >= 60 for v in same), same


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metric", "nobody"), "no metric nobody"),
        (("--weights", "clip"), "expected NAME=VALUE"),
        (("--weights", "clip=/not/there.safetensors"), "no such file"),
        (("--executor", "cloud"), "No executor"),
        (("--generator", "nobody"), "nobody"),
    ],
)
def test_words_that_make_no_sense(few, suite, tmp_path, words, said):
    videos = () if "--generator" in words else ("--videos", few)
    result = bench(suite, *videos, "--out", tmp_path / "out", *words)
    error = result.exception
    assert isinstance(error, UsageError), (result.output, error)
    assert said in str(error)
    assert not (tmp_path / "out" / "scores.jsonl").exists()


def test_set_metrics_of_one_package_keep_their_features_apart(tmp_path):
    path, out, clips = tmp_path / "sets.yaml", tmp_path / "out", tmp_path / "clips"
    path.write_text(SUITE.replace("psnr, fd_motion_texture", "fd_motion_texture, fd_sound_texture"))
    clips.mkdir()
    for index in range(10):
        media.encode(testing.textured_clip(1.5, 96, 64, seed=index), clips / f"clip{index}.mp4")
    run.run(run.Options(str(path), out, (("clips", clips),), reference=clips))
    figures = json.loads((out / "aggregates.json").read_text())["systems"]["clips"]
    for name in ("fd_motion_texture", "fd_sound_texture"):
        # a set against itself; a singular covariance leaves rounding, a slight blur moves it by 20
        assert figures[name]["value"] == pytest.approx(0, abs=0.05), figures[name]
        assert figures[name]["n_scored"] == 10


def test_a_metric_without_its_weights_is_not_computed(folder, tmp_path):
    path = tmp_path / "weights.yaml"
    path.write_text(SUITE.replace("psnr,", "psnr, lpips, fvd,"))
    out = tmp_path / "out"
    outcome = run.run(run.Options(str(path), out, (("clips", folder),), limit=2))
    assert any("lpips" in warning and "fvd" in warning for warning in outcome.warnings)
    said = json.loads((out / "run.json").read_text())["metrics"]
    assert "weights" in said["lpips"]["not_computed"]
    assert "weights" in said["fvd"]["not_computed"]
    assert said["temporal_flicker"]["not_computed"] is None


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"avsafe\[ray\]"):
        executors.named("ray", 2)


def test_sound_alone_is_measured(tmp_path):
    path, folder = tmp_path / "s.yaml", tmp_path / "sounds"
    path.write_text("suite: s\ntitle: S\nmetrics: [loudness]\nsafety: false\n")
    folder.mkdir()
    media.encode(testing.sound_only(1.0), folder / "a.wav")
    assert media.probe(folder / "a.wav").kind is Kind.AUDIO
    run.run(run.Options(str(path), tmp_path / "out", (("sounds", folder),)))
    assert clip_rows(tmp_path / "out")["a.wav"]["status"] == "ok"
