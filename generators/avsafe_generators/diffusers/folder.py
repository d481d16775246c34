"""What of a model folder may be loaded: known classes, safetensors, no code. Imports nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError

INDEX = "model_index.json"
# Formats that run code when they are read (pickle), or that nobody here checks.
REFUSED = frozenset((
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".msgpack", ".h5", ".pb", ".onnx",
    ".so", ".dll", ".dylib", ".py", ".pyc", ".sh",
))  # fmt: skip
_CONFIGS = frozenset((
    "config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
    "generation_config.json", "video_preprocessor_config.json",
))  # fmt: skip
_MAX_JSON_BYTES = 4 << 20
_MAX_FILES = 2000


@dataclass(frozen=True)
class ModelFolder:
    """A folder that was looked at: the name of its pipeline, and (library, class) of each part."""

    path: Path
    pipeline: str
    parts: Mapping[str, tuple[str, str]]
    options: Mapping[str, Any]


def inspect(path: Path) -> ModelFolder:
    """Look at a folder as ``save_pretrained`` writes it, before anything of it is loaded.

    Raises UsageError for a folder without ``model_index.json``, for pickled weights and for code,
    whether as a file or as an ``auto_map`` entry.
    """
    index = path / INDEX
    if not index.is_file():
        raise UsageError(
            f"{path} has no {INDEX}, so it is no diffusers pipeline. Name the folder that holds "
            "it; a model as a single file must be converted with diffusers first."
        )
    _refuse_files(path)
    content = _json(index)
    name = content.get("_class_name")
    if not isinstance(name, str) or not name.isidentifier():
        raise UsageError(
            f"{index} names no pipeline class of diffusers (it says {name!r}). Folders that bring "
            "their own pipeline code are not loaded."
        )
    parts: dict[str, tuple[str, str]] = {}
    options: dict[str, Any] = {}
    for key, value in content.items():
        if key.startswith("_"):
            continue
        if isinstance(value, list):
            part = _part(index, key, value)
            if part is not None:
                parts[key] = part
        else:
            options[key] = value
    return ModelFolder(path, name, parts, options)


def _part(index: Path, key: str, value: list[Any]) -> tuple[str, str] | None:
    if value[:2] == [None, None]:
        return None
    names = value[:2]
    if len(names) != 2 or not all(isinstance(n, str) and n.isidentifier() for n in names):
        raise UsageError(
            f"{index}: the part {key} is {value!r}; expected a library and one of its classes. "
            "Code of the folder's own, or of other packages, is not loaded."
        )
    return names[0], names[1]


def _refuse_files(path: Path) -> None:
    seen = 0
    for root, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name not in (".git", ".cache")]
        if linked := [name for name in folders if Path(root, name).is_symlink()]:
            raise UsageError(
                f"{Path(root, linked[0])} is a link to a folder, whose files would be loaded "
                "without a look at them. Put the folder itself there (links to files are fine)."
            )
        for name in files:
            seen += 1
            if seen > _MAX_FILES:
                raise UsageError(f"{path} holds more than {_MAX_FILES} files: not one pipeline.")
            file = Path(root, name)
            if file.suffix.lower() in REFUSED:
                what = "code" if file.suffix.lower() in (".py", ".pyc", ".sh") else "weights"
                raise UsageError(
                    f"{file} is {what} in a format that can run anything when it is loaded; only "
                    "safetensors are. Remove it, or convert the weights: "
                    "pipeline.save_pretrained(folder, safe_serialization=True)."
                )
            if name in _CONFIGS and "auto_map" in _json(file):
                raise UsageError(
                    f"{file} asks for code of the folder's own (auto_map), which is not loaded. "
                    "Use a model whose classes are part of diffusers and transformers."
                )


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise UsageError(f"{path} is larger than {_MAX_JSON_BYTES} bytes: no configuration.")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} can't be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no JSON object.")
    return content
