"""The decoding itself, in the process that calls it: the sandbox child, or our own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from avsafe.errors import MediaTooLarge, UnreadableMedia, UnsupportedMedia
from avsafe.media import colour, demux, timeline
from avsafe.media.containers import CONTAINERS, sniff
from avsafe.media.limits import Limits
from avsafe.media.reading import Plan
from avsafe.media.wire import Message, work_ahead
from avsafe.types import Kind

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

    from avsafe.types import Frame, Picture, Samples

log = logging.getLogger(__name__)

GAP_S = (
    0.05  # timestamps may wander by rounding; a larger jump is a hole or an overlap in the sound
)
_LEAST_FRAME_BYTES = 32  # a picture without change, and its entry in the index
_MOST_PIXELS_PER_BYTE = 4096  # slides at 30 frames a second have a few hundred
BLOCK_S = 1.0  # silence is given out in blocks of this length


RGB: tuple[Picture, ...] = ("rgb",)
NO_PICTURES: tuple[Picture, ...] = ()


@dataclass(frozen=True, eq=False)
class Event:
    """One finished piece: a frame to be shown ``count`` times, or a block of samples.

    A frame is converted when ``data`` (RGB) or ``luma`` is first asked for: nobody pays for a
    frame that nobody looks at.
    """

    is_frame: bool
    time_s: float
    count: int = 1
    block: Any = None
    show: Callable[[Picture], Frame] | None = None
    _shown: dict[Picture, Frame] = field(default_factory=dict)

    @property
    def data(self) -> Any:
        """The samples ``(c, n)``, or the frame as RGB ``(h, w, 3)``."""
        return self.picture("rgb") if self.is_frame else self.block

    @property
    def luma(self) -> Frame:
        """The frame as luma ``(h, w)``."""
        return self.picture("luma")

    def picture(self, form: Picture) -> Frame:
        if form not in self._shown:
            assert self.show is not None  # noqa: S101 -- every frame has it
            self._shown[form] = self.show(form)
        return self._shown[form]


def stream(
    path: str,
    plan: dict[str, Any],
    limits: dict[str, Any],
    frames: bool,
    max_duration_s: float | None = None,
) -> Iterator[Message]:
    """One stream of a file, for the sandbox."""
    planned = Plan.from_json(plan)
    if frames:
        yield work_ahead(pixels_of(Path(path), planned))
    for event in events(
        Path(path),
        planned,
        Limits.from_json(limits),
        max_duration_s,
        pictures=RGB if frames else NO_PICTURES,
        samples=not frames,
    ):
        yield Message({"count": event.count}, {"data": event.data})


def pixels_of(path: Path, plan: Plan) -> int:
    """How many pixels there are to decode. No claim counts for more than the file can hold: a small
    file that spaces its time stamps far apart buys no time."""
    size = path.stat().st_size
    frames = min(plan.frame_count or 1, size // _LEAST_FRAME_BYTES)
    return min(frames * plan.width * plan.height, size * _MOST_PIXELS_PER_BYTE)


def events(
    path: Path,
    plan: Plan,
    limits: Limits,
    max_duration_s: float | None,
    *,
    pictures: Collection[Picture],
    samples: bool,
) -> Iterator[Event]:
    """Frames and blocks of samples, each in order, in the order in which the file holds them.

    ``pictures`` says in which forms frames may be wanted (``rgb``, ``luma``); in none, no picture
    is decoded.
    """
    frames = "rgb" in pictures or "luma" in pictures
    container, _ = sniff(path)
    if CONTAINERS[container].demuxer is None:
        from avsafe.media import stills

        if frames:
            rgb = stills.read(path, limits)
            yield Event(True, 0.0, show=lambda form: rgb if form == "rgb" else colour.grey(rgb))
        return
    with demux.opened(path, limits) as source, demux.translated(path.name):
        wanted: list[Any] = []
        video = audio = None
        picture = demux.video_stream(source, limits) if frames and plan.rate is not None else None
        if frames and plan.kind is Kind.IMAGE:
            picture = demux.video_stream(source, limits)
        if picture is not None:
            video = _Video(plan, limits, max_duration_s, path.name)
            wanted.append(picture)
        sound = demux.audio_stream(source, limits) if samples and plan.rate_hz else None
        if sound is not None:
            audio = _Audio(plan, limits, max_duration_s, path.name)
            wanted.append(sound)
        if not wanted:
            return
        damage = Damage(path.name)
        for packet in source.demux(wanted):
            for decoded in damage.decode(packet):
                taker = video if isinstance(decoded, av.VideoFrame) else audio
                if taker is not None:
                    yield from taker.take(decoded)
            if all(taker is None or taker.done for taker in (video, audio)):
                break
        for taker in (video, audio):
            if taker is not None:
                yield from taker.finish()
        damage.report()


class Damage:
    """Packets that cannot be decoded are left out and counted; the grid shows the frame before."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bad = 0
        self._good = 0

    def decode(self, packet: Any) -> list[Any]:
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            self._bad += 1
            return []
        self._good += len(decoded)
        return decoded  # type: ignore[no-any-return]

    def report(self) -> None:
        if not self._good:
            raise UnreadableMedia(
                f"Nothing in {self._name} could be decoded ({self._bad} damaged packets). Pass a "
                "whole file."
            )
        if self._bad:
            log.warning("%s: %d damaged packets were left out", self._name, self._bad)


class _Video:
    def __init__(
        self,
        plan: Plan,
        limits: Limits,
        max_duration_s: float | None,
        name: str,
    ) -> None:
        self._plan = plan
        self._rate = plan.rate or Fraction(1)
        self._limits = limits
        self._name = name
        self._retimer: timeline.Retimer[VideoFrame] = timeline.Retimer(self._rate)
        self._reformatter = VideoReformatter()
        self._last_s: float | None = None
        self._given = 0
        self._stop = None if max_duration_s is None else whole_frames(max_duration_s, self._rate)
        self.done = False

    def take(self, frame: VideoFrame) -> Iterator[Event]:
        if frame.width * frame.height > self._limits.max_pixels:
            raise MediaTooLarge(
                f"A frame of {self._name} has {frame.width} x {frame.height} pixels; the limit is "
                f"{self._limits.max_pixels} (Limits.max_pixels)."
            )
        time_s = time_of(frame)
        if time_s is None:  # no timestamp at all (raw AVI): the next slot
            period = 1 / float(self._rate)
            time_s = self._plan.zero_s if self._last_s is None else self._last_s + period
        self._last_s = time_s
        if self._stop is None and time_s - self._plan.zero_s > self._limits.max_duration_s:
            raise MediaTooLarge(
                f"A frame of {self._name} is placed at {time_s:.0f} s; the limit is "
                f"{self._limits.max_duration_s:.0f} s (Limits.max_duration_s)."
            )
        yield from self._give(self._retimer.push(time_s - self._plan.zero_s, frame))

    def finish(self) -> Iterator[Event]:
        yield from self._give(self._retimer.finish())
        if self._retimer.dropped:
            log.debug("%s: %d frames had no slot", self._name, self._retimer.dropped)

    def _give(self, ready: list[tuple[VideoFrame, int]]) -> Iterator[Event]:
        for frame, wanted in ready:
            count = wanted if self._stop is None else min(wanted, self._stop - self._given)
            if count > 0:
                time_s = self._given / float(self._rate)
                self._given += count
                yield Event(True, time_s, count, show=partial(self._show, frame))
            self.done = self._stop is not None and self._given >= self._stop

    def _show(self, frame: VideoFrame, form: Picture) -> Frame:
        convert = colour.to_rgb if form == "rgb" else colour.to_luma
        picture = convert(frame, self._reformatter)
        if picture.shape[:2] != (self._plan.height, self._plan.width):
            raise UnsupportedMedia(
                f"{self._name} changes its picture size from {self._plan.width} x "
                f"{self._plan.height} to {picture.shape[1]} x {picture.shape[0]} on the way. "
                "Convert it to one size."
            )
        return picture


class _Audio:
    def __init__(self, plan: Plan, limits: Limits, max_duration_s: float | None, name: str) -> None:
        self._plan = plan
        self._name = name
        self._given = 0  # samples per channel
        self._resampler: av.AudioResampler | None = None
        self._stop = None if max_duration_s is None else round(max_duration_s * plan.rate_hz)
        self._most = round(limits.max_duration_s * plan.rate_hz)
        self._limits = limits
        self.done = False

    def take(self, frame: AudioFrame) -> Iterator[Event]:
        for piece in self._even(frame):
            yield from self._place(piece)

    def finish(self) -> Iterator[Event]:
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                yield from self._give(_as_float(piece))

    def _even(self, frame: AudioFrame) -> list[AudioFrame]:
        """A file may change its rate or channels on the way: bring it back to how it began."""
        same = frame.sample_rate == self._plan.rate_hz
        if self._resampler is None and same and frame.layout.nb_channels == self._plan.channels:
            return [frame]
        if self._resampler is None:
            log.warning("%s changes its sound format on the way: resampled", self._name)
            layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(self._plan.channels)
            if layout is None:
                raise UnsupportedMedia(f"{self._name} changes its number of channels on the way.")
            self._resampler = av.AudioResampler("fltp", layout, self._plan.rate_hz)
        return self._resampler.resample(frame)

    def _place(self, frame: AudioFrame) -> Iterator[Event]:
        block = _as_float(frame)
        time_s = time_of(frame)
        if time_s is not None:
            due = round((time_s - self._plan.zero_s) * self._plan.rate_hz)
            gap = due - self._given
            first = self._given == 0
            if gap > (0 if first else GAP_S * self._plan.rate_hz):
                yield from self._silence(gap)
            elif gap < (0 if first else -GAP_S * self._plan.rate_hz):
                block = block[:, min(-gap, block.shape[1]) :]
        yield from self._give(block)

    def _silence(self, n: int) -> Iterator[Event]:
        if self._stop is not None:
            n = min(n, self._stop - self._given)
        self._check(n)
        step = round(BLOCK_S * self._plan.rate_hz)
        while n > 0:
            size = min(step, n)
            yield from self._give(np.zeros((self._plan.channels, size), np.float32))
            n -= size

    def _give(self, block: Samples) -> Iterator[Event]:
        if self._stop is not None:
            block = block[:, : self._stop - self._given]
        n = block.shape[1]
        if n:
            self._check(n)
            time_s = self._given / self._plan.rate_hz
            self._given += n
            yield Event(False, time_s, block=np.ascontiguousarray(block))
        self.done = self._stop is not None and self._given >= self._stop

    def _check(self, n: int) -> None:
        if self._given + n > self._most:
            raise MediaTooLarge(
                f"The sound of {self._name} is longer than {self._limits.max_duration_s:.0f} s "
                "(Limits.max_duration_s)."
            )


def time_of(frame: Any) -> float | None:
    """When a decoded frame or block is due in the file, seconds; None without a timestamp."""
    base = frame.time_base
    if frame.pts is None or base is None:
        return None
    return float(frame.pts * base.numerator / base.denominator)  # as float(pts * base), quicker


def whole_frames(duration_s: float, rate: Fraction) -> int:
    return max(1, round(duration_s * float(rate)))


def _as_float(frame: AudioFrame) -> Samples:
    """Samples of any PCM format as float32 in [-1, 1], shape ``(c, n)``."""
    raw: np.ndarray[Any, Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    if raw.dtype == np.uint8:
        return (raw.astype(np.float32) - np.float32(128)) / np.float32(128)
    if raw.dtype.kind == "i":
        full_scale = 2.0 ** (8 * raw.dtype.itemsize - 1)
        scaled: Samples = raw.astype(np.float32) / np.float32(full_scale)
        return scaled
    samples: Samples = np.clip(raw.astype(np.float32, copy=False), -1.0, 1.0)  # lossy: overshoots
    if np.isnan(samples).any():
        samples = np.nan_to_num(samples, nan=0.0)
    return samples
