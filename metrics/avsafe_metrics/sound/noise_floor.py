"""Noise floor: the level that the sound never falls below for long.

Legend: ``k`` stretches of 20 ms, with a level in dBFS each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric
from avsafe_metrics.sound.silence import FLOOR_DBFS, LevelMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUIET_PERCENTILE, LOUD_PERCENTILE = 10.0, 95.0
LEAST = 50  # stretches: 1 s


def noise_floor(levels: NDArray[np.float64]) -> tuple[float, float]:
    """10th percentile of the levels in dBFS, and how far the 95th lies above it in dB. Stretches of
    digital silence are left out: a gap has no noise. Raises ``Unscorable`` with less than 1 s.

    >>> noise_floor(np.r_[np.full(50, -60.0), np.full(50, -20.0)])
    (-60.0, 40.0)
    """
    heard = levels[levels > FLOOR_DBFS]
    if heard.size < LEAST:
        raise Unscorable(f"{heard.size / 50:.2f} s that are no digital silence: this needs 1 s")
    quiet, loud = np.percentile(heard, [QUIET_PERCENTILE, LOUD_PERCENTILE])
    return float(quiet), float(loud - quiet)


class NoiseFloor(PlainMetric):
    """Level of the quietest tenth, and the range above it. In sound with pauses this is the noise;
    in sound without (music, rain) it is the quietest part of the sound itself."""

    info = MetricInfo(
        name="noise_floor",
        version="1",
        title="Noise floor",
        columns=(
            Column("level", "dBFS", "none", "10th percentile of the level of 20 ms", FLOOR_DBFS),
            Column("range", "dB", "none", "from there to the 95th percentile", 0.0),
        ),
        wants=("sound",),
        family="sound",
        source="percentiles of the level of 20 ms stretches",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip.shape.rate_hz)


class _Meter(LevelMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        level, above = noise_floor(self.levels())
        return {"level": level, "range": above}
