"""Head pose: how much and how fast a head turns.

Legend: ``t`` frames; angles in degrees: yaw, pitch, roll as in ``avsafe.faces.head_pose``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.talking.tracks import angles, rotations, spread, track_of, turn_between

if TYPE_CHECKING:
    from avsafe.faces import FaceTrack

MIN_S = 1.0
STEP_S = (
    0.2  # over which a turn is measured: longer than the jitter of landmarks, shorter than a nod
)
TURNS = ("yaw", "pitch", "roll")


def head_motion(track: FaceTrack) -> dict[str, float]:
    """For each of yaw, pitch and roll ``*_sd`` (standard deviation) and ``*_range`` (5th to 95th
    percentile) in degrees, over all frames with a face; ``speed_deg_s``: the mean turn over 0.2 s
    as degrees a second, within stretches without cut or gap (NaN where none lasts that long).

    Standard deviation and range count where the head was, not when: halves of a clip may differ.
    """
    degrees = angles(track.points)
    seen = track.seen
    found: dict[str, float] = {}
    for place, name in enumerate(TURNS):
        values = degrees[seen, place]
        found[f"{name}_sd"], found[f"{name}_range"] = float(np.std(values)), spread(values)
    step = max(1, round(STEP_S * float(track.frame_rate)))
    turns = rotations(degrees)
    speeds = [
        turn_between(turns[first : end - step], turns[first + step : end])
        for first, end in track.runs(step + 1)
    ]
    joined = np.concatenate([np.zeros(0), *speeds]) * float(track.frame_rate) / step
    found["speed_deg_s"] = float(joined.mean()) if joined.size else float("nan")
    return found


def _columns() -> tuple[Column, ...]:
    pairs = [
        (
            Column(f"{name}_sd", "deg", "none", f"standard deviation of {name}", 0.0),
            Column(f"{name}_range", "deg", "none", f"{name}, 5th to 95th percentile", 0.0),
        )
        for name in TURNS
    ]
    speed = Column("speed_deg_s", "deg/s", "none", "mean turn over 0.2 s", 0.0)
    return (*(column for pair in pairs for column in pair), speed)


class HeadPoseMotion(PlainMetric):
    """Statistics of the head's turn in a clip of one person. They describe; still heads and heads
    that reel are both unlike people, so none is "better": compare with real clips.
    """

    info = MetricInfo(
        name="head_pose",
        version="1",
        title="Head pose statistics",
        columns=_columns(),
        wants=("faces",),
        family="talking",
        source="orthographic pose of avsafe.faces (docs/faces.md: some 5 degrees on people)",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        found = head_motion(track_of(gathered, MIN_S))
        values: dict[str, float | str] = {**found}
        if np.isnan(found["speed_deg_s"]):
            values["speed_deg_s"] = "no stretch of 0.2 s without a cut or a gap"
        return values
