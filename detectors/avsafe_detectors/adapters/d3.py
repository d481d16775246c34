"""Second-order differences over time (D3: Zheng et al. 2025, arXiv:2508.00701), training-free.

Frames go through an encoder that the user gives as ONNX. The distance between neighbours is a first
difference, its change a second; the deviation of the seconds is the score. In real video it is
larger, so that the manifest says "higher is real".

Legend: ``t`` frames, ``d`` features of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Kind, Media
from avsafe_detectors.adapters import inputs, preparing
from avsafe_detectors.adapters.running import Session, choice, known_options, yes_no

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.qualify.adapter import Model

LEAST_FRAMES = 8


class D3:
    """A ``DetectorAdapter``. The part ``encoder`` is an ONNX network, picture in, features out.

    ``input.pictures.rate`` is 8 frames a second or less (the paper: 8), ``frames`` at least 8.
    Options: ``distance`` "l2" (default) or "cosine"; ``normalise`` true to bring features to length
    1 first.
    """

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.VIDEO,)

    def __init__(self, model: Model) -> None:
        manifest = model.manifest
        model.part("encoder", "onnx")
        known_options(manifest.options, "distance", "normalise")
        self._cosine = choice(manifest.options, "distance", "l2", "l2", "cosine") == "cosine"
        self._unit = yes_no(manifest.options, "normalise", False)
        pictures = manifest.pictures
        if pictures is None or manifest.sound is not None or pictures.rate is None:
            raise UsageError("The adapter 'd3' needs input.pictures with a rate in the manifest.")
        if pictures.rate > inputs.RUN_RATE or pictures.frames < LEAST_FRAMES or pictures.sequence:
            raise UsageError(
                f"D3 looks at {LEAST_FRAMES} frames or more, one by one, at {inputs.RUN_RATE:g} a "
                "second or less."
            )
        self._model, self._manifest, self._pictures = model, manifest, pictures
        self._session: Session | None = None
        self.extractors: Mapping[str, str] = preparing.targets(None, pictures, manifest.content)

    def prepare(self) -> None:
        """Load the encoder."""
        if self._session is None:
            path = self._model.part("encoder").path
            name = self._manifest.output.name
            self._session = Session(self._model.read("encoder"), path, name)

    def score(self, features: Mapping[str, Features], media: Media) -> float | str:
        """Deviation of the second differences."""
        reason = preparing.unsuited(self._manifest.content, features, media)
        if reason is not None:
            return reason
        if still(features["pictures"]):
            return "nothing moves in it"
        batch = preparing.pictures(features["pictures"], self._pictures)
        if isinstance(batch, str):
            return batch
        if len(batch) < LEAST_FRAMES:
            return (
                f"it gives {len(batch)} frames at {self._pictures.rate:g} a second; "
                f"{LEAST_FRAMES} are needed"
            )
        self.prepare()
        assert self._session is not None  # noqa: S101
        ordered = preparing.laid_out(batch, self._pictures.layout)
        seen = np.stack([self._session.run(one[None]).reshape(-1) for one in ordered])
        return volatility(seen, cosine=self._cosine, normalise=self._unit)


def volatility(seen: NDArray[Any], *, cosine: bool = False, normalise: bool = False) -> float:
    """Deviation of the second differences of features ``(t, d)``; 0 for even motion (eqs. 5-8).

    >>> volatility(np.arange(10.0)[:, None] * np.ones(4))
    0.0
    """
    x = np.asarray(seen, np.float64)
    if normalise or cosine:
        x = x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-12)
    first = 1 - (x[1:] * x[:-1]).sum(1) if cosine else np.linalg.norm(np.diff(x, axis=0), axis=1)
    return float(np.diff(first).std(ddof=1))


def still(features: Features) -> bool:
    """Whether the frames of a run are all one picture: there is no motion to judge."""
    frames, _ = inputs.seen(features)
    if len(frames) < 2:
        return False
    steps = np.abs(np.diff(frames[:, ::4, ::4].astype(np.int16), axis=0)).mean((1, 2, 3))
    return bool(float(np.median(steps)) < preparing.STILL)
