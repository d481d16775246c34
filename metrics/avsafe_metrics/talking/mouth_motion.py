"""Mouth motion: how far and how lively the lips open. No evidence of lip-sync.

Legend: ``t`` frames; the opening is the gap between the lips over the mouth's width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from avsafe.faces import mouth_opening
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.talking.tracks import spread, track_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.faces import FaceTrack

MIN_S = 1.0
WINDOW_S = (
    0.4  # in which a speaking mouth opens or closes at least once (syllables: 3 to 7 a second)
)
MOVING = 0.06  # travel of the opening within the window, above the jitter of still faces


def mouth_motion(track: FaceTrack) -> dict[str, float]:
    """``range``: opening from the 5th to the 95th percentile; ``sd``; ``mean``; ``moving``: share
    of the frames around which the mouth moves, 0 to 1."""
    opening = mouth_opening(track.points)
    seen = opening[track.seen]
    moves = moving(track)
    return {
        "range": spread(seen),
        "sd": float(np.std(seen)),
        "mean": float(np.mean(seen)),
        "moving": float(moves[track.seen].mean()),
    }


def moving(track: FaceTrack) -> NDArray[np.bool_]:
    """(t,) where the opening travels by more than 0.06 within 0.4 s around a frame; False where no
    face was seen."""
    opening = mouth_opening(track.points)
    reach = max(1, round(WINDOW_S * float(track.frame_rate) / 2))
    result = np.zeros(len(track), bool)
    for first, end in track.runs():
        for at in range(first, end):
            part = opening[max(first, at - reach) : min(end, at + reach + 1)]
            result[at] = np.ptp(part) > MOVING
    return result


class MouthMotion(PlainMetric):
    """How far the mouth of one person opens and how much of the time it moves.

    It says nothing of sync: on ten real talking clips the correlation of opening and loudness told
    true sound from shifted sound in one or two (docs/metrics/talking.md).
    """

    info = MetricInfo(
        name="mouth_motion",
        version="1",
        title="Mouth motion",
        columns=(
            Column("range", "", "none", "opening, 5th to 95th percentile", 0.0),
            Column("sd", "", "none", "standard deviation of the opening", 0.0),
            Column("mean", "", "none", "mean opening: gap over width", 0.0),
            Column("moving", "", "none", "share of frames in which the mouth moves", 0.0, 1.0),
        ),
        wants=("faces",),
        family="talking",
        source="avsafe.faces.mouth_opening (docs/faces.md)",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        return {**mouth_motion(track_of(gathered, MIN_S))}
