"""What a user may say of weights, and what is refused: every mistake named by its place."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from avsafe.errors import UsageError
from avsafe.qualify import onnx_file, weights
from avsafe.qualify.adapter import Model
from avsafe.qualify.manifest import Manifest, Output, Weight, digest_of, parse
from avsafe.types import Kind
from tests import detector_kit as kit


def parsed(**changes: Any) -> Manifest:
    return parse(json.dumps(kit.manifest(**changes)).encode())


def test_a_plain_manifest_and_what_it_leaves_out() -> None:
    found = parsed()
    assert (found.kinds, found.sign, found.output) == ((Kind.IMAGE,), 1.0, Output())
    assert found.pictures is not None
    assert (found.pictures.height, found.pictures.mean, found.pictures.frames) == (
        16,
        (0.0,) * 3,
        4,
    )
    assert found.content == ()
    speech = parsed(modality="speech", input={"sound": {"rate_hz": 16000, "window_s": 2}})
    assert (speech.kinds, speech.content) == ((Kind.AUDIO, Kind.VIDEO), ("speech",))
    assert speech.sound is not None
    assert speech.sound.samples == 32_000
    assert parsed(polarity="higher is real").sign == -1.0


def test_the_digest_is_of_what_is_said_not_of_how_it_is_written() -> None:
    stated = kit.manifest()
    turned = dict(reversed(stated.items()))
    assert parse(json.dumps(stated).encode()).digest == digest_of(turned)
    assert parsed().digest != parsed(polarity="higher is real").digest


def weights_at(path: str, form: str = "onnx", **more: Any) -> dict[str, Any]:
    return {"weights": {"model": {"path": path, "format": form, "sha256": "0" * 64, **more}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "schema is a whole number from 1 to 1, not 2"),
        ({"schema": True}, "schema is a whole number"),
        ({"name": "../evil"}, "name is a name of small letters"),
        ({"name": "a" * 41}, "name is"),
        ({"name": 7}, "name is"),
        ({"name": "all"}, "has a meaning of its own"),
        ({"adapter": ""}, "adapter is"),
        ({"modality": "smell"}, "modality is one of speech, image"),
        ({"kinds": []}, "kinds is empty"),
        ({"kinds": ["image", "image"]}, "without repetition"),
        ({"kinds": "image"}, "kinds is a list"),
        ({"polarity": "up"}, "polarity is one of higher is synthetic, higher is real"),
        ({"polarty": "higher is real"}, "polarty means nothing here"),
        ({"licence": "MIT\n\x1b[31m"}, "licence is one line of text"),
        ({"commercial_ok": "yes"}, "commercial_ok is true or false, not yes"),
        ({"training_sets": [1]}, "training_sets is a list of texts"),
        ({"source": {"url": "file:///etc/passwd"}}, "source.url is a web address"),
        ({"source": {"hub": "someone/model"}}, "source.hub is id@revision"),
        ({"options": []}, "options is an object"),
        ({"weights": {}}, "weights is empty"),
        ({"weights": []}, "weights is an object"),
        (weights_at("/etc/passwd"), "a file inside the folder"),
        (weights_at("../model.onnx"), "a file inside the folder"),
        (weights_at("a/../../model.onnx"), "a file inside the folder"),
        (weights_at("a//model.onnx"), "a file inside the folder"),
        (weights_at("a\\model.onnx"), "a file inside the folder"),
        (weights_at(".hidden/model.onnx"), "a file inside the folder"),
        (weights_at("C:model.onnx"), "a file inside the folder"),
        (weights_at("manifest.json"), "a file inside the folder"),
        (weights_at("model.pth", "safetensors"), "is a pickle, which may run any program"),
        (weights_at("model.PT", "safetensors"), "is a pickle"),
        (weights_at("model.onnx", "pickle"), "format is one of onnx, safetensors"),
        (weights_at("model.onnx", extra=1), "extra means nothing here"),
        ({"weights": {"model": {"path": "x", "format": "onnx"}}}, "sha256 is missing"),
        ({"weights": {"model": {"path": "x", "format": "onnx", "sha256": "ab"}}}, "64 hex digits"),
        ({"weights": {"m/../x": {}}}, "is no name of a part"),
        ({"input": {"smell": {}}}, "input.smell means nothing here"),
        ({"input": {"pictures": {"side": 1e9}}}, "side is a whole number from 8 to 2048"),
        ({"input": {"pictures": {"side": 16, "std": [0, 0, 0]}}}, "std is a list of 3 numbers"),
        ({"input": {"pictures": {"side": 16, "mean": [0.5]}}}, "mean is a list of 3 numbers"),
        ({"input": {"pictures": {"side": 16, "frames": 10_000}}}, "frames is a whole number"),
        ({"input": {"sound": {"rate_hz": 16000}}}, "window_s is missing"),
        ({"input": {"sound": {"rate_hz": 16000, "window_s": 1e308}}}, "window_s is a number"),
        ({"output": {"index": 1, "minus": 1}}, "every score would be 0"),
        ({"output": {"index": -1}}, "index is a whole number from 0"),
    ],
)
def test_a_mistake_is_named_by_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"manifest\.json") as caught:
        parsed(**changes)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no readable JSON"),
        (b"\xff\xfe", "no readable JSON"),
        (b"[]", "holds a list"),
        (b"[" * 60_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "a stands there twice"),
        (b'{"schema": NaN}', "NaN is no number"),
        (b" " * 70_000, "at most 65536"),
        (b'{"schema": 1' + b"0" * 5000 + b"}", "JSON"),
    ],
)
def test_a_text_that_is_no_manifest(text: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(text)


@pytest.mark.parametrize("missing", ["name", "weights", "polarity", "licence", "training_sets"])
def test_what_must_be_said(missing: str) -> None:
    stated = kit.manifest()
    del stated[missing]
    with pytest.raises(UsageError, match=f"{missing} is missing"):
        parse(json.dumps(stated).encode())


# ---------------------------------------------------------------- files of weights


def model_in(folder: Path, data: bytes) -> Model:
    return Model.load(kit.write(folder, kit.manifest(), model=data))


def test_what_is_read_is_what_was_named(tmp_path: Path) -> None:
    data = kit.network([1, 3, 16, 16])
    model = model_in(tmp_path / "d", data)
    assert model.read() == data
    (tmp_path / "d" / "model.onnx").write_bytes(data + b"\0")
    with pytest.raises(UsageError, match=r"has SHA-256 .* but the manifest names"):
        model.read()


def test_links_and_other_things_are_no_weights(tmp_path: Path) -> None:
    data = kit.network([1, 3, 16, 16])
    model = model_in(tmp_path / "d", data)
    file = tmp_path / "d" / "model.onnx"
    file.rename(tmp_path / "outside.onnx")
    with pytest.raises(UsageError, match="can't be read"):
        model.read()
    file.symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(UsageError, match="a link"):
        model.read()
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UsageError, match="no plain file"):
        model.read()
    weight = Weight("deep/model.onnx", "onnx", model.part("model").sha256)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "model.onnx").write_bytes(data)
    (tmp_path / "d" / "deep").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="a link"):
        weights.read(tmp_path / "d", weight)


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        (b"", "onnx", "has 0 bytes"),
        (b"not a network", "onnx", "no ONNX model"),
        (b"\x08\x07", "onnx", "holds no operator"),
        (b"\x3a\xff\xff\xff\xff\x7f", "onnx", "no ONNX model"),
        (pickle.dumps({"a": 1}), "safetensors", "is a pickle"),
        (b"PK\x03\x04" + bytes(50), "safetensors", "is a pickle"),
        (b"PK\x03\x04" + bytes(50), "onnx", "is a pickle"),
        (b"\xff" * 64, "safetensors", "no header"),
        (b"\x05\0\0\0\0\0\0\0nope!", "safetensors", "no JSON"),
        (b"\x02\0\0\0\0\0\0\0{}", "safetensors", "with tensors"),
    ],
)
def test_bytes_of_another_format(data: bytes, form: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        weights.check(data, Weight("w", form, "0" * 64))


def test_onnx_that_needs_other_files_or_programs_is_refused() -> None:
    from onnx import TensorProto, helper

    onnx_file.check(kit.network([1, 3, 16, 16]), "good")
    with pytest.raises(UsageError, match=r"in other files .scale"):
        onnx_file.check(kit.network([1, 3, 16, 16], external=True), "m")
    custom = [helper.make_node("Trick", ["x"], ["y"], domain="org.evil")]
    with pytest.raises(UsageError, match=r"does not bring: org.evil.Trick"):
        onnx_file.check(kit.network([1], nodes=custom, domains=["org.evil"]), "m")
    context = [helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")]
    with pytest.raises(UsageError, match=r"com.microsoft.EPContext"):
        onnx_file.check(kit.network([1], nodes=context), "m")
    # One that hides in a branch of an If.
    branch = helper.make_graph(
        [helper.make_node("Trick", [], ["z"], domain="org.evil")], "b", [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )  # fmt: skip
    hidden = [helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]
    with pytest.raises(UsageError, match=r"org.evil.Trick"):
        onnx_file.check(kit.network([1], nodes=hidden), "m")
    # A constant whose tensor lies elsewhere.
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    constant = [helper.make_node("Constant", [], ["y"], value=tensor)]
    with pytest.raises(UsageError, match="in other files"):
        onnx_file.check(kit.network([1], nodes=constant), "m")


def test_a_cut_model_never_passes_for_a_whole_one_or_hangs() -> None:
    data = kit.network([1, 3, 16, 16])
    for end in range(1, len(data), 7):
        try:
            found = onnx_file.contents(data[:end])
        except (ValueError, IndexError):
            continue
        assert not found.foreign


def test_probabilities_become_log_odds_and_logits_stay() -> None:
    import numpy as np

    assert Output(1, 0).of(np.array([1.0, 4.0])) == 3.0
    half = Output(scale="probability")
    assert half.of(np.array([0.5])) == 0.0
    assert 16 < half.of(np.array([1.0])) < 17
    with pytest.raises(UsageError, match="no probability"):
        half.of(np.array([3.0]))
    with pytest.raises(UsageError, match="none of them"):
        Output(2).of(np.zeros(2))
