"""Which frames and which sound of a clip a backbone gets, with bounded memory.

Legend: ``k`` rows of features, ``t`` frames of a window; ``n`` samples of sound.

- Pictures: ``frames`` of a clip, spread evenly (the middle of each of that many equal parts); where
  the number of frames is not known beforehand, one a second from the first on.
- Windows: ``windows`` of ``t`` consecutive frames, spread evenly from the first frame to the last;
  one window starts at the first frame.
- Sound: the mean of the channels at the backbone's rate (polyphase resampling), the first
  ``MOST_SOUND_S`` seconds.

Pictures are prepared as they come and go to the backbone in batches, so a clip of any length holds
no more than a batch or a window of prepared frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Gathered, Samples, Shape
from avsafe_metrics.base import QuietMeter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.media.view import View
    from avsafe.types import Frame

MOST_SOUND_S = 60.0
BATCH = 8  # pictures that go to the backbone at once


class Backbone(Protocol):
    """What every backbone says of itself."""

    name: str
    digests: dict[str, str]

    def features(self, given: Any) -> dict[str, NDArray[np.float32]]: ...


class PictureBackbone(Backbone, Protocol):
    def prepare(self, frame: Frame) -> NDArray[np.float32]: ...


class VideoBackbone(PictureBackbone, Protocol):
    frames: int


class SoundBackbone(Backbone, Protocol):
    rate_hz: int


def spread(frame_count: int, wanted: int) -> list[int]:
    """Indices of ``wanted`` frames in the middle of equal parts; all where there are fewer.

    >>> spread(100, 4), spread(3, 8)
    ([12, 37, 62, 87], [0, 1, 2])
    """
    wanted = min(wanted, frame_count)
    return [int((2 * i + 1) * frame_count / (2 * wanted)) for i in range(wanted)]


def starts(frame_count: int | None, length: int, windows: int) -> list[int]:
    """First frames of windows: evenly from 0 to the last place that holds one.

    >>> starts(100, 16, 1), starts(100, 16, 3), starts(20, 16, 4), starts(None, 16, 2)
    ([0], [0, 42, 84], [0], [0, 16])
    """
    if frame_count is None:
        return [length * i for i in range(windows)]
    windows = max(1, min(windows, frame_count // length))  # windows do not overlap
    if windows == 1:
        return [0]
    return [round(i * (frame_count - length) / (windows - 1)) for i in range(windows)]


class PictureMeter(QuietMeter):
    """Features of single frames."""

    def __init__(self, backbone: PictureBackbone, clip: Clip, frames: int) -> None:
        self._backbone, self._most = backbone, frames
        count = clip.shape.frame_count
        self._at = set(spread(count, frames)) if count else None
        self._next_s, self._taken = 0.0, 0
        self._batch: list[NDArray[np.float32]] = []
        self._rows: list[dict[str, NDArray[np.float32]]] = []

    def frame(self, view: View, beside: View | None) -> None:
        if self._taken >= self._most or not self._wanted(view):
            return
        self._taken += 1
        self._batch.append(self._backbone.prepare(view.rgb))
        if len(self._batch) == BATCH:
            self._run()

    def finish(self, gathered: Gathered) -> Mapping[str, NDArray[Any]]:
        self._run()
        if not self._rows:
            raise Unscorable("the clip ended before the first frame that was wanted")
        return joined(self._rows)

    def _wanted(self, view: View) -> bool:
        if self._at is not None:
            return view.index in self._at
        if view.time_s + 1e-9 < self._next_s:
            return False
        self._next_s += 1.0
        return True

    def _run(self) -> None:
        if self._batch:
            self._rows.append(self._backbone.features(np.stack(self._batch)))
            self._batch = []


class WindowMeter(QuietMeter):
    """Features of windows of consecutive frames."""

    def __init__(self, backbone: VideoBackbone, clip: Clip, windows: int) -> None:
        self._backbone, self._length = backbone, backbone.frames
        count = clip.shape.frame_count
        if count is not None and count < self._length:
            raise Unscorable(
                f"{count} frames: {backbone.name} takes windows of {self._length} frames"
            )
        self._starts = starts(count, self._length, windows)
        self._window: list[NDArray[np.float32]] = []
        self._rows: list[dict[str, NDArray[np.float32]]] = []
        self._seen = 0

    def frame(self, view: View, beside: View | None) -> None:
        self._seen += 1
        if not self._starts or view.index < self._starts[0]:
            return
        self._window.append(self._backbone.prepare(view.rgb))
        if len(self._window) == self._length:
            self._rows.append(self._backbone.features(np.stack(self._window)[None]))
            self._window = []
            self._starts.pop(0)

    def finish(self, gathered: Gathered) -> Mapping[str, NDArray[Any]]:
        if not self._rows:
            raise Unscorable(
                f"{self._seen} frames: {self._backbone.name} takes windows of {self._length} frames"
            )
        return joined(self._rows)


class SoundMeter(QuietMeter):
    """Features of sound at the backbone's own rate."""

    def __init__(self, backbone: SoundBackbone, shape: Shape) -> None:
        self._backbone, self._rate_hz = backbone, shape.rate_hz
        self._blocks: list[NDArray[np.float32]] = []
        self._left = round(MOST_SOUND_S * shape.rate_hz)

    def samples(self, block: Samples, rate_hz: int, role: str) -> None:
        if role != "clip" or self._left <= 0:
            return
        self._blocks.append(block[:, : self._left].mean(axis=0, dtype=np.float32))
        self._left -= block.shape[1]

    def finish(self, gathered: Gathered) -> Mapping[str, NDArray[Any]]:
        sound = np.concatenate([np.zeros(0, np.float32), *self._blocks])
        if not np.any(np.abs(sound) > 1e-5):  # -100 dBFS
            raise Unscorable("the sound is silent, and a silence is no draw from any distribution")
        found = self._backbone.features(resampled(sound, self._rate_hz, self._backbone.rate_hz))
        return dict(found)


def resampled(sound: NDArray[np.float32], rate_hz: int, wanted_hz: int) -> NDArray[np.float32]:
    """(n,) at another rate, by scipy's polyphase filter.

    >>> resampled(np.zeros(48000, np.float32), 48000, 32000).shape
    (32000,)
    """
    if rate_hz == wanted_hz:
        return sound
    from math import gcd

    from scipy.signal import resample_poly

    shared = gcd(rate_hz, wanted_hz)
    found = resample_poly(sound.astype(np.float64), wanted_hz // shared, rate_hz // shared)
    return np.asarray(found, np.float32)


def joined(rows: list[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
