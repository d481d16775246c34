"""Exposure: how bright, how contrasted, how much is crushed or burnt out, how much it pumps.

Legend: ``h`` ``w`` pixels; luma is (h, w) uint8, full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

DARK, BRIGHT = 5, 250  # of 255: at or beyond, nothing can be told apart
_LEVELS = np.arange(256)


def exposure(luma: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Mean and standard deviation of luma as shares of the range, share of pixels at most 5 and of
    pixels at least 250.

    >>> exposure(np.array([[0, 255], [0, 255]], np.uint8))
    (0.5, 0.5, 0.5, 0.5)
    """
    import cv2

    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel().astype(float) / luma.size
    mean = float(counts @ _LEVELS)
    deviation = float(np.sqrt(counts @ (_LEVELS - mean) ** 2))
    dark, bright = float(counts[: DARK + 1].sum()), float(counts[BRIGHT:].sum())
    return mean / 255, deviation / 255, dark, bright


class Exposure(PlainMetric):
    """Statistics of luma, mean over frames, and the pumping of its mean from frame to frame."""

    info = MetricInfo(
        name="exposure",
        version="1",
        title="Exposure",
        columns=(
            Column("mean", "", "none", "mean luma, 0 black to 1 white", 0.0, 1.0),
            Column("contrast", "", "none", "standard deviation of luma (RMS contrast)", 0.0, 0.5),
            Column("dark", "", "none", "share of pixels at most 5 of 255", 0.0, 1.0),
            Column("bright", "", "none", "share of pixels at least 250 of 255", 0.0, 1.0),
            Column("pumping", "", "lower", "mean step of the mean luma between frames", 0.0, 1.0),
        ),
        wants=("luma",),
        family="video",
        source="histogram of luma; RMS contrast as in Peli 1990",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._values: list[tuple[float, float, float, float]] = []

    def frame(self, view: View, beside: View | None) -> None:
        self._values.append(exposure(view.luma))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        table = np.array(self._values)
        found: dict[str, float | str] = {
            name: float(value)
            for name, value in zip(
                ("mean", "contrast", "dark", "bright"), table.mean(axis=0), strict=True
            )
        }
        found["pumping"] = f"{len(table)} frame: a step needs two"
        if len(table) > 1:
            found["pumping"] = float(np.mean(np.abs(np.diff(table[:, 0]))))
        return found
