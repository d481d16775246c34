"""DC offset: the mean of a channel, which should be nothing.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; ``c`` channels, ``n`` samples.
"""

from __future__ import annotations

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import PlainMetric, QuietMeter

LEAST_S = 0.1  # below, half a period of a low tone is an offset


class DcOffset(PlainMetric):
    """Mean of the channel whose mean lies farthest from 0, as a share of full scale."""

    info = MetricInfo(
        name="dc_offset",
        version="1",
        title="DC offset",
        columns=(Column("", "", "lower", "largest |mean| of a channel", 0.0, 1.0),),
        wants=("sound",),
        family="sound",
        source="arithmetic mean of the samples",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip.shape.rate_hz, clip.shape.channels)


class _Meter(QuietMeter):
    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._sums = np.zeros(channels)
        self._n = 0

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        self._sums += block.sum(axis=1, dtype=np.float64)
        self._n += block.shape[1]

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if self._n < LEAST_S * self._rate_hz:
            raise Unscorable(f"{self._n / self._rate_hz:.3f} s of sound: a mean needs {LEAST_S} s")
        return {"": float(np.abs(self._sums / self._n).max())}
