"""AASIST and AASIST-L with the user's weights: synthetic or converted voice.

The score is the logit that ``output.index`` names; in the authors' networks index 1 is bona fide,
so that the manifest says "higher is real".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from avsafe.errors import UsageError
from avsafe.types import Features, Kind, Media
from avsafe_detectors.adapters import preparing
from avsafe_detectors.adapters.running import known_options, require, tensors

if TYPE_CHECKING:
    from avsafe.qualify.adapter import Model

_RATE_HZ, _SAMPLES, _LEAST = 16_000, 64_600, 16_000
SIZES = ("AASIST", "AASIST-L")


class Aasist:
    """A ``DetectorAdapter``. ``architecture`` in the manifest is AASIST or AASIST-L;
    ``input.sound`` has 16 kHz and, as trained, 64,600 samples."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.AUDIO, Kind.VIDEO)

    def __init__(self, model: Model) -> None:
        manifest = model.manifest
        model.part("model", "safetensors")
        known_options(manifest.options)
        if manifest.architecture not in SIZES:
            raise UsageError(
                f"architecture is one of {', '.join(SIZES)}, not {manifest.architecture!r}."
            )
        sound = manifest.sound
        if sound is None or manifest.pictures is not None:
            raise UsageError(
                f"The adapter 'aasist' needs input.sound in the manifest: "
                f'{{"rate_hz": {_RATE_HZ}, "samples": {_SAMPLES}}}.'
            )
        if sound.rate_hz != _RATE_HZ or not _LEAST <= sound.samples <= 10 * _RATE_HZ:
            raise UsageError(
                f"AASIST hears {_RATE_HZ} Hz in windows of {_SAMPLES} samples (at least {_LEAST}), "
                f"not {sound.samples} at {sound.rate_hz} Hz."
            )
        self._model, self._manifest, self._sound = model, manifest, sound
        self._network: Any = None
        self.extractors: Mapping[str, str] = preparing.targets(sound, None, manifest.content)

    def prepare(self) -> None:
        """Build the network and load the state dict, every tensor of it."""
        if self._network is not None:
            return
        torch = require("torch", "'avsafe[detect]'")
        from avsafe_detectors.adapters import aasist_network

        weight = self._model.part("model")
        given = tensors(self._model.read("model"), weight.path)
        network = aasist_network.Aasist(aasist_network.SIZES[self._manifest.architecture])
        try:
            network.load_state_dict(given)
        except RuntimeError as error:
            said = " ".join(str(error).split())[:400]
            raise UsageError(
                f"{weight.path} holds no {self._manifest.architecture} as its authors lay it out: "
                f"{said}"
            ) from error
        self._network, self._torch = network.eval(), torch

    def score(self, features: Mapping[str, Features], media: Media) -> float | str:
        """Mean over windows."""
        reason = preparing.unsuited(self._manifest.content, features, media)
        if reason is not None:
            return reason
        batch = preparing.windows(features["sound"], self._sound)
        if isinstance(batch, str):
            return batch
        self.prepare()
        with self._torch.inference_mode():
            logits = [self._network(self._torch.from_numpy(one[None])).numpy() for one in batch]
        return float(sum(self._manifest.output.of(row) for row in logits) / len(logits))
