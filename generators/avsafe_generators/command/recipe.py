"""What to run and with which limits: from the parameters of a request, or from a TOML file.

A file that an administrator owns is the safer source: then a request only picks a name::

    [commands.foley]
    argv = ["foley", "--video={video}", "--prompt={prompt}", "--out={output}"]
    tasks = ["video-to-audio"]
    licence = "CC-BY-NC-4.0"       # what the policy reads
    commercial_ok = false
    suffix = ".mp4"
    timeout_s = 900
    memory_gib = 24
    env = ["CUDA_VISIBLE_DEVICES"]
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError
from avsafe.types import Task
from avsafe_generators.command.template import parse_argv

UNKNOWN_LICENCE = "unknown (user-supplied program)"
TASKS = tuple(task for task in Task if task is not Task.RELEASE)
_GIB = 2**30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Recipe:
    """One program with its limits."""

    argv: tuple[str, ...]
    name: str = "command"
    tasks: tuple[Task, ...] = TASKS
    licence: str = UNKNOWN_LICENCE
    commercial_ok: bool = False  # an unknown licence promises nothing
    territory: str = "worldwide"
    realism: str = "photorealistic"  # the stricter assumption
    version: str = "unknown"
    suffix: str | None = None  # of {output}; by default .mp4, .png for images
    timeout_s: float = 600.0
    cpu_s: float = 7200.0  # per process
    memory_gib: float = 64.0  # writable memory per process; reserved addresses (CUDA) don't count
    file_gib: float = 8.0  # per file, and all that the program leaves in its folder
    env: tuple[str, ...] = ()  # variables to pass on beside the usual ones

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"{self.name!r} is no name for a command (letters, digits, . _ -).")
        if self.suffix is not None and not re.fullmatch(r"\.[a-z0-9]{1,5}", self.suffix):
            raise UsageError(f"suffix {self.suffix!r} is no file ending such as .mp4 or .wav.")
        for key in ("timeout_s", "cpu_s", "memory_gib", "file_gib"):
            if not 0 < getattr(self, key) < 1e9:  # also false for NaN
                raise UsageError(f"{key} must be a positive number, not {getattr(self, key)}.")

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * _GIB)

    @property
    def file_bytes(self) -> int:
        return int(self.file_gib * _GIB)


_NUMBERS = frozenset(("timeout_s", "cpu_s", "memory_gib", "file_gib"))
# What a request may say itself; licence, realism and environment are for a file to say.
OF_A_REQUEST = _NUMBERS | {"argv", "suffix"}


def from_parameters(parameters: Mapping[str, Any]) -> Recipe:
    """A recipe that the request itself brings. Raises UsageError."""
    return _recipe({key: value for key, value in parameters.items() if key in OF_A_REQUEST})


def from_file(path: Path, name: str) -> Recipe:
    """The command ``name`` of a TOML file.

    Raises UsageError when the file is absent, malformed, has no such command, or can be written by
    other users (then anyone could choose what runs).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            _refuse_writable(path, os.fstat(file.fileno()))
            content = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"The command file {path} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The command file {path} is not TOML: {error}.") from error
    commands = content.get("commands")
    if not isinstance(commands, dict) or not isinstance(commands.get(name), dict):
        known = ", ".join(sorted(commands)) if isinstance(commands, dict) else "none"
        raise UsageError(f"{path} has no command {name!r} (found: {known}).")
    return _recipe({"name": name, **commands[name]})


def _refuse_writable(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"The command file {path} is not a regular file.")
    if status.st_uid not in (0, os.getuid()):
        raise UsageError(
            f"The command file {path} belongs to another user; only root's or your own count."
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"The command file {path} can be written by others, who could choose what runs. "
            f"Run: chmod go-w {path}"
        )


def _recipe(values: Mapping[str, Any]) -> Recipe:
    known = {item.name for item in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"Unknown key {', '.join(unknown)} (known: {', '.join(sorted(known))}).")
    if "argv" not in values:
        raise UsageError(
            "Nothing to run. Give --param argv='make-video --prompt={prompt} --out={output}', or "
            "--param config=FILE.toml --param name=NAME."
        )
    given: dict[str, Any] = dict(values)
    given["argv"] = parse_argv(values["argv"])
    for key in _NUMBERS & set(given):
        try:
            given[key] = float(given[key])
        except (TypeError, ValueError) as error:
            raise UsageError(f"{key} must be a number, not {given[key]!r}.") from error
    for key in ("name", "licence", "territory", "realism", "version", "suffix"):
        if key in given and not isinstance(given[key], str):
            raise UsageError(f"{key} must be text, not {given[key]!r}.")
    if "commercial_ok" in given and not isinstance(given["commercial_ok"], bool):
        raise UsageError(f"commercial_ok must be true or false, not {given['commercial_ok']!r}.")
    if given.get("realism", "stylised") not in ("stylised", "photorealistic"):
        raise UsageError(f"realism is stylised or photorealistic, not {given['realism']!r}.")
    if "env" in given:
        given["env"] = _texts("env", given["env"])
    if "tasks" in given:
        given["tasks"] = tuple(_task(text) for text in _texts("tasks", given["tasks"]))
    return Recipe(**given)


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{key} must be a list of strings, not {value!r}.")
    return tuple(value)


def _task(text: str) -> Task:
    if text not in TASKS:
        raise UsageError(f"Unknown task {text!r} (known: {', '.join(TASKS)}).")
    return Task(text)
