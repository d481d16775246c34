"""Rows are of the bytes, texts and code that they were measured from; others do not count."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avsafe import media, plugins, testing
from avsafe.bench import asked, listing, measuring, run, runfolder, safety, told, work
from avsafe.cli import app
from avsafe.errors import UsageError
from avsafe.home import Home
from avsafe.sharding import code
from avsafe.types import Sample
from avsafe.workspace import Lookup

SUITE = """
suite: tiny
title: Tiny
metrics: [temporal_flicker, psnr]
safety: false
items:
  - {id: one, prompt: a red ball}
  - {id: two, prompt: a blue cube}
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("made")
    for seed in range(3):
        clip = testing.textured_clip(0.2, 48, 32, seed=seed, sound=False)
        media.encode(clip, folder / f"{seed}.mp4")
    return sorted(folder.iterdir())


@pytest.fixture
def place(tmp_path, clips):
    (tmp_path / "tiny.yaml").write_text(SUITE)
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clips[0], folder / "one.mp4")

    def again(**more):
        options = run.Options(
            str(tmp_path / "tiny.yaml"), tmp_path / "out", (("ours", folder),), **more
        )
        run.run(options)
        return json.loads((tmp_path / "out" / "aggregates.json").read_text())["systems"]["ours"]

    return folder, again


def flicker(figures):
    found = figures["temporal_flicker"]
    return found["n_scored"], found["n_expected"], found["value"]


def psnr(figures):
    return next(found for name, found in figures.items() if name.startswith("psnr"))


def test_a_clip_that_comes_later_is_measured(place, clips):
    folder, again = place
    assert flicker(again())[:2] == (1, 2)
    shutil.copy(clips[1], folder / "two.mp4")
    assert flicker(again())[:2] == (2, 2)


def test_another_file_under_the_old_name_is_measured_again(place, clips):
    folder, again = place
    before = flicker(again())[2]
    shutil.copy(clips[2], folder / "one.mp4")
    after = flicker(again())
    assert after[:2] == (1, 2)
    assert after[2] != before
    (folder / "one.mp4").rename(folder / "two.mp4")
    assert flicker(again())[:2] == (1, 2), "the old row is of a file that is gone"
    (folder / "two.mp4").unlink()
    shutil.copy(clips[0], folder / "one.mp4")
    assert flicker(again())[2] == before


def test_another_reference_is_measured_again(place, clips, tmp_path):
    _, again = place
    found = []
    for clip in (clips[0], clips[1]):
        shutil.rmtree(tmp_path / "ref", ignore_errors=True)
        (tmp_path / "ref").mkdir()
        shutil.copy(clip, tmp_path / "ref" / "one.mp4")
        found.append(psnr(again(reference=tmp_path / "ref")))
    assert [one["n_scored"] for one in found] == [1, 1]
    assert found[0]["value"] > found[1]["value"] + 6, "the clip itself, then another clip"


def test_a_reference_that_cannot_be_played_is_a_reason_of_its_metrics_alone(place, tmp_path):
    _, again = place
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "one.mp4").write_bytes(b"no media at all" * 100)
    found = again(reference=tmp_path / "ref")
    assert flicker(found)[:2] == (1, 2)
    assert psnr(found)["n_scored"] == 0


def test_a_smaller_run_counts_its_own_clips_only(place, clips, tmp_path):
    folder, again = place
    shutil.copy(clips[1], folder / "two.mp4")
    assert flicker(again())[:2] == (2, 2)
    assert flicker(again(limit=1))[:2] == (1, 1)
    lines = (tmp_path / "out" / "scores.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"two"' not in line]
    (tmp_path / "out" / "scores.jsonl").write_text("\n".join(kept) + "\n")
    again()
    (tmp_path / "out" / "scores.jsonl").write_text("\n".join(kept) + "\n")
    found = runfolder.read(tmp_path / "out")
    assert len(found.expected("ours")) == 2, "a clip whose rows are lost is still expected"


def test_names_that_no_text_file_can_hold(tmp_path, clips):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in (b"caf\xe9.mp4", "line\u2028end.mp4".encode(), b"<b>&\n.mp4"):
        shutil.copy(clips[0], bytes(folder) + b"/" + name)
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "s.yaml").write_text(SUITE.partition("items")[0])
    options = run.Options(str(tmp_path / "s.yaml"), tmp_path / "out", (("odd", folder),))
    assert run.run(options).n_failed == 1, "the dead link"
    assert run.run(options).n_new == 0
    figures = json.loads((tmp_path / "out" / "aggregates.json").read_text())
    assert flicker(figures["systems"]["odd"])[:2] == (3, 4)


def test_what_a_run_leaves_behind_has_no_folder_of_this_machine(place, tmp_path):
    folder, again = place
    (folder / "two.mp4").write_bytes(b"no media")
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref" / "one.mp4").write_bytes(b"no media")
    (tmp_path / "tiny.yaml").write_text(SUITE.replace("psnr]", "psnr, lpips]"))
    weights = {"lpips": str(tmp_path / "tiny.yaml")}
    again(reference=tmp_path / "ref", own=("ours",), weights=weights)
    for path in (tmp_path / "out").iterdir():
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<video" in report, "own clips are found from the folder of the run"


def test_features_that_are_gone_are_measured_again(tmp_path):
    (tmp_path / "sets.yaml").write_text(
        "suite: s\ntitle: S\nmetrics: [fd_motion_texture]\nsafety: false\n"
    )
    longer = tmp_path / "longer"
    longer.mkdir()
    for seed in range(2):
        clip = testing.textured_clip(1.0, 96, 64, seed=seed, sound=False)
        media.encode(clip, longer / f"{seed}.mp4")
    options = run.Options(str(tmp_path / "sets.yaml"), tmp_path / "out", (("longer", longer),))
    run.run(options)
    features = sorted((tmp_path / "out" / "features").rglob("*.npz"))
    assert len(features) == 2
    features[0].unlink()
    run.run(options)
    assert features[0].exists()
    features[0].write_bytes(features[0].read_bytes()[:100])
    with pytest.raises(UsageError, match="is damaged"):
        run.run(options)


def test_parameters_that_are_paths_are_published_by_their_last_name():
    given = json.dumps({"command": "/home/ann/asr --model /home/ann/large.bin", "beams": 4})
    info = measuring.made(measuring.Recipe("black")).info
    said = told._metric(asked.Chosen(measuring.Recipe("wer", given), info))
    assert said["parameters"] == {"command": "asr --model large.bin", "beams": 4}


def test_references_stand_beside_clips_of_generators_too(clips):
    made = [work.Work("g", name, Sample(name, {"video": clips[0]})) for name in ("1", "none")]
    found = work.beside_references(made, clips[0].parent)
    assert found[0].sample.media == {"video": clips[0], "reference": clips[1]}
    assert found[1] == made[1]


def test_what_was_given_and_did_nothing_is_said(tmp_path, clips):
    (tmp_path / "tiny.yaml").write_text(SUITE)
    folder = clips[0].parent
    options = run.Options(
        str(tmp_path / "tiny.yaml"), tmp_path / "out", (("made", folder),),
        weights={"clpi": "model"}, limit=1,
    )  # fmt: skip
    said = run.run(options).warnings
    assert any("--weights clpi" in warning for warning in said), said
    assert any("named after an item" in warning for warning in said), said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--videos", "clips", "--keys", "1"), "--keys is of the robustness"),
        (("--videos", "clips", "--quick"), "--quick is of the robustness"),
        (("--media", "clips", "--reference", "clips"), "--reference is of runs of metrics"),
        (("--media", "clips", "--videos", "clips"), "--videos is of runs of metrics"),
        (("--media", "clips", "--no-safety"), "--safety is of runs of metrics"),
    ],
)
def test_options_of_the_other_kind_of_run_are_refused(place, tmp_path, words, said):
    found = CliRunner().invoke(
        app, ["bench", "run", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out"), *words]
    )
    assert isinstance(found.exception, UsageError)
    assert said in str(found.exception)


def test_detectors_that_were_not_asked_did_not_abstain(place, tmp_path):
    (tmp_path / "tiny.yaml").write_text(SUITE.partition("items")[0] + "detectors: true\n")
    _, again = place
    found = again()
    assert not any(name.startswith("detector") for name in found)
    said = json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]["detectors"]
    assert "--safety" in said["not_computed"]


def test_a_note_of_somebody_else_is_not_believed(clips, tmp_path):
    clip = Path(shutil.copy(clips[0], tmp_path / "one.mp4"))
    made = work.Made("r-1", {"generate": 1.0, "sign": 1.0}, ({"modality": "video", "psnr_db": 99},))
    clip.with_suffix(".json").write_text(work.made_note(made, "x", media.sha256_of(clip)))
    assert work.read_made(clip) == made
    item = work.Work("theirs", "one", Sample("one", {"video": clip}), made=work.read_made(clip))
    found = safety.measure(item, Lookup(Home(tmp_path / "home"))).values
    assert "did not make this clip" in found["safety.mark_psnr_db"]
    assert "did not make this clip" in found["safety.gate_cpu_s"]


# ---------------------------------------------------------------- processes

_POOL = """
import os, sys, time
from avsafe.sharding import pool

def work(place):
    with open(place, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    pool.run(work, sys.argv[1:], jobs=2, keep=print, lost=print)
"""


def test_processes_end_when_their_owner_is_killed(tmp_path):
    (tmp_path / "pool.py").write_text(_POOL)
    places = [tmp_path / "a", tmp_path / "b"]
    owner = subprocess.Popen([sys.executable, str(tmp_path / "pool.py"), *map(str, places)])
    try:
        wait_for(lambda: all(place.exists() and place.read_text() for place in places))
    finally:
        owner.kill()
        owner.wait()
    wait_for(lambda: not any(alive(place.read_text()) for place in places))


def alive(pid: str) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty once it has ended
    except OSError:
        return False


def wait_for(done):
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.05)


# ---------------------------------------------------------------- code and plugins


def test_the_hash_covers_what_a_metric_imports_and_its_data():
    names = plugins.catalogue("metrics")
    base = {path.name for path in code.of_module(names["temporal_flicker"].module)}
    assert {"base.py", "temporal_flicker.py"} <= base
    lips = asked.code_of(measuring.made(measuring.Recipe("blink")))
    assert {"tracking.py", "landmarks.safetensors"} <= {path.name for path in lips}
    assert {p.suffix for p in code.of_module(names["lip_sync"].module)} >= {".safetensors", ".json"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('broken plugin')", "broken plugin"),
        ("import nowhere_at_all", "nowhere_at_all"),
        ("X = 1", "Broken"),
        ("class Broken:\n    def __init__(self): raise OSError('no disk')", "no disk"),
    ],
)
def test_a_plugin_that_breaks_takes_no_other_metric_with_it(
    place, tmp_path, monkeypatch, text, said
):
    (tmp_path / "outside_metric.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "outside_metric", raising=False)
    broken = EntryPoint("broken", "outside_metric:Broken", "avsafe.metrics")
    known = plugins.catalogue("metrics")
    monkeypatch.setattr(plugins, "catalogue", lambda kind: (
        {**known, "broken": broken} if kind == "metrics" else {}
    ))  # fmt: skip
    assert any(row["name"] == "broken" for row in listing.everything()["metrics"])
    (tmp_path / "tiny.yaml").write_text(SUITE.replace("psnr", "broken"))
    _, again = place
    assert flicker(again())[:2] == (1, 2)
    told = json.loads((tmp_path / "out" / "run.json").read_text())["metrics"]["broken"]
    assert said in told["not_computed"]


def test_a_plugin_of_one_module_has_a_hash(tmp_path, monkeypatch):
    (tmp_path / "single_module_metric.py").write_text("class M: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [p.name for p in code.of_module("single_module_metric")] == ["single_module_metric.py"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"own": ("nobody",)}, "--own nobody"),
        ({"reference": Path("not/there")}, "--reference"),
        ({"generators": ("world", "world")}, "one name"),
        ({"seconds": float("nan")}, "--seconds nan"),
        ({"limit": 0}, "--limit 0"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(place, more, said):
    _, again = place
    with pytest.raises(UsageError, match=said):
        again(**more)
