"""Adapters to detectors of others, with small networks made here; nothing is downloaded.

The published weights are not at hand: what is tested is everything around them, and that the
architectures are those of the papers (counts of parameters, layout, agreement with open_clip).
"""

from __future__ import annotations

import importlib
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
from avsafe.qualify.adapter import DetectorAdapter, Model, adapter_of
from avsafe.types import Kind
from avsafe_detectors.adapters import aeroblade, d3, inputs, preparing
from tests import detector_kit as kit

SOUND = {"rate_hz": 16_000, "samples": 64_600, "windows": 2}


@pytest.fixture(autouse=True)
def _adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    kit.with_adapters(monkeypatch)


def made(folder: Path, stated: Mapping[str, Any], **parts: bytes) -> DetectorAdapter:
    found = adapter_of(Model.load(kit.write(folder, stated, **parts)))
    found.prepare()
    return found


def parts(*names: str, form: str = "safetensors") -> dict[str, Any]:
    return {n: {"path": f"{n}.{form}", "format": form, "sha256": "0" * 64} for n in names}


def tensors(**arrays: Any) -> bytes:
    from safetensors.torch import save

    return save({k: v.contiguous() for k, v in arrays.items()})


def frames(values: np.ndarray, rate: float = 8.0) -> dict[str, Any]:
    return {"frames": values.astype(np.uint8), "times_s": np.arange(len(values)) / rate}


def sound(values: np.ndarray, rate_hz: int = 16_000) -> dict[str, Any]:
    return {"sound": values.astype(np.float32), "rate_hz": np.array([rate_hz], np.int64)}


def voice(seconds: float = 5.0, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))


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
    cut = preparing.windows(sound(long), wanted())
    assert isinstance(cut, np.ndarray)
    assert cut.shape == (3, 1600)
    assert cut[0, 0] == 0.0
    assert cut[-1, -1] == pytest.approx(long[-1])
    short = 0.5 * np.ones(800)
    repeated = preparing.windows(sound(short), wanted())
    assert isinstance(repeated, np.ndarray)
    assert repeated.tolist() == [[0.5] * 1600]
    filled = preparing.windows(sound(short), wanted(short="zeros"))
    assert isinstance(filled, np.ndarray)
    assert filled.sum() == 400
    assert "0.05 s of sound" in str(preparing.windows(sound(short), wanted(short="abstain")))
    assert "0.01 s" in str(preparing.windows(sound(short[:200]), wanted()))
    assert preparing.windows(sound(long * 0), wanted()) == "its sound is silent"
    assert preparing.windows(sound(long[:0], 0), wanted()) == "it has no sound"
    loud = preparing.windows(sound(long), wanted(normalise="peak"))
    assert isinstance(loud, np.ndarray)
    assert np.abs(loud).max(1).tolist() == [1.0] * 3
    slow = preparing.windows(sound(np.ones(8000), 8000), wanted())
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
        found = preparing.pictures(frames(np.array([rows])), kit_parse(stated).pictures)
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
    network = made(tmp_path / "d", stated, model=kit.network([1, "n"]))
    assert set(network.extractors) == {"sound", "domain"}
    seen, found = examine(tone, {Kind.AUDIO: network.extractors}, trusted=True)
    said = network.score(found, seen)
    assert isinstance(said, str)
    assert "the network is for speech" in said
    anything = made(tmp_path / "e", {**stated, "content": []}, model=kit.network([1, "n"]))
    assert set(anything.extractors) == {"sound"}
    assert isinstance(anything.score(found, seen), float)


# ---------------------------------------------------------------- ONNX


@pytest.mark.parametrize("shape", [["n"], [1, "n"], [1, 1, "n"]])
def test_onnx_hears_whatever_rank_it_has(tmp_path: Path, shape: list[int | str]) -> None:
    stated = kit.manifest(
        modality="speech", content=[], input={"sound": kit.SOUND}, output={"index": 2, "minus": 1}
    )
    network = made(tmp_path, stated, model=kit.network(shape, 3))
    score = network.score({"sound": sound(np.full(16_000, 0.25))}, kit.sound_media())
    assert score == pytest.approx(0.25)  # 2 m - m
    assert network.score({"sound": sound(np.zeros(16_000))}, kit.sound_media()) == (
        "its sound is silent"
    )


def test_onnx_sees_pictures_and_sequences(tmp_path: Path) -> None:
    clip = np.random.default_rng(0).integers(90, 110, (8, 20, 20, 3))
    still = made(tmp_path / "a", kit.manifest(), model=kit.network([1, 3, 16, 16]))
    mean = still.score({"pictures": frames(clip)}, kit.picture_media())
    assert mean == pytest.approx(clip.mean() / 255, abs=0.01)
    for place, shape in enumerate(([1, 4, 16, 16, 3], [4, 16, 16, 3])):
        wanted = {"side": 16, "frames": 4, "sequence": True, "layout": "nhwc", "rate": 8}
        stated = kit.manifest(modality="video", input={"pictures": wanted})
        network = made(tmp_path / f"b{place}", stated, model=kit.network(shape))
        assert network.extractors == {"pictures": inputs.RUN_TARGET}
        assert network.score({"pictures": frames(clip)}, kit.picture_media()) == pytest.approx(
            float(mean), abs=0.01
        )
        slow = network.score({"pictures": frames(clip, rate=2.0)}, kit.picture_media())
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
        made(tmp_path, kit.manifest(**changes), model=kit.network(shape))


def test_onnx_of_another_size_says_where_to_look(tmp_path: Path) -> None:
    network = made(tmp_path, kit.manifest(), model=kit.network([1, 3, 32, 32]))
    noise = np.random.default_rng(0).integers(0, 255, (1, 20, 20, 3))
    with pytest.raises(UsageError, match=r"does not take an input of \(1, 3, 16, 16\).*manifest"):
        network.score({"pictures": frames(noise)}, kit.picture_media())
    outputs = made(tmp_path / "o", kit.manifest(output={"index": 4}),
                   model=kit.network([1, 3, 16, 16]))  # fmt: skip
    with pytest.raises(UsageError, match=r"gives 1 numbers; output.index 4"):
        outputs.score({"pictures": frames(noise)}, kit.picture_media())


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match="pip install onnxruntime"):
        made(tmp_path, kit.manifest(), model=kit.network([1, 3, 16, 16]))


# ---------------------------------------------------------------- AASIST


def aasist_manifest(architecture: str, **changes: Any) -> dict[str, Any]:
    return kit.manifest(
        adapter="aasist", modality="speech", architecture=architecture, content=[],
        weights=parts("model"), input={"sound": SOUND}, output={"index": 1},
        polarity="higher is real",
    ) | changes  # fmt: skip


def aasist_weights(architecture: str, seed: int = 0) -> dict[str, Any]:
    torch = importlib.import_module("torch")
    from avsafe_detectors.adapters import aasist_network

    torch.manual_seed(seed)
    return dict(aasist_network.Aasist(aasist_network.SIZES[architecture]).state_dict())


@pytest.mark.parametrize(("architecture", "count"), [("AASIST", 297_866), ("AASIST-L", 85_306)])
def test_aasist_has_the_parameters_of_the_paper(
    tmp_path: Path, architecture: str, count: int
) -> None:
    from avsafe_detectors.adapters import aasist_network

    network = aasist_network.Aasist(aasist_network.SIZES[architecture])
    assert sum(p.numel() for p in network.parameters()) == count
    # The layout of the authors' files: 229 tensors, none for the fixed filters.
    names = set(network.state_dict())
    assert len(names) == 229
    assert {"pos_S", "master1", "first_bn.weight", "encoder.0.0.conv1.weight",
            "encoder.1.0.bn1.running_var", "encoder.0.0.conv_downsample.bias",
            "GAT_layer_S.att_weight", "HtrgGAT_layer_ST12.att_weightM",
            "HtrgGAT_layer_ST21.proj_without_attM.bias", "pool_hT2.proj.weight",
            "out_layer.bias"} <= names  # fmt: skip


def test_aasist_scores_windows_and_repeats_itself(tmp_path: Path) -> None:
    short = {"sound": {"rate_hz": 16_000, "samples": 20_000, "windows": 1}}
    stated = aasist_manifest("AASIST-L", input=short)
    network = made(tmp_path, stated, model=tensors(**aasist_weights("AASIST-L")))
    first = network.score({"sound": sound(voice())}, kit.sound_media())
    assert isinstance(first, float)
    assert first == network.score({"sound": sound(voice())}, kit.sound_media())
    assert first != network.score({"sound": sound(voice(seed=1))}, kit.sound_media())
    assert isinstance(network.score({"sound": sound(voice(0.2))}, kit.sound_media()), str)


def test_aasist_of_another_size_or_shape_is_refused(tmp_path: Path) -> None:
    small = tensors(**aasist_weights("AASIST-L"))
    with pytest.raises(UsageError, match="holds no AASIST as its authors lay it out"):
        made(tmp_path / "a", aasist_manifest("AASIST"), model=small)
    with pytest.raises(UsageError, match="architecture is one of AASIST, AASIST-L"):
        made(tmp_path / "b", aasist_manifest("RawNet2"), model=small)
    wrong = {"sound": {"rate_hz": 8000, "samples": 64_600}}
    with pytest.raises(UsageError, match="hears 16000 Hz"):
        made(tmp_path / "c", aasist_manifest("AASIST-L", input=wrong), model=small)
    with pytest.raises(UsageError, match="the manifest names image"):
        made(tmp_path / "d", aasist_manifest("AASIST-L", kinds=["image"]), model=small)


# ---------------------------------------------------------------- UnivFD

TOWER = {"width": 128, "patch": 8, "side": 32, "layers": 2, "features": 24}


def clip_weights(seed: int = 0) -> dict[str, Any]:
    """An image tower in open_clip's layout, small, with random numbers."""
    torch = importlib.import_module("torch")
    torch.manual_seed(seed)
    d, grid = TOWER["width"], TOWER["side"] // TOWER["patch"]
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (d,), "positional_embedding": (grid * grid + 1, d),
        "conv1.weight": (d, 3, TOWER["patch"], TOWER["patch"]), "proj": (d, TOWER["features"]),
        "ln_pre.weight": (d,), "ln_pre.bias": (d,), "ln_post.weight": (d,), "ln_post.bias": (d,),
    }  # fmt: skip
    for i in range(TOWER["layers"]):
        at = f"transformer.resblocks.{i}."
        shapes |= {
            f"{at}attn.in_proj_weight": (3 * d, d), f"{at}attn.in_proj_bias": (3 * d,),
            f"{at}attn.out_proj.weight": (d, d), f"{at}attn.out_proj.bias": (d,),
            f"{at}ln_1.weight": (d,), f"{at}ln_1.bias": (d,), f"{at}ln_2.weight": (d,),
            f"{at}ln_2.bias": (d,), f"{at}mlp.c_fc.weight": (4 * d, d),
            f"{at}mlp.c_fc.bias": (4 * d,), f"{at}mlp.c_proj.weight": (d, 4 * d),
            f"{at}mlp.c_proj.bias": (d,),
        }  # fmt: skip
    return {f"visual.{k}": torch.randn(shape) * 0.2 for k, shape in shapes.items()}


def univfd_manifest(**changes: Any) -> dict[str, Any]:
    wanted = {"side": 32, "fit": "crop", "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    return (
        kit.manifest(
            adapter="univfd", weights=parts("backbone", "probe"), input={"pictures": wanted}
        )
        | changes
    )


@pytest.mark.parametrize("quick", [True, False])
def test_the_image_tower_agrees_with_open_clip(quick: bool) -> None:
    from avsafe_metrics.text import compat

    try:
        clip = compat.open_clip()
    except MissingExtra as error:
        pytest.skip(str(error))
    torch = importlib.import_module("torch")
    from avsafe_detectors.adapters.clip_tower import Tower

    given = clip_weights()
    vision = {"layers": TOWER["layers"], "width": TOWER["width"], "patch_size": TOWER["patch"],
              "image_size": TOWER["side"]}  # fmt: skip
    theirs = clip.model._build_vision_tower(TOWER["features"], vision, quick_gelu=quick)
    theirs.load_state_dict({k.removeprefix("visual."): v for k, v in given.items()})
    picture = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.eval()(picture)
    ours = Tower(given, "quick_gelu" if quick else "gelu", "x")(picture)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_univfd_is_a_linear_probe(tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    backbone = tensors(**clip_weights())
    rng = np.random.default_rng(0)
    pictures = {"pictures": frames(rng.integers(0, 255, (3, 40, 48, 3)))}
    probe = torch.randn(1, TOWER["features"])

    def score(folder: str, weight: Any, bias: float, **changes: Any) -> float:
        given = tensors(**{"fc.weight": weight, "fc.bias": torch.tensor([bias])})
        network = made(
            tmp_path / folder, univfd_manifest(**changes), backbone=backbone, probe=given
        )
        found = network.score(pictures, kit.picture_media())
        assert isinstance(found, float)
        return found

    once, shifted = score("a", probe, 0.0), score("b", probe, 2.0)
    assert shifted == pytest.approx(once + 2)
    assert score("c", 3 * probe, 0.0) == pytest.approx(3 * once, rel=1e-4)
    assert score("d", probe, 0.0, options={"activation": "gelu"}) != pytest.approx(once, rel=1e-4)
    with pytest.raises(UsageError, match=r"The probe is for 7 features; .* gives 24"):
        score("e", torch.randn(1, 7), 0.0)
    with pytest.raises(UsageError, match="activation is one of quick_gelu, gelu"):
        score("f", probe, 0.0, options={"activation": "relu"})
    with pytest.raises(UsageError, match="holds no image tower of CLIP"):
        made(tmp_path / "g", univfd_manifest(), backbone=tensors(a=probe), probe=tensors(
            weight=probe, bias=torch.zeros(1)))  # fmt: skip


def test_univfd_takes_an_image_tower_as_onnx(tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    weights = parts("backbone", form="onnx") | parts("probe")
    probe = tensors(weight=torch.tensor([[0.0, 1.0, 0.0]]), bias=torch.zeros(1))
    network = made(
        tmp_path,
        univfd_manifest(weights=weights),
        backbone=kit.network([1, 3, 32, 32], 3),
        probe=probe,
    )
    noise = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3))
    score = network.score({"pictures": frames(noise)}, kit.picture_media())
    expected = (noise[0] / 255 - [0.48, 0.46, 0.41]) / [0.27, 0.26, 0.28]
    assert score == pytest.approx(expected.mean(), abs=1e-3)


# ---------------------------------------------------------------- AEROBLADE


def autoencoder(factor: float) -> bytes:
    """ONNX: what comes back is the picture with its contrast times ``factor``."""
    from onnx import helper

    return kit.network(
        ["b", 3, "h", "w"],
        nodes=[
            helper.make_node("Constant", [], ["f"], value_float=factor),
            helper.make_node("Mul", ["x", "f"], ["y"]),
        ],
    )


def test_aeroblade_is_lower_for_what_the_autoencoder_can_make(tmp_path: Path) -> None:
    wanted = {"pictures": {"side": 32, "fit": "crop"}}
    stated = kit.manifest(adapter="aeroblade", input=wanted, polarity="higher is real")
    noise = {"pictures": frames(np.random.default_rng(0).integers(60, 190, (1, 32, 32, 3)))}
    near, far = (
        made(tmp_path / name, stated, model=autoencoder(factor)).score(noise, kit.picture_media())
        for name, factor in (("near", 0.98), ("far", 0.5))
    )
    assert isinstance(near, float)
    assert isinstance(far, float)
    assert near < far
    shapes = made(tmp_path / "bad", stated, model=kit.network([1, 3, 32, 32]))
    with pytest.raises(UsageError, match="the same shape was expected"):
        shapes.score(noise, kit.picture_media())


def test_the_relative_error_does_not_grow_with_contrast() -> None:
    rng = np.random.default_rng(0)
    a, e = rng.uniform(0.3, 0.7, (3, 32, 32)), rng.normal(0, 0.01, (3, 32, 32))
    busy, calm = a, 0.5 + (a - 0.5) / 4
    absolute = [aeroblade.distance(x, x + e, relative=False) for x in (busy, calm)]
    relative = [aeroblade.distance(x, x + (x - 0.5) * 0.1, relative=True) for x in (busy, calm)]
    assert absolute[0] == pytest.approx(absolute[1], rel=0.01)
    assert relative[0] == pytest.approx(relative[1], rel=0.05)
    flat = np.full((3, 8, 8), 0.5)
    assert aeroblade.distance(flat, flat, relative=True) == 0.0


def test_aeroblade_runs_an_autoencoder_of_diffusers(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    config = {
        "block_out_channels": [8], "norm_num_groups": 4, "latent_channels": 2,
        "layers_per_block": 1, "down_block_types": ["DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D"], "sample_size": 16, "_class_name": "AutoencoderKL",
    }  # fmt: skip
    own = diffusers.AutoencoderKL(**{k: v for k, v in config.items() if k != "_class_name"})
    stated = kit.manifest(
        adapter="aeroblade", input={"pictures": {"side": 16, "fit": "crop"}},
        weights=parts("model"), options={"config": config},
    )  # fmt: skip
    network = made(tmp_path, stated, model=tensors(**own.state_dict()))
    noise = {"pictures": frames(np.random.default_rng(0).integers(0, 255, (2, 20, 20, 3)))}
    first = network.score(noise, kit.picture_media())
    assert isinstance(first, float)
    assert np.isfinite(first)
    assert first == network.score(noise, kit.picture_media())  # the mode of the latent, no draw
    with pytest.raises(UsageError, match="do not fit"):
        made(tmp_path / "x", {**stated, "options": {"config": {**config, "latent_channels": 4}}},
             model=tensors(**own.state_dict()))  # fmt: skip
    with pytest.raises(UsageError, match=r"options.config is what"):
        made(tmp_path / "y", {**stated, "options": {}}, model=tensors(**own.state_dict()))


# ---------------------------------------------------------------- D3


def d3_manifest(**changes: Any) -> dict[str, Any]:
    wanted = {"side": 16, "fit": "squeeze", "rate": 8, "frames": 16}
    return kit.manifest(
        adapter="d3", modality="video", weights=parts("encoder", form="onnx"),
        input={"pictures": wanted}, polarity="higher is real",
    ) | changes  # fmt: skip


def test_d3_is_the_deviation_of_second_differences() -> None:
    steps = np.array([0.0, 1, 3, 4, 8, 9, 9.5])[:, None]
    first = np.abs(np.diff(steps[:, 0]))
    assert d3.volatility(steps) == pytest.approx(np.diff(first).std(ddof=1))
    assert d3.volatility(steps * 2) == pytest.approx(2 * d3.volatility(steps))
    assert d3.volatility(steps + 5, normalise=True) == pytest.approx(0)  # one direction only


def test_d3_tells_even_motion_from_uneven(tmp_path: Path) -> None:
    network = made(tmp_path, d3_manifest(), encoder=kit.network([1, 3, 16, 16], 3))
    rng = np.random.default_rng(0)
    base = rng.integers(0, 60, (20, 20, 3))
    even = np.array([base + 3 * n for n in range(16)])
    uneven = np.array([base + 3 * n + rng.integers(0, 40) for n in range(16)])
    scores = [network.score({"pictures": frames(x)}, kit.picture_media()) for x in (even, uneven)]
    assert all(isinstance(one, float) for one in scores)
    assert float(scores[0]) < float(scores[1]) / 4
    still = network.score({"pictures": frames(np.array([base] * 16))}, kit.picture_media())
    assert still == "nothing moves in it"
    few = network.score({"pictures": frames(even[:5])}, kit.picture_media())
    assert few == "it gives 5 frames at 8 a second; 8 are needed"
    with pytest.raises(UsageError, match="8 frames or more"):
        made(tmp_path / "x", d3_manifest(input={"pictures": {"side": 16, "rate": 25}}),
             encoder=kit.network([1, 3, 16, 16]))  # fmt: skip


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
