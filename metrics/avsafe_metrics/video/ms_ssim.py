"""Multi-scale structural similarity against a reference.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, MetricInfo
from avsafe_metrics.base import PlainMetric
from avsafe_metrics.video.paired import PairedMeter
from avsafe_metrics.video.ssim import WINDOW, refuse_small, similarity_maps

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
LEAST = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 2 ** (len(WEIGHTS) - 1)  # 176 pixels


def _halved(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    even = picture[:height, :width]
    top = even[0::2, 0::2] + even[0::2, 1::2]
    bottom = even[1::2, 0::2] + even[1::2, 1::2]
    return np.asarray((top + bottom) * np.float32(0.25), np.float32)


def ms_ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """MS-SSIM of two luma pictures of at least 176 pixels a side, 0 to 1, 1 is equal.

    A scale whose term is negative counts as 0 (and so does the whole).

    >>> picture = np.random.default_rng(0).integers(0, 255, (176, 176)).astype(np.uint8)
    >>> round(ms_ssim(picture, picture), 6)
    1.0
    """
    if one.shape != other.shape or min(one.shape) < LEAST:
        raise ValueError(f"{one.shape} and {other.shape}: equal shapes of at least {LEAST} a side")
    a, b = one.astype(np.float32), other.astype(np.float32)
    product, rim = 1.0, WINDOW // 2
    for scale, weight in enumerate(WEIGHTS):
        if scale:
            a, b = _halved(a), _halved(b)
        whole, structure = similarity_maps(a, b)
        last = scale == len(WEIGHTS) - 1
        term = whole if last else structure[rim:-rim, rim:-rim]
        product *= max(0.0, float(term.mean(dtype=np.float64))) ** weight
    return product


class MSSSIM(PlainMetric):
    """MS-SSIM on luma, mean over frames. Equal to torchmetrics' with ``data_range=255``: scales are
    halved by means of 2x2, and the coarsest one counts up to the mirrored border."""

    info = MetricInfo(
        name="ms_ssim",
        version="1",
        title="MS-SSIM",
        columns=(Column("", "", "higher", "1 is equal; on luma", 0.0, 1.0),),
        wants=("luma",),
        family="video",
        beside="reference",
        source="Wang et al. 2003, eq. 7, five scales; borders as in torchmetrics 1.9",
    )

    def open(self, clip: Clip) -> PairedMeter:
        refuse_small(clip, LEAST)
        return PairedMeter(
            clip,
            lambda view, beside: (ms_ssim(view.luma, beside.luma),),
            lambda rows: {"": float(np.mean(rows))},
        )
