"""NIQE, with parameters that the user gives.

Legend: ``p`` patches of 96 pixels a side; features are (p, 36) float64 (scene_statistics.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.video.given import digest_of, given_file
from avsafe_metrics.video.nss_distance import refuse_small_patches
from avsafe_metrics.video.scene_statistics import Array, distance, scene_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

_NAMES = ("mu_prisparam", "cov_prisparam")  # as in the authors' modelparameters.mat


def niqe(luma: NDArray[Any], mean: Array, covariance: Array) -> float:
    """NIQE of a picture (h, w), 0 to 255, of at least two patches of 96x96; lower is better.

    Mittal, Soundararajan and Bovik 2013, equation 10, with their feature order; ``mean`` (36,) and
    ``covariance`` (36, 36) are the model's.
    """
    features, _ = scene_features(luma)
    if len(features) < 2:
        raise ValueError(f"{len(features)} patches; NIQE needs two of 96x96 pixels")
    return distance(mean, covariance, features.mean(axis=0), np.cov(features, rowvar=False))


class NIQE:
    """Mean over frames, one every ``every_s`` seconds. ``weights={"niqe": PATH}`` names the model
    of pristine pictures: the authors' .mat, or a .npz or .safetensors with the same two arrays."""

    info = MetricInfo(
        name="niqe",
        version="1",
        title="NIQE",
        columns=(Column("", "", "lower", "0 is the pristine model; 2 to 8 is usual", 0.0),),
        wants=("luma",),
        family="video",
        weights=("niqe",),
        source="Mittal, Soundararajan and Bovik 2013; full-range luma of the decoder",
    )

    def __init__(self, *, weights: Mapping[str, str] | None = None, every_s: float = 0.5) -> None:
        self.every_s = every_s
        self._weights = weights
        self._path: Path | None = None
        self._model: tuple[Array, Array] | None = None

    def prepare(self) -> None:
        self._path = given_file(
            self._weights, "niqe", "niqe", "parameters of a pristine model (mu and cov, 36)"
        )
        self._model = read_parameters(self._path)

    def digests(self) -> Mapping[str, str]:
        return {"niqe": digest_of(self._path)} if self._path else {}

    def open(self, clip: Clip) -> _Meter:
        refuse_small_patches(clip)
        if self._model is None:
            raise MissingExtra("prepare() was not called")
        return _Meter(self.every_s, *self._model)


def read_parameters(path: Path) -> tuple[Array, Array]:
    """Mean (36,) and covariance (36, 36) from .mat, .npz or .safetensors; never a pickle."""
    try:
        found = _arrays(path)
    except Exception as error:
        raise MissingExtra(
            f"{path} cannot be read as NIQE's parameters ({str(error)[:200]}). Give the authors' "
            ".mat, or a .npz or .safetensors with the same two arrays."
        ) from error
    missing = [name for name in _NAMES if name not in found]
    if missing:
        raise MissingExtra(f"{path} has no {' and no '.join(missing)}; expected NIQE's parameters.")
    mean, covariance = (np.asarray(found[name], np.float64).squeeze() for name in _NAMES)
    if mean.shape != (36,) or covariance.shape != (36, 36):
        raise MissingExtra(
            f"{path} has parameters of shapes {mean.shape} and {covariance.shape}; expected (36,) "
            "and (36, 36)."
        )
    return mean, covariance


def _arrays(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    from scipy.io import loadmat

    found: Mapping[str, Any] = loadmat(path)
    return found


class _Meter(QuietMeter):
    def __init__(self, every_s: float, mean: Array, covariance: Array) -> None:
        self._every_s, self._mean, self._covariance = every_s, mean, covariance
        self._due_s = 0.0
        self._values: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        if view.time_s < self._due_s - 1e-6:
            return
        self._due_s = view.time_s + self._every_s
        try:
            self._values.append(niqe(view.luma, self._mean, self._covariance))
        except ValueError as error:
            raise Unscorable(str(error)) from None

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": float(np.mean(self._values))}
