"""For plugin authors and for our own tests: synthetic clips, and checks of the plugin contracts.

Nothing here needs pytest: a check raises AssertionError with a sentence.

Legend: a frame is (h, w, 3) uint8 RGB; a block of samples is (c, n) float32 in [-1, 1].

>>> clip = textured_clip(duration_s=0.5, width=128, height=96)
>>> next(iter(clip.frames)).shape
(96, 128, 3)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Cancelled, CannotMark
from avsafe.media.replay import Replay
from avsafe.types import (
    FeatureExtractor,
    Features,
    Frame,
    GenerationRequest,
    Generator,
    Kind,
    Media,
    Metric,
    RawMedia,
    Sample,
    Samples,
    Watermarker,
)

if TYPE_CHECKING:
    from avsafe.metering import Measured


def media_folder() -> Path | None:
    """The folder of shared test media: ``$AVSAFE_TEST_MEDIA``, or ``../shared/media``; or None."""
    named = os.environ.get("AVSAFE_TEST_MEDIA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "media"
    return folder if folder.is_dir() else None


# ---------------------------------------------------------------- synthetic clips


def textured_clip(
    duration_s: float = 2.0,
    width: int = 320,
    height: int = 240,
    frame_rate: Fraction = Fraction(25),
    rate_hz: int = 48000,
    seed: int = 0,
    *,
    sound: bool = True,
) -> RawMedia:
    """A moving scene with fine and coarse texture, shading and an occluding disc, and sound with
    the spectrum and the pauses of speech. Another seed is another scene.
    """
    frame_count = max(1, round(duration_s * frame_rate))
    texture = _texture(height * 2, width * 2, seed)

    def frames() -> Iterator[Frame]:
        ys, xs = np.mgrid[0:height, 0:width]
        for index in range(frame_count):
            shift = int(index * width / (6 * float(frame_rate)))  # a sixth of the width a second
            scene: Frame = np.roll(texture, (-shift // 3, -shift), (0, 1))[:height, :width].copy()
            t = index / float(frame_rate)
            cx, cy = width * (0.5 + 0.3 * np.sin(1.3 * t + seed)), height * (0.5 + 0.3 * np.cos(t))
            disc = (xs - cx) ** 2 + (ys - cy) ** 2 < (0.16 * min(width, height)) ** 2
            scene[disc] = 255 - scene[disc]
            yield np.ascontiguousarray(scene)

    return RawMedia(
        kind=Kind.VIDEO,
        frames=Replay(frames),
        frame_rate=frame_rate,
        frame_count=frame_count,
        width=width,
        height=height,
        samples=Replay(lambda: iter(babble(duration_s, rate_hz, seed))) if sound else None,
        rate_hz=rate_hz if sound else 0,
        channels=1 if sound else 0,
    )


def _texture(height: int, width: int, seed: int) -> Frame:
    """Noise with a 1/f spectrum, as natural pictures have, in three correlated channels."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    envelope = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** 1.25
    planes = []
    for _ in range(4):
        spectrum = np.fft.fft2(rng.standard_normal((height, width))) * envelope
        plane = np.real(np.fft.ifft2(spectrum))
        planes.append(plane / plane.std())
    luma = planes[0]
    colour = np.stack([luma + 0.4 * plane for plane in planes[1:]], axis=-1)
    texture: Frame = np.clip(118 + 42 * colour, 0, 255).astype(np.uint8)
    return texture


def babble(duration_s: float, rate_hz: int, seed: int, channels: int = 1) -> list[Samples]:
    """Blocks of sound with harmonics, formants, noise and syllables, at about -20 dBFS."""
    rng = np.random.default_rng(seed + 1)
    n = round(duration_s * rate_hz)
    t = np.arange(n) / rate_hz
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * t + seed) + 15 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voice = np.zeros(n)
    for harmonic in range(1, 40):
        centre_hz = harmonic * 120
        if centre_hz > rate_hz / 2.2:
            break
        formant = sum(np.exp(-(((centre_hz - f) / 300) ** 2)) for f in (500, 1500, 2600, 3600))
        voice += (0.15 + formant) * np.sin(harmonic * phase) / harmonic**0.5
    syllables = 0.55 + 0.45 * np.sin(
        2 * np.pi * 3.7 * t + 0.5 * np.sin(2 * np.pi * 0.31 * t + seed)
    )
    sound = voice * syllables + 0.5 * rng.standard_normal(n) * (0.2 + syllables**4)
    sound = 0.1 * sound / max(1e-9, float(sound.std()))
    whole = np.clip(np.tile(sound, (channels, 1)), -1, 1).astype(np.float32)
    return [whole[:, start : start + 4800] for start in range(0, n, 4800)]


def flash_beep_clip(
    offset_ms: float = 0.0,
    duration_s: float = 4.0,
    width: int = 320,
    height: int = 240,
    frame_rate: Fraction = Fraction(25),
    rate_hz: int = 48000,
) -> RawMedia:
    """A white flash of one frame and a 1 kHz beep every second; the beep comes ``offset_ms`` after
    the flash (audio late is positive)."""
    frame_count = round(duration_s * frame_rate)
    period = round(frame_rate)

    def frames() -> Iterator[Frame]:
        for index in range(frame_count):
            value = 255 if index % period == period // 2 else 16
            yield np.full((height, width, 3), value, np.uint8)

    def samples() -> Iterator[Samples]:
        n = round(duration_s * rate_hz)
        out = np.zeros((1, n), np.float32)
        beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate_hz // 25) / rate_hz)
        for index in range(period // 2, frame_count, period):
            start = round((index / float(frame_rate) + offset_ms / 1000) * rate_hz)
            if 0 <= start < n:
                stop = min(n, start + beep.size)
                out[0, start:stop] = beep[: stop - start]
        yield out

    return RawMedia(
        kind=Kind.VIDEO,
        frames=Replay(frames),
        frame_rate=frame_rate,
        frame_count=frame_count,
        width=width,
        height=height,
        samples=Replay(samples),
        rate_hz=rate_hz,
        channels=1,
    )


def still(width: int = 512, height: int = 384, seed: int = 0) -> RawMedia:
    """One textured picture."""
    clip = textured_clip(0.04, width, height, seed=seed, sound=False)
    return replace(clip, kind=Kind.IMAGE, frame_rate=None, frame_count=1)


def sound_only(duration_s: float = 6.0, rate_hz: int = 48000, seed: int = 0) -> RawMedia:
    """Sound without pictures."""
    return RawMedia(
        kind=Kind.AUDIO,
        samples=Replay(lambda: iter(babble(duration_s, rate_hz, seed))),
        rate_hz=rate_hz,
        channels=1,
    )


def flip_media_byte(source: Path, destination: Path) -> None:
    """A copy of an MP4 with one bit changed in the middle of its media data: an altered file."""
    data = bytearray(source.read_bytes())
    start = data.rindex(b"mdat")
    data[start + (len(data) - start) // 2] ^= 0x01
    destination.write_bytes(data)


# ---------------------------------------------------------------- contracts


def check_raw_media(raw: RawMedia) -> None:
    """The contract of RawMedia: declared shapes, ranges and counts, and equal second iteration."""
    assert raw.frames is not None or raw.samples is not None, "neither frames nor samples"
    if raw.frames is not None:
        first, second = _digest(raw.frames), _digest(raw.frames)
        assert first == second, "a second iteration of frames differs from the first"
        count = 0
        for frame in raw.frames:
            count += 1
            assert frame.shape == (raw.height, raw.width, 3), f"frame {count}: shape {frame.shape}"
            assert frame.dtype == np.uint8, f"frame {count}: {frame.dtype}, expected uint8"
        assert count > 0, "no frame"
        if raw.frame_count is not None:
            assert count == raw.frame_count, f"{count} frames, declared {raw.frame_count}"
        assert (raw.frame_rate is None) == (raw.kind is Kind.IMAGE), "rate and kind disagree"
    if raw.samples is not None:
        assert raw.rate_hz > 0, "samples without a rate"
        assert _digest(raw.samples) == _digest(raw.samples), "a second iteration of samples differs"
        for block in raw.samples:
            assert block.ndim == 2, f"block of shape {block.shape}; expected (c, n)"
            assert block.shape[0] == raw.channels, f"{block.shape[0]} channels, not {raw.channels}"
            assert block.dtype == np.float32, f"samples are {block.dtype}, expected float32"
            assert float(np.abs(block).max(initial=0)) <= 1.0, "samples outside [-1, 1]"


def check_generator(generator: Generator, request: GenerationRequest) -> RawMedia:
    """The contract of a generator for one request: info, determinism, progress, cancellation."""
    info = generator.info
    assert request.task in info.tasks, f"{info.name} does not declare {request.task}"
    assert info.name, "a generator needs a name"
    assert info.version, "a generator needs a version"
    assert info.licence, "a generator needs a licence"
    seen: list[float] = []
    raw = generator.generate(request, progress=lambda fraction, _: seen.append(fraction))
    check_raw_media(raw)
    assert seen, "progress was never called"
    assert all(0 <= fraction <= 1 for fraction in seen), "progress outside 0..1"
    again = generator.generate(request)
    for one, other in ((raw.frames, again.frames), (raw.samples, again.samples)):
        if one is not None and other is not None:
            assert _digest(one) == _digest(other), "the same request gave other output"
    try:
        stopped = generator.generate(request, cancelled=lambda: True)
        for stream in (stopped.frames, stopped.samples):
            for _ in stream or ():
                pass
    except Cancelled:
        return raw
    raise AssertionError("cancelled() was never honoured")


def extract(extractor: FeatureExtractor, raw: RawMedia, media: Media | None = None) -> Features:
    """Feed raw media to an extractor in this process, the way the sandbox does."""
    from avsafe.media.colour import grey

    extractor.start(media or _as_media(raw))
    rate = float(raw.frame_rate or 1)
    frames = raw.frames if extractor.picture != "none" else None
    for index, frame in enumerate(frames or ()):
        extractor.frame(grey(frame) if extractor.picture == "luma" else frame, index / rate)
    for block in raw.samples or ():
        extractor.samples(block, raw.rate_hz)
    return extractor.finish()


def measured(
    metric: Metric,
    raw: RawMedia,
    beside: RawMedia | None = None,
    *,
    text: str = "",
    texts: Mapping[str, str] | None = None,
) -> Measured:
    """One metric on media in memory, the way a benchmark plays it: its values and features."""
    from avsafe.media import replayed
    from avsafe.metering import measure

    metric.prepare()
    others = {} if beside is None else {metric.info.beside: replayed(beside)}
    sample = Sample("memory", {}, text, texts=dict(texts or {}))
    return measure({"metric": metric}, sample, replayed(raw), others)["metric"]


def check_metric(metric: Metric, raw: RawMedia, beside: RawMedia | None = None) -> Measured:
    """The contract of a metric: what it says of itself, and equal values from a second pass."""
    info = metric.info
    assert info.name.isidentifier(), f"{info.name!r} is no name: snake_case, please"
    assert info.version, "a metric needs a version"
    assert info.columns, "a metric needs a column"
    assert len({column.name for column in info.columns}) == len(info.columns), "columns repeat"
    first, second = measured(metric, raw, beside), measured(metric, raw, beside)
    assert first.values == second.values, "a second pass gave other values"
    for column in info.columns:
        value = first.values.get(info.score_name(column)) if info.scope == "clip" else None
        if isinstance(value, float):
            assert column.low is None or value >= column.low - 1e-9, f"{value} below its range"
            assert column.high is None or value <= column.high + 1e-9, f"{value} above its range"
    return first


def check_watermarker(marker: Watermarker, raw: RawMedia, key: bytes, other_key: bytes) -> None:
    """The contract of a watermarker on media that can carry its mark, without any codec.

    A mark of 0 bits is embedded as payload 0 and found without one. Another key may find it only
    where it says ``keyless_network`` in its details.
    """
    from avsafe.plugins import load_object

    carries = marker.payload_bits > 0
    payload = (1 << marker.payload_bits) - 3 if carries else 0
    embedder = marker.embedder(raw, payload, key)
    if marker.modality is Kind.AUDIO:
        blocks = [embedder.samples(block) for block in raw.samples or ()] + [embedder.flush()]
        marked = raw.with_samples(blocks)
        before = sum(block.shape[1] for block in raw.samples or ())
        assert sum(block.shape[1] for block in blocks) == before, "the length changed"
    else:
        originals = [frame.copy() for frame in raw.frames or ()]
        frames = [embedder.frame(frame) for frame in originals]
        for original, frame, untouched in zip(originals, frames, raw.frames or (), strict=True):
            assert frame.shape == original.shape, "the shape changed"
            assert frame.dtype == np.uint8, "frames must stay uint8"
            assert np.array_equal(original, untouched), "the input frame was changed in place"
        marked = raw.with_frames(frames)
    mark = embedder.mark()
    assert mark.payload == payload, "mark() reports another payload"
    assert mark.algorithm == marker.algorithm, "mark() reports another algorithm"
    found = marker.detect(extract(load_object(marker.extractor)(), marked), key)
    assert found.present, f"the mark was not found: {found}"
    expected = payload if carries else None
    assert found.payload == expected, f"payload {found.payload!r}, expected {expected!r}"
    keyless = not carries and found.details.get("keyless_network", False)
    for media, wrong in ((raw, key),) if keyless else ((marked, other_key), (raw, key)):
        nothing = marker.detect(extract(load_object(marker.extractor)(), media), wrong)
        assert not nothing.present, f"a mark where there is none: {nothing}"


def check_refuses(marker: Watermarker, raw: RawMedia, key: bytes) -> None:
    """Media that can't carry the mark is refused with CannotMark, at once or by ``mark()``."""
    try:
        embedder = marker.embedder(raw, 1, key)
        for frame in raw.frames or ():
            embedder.frame(frame)
        for block in raw.samples or ():
            embedder.samples(block)
        embedder.flush()
        embedder.mark()
    except CannotMark:
        return
    raise AssertionError("media that is too small or silent was not refused")


def _as_media(raw: RawMedia) -> Media:
    from avsafe.types import AudioStream, VideoStream

    duration = (
        raw.frame_count / float(raw.frame_rate) if raw.frame_count and raw.frame_rate else None
    )
    video = VideoStream(
        "raw", raw.width, raw.height, raw.frame_rate, raw.frame_count, duration, "rgb24"
    )
    return Media(
        path=Path("memory"),
        sha256="",
        size_bytes=0,
        container="raw",
        mime="application/octet-stream",
        kind=raw.kind,
        video=video if raw.frames is not None else None,
        audio=AudioStream("raw", raw.rate_hz, raw.channels, duration)
        if raw.samples is not None
        else None,
        duration_s=duration,
    )


def _digest(stream: Iterable[NDArray[np.generic]]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for item in stream:
        digest.update(np.ascontiguousarray(item).tobytes())
    return digest.hexdigest()
