"""Adapters to watermarkers of others, with tiny networks of the same interface made here.

The real weights of VideoSeal, TrustMark and AudioSeal are not at hand: what is tested is everything
around them. Perth's are in its wheel, and our network is held against its own package.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avsafe import plugins, testing
from avsafe.errors import CannotMark, MissingExtra, UsageError
from avsafe.types import Kind, RawMedia
from avsafe.watermark.adapters import audioseal, message, perth, pictures, sounds
from avsafe.watermark.adapters.weights import WeightFile, Weights

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **parts: bytes) -> Path:
    """A state folder in which ``name`` has these weights."""
    home = folder / "home"
    monkeypatch.setenv("AVSAFE_HOME", str(home))
    (home / "watermarkers").mkdir(parents=True)
    stated: dict[str, Any] = {"licence": "MIT"}
    for part, data in parts.items():
        (home / "watermarkers" / f"{part}.bin").write_bytes(data)
        stated[part] = {"path": f"{part}.bin", "sha256": hashlib.sha256(data).hexdigest()}
    file = home / "watermarkers" / f"{name}.json"
    file.write_text(json.dumps(stated))
    return file


# ---------------------------------------------------------------- message


def soft(payload: int, n: int, key: bytes = KEY) -> np.ndarray:
    return message.write(payload, 64, n, key, "test") * 2.0 - 1.0


@pytest.mark.parametrize("n", [96, 100, 256])
def test_message_comes_back(n: int) -> None:
    found = message.read(soft(0xDEADBEEF12345678, n), 64, KEY, "test")
    assert (found.payload, found.tries, found.repaired) == (0xDEADBEEF12345678, 1, 0)
    assert found.p_value == 2.0**-32


def test_message_repairs_the_doubtful_bits_and_counts_the_tries() -> None:
    bits = soft(42, 96)
    bits[[3, 50, 95]] *= -0.1
    found = message.read(bits, 64, KEY, "test")
    assert (found.payload, found.repaired) == (42, 3)
    assert 3 < found.tries <= 1 << 12
    assert found.p_value == found.tries * 2.0**-32


def test_message_of_another_key_or_of_noise_or_of_a_biased_network_is_none() -> None:
    rng = np.random.default_rng(0)
    biased = np.ones(256)  # a network that says 1 to everything
    tried = [message.read(soft(7, 256), 64, OTHER, "test"), message.read(biased, 64, KEY, "test")]
    tried += [message.read(rng.standard_normal(100), 64, KEY, "test") for _ in range(50)]
    assert all(found.payload is None and found.p_value == 1.0 for found in tried)


def test_false_passes_are_as_rare_as_the_p_value_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a check of 8 bits instead of 32, so that there is something to count."""
    monkeypatch.setattr(message, "CHECK_BITS", 8)
    monkeypatch.setattr(message, "_crc", lambda payload, bits: (payload * 0x1D) % 257 & 0xFF)
    rng = np.random.default_rng(1)
    values = np.ones(64)
    n = 2000
    passed = sum(
        message.read(values, 16, rng.bytes(32), "test", flips=0).payload is not None
        for _ in range(n)
    )
    assert abs(passed / n - 1 / 256) < 4 * np.sqrt(1 / 256 / n)


@pytest.mark.parametrize("bad", [np.full(96, np.nan), np.zeros(10), np.full(96, np.inf)])
def test_message_from_hostile_bits_is_none(bad: np.ndarray) -> None:
    assert message.read(bad, 64, KEY, "test").payload is None


def test_message_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="64 bits"):
        message.write(1 << 64, 64, 256, KEY, "test")
    with pytest.raises(CannotMark, match="16 bits"):
        message.write(1, 64, 16, KEY, "test")
    with pytest.raises(UsageError, match="16 bytes"):
        message.write(1, 64, 256, b"short", "test")


# ---------------------------------------------------------------- weights


def test_missing_weights_say_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"videoseal\.json.*sha256.*watermark-adapters"):
        plugins.load("watermarkers", "videoseal")


def test_weights_are_held_to_their_digest(tmp_path: Path) -> None:
    file = tmp_path / "model.jit"
    file.write_bytes(b"one")
    weights = WeightFile(file, hashlib.sha256(b"two").hexdigest())
    with pytest.raises(UsageError, match="was expected"):
        weights.read()
    file.write_bytes(b"two")
    assert weights.read() == b"two"
    with pytest.raises(MissingExtra, match="cannot be read"):
        WeightFile(tmp_path / "absent", "0" * 64).read()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_refused(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({"weight": [1.0]}, protocol)
    (tmp_path / "model.pth").write_bytes(data)
    file = WeightFile(tmp_path / "model.pth", hashlib.sha256(data).hexdigest())
    with pytest.raises(UsageError, match="pickle"):
        file.read_tensors()


@pytest.mark.parametrize("text", ["", "[]", '{"model": 3}', '{"model": {"path": "x"}}', "{"])
def test_malformed_configuration_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    configured(tmp_path, monkeypatch, "videoseal").write_text(text)
    with pytest.raises(UsageError, match=r"videoseal\.json"):
        Weights.configured("videoseal", ["model"])


# ---------------------------------------------------------------- streams


def test_sampler_stays_bounded_and_spreads_over_the_clip() -> None:
    sampler = pictures.FrameSampler()
    for index in range(300):
        sampler.frame(np.full((33, 47, 3), index % 256, np.uint8), index / 25)
    found = sampler.finish()
    assert found["frames"].shape[1:] == (256, 256, 3)
    assert 16 <= len(found["frames"]) <= pictures.MAX_FRAMES
    assert found["frames_seen"][0] == 300
    assert len(pictures.sampled(found, 256)) == len(found["frames"])


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"frames": "no array"},
        {"frames": np.zeros((2, 256, 256), np.uint8)},
        {"frames": np.zeros((1, 256, 256, 3), np.float32)},
        {"frames": np.zeros((33, 256, 256, 3), np.uint8)},
    ],
)
def test_malformed_squares_are_no_frames(features: dict[str, Any]) -> None:
    assert pictures.sampled(features, 256) == []


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"sound": np.zeros((2, 5), np.float32)},
        {"sound": np.full(9, np.nan, np.float32)},
        {"sound": np.ones(16_000 * 61, np.float32)},
        {"sound": np.zeros(16_000, np.float32)},
    ],
)
def test_malformed_or_silent_sound_is_none(features: dict[str, Any]) -> None:
    assert sounds.heard(features, 16_000).size == 0


def tone_adder(mono: np.ndarray, index: int) -> np.ndarray:
    return np.full_like(mono, 0.01)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (47_999, 1)])
@pytest.mark.parametrize("block", [1000, 70_000])
def test_sound_streams_give_the_same_whatever_the_blocks(
    rate_hz: int, channels: int, block: int
) -> None:
    whole = np.hstack(testing.babble(5.3, rate_hz, 2, channels))
    raw = RawMedia(Kind.AUDIO, samples=[whole], rate_hz=rate_hz, channels=channels)
    mark = some_mark()
    embedder = sounds.ResidualEmbedder(
        tone_adder, mark, raw, network_hz=16_000, core_s=1.0, margin_s=0.25, least_s=1.0
    )
    held, out = 0, []
    for start in range(0, whole.shape[1], block):
        out.append(embedder.samples(whole[:, start : start + block]))
        held = max(held, start + block - sum(part.shape[1] for part in out))
    marked = np.hstack([*out, embedder.flush()])
    assert marked.shape == whole.shape
    assert held <= 1.3 * rate_hz + block  # one core, one margin
    middle = slice(rate_hz // 10, -rate_hz // 10)  # a constant rings at the ends of the sound only
    added = np.where(np.abs(whole) > 0.98, 0.01, marked - whole)[:, middle]
    assert np.abs(added - 0.01).max() < 1e-3
    assert embedder.mark().snr_db == pytest.approx(20, abs=2)


def some_mark() -> Any:
    from avsafe.types import Mark

    return Mark(Kind.AUDIO, "test", 0, 0)


# ---------------------------------------------------------------- VideoSeal


@pytest.fixture(scope="module")
def tiny_videoseal() -> bytes:
    """A TorchScript program with VideoSeal's interface: 16 x 16 cells of a checkerboard."""
    torch = pytest.importorskip("torch")

    cells = torch.arange(256) // 2
    tiny = torch.nn.Module()
    tiny.register_buffer("board", (1.0 - 2.0 * ((cells[:, None] + cells[None]) % 2))[None, None])
    program = torch.jit.script(tiny)
    program.define(
        """
        def embed(self, imgs: Tensor, msgs: Tensor, is_video: bool = False) -> Tensor:
            signs = (2 * msgs - 1).reshape(-1, 1, 16, 16)
            cells = signs.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
            return torch.clamp(imgs + 0.03 * self.board * cells, 0.0, 1.0)
        """
    )
    program.define(
        """
        def detect(self, imgs: Tensor, is_video: bool = False) -> Tensor:
            carried = imgs.mean(dim=1, keepdim=True) * self.board
            found = carried.reshape(-1, 16, 16, 16, 16).mean(dim=[2, 4]).reshape(-1, 256)
            return torch.cat([torch.zeros(len(imgs), 1), found], dim=1)
        """
    )
    buffer = io.BytesIO()
    torch.jit.save(program, buffer)
    return buffer.getvalue()


@pytest.fixture
def videoseal(tiny_videoseal: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    configured(tmp_path, monkeypatch, "videoseal", model=tiny_videoseal)
    return plugins.load("watermarkers", "videoseal")


@pytest.mark.parametrize(("width", "height"), [(384, 288), (333, 257)])
def test_videoseal_keeps_the_contract(videoseal: Any, width: int, height: int) -> None:
    assert videoseal.message_bits == 256
    clip = testing.textured_clip(1.0, width, height, sound=False)
    testing.check_watermarker(videoseal, clip, KEY, OTHER)


def test_videoseal_on_one_frame_and_in_details(videoseal: Any) -> None:
    clip = testing.textured_clip(0.04, 640, 360, sound=False)
    embedder = videoseal.embedder(clip, 99, KEY)
    marked = [embedder.frame(frame) for frame in clip.frames or ()]
    assert len(marked) == 1
    extractor = plugins.load_object(videoseal.extractor)()
    found = videoseal.detect(testing.extract(extractor, clip.with_frames(marked)), KEY)
    assert found.payload == 99
    assert found.p_value < 1e-6
    assert len(found.details["weights"]["model"]) == 64
    assert found.details["keyless_network"]
    assert not videoseal.detect({}, KEY).present


def test_videoseal_refuses_tiny_pictures_and_other_programs(
    videoseal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = testing.textured_clip(1.0, 32, 24, sound=False)
    testing.check_refuses(videoseal, tiny, KEY)
    configured(tmp_path / "other", monkeypatch, "videoseal", model=b"no program")
    other = plugins.load("watermarkers", "videoseal")
    with pytest.raises(UsageError, match="TorchScript"):
        other.embedder(testing.textured_clip(0.1, 384, 288, sound=False), 1, KEY)


# ---------------------------------------------------------------- TrustMark


def onnx_model(inputs: dict[str, list[int]], output: list[int], nodes: list, consts: dict) -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **more) for op, ins, outs, more in nodes],
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("output", kind, output)],
        [onnx.numpy_helper.from_array(value, name) for name, value in consts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def carrier(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A fine wave ``(side, side)``, and which of ten cells each line is in ``(side, 10)``."""
    place = (np.arange(side) + 0.5) / side
    wave = np.sin(2 * np.pi * 40 * place)
    cells = (np.floor(place * 10)[:, None] == np.arange(10)).astype(np.float32)
    return np.outer(wave, wave).astype(np.float32), cells


@pytest.fixture
def trustmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("onnxruntime")
    board, cells = carrier(256)
    encoder = onnx_model(
        {"cover": [1, 3, 256, 256], "secret": [1, 100]},
        [1, 3, 256, 256],
        [
            ("Mul", ["secret", "two"], ["a"], {}),
            ("Sub", ["a", "one"], ["b"], {}),
            ("Reshape", ["b", "grid"], ["c"], {}),
            ("MatMul", ["cells", "c"], ["d"], {}),
            ("MatMul", ["d", "across"], ["e"], {}),
            ("Mul", ["e", "board"], ["f"], {}),
            ("Add", ["cover", "f"], ["output"], {}),
        ],
        {
            "two": np.float32(2),
            "one": np.float32(1),
            "grid": np.array([1, 1, 10, 10], np.int64),
            "cells": cells,
            "across": cells.T.copy(),
            "board": 0.12 * board,
        },
    )
    board, cells = carrier(245)
    decoder = onnx_model(
        {"image": [1, 3, 245, 245]},
        [1, 100],
        [
            ("ReduceMean", ["image"], ["a"], {"axes": [1], "keepdims": 1}),
            ("Mul", ["a", "board"], ["b"], {}),
            ("MatMul", ["across", "b"], ["c"], {}),
            ("MatMul", ["c", "cells"], ["d"], {}),
            ("Reshape", ["d", "line"], ["output"], {}),
        ],
        {
            "board": board,
            "across": cells.T.copy(),
            "cells": cells,
            "line": np.array([1, 100], np.int64),
        },
    )
    configured(tmp_path, monkeypatch, "trustmark", encoder=encoder, decoder=decoder)
    return plugins.load("watermarkers", "trustmark")


@pytest.mark.parametrize(("width", "height"), [(640, 480), (301, 299), (800, 300)])
def test_trustmark_keeps_the_contract(trustmark: Any, width: int, height: int) -> None:
    assert trustmark.message_bits == 100
    testing.check_watermarker(trustmark, testing.still(width, height), KEY, OTHER)


def test_trustmark_marks_only_the_square_of_a_long_picture(trustmark: Any) -> None:
    wide = testing.still(900, 300)
    frame = next(iter(wide.frames or ()))
    marked = trustmark.embedder(wide, 5, KEY).frame(frame)
    changed = np.flatnonzero((marked != frame).any(axis=(0, 2)))
    assert 300 <= changed.min() < 320
    assert 580 < changed.max() < 600


def test_trustmark_refuses_pickles_and_tiny_pictures(
    trustmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    testing.check_refuses(trustmark, testing.still(32, 24), KEY)
    bad = pickle.dumps([1])
    configured(tmp_path / "p", monkeypatch, "trustmark", encoder=bad, decoder=bad)
    with pytest.raises(UsageError, match="pickle"):
        plugins.load("watermarkers", "trustmark").embedder(testing.still(300, 300), 1, KEY)
    configured(tmp_path / "g", monkeypatch, "trustmark", encoder=b"garbage", decoder=b"garbage")
    with pytest.raises(UsageError, match="ONNX"):
        plugins.load("watermarkers", "trustmark").embedder(testing.still(300, 300), 1, KEY)


# ---------------------------------------------------------------- AudioSeal


def tones(torch: Any) -> Any:
    """32 frequencies, two a bit: ``(32,)`` in cycles a sample."""
    return (4000 + 120 * torch.arange(32)) / audioseal.RATE_HZ


class TinyGenerator:
    """``get_watermark`` of AudioSeal: of two tones a bit, the one that is its value."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def get_watermark(self, x: Any, sample_rate: int, message: Any) -> Any:
        torch = self.torch
        assert sample_rate == audioseal.RATE_HZ
        assert message.shape == (1, 16)
        chosen = tones(torch)[2 * torch.arange(16) + message[0]]
        t = torch.arange(x.shape[-1])
        return 0.01 * torch.sin(2 * np.pi * chosen[:, None] * t).sum(dim=0)[None, None]


def tiny_detector(torch: Any) -> Any:
    """``detector`` of AudioSeal: which of the two tones is louder around each sample."""
    n = 1024
    t = torch.arange(n)
    window = torch.hann_window(n)
    angle = 2 * np.pi * tones(torch)[:, None] * t
    kernel = torch.cat([torch.cos(angle) * window, torch.sin(angle) * window])[:, None]

    def detector(x: Any) -> Any:
        coarse = torch.nn.functional.conv1d(x, kernel, padding=n // 2, stride=160)
        found = coarse.repeat_interleave(160, dim=2)[..., : x.shape[-1]]
        power = found[:, :32] ** 2 + found[:, 32:] ** 2
        bits = torch.log(power[:, 1::2] + 1e-6) - torch.log(power[:, ::2] + 1e-6)
        return torch.cat([torch.zeros_like(bits[:, :2]), bits], dim=1)

    return SimpleNamespace(detector=detector)


@pytest.fixture
def tiny_audioseal(monkeypatch: pytest.MonkeyPatch) -> audioseal.AudioSeal:
    torch = pytest.importorskip("torch")
    pytest.importorskip("audioseal")
    monkeypatch.setattr(audioseal.AudioSeal, "_generator", TinyGenerator(torch))
    monkeypatch.setattr(audioseal.AudioSeal, "_detector", tiny_detector(torch))
    return audioseal.AudioSeal(Weights("audioseal", {}))


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_audioseal_keeps_the_contract(tiny_audioseal: audioseal.AudioSeal, rate_hz: int) -> None:
    testing.check_watermarker(tiny_audioseal, testing.sound_only(9.0, rate_hz), KEY, OTHER)


def test_audioseal_finds_its_word_in_a_cut(tiny_audioseal: audioseal.AudioSeal) -> None:
    raw = testing.sound_only(13.0)
    embedder = tiny_audioseal.embedder(raw, 0xCAFE1234, KEY)
    marked = np.hstack([*map(embedder.samples, raw.samples or ()), embedder.flush()])
    cut = raw.with_samples([marked[:, round(2.37 * 48_000) : round(11.9 * 48_000)]])
    found = tiny_audioseal.detect(testing.extract(sounds.SoundSampler(), cut), KEY)
    assert found.payload == 0xCAFE1234
    assert found.p_value <= 1e-6
    assert not tiny_audioseal.detect({}, KEY).present


def test_audioseal_refuses_short_and_silent_sound(tiny_audioseal: audioseal.AudioSeal) -> None:
    testing.check_refuses(tiny_audioseal, testing.sound_only(3.0), KEY)
    silent = testing.sound_only(1.0).with_samples([np.zeros((1, 480_000), np.float32)])
    testing.check_refuses(tiny_audioseal, silent, KEY)


def test_audioseal_networks_load_from_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's own networks with untrained weights: they load, run, and find no mark."""
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    loader = pytest.importorskip("audioseal.loader")
    builder = importlib.import_module("audioseal.builder")
    torch.manual_seed(0)
    cards = loader.load_local_model_config

    def small(name: str) -> Any:
        card = cards(name)
        card["seanet"]["n_filters"], card["seanet"]["dimension"] = 4, 16
        return card

    monkeypatch.setattr(loader, "load_local_model_config", small)
    parts: dict[str, bytes] = {}
    for part, card, kind, create in (
        ("generator", "audioseal_wm_16bits", builder.AudioSealWMConfig, builder.create_generator),
        (
            "detector",
            "audioseal_detector_16bits",
            builder.AudioSealDetectorConfig,
            builder.create_detector,
        ),
    ):
        config = {
            k: v for k, v in loader.load_local_model_config(card).items() if k != "checkpoint"
        }
        model = create(loader.AudioSeal.parse_config(config, config_type=kind, nbits=16))
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        parts[part] = safetensors.save(state)
    configured(tmp_path, monkeypatch, "audioseal", **parts)
    marker = plugins.load("watermarkers", "audioseal")
    raw = testing.sound_only(5.0, 16_000)
    embedder = marker.embedder(raw, 7, KEY)
    marked = np.hstack([*map(embedder.samples, raw.samples or ()), embedder.flush()])
    assert marked.shape == (1, 80_000)
    found = marker.detect(testing.extract(sounds.SoundSampler(), raw), KEY)
    assert not found.present
    assert 0 <= found.details["share_marked"] <= 1
    configured(tmp_path / "bad", monkeypatch, "audioseal", generator=b"bad", detector=b"bad")
    with pytest.raises(UsageError, match="safetensors"):
        plugins.load("watermarkers", "audioseal").embedder(raw, 7, KEY).samples(
            np.hstack(list(raw.samples or ()))
        )


# ---------------------------------------------------------------- Perth


@pytest.fixture
def marker() -> perth.Perth:
    try:
        return perth.Perth()
    except MissingExtra as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (44_100, 2), (8_000, 1)])
def test_perth_says_yes_to_its_mark_and_no_without(
    marker: perth.Perth, rate_hz: int, channels: int
) -> None:
    blocks = testing.babble(6.0, rate_hz, 3, channels)
    raw = RawMedia(Kind.AUDIO, samples=blocks, rate_hz=rate_hz, channels=channels)
    embedder = marker.embedder(raw, 0, KEY)
    marked = np.hstack([*map(embedder.samples, blocks), embedder.flush()])
    assert marked.shape == np.hstack(blocks).shape
    assert 10 < (embedder.mark().snr_db or 0) < 40
    testing.check_watermarker(marker, raw, KEY, OTHER)
    found, none = (
        marker.detect(testing.extract(perth.PerthSampler(), media), KEY)
        for media in (raw.with_samples([marked]), raw)
    )
    assert 1 / (perth.NULL_N + 1) <= found.p_value < 0.01
    assert none.p_value == 1.0


def test_the_contract_sees_a_keyed_mark_of_no_bits_that_any_key_finds(
    marker: perth.Perth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the check itself: the wrong key counts unless the mark says keyless."""
    raw = testing.sound_only(6.0)
    plain = marker.detect

    def silent_about_it(features: Any, key: bytes) -> Any:
        found = plain(features, key)
        return replace(found, details={**found.details, "keyless_network": False})

    monkeypatch.setattr(marker, "detect", silent_about_it)
    with pytest.raises(AssertionError, match="a mark where there is none"):
        testing.check_watermarker(marker, raw, KEY, OTHER)


def test_perth_ranks_among_the_scores_of_the_report() -> None:
    """The constants are those of the measured file: its number of pieces, its highest scores."""
    file = Path(__file__).parents[2] / "reports" / "watermark_peers" / "perth_null.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["whole"] == "False"]
    scores = sorted((float(row["unmarked"]) for row in rows), reverse=True)
    assert len(scores) == perth.NULL_N
    assert tuple(score for score in scores if score > perth.THRESHOLD) == perth.NULL_TOP


def test_perth_pretends_no_payload_and_refuses_silence(marker: perth.Perth) -> None:
    raw = testing.sound_only(3.0)
    with pytest.raises(UsageError, match="no payload"):
        marker.embedder(raw, 1, KEY)
    embedder = marker.embedder(raw, 0, KEY)
    embedder.samples(np.zeros((1, 480_000), np.float32))
    embedder.flush()
    with pytest.raises(CannotMark, match="silent"):
        embedder.mark()
    assert not marker.detect({"sound": np.zeros(64_000, np.float32)}, KEY).present


@pytest.mark.filterwarnings("ignore")
def test_perth_agrees_with_its_own_package(marker: perth.Perth) -> None:
    try:
        theirs = importlib.import_module("perth").PerthImplicitWatermarker
    except (ImportError, OSError):
        theirs = None
    if theirs is None:
        pytest.skip("perth's own package needs torchaudio and librosa")
    sound = np.hstack(testing.babble(4.0, perth.RATE_HZ, 5))[0]
    marked = np.asarray(theirs().apply_watermark(sound, sample_rate=perth.RATE_HZ))
    ours = sound + marker._residual(sound)
    np.testing.assert_allclose(ours[: marked.size], marked, atol=1e-5)
    for one in (sound, marked):
        score = float(theirs().get_watermark(one, sample_rate=perth.RATE_HZ, round=False))
        assert marker.score(one) == pytest.approx(score, abs=1e-4)
