"""The decoding itself, in the process that calls it: the sandbox child, or our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from avsafe.errors import MediaTooLarge, MissingStream, UnreadableMedia, UnsupportedMedia
from avsafe.media import colour, demux, timeline
from avsafe.media.containers import CONTAINERS, sniff
from avsafe.media.limits import Limits
from avsafe.media.reading import Plan
from avsafe.media.wire import Message
from avsafe.types import Kind

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from avsafe.types import Frame, Samples

log = logging.getLogger(__name__)

GAP_S = (
    0.05  # timestamps may wander by rounding; a larger jump is a hole or an overlap in the sound
)
BLOCK_S = 1.0  # silence is given out in blocks of this length


@dataclass(frozen=True)
class Event:
    """One finished piece: a frame to be shown ``count`` times, or a block of samples."""

    data: Any
    is_frame: bool
    time_s: float
    count: int = 1


def plan_json(
    path: str, limits: dict[str, Any], max_duration_s: float | None = None
) -> dict[str, Any]:
    """``make_plan`` for the sandbox."""
    return make_plan(Path(path), Limits.from_json(limits), max_duration_s).as_json()


def stream(
    path: str,
    plan: dict[str, Any],
    limits: dict[str, Any],
    frames: bool,
    max_duration_s: float | None = None,
) -> Iterator[Message]:
    """One stream of a file, for the sandbox."""
    for event in events(
        Path(path),
        Plan.from_json(plan),
        Limits.from_json(limits),
        max_duration_s,
        frames=frames,
        samples=not frames,
    ):
        yield Message({"count": event.count}, {"data": event.data})


def make_plan(path: Path, limits: Limits, max_duration_s: float | None) -> Plan:
    """Rates, sizes and the time zero of a file, from the timestamps of its packets."""
    container, _ = sniff(path)
    if CONTAINERS[container].demuxer is None:
        from avsafe.media import stills

        return stills.plan(path, limits)
    with demux.opened(path, limits) as source, demux.translated(path.name):
        picture = demux.video_stream(source, limits)
        sound = demux.audio_stream(source, limits)
        if picture is None and sound is None:
            raise MissingStream(
                f"{path.name} has neither pictures nor sound (found: "
                f"{', '.join(s.type for s in source.streams) or 'no stream'})."
            )
        times = _times(source, picture, limits, max_duration_s) if picture is not None else None
    details: dict[str, Any] = {"container": container}
    with demux.opened(path, limits) as source, demux.translated(path.name):
        first = _first_frame(source, demux.video_stream(source, limits), path.name)
    with demux.opened(path, limits) as source, demux.translated(path.name):
        sound = demux.audio_stream(source, limits)
        heard = _first_sound(source, sound)
        rate_hz = sound.codec_context.rate if sound is not None and heard is not None else 0
        channels = sound.codec_context.channels if sound is not None and heard is not None else 0
    if first is None and heard is None:
        raise UnreadableMedia(f"No frame and no sample of {path.name} could be decoded.")
    if first is None or times is None:
        return Plan(
            Kind.AUDIO, zero_s=heard or 0.0, rate_hz=rate_hz, channels=channels, details=details
        )
    declared = first.declared
    rate = timeline.choose_rate(times, declared, limits.max_frame_rate)
    start = first.time_s if first.time_s is not None else 0.0
    zero = timeline.common_zero(start, heard, rate)
    last = float(times[-1]) if len(times) else start
    count = max(1, round((max(last, start) - zero) * float(rate)) + 1)
    if max_duration_s is not None:
        count = min(count, _whole_frames(max_duration_s, rate))
    if timeline.is_variable(times, rate):
        details["resampled"] = (
            f"variable frame rate: {len(times)} frames became {count} at {rate} per second"
        )
    if heard is not None and timeline.held_frames(start, heard, rate):
        details["held_frames"] = timeline.held_frames(start, heard, rate)
    if first.orientation.clockwise_deg:
        details["rotation_deg"] = first.orientation.clockwise_deg
    if first.orientation.mirrored:
        details["mirrored"] = True
    if first.pixel_aspect != 1:
        details["pixel_aspect"] = str(first.pixel_aspect)
    if first.transfer in (16, 18):  # H.273: PQ and HLG
        details["hdr"] = "high dynamic range, shown without tone mapping"
    still = len(times) == 1 and container == "gif" and heard is None
    height, width = first.shape
    return Plan(
        kind=Kind.IMAGE if still else Kind.VIDEO,
        width=width,
        height=height,
        rate=None if still else rate,
        frame_count=count,
        zero_s=zero,
        rate_hz=rate_hz,
        channels=channels,
        details=details,
    )


def events(
    path: Path,
    plan: Plan,
    limits: Limits,
    max_duration_s: float | None,
    *,
    frames: bool,
    samples: bool,
) -> Iterator[Event]:
    """Frames and blocks of samples, each in order, in the order in which the file holds them."""
    container, _ = sniff(path)
    if CONTAINERS[container].demuxer is None:
        from avsafe.media import stills

        if frames:
            yield Event(stills.read(path, limits), True, 0.0)
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
        damage = _Damage(path.name)
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


class _Damage:
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
    def __init__(self, plan: Plan, limits: Limits, max_duration_s: float | None, name: str) -> None:
        self._plan = plan
        self._rate = plan.rate or Fraction(1)
        self._limits = limits
        self._name = name
        self._retimer: timeline.Retimer[VideoFrame] = timeline.Retimer(self._rate)
        self._reformatter = VideoReformatter()
        self._last_s: float | None = None
        self._given = 0
        self._stop = None if max_duration_s is None else _whole_frames(max_duration_s, self._rate)
        self.done = False

    def take(self, frame: VideoFrame) -> Iterator[Event]:
        if frame.width * frame.height > self._limits.max_pixels:
            raise MediaTooLarge(
                f"A frame of {self._name} has {frame.width} x {frame.height} pixels; the limit is "
                f"{self._limits.max_pixels} (Limits.max_pixels)."
            )
        time_s = _time_of(frame)
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
                yield Event(self._rgb(frame), True, time_s, count)
            self.done = self._stop is not None and self._given >= self._stop

    def _rgb(self, frame: VideoFrame) -> Frame:
        rgb = colour.to_rgb(frame, self._reformatter)
        if rgb.shape[:2] != (self._plan.height, self._plan.width):
            raise UnsupportedMedia(
                f"{self._name} changes its picture size from {self._plan.width} x "
                f"{self._plan.height} to {rgb.shape[1]} x {rgb.shape[0]} on the way. Convert it to "
                "one size."
            )
        return rgb


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
        time_s = _time_of(frame)
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
            yield Event(np.ascontiguousarray(block), False, time_s)
        self.done = self._stop is not None and self._given >= self._stop

    def _check(self, n: int) -> None:
        if self._given + n > self._most:
            raise MediaTooLarge(
                f"The sound of {self._name} is longer than {self._limits.max_duration_s:.0f} s "
                "(Limits.max_duration_s)."
            )


@dataclass(frozen=True)
class _First:
    shape: tuple[int, int]  # h, w, upright
    time_s: float | None
    declared: Fraction | None
    transfer: int
    orientation: colour.Orientation
    pixel_aspect: Fraction  # width of a pixel over its height


def _first_frame(source: InputContainer, stream: VideoStream | None, name: str) -> _First | None:
    if stream is None:
        return None
    damage = _Damage(name)
    for packet in source.demux(stream):
        for frame in damage.decode(packet):
            seen = colour.orientation_of(frame)
            shape = (frame.width, frame.height) if seen.transposed else (frame.height, frame.width)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            return _First(
                shape=shape,
                time_s=_time_of(frame),
                declared=stream.guessed_rate,
                transfer=int(frame.color_trc),
                orientation=seen,
                pixel_aspect=1 / aspect if seen.transposed else aspect,
            )
    damage.report()
    return None


def _first_sound(source: InputContainer, stream: Any) -> float | None:
    """When the first decoded sample is heard (the encoder's priming already cut off)."""
    if stream is None:
        return None
    for packet in source.demux(stream):
        try:
            for frame in packet.decode():
                return _time_of(frame) or 0.0
        except av.error.InvalidDataError:
            continue
    return None


def _times(
    source: InputContainer, stream: VideoStream, limits: Limits, max_duration_s: float | None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """When each frame is shown, sorted; reads packets, decodes nothing."""
    times: list[float] = []
    base = stream.time_base or Fraction(1, 1000)
    without = 0
    most = round(limits.max_duration_s * limits.max_frame_rate)
    for packet in source.demux(stream):
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None:
            without += 1
        else:
            times.append(float(packet.pts * base))
        if len(times) + without > most:
            raise MediaTooLarge(
                f"{Path(source.name).name} holds more than {most} frames "
                "(Limits.max_duration_s x Limits.max_frame_rate)."
            )
        if max_duration_s is not None and times and times[-1] - times[0] > max_duration_s + 2:
            break  # 2 s: more than a decoder reorders
    if len(times) < without:  # AVI: counting is all there is
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        return np.arange(len(times) + without) / float(rate)
    shown = np.sort(np.array(times, np.float64))
    if len(shown) and shown[-1] - shown[0] > limits.max_duration_s and max_duration_s is None:
        raise MediaTooLarge(
            f"{Path(source.name).name} lasts {shown[-1] - shown[0]:.0f} s by its timestamps; the "
            f"limit is {limits.max_duration_s:.0f} s (Limits.max_duration_s)."
        )
    return shown


def _time_of(frame: Any) -> float | None:
    return (
        None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
    )


def _whole_frames(duration_s: float, rate: Fraction) -> int:
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
    finite = np.nan_to_num(raw.astype(np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    samples: Samples = np.clip(finite, -1.0, 1.0)  # lossy decoders overshoot by a little
    return samples
