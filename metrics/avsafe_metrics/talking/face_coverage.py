"""Face coverage: in how much of a clip a face can be measured at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter

if TYPE_CHECKING:
    from avsafe.faces import FaceTrack


def face_coverage(track: FaceTrack) -> dict[str, float]:
    """Shares of frames, 0 to 1: ``""`` with exactly one face, ``seen`` with a face that could be
    followed (the main one, where there are several); ``people``: the most faces seen at once.

    How many faces there are is known at each search of the tracker (every half second) and carried
    to the frames after it; a face that is followed counts as one at least.
    """
    seen = track.seen
    alone = seen & (track.faces <= 1)
    return {"": float(alone.mean()), "seen": float(seen.mean()), "people": float(track.people)}


class FaceCoverage(PlainMetric):
    """In how many frames ``avsafe.faces`` sees one face. Read it first: the other metrics of this
    family give reasons where it is low. A clip of scenery has 0, which is a number, not a failure.
    """

    info = MetricInfo(
        name="face_coverage",
        version="1",
        title="Face coverage",
        columns=(
            Column("", "", "none", "share of frames with one face", 0.0, 1.0),
            Column("seen", "", "none", "share of frames with a face that is followed", 0.0, 1.0),
            Column("people", "", "none", "most faces at once", 0.0),
        ),
        wants=("faces",),
        family="talking",
        source="avsafe.faces (docs/faces.md)",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        if gathered.faces is None or not len(gathered.faces):
            raise Unscorable("no frame to look for faces in")
        return {**face_coverage(gathered.faces)}
