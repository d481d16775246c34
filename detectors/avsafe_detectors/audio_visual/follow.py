"""The main face of a clip at a small price: landmarks in every frame, a search of the whole now
and then, and rarely where nobody has been seen for long.

Legend: ``h`` ``w`` pixels of the file's frames; points are (152, 2) float32 px.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.faces import Face, Landmarks, detect, landmarks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

SEARCH_SIDE = 384  # px of the larger side in a search: a face of 40 px in 720p is still found
FOLLOWED_S = 1.0  # between searches while a face is followed: 25 CPU-ms each
MISSING_S = 0.4  # ... while there is none
LONG_S, RARELY_S = 8.0, 2.0  # without a face for that long: searched that rarely
DOUBT = 0.10  # looks farther apart are lost, as in avsafe.faces.tracking
DOUBT_SEEN = 0.25  # ... where the detector saw a face
CUT_CHANGE = 24.0  # mean grey difference of 16 x 9 cells that is a new scene
_NEVER = -1e9


class Follower:
    """Feed frames in order; each answer is the face of that frame, or None.

    >>> Follower().faces
    0
    """

    def __init__(self) -> None:
        self.faces = 0  # that the last search saw
        self.cut = False  # whether the last frame began a scene
        self.change = 0.0  # mean absolute grey difference of the cells, to the frame before
        self._face: Landmarks | None = None
        self._before: Landmarks | None = None
        self._searched_s = _NEVER
        self._seen_s = 0.0
        self._cells: NDArray[np.float32] | None = None

    def take(self, frame: Frame, time_s: float) -> Landmarks | None:
        """The next frame (h, w, 3). Raises MissingExtra without the weights of CenterFace."""
        self._watch(frame)
        if self.cut:
            self._face = self._before = None
            self._searched_s = _NEVER
        found = self._followed(frame)
        lost = found is None and self._face is not None
        if lost or time_s - self._searched_s >= self._pause(found, time_s):
            self._searched_s = time_s
            found = self._searched(frame, found)
        self._before, self._face = (self._face, found) if found is not None else (None, None)
        if found is not None:
            self._seen_s = time_s
        return found

    def _watch(self, frame: Frame) -> None:
        cells = _cells(frame)
        self.cut, self.change = False, 0.0
        if self._cells is not None:
            difference = cells - self._cells
            self.change = float(np.abs(difference).mean())
            self.cut = bool(np.abs(difference - difference.mean()).mean() > CUT_CHANGE)
        self._cells = cells

    def _pause(self, found: Landmarks | None, time_s: float) -> float:
        if found is not None:
            return FOLLOWED_S
        return MISSING_S if time_s - self._seen_s < LONG_S else RARELY_S

    def _followed(self, frame: Frame) -> Landmarks | None:
        if self._face is None:
            return None
        guess = self._face
        if self._before is not None:
            ahead = 2 * self._face.points - self._before.points
            if float(np.abs(ahead - guess.points).mean()) < 0.5 * guess.interocular:
                guess = Landmarks(ahead)
        return _checked(frame, landmarks(frame, guess), DOUBT)

    def _searched(self, frame: Frame, followed: Landmarks | None) -> Landmarks | None:
        seen = detect(frame, max_side=SEARCH_SIDE)
        self.faces = len(seen)
        if followed is not None and any(_is_there(face, followed) for face in seen):
            return followed
        height, width = frame.shape[:2]

        def weight(face: Face) -> float:
            x, y = face.centre
            off = math.hypot(x / width - 0.5, y / height - 0.5)
            return face.width * face.height * face.score * (1 - 0.6 * min(1.0, off))

        for face in sorted(seen, key=weight, reverse=True):
            found = _checked(frame, landmarks(frame, face), DOUBT_SEEN)
            if found is not None:
                return found
        return None


def _checked(frame: Frame, face: Landmarks, doubt: float) -> Landmarks | None:
    height, width = frame.shape[:2]
    x, y = face.points.mean(0)
    inside = 0 <= x < width and 0 <= y < height
    return face if inside and face.doubt < doubt and face.interocular >= 3 else None


def _is_there(face: Face, followed: Landmarks) -> bool:
    x0, y0, x1, y1 = followed.box
    x, y = face.points.mean(0)
    return bool(x0 <= x <= x1 and y0 <= y <= y1)


def _cells(frame: Frame) -> NDArray[np.float32]:
    """(9, 16) mean grey levels."""
    import cv2

    step_y, step_x = max(1, frame.shape[0] // 72), max(1, frame.shape[1] // 128)
    few: Any = np.ascontiguousarray(frame[::step_y, ::step_x])
    small = cv2.resize(few, (16, 9), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32).mean(2))
