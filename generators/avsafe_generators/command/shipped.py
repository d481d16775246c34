"""The recipes that come with avsafe: command lines of systems that many run from a checkout.

A recipe is data: what the repository's own README says to type, with its licence, where that was
read, and how to set it up. Nothing of those systems comes with avsafe.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from avsafe.errors import UsageError

# For people; the rest are fields of a Recipe.
_ABOUT = frozenset(("summary", "url", "read", "setup", "limits", "needs"))
_OWN = re.compile(r"\{(python|checkout)\}")


@cache
def names() -> tuple[str, ...]:
    """The names of all recipes, sorted."""
    folder = files("avsafe_generators.command") / "recipes"
    found = [item.name for item in folder.iterdir() if item.name.endswith(".toml")]
    return tuple(sorted(name.removesuffix(".toml") for name in found))


def content(name: str) -> dict[str, Any]:
    """Everything that the file of a recipe says. Raises UsageError for an unknown name.

    >>> content("mmaudio")["commercial_ok"]
    False
    """
    if name not in names():
        raise UsageError(f"There is no recipe {name!r} (there are: {', '.join(names())}).")
    file = files("avsafe_generators.command") / "recipes" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def values(name: str, checkout: object, python: object) -> dict[str, Any]:
    """The fields of a Recipe, for a checkout on this machine and the interpreter that runs it.

    Raises UsageError when the folder isn't there or doesn't look like that system.
    """
    said = content(name)
    for key, value in (("checkout", checkout), ("python", python)):
        if value is not None and (not isinstance(value, str) or not value or "\0" in value):
            raise UsageError(f"{key} must be a path, not {value!r}.")
    if checkout is None:
        raise UsageError(
            f"The recipe {name} needs --param checkout=FOLDER, a clone of {said['url']}. "
            f"How to set it up: avsafe generators show {name}"
        )
    folder = Path(str(checkout)).expanduser().absolute()
    for needed in said["needs"]:
        if not (folder / needed).exists():
            raise UsageError(
                f"{folder} has no {needed}, so it is no complete checkout of {name}. How to set it "
                f"up: avsafe generators show {name}"
            )
    own = {"python": str(python or "python3"), "checkout": str(folder)}
    fields = {key: value for key, value in said.items() if key not in _ABOUT}
    fields["argv"] = [_OWN.sub(lambda match: _literal(own[match[1]]), e) for e in said["argv"]]
    return {"name": name, "folder": str(folder), "link_inputs": True, **fields}


def described() -> tuple[Mapping[str, Any], ...]:
    """Every recipe for a listing: what the policy reads, and how to set it up."""
    return tuple({"name": name, **content(name)} for name in names())


def _literal(path: str) -> str:
    return path.replace("{", "{{").replace("}", "}}")
