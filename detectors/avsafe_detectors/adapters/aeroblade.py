"""Reconstruction error through an autoencoder (AEROBLADE: Ricker et al. 2024, arXiv:2401.17879).

A latent diffusion model decodes its pictures with an autoencoder; such a picture comes back from
that autoencoder nearly as it was, a photo does not. So a *low* error is a sign of synthesis, and
the manifest says "higher is real".

The paper measures the error by LPIPS, a network of its own. We use a plain distance instead
(``distance``): do not compare its values with the paper's.

Legend: ``h`` ``w`` pixels, ``c`` channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Kind, Media
from avsafe_detectors.adapters import preparing
from avsafe_detectors.adapters.running import Session, choice, known_options, require, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.qualify.adapter import Model

_SCALES = 3
_QUIET = 1e-3  # added to the picture's own steps: a flat one gives no infinite error


class Aeroblade:
    """A ``DetectorAdapter``. The part ``model`` is an autoencoder: ONNX (picture in, picture of the
    same size out), or safetensors of diffusers' ``AutoencoderKL`` with ``options.config``, what its
    config.json says.

    Options: ``range`` of the network's pictures, "-1..1" (default) or "0..1"; ``error`` "relative"
    (default) to what the picture holds of edges, or "absolute".
    """

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.IMAGE, Kind.VIDEO)

    def __init__(self, model: Model) -> None:
        manifest = model.manifest
        self._onnx = model.part("model").format == "onnx"
        known_options(manifest.options, "config", "range", "error")
        self._signed = choice(manifest.options, "range", "-1..1", "-1..1", "0..1") == "-1..1"
        self._relative = choice(manifest.options, "error", "relative", "relative", "absolute")
        self._config = manifest.options.get("config", {})
        if not isinstance(self._config, dict) or (not self._onnx and not self._config):
            raise UsageError(
                "options.config is what the autoencoder's config.json says, an object."
            )
        pictures = manifest.pictures
        if pictures is None or manifest.sound is not None:
            raise UsageError("The adapter 'aeroblade' needs input.pictures in the manifest.")
        plain = set(pictures.mean) == {0.0} and set(pictures.std) == {1.0}
        if not plain or pictures.layout != "nchw" or pictures.colour != "rgb":
            raise UsageError("AEROBLADE normalises itself: leave out mean, std, layout and colour.")
        if pictures.sequence or pictures.rate is not None:
            raise UsageError("AEROBLADE sees pictures one by one: no sequence, no rate.")
        if pictures.height % 8 or pictures.width % 8:
            raise UsageError("Sides are whole multiples of 8 pixels, as autoencoders need.")
        self._model, self._manifest, self._pictures = model, manifest, pictures
        self._network: Any = None
        self.extractors: Mapping[str, str] = preparing.targets(None, pictures, manifest.content)

    def prepare(self) -> None:
        """Load the autoencoder."""
        if self._network is not None:
            return
        data, path = self._model.read("model"), self._model.part("model").path
        if self._onnx:
            self._network = Session(data, path, self._manifest.output.name).run
            return
        torch = require("torch", "'avsafe[detect]'")
        kind = require("diffusers", "'avsafe[diffusers]'").AutoencoderKL
        given = tensors(data, path)
        known = {k: v for k, v in self._config.items() if not k.startswith("_")}
        try:
            network = kind.from_config(known)
            network.load_state_dict(given)
        except (RuntimeError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:400]
            raise UsageError(f"{path} and options.config do not fit: {said}") from error
        network = network.eval()

        def run(batch: NDArray[np.float32]) -> NDArray[np.float64]:
            with torch.inference_mode():
                latent = network.encode(torch.from_numpy(batch)).latent_dist.mode()
                return np.asarray(network.decode(latent).sample.numpy(), np.float64)

        self._network = run

    def score(self, features: Mapping[str, Features], media: Media) -> float | str:
        """Logarithm of the error, mean over pictures."""
        reason = preparing.unsuited(self._manifest.content, features, media)
        if reason is not None:
            return reason
        batch = preparing.pictures(features["pictures"], self._pictures)
        if isinstance(batch, str):
            return batch
        self.prepare()
        found = []
        for one in batch:
            given = one.transpose(2, 0, 1)[None]
            sent = given * 2 - 1 if self._signed else given
            back = self._network(np.ascontiguousarray(sent, np.float32))
            if back.shape != given.shape:
                raise UsageError(
                    f"The autoencoder gives {back.shape} for a picture of {given.shape}; the same "
                    "shape was expected."
                )
            back = (back + 1) / 2 if self._signed else back
            found.append(
                distance(given[0], np.clip(back[0], 0, 1), relative=self._relative == "relative")
            )
        return float(np.mean(np.log(np.array(found) + 1e-9)))


def distance(a: NDArray[Any], b: NDArray[Any], *, relative: bool) -> float:
    """How far ``b`` is from ``a``, both ``(c, h, w)`` in [0, 1]: mean difference of values and of
    steps between neighbours, at three scales. At least 0; ours, not LPIPS.

    ``relative``: over the mean size of ``a``'s own steps, so that a busy picture, which no
    autoencoder keeps as well, is not taken for a photo.

    >>> a = np.linspace(0, 1, 192).reshape(3, 8, 8)
    >>> distance(a, a, relative=True), round(distance(a, a * 0 + 0.5, relative=False), 3) > 0
    (0.0, True)
    """
    total, own = 0.0, 0.0
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    for _ in range(_SCALES):
        total += float(np.abs(a - b).mean())
        for axis in (1, 2):
            steps = np.diff(a, axis=axis)
            total += float(np.abs(steps - np.diff(b, axis=axis)).mean())
            own += float(np.abs(steps).mean())
        a, b = _halved(a), _halved(b)
        if min(a.shape[1:]) < 2:
            break
    return total / (own + _QUIET) if relative else total


def _halved(x: NDArray[np.float64]) -> NDArray[np.float64]:
    high, wide = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :high, :wide]
    return np.asarray((x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4)
