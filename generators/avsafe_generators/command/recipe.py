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

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError
from avsafe.types import Task
from avsafe_generators.command import shipped
from avsafe_generators.command.template import PLACEHOLDERS, names, parse_argv
from avsafe_generators.listed import content_of

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
    folder: str | None = None  # working folder; by default the private one of the run
    # Of a program that names its files itself: the one in {output_dir} that matches ``take`` and
    # not ``leave`` is its output.
    take: str | None = None
    leave: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)  # of placeholders without a value
    link_inputs: bool = False  # the program sees links in its private folder, not the input's own

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
OF_A_REQUEST = _NUMBERS | {"argv", "suffix", "recipe", "checkout", "python"}
_OF_A_RECIPE = frozenset(("recipe", "checkout", "python"))


def from_parameters(parameters: Mapping[str, Any]) -> Recipe:
    """A recipe that the request itself brings. Raises UsageError."""
    return _recipe({key: value for key, value in parameters.items() if key in OF_A_REQUEST})


def from_file(path: Path, name: str) -> Recipe:
    """The command ``name`` of a TOML file.

    Raises UsageError when the file is absent, malformed, has no such command, or can be written by
    other users (then anyone could choose what runs).
    """
    content = content_of(path, "command file")
    commands = content.get("commands")
    if not isinstance(commands, dict) or not isinstance(commands.get(name), dict):
        known = ", ".join(sorted(commands)) if isinstance(commands, dict) else "none"
        raise UsageError(f"{path} has no command {name!r} (found: {known}).")
    return _recipe({"name": name, **commands[name]})


def _recipe(values: Mapping[str, Any]) -> Recipe:
    values = _with_shipped(values)
    known = {item.name for item in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"Unknown key {', '.join(unknown)} (known: {', '.join(sorted(known))}).")
    if "argv" not in values:
        raise UsageError(
            "Nothing to run. Give --param argv='make-video --prompt={prompt} --out={output}', or "
            "--param config=FILE.toml --param name=NAME, or a recipe that comes with avsafe "
            f"({', '.join(shipped.names())}): --param recipe=NAME --param checkout=FOLDER."
        )
    given: dict[str, Any] = dict(values)
    given["argv"] = parse_argv(values["argv"])
    for key in _NUMBERS & set(given):
        try:
            given[key] = float(given[key])
        except (TypeError, ValueError) as error:
            raise UsageError(f"{key} must be a number, not {given[key]!r}.") from error
    if "output_dir" in frozenset().union(*map(names, given["argv"])) and not (
        given.get("take") or "{output}" in "".join(given["argv"])
    ):
        raise UsageError("A template with {output_dir} alone needs take, such as take = '*.mp4'.")
    for key in (
        "name", "licence", "territory", "realism", "version", "suffix", "folder", "take", "leave",
    ):  # fmt: skip
        if key in given and not isinstance(given[key], str):
            raise UsageError(f"{key} must be text, not {given[key]!r}.")
    for key in ("commercial_ok", "link_inputs"):
        if key in given and not isinstance(given[key], bool):
            raise UsageError(f"{key} must be true or false, not {given[key]!r}.")
    if "defaults" in given:
        _check_defaults(given["defaults"])
    if given.get("realism", "stylised") not in ("stylised", "photorealistic"):
        raise UsageError(f"realism is stylised or photorealistic, not {given['realism']!r}.")
    if "env" in given:
        given["env"] = _texts("env", given["env"])
    if "tasks" in given:
        given["tasks"] = tuple(_task(text) for text in _texts("tasks", given["tasks"]))
    return Recipe(**given)


def _with_shipped(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe that comes with avsafe, with what is said beside its name laid over it."""
    if "recipe" not in values:
        if alone := sorted(_OF_A_RECIPE & set(values)):
            raise UsageError(f"{', '.join(alone)} goes with recipe=NAME.")
        return values
    if "argv" in values:
        raise UsageError("Give a recipe or argv, not both.")
    own = {key: value for key, value in values.items() if key not in _OF_A_RECIPE}
    base = shipped.values(str(values["recipe"]), values.get("checkout"), values.get("python"))
    return {**base, **own}


def _check_defaults(value: object) -> None:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise UsageError(f"defaults must be a table of texts, not {value!r}.")
    if unknown := sorted(set(value) - (PLACEHOLDERS - {"output", "output_dir", "prompt_file"})):
        raise UsageError(f"defaults has no placeholder {', '.join(unknown)}.")


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{key} must be a list of strings, not {value!r}.")
    return tuple(value)


def _task(text: str) -> Task:
    if text not in TASKS:
        raise UsageError(f"Unknown task {text!r} (known: {', '.join(TASKS)}).")
    return Task(text)
