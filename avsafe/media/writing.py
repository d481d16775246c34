"""From frames and samples to a file, streamed in time order.

Legend: a frame is ``(h, w, 3)`` uint8 RGB; a block of samples ``(c, n)`` float32 in [-1, 1].
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from avsafe.errors import Cancelled, GeneratorFailed, UsageError
from avsafe.media import colour
from avsafe.media.layout import Unsuited
from avsafe.media.roomy import BUFFER, RoomyFile, room_for
from avsafe.media.spec import EncodeSpec
from avsafe.types import never_cancelled, no_progress

if TYPE_CHECKING:
    from av.container import OutputContainer

    from avsafe.types import Cancelled as CancelledPoll
    from avsafe.types import Frame, Progress, RawMedia, Samples

log = logging.getLogger(__name__)

# suffix -> FFmpeg muxer, default video codec, default audio codec
_MUXERS: dict[str, tuple[str, str | None, str | None]] = {
    ".mp4": ("mp4", "h264", "aac"),
    ".m4v": ("mp4", "h264", "aac"),
    ".mov": ("mov", "h264", "aac"),
    ".mkv": ("matroska", "h264", "aac"),
    ".webm": ("webm", "vp9", "opus"),
    ".m4a": ("ipod", None, "aac"),
    ".wav": ("wav", None, "pcm16"),
    ".flac": ("flac", None, "flac"),
    ".mp3": ("mp3", None, "mp3"),
    ".ogg": ("ogg", None, "opus"),
    ".opus": ("opus", None, "opus"),
}
_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WRITABLE = frozenset([*_MUXERS, *_PICTURES])  # the suffixes that ``encode`` knows
_VIDEO_ENCODERS = {"h264": "libx264", "vp9": "libvpx-vp9"}
_AUDIO_ENCODERS = {
    "aac": ("aac", "fltp"),
    "opus": ("libopus", "flt"),
    "flac": ("flac", "s16"),
    "mp3": ("libmp3lame", "fltp"),
    "pcm16": ("pcm_s16le", "s16"),
    "float": ("pcm_f32le", "flt"),
}
_RATES = {  # what a codec knows, ascending; any other rate becomes the next higher one
    "opus": (8000, 12000, 16000, 24000, 48000),
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def size_for(suffix: str, width: int, height: int) -> tuple[int, int]:
    """The size that ``encode`` gives a picture: even sides for moving ones.

    >>> size_for(".mp4", 641, 359), size_for(".png", 641, 359)
    ((642, 360), (641, 359))
    """
    if suffix in _PICTURES:
        return width, height
    return width + width % 2, height + height % 2


def rate_for(suffix: str, rate_hz: int, codec: str | None = None) -> int:
    """The sample rate that ``encode`` gives sound: the next higher one that the codec knows.

    >>> rate_for(".mp4", 10_000), rate_for(".mp4", 192_000), rate_for(".wav", 192_000)
    (11025, 96000, 192000)
    """
    default = _MUXERS[suffix][2] if suffix in _MUXERS else None
    known = _RATES.get(codec or default or "", ())
    return next((rate for rate in known if rate >= rate_hz), known[-1]) if known else rate_hz


def encode(
    raw: RawMedia,
    destination: Path | str,
    spec: EncodeSpec | None = None,
    *,
    progress: Progress = no_progress,
    cancelled: CancelledPoll = never_cancelled,
) -> None:
    """Write frames and samples to ``destination``; its suffix names the container.

    The same input gives the same bytes. A failure or ``Cancelled`` leaves no file.

    Raises ``UsageError`` for a suffix or a spec that makes no sense, ``GeneratorFailed`` for frames
    or samples that break the contract of ``RawMedia``, ``Cancelled``.

    >>> encode(raw, "clip.mp4")  # doctest: +SKIP
    """
    destination = Path(destination)
    spec = spec or EncodeSpec()
    suffix = destination.suffix.lower()
    if suffix not in _MUXERS and suffix not in _PICTURES:
        raise UsageError(
            f"avsafe writes no {suffix or 'file without suffix'}; it writes "
            f"{', '.join([*_MUXERS, *_PICTURES])}."
        )
    try:
        if suffix in _PICTURES:
            _write_picture(raw, destination, spec, _PICTURES[suffix])
        else:
            _Writer(raw, destination, spec, progress, cancelled).run()
    except BaseException as error:
        destination.unlink(missing_ok=True)
        if isinstance(error, av.error.FFmpegError):
            raise GeneratorFailed(
                f"{destination.name} could not be encoded: FFmpeg says {error.strerror!r}."
            ) from error
        raise


class _Writer:
    def __init__(
        self,
        raw: RawMedia,
        destination: Path,
        spec: EncodeSpec,
        progress: Progress,
        cancelled: CancelledPoll,
    ) -> None:
        self._raw, self._spec = raw, spec
        self._destination = destination
        self._progress, self._cancelled = progress, cancelled
        self._format, self._video_codec, self._audio_codec = _MUXERS[destination.suffix.lower()]
        if raw.frames is None and raw.samples is None:
            raise UsageError("The media has neither frames nor samples; there is nothing to write.")
        if self._video_codec is None and raw.samples is None:
            raise UsageError(
                f"{destination.name} can hold only sound, and there is none. Use .mp4 or .png."
            )

    def run(self) -> None:
        options = {"fflags": "+bitexact"}
        is_movie = self._format in ("mp4", "mov", "ipod")
        room = room_for(self._raw) if self._spec.signing_room and is_movie else 0
        if room:
            roomy = RoomyFile(self._destination, room)
            try:
                with closing(roomy):
                    self._write(roomy, options)
                    roomy.settle()
            except Unsuited as error:  # just under 4 GiB, where 32-bit offsets can't move
                raise GeneratorFailed(
                    f"{self._destination.name} could not be arranged for signing: {error}. Write a "
                    "shorter clip, or one with fewer pixels."
                ) from error
            return
        if self._spec.faststart and is_movie:
            options["movflags"] = "+faststart"
        self._write(str(self._destination), options)

    def _write(self, target: str | RoomyFile, options: dict[str, str]) -> None:
        with av.open(
            target, "w", format=self._format, container_options=options, buffer_size=BUFFER
        ) as container:
            tracks: list[_Track] = []
            if self._raw.frames is not None and self._video_codec is not None:
                tracks.append(_VideoTrack(container, self._raw, self._spec, self._video_codec))
            if self._raw.samples is not None and self._audio_codec is not None:
                tracks.append(_AudioTrack(container, self._raw, self._spec, self._audio_codec))
            self._interleave(tracks)

    def _interleave(self, tracks: list[_Track]) -> None:
        total = self._raw.frame_count
        open_tracks = list(tracks)
        while open_tracks:
            if self._cancelled():
                raise Cancelled(f"Writing {self._destination.name} was cancelled; no file is left.")
            track = min(open_tracks, key=lambda item: item.time_s)
            if not track.step():
                open_tracks.remove(track)
            if isinstance(track, _VideoTrack) and total:
                self._progress(min(1.0, track.count / total), "encode")
        self._progress(1.0, "encode")


class _Track(ABC):
    """One stream being written; ``step`` takes one frame or block and says whether it got one."""

    time_s: float = 0.0  # how far this stream has been written
    count: int = 0

    @abstractmethod
    def step(self) -> bool: ...


class _VideoTrack(_Track):
    def __init__(
        self, container: OutputContainer, raw: RawMedia, spec: EncodeSpec, codec: str
    ) -> None:
        if raw.frame_rate is None or raw.frame_rate <= 0:
            raise UsageError("Moving pictures need a frame rate; this media has none.")
        self._container, self._rate = container, raw.frame_rate
        self._frames = iter(raw.frames if raw.frames is not None else ())
        self._spec, self._codec = spec, spec.video_codec or codec
        self._stream: Any = None
        self._details = raw.details
        self._size = (0, 0)
        self._reformatter = VideoReformatter()
        self._stream = container.add_stream(_VIDEO_ENCODERS[self._codec], rate=raw.frame_rate)
        first = next(self._frames, None)
        if first is None:
            raise GeneratorFailed("The media has no frame at all; nothing was written.")
        self._open(_checked_frame(first, None))
        self._first: Frame | None = first

    def _open(self, frame: Frame) -> None:
        height, width = frame.shape[:2]
        self._size = (height, width)
        stream = self._stream
        stream.width, stream.height = size_for("", width, height)
        stream.pix_fmt = self._spec.pixel_format
        context = stream.codec_context
        context.time_base = 1 / self._rate
        context.gop_size = max(1, round(self._spec.gop_s * float(self._rate)))
        context.thread_count = self._spec.threads
        context.color_range, context.colorspace = 1, 1  # limited, BT.709 (ITU-T H.273)
        context.color_primaries, context.color_trc = 1, 1
        aspect = Fraction(str(self._details.get("pixel_aspect", 1)))
        if aspect != 1:
            context.sample_aspect_ratio = aspect
        context.options = self._options()
        if (stream.width, stream.height) != (width, height):
            log.info(
                "%d x %d pixels are written as %d x %d: 4:2:0 needs even sides, so the last row or "
                "column is repeated",
                width,
                height,
                stream.width,
                stream.height,
            )

    def _options(self) -> dict[str, str]:
        if self._codec == "vp9":
            return {
                "crf": str(self._spec.crf),
                "b": "0",
                "deadline": "good",
                "cpu-used": "4",
                "row-mt": "1",
                "flags": "+bitexact",
            }
        return {"crf": str(self._spec.crf), "preset": self._spec.preset, "flags": "+bitexact"}

    def step(self) -> bool:
        frame = self._first if self._first is not None else next(self._frames, None)
        self._first = None
        if frame is None:
            self._container.mux(self._stream.encode(None))
            return False
        frame = _even(_checked_frame(frame, self._size))
        picture = colour.from_rgb(frame, self._spec.pixel_format, self._reformatter)
        picture.pts, picture.time_base = self.count, 1 / self._rate
        self._container.mux(self._stream.encode(picture))
        self.count += 1
        self.time_s = self.count / float(self._rate)
        return True


class _AudioTrack(_Track):
    def __init__(
        self, container: OutputContainer, raw: RawMedia, spec: EncodeSpec, codec: str
    ) -> None:
        self._codec = spec.audio_codec or codec
        name, sample_format = _AUDIO_ENCODERS[self._codec]
        if self._codec == "mp3" and raw.channels > 2:
            raise UsageError(
                f"MP3 holds 1 or 2 channels, not {raw.channels}: name it .m4a, .flac or .wav."
            )
        if raw.channels not in _LAYOUTS or raw.rate_hz <= 0:
            raise UsageError(
                f"Sound of {raw.channels} channels at {raw.rate_hz} Hz cannot be written; 1 to 8 "
                "channels and a rate are needed."
            )
        self._container, self._raw = container, raw
        self._blocks = iter(raw.samples if raw.samples is not None else ())
        self._layout = _LAYOUTS[raw.channels]
        rate_hz = rate_for("", raw.rate_hz, self._codec)
        stream: Any = container.add_stream(name, rate=rate_hz, layout=self._layout)
        self._stream = stream
        self._stream.codec_context.format = sample_format
        if self._codec in ("aac", "opus", "mp3"):
            self._stream.bit_rate = spec.audio_kbps * 1000
        if self._codec == "aac":
            # FFmpeg's default coder distorts the first block of a sound that starts at full level
            self._stream.codec_context.options = {"aac_coder": "fast"}
        self._resampler = av.AudioResampler(sample_format, self._layout, rate_hz)
        self._clipped = 0

    def step(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            for piece in self._resampler.resample(None):
                self._container.mux(self._stream.encode(piece))
            self._container.mux(self._stream.encode(None))
            if self._clipped:
                log.warning("%d samples outside [-1, 1] were clipped", self._clipped)
            return False
        block = self._checked(block)
        if block.shape[1]:
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
            frame.sample_rate = self._raw.rate_hz
            frame.time_base = Fraction(1, self._raw.rate_hz)
            frame.pts = self.count
            for piece in self._resampler.resample(frame):
                self._container.mux(self._stream.encode(piece))
        self.count += block.shape[1]
        self.time_s = self.count / self._raw.rate_hz
        return True

    def _checked(self, block: Samples) -> Samples:
        if block.ndim != 2 or block.shape[0] != self._raw.channels or block.dtype != np.float32:
            raise GeneratorFailed(
                f"A block of samples is {block.dtype} {block.shape}; expected float32 "
                f"({self._raw.channels}, n)."
            )
        if not np.isfinite(block).all():
            raise GeneratorFailed("A block of samples holds NaN or infinity; nothing was written.")
        over = int(np.count_nonzero(np.abs(block) > 1))
        if over:
            self._clipped += over
            block = np.clip(block, -1, 1)
        return np.ascontiguousarray(block)


def _checked_frame(frame: Frame, size: tuple[int, int] | None) -> Frame:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise GeneratorFailed(f"A frame is {frame.dtype} {frame.shape}; expected uint8 (h, w, 3).")
    if 0 in frame.shape:
        raise GeneratorFailed(f"A frame is empty: {frame.shape}.")
    if size is not None and frame.shape[:2] != size:
        raise GeneratorFailed(
            f"A frame is {frame.shape[:2]}, but the first was {size}; all must be of one size."
        )
    return frame


def _even(frame: Frame) -> Frame:
    """4:2:0 needs even sides: the last row or column is repeated."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _write_picture(raw: RawMedia, destination: Path, spec: EncodeSpec, form: str) -> None:
    """A still picture with nothing but its pixels: no EXIF, no comment, no profile."""
    from PIL import Image

    frame = next(iter(raw.frames if raw.frames is not None else ()), None)
    if frame is None:
        raise UsageError(f"{destination.name} needs a picture, and there is none.")
    options: dict[str, Any] = {}
    if form == "JPEG":
        options = {"quality": spec.image_quality, "subsampling": 0}  # 4:4:4
    if form == "WEBP":
        options = {"quality": spec.image_quality, "lossless": spec.lossless, "method": 4}
    Image.fromarray(_checked_frame(frame, None)).save(destination, form, **options)
