"""Figures of the landmark model on people it never saw: what its card states.

Legend: errors are mean distances over the distance between the eyes (NME), in per cent; the truth
is the track of MediaPipe Face Mesh that the model learns from, itself not free of error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces import GROUPS, Face, Landmarks, eye_opening, landmarks, mouth_opening
from avsafe.faces.points import five_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = Any


def wrong_face(points: Array, rng: np.random.Generator, jitter: float) -> Face:
    """A detection as a poor detector would give it: five points turned by up to 15 degrees, scaled
    by up to 15 %, moved by up to a fifth of the eye distance, all times ``jitter``.
    """
    five = five_of(points).astype(np.float64)
    eyes = float(np.hypot(*(five[1] - five[0])))
    turn = np.radians(15) * rng.uniform(-jitter, jitter)
    size = np.exp(0.15 * rng.uniform(-jitter, jitter))
    rotation = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = five.mean(0)
    moved = (five - centre) @ rotation.T + centre + 0.2 * eyes * rng.uniform(-jitter, jitter, 2)
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return Face(float(x0), float(y0), float(x1), float(y1), 1.0, moved.astype(np.float32))


def figures(clips: list[Any], *, jitter: float = 1.0, seed: int = 0) -> dict[str, dict[str, float]]:
    """Per clip, and over all of them (each clip counts alike)."""
    rng = np.random.default_rng(seed)
    lips = [*GROUPS["lips_outer"], *GROUPS["lips_inner"]]
    inner = sorted(set(range(152)) - set(GROUPS["oval"]))
    result: dict[str, dict[str, float]] = {}
    for clip in clips:
        found = [
            landmarks(frame, wrong_face(points, rng, jitter))
            for frame, points in zip(clip.frames, clip.points, strict=True)
        ]
        predicted = np.stack([face.points for face in found])
        eyes = np.array([Landmarks(points).interocular for points in clip.points])
        errors = 100 * np.hypot(*np.moveaxis(predicted - clip.points, -1, 0)) / eyes[:, None]
        mouth = np.corrcoef(mouth_opening(predicted), mouth_opening(clip.points))[0, 1]
        lids = [np.mean(eye_opening(points), axis=0) for points in (predicted, clip.points)]
        result[clip.name] = {
            "all": float(errors.mean()),
            "without oval": float(errors[:, inner].mean()),
            "lips": float(errors[:, lips].mean()),
            "worst 5 %": float(np.quantile(errors.mean(1), 0.95)),
            "mouth correlation": float(mouth),
            "eyes correlation": float(np.corrcoef(*lids)[0, 1]),
            "doubt": float(np.median([face.doubt for face in found])),
        }
    names = next(iter(result.values()), {})
    result["mean"] = {n: float(np.mean([row[n] for row in result.values()])) for n in names}
    return result
