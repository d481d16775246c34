"""Between weights and the panel: what an adapter is, and what it is given.

An adapter knows one family of networks (the entry-point group ``avsafe.detector_adapters``). It is
made from a ``Model`` and gives one raw score for a file; polarity, digests, calibration and
abstention are the core's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from avsafe import plugins
from avsafe.errors import MissingExtra, UsageError
from avsafe.qualify import weights
from avsafe.qualify.fields import read_file
from avsafe.qualify.manifest import MANIFEST, Manifest, Weight, parse
from avsafe.types import Features, Kind, Media


@dataclass(frozen=True)
class Model:
    """A manifest and the folder of its weights."""

    manifest: Manifest
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Raises UsageError when the folder has no manifest that makes sense."""
        return cls(parse(read_file(folder / MANIFEST, f"{folder.name}/{MANIFEST}")), folder)

    def part(self, name: str, *formats: str) -> Weight:
        """A part by name. Raises UsageError when there is none, or it has another format."""
        found = self.manifest.weights.get(name)
        if found is None:
            parts = ", ".join(self.manifest.weights)
            raise UsageError(
                f"The adapter {self.manifest.adapter!r} needs weights named {name!r} "
                f"(found: {parts})."
            )
        if formats and found.format not in formats:
            raise UsageError(
                f"weights.{name} has the format {found.format}; the adapter "
                f"{self.manifest.adapter!r} reads {' or '.join(formats)}."
            )
        return found

    def read(self, part: str = "model") -> bytes:
        """The bytes of a part, digest and format checked. Raises UsageError."""
        return weights.read(self.folder, self.part(part))


@runtime_checkable
class DetectorAdapter(Protocol):
    """A family of networks. The class is called with one ``Model`` and raises UsageError for a
    manifest that it can't work with; it reads no weights and imports nothing heavy until
    ``prepare``.

    >>> class Always:
    ...     kinds = (Kind.IMAGE,)
    ...     extractors: Mapping[str, str] = {}
    ...     def __init__(self, model: Model) -> None: ...
    ...     def prepare(self) -> None: ...
    ...     def score(self, features: Mapping[str, Features], media: Media) -> float | str:
    ...         return 0.0
    >>> isinstance(Always(Model(parse(_EXAMPLE), Path())), DetectorAdapter)
    True
    """

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the family can look at; the manifest's kinds are among them."""
        ...

    @property
    def extractors(self) -> Mapping[str, str]:
        """Own name -> ``"package.module:Class"``, as ``types.Detector`` names them."""
        ...

    def prepare(self) -> None:
        """Read the weights and build the network, once. Raises MissingExtra for an absent package,
        UsageError for weights that do not fit."""
        ...

    def score(self, features: Mapping[str, Features], media: Media) -> float | str:
        """The network's score as its authors define it, or the reason why there is none.

        Features are what a hostile file may have made of them: check shapes and let a wrong one
        raise (KeyError, ValueError). The same features give the same score, on every call.
        """
        ...


_EXAMPLE = (
    b'{"schema": 1, "name": "x", "adapter": "always", "modality": "image", "licence": "MIT", '
    b'"commercial_ok": true, "training_sets": [], "polarity": "higher is synthetic", "weights": '
    b'{"model": {"path": "x.onnx", "format": "onnx", "sha256": "' + b"0" * 64 + b'"}}}'
)


def adapter_of(model: Model) -> DetectorAdapter:
    """The adapter of a model, not yet prepared.

    Raises UsageError when no adapter has that name or it can't work with the manifest, MissingExtra
    when it needs a package that is not installed.
    """
    manifest = model.manifest
    known = plugins.catalogue("detector_adapters")
    if manifest.adapter not in known:
        names = ", ".join(known) or "none is installed"
        raise UsageError(f"No adapter {manifest.adapter!r} (found: {names}).")
    try:
        made: DetectorAdapter = known[manifest.adapter].load()(model)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"The adapter {manifest.adapter!r} needs the package {error.name!r}, which is not "
            "installed. Install it, or: pip install 'avsafe[detect]'."
        ) from error
    if beyond := [str(k) for k in manifest.kinds if k not in made.kinds]:
        raise UsageError(
            f"The adapter {manifest.adapter!r} looks at {', '.join(map(str, made.kinds))}; the "
            f"manifest names {', '.join(beyond)}."
        )
    return made
