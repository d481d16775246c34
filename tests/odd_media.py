"""Odd files, made on the fly with PyAV and Pillow: what a gate meets on a bad day.

Legend: a picture is (h, w, 3 or 4) uint8 RGB(A); sound is (c, n) float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avsafe import testing

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32]
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
W, H, RATE = 256, 192, 12  # enough for the mark, and quick


def pictures(seconds: float, width: int = W, height: int = H, rate: int = RATE) -> list[Picture]:
    clip = testing.textured_clip(seconds, width, height, Fraction(rate), seed=3, sound=False)
    return list(clip.frames or ())


def voice(seconds: float, rate_hz: int = 48000, channels: int = 1, seed: int = 3) -> Sound:
    """Sound like speech; every channel has a level of its own."""
    levels = np.linspace(1, 0.5, channels, dtype=np.float32)[:, None]
    return np.hstack(testing.babble(seconds, rate_hz, seed, channels)) * levels


def with_hole(rgb: Picture, hidden: int = 0) -> Picture:
    """RGBA whose left quarter is transparent, over a colour that nobody is to see."""
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:, : rgb.shape[1] // 4] = 0
    rgba = np.dstack([rgb, alpha])
    rgba[:, : rgb.shape[1] // 4, :3] = hidden
    return rgba


def film(
    path: Path,
    frames: Sequence[Picture],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int = RATE,
    times_ms: Sequence[int] | None = None,
    transfer: int | None = None,
    options: dict[str, str] | None = None,
    sound: Sound | None = None,
    rate_hz: int = 48000,
    sound_codec: str = "aac",
    tracks: int = 1,
) -> Path:
    """A film as asked for; ``times_ms`` places the frames, ``tracks`` repeats the sound."""
    with av.open(str(path), "w") as container:
        if frames:
            stream: Any = container.add_stream(codec, rate=rate)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pixel_format
            stream.codec_context.thread_count = 1
            base = Fraction(1, rate) if times_ms is None else Fraction(1, 1000)
            stream.time_base = stream.codec_context.time_base = base
            if transfer is not None:  # H.273: BT.2020 primaries and matrix
                context = stream.codec_context
                context.color_primaries, context.color_trc, context.colorspace = 9, transfer, 9
            stream.options = options or ({"preset": "veryfast"} if codec == "libx264" else {})
        if sound is not None:
            singers: list[Any] = [
                container.add_stream(sound_codec, rate=rate_hz, layout=LAYOUTS[len(sound)])
                for _ in range(tracks)
            ]
        if frames:
            for index, picture in enumerate(frames):
                form = "rgba" if picture.shape[2] == 4 else "rgb24"
                frame = av.VideoFrame.from_ndarray(picture, format=form)
                if form != pixel_format:
                    frame = frame.reformat(format=pixel_format)
                if transfer is not None:
                    frame.color_trc, frame.color_primaries, frame.colorspace = transfer, 9, 9
                frame.pts = index if times_ms is None else times_ms[index]
                frame.time_base = base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if sound is not None:
            for singer in singers:
                _sing(container, singer, sound, rate_hz)
    return path


def _sing(container: Any, track: Any, sound: Sound, rate_hz: int) -> None:
    layout = LAYOUTS[len(sound)]
    resampler = av.AudioResampler(track.codec_context.format.name, layout, rate_hz)
    for begin in range(0, sound.shape[1], rate_hz):
        block = np.ascontiguousarray(sound[:, begin : begin + rate_hz])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, begin
        frame.time_base = Fraction(1, rate_hz)
        for piece in resampler.resample(frame):
            container.mux(track.encode(piece))
    for piece in resampler.resample(None):
        container.mux(track.encode(piece))
    container.mux(track.encode(None))


def turned(path: Path) -> Path:
    """Sets the display matrix of an MP4 to 90 degrees, as telephones do (ISO/IEC 14496-12)."""
    data = bytearray(path.read_bytes())
    one = (1 << 16).to_bytes(4, "big")
    unit = one + bytes(12) + one + bytes(12) + (1 << 30).to_bytes(4, "big")
    place = data.index(unit, data.index(b"tkhd"))
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    data[place : place + 36] = (
        bytes(4) + one + bytes(4) + minus + bytes(4) + bytes(12) + (1 << 30).to_bytes(4, "big")
    )
    path.write_bytes(data)
    return path


def strip(source: Path, target: Path) -> Path:
    """The same streams in a fresh container: whatever is not sound or picture is gone."""
    if source.suffix in (".png", ".jpg", ".webp"):
        from PIL import Image

        with Image.open(source) as picture:
            Image.fromarray(np.asarray(picture.convert("RGB"))).save(target)
        return target
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        tracks = {
            stream.index: after.add_stream_from_template(stream)
            for stream in before.streams
            if stream.type in ("video", "audio")
        }
        for packet in before.demux(*[before.streams[index] for index in tracks]):
            if packet.dts is not None:
                packet.stream = tracks[packet.stream_index]
                after.mux(packet)
    return target
