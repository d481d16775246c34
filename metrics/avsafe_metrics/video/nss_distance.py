"""NSS distance: how far the statistics of local contrast are from those of sharp photographs.

Legend: ``p`` patches of 96 pixels a side; features are (p, 36) float64 (scene_statistics.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.video.given import digest_of
from avsafe_metrics.video.scene_statistics import PATCH, Array, distance, logged, scene_features

if TYPE_CHECKING:
    from avsafe.media.view import View

MODEL = Path(__file__).parent / "weights" / "scene-statistics.safetensors"  # card beside it
LEAST_PATCHES = 4


class NSSDistance:
    """No-reference picture quality. Blur, noise, strong compression and enlargement raise it.

    The features are BRISQUE's and NIQE's; the model is our own, of 40 photographs, the features
    enter as logarithms, and one Gaussian is fitted to all patches of the clip. So it is neither of
    the two, and its values compare with its own only. A frame every ``every_s`` seconds is looked
    at.
    """

    info = MetricInfo(
        name="nss_distance",
        version="1",
        title="Distance from natural scene statistics",
        columns=(Column("", "", "lower", "sharp photographs 3 to 5; heavy damage above 8", 0.0),),
        wants=("luma",),
        family="video",
        source=(
            "own model; features of Mittal et al. 2012 (BRISQUE) and 2013 (NIQE), distance of NIQE "
            "eq. 10"
        ),
    )

    def __init__(self, *, every_s: float = 0.5) -> None:
        self.every_s = every_s
        self._model: tuple[Array, Array] | None = None

    def prepare(self) -> None:
        from safetensors.numpy import load_file

        found = load_file(MODEL)
        self._model = found["mean"], found["covariance"]

    def digests(self) -> Mapping[str, str]:
        return {"scene-statistics": digest_of(MODEL)}

    def open(self, clip: Clip) -> _Meter:
        refuse_small_patches(clip)
        if self._model is None:
            raise MissingExtra("prepare() was not called")
        return _Meter(self.every_s, *self._model)


def refuse_small_patches(clip: Clip) -> None:
    """Raise ``Unscorable`` where not one patch fits."""
    width, height = clip.shape.width, clip.shape.height
    if min(width, height) < PATCH:
        raise Unscorable(f"{width}x{height} pixels: scene statistics need {PATCH} a side")


class _Meter(QuietMeter):
    """Sums over patches: count, sum and outer product, so memory stays bounded."""

    def __init__(self, every_s: float, mean: Array, covariance: Array) -> None:
        self._every_s, self._mean, self._covariance = every_s, mean, covariance
        self._due_s = 0.0
        self._count = 0
        self._sum, self._outer = np.zeros_like(mean), np.zeros_like(covariance)

    def frame(self, view: View, beside: View | None) -> None:
        if view.time_s < self._due_s - 1e-6:
            return
        self._due_s = view.time_s + self._every_s
        # less the model's mean: the sums of squares of small numbers lose nothing
        features = logged(scene_features(view.luma)[0]) - self._mean
        self._count += len(features)
        self._sum += features.sum(axis=0)
        self._outer += features.T @ features

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        n = self._count
        if n < LEAST_PATCHES:
            raise Unscorable(
                f"{n} patches of {PATCH} pixels; at least {LEAST_PATCHES} are needed: a larger "
                "picture or a longer clip"
            )
        mean = self._sum / n
        own = (self._outer - n * np.outer(mean, mean)) / (n - 1)
        return {"": distance(np.zeros_like(mean), self._covariance, mean, own)}
