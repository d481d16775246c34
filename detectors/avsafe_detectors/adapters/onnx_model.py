"""Any ONNX network that takes a window of sound, a picture or several, and says a number.

Legend: ``n`` samples, ``t`` frames of a sequence, ``c`` channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Kind, Media
from avsafe_detectors.adapters import preparing
from avsafe_detectors.adapters.running import Session, known_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.qualify.adapter import Model


class OnnxModel:
    """A ``DetectorAdapter``. The manifest says what goes in (``input.sound`` or ``input.pictures``)
    and which number comes out (``output``); the scores of several windows or pictures are averaged.

    Sound goes in as ``(n,)``, ``(1, n)`` or ``(1, 1, n)``, as the model's input has it; a picture
    as ``(1, c, h, w)`` or ``(1, h, w, c)``; a sequence with ``t`` second, or, where the model has
    four dimensions only, first.
    """

    kinds: ClassVar[tuple[Kind, ...]] = tuple(Kind)

    def __init__(self, model: Model) -> None:
        manifest = model.manifest
        model.part("model", "onnx")
        known_options(manifest.options)
        if (manifest.sound is None) == (manifest.pictures is None):
            raise UsageError(
                "The adapter 'onnx' needs input.sound or input.pictures in the manifest, one of "
                "both."
            )
        if manifest.sound is None and Kind.AUDIO in manifest.kinds:
            raise UsageError("A network for pictures can't look at audio; leave it out of kinds.")
        if manifest.sound is not None and Kind.IMAGE in manifest.kinds:
            raise UsageError("A network for sound can't look at images; leave them out of kinds.")
        self._model, self._manifest = model, manifest
        self._session: Session | None = None
        self.extractors: Mapping[str, str] = preparing.targets(
            manifest.sound, manifest.pictures, manifest.content
        )

    def prepare(self) -> None:
        """Load the model."""
        if self._session is None:
            weight = self._model.part("model")
            self._session = Session(
                self._model.read("model"), weight.path, self._manifest.output.name
            )

    def score(self, features: Mapping[str, Features], media: Media) -> float | str:
        """Mean over windows or pictures."""
        manifest = self._manifest
        reason = preparing.unsuited(manifest.content, features, media)
        if reason is not None:
            return reason
        if manifest.sound is not None:
            batch = preparing.windows(features["sound"], manifest.sound)
        elif manifest.pictures is not None:
            batch = preparing.pictures(features["pictures"], manifest.pictures)
        if isinstance(batch, str):
            return batch
        items = self._items(batch)
        return float(np.mean([manifest.output.of(self._run(item)) for item in items]))

    def _run(self, item: NDArray[np.float32]) -> NDArray[np.float64]:
        self.prepare()
        assert self._session is not None  # noqa: S101
        return self._session.run(item)

    def _items(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """One input of the model each."""
        self.prepare()
        assert self._session is not None  # noqa: S101
        rank, wanted = self._session.rank, self._manifest.pictures
        if wanted is None:
            if rank not in (1, 2, 3):
                raise UsageError(f"The model's input has {rank} dimensions; sound has 1 to 3.")
            return [one.reshape((1,) * (rank - 1) + one.shape) for one in batch]
        ordered = preparing.laid_out(batch, wanted.layout)
        if not wanted.sequence:
            if rank != 4:
                raise UsageError(f"The model's input has {rank} dimensions; a picture has 4.")
            return [one[None] for one in ordered]
        if rank == 5:
            return [ordered[None]]
        if rank == 4:
            return [ordered]
        raise UsageError(f"The model's input has {rank} dimensions; a sequence has 5 or 4.")
