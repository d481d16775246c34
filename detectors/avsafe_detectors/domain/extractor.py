"""Describes pictures and sound inside the decoding pass: numbers, no judgement.

Legend: ``f`` frames looked at (16 at most), ``p`` numbers of a picture, ``q`` numbers of its
history; sound as in ``hearing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError
from avsafe.types import Features, Frame, Media, Picture, Samples
from avsafe_detectors.domain import hearing, history, picture
from avsafe_detectors.domain.tables import luma_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES = 8  # looked at over a clip whose duration is known
MOST = 16  # kept at most; then every second is dropped and the interval doubles
FIRST_S = 0.4  # between frames where the duration is not known
THUMB = (64, 36)  # columns, rows of the pictures by which stillness is told


class DomainExtractor:
    """A ``types.FeatureExtractor``. ``finish`` returns

    - ``pictures`` (f, p) float32, ``histories`` (f, q) float32, ``times`` (f,) float64 seconds;
    - ``thumbs`` (f, 36, 64) uint8, ``frames`` (1,) int64: how many went by;
    - ``jpeg_table`` (8, 8) int64 luma steps of a JPEG file, or (0, 0);
    - ``levels``, ``rows``, ``spectrum``, ``totals`` of the sound (``hearing.Ear.finish``).

    Cost: 40 CPU-ms a frame of 720p looked at, 15 CPU-ms a second of sound at 48 kHz.
    """

    picture: Picture = "rgb"

    def __init__(self) -> None:
        self._ear: hearing.Ear | None = None
        self._interval_s, self._next_s = FIRST_S, float("-inf")
        self._seen = 0
        self._asked = False
        self._moving = True
        self._table = np.zeros((0, 0), np.int64)
        self._times: list[float] = []
        self._pictures: list[NDArray[np.float32]] = []
        self._histories: list[NDArray[np.float32]] = []
        self._thumbs: list[NDArray[np.uint8]] = []

    def start(self, media: Media) -> None:
        video = media.video
        lasts = (video.duration_s if video else None) or media.duration_s
        if lasts is not None and 0 < lasts < 1e6:
            self._interval_s = lasts / FRAMES
        still = video is not None and video.frame_rate is None
        mjpeg = video is not None and video.codec in ("mjpeg", "jpeg")
        self._moving = not (still or mjpeg)
        if media.container == "jpeg":
            self._table = luma_table(media.path)

    def wants(self, time_s: float) -> bool:
        """Whether this frame is looked at. Called once for each frame that goes by."""
        self._asked = True
        self._seen += 1
        return time_s >= self._next_s - 1e-6

    def frame(self, frame: Frame, time_s: float) -> None:
        import cv2

        frame = np.asarray(frame)
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise UsageError(f"A frame is (h, w, 3) uint8, not {frame.shape} {frame.dtype}.")
        if not self._asked:
            self._seen += 1
            if time_s < self._next_s - 1e-6:
                return
        self._next_s = time_s + self._interval_s
        self._times.append(float(time_s))
        inner = picture.content(frame)
        self._pictures.append(picture.look(inner))
        self._histories.append(history.measure(inner, jpeg=not self._moving))
        small = np.asarray(cv2.resize(frame, THUMB, interpolation=cv2.INTER_AREA), np.uint8)
        self._thumbs.append(picture.grey(small))
        if len(self._times) > MOST:
            for kept in (self._times, self._pictures, self._histories, self._thumbs):
                del kept[1::2]
            self._interval_s *= 2
            self._next_s = self._times[-1] + self._interval_s

    def samples(self, block: Samples, rate_hz: int) -> None:
        if self._ear is None:
            self._ear = hearing.Ear(rate_hz)
        if rate_hz != self._ear.rate_hz:
            raise UsageError(f"The sample rate changed from {self._ear.rate_hz} to {rate_hz} Hz.")
        self._ear.feed(block)

    def finish(self) -> Features:
        count = len(self._times)
        found: dict[str, NDArray[Any]] = {
            "pictures": np.reshape(np.array(self._pictures, np.float32), (count, -1))
            if count
            else np.zeros((0, len(picture.NAMES)), np.float32),
            "histories": np.array(self._histories, np.float32)
            if count
            else np.zeros((0, len(history.NAMES)), np.float32),
            "times": np.array(self._times, np.float64),
            "thumbs": np.array(self._thumbs, np.uint8)
            if count
            else np.zeros((0, THUMB[1], THUMB[0]), np.uint8),
            "frames": np.array([self._seen], np.int64),
            "jpeg_table": self._table,
        }
        if self._ear is not None:
            found |= self._ear.finish()
        return found
