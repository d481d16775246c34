"""Weights that the user gives, and those that ship with a metric: found, named, digested."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from avsafe.errors import MissingExtra


def given_file(weights: Mapping[str, str] | None, name: str, metric: str, what: str) -> Path:
    """The file that ``weights`` has under ``name``. Raises MissingExtra, saying ``what`` is asked.

    >>> given_file(None, "niqe", "niqe", "parameters")
    Traceback (most recent call last):
    avsafe.errors.MissingExtra: niqe needs parameters, which do not ship with avsafe. Give \
weights={"niqe": "PATH"}.
    """
    path = (weights or {}).get(name)
    if not path:
        raise MissingExtra(
            f"{metric} needs {what}, which do not ship with avsafe. "
            f'Give weights={{"{name}": "PATH"}}.'
        )
    file = Path(path).expanduser()
    if not file.is_file():
        raise MissingExtra(
            f'{metric}: there is no file {file}, named as weights "{name}". Give a path to {what}.'
        )
    return file


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
