"""Blinks: how often and for how long both eyes close.

Legend: ``t`` frames; an eye's opening is the gap between its lids over its width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.faces import eye_opening
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.talking.tracks import track_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.faces import FaceTrack

MIN_S = 5.0  # people blink 10 to 20 times a minute: below this a count is chance
LEAST_RATE_HZ = 15.0  # a blink lasts 0.1 to 0.4 s: three frames at least
AROUND_S = 1.5  # the open eye is the upper level of this long before and after
DROP = 0.3  # of the open eye goes in a blink: the landmarks close shut eyes half way only
HALF = 0.5  # of that drop is where it begins and ends
SHORTEST_S, LONGEST_S = 0.06, 0.6  # a longer one is a look down or a closed eye


def blinks(opening: NDArray[np.float64], rate_hz: float) -> list[tuple[int, int]]:
    """(first, end) frames of the blinks in (t,) openings of one stretch: dips by 30 % or more of
    the open eye around them, measured at half their depth, of 0.06 to 0.6 s.

    >>> eye = np.full(75, 0.3)
    >>> eye[30:35] = (0.2, 0.05, 0.05, 0.1, 0.25)
    >>> blinks(eye, 25.0)
    [(31, 34)]
    """
    n, reach = len(opening), max(1, round(AROUND_S * rate_hz))
    open_eye = np.array(
        [np.percentile(opening[max(0, i - reach) : i + reach + 1], 75) for i in range(n)]
    )
    closed = 1 - opening / np.maximum(open_eye, 1e-6)  # 0 open, 1 shut
    found: list[tuple[int, int]] = []
    at = 0
    while at < n:
        if closed[at] < DROP:
            at += 1
            continue
        end = at
        while end < n and closed[end] >= DROP * HALF:
            end += 1
        peak = at + int(np.argmax(closed[at:end]))
        level = closed[peak] * HALF
        first, last = peak, peak
        while first > 0 and closed[first - 1] >= level:
            first -= 1
        while last + 1 < n and closed[last + 1] >= level:
            last += 1
        inside = first > 0 and last + 1 < n  # one that is cut off has no length
        if inside and SHORTEST_S <= (last + 1 - first) / rate_hz <= LONGEST_S:
            found.append((first, last + 1))
        at = max(end, last + 1)
    return found


def blink_statistics(track: FaceTrack) -> dict[str, float]:
    """``per_minute`` and ``count`` over the time with a face; ``duration_ms``: the mean at half
    depth (NaN without a blink)."""
    left, right = eye_opening(track.points)
    opening = (left + right) / 2
    rate = float(track.frame_rate)
    spans, frames = [], 0
    for first, end in track.runs(3):
        frames += end - first
        spans += blinks(opening[first:end], rate)
    lengths_ms = [1000 * (end - first) / rate for first, end in spans]
    return {
        "per_minute": 60 * len(spans) / (frames / rate) if frames else float("nan"),
        "count": float(len(spans)),
        "duration_ms": float(np.mean(lengths_ms)) if lengths_ms else float("nan"),
    }


class Blink(PlainMetric):
    """Blinks of one person. Whole blinks are found, half ones are mostly missed: the landmarks
    hardly tell a half-closed lid (measured validity: docs/metrics/talking.md).

    Adults at rest blink about 17 times a minute, 26 in conversation (Bentivoglio et al. 1997).
    """

    info = MetricInfo(
        name="blink",
        version="1",
        title="Blinks",
        columns=(
            Column("per_minute", "1/min", "none", "blinks a minute", 0.0),
            Column("count", "", "none", "blinks that were counted", 0.0),
            Column("duration_ms", "ms", "none", "mean length at half depth", 0.0),
        ),
        wants=("faces",),
        family="talking",
        source="dips of avsafe.faces.eye_opening (after Soukupova & Cech 2016)",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        track = track_of(gathered, MIN_S)
        if float(track.frame_rate) < LEAST_RATE_HZ:
            raise Unscorable(
                f"{float(track.frame_rate):g} frames a second; a blink needs {LEAST_RATE_HZ:g}"
            )
        found = blink_statistics(track)
        values: dict[str, float | str] = {**found}
        if np.isnan(found["duration_ms"]):
            values["duration_ms"] = "no blink"
        return values
