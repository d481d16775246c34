"""What all metrics here share: the quiet parts of the contract (``avsafe.types.Metric``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from avsafe.types import Clip, Gathered, Meter, MetricInfo, Samples, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View


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
