"""Clipping: samples that stand at a flat top.

Legend: a block is ``(c, n)`` float32 in [-1, 1]; ``c`` channels, ``n`` samples.

A flat top is a run of three or more samples that agree within ``STEP``, near the highest level of
its channel and sign, from which the waveform falls away by at least ``FALL`` on both sides. A
smooth crest that is flat within ``STEP`` over three samples falls by four steps beside them, so it
is no flat top; a clipped wave arrives with a slope. Scaling the clipped sound changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo, Samples
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.sound.blocks import Stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 2.0**-14  # two steps of 16 bits
FALL = 8 * STEP
LEAST = 3  # samples in a run
NEAR_DB = 0.5  # a flat top lies this near the highest level of its sign
FULL = 1 - 2.0**-14  # what counts as full scale: 16 bits end at 1 - 2^-15
QUIETEST = 10 ** (-60 / 20)  # a sound that stays below has no crest that can be judged
_BIN_DB = 0.05


class FlatTops:
    """Flat tops of one channel, fed in order; keeps a short histogram of their levels.

    >>> tops = FlatTops()
    >>> tops.take(np.clip(2 * np.sin(np.arange(4800) * 0.05), -0.4, 0.4))
    >>> tops.counted()[0] / 4800 > 0.8
    True
    """

    def __init__(self) -> None:
        self.n = 0
        self.highest = {1: 0.0, -1: 0.0}
        self._levels: dict[tuple[int, int], int] = defaultdict(int)  # (sign, bin) -> samples
        self._longest: dict[tuple[int, int], int] = defaultdict(int)
        self._last: float | None = None  # the sample before the next block
        self._run = 0  # length of the run that is open, ending at that sample
        self._outside: float | None = None  # the sample before that run

    def take(self, x: NDArray[Any]) -> None:
        """Samples ``(n,)`` that follow the last ones."""
        x = x.astype(np.float64)
        if not x.size:
            return
        self.n += x.size
        self.highest[1] = max(self.highest[1], float(x.max()))
        self.highest[-1] = max(self.highest[-1], float(-x.min()))
        if self._last is None:
            self._last, x, self._run = float(x[0]), x[1:], 1
        joined = np.concatenate([[self._last], x])
        ends = np.flatnonzero(np.abs(np.diff(joined)) > STEP)  # runs end at these places
        if ends.size:
            starts = np.concatenate([[0], ends[:-1] + 1])
            lengths = ends - starts + 1
            lengths[0] += self._run - 1
            long = np.flatnonzero(lengths >= LEAST)
            for index in long:
                start, end = int(starts[index]), int(ends[index])
                before = self._outside if index == 0 else float(joined[start - 1])
                self._close(float(joined[end]), int(lengths[index]), before, float(joined[end + 1]))
            self._outside = float(joined[ends[-1]])
            self._run = joined.size - 1 - int(ends[-1])
        else:
            self._run += x.size
        self._last = float(joined[-1])

    def _close(self, level: float, length: int, before: float | None, after: float | None) -> None:
        sign = 1 if level > 0 else -1
        falls = [sign * (level - outside) for outside in (before, after) if outside is not None]
        if falls and min(falls) >= FALL and abs(level) > QUIETEST:
            key = (sign, round(20 * np.log10(abs(level)) / _BIN_DB))
            self._levels[key] += length
            self._longest[key] = max(self._longest[key], length)

    def counted(self) -> tuple[int, int]:
        """Samples in flat tops, and the longest of these; the open run ends here."""
        if self._run >= LEAST and self._last is not None:
            self._close(self._last, self._run, self._outside, None)
            self._run = 0
        samples = longest = 0
        for (sign, place), count in self._levels.items():
            if self.highest[sign] <= 0:
                continue
            if place * _BIN_DB >= 20 * np.log10(self.highest[sign]) - NEAR_DB:
                samples += count
                longest = max(longest, self._longest[sign, place])
        return samples, longest


class Clipping(PlainMetric):
    """Share of samples at flat tops, however the sound was scaled after it was clipped.

    A lossy codec, a resampler or a filter after the clipping rounds flat tops off, and they are no
    longer seen. Sound of 8 bits and square waves read as clipped.
    """

    info = MetricInfo(
        name="clipping",
        version="1",
        title="Clipping",
        columns=(
            Column("share", "", "lower", "samples at flat tops near the highest level", 0.0, 1.0),
            Column("full_scale", "", "lower", "samples at full scale", 0.0, 1.0),
            Column("longest_ms", "ms", "lower", "the longest flat top", 0.0),
        ),
        wants=("sound",),
        family="sound",
        source="runs of equal samples that the waveform meets with a slope; see the docstring",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter(clip.shape.rate_hz, clip.shape.channels)


class _Meter(QuietMeter):
    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._tops = [FlatTops() for _ in range(channels)]
        self._full = 0
        self._stretches = Stretches(rate_hz, 1)

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        for stretch in self._stretches.take(block):
            self._look(stretch)

    def _look(self, stretch: NDArray[Any]) -> None:
        self._full += int(np.count_nonzero(np.abs(stretch) >= FULL))
        for tops, channel in zip(self._tops, stretch, strict=True):
            tops.take(channel)

    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        rest = self._stretches.rest()
        if rest is not None:
            self._look(rest)
        n = sum(tops.n for tops in self._tops)
        if n < LEAST:
            raise Unscorable(f"{n} samples: a flat top needs {LEAST}")
        highest = max(max(tops.highest.values()) for tops in self._tops)
        if highest < QUIETEST:
            raise Unscorable("the sound stays below -60 dBFS")
        counted = [tops.counted() for tops in self._tops]
        return {
            "share": sum(samples for samples, _ in counted) / n,
            "full_scale": self._full / n,
            "longest_ms": 1000 * max(longest for _, longest in counted) / self._rate_hz,
        }
