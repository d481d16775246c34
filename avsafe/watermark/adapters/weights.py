"""Weights that the user names in ``$AVSAFE_HOME/watermarkers/NAME.json``; nothing is downloaded.

::

    {"licence": "MIT", "model": {"path": "y_256b_img.jit", "sha256": "0123..."}}

A relative path is relative to the folder of that file. The digest is asked for because a
TorchScript file is a program: what runs is what its owner has decided to trust, byte for byte.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avsafe.errors import MissingExtra, UsageError
from avsafe.home import Home

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch.save


@dataclass(frozen=True)
class WeightFile:
    """One file of weights and the digest that it must have."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """The file's bytes, digest checked; what is loaded is what was checked.

        Raises MissingExtra when there is no such file, UsageError when the digest is another.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise MissingExtra(
                f"The weights {self.path} cannot be read ({error.strerror}). Put the file there, "
                "or name another in the configuration of the watermarker."
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256.lower():
            raise UsageError(
                f"{self.path.name} has SHA-256 {found}, but {self.sha256} was expected. Use the "
                "file that was configured, or name the new digest if you trust the new file."
            )
        return data

    def read_tensors(self) -> bytes:
        """``read`` for safetensors: a pickle is refused, since reading one can run any program."""
        data = self.read()
        if data.startswith(_PICKLES):
            raise UsageError(
                f"{self.path.name} is a pickle (as torch.save writes). Expected safetensors. "
                "Convert it where you can afford to trust it: see docs/watermark-adapters.md."
            )
        return data


@dataclass(frozen=True)
class Weights:
    """The files of one system by part (``model``, ``encoder``...), and options of the adapter."""

    name: str
    parts: dict[str, WeightFile]
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def configured(cls, name: str, parts: Sequence[str], home: Home | None = None) -> Weights:
        """What ``$AVSAFE_HOME/watermarkers/NAME.json`` says.

        Raises MissingExtra when there is no such file, UsageError when it is not as expected.
        """
        file = (home or Home.default()).root / "watermarkers" / f"{name}.json"
        example = {part: {"path": f"{part}.file", "sha256": "64 hex digits"} for part in parts}
        try:
            stated = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise MissingExtra(
                f"The watermarker {name!r} needs weights, which do not come with avsafe. Get them "
                f"from their authors and write {file}: {json.dumps(example)}. "
                "See docs/watermark-adapters.md."
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} is no readable JSON ({error}).") from error
        found: dict[str, WeightFile] = {}
        for part in parts:
            entry = stated.get(part) if isinstance(stated, dict) else None
            path, digest = (
                (entry.get("path"), entry.get("sha256")) if isinstance(entry, dict) else (0, 0)
            )
            if not isinstance(path, str) or not isinstance(digest, str) or len(digest) != 64:
                raise UsageError(
                    f"{file} names no {part!r} with path and sha256. Expected: "
                    f"{json.dumps(example)}."
                )
            found[part] = WeightFile(file.parent / Path(path).expanduser(), digest)
        return cls(name, found, {k: v for k, v in stated.items() if k not in parts})

    def digests(self) -> dict[str, str]:
        """Part -> SHA-256, for ``Detection.details``."""
        return {part: file.sha256 for part, file in self.parts.items()}


def require(module: str, watermarker: str) -> Any:
    """An optional package; MissingExtra says what to install.

    >>> require("json", "perth").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"The watermarker {watermarker!r} needs the package {error.name!r}, which is not "
            "installed. Install it with: pip install 'avsafe[marks]'."
        ) from error
