"""Silence: how much of the sound is none, and where.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; ``k`` stretches of 20 ms, with a level in dBFS
each (0 dBFS is the power of a full-scale square wave; a constant offset is no sound).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.blocks import Stretches, decibel

if TYPE_CHECKING:
    from numpy.typing import NDArray

PER_S = 50
SILENT_DBFS = -60.0
BELOW_DB = 40.0  # quiet: this far below the loud level of the same sound
LOUD_PERCENTILE = 95.0
FLOOR_DBFS = -120.0  # of digital silence


def level(stretch: NDArray[Any]) -> float:
    """Level in dBFS of ``(c, n)``: mean variance of its channels.

    >>> level(np.full((1, 960), 0.5)), round(level(np.tile([0.1, -0.1], (1, 480))), 6)
    (-120.0, -20.0)
    """
    return decibel(float(stretch.astype(np.float64).var(axis=1).mean()), FLOOR_DBFS)


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``(r, 2)``: first and past-the-last place of each run of True.

    >>> runs(np.array([True, False, True, True])).tolist()
    [[0, 1], [2, 4]]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    return edges.reshape(-1, 2).astype(np.int64)


def silence(levels: NDArray[np.float64]) -> dict[str, float]:
    """Share of silence, of quiet, and seconds of silence: longest, at the beginning, at the end."""
    silent = levels < SILENT_DBFS
    found = runs(silent)
    lengths = (found[:, 1] - found[:, 0]) / PER_S
    loud = float(np.percentile(levels, LOUD_PERCENTILE))
    starts = found.size and found[0, 0] == 0
    ends = found.size and found[-1, 1] == levels.size
    return {
        "share": float(silent.mean()),
        "relative_share": float((levels < max(loud - BELOW_DB, FLOOR_DBFS + 1e-9)).mean()),
        "longest_s": float(lengths.max(initial=0.0)),
        "leading_s": float(lengths[0]) if starts else 0.0,
        "trailing_s": float(lengths[-1]) if ends else 0.0,
    }


class Silence(PlainMetric):
    """Silence in stretches of 20 ms: below -60 dBFS (absolute), or 40 dB below the sound's own
    95th percentile (relative, does not change with gain)."""

    info = MetricInfo(
        name="silence",
        version="1",
        title="Silence",
        columns=(
            Column("share", "", "none", "of the time below -60 dBFS", 0.0, 1.0),
            Column("relative_share", "", "none", "40 dB below the loud parts", 0.0, 1.0),
            Column("longest_s", "s", "none", "the longest silence", 0.0),
            Column("leading_s", "s", "none", "silence before the first sound", 0.0),
            Column("trailing_s", "s", "none", "silence after the last sound", 0.0),
        ),
        wants=("sound",),
        family="sound",
        source="level of 20 ms stretches against -60 dBFS, and against its own percentile - 40 dB",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip.shape.rate_hz)


class LevelMeter(QuietMeter):
    """Levels of 20 ms; what is left at the end counts from half of that on."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._stretches = Stretches(rate_hz, PER_S)
        self._levels: list[float] = []

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        self._levels += [level(stretch) for stretch in self._stretches.take(block)]

    def levels(self) -> NDArray[np.float64]:
        """``(k,)``; raises ``Unscorable`` below 20 ms."""
        rest = self._stretches.rest()
        found = self._levels
        if rest is not None and rest.shape[1] >= self._rate_hz / PER_S / 2:
            found = [*found, level(rest)]
        if not self._levels:
            raise Unscorable("less than 20 ms of sound")
        return np.array(found)


class _Meter(LevelMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return dict(silence(self.levels()))
