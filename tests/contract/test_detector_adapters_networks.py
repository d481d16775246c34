"""AASIST, UnivFD, AEROBLADE and D3 with small or random weights made here; nothing is downloaded.

The architectures are those of the papers: counts of parameters, layout, agreement with open_clip.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe.errors import MissingExtra, UsageError
from avsafe_detectors.adapters import aeroblade, d3
from tests import detector_kit as kit

SOUND = {"rate_hz": 16_000, "samples": 64_600, "windows": 2}


@pytest.fixture(autouse=True)
def _adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    kit.with_adapters(monkeypatch)


# ---------------------------------------------------------------- AASIST


def aasist_manifest(architecture: str, **changes: Any) -> dict[str, Any]:
    return kit.manifest(
        adapter="aasist", modality="speech", architecture=architecture, content=[],
        weights=kit.parts("model"), input={"sound": SOUND}, output={"index": 1},
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
    network = kit.made(tmp_path, stated, model=kit.tensors(**aasist_weights("AASIST-L")))
    first = network.score({"sound": kit.sound(kit.voice())}, kit.sound_media())
    assert isinstance(first, float)
    assert first == network.score({"sound": kit.sound(kit.voice())}, kit.sound_media())
    assert first != network.score({"sound": kit.sound(kit.voice(seed=1))}, kit.sound_media())
    assert isinstance(network.score({"sound": kit.sound(kit.voice(0.2))}, kit.sound_media()), str)


def test_aasist_of_another_size_or_shape_is_refused(tmp_path: Path) -> None:
    small = kit.tensors(**aasist_weights("AASIST-L"))
    with pytest.raises(UsageError, match="holds no AASIST as its authors lay it out"):
        kit.made(tmp_path / "a", aasist_manifest("AASIST"), model=small)
    with pytest.raises(UsageError, match="architecture is one of AASIST, AASIST-L"):
        kit.made(tmp_path / "b", aasist_manifest("RawNet2"), model=small)
    wrong = {"sound": {"rate_hz": 8000, "samples": 64_600}}
    with pytest.raises(UsageError, match="hears 16000 Hz"):
        kit.made(tmp_path / "c", aasist_manifest("AASIST-L", input=wrong), model=small)
    with pytest.raises(UsageError, match="the manifest names image"):
        kit.made(tmp_path / "d", aasist_manifest("AASIST-L", kinds=["image"]), model=small)


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
            adapter="univfd", weights=kit.parts("backbone", "probe"), input={"pictures": wanted}
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
    backbone = kit.tensors(**clip_weights())
    rng = np.random.default_rng(0)
    pictures = {"pictures": kit.frames(rng.integers(0, 255, (3, 40, 48, 3)))}
    probe = torch.randn(1, TOWER["features"])

    def score(folder: str, weight: Any, bias: float, **changes: Any) -> float:
        given = kit.tensors(**{"fc.weight": weight, "fc.bias": torch.tensor([bias])})
        network = kit.made(
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
    given = kit.tensors(weight=probe, bias=torch.zeros(1))
    with pytest.raises(UsageError, match="holds no image tower of CLIP"):
        kit.made(tmp_path / "g", univfd_manifest(), backbone=kit.tensors(a=probe), probe=given)


def test_univfd_takes_an_image_tower_as_onnx(tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    weights = kit.parts("backbone", form="onnx") | kit.parts("probe")
    probe = kit.tensors(weight=torch.tensor([[0.0, 1.0, 0.0]]), bias=torch.zeros(1))
    network = kit.made(
        tmp_path,
        univfd_manifest(weights=weights),
        backbone=kit.network([1, 3, 32, 32], 3),
        probe=probe,
    )
    noise = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3))
    score = network.score({"pictures": kit.frames(noise)}, kit.picture_media())
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
    noise = {"pictures": kit.frames(np.random.default_rng(0).integers(60, 190, (1, 32, 32, 3)))}
    near, far = (
        kit.made(tmp_path / name, stated, model=autoencoder(factor)).score(
            noise, kit.picture_media()
        )
        for name, factor in (("near", 0.98), ("far", 0.5))
    )
    assert isinstance(near, float)
    assert isinstance(far, float)
    assert near < far
    shapes = kit.made(tmp_path / "bad", stated, model=kit.network([1, 3, 32, 32]))
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
        weights=kit.parts("model"), options={"config": config},
    )  # fmt: skip
    network = kit.made(tmp_path, stated, model=kit.tensors(**own.state_dict()))
    noise = {"pictures": kit.frames(np.random.default_rng(0).integers(0, 255, (2, 20, 20, 3)))}
    first = network.score(noise, kit.picture_media())
    assert isinstance(first, float)
    assert np.isfinite(first)
    assert first == network.score(noise, kit.picture_media())  # the mode of the latent, no draw
    other = {**stated, "options": {"config": {**config, "latent_channels": 4}}}
    with pytest.raises(UsageError, match="do not fit"):
        kit.made(tmp_path / "x", other, model=kit.tensors(**own.state_dict()))
    with pytest.raises(UsageError, match=r"options.config is what"):
        kit.made(tmp_path / "y", {**stated, "options": {}}, model=kit.tensors(**own.state_dict()))


# ---------------------------------------------------------------- D3


def d3_manifest(**changes: Any) -> dict[str, Any]:
    wanted = {"side": 16, "fit": "squeeze", "rate": 8, "frames": 16}
    return kit.manifest(
        adapter="d3", modality="video", weights=kit.parts("encoder", form="onnx"),
        input={"pictures": wanted}, polarity="higher is real",
    ) | changes  # fmt: skip


def test_d3_is_the_deviation_of_second_differences() -> None:
    steps = np.array([0.0, 1, 3, 4, 8, 9, 9.5])[:, None]
    first = np.abs(np.diff(steps[:, 0]))
    assert d3.volatility(steps) == pytest.approx(np.diff(first).std(ddof=1))
    assert d3.volatility(steps * 2) == pytest.approx(2 * d3.volatility(steps))
    assert d3.volatility(steps + 5, normalise=True) == pytest.approx(0)  # one direction only


def test_d3_tells_even_motion_from_uneven(tmp_path: Path) -> None:
    network = kit.made(tmp_path, d3_manifest(), encoder=kit.network([1, 3, 16, 16], 3))
    rng = np.random.default_rng(0)
    base = rng.integers(0, 60, (20, 20, 3))
    even = np.array([base + 3 * n for n in range(16)])
    uneven = np.array([base + 3 * n + rng.integers(0, 40) for n in range(16)])
    scores = [
        network.score({"pictures": kit.frames(x)}, kit.picture_media()) for x in (even, uneven)
    ]
    assert all(isinstance(one, float) for one in scores)
    assert float(scores[0]) < float(scores[1]) / 4
    still = network.score({"pictures": kit.frames(np.array([base] * 16))}, kit.picture_media())
    assert still == "nothing moves in it"
    few = network.score({"pictures": kit.frames(even[:5])}, kit.picture_media())
    assert few == "it gives 5 frames at 8 a second; 8 are needed"
    with pytest.raises(UsageError, match="8 frames or more"):
        kit.made(tmp_path / "x", d3_manifest(input={"pictures": {"side": 16, "rate": 25}}),
             encoder=kit.network([1, 3, 16, 16]))  # fmt: skip
