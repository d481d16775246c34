"""Small networks, manifests and files for the tests of detectors that a user brings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import plugins
from avsafe.home import Home
from avsafe.qualify.adapter import DetectorAdapter, Model, adapter_of
from avsafe.types import AudioStream, Kind, Media, VideoStream

ADAPTERS = {
    "aasist": "aasist:Aasist",
    "aeroblade": "aeroblade:Aeroblade",
    "d3": "d3:D3",
    "onnx": "onnx_model:OnnxModel",
    "univfd": "univfd:UnivFD",
}
PICTURES = {"side": 16, "fit": "squeeze", "frames": 4}
SOUND = {"rate_hz": 16_000, "samples": 1600, "windows": 3}


def with_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapters of this repository, whatever is installed."""
    known = {
        name: EntryPoint(name, f"avsafe_detectors.adapters.{where}", "avsafe.detector_adapters")
        for name, where in ADAPTERS.items()
    }
    real = plugins.catalogue
    monkeypatch.setattr(
        plugins, "catalogue", lambda kind: known if kind == "detector_adapters" else real(kind)
    )


def manifest(name: str = "toy", **changes: Any) -> dict[str, Any]:
    """A manifest of a network for pictures; ``weights`` still without a digest."""
    return {
        "schema": 1,
        "name": name,
        "adapter": "onnx",
        "modality": "image",
        "weights": {"model": {"path": "model.onnx", "format": "onnx", "sha256": "0" * 64}},
        "input": {"pictures": PICTURES},
        "polarity": "higher is synthetic",
        "licence": "MIT",
        "commercial_ok": True,
        "training_sets": ["none"],
    } | changes


def write(folder: Path, stated: Mapping[str, Any], **parts: bytes) -> Path:
    """A folder with this manifest and these weights, digests filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = json.loads(json.dumps(stated["weights"]))
    for part, data in parts.items():
        (folder / weights[part]["path"]).write_bytes(data)
        weights[part]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({**stated, "weights": weights}))
    return folder


def network(
    shape: Sequence[int | str], outputs: int = 1, *, nodes: Sequence[Any] | None = None,
    domains: Sequence[str] = (), external: bool = False,
) -> bytes:  # fmt: skip
    """ONNX: the mean of the input, given ``outputs`` times as 0, m, 2 m...; or other ``nodes`` from
    "x" to "y"."""
    from onnx import TensorProto, helper

    inner = f"{len(shape)}"
    made = nodes or [
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "scale"], ["y"]),
    ]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [outputs], np.arange(outputs) * 1.0
                               if outputs > 1 else [1.0])  # fmt: skip
    if external:
        scale.ClearField("float_data")
        scale.data_location = TensorProto.EXTERNAL
        entry = scale.external_data.add()
        entry.key, entry.value = "location", "../elsewhere.bin"
    graph = helper.make_graph(
        made,
        f"rank {inner}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [scale],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model.SerializeToString()


def pictures(folder: Path, levels: Sequence[float], *, seed: int = 0, suffix: str = ".jpg") -> Path:
    """One textured picture for each mean level (0..255), each a source of its own."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for n, level in enumerate(levels):
        values = np.clip(rng.normal(level, 12, (96, 96, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{seed}-{n}{suffix}", quality=90)
    return folder


def picture_media(path: Path = Path("p.jpg"), codec: str = "jpeg", side: int = 96) -> Media:
    stream = VideoStream(codec, side, side, None, 1, None, "rgb24")
    return Media(path, "0" * 64, side * side // 4, codec, f"image/{codec}", Kind.IMAGE, stream)


def sound_media(seconds: float = 4.0, codec: str = "pcm_s16le", rate_hz: int = 16_000) -> Media:
    stream = AudioStream(codec, rate_hz, 1, seconds)
    size = round(seconds * rate_hz * 2)
    return Media(
        Path("s.wav"), "0" * 64, size, "wav", "audio/wav", Kind.AUDIO, None, stream, seconds
    )


def state(home: Home) -> list[str]:
    """Every file below the state folder's detectors, temporary ones too."""
    root = home.root / "detectors"
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


# ---------------------------------------------------------------- adapters


def made(folder: Path, stated: Mapping[str, Any], **parts: bytes) -> DetectorAdapter:
    found = adapter_of(Model.load(write(folder, stated, **parts)))
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
