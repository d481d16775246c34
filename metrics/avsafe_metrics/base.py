"""What all metrics here share: the quiet parts of the contract (``avsafe.types.Metric``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.types import Clip, Gathered, Meter, MetricInfo, Samples, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View


def bounded(value: float, low: float, high: float) -> float:
    """A number in its range, which rounding may leave by a digit. What is no number stays none:
    ``min`` and ``max`` would make a perfect score of it.

    >>> bounded(1.0000001, 0.0, 1.0), bounded(float("nan"), 0.0, 1.0)
    (1.0, nan)
    """
    return float(np.clip(value, low, high))


class QuietMeter:
    """A meter that hears and sees nothing: override what the metric listens to."""

    def frame(self, view: View, beside: View | None) -> None:
        """Nothing."""

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        """Nothing."""

    def finish(self, gathered: Gathered) -> Mapping[str, Value | NDArray[Any]]:
        raise NotImplementedError


class PlainMetric:
    """A metric without weights: a subclass gives ``info`` and ``open``."""

    info: MetricInfo

    def prepare(self) -> None:
        """There is nothing to load."""

    def digests(self) -> Mapping[str, str]:
        return {}

    def open(self, clip: Clip) -> Meter:
        raise NotImplementedError
