"""Structural similarity against a reference.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, MetricInfo
from avsafe_metrics.base import PlainMetric
from avsafe_metrics.video.paired import PairedMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW, SIGMA = 11, 1.5  # pixels
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_MIDDLE = 128.0  # taken off before squaring, so that float32 is enough


def similarity_maps(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(h, w) maps of SSIM and of its contrast-structure term, borders mirrored without the edge.

    Values 0 to 255. Wang et al. 2004, equations 6, 7 and 13, with weights that sum to one (no
    sample correction), Gaussian 11x11 window of 1.5 pixels.
    """
    import cv2

    def blurred(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(
            picture, (WINDOW, WINDOW), SIGMA, borderType=cv2.BORDER_REFLECT_101
        )
        return np.asarray(smooth, np.float32)

    a, b = one - np.float32(_MIDDLE), other - np.float32(_MIDDLE)
    mean_a, mean_b = blurred(a), blurred(b)
    both = blurred(a * b) - mean_a * mean_b
    spread = blurred(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    mean_a += _MIDDLE
    mean_b += _MIDDLE
    structure = (2 * both + C2) / (spread + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return luminance * structure, structure


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean SSIM of two luma pictures of at least 11x11 pixels, over the places where the whole
    window lies inside; -1 to 1, 1 is equal.

    >>> picture = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    >>> round(ssim(picture, picture), 6)
    1.0
    """
    if one.shape != other.shape or min(one.shape) < WINDOW:
        raise ValueError(f"{one.shape} and {other.shape}: equal shapes of at least 11x11, please")
    whole, _ = similarity_maps(one.astype(np.float32), other.astype(np.float32))
    rim = WINDOW // 2
    mean = float(whole[rim:-rim, rim:-rim].mean(dtype=np.float64))
    return min(1.0, mean)  # float32 maps of equal pictures end some 1e-8 above


def refuse_small(clip: Clip, least: int) -> None:
    """Raise ``Unscorable`` where a side is shorter than ``least`` pixels."""
    width, height = clip.shape.width, clip.shape.height
    if min(width, height) < least:
        raise Unscorable(f"{width}x{height} pixels: this metric needs {least} a side")


class SSIM(PlainMetric):
    """SSIM on luma at full size, mean over frames. Equal to scikit-image's with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255``."""

    info = MetricInfo(
        name="ssim",
        version="1",
        title="SSIM",
        columns=(Column("", "", "higher", "1 is equal; on luma", -1.0, 1.0),),
        wants=("luma",),
        family="video",
        beside="reference",
        source="Wang et al. 2004, eq. 13; 11x11 Gaussian of 1.5, inside only, no downsampling",
    )

    def open(self, clip: Clip) -> PairedMeter:
        refuse_small(clip, WINDOW)
        return PairedMeter(
            clip,
            lambda view, beside: (ssim(view.luma, beside.luma),),
            lambda rows: {"": float(np.mean(rows))},
        )
