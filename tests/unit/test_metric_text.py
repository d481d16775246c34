"""Metrics on CLIP and DINO weights that a user gives, here tiny ones that are made on the spot.

``colours`` is a CLIP that was trained for seconds until it knows four words for colours: the
numbers that it must give when pictures or words are swapped are known. ``plain`` has random
weights: on it formulas agree with others' code.
"""

from __future__ import annotations

import json
import logging
import sys
from fractions import Fraction

import numpy as np
import pytest

from avsafe.errors import MissingExtra, UsageError
from avsafe.media.replay import Replay
from avsafe.testing import check_metric, measured, textured_clip
from avsafe.types import Kind, RawMedia
from avsafe_metrics.text import compat, shared
from avsafe_metrics.text.background_consistency import BackgroundConsistency
from avsafe_metrics.text.clip_directional import ClipDirectional, directional_similarity
from avsafe_metrics.text.clip_image import ClipImage
from avsafe_metrics.text.clip_output import ClipOutput
from avsafe_metrics.text.clip_score import ClipScore
from avsafe_metrics.text.dino_identity import DinoIdentity
from avsafe_metrics.text.subject_consistency import SubjectConsistency

RGB = {
    "red": (205, 40, 35),
    "blue": (40, 60, 210),
    "green": (45, 180, 60),
    "yellow": (220, 210, 40),
}
SMALL = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32, "layers": 2, "width": 48, "patch_size": 8, "head_width": 16,
        "mlp_ratio": 2,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1,
    },
}  # fmt: skip


def field(colour: str, rng: np.random.Generator, side: int = 32) -> np.ndarray:
    """A grainy picture of about one colour."""
    noise = rng.normal(0, 18, (side, side, 3)) + rng.normal(0, 12, 3)
    return np.clip(np.array(RGB[colour]) + noise, 0, 255).astype(np.uint8)


def clip_of(frames: list[np.ndarray], rate: int = 4) -> RawMedia:
    height, width = frames[0].shape[:2]
    return RawMedia(
        Kind.VIDEO, Replay(lambda: iter(frames)), Fraction(rate), len(frames), width, height
    )


def coloured(*colours: str, seed: int = 0) -> RawMedia:
    rng = np.random.default_rng(seed)
    return clip_of([field(colour, rng) for colour in colours])


def saved(folder, model):
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, str(folder / "open_clip_model.safetensors"))
    return {"clip": str(folder)}


def tiny(tmp_path_factory, seed: int):
    try:
        package = compat.open_clip()
    except MissingExtra as missing:
        pytest.skip(str(missing))
    import torch

    folder = tmp_path_factory.mktemp("clip")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": SMALL, "preprocess_cfg": {}})
    )
    torch.manual_seed(seed)
    logging.disable(logging.WARNING)  # "initialised randomly" is what we want
    model = package.create_model(f"local-dir:{folder}", load_weights=False)
    tokenizer = package.get_tokenizer(f"local-dir:{folder}")
    logging.disable(logging.NOTSET)
    return folder, model, tokenizer


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder, model, _ = tiny(tmp_path_factory, 1)
    import torch

    with torch.no_grad():  # far from the defaults, whose features hardly depend on the picture
        for name, tensor in model.named_parameters():
            if "positional" in name or tensor.ndim > 1:
                tensor.mul_(3.0)
    return saved(folder, model)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    folder, model, tokenizer = tiny(tmp_path_factory, 2)
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(5)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in
                 ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)))  # fmt: skip
    tokens = tokenizer([f"a {name} picture" for name in RGB])
    model.token_embedding.requires_grad_(False)  # most of the weights; words differ as they are
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    for _ in range(60):
        batch = np.stack([field(name, rng) for name in RGB for _ in range(4)])
        pictures = (torch.from_numpy(batch).permute(0, 3, 1, 2) / 255 - mean) / std
        images = functional.normalize(model.encode_image(pictures), dim=-1)
        texts = functional.normalize(model.encode_text(tokens), dim=-1)
        wanted = torch.arange(4).repeat_interleave(4)
        # each picture lies on its word, and right-angled to the others
        loss = (images @ texts.T - functional.one_hot(wanted, 4).float()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01, "the little CLIP did not learn its colours"
    return saved(folder, model)


def score(metric, raw, beside=None, text="", **texts):
    found = measured(metric, raw, beside, text=text, texts=texts).values
    return found.get(metric.info.name, found)


# ---------------------------------------------------------------- what the numbers mean


def test_clip_score_follows_the_prompt_and_the_share_of_frames(colours):
    metric = ClipScore(weights=colours, frames_per_s=None)
    red, blue = coloured(*["red"] * 6), coloured(*["blue"] * 6)
    assert score(metric, red, text="a red picture") > 90
    assert score(metric, red, text="a blue picture") < 15
    assert score(metric, blue, text="a blue picture") > 90
    # half the frames wrong: half way between, to the digit
    rng = np.random.default_rng(0)
    frames = [field("red", rng) for _ in range(4)] + [field("blue", rng) for _ in range(4)]
    whole, first, second = (
        score(metric, clip_of(part), text="a red picture")
        for part in (frames, frames[:4], frames[4:])
    )
    assert whole == pytest.approx((first + second) / 2, abs=1e-9)
    assert 45 < whole < 60


def test_frame_consistency_counts_the_changes(colours):
    metric = ClipScore(weights=colours, frames_per_s=None)

    def consistency(*names: str) -> float:
        found = measured(metric, coloured(*names), text="a red picture").values
        return found["clip_score.frame_consistency"]

    assert consistency(*["red"] * 8) > 0.98
    once = consistency(*["red"] * 4, *["blue"] * 4)
    assert once == pytest.approx(6 / 7, abs=0.04)  # one of seven steps is right-angled
    assert consistency(*["red", "blue"] * 4) < 0.15


def test_frames_are_looked_at_by_the_clock(colours):
    """Half a second apart: of red and blue in turn at 4 a second, only red is seen."""
    metric = ClipScore(weights=colours)
    raw = coloured(*["red", "blue"] * 6)
    assert score(metric, raw, text="a red picture") > 90
    assert score(metric, raw, text="a blue picture") < 15


def test_the_direction_of_an_edit(colours):
    metric = ClipDirectional(weights=colours, frames_per_s=None)
    red, blue, green = (coloured(*[name] * 5, seed=3) for name in ("red", "blue", "green"))
    words = {"text": "a blue picture", "source_prompt": "a red picture"}
    good = score(metric, blue, red, **words)
    assert good > 0.9
    swapped = score(metric, red, blue, **words)  # the edit ran backwards
    assert swapped == pytest.approx(-good, abs=1e-6)
    aside = score(metric, green, red, **words)  # half of the way: away from red, not to blue
    assert aside == pytest.approx(0.5, abs=0.15)
    assert score(metric, blue, red, text="make it blue", target_prompt="a blue picture",
                 source_prompt="a red picture") == pytest.approx(good, abs=1e-9)  # fmt: skip


def test_what_an_edit_keeps_and_what_it_reaches(colours):
    keeps, reaches = (c(weights=colours, frames_per_s=None) for c in (ClipImage, ClipOutput))
    red, blue = coloured(*["red"] * 5), coloured(*["blue"] * 5)
    assert score(keeps, red, red) == pytest.approx(1, abs=1e-6)
    assert score(keeps, coloured(*["red"] * 5, seed=9), red) > 0.95
    assert score(keeps, blue, red) < 0.15
    every_other = score(keeps, coloured("red", "blue", "red", "blue"), red)
    assert every_other == pytest.approx((1 + score(keeps, blue, red)) / 2, abs=0.02)
    assert score(reaches, blue, text="a blue picture") > 0.9
    assert score(reaches, blue, text="a red picture") < 0.15


def test_an_edit_without_direction_has_a_reason(colours):
    metric = ClipDirectional(weights=colours)
    red, blue = coloured(*["red"] * 8), coloured(*["blue"] * 8)
    words = {"text": "a blue picture", "source_prompt": "a red picture"}
    assert "no frame differs" in score(metric, red, red, **words)
    assert "the same text" in score(metric, blue, red, text="red", source_prompt="red")
    assert "no source prompt" in score(metric, blue, red, text="red")
    assert score(metric, blue, text="a", source_prompt="b") == "the clip has no source"
    short = coloured("red", "red")
    assert "source ends before" in score(ClipImage(weights=colours), blue, short)


def test_a_source_that_is_a_picture_stands_beside_every_frame(colours):
    still = RawMedia(Kind.IMAGE, Replay(lambda: iter(coloured("red").frames)), None, 1, 32, 32)
    metric = ClipImage(weights=colours, frames_per_s=None)
    assert score(metric, coloured(*["red"] * 4, seed=2), still) > 0.95


# ---------------------------------------------------------------- the same numbers as others


def as_transformers(weights):
    """The same weights in transformers' own CLIP, another implementation."""
    import torch
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel

    vision, text = SMALL["vision_cfg"], SMALL["text_cfg"]
    model = CLIPModel(CLIPConfig(
        projection_dim=SMALL["embed_dim"],
        vision_config={
            "hidden_size": vision["width"], "num_hidden_layers": vision["layers"],
            "intermediate_size": vision["width"] * vision["mlp_ratio"],
            "num_attention_heads": vision["width"] // vision["head_width"],
            "image_size": 32, "patch_size": 8, "hidden_act": "gelu",
        },
        text_config={
            "hidden_size": text["width"], "num_hidden_layers": text["layers"],
            "intermediate_size": text["width"] * 4, "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"], "hidden_act": "gelu",
            "eos_token_id": 49407, "bos_token_id": 49406,
        },
    )).eval()  # fmt: skip
    given = load_file(f"{weights['clip']}/open_clip_model.safetensors")
    words = [
        ("visual.", "vision_model."), ("transformer.resblocks", "encoder.layers"),
        ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("attn.", "self_attn."),
        ("c_fc", "fc1"), ("c_proj", "fc2"), ("ln_pre", "pre_layrnorm"),
        ("ln_post", "post_layernorm"), ("ln_final", "final_layer_norm"),
        ("conv1", "embeddings.patch_embedding"), ("class_embedding", "embeddings.class_embedding"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("token_embedding", "embeddings.token_embedding"),
    ]  # fmt: skip
    state = {}
    for name, tensor in given.items():
        if name == "visual.proj":
            state["visual_projection.weight"] = tensor.T
            continue
        if name == "text_projection":
            state["text_projection.weight"] = tensor.T
            continue
        if name == "logit_scale":
            state[name] = tensor
            continue
        other = name if name.startswith("visual.") else f"text_model.{name}"
        for old, new in words:
            other = other.replace(old, new)
        if "in_proj_" in other:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                state[other.replace("in_proj_", f"{part}_proj.")] = piece
        else:
            state[other] = tensor
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all("position_ids" in name for name in left.missing_keys), left.missing_keys
    return model, torch


def test_clip_score_agrees_with_torchmetrics_on_another_clip(plain):
    """torchmetrics' formula on transformers' network with the same weights: 1e-4 of 100."""
    pytest.importorskip("transformers")
    functional = pytest.importorskip("torchmetrics.functional.multimodal")
    metric = ClipScore(weights=plain, frames_per_s=None)
    backbone = metric.backbone
    model, torch = as_transformers(plain)
    from PIL import Image

    class Whole(torch.nn.Module):
        config = model.config

        def get_image_features(self, pixels):
            return tensor(model.get_image_features(pixels))

        def get_text_features(self, tokens, mask):
            return tensor(model.get_text_features(tokens, mask))

    def tensor(found):
        return found if isinstance(found, torch.Tensor) else found.pooler_output

    def processor(images=None, text=None, **_):
        if images is not None:
            pictures = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in images]
            return {"pixel_values": torch.stack([backbone._prepare(p) for p in pictures])}
        tokens = backbone._tokenizer(text)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    frames = list(textured_clip(1.0, 80, 60, Fraction(4), sound=False).frames)
    scores = []
    for prompt in ("a dog on a beach", "red", "night, rain and neon", "?"):
        with torch.no_grad():
            pairs = [
                float(functional.clip_score(torch.from_numpy(f).permute(2, 0, 1), prompt,
                                            lambda: (Whole(), processor)))
                for f in frames
            ]  # fmt: skip
        ours = score(metric, clip_of(frames), text=prompt)
        assert ours == pytest.approx(np.mean(pairs), abs=1e-4)
        scores.append(ours)
    assert np.ptp(scores) > 5, "weights that say the same of every prompt prove nothing"


def test_edit_numbers_agree_with_open_clip_called_by_hand(plain):
    import torch
    from PIL import Image

    package = compat.open_clip()
    model, prepare = package.create_model_from_pretrained(f"local-dir:{plain['clip']}")
    model.eval()
    tokens = package.get_tokenizer(f"local-dir:{plain['clip']}")
    edited = list(textured_clip(1.0, 70, 50, Fraction(4), seed=1, sound=False).frames)
    source = list(textured_clip(1.0, 70, 50, Fraction(4), seed=2, sound=False).frames)

    def images(frames):
        with torch.no_grad():
            return torch.nn.functional.normalize(
                model.encode_image(torch.stack([prepare(Image.fromarray(f)) for f in frames])),
                dim=-1,
            )

    with torch.no_grad():
        before, after = torch.nn.functional.normalize(
            model.encode_text(tokens(["a town by day", "a town at night"])), dim=-1
        )
    a, b = images(source), images(edited)
    cosine = torch.nn.functional.cosine_similarity
    wanted = {
        ClipDirectional: cosine(b - a, (after - before)[None]).mean(),
        ClipImage: cosine(a, b).mean(),
        ClipOutput: (b @ after).mean(),
    }
    words = {"text": "a town at night", "source_prompt": "a town by day"}
    for kind, value in wanted.items():
        metric = kind(weights=plain, frames_per_s=None)
        beside = clip_of(source) if metric.info.beside else None
        assert score(metric, clip_of(edited), beside, **words) == pytest.approx(
            float(value), abs=1e-5
        )
        assert abs(float(value)) > 1e-3
    assert float(wanted[ClipImage]) < 0.98


def vbench(features: np.ndarray) -> float:
    """VBench's loop, said again: (k, d) of length 1."""
    total = 0.0
    for i in range(1, len(features)):
        near = max(0.0, float(features[i - 1] @ features[i]))
        far = max(0.0, float(features[0] @ features[i]))
        total += (near + far) / 2
    return total / (len(features) - 1)


def test_consistency_is_vbenchs_formula():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((9, 6)) + 0.4
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    running = shared.Steadiness()
    for row in features.astype(np.float32):
        running.take(row)
    assert running.value() == pytest.approx(vbench(features), abs=1e-6)
    assert shared.frame_to_frame(list(features)) == pytest.approx(vbench(features), abs=1e-9)
    assert running.value() < 0.9


def test_background_consistency_prepares_pictures_as_vbench_does(plain):
    import torch

    compat.mend_torchvision()
    from torchvision.transforms import CenterCrop, InterpolationMode, Normalize, Resize

    frames = list(textured_clip(1.0, 91, 57, Fraction(6), seed=4, sound=False).frames)
    metric = BackgroundConsistency(weights=plain)
    stack = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    sized = CenterCrop(32)(Resize(32, InterpolationMode.BICUBIC, antialias=False)(stack))
    pictures = Normalize(metric.backbone.mean, metric.backbone.std)(sized.float() / 255)
    features = metric.backbone.prepared(pictures)
    found = score(metric, clip_of(frames))
    assert found == pytest.approx(vbench(features), abs=1e-5)
    assert found < 0.995, "weights on which nothing changes prove nothing"


def test_a_change_of_scene_costs_background_consistency_what_it_must(colours):
    metric = BackgroundConsistency(weights=colours)
    assert score(metric, coloured(*["red"] * 8)) > 0.98
    # of seven frames after the first, three are like both, one is unlike both, three like one
    assert score(metric, coloured(*["red"] * 4, *["blue"] * 4)) == pytest.approx(
        (3 * 1 + 0 + 3 * 0.5) / 7, abs=0.05
    )


# ---------------------------------------------------------------- DINO


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A vision transformer by facebookresearch's names with random weights, as a torch file."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    width, state = 64, {}
    state["cls_token"] = torch.randn(1, 1, width) * 0.05
    state["pos_embed"] = torch.randn(1, 1 + 14 * 14, width) * 0.02
    colour = torch.randn(width, 3, 1, 1) * 0.02  # of the mean of a patch, besides its texture
    state["patch_embed.proj.weight"] = torch.randn(width, 3, 16, 16) * 0.02 + colour
    state["patch_embed.proj.bias"] = torch.randn(width) * 0.1
    for block in range(2):
        shapes = {
            "attn.qkv": (3 * width, width), "attn.proj": (width, width),
            "mlp.fc1": (2 * width, width), "mlp.fc2": (width, 2 * width),
        }  # fmt: skip
        for name, shape in shapes.items():
            state[f"blocks.{block}.{name}.weight"] = torch.randn(shape) * 0.2
            state[f"blocks.{block}.{name}.bias"] = torch.randn(shape[0]) * 0.1
        for name in ("norm1", "norm2"):
            state[f"blocks.{block}.{name}.weight"] = 1 + 0.1 * torch.randn(width)
            state[f"blocks.{block}.{name}.bias"] = 0.1 * torch.randn(width)
    state["norm.weight"], state["norm.bias"] = torch.ones(width), torch.zeros(width)
    path = tmp_path_factory.mktemp("dino") / "dino_tiny_pretrain.pth"
    torch.save(state, path)
    return {"dino": str(path)}


@pytest.mark.parametrize("name", ["ViTModel", "Dinov2Model"])
def test_dino_agrees_with_transformers(tmp_path, name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from avsafe_metrics.text.dino_backbone import load

    kind = getattr(transformers, name)
    settings = kind.config_class(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        mlp_ratio=2, image_size=32, patch_size=8,
    )  # fmt: skip
    torch.manual_seed(3)
    model = kind(settings).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.3 * torch.randn_like(tensor))
        model.save_pretrained(tmp_path)
        batch = torch.randn(2, 3, 32, 32)
        wanted = model(batch).last_hidden_state[:, 0].numpy()
    found = load(str(tmp_path)).class_token(batch)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(wanted[0] - wanted[1]).max() > 0.1


def test_positions_of_wide_pictures_are_dinos():
    """DINO's own expression: scale factors with a tenth of a patch, bicubic."""
    torch = pytest.importorskip("torch")
    from avsafe_metrics.text.dino_backbone import _positions

    embedded = torch.randn(1, 1 + 14 * 14, 8)
    found = _positions(embedded, 14, 24)
    grid = embedded[:, 1:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.interpolate(
        grid, scale_factor=(14.1 / 196**0.5, 24.1 / 196**0.5), mode="bicubic"
    )
    assert wanted.shape[-2:] == (14, 24)
    wanted = wanted.permute(0, 2, 3, 1).reshape(1, -1, 8)
    torch.testing.assert_close(found[:, 1:], wanted)
    assert _positions(embedded, 14, 14) is embedded


def test_dino_identity_falls_with_the_share_of_another_picture(dino):
    metric = DinoIdentity(weights=dino, frames_per_s=2)
    source, other = coloured(*["red"] * 4), coloured(*["blue"] * 4)

    def mixed(share: float) -> RawMedia:
        pairs = zip(source.frames, other.frames, strict=True)
        return clip_of([((1 - share) * a + share * b).astype(np.uint8) for a, b in pairs])

    values = [score(metric, mixed(share), source) for share in (0, 0.1, 0.4, 1)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values == sorted(values, reverse=True)
    assert values[1] > 0.9
    assert values[-1] < 0.6, values
    half = [*list(source.frames)[:2], *list(other.frames)[2:]]  # a swap in half of the frames
    rest = score(metric, clip_of(list(other.frames)[2:]), clip_of(list(source.frames)[2:]))
    assert score(metric, clip_of(half), source) == pytest.approx((1 + rest) / 2, abs=1e-5)


def test_subject_consistency_is_vbenchs_number(dino):
    import torch

    compat_state = pytest.importorskip("avsafe_metrics.text.compat")
    try:
        compat_state.mend_torchvision()
    except MissingExtra as missing:
        pytest.skip(str(missing))
    from torchvision.transforms import Normalize, Resize

    frames = [
        next(iter(textured_clip(0.3, 76, 50, Fraction(4), seed=s, sound=False).frames))
        for s in (1, 1, 2, 1, 3)
    ]
    metric = SubjectConsistency(weights=dino)
    stack = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    pictures = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(
        Resize(224, antialias=False)(stack).float() / 255
    )
    features = metric.backbone.class_token(pictures).astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = score(metric, clip_of(frames))
    assert found == pytest.approx(vbench(features), abs=1e-5)
    assert found < 0.9
    assert score(metric, clip_of([frames[0]] * 3)) == pytest.approx(1, abs=1e-6)
    # another subject in the second half of six: of five steps two are like both, one is unlike
    # both, two are like one
    pair = metric.backbone.class_token(pictures[[0, 2]]).astype(np.float64)
    near = float(pair[0] @ pair[1] / np.prod(np.linalg.norm(pair, axis=1)))
    swapped = score(metric, clip_of([frames[0]] * 3 + [frames[2]] * 3))
    assert swapped == pytest.approx((2 + near + 2 * (1 + near) / 2) / 5, abs=1e-5)


# ---------------------------------------------------------------- odd inputs, absent weights


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (9, 2)])
def test_tiny_pictures_have_numbers(plain, dino, size):
    frames = list(np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8))
    for metric in (ClipScore(weights=plain), BackgroundConsistency(weights=plain),
                   SubjectConsistency(weights=dino)):  # fmt: skip
        found = measured(metric, clip_of(frames), text="a cat").values
        assert all(isinstance(value, float) for value in found.values()), found


def test_a_sliver_is_not_made_into_thousands_of_patches(plain, dino):
    frames = [np.zeros((2, 600, 3), np.uint8)] * 2
    found = score(SubjectConsistency(weights=dino), clip_of(frames))
    assert "600 x 2 pixels" in found
    assert isinstance(score(BackgroundConsistency(weights=plain), clip_of(frames)), float)


def test_one_frame_has_a_score_and_no_consistency(plain, dino):
    found = measured(ClipScore(weights=plain), coloured("red"), text="red").values
    assert isinstance(found["clip_score"], float)
    assert "needs two" in found["clip_score.frame_consistency"]
    for metric in (BackgroundConsistency(weights=plain), SubjectConsistency(weights=dino)):
        assert "needs two" in score(metric, coloured("red"))


def test_no_prompt_is_a_reason(plain):
    found = measured(ClipScore(weights=plain), coloured("red"), text=" ").values
    assert set(found.values()) == {"the clip has no prompt"}
    assert len(found) == 2


def test_the_contract(plain, dino):
    raw = coloured("red", "blue", "green", "red", "red")
    for metric in (BackgroundConsistency(weights=plain), SubjectConsistency(weights=dino)):
        check_metric(metric, raw)
    check_metric(ClipImage(weights=plain), raw, coloured(*["blue"] * 5))
    check_metric(DinoIdentity(weights=dino), raw, coloured(*["blue"] * 5))


def test_the_order_of_clips_changes_nothing(plain, dino):
    """One instance over clips in any order, as shards use it, and a fresh one for each."""
    clips = [coloured(*names, seed=seed) for seed, names in
             enumerate((["red"] * 4, ["blue", "red"] * 2, ["green"] * 4))]  # fmt: skip
    for kind, weights in ((ClipScore, plain), (SubjectConsistency, dino)):
        fresh = [measured(kind(weights=weights), clip, text="a town").values for clip in clips]
        one = kind(weights=weights)
        for order in ((2, 0, 1), (1, 2, 0)):
            for index in order:
                assert measured(one, clips[index], text="a town").values == fresh[index]


@pytest.mark.parametrize(
    "kind", [ClipScore, ClipDirectional, ClipImage, ClipOutput, BackgroundConsistency]
)
def test_absent_weights_say_what_to_give(kind, tmp_path):
    with pytest.raises(MissingExtra, match='no weights "clip" were given'):
        kind().prepare()
    try:
        compat.open_clip()
    except MissingExtra as missing:
        pytest.skip(str(missing))
    with pytest.raises(MissingExtra, match="no file or folder"):
        kind(weights={"clip": str(tmp_path / "nothing")}).prepare()
    with pytest.raises(MissingExtra, match=r"needs open_clip_config\.json"):
        kind(weights={"clip": str(tmp_path)}).prepare()
    stray = tmp_path / "stray.safetensors"
    stray.write_bytes(b"not a checkpoint")
    with pytest.raises(MissingExtra, match="Name its design"):
        kind(weights={"clip": str(stray)}).prepare()
    with pytest.raises(MissingExtra, match="knows no architecture"):
        kind(weights={"clip": str(stray)}, architecture="ViT-nothing").prepare()
    with pytest.raises(MissingExtra, match="from a hub"):
        kind(weights={"clip": str(stray)}, architecture="ViT-B-16-SigLIP").prepare()


def test_pickled_code_is_not_loaded(plain, tmp_path):
    import pickle

    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": SMALL}))
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"a": sys.exit}))
    with pytest.raises(MissingExtra, match="no pickled code"):
        ClipScore(weights={"clip": str(folder)}).prepare()
    bad = tmp_path / "dino.pth"
    bad.write_bytes(pickle.dumps({"cls_token": sys.exit}))
    with pytest.raises(MissingExtra, match="without pickled code"):
        SubjectConsistency(weights={"dino": str(bad)}).prepare()


def test_dino_refuses_what_it_does_not_understand(tmp_path):
    torch = pytest.importorskip("torch")
    with pytest.raises(MissingExtra, match='no weights "dino"'):
        DinoIdentity().prepare()
    path = tmp_path / "registers.pth"
    torch.save({"cls_token": torch.zeros(1, 1, 4), "register_tokens": torch.zeros(1, 4, 4)}, path)
    with pytest.raises(MissingExtra, match="Registers and SwiGLU"):
        DinoIdentity(weights={"dino": str(path)}).prepare()


def test_digests_are_of_the_files(plain, dino):
    import hashlib
    from pathlib import Path

    metric = ClipScore(weights=plain)
    file = Path(plain["clip"]) / "open_clip_model.safetensors"
    assert metric.digests()[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert list(DinoIdentity(weights=dino).digests()) == ["dino_tiny_pretrain.pth"]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 1e9])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UsageError, match="frames_per_s"):
        ClipScore(frames_per_s=rate)


class Overflows:
    """Stands for a network whose numbers overflow from the second frame on."""

    side, mean, std, digests = 32, (0.5,) * 3, (0.5,) * 3, {}

    def __init__(self):
        self._seen = 0

    def image(self, frame):
        self._seen += 1
        return np.array([1.0, 0.0] if self._seen == 1 else [np.nan, 0.0], np.float32)

    def prepared(self, batch):
        return self.image(None)[None]

    def texts(self, texts):
        return np.eye(2, dtype=np.float32)[: len(texts)]


@pytest.mark.parametrize(
    "kind",
    [ClipScore, ClipDirectional, ClipImage, ClipOutput, BackgroundConsistency, DinoIdentity,
     SubjectConsistency],
)  # fmt: skip
def test_features_that_are_no_numbers_are_a_reason_and_no_score(kind):
    """Cutting them into the range would give 0, or a perfect 1."""
    pytest.importorskip("torch")

    class Given(kind):
        def prepare(self):
            self._backbone = Overflows()

    metric = Given(frames_per_s=None)
    red = coloured("red", "red", "red")
    beside = red if metric.info.beside else None
    texts = {"source_prompt": "a blue picture"}
    found = measured(metric, red, beside, text="a red picture", texts=texts).values
    assert set(found.values()) == {"the value is nan"}


def test_direction_of_nothing_is_nought():
    x, y = np.eye(2)
    assert directional_similarity(x, x, x, y) == 0.0


# ---------------------------------------------------------------- torchvision


def test_torchvision_that_is_absent_names_the_command(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(compat.util, "find_spec", lambda name: None)
    monkeypatch.setattr(compat.sys, "prefix", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"pip install --no-deps .*torchvision=="):
        compat.mend_torchvision()


def test_another_torchvision_is_refused(monkeypatch):
    monkeypatch.setattr(compat.metadata, "version", lambda name: "0.20.1")
    with pytest.raises(MissingExtra, match="belongs to another torch"):
        compat._check_pair("2.13.0+cpu")
    monkeypatch.setattr(compat.metadata, "version", lambda name: "0.28.0+cpu")
    compat._check_pair("2.13.0+cpu")


def test_operators_that_load_are_left_alone(monkeypatch, tmp_path):
    """Where both names are there after loading, nothing is declared and it says "native"."""
    pytest.importorskip("torch")

    class Ops:
        class torchvision:  # noqa: N801
            nms = qnms = None

        @staticmethod
        def load_library(path: str) -> None:
            loaded.append(path)

    class Torch:
        ops, __version__ = Ops, "2.13.0"

    loaded: list[str] = []
    (tmp_path / "_C.so").touch()
    assert compat._loads(Torch, tmp_path)
    assert loaded == [str(tmp_path / "_C.so")]
    monkeypatch.setattr(compat, "_declare", lambda torch: pytest.fail("nothing is to be mended"))
    monkeypatch.setattr(compat, "_torch", lambda: Torch)
    monkeypatch.setattr(compat.importlib, "import_module", lambda name: None)
    origin = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(compat.util, "find_spec", lambda name: origin)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    assert compat.mend_torchvision() == "native"
