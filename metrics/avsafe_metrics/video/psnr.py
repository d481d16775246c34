"""Peak signal-to-noise ratio against a reference.

Legend: ``h`` ``w`` pixels; a frame is (h, w, 3) uint8 RGB, luma (h, w) uint8 full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Clip, Column, MetricInfo, Value
from avsafe_metrics.base import PlainMetric
from avsafe_metrics.video.paired import PairedMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

CAP_DB = 100.0  # of a frame without any error, whose PSNR is infinite


def mean_squared_error(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean of squared differences over all pixels and channels, in levels squared.

    >>> mean_squared_error(np.zeros((2, 2), np.uint8), np.full((2, 2), 5, np.uint8))
    25.0
    """
    import cv2

    return float(cv2.norm(one, other, cv2.NORM_L2SQR)) / one.size


def decibels(mse: Any) -> Any:
    """10 log10(255^2 / mse) of one or many errors, at most 100.

    >>> float(np.round(decibels(25.0), 4)), float(decibels(0.0))
    (34.1514, 100.0)
    """
    return np.minimum(CAP_DB, 10 * np.log10(255.0**2 / np.maximum(mse, 1e-12)))


class PSNR(PlainMetric):
    """PSNR of 8-bit frames (data range 255).

    ``rgb`` and ``y`` are means over frames of each frame's dB, as in papers on editing and in
    scikit-image on each frame; ``y_pooled`` is the dB of the mean error, as FFmpeg's psnr filter
    prints it under "average", on luma.
    """

    info = MetricInfo(
        name="psnr",
        version="1",
        title="PSNR",
        columns=(
            Column("rgb", "dB", "higher", "RGB, mean of the frames' dB", 0.0, CAP_DB),
            Column("y", "dB", "higher", "full-range luma, mean of the frames' dB", 0.0, CAP_DB),
            Column("y_pooled", "dB", "higher", "full-range luma, dB of the mean error", 0.0,
                   CAP_DB),
        ),
        wants=("rgb", "luma"),
        family="video",
        beside="reference",
        source="10 log10(255^2 / MSE); a frame equal to its reference counts 100 dB",
    )  # fmt: skip

    def open(self, clip: Clip) -> PairedMeter:
        return PairedMeter(clip, _compare, _conclude)


def _compare(view: View, beside: View) -> tuple[float, ...]:
    return mean_squared_error(view.rgb, beside.rgb), mean_squared_error(view.luma, beside.luma)


def _conclude(rows: list[tuple[float, ...]]) -> dict[str, Value]:
    errors = np.array(rows)
    rgb, y = decibels(errors).mean(axis=0)
    return {"rgb": float(rgb), "y": float(y), "y_pooled": float(decibels(errors[:, 1].mean()))}
