"""Sharpness: how much finest detail there is for the next coarser, without what noise adds.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

LEAST = 32  # pixels a side
FINE, COARSE = 1.0, 2.0  # standard deviations of the Gaussians that part the bands, pixels
# Share of the variance of white noise in each band: sums of squares of the band filters,
# 1 - 2 K1(0) + S11 and S11 + S22 - 2 S12 with Sab = 1 / (2 pi (a^2 + b^2)), K1(0) = 1 / (2 pi)
_NOISE_FINE = 1 - 2 / (2 * np.pi) + 1 / (4 * np.pi)
_NOISE_COARSE = 1 / (4 * np.pi) + 1 / (16 * np.pi) - 2 / (10 * np.pi)
_LEAST_DETAIL = 0.02  # levels squared in the coarser band; a picture with less shows nothing
_LEAST_SHARE = 1e-3  # of the fine band that noise always leaves, so that the ratio has a logarithm
# Immerkaer's operator: the difference of two Laplacians, blind to ramps and straight edges
_OPERATOR = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def noise_level(luma: NDArray[np.uint8]) -> float:
    """Standard deviation of white noise, in levels of 255.

    Immerkaer 1996 with the median of the absolute responses in place of their mean, so that edges
    do not count as noise.

    >>> rng = np.random.default_rng(0)
    >>> noisy = (128 + rng.normal(0, 5, (200, 200))).round().astype(np.uint8)
    >>> abs(noise_level(noisy) - 5) < 0.2
    True
    """
    import cv2

    response = cv2.convertScaleAbs(cv2.filter2D(luma, cv2.CV_16S, _OPERATOR))
    counts = cv2.calcHist([response], [0], None, [256], [0, 256]).ravel().astype(float)
    # the median, with each whole level spread over its own interval
    edges = np.concatenate([[0.0], np.arange(256) + 0.5])
    share = np.concatenate([[0.0], np.cumsum(counts) / luma.size])
    median = float(np.interp(0.5, share, edges)) if counts[0] < luma.size else 0.0
    return median / 0.6745 / 6.0


def sharpness(luma: NDArray[np.uint8]) -> tuple[float, float] | None:
    """(sharpness in dB, noise in levels); None where the picture has no detail.

    Sharpness is 10 log10 of the energy of what a Gaussian of 1 pixel takes away over the energy
    between Gaussians of 1 and 2 pixels, each less the share of white noise of the estimated level.
    Contrast and brightness do not matter. Needs 32x32 pixels.

    >>> sharpness(np.full((64, 64), 80, np.uint8)) is None
    True
    """
    import cv2

    if min(luma.shape) < LEAST:
        raise ValueError(f"{luma.shape[1]}x{luma.shape[0]} pixels: sharpness needs {LEAST} a side")
    picture = luma.astype(np.float32)
    once = cv2.GaussianBlur(picture, (0, 0), FINE)
    twice = cv2.GaussianBlur(picture, (0, 0), COARSE)
    # not OpenCV's norm, whose last digits depend on where an array lies in memory
    fine = float(np.square(picture - once).mean(dtype=np.float64))
    coarse = float(np.square(once - twice).mean(dtype=np.float64))
    noise = noise_level(luma)
    coarse -= _NOISE_COARSE * noise**2
    if coarse < _LEAST_DETAIL:
        return None
    clean = max(fine - _NOISE_FINE * noise**2, _LEAST_SHARE * max(fine, coarse))
    return float(10 * np.log10(clean / coarse)), noise


class Sharpness(PlainMetric):
    """Mean over frames. Chosen among eight measures by how well it tells blurred frames of any
    content from sharp ones, and by its silence on noise (docs/metrics/video.md)."""

    info = MetricInfo(
        name="sharpness",
        version="1",
        title="Sharpness and noise",
        columns=(
            Column("db", "dB", "higher", "fine against coarser detail; about 0 is sharp"),
            Column("noise", "", "lower", "standard deviation of noise, levels of 255", 0.0),
        ),
        wants=("luma",),
        family="video",
        source="own definition; noise: Immerkaer 1996, with a median in place of the mean",
    )

    def open(self, clip: Clip) -> _Meter:
        width, height = clip.shape.width, clip.shape.height
        if min(width, height) < LEAST:
            raise Unscorable(f"{width}x{height} pixels: sharpness needs {LEAST} a side")
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._values: list[tuple[float, float]] = []

    def frame(self, view: View, beside: View | None) -> None:
        found = sharpness(view.luma)
        if found is not None:
            self._values.append(found)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        seen, count = len(self._values), gathered.frame_count
        if 2 * seen < count or not seen:
            raise Unscorable(f"only {seen} of {count} frames have any detail")
        ratio, noise = np.mean(np.array(self._values), axis=0)
        return {"db": float(ratio), "noise": float(noise)}
