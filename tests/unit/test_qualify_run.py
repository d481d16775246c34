"""A detector that a user brings: added, measured, and then heard or refused.

The networks say how bright a picture is. Pictures are decoded in this process: what the sandbox
adds is tested where ``avsafe verify`` is.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import media
from avsafe.calibration import Calibration
from avsafe.errors import Cancelled, MissingExtra, UsageError
from avsafe.home import Home
from avsafe.media.features import examine
from avsafe.qualify import adapter, recoding, run, store
from avsafe.qualify.adapted import Adapted
from avsafe.types import EvidenceStatus, Kind
from tests import detector_kit as kit

DARK, BRIGHT = np.linspace(60, 80, 12), np.linspace(120, 140, 12)
NETWORK = kit.network([1, 3, 16, 16])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    kit.with_adapters(monkeypatch)
    monkeypatch.setattr(run, "examine", lambda *a, **k: examine(*a, **(k | {"trusted": True})))
    monkeypatch.setattr(recoding, "decode", partial(media.decode, trusted=True))


def added(home: Home, folder: Path, data: bytes = NETWORK, **changes: Any) -> Adapted:
    return store.add(home, kit.write(folder / "given", kit.manifest(**changes), model=data))


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.pictures(tmp_path_factory.mktemp("dark"), DARK, seed=1)


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.pictures(tmp_path_factory.mktemp("bright"), BRIGHT, seed=2)


def judged(home: Home, path: Path) -> Any:
    """What a detector says of a file, as the panel asks it."""
    one = store.installed(home)["toy"]
    seen, features = examine(path, dict.fromkeys(Kind, one.extractors), trusted=True)
    return one.judge(features, seen)


# ---------------------------------------------------------------- adding


def test_what_is_added_is_private_whole_and_not_believed(home: Home, tmp_path: Path) -> None:
    one = added(home, tmp_path)
    folder = home.root / "detectors"
    assert kit.state(home) == [".lock", "toy/manifest.json", "toy/model.onnx"]
    assert folder.stat().st_mode & 0o777 == (folder / "toy").stat().st_mode & 0o777 == 0o700
    assert all((folder / "toy" / n).stat().st_mode & 0o777 == 0o600
               for n in ("manifest.json", "model.onnx"))  # fmt: skip
    assert one.status == "not qualified"
    assert one.extractors == {}  # nothing is decoded for it
    said = one.judge({}, kit.picture_media())
    assert said.status is EvidenceStatus.ABSTAINED
    assert "avsafe detectors qualify toy --real" in said.summary
    assert said.llr is None


def test_adding_twice_asks_and_replacing_forgets_the_qualification(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path)
    with pytest.raises(UsageError, match="was added before"):
        added(home, tmp_path)
    run.qualify(home, "toy", dark, bright)
    assert store.get(home, "toy").status == "qualified"
    store.add(home, tmp_path / "given", replace=True)
    assert store.get(home, "toy").status == "not qualified"
    store.remove(home, "toy")
    assert kit.state(home) == [".lock"]
    with pytest.raises(UsageError, match=r"No detector toy was added|No detector 'toy' was added"):
        store.remove(home, "toy")


@pytest.mark.parametrize("broken", ["digest", "link", "absent", "adapter", "builtin", "options"])
def test_what_can_not_be_added_leaves_nothing(
    home: Home, tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {}
    if broken == "adapter":
        changes = {"adapter": "nobody"}
    if broken == "options":
        changes = {"options": {"trick": 1}}
    folder = kit.write(tmp_path / "given", kit.manifest(**changes), model=NETWORK)
    file = folder / "model.onnx"
    if broken == "digest":
        file.write_bytes(NETWORK + b"\0")
    if broken == "absent":
        file.unlink()
    if broken == "link":
        file.rename(tmp_path / "else.onnx")
        file.symlink_to(tmp_path / "else.onnx")
    if broken == "builtin":
        known = store.plugins.catalogue
        monkeypatch.setattr(
            store.plugins, "catalogue", lambda k: {"toy": None} if k == "detectors" else known(k)
        )
    with pytest.raises(UsageError):
        store.add(home, folder)
    assert [n for n in kit.state(home) if n != ".lock"] == []


def test_a_pickle_is_refused_with_what_to_do(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "AASIST.pth"
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match=r"is a pickle.*convert.*docs/detectors-plugins.md"):
        store.add(home, file)


def test_what_an_interrupted_adding_left_is_cleared(home: Home, tmp_path: Path) -> None:
    (home.root / "detectors" / ".adding-dead").mkdir(parents=True)
    (home.root / "detectors" / ".adding-dead" / "big").write_bytes(b"x")
    assert store.names(home) == []
    added(home, tmp_path)
    assert not (home.root / "detectors" / ".adding-dead").exists()


def test_where_nothing_was_added_nothing_is_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.plugins, "catalogue", pytest.fail)
    assert store.installed(home) == {}
    assert not (home.root / "detectors").exists()


def test_a_broken_folder_takes_no_other_down(home: Home, tmp_path: Path) -> None:
    added(home, tmp_path)
    bad = home.root / "detectors" / "bad"
    bad.mkdir()
    (bad / "manifest.json").write_text("{")
    moved = home.root / "detectors" / "moved"
    shutil.copytree(home.root / "detectors" / "toy", moved)
    (home.root / "detectors" / "linked").symlink_to(tmp_path)
    found = store.installed(home)
    assert sorted(found) == ["bad", "moved", "toy"]
    assert found["bad"].kinds == tuple(Kind)
    for name, why in (("bad", "no readable JSON"), ("moved", "is of 'toy'")):
        assert found[name].extractors == {}
        with pytest.raises(UsageError, match=why):
            found[name].judge({}, kit.picture_media())


# ---------------------------------------------------------------- qualifying


def test_one_that_separates_may_speak(home: Home, tmp_path: Path, dark: Path, bright: Path) -> None:
    added(home, tmp_path)
    told: list[float] = []
    outcome = run.qualify(
        home, "toy", dark, bright, progress=lambda fraction, stage: told.append(fraction)
    )
    found = outcome.qualification
    assert found.usable == ("pictures as given", "pictures as JPEG 75")
    assert not outcome.unread
    assert (told[0], told[-1], told) == (0.0, 1.0, sorted(told))
    figures = found.figures["pictures as given"]
    assert figures["auc"] == 1.0
    assert figures["auc_low"] == pytest.approx(1.0)
    assert figures["real"] == {"files": 12, "sources": 12}
    assert figures["out_of_fold"]["ece"] < 0.2
    assert any("it takes 99 to show 1 %" in w for w in found.warnings)
    assert "no benign files were given" in found.warnings[0]
    # The record is a calibration, and keeps no name of a file.
    record = home.root / "detectors" / "toy" / "qualification.json"
    assert record.stat().st_mode & 0o777 == 0o600
    assert Calibration.load(record) == found.calibration
    assert ".jpg" not in record.read_text()
    # It is heard, and stays within what twelve sources can carry.
    said = judged(home, kit.pictures(tmp_path / "new", [130.0], seed=5) / "5-0.jpg")
    assert said.status is EvidenceStatus.PRESENT
    assert said.calibration_id == found.calibration.calibration_id
    assert 0 < said.llr <= np.log(13)
    assert said.details["condition"]["name"] in found.usable
    assert said.details["weights"] == {
        "model": store.get(home, "toy").manifest.weights["model"].sha256
    }
    said = judged(home, kit.pictures(tmp_path / "old", [70.0], seed=6) / "6-0.jpg")
    assert said.status is EvidenceStatus.ABSENT
    assert said.llr < 0


def test_files_unlike_those_measured_are_not_judged(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path)
    run.qualify(home, "toy", dark, bright)
    png = kit.pictures(tmp_path / "png", [130.0], suffix=".png") / "0-0.png"
    said = judged(home, png)
    assert said.status is EvidenceStatus.ABSTAINED
    assert "it was qualified on no file like it" in said.summary
    large = tmp_path / "large.jpg"
    from PIL import Image

    Image.effect_noise((1000, 1000), 60).convert("RGB").save(large, quality=90)
    said = judged(home, large)
    assert said.status is EvidenceStatus.ABSTAINED
    assert "a factor of two" in said.summary


def test_one_that_guesses_is_refused(home: Home, tmp_path: Path) -> None:
    added(home, tmp_path)
    real = kit.pictures(tmp_path / "a", np.linspace(60, 140, 12), seed=3)
    made = kit.pictures(tmp_path / "b", np.linspace(62, 138, 12), seed=4)
    found = run.qualify(home, "toy", real, made).qualification
    assert found.usable == ()
    assert "does not tell real from synthetic well enough" in found.refused[0]
    said = judged(home, real / "3-0.jpg")
    assert said.status is EvidenceStatus.ABSTAINED
    assert "it was refused when it was qualified" in said.summary


def test_a_reversed_polarity_is_told_and_never_turned(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path, polarity="higher is real")
    found = run.qualify(home, "toy", dark, bright).qualification
    assert found.usable == ()
    assert "polarity in the manifest looks reversed" in found.refused[0]
    assert store.get(home, "toy").manifest.polarity == "higher is real"
    store.remove(home, "toy")
    added(home, tmp_path / "again", polarity="higher is real")
    assert run.qualify(home, "toy", bright, dark).qualification.usable  # dark ones are synthetic


def test_few_sources_are_refused_however_many_files(home: Home, tmp_path: Path, dark: Path) -> None:
    made = tmp_path / "made"
    for n in range(3):
        kit.pictures(made / f"generator-{n}", np.linspace(120, 140, 5), seed=20 + n)
    added(home, tmp_path)
    found = run.qualify(home, "toy", dark, made).qualification
    assert found.figures["pictures as given"]["synthetic"] == {"files": 15, "sources": 3}
    assert "12 real and 3 synthetic" in found.refused[0]


def test_benign_files_above_the_threshold_refuse_it(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path)
    calm = kit.pictures(tmp_path / "calm", np.linspace(50, 70, 4), seed=8)
    found = run.qualify(home, "toy", dark, bright, calm).qualification
    assert found.usable
    assert found.figures["pictures as given"]["benign"] == {"files": 4, "judged": 4, "flagged": 0}
    assert not any("benign" in one for one in found.warnings)
    snow = kit.pictures(tmp_path / "snow", [65, 66, 67, 200], seed=9)
    found = run.qualify(home, "toy", dark, bright, snow).qualification
    assert found.usable == ()
    assert "1 of 4 benign files are above the threshold; at most 5% are allowed" in found.refused[0]


def test_classes_in_different_formats_are_refused_as_given(
    home: Home, tmp_path: Path, dark: Path
) -> None:
    added(home, tmp_path)
    made = kit.pictures(tmp_path / "made", BRIGHT, seed=2, suffix=".png")
    found = run.qualify(home, "toy", dark, made).qualification
    assert found.usable == ("pictures as JPEG 75",)
    assert "in different formats" in found.refusals["pictures as given"][0]
    said = judged(home, made / "2-0.png")
    assert said.status is EvidenceStatus.ABSTAINED
    assert "on pictures as given it was refused" in said.summary


def test_one_file_has_one_role_and_folders_hold_media(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path)
    mixed = tmp_path / "mixed"
    shutil.copytree(bright, mixed)
    shutil.copy(dark / "1-0.jpg", mixed / "stray.jpg")
    with pytest.raises(UsageError, match="stands under --real and --synthetic"):
        run.qualify(home, "toy", dark, mixed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no media file"):
        run.qualify(home, "toy", dark, tmp_path / "empty")
    with pytest.raises(UsageError, match="names no folder"):
        run.qualify(home, "toy", dark, tmp_path / "nowhere")
    assert not (home.root / "detectors" / "toy" / "qualification.json").exists()


def test_unreadable_and_silent_files_are_told_and_not_counted(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path)
    real = tmp_path / "real"
    shutil.copytree(dark, real)
    (real / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (real / "notes.txt").write_text("not media")
    (real / "link.jpg").symlink_to(bright / "2-0.jpg")
    from PIL import Image

    Image.new("RGB", (96, 96), (70, 70, 70)).save(real / "blank.jpg", quality=90)
    outcome = run.qualify(home, "toy", real, bright)
    assert {one.name for one in outcome.unread} == {"broken.jpg", "blank.jpg"}
    figures = outcome.qualification.figures["pictures as given"]
    assert figures["real"]["files"] == 12
    assert figures["reasons"] == {"its pictures are blank": 1}


def test_stopping_leaves_the_earlier_record(
    home: Home, tmp_path: Path, dark: Path, bright: Path
) -> None:
    added(home, tmp_path)
    run.qualify(home, "toy", dark, bright)
    record = home.root / "detectors" / "toy" / "qualification.json"
    before = record.read_bytes()
    with pytest.raises(Cancelled):
        run.qualify(home, "toy", dark, bright, cancelled=lambda: True)
    assert record.read_bytes() == before


# ---------------------------------------------------------------- what happens afterwards


@pytest.fixture
def qualified(home: Home, tmp_path: Path, dark: Path, bright: Path) -> Path:
    """The folder of a detector that may speak."""
    added(home, tmp_path)
    run.qualify(home, "toy", dark, bright)
    return home.root / "detectors" / "toy"


def test_weights_that_changed_are_not_used(home: Home, qualified: Path, bright: Path) -> None:
    other = kit.network([1, 3, 16, 16], 3)
    (qualified / "model.onnx").write_bytes(other)
    with pytest.raises(UsageError, match="but the manifest names"):
        judged(home, bright / "2-0.jpg")


def test_a_manifest_that_changed_asks_for_a_new_qualification(
    home: Home, qualified: Path, bright: Path
) -> None:
    stated = json.loads((qualified / "manifest.json").read_text())
    stated["polarity"] = "higher is real"
    (qualified / "manifest.json").write_text(json.dumps(stated))
    said = judged(home, bright / "2-0.jpg")
    assert said.status is EvidenceStatus.ABSTAINED
    assert "changed after it was qualified" in said.summary
    assert store.get(home, "toy").status == "not qualified"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"conditions": []}', "null", '{"detector": "toy", "conditions": 3}']
)
def test_a_damaged_record_is_said(home: Home, qualified: Path, text: str) -> None:
    (qualified / "qualification.json").write_text(text)
    one = store.get(home, "toy")
    assert (one.status, one.extractors) == ("broken", {})
    with pytest.raises(UsageError):
        one.judge({}, kit.picture_media())


def test_hostile_features_never_flag(home: Home, qualified: Path) -> None:
    one = store.installed(home)["toy"]
    about = replace(kit.picture_media(), size_bytes=96 * 96 // 6)
    good = np.full((1, 96, 96, 3), 130, np.uint8)
    times = np.zeros(1)
    hostile: list[dict[str, Any]] = [
        {},
        {"frames": good},
        {"frames": good.astype(np.float32) * np.nan, "times_s": times},
        {"frames": good[..., :2], "times_s": times},
        {"frames": np.zeros((33, 8, 8, 3), np.uint8), "times_s": np.zeros(33)},
        {"frames": np.zeros((1, 9000, 9000, 3), np.uint8), "times_s": times},
        {"frames": good, "times_s": np.array([np.inf])},
        {"frames": np.array([[None]]), "times_s": times},
    ]
    for features in hostile:
        with pytest.raises((KeyError, ValueError)):
            one.judge({"pictures": features}, about)
    for frames in (good[:0], good):  # none, and one without any content
        said = one.judge({"pictures": {"frames": frames, "times_s": times[: len(frames)]}}, about)
        assert said.status is EvidenceStatus.ABSTAINED


def test_a_missing_package_is_an_abstention_that_says_so(
    home: Home, qualified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(model: Any) -> Any:
        raise MissingExtra("It needs the package 'flux'. Install it.")

    monkeypatch.setattr("avsafe.qualify.adapted.adapter_of", missing)
    said = store.installed(home)["toy"].judge({}, kit.picture_media())
    assert said.status is EvidenceStatus.ABSTAINED
    assert "flux" in said.summary


def test_the_example_of_the_protocol_is_an_adapter() -> None:
    model = adapter.Model(adapter.parse(adapter._EXAMPLE), Path())
    from avsafe_detectors.adapters.onnx_model import OnnxModel

    with pytest.raises(UsageError, match="needs input"):
        OnnxModel(model)
