"""What one reading of all packets shows, before any decoding pass: rates, sizes, time zero."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av.error
import numpy as np

from avsafe.errors import MediaTooLarge, MissingStream, UnreadableMedia
from avsafe.media import colour, demux, timeline
from avsafe.media.containers import CONTAINERS, sniff
from avsafe.media.decoder import Damage, time_of, whole_frames
from avsafe.media.limits import Limits
from avsafe.media.reading import Plan
from avsafe.types import Kind

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray


def plan_json(
    path: str, limits: dict[str, Any], max_duration_s: float | None = None
) -> dict[str, Any]:
    """``make_plan`` for the sandbox."""
    return make_plan(Path(path), Limits.from_json(limits), max_duration_s).as_json()


def make_plan(path: Path, limits: Limits, max_duration_s: float | None) -> Plan:
    """Rates, sizes and the time zero of a file, from the timestamps of its packets."""
    return survey(path, limits, max_duration_s).plan


@dataclass(frozen=True)
class Survey:
    """What one reading of all packets shows: the plan, and the streams as the container names
    them (``None`` for a still picture, which has none)."""

    plan: Plan
    video: demux.Named | None = None
    audio: demux.Named | None = None
    duration_s: float | None = None  # of the whole file, as declared


def survey(path: Path, limits: Limits, max_duration_s: float | None = None) -> Survey:
    """``make_plan``, with what it saw on the way: the file is opened and read through once."""
    container, _ = sniff(path)
    if CONTAINERS[container].demuxer is None:
        from avsafe.media import stills

        return Survey(stills.plan(path, limits))
    with demux.opened(path, limits) as source, demux.translated(path.name):
        picture = demux.video_stream(source, limits)
        sound = demux.audio_stream(source, limits)
        if picture is None and sound is None:
            raise MissingStream(
                f"{path.name} has neither pictures nor sound (found: "
                f"{', '.join(s.type for s in source.streams) or 'no stream'})."
            )
        times, first, heard = _read_through(source, picture, sound, limits, max_duration_s)
        rate_hz = sound.codec_context.rate if sound is not None and heard is not None else 0
        channels = sound.codec_context.channels if sound is not None and heard is not None else 0
        video, audio = demux.Named.of(picture), demux.Named.of(sound)
        duration_s = source.duration / 1e6 if source.duration else None
        details = {"container": container} | _not_kept(source, picture, sound)
    if first is None and heard is None:
        raise UnreadableMedia(f"No frame and no sample of {path.name} could be decoded.")
    if first is None or times is None:
        plan = Plan(
            Kind.AUDIO, zero_s=heard or 0.0, rate_hz=rate_hz, channels=channels, details=details
        )
        return Survey(plan, video, audio, duration_s)
    declared = first.declared
    rate = timeline.choose_rate(times, declared, limits.max_frame_rate)
    start = first.time_s if first.time_s is not None else 0.0
    zero = timeline.common_zero(start, heard, rate)
    last = float(times[-1]) if len(times) else start
    count = max(1, round((max(last, start) - zero) * float(rate)) + 1)
    if max_duration_s is not None:
        count = min(count, whole_frames(max_duration_s, rate))
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
        name = "PQ" if first.transfer == 16 else "HLG"
        details["hdr"] = f"high dynamic range ({name})"
    if first.bits > 8:
        details["depth"] = first.bits
    if first.alpha:
        details["alpha"] = first.alpha
    still = len(times) == 1 and container == "gif" and heard is None
    height, width = first.shape
    plan = Plan(
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
    return Survey(plan, video, audio, duration_s)


@dataclass(frozen=True)
class _First:
    shape: tuple[int, int]  # h, w, upright
    time_s: float | None
    declared: Fraction | None
    transfer: int
    orientation: colour.Orientation
    pixel_aspect: Fraction  # width of a pixel over its height
    bits: int  # of a channel
    alpha: str  # what becomes of the transparency; "" without

    @classmethod
    def of(cls, frame: VideoFrame, stream: VideoStream) -> _First:
        seen = colour.orientation_of(frame)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        return cls(
            shape=(frame.width, frame.height) if seen.transposed else (frame.height, frame.width),
            time_s=time_of(frame),
            declared=stream.guessed_rate,
            transfer=int(frame.color_trc),
            orientation=seen,
            pixel_aspect=1 / aspect if seen.transposed else aspect,
            bits=max((item.bits for item in frame.format.components), default=8),
            alpha=_transparency(frame, stream),
        )


def _transparency(frame: VideoFrame, stream: VideoStream) -> str:
    """What becomes of the transparent parts, from the first frame; empty where there are none.

    A GIF or a palette may hold some or not: there the pixels decide.
    """
    if stream.metadata.get("alpha_mode") == "1":  # WebM: in a layer of its own, not decoded
        return "its layer was left out"
    doubtful = stream.codec_context.name == "gif" or frame.format.has_palette
    if colour.may_be_transparent(frame) and (not doubtful or colour.is_transparent(frame)):
        return "transparent parts stand on white"
    return ""


def _not_kept(
    source: InputContainer, picture: VideoStream | None, sound: AudioStream | None
) -> dict[str, Any]:
    """What the other streams are, and whether the samples are deeper than 16 bits."""
    found: dict[str, Any] = {}
    others = Counter(
        "cover picture" if stream.type == "video" and demux.is_cover(stream) else stream.type
        for stream in source.streams
        if stream not in (picture, sound) and stream.type in ("video", "audio", "subtitle")
    )
    if others:
        found["left_out"] = ", ".join(
            f"{count} {kind if 'cover' in kind else f'further {kind} stream'}{'s'[: count > 1]}"
            for kind, count in sorted(others.items())
        )
    if sound is not None:
        codec = sound.codec_context
        deep = codec.format is not None and codec.format.bytes > 2
        if deep and codec.name.startswith(("pcm_", "flac", "alac")):
            found["deep_sound"] = "more than 16 bits"
    return found


def _read_through(
    source: InputContainer,
    picture: VideoStream | None,
    sound: AudioStream | None,
    limits: Limits,
    max_duration_s: float | None,
) -> tuple[NDArray[np.float64] | None, _First | None, float | None]:
    """When each frame is shown, the first frame, and when the first sample is heard (the encoder's
    priming already cut off). Reads each packet once; decodes until both streams have begun."""
    name = Path(source.name).name
    damage = Damage(name)
    times = None if picture is None else _Times(picture, limits, max_duration_s, name)
    first: _First | None = None
    heard: float | None = None
    for packet in source.demux([stream for stream in (picture, sound) if stream is not None]):
        if packet.stream is picture:
            if times is not None:
                times.add(packet)
            if first is None and (frames := damage.decode(packet)):
                first = _First.of(frames[0], picture)
        elif heard is None:
            try:
                for frame in packet.decode():
                    heard = time_of(frame) or 0.0
                    break
            except av.error.InvalidDataError:
                continue
        begun = (picture is None or first is not None) and (sound is None or heard is not None)
        if begun and (times is None or times.enough):
            break
    if picture is not None and first is None:
        damage.report()
    return None if times is None else times.shown(), first, heard


class _Times:
    """When each frame is shown, from the packets alone."""

    def __init__(
        self, stream: VideoStream, limits: Limits, max_duration_s: float | None, name: str
    ) -> None:
        self._stream, self._limits, self._name = stream, limits, name
        self._max_duration_s = max_duration_s
        self._base = stream.time_base or Fraction(1, 1000)
        self._most = round(limits.max_duration_s * limits.max_frame_rate)
        self._ticks: list[int] = []
        self._without = 0
        self.enough = False

    def add(self, packet: Packet[Any]) -> None:
        if self.enough or packet.size == 0 or packet.is_discard:
            return
        if packet.pts is None:
            self._without += 1
        else:
            self._ticks.append(packet.pts)
        if len(self._ticks) + self._without > self._most:
            raise MediaTooLarge(
                f"{self._name} holds more than {self._most} frames "
                "(Limits.max_duration_s x Limits.max_frame_rate)."
            )
        if self._max_duration_s is not None and self._ticks:
            seen_s = float((self._ticks[-1] - self._ticks[0]) * self._base)
            self.enough = seen_s > self._max_duration_s + 2  # 2 s: more than a decoder reorders

    def shown(self) -> NDArray[np.float64]:
        """Sorted, in seconds."""
        if len(self._ticks) < self._without:  # AVI: counting is all there is
            rate = self._stream.guessed_rate or self._stream.average_rate or Fraction(25)
            return np.arange(len(self._ticks) + self._without) / float(rate)
        # one division of whole numbers each, as float(Fraction) does: the nearest number there is
        base = self._base
        shown = np.sort(
            np.array([tick * base.numerator / base.denominator for tick in self._ticks])
        )
        if not len(shown):
            return shown
        if shown[-1] - shown[0] > self._limits.max_duration_s and self._max_duration_s is None:
            raise MediaTooLarge(
                f"{self._name} lasts {shown[-1] - shown[0]:.0f} s by its timestamps; the limit is "
                f"{self._limits.max_duration_s:.0f} s (Limits.max_duration_s)."
            )
        return shown
