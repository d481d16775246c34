"""One face followed through a clip: search now and then, follow by landmarks in between.

Legend: ``t`` frames; points are (t, 152, 2) float32 px, NaN where no face was seen. Memory: one
frame, and 1.2 kB a frame for the points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import Cancelled as CancelledError
from avsafe.errors import UsageError
from avsafe.faces.alignment import moved, similarity
from avsafe.faces.detection import MIN_SCORE, check_frame, detect
from avsafe.faces.model import landmarks
from avsafe.faces.points import POINT_COUNT, Face, Landmarks
from avsafe.types import Cancelled, never_cancelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Frame

    Array = NDArray[np.float32]
else:
    Array = Any

SEARCH_EVERY_S = 0.5  # how often the whole frame is searched while a face is followed
MISSING_EVERY_S = 0.12  # ... and while there is none
LOST_DOUBT = 0.10  # looks farther apart are lost: 19 of 20 faces lie below, 5 of 6 places without
SEEN_DOUBT = 0.25  # ... where the detector saw a face: profiles reach 0.1 to 0.2
CUT_CHANGE = 24.0  # mean grey difference of 16 x 9 cells between frames that is a cut
SMOOTH_S = 0.06  # frames within this time of each other share their errors


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """The main face of a clip.

    ``points`` are smoothed to both sides, so they lag behind nothing; ``raw`` are as seen.
    ``faces`` holds how many faces the last search up to each frame saw, ``searched`` where a search
    was, ``cuts`` the first frames of new scenes. ``people`` is the largest number seen at once.
    """

    points: Array  # (t, 152, 2) px, NaN without a face
    raw: Array  # (t, 152, 2)
    doubt: Array  # (t,) as in Landmarks; NaN without a face
    faces: NDArray[np.int64]  # (t,)
    searched: NDArray[np.bool_]  # (t,)
    cuts: tuple[int, ...]
    frame_rate: Fraction

    def __len__(self) -> int:
        return len(self.points)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(t,) True where the face was seen."""
        return np.isfinite(self.points[:, 0, 0])

    @property
    def people(self) -> int:
        return int(self.faces.max(initial=0))

    def at(self, index: int) -> Landmarks | None:
        """The landmarks of one frame, or None."""
        if not self.seen[index]:
            return None
        return Landmarks(self.points[index], float(self.doubt[index]))

    def runs(self, min_frames: int = 1) -> Iterator[tuple[int, int]]:
        """(first, end) of stretches with a face in every frame and no cut inside."""
        edges = [*np.flatnonzero(np.diff(self.seen.astype(int))) + 1, *self.cuts, 0, len(self)]
        bounds = sorted({int(edge) for edge in edges})
        for first, end in pairwise(bounds):
            if self.seen[first] and end - first >= min_frames:
                yield first, end


class _Follower:
    """What is known of the face between two frames."""

    def __init__(self, rate: float) -> None:
        self.search_every = max(1, round(SEARCH_EVERY_S * rate))
        self.missing_every = max(1, round(MISSING_EVERY_S * rate))
        self.face: Landmarks | None = None
        self.previous: Landmarks | None = None  # a frame before, for the speed
        self.since_search = 10**9
        self.faces = 0
        self.cells: Array | None = None

    def step(self, frame: Frame, *, min_score: float) -> tuple[Landmarks | None, bool, bool]:
        """The face in the next frame, whether the frame was searched, whether a scene began."""
        cells = _cells(frame)
        cut = self.cells is not None and _is_cut(self.cells, cells)
        self.cells = cells
        if cut:
            self.face, self.previous, self.since_search = None, None, 10**9
        guess, found = self._expected(), None
        if guess is not None:
            found = self._checked(frame, landmarks(frame, guess))
        self.since_search += 1
        due = self.search_every if found is not None else self.missing_every
        searched = self.since_search >= due or (found is None and self.face is not None)
        if searched:
            self.since_search = 0
            found = self._searched(frame, found, min_score)
        self.previous, self.face = (self.face, found) if found is not None else (None, None)
        return found, searched, cut

    def _expected(self) -> Landmarks | None:
        if self.face is None or self.previous is None:
            return self.face
        ahead = similarity(self.previous.points, self.face.points)
        moved_on = Landmarks(moved(self.face.points, ahead))
        # A guess is only for the crop: a wild one is worse than standing still.
        step = float(np.abs(moved_on.points - self.face.points).mean())
        return moved_on if step < 0.5 * self.face.interocular else self.face

    def _checked(
        self, frame: Frame, face: Landmarks, limit: float = LOST_DOUBT
    ) -> Landmarks | None:
        height, width = frame.shape[:2]
        x, y = face.points.mean(0)
        inside = 0 <= x < width and 0 <= y < height
        if not face.doubt < limit or not inside or face.interocular < 3:
            return None
        return face

    def _searched(
        self, frame: Frame, followed: Landmarks | None, min_score: float
    ) -> Landmarks | None:
        seen = detect(frame, min_score=min_score)
        self.faces = len(seen)
        last = followed or self.face
        if last is not None:
            same = [face for face in seen if _shares(face, last)]
            if same and followed is not None:
                return followed
            if same:
                return self._checked(frame, landmarks(frame, same[0]), SEEN_DOUBT)
            if followed is not None:  # the landmarks hold on to what the search does not see
                return None if not seen else self._main(frame, seen)
        return self._main(frame, seen)

    def _main(self, frame: Frame, seen: tuple[Face, ...]) -> Landmarks | None:
        """The largest and most central face that has landmarks."""
        height, width = frame.shape[:2]

        def weight(face: Face) -> float:
            x, y = face.centre
            off = math.hypot(x / width - 0.5, y / height - 0.5)
            return face.width * face.height * face.score * (1 - 0.6 * min(1.0, off))

        for face in sorted(seen, key=weight, reverse=True):
            found = self._checked(frame, landmarks(frame, face), SEEN_DOUBT)
            if found is not None:
                return found
        return None


def _shares(face: Face, last: Landmarks) -> bool:
    """Whether a detection is the face that is followed: its centre lies within the face."""
    x0, y0, x1, y1 = last.box
    x, y = face.points.mean(0)
    size_ratio = face.height / max(1.0, y1 - y0)
    return bool(x0 <= x <= x1 and y0 <= y <= y1 and 0.4 < size_ratio < 2.5)


def _cells(frame: Frame) -> Array:
    import cv2

    step_y, step_x = max(1, frame.shape[0] // 90), max(1, frame.shape[1] // 160)
    small = cv2.resize(
        np.ascontiguousarray(frame[::step_y, ::step_x]), (16, 9), interpolation=cv2.INTER_AREA
    )
    return np.asarray(small.astype(np.float32).mean(2))


def _is_cut(before: Array, after: Array) -> bool:
    """A new scene: most cells changed, and not by one common change of light."""
    change = np.abs((after - after.mean()) - (before - before.mean()))
    return bool(change.mean() > CUT_CHANGE)


def track(
    frames: Iterable[Frame],
    frame_rate: Fraction | float,
    *,
    cancelled: Cancelled = never_cancelled,
    min_score: float = MIN_SCORE,
) -> FaceTrack:
    """Follow the main face (large, central) of a clip of (h, w, 3) uint8 RGB frames.

    The whole frame is searched at the start, after a cut, when the face is lost and every half
    second; in between the landmarks of a frame say where to look in the next. Frames are read once,
    one at a time. Raises Cancelled when asked to stop, UsageError for a bad rate or frame,
    MissingExtra without the detector's weights.

    >>> import numpy as np
    >>> len(track([], 25))
    0
    """
    tracker = Tracker(frame_rate, min_score=min_score)
    for frame in frames:
        if cancelled():
            raise CancelledError("stopped while following a face")
        tracker.take(frame)
    return tracker.finish()


class Tracker:
    """``track`` for frames that come one at a time.

    >>> len(Tracker(25).finish())
    0
    """

    def __init__(self, frame_rate: Fraction | float, *, min_score: float = MIN_SCORE) -> None:
        finite = _finite(frame_rate)
        self._rate = Fraction(frame_rate).limit_denominator(100_000) if finite else Fraction(0)
        if not 0 < self._rate <= 1000:
            raise UsageError(f"frame_rate={frame_rate}: expected a rate between 0 and 1000 Hz")
        self._min_score = min_score
        self._follower = _Follower(float(self._rate))
        self._points: list[Array] = []
        self._doubt: list[float] = []
        self._faces: list[int] = []
        self._searched: list[bool] = []
        self._cuts: list[int] = []

    def take(self, frame: Frame) -> None:
        """The next frame, (h, w, 3) uint8 RGB."""
        check_frame(frame)
        found, looked, cut = self._follower.step(frame, min_score=self._min_score)
        if cut:
            self._cuts.append(len(self._points))
        nothing = np.full((POINT_COUNT, 2), np.nan, np.float32)
        self._points.append(nothing if found is None else found.points)
        self._doubt.append(float("nan") if found is None else found.doubt)
        self._faces.append(self._follower.faces)
        self._searched.append(looked)

    def finish(self) -> FaceTrack:
        """The face in all frames so far."""
        none = np.empty((0, POINT_COUNT, 2), np.float32)
        raw = np.stack(self._points) if self._points else none
        cuts = tuple(self._cuts)
        return FaceTrack(
            points=smoothed(raw, float(self._rate), cuts),
            raw=raw,
            doubt=np.array(self._doubt, np.float32),
            faces=np.array(self._faces, np.int64),
            searched=np.array(self._searched, bool),
            cuts=cuts,
            frame_rate=self._rate,
        )


def _finite(value: Fraction | float) -> bool:
    try:
        return math.isfinite(value) and value > 0
    except TypeError:
        return False


def smoothed(points: Array, rate: float, cuts: tuple[int, ...] = ()) -> Array:
    """Points (t, p, 2) with less jitter and no lag: a local parabola in time, equally many frames
    before and after (Savitzky & Golay 1964), over stretches without gap or cut.

    A parabola keeps the height of a blink or of a closing mouth that a mean would flatten.
    """
    reach = max(1, round(SMOOTH_S * rate))
    width = 2 * reach + 1
    result = points.copy()
    if width < 5:
        return result
    seen = np.isfinite(points[:, 0, 0]) if len(points) else np.empty(0, bool)
    edges = {0, len(points), *cuts, *(np.flatnonzero(np.diff(seen.astype(int))) + 1)}
    bounds = sorted(int(edge) for edge in edges)
    for first, end in pairwise(bounds):
        if seen[first] and end - first >= width:
            from scipy.signal import savgol_filter

            result[first:end] = savgol_filter(points[first:end], width, 2, axis=0)
    return result
