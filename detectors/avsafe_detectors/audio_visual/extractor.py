"""What runs in the sandbox for ``audio-visual`` and ``talking``: the main face, the sound, how
much moves, and what the pixels of the face look like. Once for both detectors.

Legend: ``t`` frames looked at, from the first one on, at ``rate`` a second; ``n`` samples at
16 kHz; ``k`` samples of pixels, ``r`` regions, ``f`` figures (see ``talking.regions``).

Features: points (t, 152, 2) float32 px, NaN without a face; doubt (t,); faces (t,) int16 that the
last search saw; change (t,) grey levels; cuts (c,) int32; mono16k (n,) int16; regions (k, r, f)
float32; at (k,) int32 frames of the samples; clip (4,) float64: rate, width, height, seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.audio_visual.follow import Follower
from avsafe_detectors.talking.regions import FIGURES, REGIONS, Regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Features, Frame, Media, Picture, Samples

HZ = 16_000
TOP_RATE = 31.0  # frames a second that are looked at; of 60 every second one
LONGEST_S = 60.0  # of a file
FACE_S = 20.0  # with a face, then it is enough
SAMPLE_S = 0.2  # between looks at the pixels


class TalkingExtractor:
    """The main face, mono sound and pixels of its regions, of up to a minute.

    1.2 kB a frame and the sound are kept. ``finish`` gives the arrays named above.
    """

    picture: Picture = "rgb"

    def start(self, media: Media) -> None:
        video = media.video
        native = float(video.frame_rate) if video and video.frame_rate else 0.0
        self._native = native if math.isfinite(native) and native > 0 else 0.0
        self._step = max(1, math.ceil(self._native / TOP_RATE - 1e-9))
        self._size = (video.width, video.height) if video else (0, 0)
        self._follower = Follower()
        self._regions = Regions()
        self._points: list[NDArray[np.float32] | None] = []
        self._doubt: list[float] = []
        self._faces: list[int] = []
        self._change: list[float] = []
        self._cuts: list[int] = []
        self._offered = self._with_face = 0
        self._last_sample_s = -1e9
        self._blocks: list[NDArray[np.float32]] = []
        self._rate_hz = self._held = 0

    def wants(self, time_s: float) -> bool:
        """Every frame up to 31 a second, until a face was seen for 20 s, or a minute is over."""
        number, self._offered = self._offered, self._offered + 1
        rate = self.rate
        if not rate or time_s >= LONGEST_S or self._with_face >= FACE_S * rate:
            return False
        return number % self._step == 0

    @property
    def rate(self) -> float:
        """Frames a second that are looked at."""
        return self._native / self._step

    def frame(self, frame: Frame, time_s: float) -> None:
        found = self._follower.take(frame, time_s)
        if self._follower.cut:
            self._cuts.append(len(self._points))
        self._points.append(None if found is None else found.points)
        self._doubt.append(math.nan if found is None else found.doubt)
        self._faces.append(self._follower.faces)
        self._change.append(self._follower.change)
        due = time_s - self._last_sample_s >= SAMPLE_S - 1e-6
        if found is not None:
            self._with_face += 1
            if self._regions.take(frame, found, len(self._points) - 1, first=due) and due:
                self._last_sample_s = time_s
        else:
            self._regions.skip()

    def samples(self, block: Samples, rate_hz: int) -> None:
        if not 4_000 <= rate_hz <= 384_000 or self._held >= LONGEST_S * rate_hz:
            return
        clean = np.nan_to_num(np.asarray(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        self._rate_hz = rate_hz
        self._blocks.append(np.clip(clean.mean(axis=0), -1.0, 1.0))
        self._held += block.shape[1]

    def finish(self) -> Features:
        count = len(self._points)
        points = np.full((count, 152, 2), np.nan, np.float32)
        for row, one in enumerate(self._points):
            if one is not None:
                points[row] = one
        regions, at = self._regions.whole()
        width, height = self._size
        return {
            "points": points,
            "doubt": np.array(self._doubt, np.float32),
            "faces": np.array(self._faces, np.int16),
            "change": np.array(self._change, np.float32),
            "cuts": np.array(self._cuts, np.int32),
            "mono16k": mono16k(self._blocks, self._rate_hz),
            "regions": regions.reshape(-1, len(REGIONS), len(FIGURES)),
            "at": at,
            "clip": np.array([self.rate, width, height, count / self.rate if self.rate else 0.0]),
        }


def mono16k(blocks: list[NDArray[np.float32]], rate_hz: int) -> NDArray[np.int16]:
    """Blocks of mono sound -> (n,) at 16 kHz, 16 bits.

    >>> mono16k([np.zeros(4800, np.float32)], 48000).shape
    (1600,)
    """
    if not blocks or not rate_hz:
        return np.zeros(0, np.int16)
    sound: Any = np.concatenate(blocks)
    if rate_hz != HZ:
        from scipy.signal import resample_poly

        shared = math.gcd(HZ, rate_hz)
        sound = resample_poly(sound, HZ // shared, rate_hz // shared)
    return np.asarray(np.clip(np.rint(sound * 32767), -32768, 32767), np.int16)
