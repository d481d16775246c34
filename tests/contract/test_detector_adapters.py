"""Adapters to detectors of others: what they are given, any ONNX network, and the panel.

Networks are small and made here. Those of papers are in ``test_detector_adapters_networks``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import media, plugins, testing
from avsafe.errors import MissingExtra, UsageError
from avsafe.home import Home
from avsafe.media.features import examine
from avsafe.qualify.adapter import Model
from avsafe.types import Kind
from avsafe_detectors.adapters import inputs, preparing
from tests import detector_kit as kit


@pytest.fixture(autouse=True)
def _adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    kit.with_adapters(monkeypatch)


def test_they_are_registered_as_an_outsider_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    known = plugins.catalogue("detector_adapters")
    assert set(kit.ADAPTERS) <= set(known)
    for name, where in kit.ADAPTERS.items():
        assert known[name].value == f"avsafe_detectors.adapters.{where}"


def test_nothing_heavy_is_imported_before_prepare(tmp_path: Path) -> None:
    """In a process of its own: others have long imported torch here."""
    import subprocess

    code = (
        "import sys, importlib\n"
        f"for m in {[w.split(':')[0] for w in kit.ADAPTERS.values()]!r}:\n"
        "    importlib.import_module('avsafe_detectors.adapters.' + m)\n"
        "import avsafe.qualify.store\n"
        "heavy = {'torch', 'onnxruntime', 'diffusers', 'cv2', 'scipy', 'PIL', 'av'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- what they are given


@pytest.mark.parametrize("target", ["Spread", "Centre", "Run"])
def test_pictures_are_spread_over_a_clip_and_bounded(tmp_path: Path, target: str) -> None:
    clip = testing.textured_clip(duration_s=4.0, width=320, height=240, frame_rate=Fraction(12))
    path = tmp_path / "clip.mp4"
    media.encode(clip, path)
    wanted = {Kind.VIDEO: {"p": f"avsafe_detectors.adapters.inputs:{target}"}}
    _, found = examine(path, wanted, trusted=True)
    seen, times = inputs.seen(found["p"])
    assert len(seen) == {"Spread": 16, "Centre": 16, "Run": 32}[target]
    assert seen.shape[1:] == (240, 320, 3)
    assert times[0] < 0.3
    assert times[-1] > 3.7
    assert (np.diff(times) > 0).all()


def test_a_still_and_a_clip_of_unknown_length_are_seen_too() -> None:
    still = inputs.Spread()
    still.start(kit.picture_media())
    assert still.wants(0.0)
    still.frame(np.zeros((3000, 2000, 3), np.uint8), 0.0)
    assert still.finish()["frames"][0].size <= 3 * (inputs.MAX_PIXELS + 4096)
    endless = inputs.Spread()
    endless.start(kit.picture_media())
    for n in range(5000):
        if endless.wants(n / 25):
            endless.frame(np.full((8, 8, 3), n % 250, np.uint8), n / 25)
    seen, times = inputs.seen(endless.finish())
    assert 16 <= len(seen) <= 32
    assert times[-1] > 150
    centre = inputs.Centre().view(np.zeros((1500, 900, 3), np.uint8))
    assert centre.shape == (1024, 900, 3)
    nothing = inputs.Spread().finish()
    assert inputs.seen(nothing)[0].shape[0] == 0


def test_sound_is_mono_bounded_and_without_what_is_no_number() -> None:
    one = inputs.Sound()
    block = np.full((2, 96_000), 0.5, np.float32)
    block[0, :10] = np.nan
    for _ in range(70):
        one.samples(block, 96_000)
    found, rate = inputs.heard(one.finish())
    assert (rate, found.size) == (48_000, 60 * 48_000)
    assert np.isfinite(found).all()
    found, rate = inputs.heard(inputs.Sound().finish())
    assert (rate, found.size) == (0, 0)


def test_windows_are_spread_repeated_or_refused() -> None:
    def wanted(**changes: Any) -> Any:
        stated = kit.manifest(modality="speech", input={"sound": {**kit.SOUND, **changes}})
        return Model(kit_parse(stated), Path()).manifest.sound

    long = np.arange(16_000) / 16_000
    cut = preparing.windows(kit.sound(long), wanted())
    assert isinstance(cut, np.ndarray)
    assert cut.shape == (3, 1600)
    assert cut[0, 0] == 0.0
    assert cut[-1, -1] == pytest.approx(long[-1])
    short = 0.5 * np.ones(800)
    repeated = preparing.windows(kit.sound(short), wanted())
    assert isinstance(repeated, np.ndarray)
    assert repeated.tolist() == [[0.5] * 1600]
    filled = preparing.windows(kit.sound(short), wanted(short="zeros"))
    assert isinstance(filled, np.ndarray)
    assert filled.sum() == 400
    assert "0.05 s of sound" in str(preparing.windows(kit.sound(short), wanted(short="abstain")))
    assert "0.01 s" in str(preparing.windows(kit.sound(short[:200]), wanted()))
    assert preparing.windows(kit.sound(long * 0), wanted()) == "its sound is silent"
    assert preparing.windows(kit.sound(long[:0], 0), wanted()) == "it has no sound"
    loud = preparing.windows(kit.sound(long), wanted(normalise="peak"))
    assert isinstance(loud, np.ndarray)
    assert np.abs(loud).max(1).tolist() == [1.0] * 3
    slow = preparing.windows(kit.sound(np.ones(8000), 8000), wanted())
    assert isinstance(slow, np.ndarray)
    assert slow.shape == (3, 1600)


def kit_parse(stated: Mapping[str, Any]) -> Any:
    import json

    from avsafe.qualify.manifest import parse

    return parse(json.dumps(stated).encode())


def test_pictures_are_fitted_as_the_manifest_says() -> None:
    def fitted(shape: tuple[int, int], **changes: Any) -> np.ndarray:
        stated = kit.manifest(input={"pictures": {"side": 16, **changes}})
        rows = np.broadcast_to(np.arange(shape[1])[None, :, None] % 256, (*shape, 3))
        found = preparing.pictures(kit.frames(np.array([rows])), kit_parse(stated).pictures)
        assert isinstance(found, np.ndarray)
        return found[0]

    crop = fitted((32, 64), fit="crop")
    assert (crop[0, :, 0] * 255).round().tolist() == list(range(24, 40))  # nothing was resized
    assert fitted((32, 64), fit="squeeze")[0, -1, 0] > fitted((32, 64), fit="resize")[0, -1, 0]
    assert fitted((8, 9), fit="crop").shape == (16, 16, 3)  # enlarged when it must be
    assert fitted((32, 64), colour="grey", mean=[0.5], std=[0.5]).shape == (16, 16, 1)
    normal = fitted((32, 64), fit="crop", mean=[0.5, 0, 0], std=[1, 2, 1])
    assert np.allclose(normal[..., 0] + 0.5, normal[..., 1] * 2)


def test_content_that_the_network_is_not_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone = tmp_path / "tone.wav"
    import wave

    with wave.open(str(tone), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        t = np.arange(5 * 16_000) / 16_000
        file.writeframes((np.sin(2 * np.pi * 440 * t) * 9000).astype("<i2").tobytes())
    stated = kit.manifest(modality="speech", input={"sound": kit.SOUND})
    network = kit.made(tmp_path / "d", stated, model=kit.network([1, "n"]))
    assert set(network.extractors) == {"sound", "domain"}
    seen, found = examine(tone, {Kind.AUDIO: network.extractors}, trusted=True)
    said = network.score(found, seen)
    assert isinstance(said, str)
    assert "the network is for speech" in said
    anything = kit.made(tmp_path / "e", {**stated, "content": []}, model=kit.network([1, "n"]))
    assert set(anything.extractors) == {"sound"}
    assert isinstance(anything.score(found, seen), float)


# ---------------------------------------------------------------- ONNX


@pytest.mark.parametrize("shape", [["n"], [1, "n"], [1, 1, "n"]])
def test_onnx_hears_whatever_rank_it_has(tmp_path: Path, shape: list[int | str]) -> None:
    stated = kit.manifest(
        modality="speech", content=[], input={"sound": kit.SOUND}, output={"index": 2, "minus": 1}
    )
    network = kit.made(tmp_path, stated, model=kit.network(shape, 3))
    score = network.score({"sound": kit.sound(np.full(16_000, 0.25))}, kit.sound_media())
    assert score == pytest.approx(0.25)  # 2 m - m
    assert network.score({"sound": kit.sound(np.zeros(16_000))}, kit.sound_media()) == (
        "its sound is silent"
    )


def test_onnx_sees_pictures_and_sequences(tmp_path: Path) -> None:
    clip = np.random.default_rng(0).integers(90, 110, (8, 20, 20, 3))
    still = kit.made(tmp_path / "a", kit.manifest(), model=kit.network([1, 3, 16, 16]))
    mean = still.score({"pictures": kit.frames(clip)}, kit.picture_media())
    assert mean == pytest.approx(clip.mean() / 255, abs=0.01)
    for place, shape in enumerate(([1, 4, 16, 16, 3], [4, 16, 16, 3])):
        wanted = {"side": 16, "frames": 4, "sequence": True, "layout": "nhwc", "rate": 8}
        stated = kit.manifest(modality="video", input={"pictures": wanted})
        network = kit.made(tmp_path / f"b{place}", stated, model=kit.network(shape))
        assert network.extractors == {"pictures": inputs.RUN_TARGET}
        assert network.score({"pictures": kit.frames(clip)}, kit.picture_media()) == pytest.approx(
            float(mean), abs=0.01
        )
        slow = network.score({"pictures": kit.frames(clip, rate=2.0)}, kit.picture_media())
        assert slow == "it has 2 frames a second; the network wants 8"


@pytest.mark.parametrize(
    ("changes", "shape", "said"),
    [
        ({"input": {}}, [1], "needs input.sound or input.pictures"),
        ({"kinds": ["audio"]}, [1], "can't look at audio"),
        ({"options": {"x": 1}}, [1], "options.x means nothing"),
        ({"output": {"name": "z"}}, [1, 3, 16, 16], "has no output 'z'"),
    ],
)
def test_onnx_that_does_not_fit_its_manifest(
    tmp_path: Path, changes: dict[str, Any], shape: list[int | str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        kit.made(tmp_path, kit.manifest(**changes), model=kit.network(shape))


def test_onnx_of_another_size_says_where_to_look(tmp_path: Path) -> None:
    network = kit.made(tmp_path, kit.manifest(), model=kit.network([1, 3, 32, 32]))
    noise = np.random.default_rng(0).integers(0, 255, (1, 20, 20, 3))
    with pytest.raises(UsageError, match=r"does not take an input of \(1, 3, 16, 16\).*manifest"):
        network.score({"pictures": kit.frames(noise)}, kit.picture_media())
    outputs = kit.made(tmp_path / "o", kit.manifest(output={"index": 4}),
                   model=kit.network([1, 3, 16, 16]))  # fmt: skip
    with pytest.raises(UsageError, match=r"gives 1 numbers; output.index 4"):
        outputs.score({"pictures": kit.frames(noise)}, kit.picture_media())


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match="pip install onnxruntime"):
        kit.made(tmp_path, kit.manifest(), model=kit.network([1, 3, 16, 16]))


# ---------------------------------------------------------------- in the panel


def test_the_panel_hears_it_through_the_sandbox(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added, qualified (decoding here, which is quicker), judged as ``avsafe verify`` does."""
    from avsafe import panel
    from avsafe.qualify import recoding, run, store

    monkeypatch.setattr(run, "examine", lambda *a, **k: examine(*a, **(k | {"trusted": True})))
    monkeypatch.setattr(recoding, "decode", partial(media.decode, trusted=True))
    folder = kit.write(tmp_path / "d", kit.manifest(), model=kit.network([1, 3, 16, 16]))
    store.add(home, folder)
    real = kit.pictures(tmp_path / "real", np.linspace(60, 80, 10), seed=1)
    fake = kit.pictures(tmp_path / "fake", np.linspace(120, 140, 10), seed=2)
    assert run.qualify(home, "toy", real, fake).qualification.usable
    heard = panel.convene(["toy"], home)
    new = kit.pictures(tmp_path / "new", [128.0], seed=3) / "3-0.jpg"
    wanted = {kind: heard.extractors(kind) for kind in Kind}
    assert inputs.SPREAD_TARGET in wanted[Kind.IMAGE].values()
    seen, found = examine(new, wanted)
    said = {one.source: one for one in heard.judge(seen, found)}
    assert said["detector.toy"].status == "present"
    assert said["detector.toy"].details["condition"]["n_sources"] == 20
