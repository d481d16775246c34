"""The files whose change makes old rows worthless: a metric's code, what it imports, the decoding.

Modules are read for their imports and not run. Data beside the code (weights, tables) count too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec, resolve_name
from pathlib import Path

from avsafe.types import Metric

_HERE = Path(__file__).parents[1]
_DECODING = ("playing", "view", "decoder", "colour", "survey", "timeline", "demux", "reading")
_DATA = frozenset((".safetensors", ".npz", ".npy", ".json", ".onnx", ".csv", ".txt", ".yaml"))


def of_metric(metric: Metric) -> list[Path]:
    """The code of a metric, of the pass that feeds it, and of faces where it sees them."""
    files = {_HERE / "metering.py", _HERE / "bench" / "measuring.py"}
    files |= {_HERE / "media" / f"{name}.py" for name in _DECODING}
    own = of_module(type(metric).__module__)
    files.update(own)
    if "faces" in metric.info.wants or any(b"avsafe.faces" in path.read_bytes() for path in own):
        files.update(_beside(_HERE / "faces"))
    return sorted(path for path in files if path.is_file())


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
        found.update(_beside(home.parent))
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


def _beside(folder: Path) -> Iterator[Path]:
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


def _imports(path: Path, package: str) -> Iterator[str]:
    """Every module that a file may import, wherever in it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level:
                try:
                    name = resolve_name("." * node.level + name, package)
                except ImportError:
                    continue
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)
