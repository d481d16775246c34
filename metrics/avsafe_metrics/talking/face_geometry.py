"""Face geometry drift: whether the bones of a face stay where they were, without any weights.

Legend: ``t`` frames; points are (t, 152, 2) px; ``n`` = 47 points that neither mouth, jaw nor lids
move (nose, corners of the eyes, forehead from ear to ear).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from avsafe.faces import GROUPS
from avsafe.types import Clip, Column, Gathered, MetricInfo
from avsafe_metrics.base import PlainMetric, QuietMeter
from avsafe_metrics.talking.tracks import track_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_S = 2.0
FIRM = (
    *GROUPS["nose_bridge"],
    *GROUPS["nose_base"],
    *(GROUPS[eye][corner] for eye in ("left_eye", "right_eye") for corner in (0, 8)),
    *(GROUPS["oval"][place] for place in range(-9, 10)),
)


@lru_cache(maxsize=1)
def _mean_face() -> NDArray[np.float64]:
    from avsafe.faces.alignment import template

    face = template()[list(FIRM)].astype(np.float64)
    return np.asarray(face - face.mean(0))


def own_shape(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """(t, n, 2): where the firm points lie beside the mean face, in distances between the eyes,
    upright, for (t, 152, 2) landmarks.

    The mean face in three dimensions is laid under the points of a frame by the affine camera that
    fits best (least squares); what is left over, turned upright and freed of scale, is this
    person's own shape. Turn, place, size and the camera's stretch are gone from it.
    """
    mean = _mean_face()
    image = points[:, list(FIRM)].astype(np.float64)
    image = image - image.mean(1, keepdims=True)
    cameras = np.linalg.pinv(mean) @ image  # (t, 3, 2)
    u, sizes, vt = np.linalg.svd(np.swapaxes(cameras, 1, 2), full_matrices=False)
    turned = u @ vt  # (t, 2, 3), the nearest two rows of a rotation
    roll = -np.arctan2(turned[:, 1, 0], turned[:, 0, 0])
    upright = np.stack(
        [np.stack([np.cos(roll), -np.sin(roll)], -1), np.stack([np.sin(roll), np.cos(roll)], -1)],
        -2,
    )
    left = (image - mean @ cameras) @ np.swapaxes(upright, 1, 2)
    return np.asarray(left / np.maximum(sizes.mean(-1), 1e-9)[:, None, None])


def geometry_drift(points: NDArray[np.float32]) -> float:
    """Per cent of the distance between the eyes by which the mean own shape of the first and of the
    second half of (t, 152, 2) landmarks differ (root of the mean square over points); t >= 2.

    0 is one face throughout; lower is steadier. Another face from the middle on counts in full, one
    from a quarter or from three quarters on by half.
    """
    shapes = own_shape(points)
    half = len(shapes) // 2
    apart = shapes[:half].mean(0) - shapes[half:].mean(0)
    return 100.0 * float(np.sqrt(np.mean(np.sum(apart**2, -1))))


class FaceGeometryDrift(PlainMetric):
    """How far the firm points of one face wander over a clip, turn of the head taken out: a measure
    of our own that needs no weights. It is no recognition: it compares a clip with itself.

    It tells another face in the second half from the same face (docs/metrics/talking.md has the
    figures); a face that changes and changes back, or in texture alone, it does not.
    """

    info = MetricInfo(
        name="face_geometry_drift",
        version="1",
        title="Face geometry drift",
        columns=(Column("", "%", "lower", "of the eye distance, first to second half", 0.0),),
        wants=("faces",),
        family="talking",
        source="own: residual of an affine camera on avsafe.faces' mean face, halves compared",
    )

    def open(self, clip: Clip) -> _Meter:
        return _Meter()


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> dict[str, float | str]:
        track = track_of(gathered, MIN_S)
        return {"": geometry_drift(track.points[track.seen])}
