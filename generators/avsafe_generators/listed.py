"""Files that an administrator owns: which models and servers there are, and on what terms.

``$AVSAFE_MODELS`` names one TOML file for the generators that run a model of the user's choice::

    [models.wan]                         # for diffusers
    path = "/srv/models/Wan2.2-TI2V-5B"
    licence = "Apache-2.0"
    commercial_ok = true

    [servers.studio]                     # for openai-compatible
    base_url = "https://videos.example.com/v1"
    key_env = "STUDIO_KEY"
    licence = "contract 2026-17"

Where it is set a request only picks a name. Whoever may write the file chooses what runs, so it
must belong to root or to the user and not be writable by others.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError

VARIABLE = "AVSAFE_MODELS"
UNKNOWN_LICENCE = "unknown (user-supplied model)"


@dataclass(frozen=True)
class Terms:
    """What the policy reads of a model. The defaults are the stricter assumptions."""

    licence: str = UNKNOWN_LICENCE
    commercial_ok: bool = False
    territory: str = "worldwide"
    realism: str = "photorealistic"


@dataclass(frozen=True)
class Listed:
    """One entry of the file: its terms, and the settings that are the generator's own."""

    name: str
    terms: Terms
    settings: Mapping[str, Any]


def content_of(path: Path, what: str) -> dict[str, Any]:
    """The TOML of a file that only root or this user can write. Raises UsageError."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            _refuse_writable(path, os.fstat(file.fileno()), what)
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"The {what} {path} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} is not TOML: {error}.") from error


def entries(path: Path, section: str, known: Mapping[str, type]) -> dict[str, Listed]:
    """Every ``[section.NAME]``; ``known`` names the settings and their types.

    Raises UsageError for an unknown key, a value of another type, a section without entries.
    """
    content = content_of(path, "model file").get(section)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{path} has no [{section}.NAME]. Add one, or name another file.")
    return {name: _entry(path, f"{section}.{name}", name, content[name], known) for name in content}


def pick(found: Mapping[str, Listed], name: str, path: Path) -> Listed:
    """One entry by name; the only one needs none. Raises UsageError with the names there are."""
    if not name and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        asked = f"no {name!r}" if name else "several entries: name one"
        raise UsageError(f"{path} has {asked} (found: {', '.join(sorted(found))}).")
    return found[name]


def offered(
    chosen: Listed | None, all_of: Callable[[Path], Mapping[str, Listed]], name: str
) -> tuple[str, Terms]:
    """Name and terms that the policy reads of an adapter: those of its one entry, or the strictest
    of the file that ``$AVSAFE_MODELS`` names, or the defaults."""
    if chosen is not None:
        return chosen.name, chosen.terms
    if fixed := os.environ.get(VARIABLE):
        return name, strictest([item.terms for item in all_of(Path(fixed)).values()])
    return name, Terms()


def strictest(terms: Sequence[Terms]) -> Terms:
    """Terms that hold for all: what a policy may know before it is known which one is used.

    >>> strictest([Terms("MIT", True), Terms("CC-BY-NC-4.0", False)]).commercial_ok
    False
    """
    if not terms:
        return Terms()
    return Terms(
        licence=" or ".join(dict.fromkeys(item.licence for item in terms)),
        commercial_ok=all(item.commercial_ok for item in terms),
        territory=_common([item.territory for item in terms]),
        realism="photorealistic"
        if any(item.realism == "photorealistic" for item in terms)
        else "stylised",
    )


def _common(territories: Sequence[str]) -> str:
    """One territory that lies in all; "not stated" (nowhere) where words don't say it."""
    if len(set(territories)) == 1:
        return territories[0]
    codes: list[str] = []
    for text in territories:
        if text.strip().lower() == "worldwide":
            continue
        match = re.fullmatch(r"worldwide\s+(?:except|excluding|without)\s+(.+)", text.strip(), re.I)
        if match is None:
            return "not stated"
        codes += re.findall(r"[A-Z]+", match[1].upper())
    return f"worldwide except {', '.join(sorted(set(codes)))}"


def _entry(path: Path, label: str, name: str, values: Any, known: Mapping[str, type]) -> Listed:
    if not isinstance(values, dict):
        raise UsageError(f"[{label}] of {path} is no table.")
    types: dict[str, type] = {
        "licence": str, "commercial_ok": bool, "territory": str, "realism": str, **known
    }  # fmt: skip
    for key, value in values.items():
        if key not in types:
            raise UsageError(
                f"[{label}] of {path} has an unknown key {key} (known: {', '.join(sorted(types))})."
            )
        if type(value) is not types[key] and not (types[key] is float and type(value) is int):
            raise UsageError(f"[{label}] of {path}: {key} must be {types[key].__name__}.")
    if values.get("realism", "stylised") not in ("stylised", "photorealistic"):
        raise UsageError(f"[{label}] of {path}: realism is stylised or photorealistic.")
    terms = Terms(**{key: values[key] for key in values if key in Terms.__dataclass_fields__})
    return Listed(name, terms, {key: values[key] for key in values if key in known})


def _refuse_writable(path: Path, status: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"The {what} {path} is not a regular file.")
    if status.st_uid not in (0, os.getuid()):
        raise UsageError(
            f"The {what} {path} belongs to another user; only root's or your own count."
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"The {what} {path} can be written by others, who could choose what runs. "
            f"Run: chmod go-w {path}"
        )
