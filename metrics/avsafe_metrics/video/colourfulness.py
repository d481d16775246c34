"""Colourfulness of Hasler and Süsstrunk.

Legend: ``h`` ``w`` pixels; a frame is (h, w, 3) uint8 RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View

# red-green = R - G; yellow-blue = (R + G) / 2 - B
OPPONENTS = np.array([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])


def colourfulness(rgb: NDArray[np.uint8]) -> float:
    """sqrt(var rg + var yb) + 0.3 sqrt(mean rg ^2 + mean yb ^2): 0 is grey, 109 "extremely
    colourful" in the paper's experiment.

    >>> colourfulness(np.full((4, 4, 3), 90, np.uint8))
    0.0
    """
    import cv2

    opponents = cv2.transform(rgb.astype(np.float32), OPPONENTS.astype(np.float32))
    mean, deviation = cv2.meanStdDev(opponents)
    return float(np.hypot(*deviation[:, 0]) + 0.3 * np.hypot(*mean[:, 0]))


class Colourfulness(PlainMetric):
    """Hasler and Süsstrunk 2003, equation of their M3 (sRGB), mean over frames."""

    info = MetricInfo(
        name="colourfulness",
        version="1",
        title="Colourfulness",
        columns=(Column("", "", "none", "0 is grey, above 80 is very colourful", 0.0),),
        wants=("rgb",),
        family="video",
        source="Hasler and Süsstrunk 2003, Measuring colourfulness in natural images, M3",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def __init__(self) -> None:
        self._values: list[float] = []

    def frame(self, view: View, beside: View | None) -> None:
        self._values.append(colourfulness(view.rgb))

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {"": float(np.mean(self._values))}
