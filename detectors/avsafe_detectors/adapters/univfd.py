"""A linear probe over CLIP's image features (UnivFD: Ojha et al. 2023, arXiv:2302.10174).

Parts: ``backbone``, CLIP's weights (safetensors, as open_clip or OpenAI lay them out; or its image
tower as ONNX, picture in, features out), and ``probe``, a safetensors file with ``weight``
``(1, d)`` and ``bias`` ``(1,)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Kind, Media
from avsafe_detectors.adapters import clip_tower, preparing
from avsafe_detectors.adapters.running import (
    Session,
    choice,
    known_options,
    require,
    tensors,
    yes_no,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.qualify.adapter import Model


class UnivFD:
    """A ``DetectorAdapter``. Options: ``activation`` "quick_gelu" (OpenAI's weights) or "gelu";
    ``normalise`` true to bring features to length 1 (the authors do not)."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.IMAGE, Kind.VIDEO)

    def __init__(self, model: Model) -> None:
        manifest = model.manifest
        self._onnx = model.part("backbone").format == "onnx"
        model.part("probe", "safetensors")
        known_options(manifest.options, "activation", "normalise")
        self._activation = choice(
            manifest.options, "activation", "quick_gelu", *clip_tower.ACTIVATIONS
        )
        self._unit = yes_no(manifest.options, "normalise", False)
        pictures = manifest.pictures
        if pictures is None or manifest.sound is not None:
            raise UsageError(
                "The adapter 'univfd' needs input.pictures in the manifest: side, mean and std of "
                'CLIP, and "fit": "crop" as its authors cut pictures.'
            )
        if pictures.sequence or pictures.rate is not None or pictures.colour == "grey":
            raise UsageError("CLIP sees pictures in colour, one by one: no sequence, no rate.")
        self._model, self._manifest, self._pictures = model, manifest, pictures
        self._backbone: Any = None
        self.extractors: Mapping[str, str] = preparing.targets(None, pictures, manifest.content)

    def prepare(self) -> None:
        """Load both parts."""
        if self._backbone is not None:
            return
        require("torch", "'avsafe[detect]'")
        self._weight, self._bias = self._probe()
        data, path = self._model.read("backbone"), self._model.part("backbone").path
        if self._onnx:
            self._backbone = Session(data, path)
            return
        tower = clip_tower.Tower(tensors(data, path), self._activation, path)
        if tower.features != self._weight.size:
            raise UsageError(
                f"The probe is for {self._weight.size} features; {path} gives {tower.features}."
            )
        self._backbone = tower

    def _probe(self) -> tuple[NDArray[np.float64], float]:
        path = self._model.part("probe").path
        found = tensors(self._model.read("probe"), path)
        named = {k.rpartition(".")[2]: v.numpy() for k, v in found.items()}
        if set(named) != {"weight", "bias"} or len(found) != 2 or named["bias"].size != 1:
            raise UsageError(
                f"{path} holds {', '.join(sorted(found)[:6])}; weight (1, d) and bias (1,) were "
                "expected."
            )
        return named["weight"].reshape(-1).astype(np.float64), float(named["bias"].reshape(-1)[0])

    def score(self, features: Mapping[str, Features], media: Media) -> float | str:
        """Mean of the probe's logit over pictures."""
        reason = preparing.unsuited(self._manifest.content, features, media)
        if reason is not None:
            return reason
        batch = preparing.pictures(features["pictures"], self._pictures)
        if isinstance(batch, str):
            return batch
        self.prepare()
        seen = self._seen(preparing.laid_out(batch, self._pictures.layout))
        if seen.shape[1] != self._weight.size:
            raise UsageError(f"The probe is for {self._weight.size} features, not {seen.shape[1]}.")
        if self._unit:
            seen = seen / (np.linalg.norm(seen, axis=1, keepdims=True) + 1e-12)
        return float((seen @ self._weight + self._bias).mean())

    def _seen(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features ``(f, d)``, one picture at a time."""
        rows = []
        for one in batch:
            if self._onnx:
                rows.append(self._backbone.run(one[None]).reshape(-1))
            else:
                torch = require("torch", "'avsafe[detect]'")
                rows.append(self._backbone(torch.from_numpy(one[None])).numpy().reshape(-1))
        return np.stack(rows).astype(np.float64)
