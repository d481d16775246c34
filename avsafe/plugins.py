"""The catalogue of plugins: by entry point, loaded one by name.

Built-ins register the way an outsider would, under ``avsafe.generators``, ``avsafe.watermarkers``,
``avsafe.metrics`` and ``avsafe.detectors`` in their distribution's metadata. Adapters to networks
of others (``avsafe.detector_adapters``) are made with a model: ``avsafe.qualify.adapter``. Those
that know a face or a voice again stand under ``avsafe.embedders``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from avsafe.errors import MissingExtra, UsageError
from avsafe.types import Generator, GeneratorInfo, Task

PluginKind = Literal[
    "generators", "watermarkers", "metrics", "detectors", "detector_adapters", "embedders"
]

# Which embedded generator does a task when none is named.
DEFAULT_GENERATORS: Mapping[Task, str] = {
    Task.TEXT_TO_IMAGE: "world",
    Task.TEXT_TO_VIDEO: "world",
    Task.IMAGE_TO_VIDEO: "photo-motion",
    Task.STYLIZE_VIDEO: "stylize",
    Task.CINEMAGRAPH: "cinemagraph",
    Task.INPAINT_VIDEO: "inpaint",
    Task.EDIT_VIDEO: "edit",
    Task.VIDEO_TO_AUDIO: "foley",
    Task.TALKING_HEAD: "talking-head",
    Task.TEXT_TO_SPEECH: "speech",
}


def catalogue(kind: PluginKind) -> dict[str, EntryPoint]:
    """Name -> entry point of every installed plugin of a kind; nothing is imported.

    >>> "world" in catalogue("generators")
    True
    """
    return {point.name: point for point in sorted(entry_points(group=f"avsafe.{kind}"))}


def load(kind: PluginKind, name: str) -> Any:
    """An instance of one plugin.

    Raises UsageError when no plugin has that name, MissingExtra when it needs a package that is not
    installed.
    """
    known = catalogue(kind)
    if name not in known:
        names = ", ".join(known) or "none is installed"
        raise UsageError(f"No plugin {name!r} among the {kind} (found: {names}).")
    try:
        return known[name].load()()
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{kind[:-1]} {name!r} needs the package {error.name!r}, which is not installed. "
            f"Install it, or the extra that brings it: pip install 'avsafe[{_extra(kind)}]'."
        ) from error


def _extra(kind: PluginKind) -> str:
    extras = {"generators": "generate", "metrics": "bench"}
    extras |= {"detectors": "detect", "detector_adapters": "detect", "embedders": "likeness"}
    return extras.get(kind, "all")


def generator_info(name: str) -> GeneratorInfo | None:
    """What a registered generator says of itself; None when no generator has that name.

    >>> generator_info("nobody-registered-this") is None
    True
    """
    if name not in catalogue("generators"):
        return None
    generator: Generator = load("generators", name)
    return generator.info


def load_object(target: str) -> Any:
    """The object named ``"package.module:Name"``, as extractors are named."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
