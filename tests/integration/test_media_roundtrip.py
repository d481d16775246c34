"""Encode and decode against known content: colour, time, sound, orientation, bytes."""

from __future__ import annotations

import itertools
import logging
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from avsafe.errors import Cancelled, GeneratorFailed, MissingStream, UsageError
from avsafe.media import EncodeSpec, analyse, decode, encode, probe
from avsafe.media.reading import need_frames, need_samples
from avsafe.types import Kind, RawMedia

RATE = Fraction(25)


class Frames:
    """A smooth moving pattern with a white flash on chosen frames; re-iterable."""

    def __init__(
        self, count: int, width: int = 96, height: int = 64, flashes: tuple[int, ...] = ()
    ):
        self.count, self.width, self.height, self.flashes = count, width, height, flashes

    def __iter__(self) -> Iterator[np.ndarray]:
        y, x = np.mgrid[: self.height, : self.width]
        for index in range(self.count):
            if index in self.flashes:
                yield np.full((self.height, self.width, 3), 255, np.uint8)
                continue
            red = 100 + 60 * np.sin(2 * np.pi * (x + index) / self.width)
            green = 100 + 60 * np.sin(2 * np.pi * y / self.height)
            yield np.stack([red, green, np.full_like(red, 40)], 2).astype(np.uint8)


def beeps(
    seconds: float, at: tuple[float, ...], rate_hz: int = 48000, channels: int = 1
) -> np.ndarray:
    samples = np.zeros((channels, round(seconds * rate_hz)), np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate_hz // 50) / rate_hz)
    for start in at:
        first = round(start * rate_hz)
        samples[:, first : first + len(tone)] = tone[: samples.shape[1] - first]
    return samples


def clip(count: int = 50, *, sound: bool = True, **options: object) -> RawMedia:
    frames = Frames(count, **options)  # type: ignore[arg-type]
    return RawMedia(
        kind=Kind.VIDEO,
        frames=frames,
        frame_rate=RATE,
        frame_count=count,
        width=frames.width,
        height=frames.height,
        samples=[beeps(count / 25, (0.4, 1.2))] if sound else None,
        rate_hz=48000 if sound else 0,
        channels=1 if sound else 0,
    )


def onset_s(samples: np.ndarray, rate_hz: int) -> float:
    return float(np.argmax(np.abs(samples[0]) > 0.15)) / rate_hz


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else np.inf


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_flash_and_beep_stay_together(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    raw = clip(flashes=(10, 30))
    encode(raw, path)
    back = decode(path, trusted=True)
    assert back.frame_rate == RATE
    frames = list(back.frames or ())
    assert len(frames) == back.frame_count == 50
    bright = [index for index, frame in enumerate(frames) if frame.mean() > 230]
    assert bright == [10, 30]
    samples = np.concatenate(list(back.samples or ()), 1)
    assert abs(onset_s(samples, back.rate_hz) - 0.4) < 0.002
    for index in (0, 20, 49):
        original = next(itertools.islice(iter(raw.frames or ()), index, None))
        assert psnr(frames[index], original) > 36


@pytest.mark.parametrize("late_ms", [-520, -40, 120, 300])
def test_an_offset_between_sound_and_picture_is_kept(late_ms: int, tmp_path: Path) -> None:
    """A file whose sound really starts late, or early, in its timestamps."""
    path = tmp_path / "offset.mkv"
    _write_shifted(path, late_ms)
    raw = decode(path, trusted=True)
    frames = list(raw.frames or ())
    flash = next(index for index, frame in enumerate(frames) if frame.mean() > 230) / 25
    samples = np.concatenate(list(raw.samples or ()), 1)
    offset_ms = 1000 * (onset_s(samples, raw.rate_hz) - flash)
    assert abs(offset_ms - late_ms) < 25  # within one sample block of 1 ms and half a frame


def _write_shifted(path: Path, late_ms: int) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        first_video = max(0, -late_ms) * 25 // 1000
        first_audio = max(0, late_ms) * 48
        for index, frame in enumerate(Frames(30, flashes=(10,))):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.pts = index + first_video
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        sound = (beeps(1.2, (0.4,)) * 32767).astype(np.int16)
        for start in range(0, sound.shape[1], 960):
            block = av.AudioFrame.from_ndarray(sound[:, start : start + 960], "s16", "mono")
            block.sample_rate, block.pts = 48000, start + first_audio
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))


@pytest.mark.parametrize(
    ("form", "matrix", "full"),
    [("yuv420p", 1, False), ("yuv420p", 5, False), ("yuvj420p", 5, True), ("yuv444p", 1, True)],
)
def test_colours_come_back_whatever_the_matrix_and_range(
    form: str, matrix: int, full: bool, tmp_path: Path
) -> None:
    """Patches written in each matrix and range by formula (BT.601, BT.709), read back as RGB."""
    rgb = np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [20, 130, 90], [0, 0, 0]]
    )
    path = tmp_path / "bars.mkv"
    _write_patches(path, rgb, form, matrix, full)
    frame = next(iter(decode(path, trusted=True).frames or ()))
    seen = np.stack([frame[32, 16 + 32 * index] for index in range(len(rgb))]).astype(int)
    assert np.abs(seen - rgb).max() <= 3, seen


def _write_patches(path: Path, rgb: np.ndarray, form: str, matrix: int, full: bool) -> None:
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
    r, g, b = (rgb / 255).T
    luma = kr * r + (1 - kr - kb) * g + kb * b
    blue, red = (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)
    scale = (255, 0, 255) if full else (219, 16, 224)
    planes = [luma * scale[0] + scale[1], blue * scale[2] + 128, red * scale[2] + 128]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height = 32 * len(rgb), 64
        stream.pix_fmt = form.replace("yuvj", "yuv")
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 2 if full else 1
        frame = av.VideoFrame(32 * len(rgb), 64, form.replace("yuvj", "yuv"))
        for plane, values in zip(frame.planes, planes, strict=True):
            row = np.repeat(np.clip(np.rint(values), 0, 255), plane.width // len(rgb))
            data = np.zeros((plane.height, plane.line_size), np.uint8)
            data[:, : plane.width] = row
            plane.update(data.tobytes())
        frame.pts, frame.colorspace, frame.color_range = 0, matrix, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_our_files_are_tagged_bt709_limited(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode(clip(5, sound=False), path)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (int(context.colorspace), int(context.color_range)) == (1, 1)
        assert (int(context.color_primaries), int(context.color_trc)) == (1, 1)


@pytest.mark.parametrize(
    ("degrees", "mirror"),
    [(0, False), (90, False), (180, False), (270, False), (0, True), (90, True)],
)
def test_a_turned_file_comes_out_upright(degrees: int, mirror: bool, tmp_path: Path) -> None:
    """The display matrix of a phone's recording, patched into the track header."""
    upright = np.zeros((48, 96, 3), np.uint8)
    upright[:24, :48] = 255  # top left
    stored = upright[:, ::-1] if mirror else upright
    stored = np.rot90(stored, degrees // 90)  # counter-clockwise, so that a clockwise turn mends it
    path = tmp_path / "turned.mp4"
    raw = RawMedia(Kind.VIDEO, frames=[np.ascontiguousarray(stored)] * 3, frame_rate=RATE)
    encode(raw, path)
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[
        degrees
    ]
    if mirror:  # after turning, mirror left and right: x' -> -x'
        a, c = -a, -c
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4")
    data[at : at + 36] = matrix.tobytes()
    path.write_bytes(data)
    raw = decode(path, trusted=True)
    assert (raw.width, raw.height) == (96, 48)
    frame = next(iter(raw.frames or ()))
    assert psnr(frame, upright) > 30
    video = probe(path, trusted=True).video
    assert video
    assert (video.width, video.height) == (96, 48)
    if not mirror:
        assert video.rotation_deg == degrees


@pytest.mark.parametrize(
    "suffix", [".mp4", ".mkv", ".webm", ".wav", ".flac", ".m4a", ".mp3", ".png", ".jpg", ".webp"]
)
def test_the_same_input_gives_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        encode(clip(30), tmp_path / f"{name}{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert data == (tmp_path / f"b{suffix}").read_bytes()
    assert len(data) > 200


@pytest.mark.parametrize(
    ("suffix", "spec", "tolerance"),
    [
        (".wav", EncodeSpec(), 1 / 32000),
        (".wav", EncodeSpec(audio_codec="float"), 1e-7),
        (".flac", EncodeSpec(), 1 / 32000),
        (".m4a", EncodeSpec(), 0.1),
        (".mka.mkv", EncodeSpec(audio_codec="flac"), 1 / 32000),
    ],
)
def test_sound_comes_back(suffix: str, spec: EncodeSpec, tolerance: float, tmp_path: Path) -> None:
    t = np.arange(44100) / 44100
    samples = np.stack([0.5 * np.sin(2 * np.pi * 440 * t), 0.3 * np.sin(2 * np.pi * 660 * t)])
    samples = samples.astype(np.float32)
    blocks = [samples[:, :1000], samples[:, 1000:1001], samples[:, 1001:]]
    path = tmp_path / f"sound{suffix}"
    encode(RawMedia(Kind.AUDIO, samples=blocks, rate_hz=44100, channels=2), path, spec)
    back = decode(path, trusted=True)
    assert (back.kind, back.rate_hz, back.channels) == (Kind.AUDIO, 44100, 2)
    heard = np.concatenate(list(back.samples or ()), 1)
    assert heard.dtype == np.float32
    assert 0 <= heard.shape[1] - 44100 < 1200  # AAC ends on a block of 1024
    assert np.abs(heard[:, :44100] - samples).max() < tolerance


def test_mp3_comes_back_and_holds_two_channels(tmp_path: Path) -> None:
    t = np.arange(22050) / 22050
    tone = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None]
    path = tmp_path / "sound.mp3"
    encode(RawMedia(Kind.AUDIO, samples=[tone], rate_hz=22050, channels=1), path)
    back = decode(path, trusted=True)
    heard = np.concatenate(list(back.samples or ()), 1)
    assert (back.rate_hz, back.channels) == (22050, 1)
    assert np.abs(heard[:, :22050] - tone)[:, 1000:-1000].max() < 0.05  # in step
    five = RawMedia(Kind.AUDIO, samples=[np.repeat(tone, 5, 0)], rate_hz=22050, channels=5)
    with pytest.raises(UsageError, match=r"\.m4a"):
        encode(five, path)


@pytest.mark.parametrize(("suffix", "floor"), [(".png", np.inf), (".jpg", 38), (".webp", 36)])
def test_pictures_come_back_without_metadata(suffix: str, floor: float, tmp_path: Path) -> None:
    frame = np.asarray(Image.radial_gradient("L").convert("RGB"))[:101, :131].copy()
    path = tmp_path / f"picture{suffix}"
    encode(RawMedia(Kind.IMAGE, frames=[frame]), path)
    back = decode(path)
    assert (back.kind, back.width, back.height, back.frame_rate) == (Kind.IMAGE, 131, 101, None)
    seen = next(iter(back.frames or ()))
    assert np.array_equal(seen, frame) if floor == np.inf else psnr(seen, frame) > floor
    with Image.open(path) as picture:
        assert not picture.getexif()
        plain = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "background", "loop"}
        assert set(picture.info) <= plain
    media = probe(path)
    assert media.kind is Kind.IMAGE
    assert media.video
    assert media.video.frame_rate is None


def test_an_animated_gif_is_a_video_and_a_still_one_a_picture(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (32, 24), (60 * index, 0, 0)) for index in range(4)]
    moving, still = tmp_path / "moving.gif", tmp_path / "still.gif"
    pictures[0].save(moving, save_all=True, append_images=pictures[1:], duration=100)
    pictures[0].save(still)
    assert probe(moving).kind is Kind.VIDEO
    assert len(list(decode(moving).frames or ())) == 4
    assert probe(still).kind is Kind.IMAGE
    assert len(list(decode(still).frames or ())) == 1


def test_an_odd_size_is_padded_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "odd.mp4"
    raw = clip(3, sound=False, width=95, height=63)
    with caplog.at_level(logging.INFO):
        encode(raw, path)
    assert "95 x 63 pixels are written as 96 x 64" in caplog.text
    frame = next(iter(decode(path, trusted=True).frames or ()))
    assert frame.shape == (64, 96, 3)
    assert psnr(frame[:63, :95], next(iter(raw.frames or ()))) > 33


def test_a_variable_rate_is_resampled_by_time_and_said(tmp_path: Path) -> None:
    path = tmp_path / "variable.mp4"
    times = [*range(10), *range(30, 40)]  # a pause of 0.8 s
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index, frame in zip(times, Frames(20, flashes=(10,)), strict=True):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    raw = decode(path, trusted=True)
    assert raw.frame_rate == RATE
    assert "variable frame rate: 20 frames became 40" in raw.details["resampled"]
    frames = list(raw.frames or ())
    assert len(frames) == 40
    assert [index for index, frame in enumerate(frames) if frame.mean() > 230] == [30]


def test_decoding_can_start_again_and_stop_early(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode(clip(), path)
    raw = decode(path)
    first, second = (list(itertools.islice(raw.frames or (), 7)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    short = decode(path, max_duration_s=0.6)
    assert short.frame_count == 15
    assert len(list(short.frames or ())) == 15
    assert sum(block.shape[1] for block in short.samples or ()) == round(0.6 * 48000)


def test_the_sandbox_gives_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode(clip(12), path)
    inside, outside = decode(path, trusted=True), decode(path)
    for a, b in zip(inside.frames or (), outside.frames or (), strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(inside.samples or (), outside.samples or (), strict=True):
        assert np.array_equal(a, b)
    assert probe(path, trusted=True) == probe(path)


def test_one_decode_feeds_all_extractors(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode(clip(20), path)
    wanted = {"a": "avsafe.media.selftest:Means", "b": "avsafe.media.selftest:Means"}
    found = analyse(path, wanted)
    trusted = analyse(path, wanted, trusted=True)
    raw = decode(path, trusted=True)
    means = [frame.mean() for frame in raw.frames or ()]
    for features in (*found.values(), *trusted.values()):
        np.testing.assert_allclose(features["means"], means)
        np.testing.assert_allclose(features["times_s"], np.arange(20) / 25)
        assert features["samples"].tolist() == [sum(b.shape[1] for b in raw.samples or ())]


def test_a_cover_picture_is_not_video(tmp_path: Path) -> None:
    """A FLAC picture block (RFC 9639, 8.8) put behind the stream information."""
    path = tmp_path / "song.flac"
    encode(replace(clip(), kind=Kind.AUDIO, frames=None), path)
    encode(RawMedia(Kind.IMAGE, frames=[np.zeros((32, 32, 3), np.uint8)]), tmp_path / "cover.png")
    cover = (tmp_path / "cover.png").read_bytes()
    block = struct.pack(">II9sI", 3, 9, b"image/png", 0)
    block += struct.pack(">5I", 32, 32, 24, 0, len(cover)) + cover
    data = path.read_bytes()
    picture = bytes([6]) + len(block).to_bytes(3, "big") + block
    path.write_bytes(data[:42] + picture + data[42:])
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1  # FFmpeg does offer the picture as a stream
    media = probe(path)
    assert media.kind is Kind.AUDIO
    assert media.video is None
    assert media.mime == "audio/flac"
    with pytest.raises(MissingStream, match=r"no video stream.*48000 Hz"):
        need_frames(decode(path), path.name)


def test_a_silent_clip_has_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    encode(clip(3, sound=False), path)
    with pytest.raises(MissingStream, match="no audio stream"):
        need_samples(decode(path, trusted=True), path.name)


# ------------------------------------------------------------ input that breaks the contract


def bad_frames(*frames: np.ndarray) -> RawMedia:
    return RawMedia(Kind.VIDEO, frames=list(frames), frame_rate=RATE)


GOOD = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("raw", "error", "words"),
    [
        (bad_frames(), GeneratorFailed, "no frame"),
        (bad_frames(GOOD, GOOD[:8]), GeneratorFailed, "one size"),
        (bad_frames(GOOD.astype(float)), GeneratorFailed, "float64"),
        (bad_frames(GOOD[..., 0]), GeneratorFailed, "expected uint8"),
        (bad_frames(GOOD[:0]), GeneratorFailed, "empty"),
        (RawMedia(Kind.VIDEO, frames=[GOOD]), UsageError, "frame rate"),
        (RawMedia(Kind.AUDIO), UsageError, "neither"),
        (
            RawMedia(
                Kind.AUDIO, samples=[np.full((1, 9), np.nan, np.float32)], rate_hz=8000, channels=1
            ),
            GeneratorFailed,
            "NaN",
        ),
        (
            RawMedia(Kind.AUDIO, samples=[np.zeros((2, 9), np.float32)], rate_hz=8000, channels=1),
            GeneratorFailed,
            r"expected float32 \(1, n\)",
        ),
        (
            RawMedia(Kind.AUDIO, samples=[np.zeros((9, 9), np.float32)], rate_hz=8000, channels=9),
            UsageError,
            "9 channels",
        ),
    ],
)
def test_what_breaks_the_contract_is_named_and_leaves_no_file(
    raw: RawMedia, error: type[Exception], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(error, match=words):
        encode(raw, path)
    assert not path.exists()


def test_loud_samples_are_clipped_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "loud.wav"
    loud = np.array([[0.5, 1.5, -2.0, 0.25]], np.float32)
    encode(RawMedia(Kind.AUDIO, samples=[loud], rate_hz=8000, channels=1), path)
    assert "2 samples outside [-1, 1]" in caplog.text
    heard = np.concatenate(list(decode(path, trusted=True).samples or ()), 1)
    np.testing.assert_allclose(heard, [[0.5, 1, -1, 0.25]], atol=1e-4)


def test_cancel_and_failure_leave_no_file_and_progress_rises(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    polled = itertools.count()
    with pytest.raises(Cancelled):
        encode(clip(), path, cancelled=lambda: next(polled) > 20)
    assert not path.exists()
    assert 20 < next(polled) < 30

    def failing() -> Iterator[np.ndarray]:
        yield GOOD
        raise RuntimeError("the generator broke")

    with pytest.raises(RuntimeError, match="broke"):
        encode(replace(bad_frames(), frames=failing()), path)
    assert not path.exists()
    seen: list[float] = []
    encode(clip(10), path, progress=lambda fraction, stage: seen.append(fraction))
    assert seen == sorted(seen)
    assert len(seen) >= 10
    assert seen[-1] == 1.0


def test_an_unknown_suffix_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.xyz"):
        encode(clip(1), tmp_path / "clip.xyz")
    with pytest.raises(UsageError, match="only sound"):
        encode(clip(1, sound=False), tmp_path / "clip.wav")


def test_faststart_puts_the_index_first(tmp_path: Path) -> None:
    for fast in (False, True):
        path = tmp_path / f"{fast}.mp4"
        encode(clip(5), path, EncodeSpec(faststart=fast))
        data = path.read_bytes()
        assert (data.index(b"moov") < data.index(b"mdat")) is fast
