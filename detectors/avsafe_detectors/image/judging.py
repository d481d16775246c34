"""From features of tiles to scores: pure arithmetic between the extractor and the evidence.

Legend: ``k`` tiles, ``d`` features, ``f`` frames, ``c`` conditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Features
from avsafe_detectors.image import model, tiles
from avsafe_detectors.image.features import TILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

VIDEO = "video frame"
FDR = 0.05
LEAST_TILES = 4
LEAST_COLOUR = 4.0  # grey levels between a pixel's channels, on average
# What a file of each kind is judged by; "video frame" is for every film.
CONDITIONS = (
    "lossless or JPEG 90 and above", "JPEG 60 to 89", "JPEG 40 to 59", "WebP", "reduced",
    "enlarged", "noisy", "denoised", VIDEO,
)  # fmt: skip
# Measured, and found too weak to be evidence.
REFUSED = {
    VIDEO: "frames of generated films scored like frames of real ones (AUC .38 to .62 by "
    "generator); still pictures are judged",
}


@dataclass(frozen=True, eq=False)
class Seen:
    """What the extractor brought, checked: ``x`` (k, d) with NaN rows, ``frame`` (k,) of each tile,
    ``grids`` (f, 4), ``times`` (f,); ``colour`` the mean over frames."""

    x: F32
    frame: NDArray[np.int64]
    grids: NDArray[np.int64]
    times: NDArray[np.float64]
    colour: float

    @property
    def usable(self) -> NDArray[np.bool_]:
        if not self.x.size:
            return np.zeros(len(self.x), bool)
        return np.asarray(np.isfinite(self.x).all(1))


def checked(features: Features, dimensions: int) -> Seen:
    """Raises KeyError or ValueError for what is no answer of the extractor."""
    x = np.asarray(features["tiles"])
    grids, times = np.asarray(features["grids"]), np.asarray(features["times"])
    if grids.ndim != 2 or grids.shape[1] != 4 or grids.dtype.kind not in "iu":
        raise ValueError(f"grids are (f, 4) whole numbers, not {grids.shape} {grids.dtype}")
    if times.shape != (len(grids),) or times.dtype.kind != "f" or not np.isfinite(times).all():
        raise ValueError("times are not one number for each frame")
    if len(grids) > 64 or (grids < 0).any() or (grids > 100_000).any():
        raise ValueError("grids are out of range")
    grids = grids.astype(np.int64)
    count = grids[:, 2] * grids[:, 3]
    if x.dtype.kind != "f" or x.ndim != 2 or len(x) != int(count.sum()):
        raise ValueError(f"tiles are (k, d) numbers for the grids, not {x.shape} {x.dtype}")
    if len(x) and x.shape[1] != dimensions:
        raise ValueError(f"a tile has {dimensions} features, not {x.shape[1]}")
    frame = np.repeat(np.arange(len(grids)), count)
    chroma = np.asarray(features["colour"])
    if chroma.shape != times.shape or chroma.dtype.kind != "f":
        raise ValueError("colours are not one number for each frame")
    tint = float(np.nan_to_num(chroma).mean()) if len(chroma) else 0.0
    return Seen(x.astype(np.float32).reshape(len(x), dimensions), frame, grids, times, tint)


def tile_logits(seen: Seen, weights: Mapping[str, F32]) -> F32:
    """(k,), NaN where a tile shows nothing."""
    out = np.full(len(seen.x), np.nan, np.float32)
    usable = seen.usable
    if usable.any():
        out[usable] = model.logits(seen.x[usable], weights)
    return out


def summary(x: F32, weights: Mapping[str, F32]) -> F32:
    """(d,) mean standardised features of a picture's usable tiles: for regions and conditions."""
    return np.asarray(model.standardised(x, weights).mean(0), np.float32)


def distance(x: F32, s: F32, weights: Mapping[str, F32]) -> float:
    """From the region of measured pictures, in its limits; infinite where more than a twentieth of
    the features (k, d) lie beyond five deviations, which the mean ``s`` would hide."""
    from avsafe.calibration import Region

    beyond = np.abs(x - weights["mean"]) > model.CLIP * weights["deviation"]
    if not beyond.mean() <= 0.05:
        return float("inf")
    return float(Region.from_arrays(weights).distance(s[None].astype(np.float64))[0])


def condition_of(s: F32, weights: Mapping[str, F32], names: Sequence[str]) -> tuple[str, float]:
    """The nearest condition by the pixels alone, and its probability, for a still picture."""
    found = s @ weights["condition.weight"] + weights["condition.bias"]
    p = np.exp(found - found.max())
    p = p / p.sum()
    best = int(np.argmax(p))
    return names[best], float(p[best])


def maps(
    seen: Seen, logit: F32, null: F32
) -> list[tuple[float, F32, NDArray[np.bool_], list[float]]]:
    """Of each frame: time, logits (rows, columns), discoveries, box. False discoveries are
    controlled over all frames together; ``null`` holds logits of real tiles, ascending."""
    from avsafe.calibration import discoveries

    flagged = discoveries(model.tile_p(logit, null), FDR)
    out = []
    for number, (h, w, rows, columns) in enumerate(seen.grids.tolist()):
        own = seen.frame == number
        if not rows or not columns:
            continue
        tops, lefts = tiles.grid(h, w, rows * columns)
        box = [0.0, 0.0, 1.0, 1.0]
        if tops and lefts:
            box = [lefts[0] / w, tops[0] / h, (lefts[-1] + TILE) / w, (tops[-1] + TILE) / h]
        shape = (rows, columns)
        out.append((float(seen.times[number]), logit[own].reshape(shape),
                    flagged[own].reshape(shape), box))  # fmt: skip
    return out
