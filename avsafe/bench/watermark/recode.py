"""Writing damaged media as the world writes it: codecs and settings beyond ``media.encode``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.bench.clips import Shot, Sound
from avsafe.types import Frame


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg by name, with its options, in a container by suffix."""

    encoder: str
    suffix: str
    options: tuple[tuple[str, str], ...] = ()
    bit_rate: int = 0
    rates_hz: tuple[int, ...] = ()  # the only sample rates it takes; () any
    sample_format: str = "fltp"
    still: str = ""  # png | jpeg: one frame of the coded clip, stored as a picture
    quality: int = 95  # of a JPEG


def h264(crf: int) -> Codec:
    return Codec("libx264", ".mp4", (("crf", str(crf)), ("preset", "medium")))


def h265(crf: int) -> Codec:
    options = (("crf", str(crf)), ("preset", "fast"), ("x265-params", "log-level=none:pools=1"))
    return Codec("libx265", ".mp4", options)


VP9 = Codec(
    "libvpx-vp9", ".webm", (("crf", "33"), ("b", "0"), ("deadline", "good"), ("cpu-used", "5"))
)
AV1 = Codec("libsvtav1", ".mp4", (("crf", "35"), ("preset", "8"), ("svtav1-params", "lp=1")))
WAV = Codec("pcm_s16le", ".wav", sample_format="s16")
_MP3_RATES = (48000, 44100, 32000, 24000, 22050, 16000)
_AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000)


def mp3(kbps: int) -> Codec:
    return Codec("libmp3lame", ".mp3", bit_rate=kbps * 1000, rates_hz=_MP3_RATES)


def aac(kbps: int) -> Codec:
    return Codec("aac", ".m4a", bit_rate=kbps * 1000, rates_hz=_AAC_RATES)


def opus(kbps: int) -> Codec:
    rates = (48000, 24000, 16000)
    return Codec("libopus", ".opus", bit_rate=kbps * 1000, rates_hz=rates, sample_format="flt")


def picture(form: str, quality: int = 95) -> Codec:
    """A still picture, not coded before."""
    return Codec("", ".png" if form == "png" else ".jpg", still=form, quality=quality)


def available(codec: Codec) -> bool:
    """Whether this build of FFmpeg can write it."""
    import av.codec

    if not codec.encoder:
        return True
    try:
        av.codec.Codec(codec.encoder, "w")
    except Exception:
        return False
    return True


def write_shot(shot: Shot, codec: Codec, path: Path) -> None:
    """Encode pictures; odd sides are cut to even ones, as 4:2:0 needs."""
    import av
    from av.video.reformatter import VideoReformatter

    from avsafe.media import colour

    width, height = shot.width - shot.width % 2, shot.height - shot.height % 2
    reformatter = VideoReformatter()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec.encoder, rate=shot.rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / shot.rate
        context.thread_count = 1
        context.color_range, context.colorspace = 1, 1  # limited, BT.709 (ITU-T H.273)
        context.color_primaries, context.color_trc = 1, 1
        context.options = dict(codec.options)
        for index, frame in enumerate(shot.frames):
            even = np.ascontiguousarray(frame[:height, :width])
            image = colour.from_rgb(even, "yuv420p", reformatter)
            image.pts, image.time_base = index, 1 / shot.rate
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def write_picture(frame: Frame, codec: Codec, path: Path) -> None:
    """Store one frame as PNG or JPEG (4:2:0, as programs do by default)."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    if codec.still == "png":
        image.save(path, "PNG", compress_level=1)
    else:
        image.save(path, "JPEG", quality=codec.quality)


def write_sound(sound: Sound, codec: Codec, path: Path) -> None:
    """Encode sound, mono or stereo; further channels are left out."""
    import av

    samples = np.ascontiguousarray(np.clip(sound.samples[:2], -1, 1), np.float32)
    layout = "mono" if len(samples) == 1 else "stereo"
    rate = sound.rate_hz
    if codec.rates_hz and rate not in codec.rates_hz:
        above = [one for one in codec.rates_hz if one >= rate]
        rate = min(above) if above else max(codec.rates_hz)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec.encoder, rate=rate, layout=layout)
        stream.codec_context.format = codec.sample_format
        if codec.bit_rate:
            stream.bit_rate = codec.bit_rate
        resampler = av.AudioResampler(codec.sample_format, layout, rate)
        for piece in _pieces(samples, sound.rate_hz, layout):
            for converted in resampler.resample(piece):
                container.mux(stream.encode(converted))
        for converted in resampler.resample(None):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))


def filtered(sound: Sound, graph: str, rate_hz: int | None = None) -> Sound:
    """Sound through a chain of FFmpeg's audio filters, e.g. ``"atempo=1.05"``."""
    import av
    import av.filter

    samples = np.ascontiguousarray(sound.samples[:2], np.float32)
    layout = "mono" if len(samples) == 1 else "stereo"
    chain = av.filter.Graph()
    nodes: list[Any] = [
        chain.add_abuffer(
            sample_rate=sound.rate_hz,
            format="fltp",
            layout=layout,
            time_base=Fraction(1, sound.rate_hz),
        )
    ]
    for step in graph.split(","):
        name, _, arguments = step.partition("=")
        nodes.append(chain.add(name, arguments))
    nodes.append(chain.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}"))
    nodes.append(chain.add("abuffersink"))
    chain.link_nodes(*nodes).configure()
    out: list[Any] = []

    def drain() -> None:
        while True:
            try:
                out.append(nodes[-1].pull().to_ndarray())
            except (av.BlockingIOError, av.EOFError):
                return

    for piece in _pieces(samples, sound.rate_hz, layout):
        nodes[0].push(piece)
        drain()
    nodes[0].push(None)
    drain()
    return Sound(np.hstack(out).astype(np.float32), rate_hz or sound.rate_hz)


def _pieces(samples: Any, rate_hz: int, layout: str) -> Iterable[Any]:
    import av

    for start in range(0, samples.shape[1], 4096):
        piece = np.ascontiguousarray(samples[:, start : start + 4096])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, start
        frame.time_base = Fraction(1, rate_hz)
        yield frame
