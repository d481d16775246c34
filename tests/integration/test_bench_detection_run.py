"""The suite of detectors from files and clips to a report, through the command line."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from avsafe import media, panel, testing
from avsafe.bench.detection import damages, folders, live
from avsafe.calibration import Calibration, abstention, evidence, fit
from avsafe.cli import app
from avsafe.errors import UsageError
from avsafe.media import sha256_of
from avsafe.sharding.rows import Store
from avsafe.types import Kind, RawMedia

pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
ME = "avsafe_bench_detectors_under_test"


def calibration(name):
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 300), rng.normal(100, 1, 300)])
    made = np.repeat([False, True], 300)
    return Calibration(name, "video", f"{name}-1", (
        fit("any clip", scores, made, [str(i) for i in range(600)]),))  # fmt: skip


class Brightness:
    """Takes bright clips for synthetic ones; does not judge what is very dark."""

    kinds = (Kind.VIDEO, Kind.IMAGE)
    modality = "video"
    extractors = {"means": "avsafe.media.selftest:Means"}  # noqa: RUF012

    def __init__(self, name="bright", shift=0.0):
        self.name, self.shift, self.asked = name, shift, 0
        self.known = calibration(name)

    def judge(self, features, given):
        self.asked += 1
        level = float(features["means"]["means"].mean())
        if level < 20:
            return abstention(f"detector.{self.name}", "video", f"its mean level is {level:.1f}")
        return evidence(self.known, self.known.conditions[0], level + self.shift, present="Bright",
                        absent="Dark")  # fmt: skip


@pytest.fixture
def installed(monkeypatch):
    """Installs detectors under entry points, and nothing else."""

    def install(*detectors):
        module = ModuleType(ME)
        points = {}
        for number, one in enumerate(detectors):
            setattr(module, f"make{number}", lambda one=one: one)
            points[one.name] = importlib.metadata.EntryPoint(
                one.name, f"{ME}:make{number}", "avsafe.detectors"
            )
        monkeypatch.setitem(sys.modules, ME, module)
        real = panel.plugins.catalogue
        monkeypatch.setattr(
            panel.plugins, "catalogue", lambda kind: points if kind == "detectors" else real(kind)
        )
        live._panel.cache_clear()

    yield install
    live._panel.cache_clear()


def grey(path, level, seconds=0.4, sound=False):
    raw = testing.textured_clip(seconds, 96, 64, Fraction(10), sound=sound)
    frames = [np.full((64, 96, 3), level, np.uint8)] * (raw.frame_count or 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    media.encode(raw.with_frames(frames), path)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two real, two synthetic of two families, one benign; a dark one, one that cannot be read."""
    folder = tmp_path_factory.mktemp("clips")
    grey(folder / "real" / "ann" / "a.mp4", 40)
    grey(folder / "real" / "bob_1.mp4", 5)
    grey(folder / "synthetic" / "loom" / "x_1.mp4", 220)
    grey(folder / "synthetic_brush" / "y.mp4", 200, sound=True)
    grey(folder / "benign" / "snow" / "s.mp4", 240)
    (folder / "real" / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(4000))
    (folder / "other").mkdir()
    shutil.copy(folder / "real" / "bob_1.mp4", folder / "other" / "passed_over.mp4")
    return folder


def bench(*words):
    return CliRunner().invoke(app, ["bench", "run", "detectors", *map(str, words), "--json"])


def cell(out, name="bright", where="live", condition="clean"):
    found = json.loads((out / "aggregates.json").read_text())["detectors"][name]["cells"]
    return next(c for c in found if (c["cell"], c["condition"]) == (where, condition))


def test_folders_say_what_a_clip_is(clips):
    found = {clip.unit: (clip.role, clip.group, clip.source) for clip in folders.find([clips])}
    assert found == {
        "real/ann/a.mp4": ("real", "real", "real/real/ann"),
        "real/bob_1.mp4": ("real", "real", "real/real/bob"),
        "real/broken.mp4": ("real", "real", "real/real/broken"),
        "synthetic/loom/x_1.mp4": ("synthetic", "loom", "synthetic/loom/x"),
        "synthetic_brush/y.mp4": ("synthetic", "brush", "synthetic/brush/y"),
        "benign/snow/s.mp4": ("benign", "snow", "benign/snow/s"),
    }


def test_links_to_folders_are_followed_once(clips, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "ann").symlink_to(clips / "real" / "ann")
    (tmp_path / "real" / "circle").symlink_to(tmp_path / "real")
    (tmp_path / "synthetic_loom").symlink_to(clips / "synthetic" / "loom")
    found = [(clip.unit, clip.source) for clip in folders.find([tmp_path])]
    assert found == [("real/ann/a.mp4", "real/real/ann"),
                     ("synthetic_loom/x_1.mp4", "synthetic/loom/x")]  # fmt: skip


def test_clips_are_judged_counted_and_reported(clips, tmp_path, installed):
    installed(Brightness())
    result = bench("--media", clips, "--out", tmp_path, "--condition", "clean")
    assert result.exit_code == 0, result.output
    assert "1 rows failed: real/broken.mp4" in result.stderr
    every, family = cell(tmp_path), cell(tmp_path, where="live: loom")
    assert (every["n_real"], every["n_real_judged"]) == (3, 1)
    assert (every["n_synthetic"], every["n_synthetic_judged"]) == (2, 2)
    assert every["figures"]["auc"]["value"] == 1.0
    assert family["n_synthetic"] == 1
    assert sum(one["n"] for one in every["reasons"]) == 2
    benign = cell(tmp_path, where="live: benign sets")
    assert benign["control"]
    assert benign["groups"][0]["share"] == 1.0
    for name in ("aggregates.json", "report.html", "report.md", "scores.jsonl"):
        text = (tmp_path / name).read_text()
        assert str(clips) not in text, f"a path of this machine is in {name}"
        assert "passed_over" not in text


def test_a_second_run_asks_nothing_again(clips, tmp_path, installed):
    one = Brightness()
    installed(one)
    first = bench("--media", clips, "--out", tmp_path, "--condition", "clean")
    asked = one.asked
    assert asked == 5
    figures = json.loads((tmp_path / "aggregates.json").read_text())
    again = bench("--media", clips, "--out", tmp_path, "--condition", "clean")
    assert (json.loads(first.stdout)["n_new"], json.loads(again.stdout)["n_new"]) == (12, 0)
    assert one.asked == asked
    later = json.loads((tmp_path / "aggregates.json").read_text())
    assert later["detectors"] == figures["detectors"]


def test_a_lost_row_and_a_new_detector_are_asked_alone(clips, tmp_path, installed):
    installed(Brightness())
    bench("--media", clips, "--out", tmp_path, "--condition", "clean")
    lines = (tmp_path / "scores.jsonl").read_text().splitlines(keepends=True)
    gone = next(i for i, line in enumerate(lines) if '"status": "ok"' in line
                and json.loads(line)["kind"] == "judged")  # fmt: skip
    (tmp_path / "scores.jsonl").write_text("".join(lines[:gone] + lines[gone + 1 :]))
    one, other = Brightness(), Brightness("other", shift=-300.0)
    installed(one, other)
    bench("--media", clips, "--out", tmp_path, "--condition", "clean", "--detector", "bright")
    assert (one.asked, other.asked) == (1, 0)
    bench("--media", clips, "--out", tmp_path, "--condition", "clean")
    found = json.loads((tmp_path / "aggregates.json").read_text())["detectors"]
    assert set(found) == {"bright", "other", live.TOGETHER}
    assert found["other"]["n_units"] == found["bright"]["n_units"] == 6


def test_clips_that_a_detector_was_trained_on_are_left_out(clips, tmp_path, installed):
    one, other = Brightness(), Brightness("other")
    one.seen = frozenset({sha256_of(clips / "synthetic/loom/x_1.mp4")[:16]})
    installed(one, other)
    result = bench("--media", clips, "--out", tmp_path, "--condition", "clean",
                   "--condition", "h264 crf 35")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "aggregates.json").read_text())
    assert found["live"]["seen"] == {"bright": 1, live.TOGETHER: 1}
    assert found["live"]["untold"] == ["other"]
    assert "other does not say which files it was trained on" in result.stderr
    assert cell(tmp_path)["n_synthetic"] == 1
    assert cell(tmp_path, condition="h264 crf 35")["n_synthetic"] == 1, "nor are its damaged copies"
    assert cell(tmp_path, "other")["n_synthetic"] == 2
    assert "1 clip that it was trained on" in (tmp_path / "report.html").read_text()


def test_another_file_under_an_old_name_is_asked_again(clips, tmp_path, installed):
    one = Brightness()
    installed(one)
    folder = tmp_path / "clips"
    shutil.copytree(clips, folder)
    bench("--media", folder, "--out", tmp_path / "out", "--condition", "clean")
    grey(folder / "synthetic" / "loom" / "x_1.mp4", 30)
    asked = one.asked
    bench("--media", folder, "--out", tmp_path / "out", "--condition", "clean")
    assert one.asked == asked + 1
    assert cell(tmp_path / "out")["figures"]["auc"]["value"] == 0.5


def test_every_damage_leaves_a_file_of_its_kind(clips, tmp_path):
    video = clips / "synthetic_brush" / "y.mp4"
    picture = tmp_path / "p.png"
    still = [np.full((600, 640, 3), 90, np.uint8)]
    media.encode(RawMedia(Kind.IMAGE, still, None, 1, 640, 600), picture)
    expected = {
        "jpeg 50": ("jpeg", Kind.IMAGE), "webp 75": ("webp", Kind.IMAGE),
        "resize 480": ("jpeg", Kind.IMAGE), "h264 crf 35": ("mp4", Kind.VIDEO),
        "resize 360": ("mp4", Kind.VIDEO), "mp3 32k": ("mp3", Kind.AUDIO),
        "mu-law": ("wav", Kind.AUDIO), "opus 24k": ("ogg", Kind.AUDIO),
    }  # fmt: skip
    for name, (container, kind) in expected.items():
        source, of = (picture, Kind.IMAGE) if kind is Kind.IMAGE else (video, Kind.VIDEO)
        made = media.probe(damages.written(of, name, source, tmp_path, 10.0))
        assert (made.container, made.kind) == (container, kind), name
        if kind is Kind.VIDEO:
            assert made.audio is not None, "the sound stays"
    small = media.probe(damages.written(Kind.VIDEO, "resize 360", video, tmp_path, 10.0))
    assert (small.video.width, small.video.height) == (540, 360)
    voice = media.probe(damages.written(Kind.VIDEO, "mu-law", video, tmp_path, 10.0))
    assert (voice.audio.codec, voice.audio.rate_hz) == ("pcm_mulaw", 8000)


def test_sound_is_asked_of_nobody_who_looks(clips, tmp_path, installed):
    """The sound of a video alone is nothing to look at; silent clips have none."""
    installed(Brightness())
    bench("--media", clips, "--out", tmp_path, "--condition", "mp3 32k")
    rows = [
        r for r in Store(tmp_path / "scores.jsonl", live.FIELDS).read() if r["kind"] == "judged"
    ]
    assert {row["status"] for row in rows} == {"inapplicable"}
    assert json.loads((tmp_path / "aggregates.json").read_text())["detectors"] == {}


def test_outside_says_what_a_file_is(clips):
    kind, found = folders.outside(clips / "synthetic_brush" / "y.mp4")
    assert kind is Kind.VIDEO
    assert found["container"] == "mp4"
    assert found["frame_rate"] == 10
    assert found["kbps"] == pytest.approx(found["size_bytes"] * 8 / 1000 / found["duration_s"])
    assert found["leading_silence_s"] is not None
    assert folders.outside(clips / "real/ann/a.mp4")[1]["leading_silence_s"] is None


# ---------------------------------------------------------------- files and the command line


@pytest.fixture
def protocol(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    n = 120
    y = np.arange(n) % 2 == 1
    score = rng.normal(0, 1, n) + 3.0 * y
    parquet.write_table(pyarrow.table({
        "detector": ["speech"] * n, "cell": ["in domain"] * n, "condition": ["clean"] * n,
        "unit": [str(i) for i in range(n)], "source": [f"s{i // 4}{i % 2}" for i in range(n)],
        "group": ["kokoro" if label else "people" for label in y], "synthetic": y.tolist(),
        "score": score.tolist(), "probability": (1 / (1 + np.exp(-3 * (score - 1.5)))).tolist(),
        "abstained": [""] * n, "flagged": (score > 3).tolist(),
    }), tmp_path / "speech.parquet")  # fmt: skip
    return tmp_path / "speech.parquet"


def test_a_protocol_file_alone_is_a_report(protocol, tmp_path):
    out = tmp_path / "out"
    result = bench("--protocol", protocol, "--out", out)
    assert result.exit_code == 0, result.output
    said = dict(json.loads(result.stdout)["headline"])
    assert "MISSED" in said["speech: in domain, EER ≤ 4.0 %"]
    assert said["speech: MP3 32k, EER ≤ 8.0 %"] == "not measured"
    assert "floors of image: nothing of it was given" in (out / "report.html").read_text()
    assert (
        sha256_of(protocol)
        == json.loads((out / "aggregates.json").read_text())["protocol"]["speech.parquet"]
    )
    again = json.loads((out / "aggregates.json").read_text())
    bench("--protocol", protocol, "--out", out)
    later = json.loads((out / "aggregates.json").read_text())
    assert {**again, "made_at": ""} == {**later, "made_at": ""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--protocol", "absent"), "there is no such file or folder"),
        (("--media", "absent"), "there is no such folder"),
        (("--media", "empty"), "expected folders real, synthetic/FAMILY and benign/SET"),
        (("--media", "empty", "--condition", "mp3 33k"), "No condition mp3 33k"),
        (("--media", "empty", "--keys", "3"), "--keys is of the robustness of marks"),
        (("--protocol", "absent", "--metric", "psnr"), "--metric is of runs of metrics"),
    ],
)
def test_what_makes_no_sense_is_said(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    refused(bench(*words, "--out", tmp_path / "out"), said)


def refused(result, said):
    assert isinstance(result.exception, UsageError), result.output
    assert said in str(result.exception)


def test_only_suites_of_detectors_read_protocols(protocol, tmp_path):
    words = ["bench", "run", "t2v", "--protocol", str(protocol), "--out", str(tmp_path / "o")]
    refused(CliRunner().invoke(app, words), "The suite t2v is not of detectors")


def test_detectors_of_files_can_be_chosen(protocol, tmp_path):
    result = bench("--protocol", protocol, "--detector", "image", "--out", tmp_path / "out")
    refused(result, "No protocol file is of image")
