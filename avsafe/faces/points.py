"""What a face is here: a box with five points, or 152 landmarks with named groups.

Legend: points are ``(x, y)`` in pixels of the frame, x to the right, y down; the centre of the
first pixel is (0, 0). *Left* and *right* in names of groups mean the person's own left and right,
as in MediaPipe Face Mesh, whose vertex numbers ``MESH_INDEX`` holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float32]  # (n, 2) px in the frame
else:
    Points = Any

# Contours by mesh number, in drawing order. The numbering is that of MediaPipe Face Mesh
# (Kartynnik et al. 2019, "Real-time facial surface geometry from monocular video").
_CONTOURS: dict[str, tuple[int, ...]] = {
    # from the person's right corner along the lower lip to the left corner and back above
    "lips_outer": (
        *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
        *(409, 270, 269, 267, 0, 37, 39, 40, 185),
    ),
    "lips_inner": (
        *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
        *(415, 310, 311, 312, 13, 82, 81, 80, 191),
    ),
    # from the top of the forehead over the person's left side to the chin and back
    "oval": (
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ),
    # from the outer corner along the lower lid to the inner corner and back above
    "left_eye": (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    "right_eye": (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    # the lower edge from outside to inside, the upper edge back
    "left_brow": (276, 283, 282, 295, 285, 336, 296, 334, 293, 300),
    "right_brow": (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
    "nose_bridge": (168, 6, 197, 195, 5, 4, 1),
    # below the tip, and the wings from the person's right to the left
    "nose_base": (
        *(48, 64, 98, 97, 2, 326, 327, 294, 278),
        *(19, 94, 115, 220, 45, 275, 440, 344),
    ),
}
_LIPS = sorted({*_CONTOURS["lips_outer"], *_CONTOURS["lips_inner"]})
_OVAL = sorted(_CONTOURS["oval"])
_EYES = [*sorted(_CONTOURS["left_eye"]), *sorted(_CONTOURS["right_eye"])]
_BROWS = [*sorted(_CONTOURS["left_brow"]), *sorted(_CONTOURS["right_brow"])]
_NOSE = sorted({*_CONTOURS["nose_bridge"], *_CONTOURS["nose_base"]})

# The mesh's own number of each landmark: 40 lips, 36 oval, 32 eyes, 20 brows, 24 nose.
MESH_INDEX: tuple[int, ...] = (*_LIPS, *_OVAL, *_EYES, *_BROWS, *_NOSE)
POINT_COUNT = len(MESH_INDEX)  # 152
_PLACE = {mesh: place for place, mesh in enumerate(MESH_INDEX)}

# Name of a group -> places (rows of Landmarks.points) in drawing order.
GROUPS: dict[str, tuple[int, ...]] = {
    name: tuple(_PLACE[mesh] for mesh in contour) for name, contour in _CONTOURS.items()
}


def _mirror() -> tuple[int, ...]:
    other = dict(zip(_CONTOURS["left_eye"], _CONTOURS["right_eye"], strict=True))
    other |= dict(zip(_CONTOURS["left_brow"], _CONTOURS["right_brow"], strict=True))
    oval = _CONTOURS["oval"]
    other |= dict(zip(oval, (oval[0], *reversed(oval[1:])), strict=True))
    for name in ("lips_outer", "lips_inner"):  # corner 0 and corner 10 change places
        lips = _CONTOURS[name]
        other |= dict(zip(lips, (lips[(10 - i) % 20] for i in range(20)), strict=True))
    wings = {48: 278, 64: 294, 98: 327, 97: 326, 115: 344, 220: 440, 45: 275}
    other |= wings | {mesh: mesh for mesh in (*_CONTOURS["nose_bridge"], 2, 19, 94)}
    other |= {right: left for left, right in other.items()}
    return tuple(_PLACE[other[mesh]] for mesh in MESH_INDEX)


# Of a mirrored picture: points[list(MIRROR)], with w - 1 - x for x.
MIRROR: tuple[int, ...] = _mirror()

_TIP, _CORNERS = _PLACE[4], (_PLACE[61], _PLACE[291])


@dataclass(frozen=True, eq=False)
class Face:
    """A face that was found. ``points`` are, as one sees them in the picture of an upright head:
    the eye on the left, the eye on the right, the tip of the nose, the corner of the mouth on the
    left and on the right.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    score: float  # 0..1; not a calibrated probability
    points: Points  # (5, 2)

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The landmarks of one face in one frame.

    ``doubt`` is how far a look and a look in the mirror lie apart, in distances between the eyes:
    about 0.03 on a clear face, mostly above 0.1 where there is none. NaN when nothing was looked at
    (``from_five_points``).
    """

    points: Points  # (152, 2) px in the frame, in the order of MESH_INDEX
    doubt: float = field(default=float("nan"))

    def group(self, name: str) -> Points:
        """The points of one of GROUPS, in drawing order."""
        return self.points[list(GROUPS[name])]

    @property
    def five(self) -> Points:
        """Eyes, nose tip and mouth corners, ordered as in ``Face.points``: (5, 2)."""
        return five_of(self.points)

    @property
    def interocular(self) -> float:
        """Distance between the centres of the eyes in px."""
        five = self.five
        return float(np.hypot(*(five[1] - five[0])))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 around all points."""
        (x0, y0), (x1, y1) = self.points.min(0), self.points.max(0)
        return float(x0), float(y0), float(x1), float(y1)


def five_of(points: Points) -> Points:
    """(..., 152, 2) landmarks -> (..., 5, 2) as in ``Face.points``."""
    return np.stack(
        [
            points[..., list(GROUPS["right_eye"]), :].mean(-2),
            points[..., list(GROUPS["left_eye"]), :].mean(-2),
            points[..., _TIP, :],
            points[..., _CORNERS[0], :],
            points[..., _CORNERS[1], :],
        ],
        axis=-2,
    )
