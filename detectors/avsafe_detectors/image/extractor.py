"""Runs in the sandbox: pictures -> features of their tiles. Streams; keeps no picture.

Legend: ``k`` tiles of all frames looked at, ``f`` frames, ``d`` features of a tile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe_detectors.image import tiles
from avsafe_detectors.image.features import TILE, colour, tile_features, usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_TILES = 144
FRAMES, FRAME_TILES = 5, 40  # of a video
UNKNOWN_S = 2.0  # between frames where the duration is not known
_BATCH = 24  # tiles at once: 20 MB


class TileExtractor:
    """A ``types.FeatureExtractor``. ``finish`` returns

    - ``tiles`` (k, d) float32, NaN rows where a tile is flat or clipped;
    - ``colour`` (f,) float64 (``features.colour``);
    - ``grids`` (f, 4) int64: height, width, rows, columns of each frame, whose tiles follow row by
      row; ``times`` (f,) float64 seconds.

    Cost: 4 CPU-ms a tile: 0.6 s for a picture of any size, 0.8 s for a film.
    """

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._wanted: list[float] | None = None
        self._next_s = float("-inf")
        self._most = IMAGE_TILES
        self._moving = False
        self._tiles: list[NDArray[np.float32]] = []
        self._grids: list[tuple[int, int, int, int]] = []
        self._times: list[float] = []
        self._colour: list[float] = []

    def start(self, media: Media) -> None:
        video = media.video
        self._moving = video is not None and video.frame_rate is not None
        if not self._moving:
            return
        self._most = FRAME_TILES
        lasts = (video.duration_s if video else None) or media.duration_s
        if lasts is not None and 0 < lasts < 1e6:
            # the middle of each fifth; the first frames of a film are often black
            self._wanted = [lasts * (k + 0.5) / FRAMES for k in range(FRAMES)]

    def wants(self, time_s: float) -> bool:
        if not self._moving:
            return not self._times
        if len(self._times) >= FRAMES:
            return False
        if self._wanted is not None:
            return time_s >= self._wanted[len(self._times)] - 1e-6
        return time_s >= self._next_s

    def frame(self, frame: Frame, time_s: float) -> None:
        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise UsageError(f"A frame is (h, w, 3) uint8, not {frame.shape} {frame.dtype}.")
        if not self.wants(time_s):
            return
        self._next_s = time_s + UNKNOWN_S
        h, w = frame.shape[:2]
        tops, lefts = tiles.grid(h, w, self._most)
        self._times.append(float(time_s))
        self._colour.append(colour(frame))
        self._grids.append((h, w, len(tops), len(lefts)))
        places = [(y, x) for y in tops for x in lefts]
        for first in range(0, len(places), _BATCH):
            cut = np.stack([frame[y : y + TILE, x : x + TILE] for y, x in places[first:][:_BATCH]])
            found = tile_features(cut)
            found[~usable(cut)] = np.nan
            self._tiles.append(found)

    def samples(self, block: Samples, rate_hz: int) -> None:
        """Sound says nothing of pictures."""

    def finish(self) -> Features:
        found: dict[str, NDArray[Any]] = {
            "tiles": np.concatenate(self._tiles) if self._tiles else np.zeros((0, 0), np.float32),
            "grids": np.array(self._grids, np.int64).reshape(-1, 4),
            "times": np.array(self._times, np.float64),
            "colour": np.array(self._colour, np.float64),
        }
        return found
