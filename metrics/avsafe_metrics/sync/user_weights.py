"""Weights that a user gives: where they lie, their digest, and how they are read (never pickled).

A state dict is read from safetensors, or from a file of torch with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avsafe.errors import MissingExtra


def weight_path(weights: Mapping[str, str], name: str, what: str) -> Path:
    """The file (or folder) given as ``name``. Raises MissingExtra when it is not given or not
    there.

    >>> weight_path({}, "syncnet", "syncnet_v2.model")
    Traceback (most recent call last):
    ...
    avsafe.errors.MissingExtra: No weights "syncnet" were given. Pass weights={"syncnet": "..."}, \
the path of syncnet_v2.model; none are shipped or fetched.
    """
    given = weights.get(name)
    if not given:
        raise MissingExtra(
            f'No weights "{name}" were given. Pass weights={{"{name}": "..."}}, the path of '
            f"{what}; none are shipped or fetched."
        )
    path = Path(given)
    if not path.exists():
        raise MissingExtra(
            f'The weights "{name}" are not at {path}. Pass the path of {what}; none are fetched.'
        )
    return path


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and digests of its files in order."""
    if path.is_dir():
        lines = [
            f"{file.relative_to(path).as_posix()} {digest_of(file)}\n"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_dict_of(path: Path) -> tuple[dict[str, Any], str]:
    """Name -> torch tensor, and the file's digest. Raises MissingExtra when it can't be read."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch is not installed: pip install 'avsafe[bench]'") from error
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise MissingExtra(
            f"{path} cannot be read as a state dict ({type(error).__name__}). Expected safetensors "
            "or a file of torch.save that holds tensors only."
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise MissingExtra(f"{path} holds no state dict: expected names with tensors.")
    return dict(state), digest_of(path)
