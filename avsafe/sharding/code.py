"""The files whose change makes old rows worthless: a plugin's code and what it imports.

Modules are read for their imports and not run. Data beside the code (weights, tables) count too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

from avsafe.types import Detector

_DATA = frozenset((".safetensors", ".npz", ".npy", ".json", ".onnx", ".csv", ".txt", ".yaml"))


def of_detector(one: Detector) -> set[Path]:
    """The code of a detector and of its extractors."""
    modules = {type(one).__module__}
    modules |= {target.partition(":")[0] for target in one.extractors.values()}
    return {file for module in modules for file in of_module(module)}


def weights_of_detector(one: Detector) -> str:
    """What tells weights of a user from others under the same name, where a detector says."""
    return str(getattr(one, "calibration_id", "") or getattr(one, "digest", ""))


def of_module(name: str) -> list[Path]:
    """A module, its package, and the modules of the same distribution that they import.

    >>> [path.name for path in of_module("json.decoder")]
    ['__init__.py', 'decoder.py', 'encoder.py', 'scanner.py', 'tool.py']
    """
    top = name.partition(".")[0]
    found: set[Path] = set()
    package, _, _ = name.rpartition(".")
    home = _origin(package) if package else None
    if home is not None and home.name == "__init__.py":
        found.update(beside(home.parent))
    own = _origin(name)
    todo = [(own, package)] if own is not None else []
    todo += [(path, package) for path in found if path.suffix == ".py"]
    read: set[Path] = set()
    while todo:
        path, inside = todo.pop()
        if path in read:
            continue
        read.add(path)
        for module in _imports(path, inside):
            other = _origin(module) if module.partition(".")[0] == top else None
            if other is not None:
                of = module if other.name == "__init__.py" else module.rpartition(".")[0]
                todo.append((other, of))
    return sorted(found | read)


def beside(folder: Path) -> Iterator[Path]:
    """The modules of a folder, and the data in it."""
    yield from folder.glob("*.py")
    yield from (path for path in folder.rglob("*") if path.suffix in _DATA and path.is_file())


def _origin(name: str) -> Path | None:
    """The file of a module; None where it has none, or is not there."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is None:
        try:
            spec = find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        loaded = spec.origin if spec is not None and spec.has_location else None
    path = Path(loaded) if loaded else None
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


@lru_cache(maxsize=4096)
def _imports(path: Path, package: str) -> tuple[str, ...]:
    """Every module that a file may import, wherever in it; read once a process."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return ()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level:
                try:
                    name = resolve_name("." * node.level + name, package)
                except ImportError:
                    continue
            found += [name, *(f"{name}.{alias.name}" for alias in node.names)]
    return tuple(dict.fromkeys(found))
