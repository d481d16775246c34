"""The domain gate: what it says of files whose properties are known, and of hostile ones."""

from __future__ import annotations

import io
import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe.errors import UsageError
from avsafe.types import AudioStream, EvidenceStatus, Kind, Media, VideoStream
from avsafe_detectors.domain import (
    Domain,
    DomainGate,
    describe,
    hearing,
    history,
    picture,
    sound,
    tables,
)
from avsafe_detectors.domain.extractor import MOST, DomainExtractor

RNG = np.random.default_rng(0)


def media(kind: Kind, **changes: Any) -> Media:
    video = VideoStream("h264", 320, 180, Fraction(25), None, 2.0, "yuv420p")
    if kind is Kind.IMAGE:
        video = VideoStream("png", 320, 180, None, 1, None, "rgb")
    audio = AudioStream("aac", 16000, 1, 2.0)
    fields: dict[str, Any] = {
        "path": Path("x"), "sha256": "0" * 64, "size_bytes": 100_000, "container": "mp4",
        "mime": "video/mp4", "kind": kind, "duration_s": None if kind is Kind.IMAGE else 2.0,
        "video": None if kind is Kind.AUDIO else video,
        "audio": audio if kind is Kind.AUDIO else None,
    }  # fmt: skip
    return Media(**{**fields, **changes})


def heard(samples: np.ndarray, rate: int, block: int = 4000) -> Domain:
    samples = np.atleast_2d(samples).astype(np.float32)
    of = media(Kind.AUDIO)
    worker = DomainExtractor()
    worker.start(of)
    for at in range(0, samples.shape[1], block):
        worker.samples(samples[:, at : at + block], rate)
    return describe(worker.finish(), of)


def shown(*frames: np.ndarray, kind: Kind = Kind.VIDEO) -> Domain:
    of = media(kind)
    worker = DomainExtractor()
    worker.start(of)
    for i, frame in enumerate(frames):
        if worker.wants(i * 0.5):
            worker.frame(frame, i * 0.5)
    return describe(worker.finish(), of)


def scene(height: int = 240, width: int = 320, seed: int = 0) -> np.ndarray:
    """Detail at all scales, in falling strength (1/f), as scenes have it."""
    rng = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    shape = np.maximum(np.hypot(fy, fx), 1 / width)
    planes = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / shape,
                            (height, width)) for _ in range(3)]  # fmt: skip
    mixed = planes[0][..., None] + 0.3 * np.stack(planes, -1)
    return np.clip(128 + 45 * mixed / mixed.std(), 0, 255).astype(np.uint8)


def as_jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(rgb).save(memory, "JPEG", quality=quality)
    return np.array(Image.open(memory).convert("RGB"))


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("quality", [30, 50, 75, 85])
def test_the_quality_of_a_jpeg_is_read_from_its_pixels(quality: int) -> None:
    seen = shown(as_jpeg(scene(360, 480), quality), kind=Kind.IMAGE)
    assert seen.jpeg_quality == pytest.approx(quality, abs=3)
    assert seen.recompressed
    assert seen.grid_offset == (0, 0)


def test_a_picture_that_was_never_a_jpeg_has_no_quality() -> None:
    seen = shown(scene(360, 480), kind=Kind.IMAGE)
    assert seen.jpeg_quality is None
    assert seen.block_grid is not None
    assert seen.block_grid < 0.1


def test_an_earlier_jpeg_shows_through_a_finer_one() -> None:
    of = media(Kind.IMAGE, container="jpeg")
    worker = DomainExtractor()
    worker.start(of)
    worker.frame(as_jpeg(as_jpeg(scene(360, 480), 50), 92), 0.0)
    found = dict(worker.finish(), jpeg_table=history.steps(92))
    assert describe(found, of).jpeg_quality == 92
    assert describe(found, of).recompressed is True
    worker = DomainExtractor()
    worker.start(of)
    worker.frame(as_jpeg(scene(360, 480), 92), 0.0)
    assert describe(dict(worker.finish(), jpeg_table=history.steps(92)), of).recompressed is False


def test_a_crop_moves_the_grid() -> None:
    cut = as_jpeg(scene(360, 480), 50)[3:, 6:]
    seen = shown(np.ascontiguousarray(cut), kind=Kind.IMAGE)
    assert seen.grid_offset == (2, 5)
    assert seen.jpeg_quality == pytest.approx(50, abs=3)


def test_the_table_of_a_jpeg_file_gives_its_quality() -> None:
    from PIL import Image

    for quality in (10, 50, 75, 92):
        memory = io.BytesIO()
        Image.fromarray(scene()).save(memory, "JPEG", quality=quality)
        table = tables.table_of(memory.getvalue())
        assert table is not None
        assert history.quality_of_table(table) == quality


def test_a_damaged_jpeg_head_gives_no_table() -> None:
    whole = io.BytesIO()
    from PIL import Image

    Image.fromarray(scene()).save(whole, "JPEG")
    data = whole.getvalue()
    assert tables.table_of(data[:30]) is None
    assert tables.table_of(b"") is None
    assert tables.table_of(b"\xff\xd8" + b"\xff" * 4000) is None
    assert tables.table_of(b"\xff\xd8\xff\xdb\x00\x00\x00\x00") is None
    assert tables.table_of(b"\xff\xd8\xff\xdb\x00\x05\x00\x01\x02") is None


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_noise_is_measured_in_grey_levels(sigma: float) -> None:
    smooth = np.repeat(np.linspace(60, 190, 320)[None], 240, 0)[..., None]
    noisy = np.clip(np.rint(smooth + RNG.normal(0, sigma, (240, 320, 1))), 0, 255)
    seen = shown(np.repeat(noisy, 3, 2).astype(np.uint8), kind=Kind.IMAGE)
    assert seen.noise_sigma == pytest.approx(sigma, rel=0.15)


def test_an_enlarged_picture_holds_detail_in_half_of_its_band() -> None:
    import cv2

    small = scene(240, 320)
    assert (shown(small, kind=Kind.IMAGE).effective_scale or 0) > 0.9
    twice = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert shown(twice, kind=Kind.IMAGE).effective_scale == pytest.approx(0.55, abs=0.1)


def test_blur_is_less_sharp_than_a_step() -> None:
    import cv2

    hard = np.full((240, 320, 3), 60, np.uint8)
    hard[:, 100:200] = 220
    soft = cv2.GaussianBlur(hard, (0, 0), 3)
    first, second = shown(hard, kind=Kind.IMAGE).sharp, shown(soft, kind=Kind.IMAGE).sharp
    assert first == pytest.approx(1.0, abs=0.01)
    assert second is not None
    assert second < 0.4


def test_stillness() -> None:
    one = scene()
    noise = [np.clip(one + RNG.normal(0, 2, one.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    assert shown(*noise).still is True
    moved = [np.roll(one, 4 * i, 1) for i in range(4)]
    assert shown(*moved).still is False
    assert shown(one).still is None


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_an_even_picture_is_blank(level: int) -> None:
    even = np.full((180, 320, 3), level, np.uint8)
    seen = shown(even, even, even)
    assert seen.picture_class == "blank"
    assert seen.picture_scores["blank"] == 1.0


def test_few_frames_are_looked_at_whatever_the_length() -> None:
    worker = DomainExtractor()
    worker.start(media(Kind.VIDEO, duration_s=None, video=VideoStream(
        "h264", 64, 48, Fraction(25), None, None, "yuv420p")))  # fmt: skip
    frame = scene(48, 64)
    looked = 0
    for i in range(3000):
        if worker.wants(i / 25):
            worker.frame(frame, i / 25)
            looked += 1
    features = worker.finish()
    assert len(features["times"]) <= MOST
    assert looked < 80
    assert features["frames"][0] == 3000
    assert features["times"][-1] > 60


def test_bars_are_left_out() -> None:
    inner = as_jpeg(scene(), 50)
    boxed = np.zeros((240 + 40 + 33, 320 + 24, 3), np.uint8)
    boxed[40:280, 16:336] = inner
    assert np.array_equal(picture.content(boxed), inner)
    plain, barred = shown(inner, kind=Kind.IMAGE), shown(boxed, kind=Kind.IMAGE)
    assert barred.picture_scores == plain.picture_scores
    assert barred.jpeg_quality == plain.jpeg_quality
    dark = np.zeros((240, 320, 3), np.uint8)
    assert picture.content(dark).shape == dark.shape


def test_large_and_tiny_pictures() -> None:
    assert len(picture.windows(4000, 6000)) == 9
    for height, width in ((1, 1), (1, 4000), (7, 9), (2, 900), (24, 24), (2000, 30)):
        seen = shown(RNG.integers(0, 256, (height, width, 3), np.uint8), kind=Kind.IMAGE)
        json.dumps(seen.as_details(), allow_nan=False)
    assert shown(np.zeros((1, 1, 3), np.uint8), kind=Kind.IMAGE).picture_class is None
    for height, width in ((3000, 4000), (30000, 40), (40, 30000), (1001, 1001)):
        for rows, columns in picture.windows(height, width):
            assert 0 <= rows.start < rows.stop <= height
            assert 0 <= columns.start < columns.stop <= width
            assert rows.start % 8 == columns.start % 8 == 0


# ---------------------------------------------------------------- sound


def tone(hz: float, rate: int, seconds: float = 2.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize(("rate", "cut"), [(48000, 3400), (48000, 16000), (16000, 5500)])
def test_bandwidth_is_where_a_low_pass_cuts(rate: int, cut: float) -> None:
    from scipy.signal import firwin, lfilter

    noise = lfilter(firwin(801, cut, fs=rate), [1], RNG.normal(0, 0.1, 3 * rate))
    assert heard(noise, rate).bandwidth_hz == pytest.approx(cut, rel=0.03)


def test_bandwidth_of_full_band_sound_is_half_the_rate() -> None:
    for rate in (4000, 8000, 44100, 384000):
        assert heard(RNG.normal(0, 0.1, rate), rate).bandwidth_hz == pytest.approx(
            rate / 2, rel=0.02
        )


def test_levels() -> None:
    seen = heard(tone(1000, 48000), 48000)
    assert seen.peak_db == pytest.approx(20 * math.log10(0.3), abs=0.01)
    assert seen.level_db == pytest.approx(20 * math.log10(0.3 / math.sqrt(2)), abs=0.01)
    assert seen.clipped_share == 0
    clipped = np.clip(5 * tone(100, 16000), -1, 1)
    assert (heard(clipped, 16000).clipped_share or 0) > 0.3


def test_snr_of_pulses_over_noise() -> None:
    rate = 16000
    gate = (np.arange(4 * rate) // (rate // 2)) % 2
    pulses = RNG.normal(0, 0.1, 4 * rate) * gate + RNG.normal(0, 0.001, 4 * rate)
    assert heard(pulses, rate).snr_db == pytest.approx(40, abs=3)


def test_silence_is_silence() -> None:
    for quiet in (np.zeros(32000), 1e-5 * RNG.standard_normal(32000)):
        seen = heard(quiet, 16000)
        assert seen.sound_class == "silence"
        assert seen.speech_s == 0
        assert seen.bandwidth_hz is None


def test_blocks_do_not_matter() -> None:
    x = RNG.normal(0, 0.1, (2, 50_000))
    whole = heard(x, 44100, 50_000).as_details()
    for block in (1111, 30_000):
        parts = heard(x, 44100, block).as_details()
        assert parts.pop("level_db") == pytest.approx(whole["level_db"], abs=1e-9)
        assert parts == {k: v for k, v in whole.items() if k != "level_db"}


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros(1), 16000),
        (np.ones(1), 48000),
        (np.full(16000, np.nan), 16000),
        (np.full(16000, np.inf), 16000),
        (RNG.normal(0, 1e9, 8000), 8000),
        (RNG.normal(0, 0.1, (8, 9000)), 4000),
        (RNG.normal(0, 0.1, 384000), 384000),
        (RNG.normal(0, 0.1, 500), 1000),
        (RNG.normal(0, 0.1, 5000), 10_000_000),
        (np.ones(20000), 16000),
    ],
)
def test_odd_sound_gives_plain_numbers(samples: np.ndarray, rate: int) -> None:
    seen = heard(samples, rate)
    json.dumps(seen.as_details(), allow_nan=False)
    assert seen.rate_hz == rate


def test_a_changed_rate_or_channel_count_is_refused() -> None:
    worker = DomainExtractor()
    worker.start(media(Kind.AUDIO))
    worker.samples(np.zeros((1, 100), np.float32), 16000)
    with pytest.raises(UsageError):
        worker.samples(np.zeros((1, 100), np.float32), 8000)
    with pytest.raises(UsageError):
        worker.samples(np.zeros((2, 100), np.float32), 16000)


def test_memory_of_sound_is_bounded() -> None:
    ear = hearing.Ear(8000)
    block = RNG.normal(0, 0.1, (1, 8000 * 60)).astype(np.float32)
    for _ in range(12):
        ear.feed(block)
    found = ear.finish()
    assert len(found["rows"]) == hearing.MAX_ROWS
    assert found["totals"][2] == 720
    assert found["totals"][3] == pytest.approx(600, abs=0.1)


# ---------------------------------------------------------------- classes, on the control sets


def described(name: str, seed: int) -> Domain:
    """Of a control set; the sets are drawn by other code than the training's."""
    from avsafe_detectors.benign import SETS

    raw = SETS[name].raw(seed=seed)
    video = audio = None
    if raw.frames is not None:
        video = VideoStream("h264", raw.width, raw.height, raw.frame_rate, None, None, "yuv420p")
    if raw.samples is not None:
        audio = AudioStream("aac", raw.rate_hz, raw.channels, None)
    of = media(raw.kind, video=video, audio=audio, duration_s=None)
    worker = DomainExtractor()
    worker.start(of)
    for i, frame in zip(range(12), raw.frames or (), strict=False):
        time_s = float(i / raw.frame_rate) if raw.frame_rate else 0.0
        if worker.wants(time_s):
            worker.frame(np.ascontiguousarray(frame), time_s)
    for block in raw.samples or ():
        worker.samples(block, raw.rate_hz)
    return describe(worker.finish(), of)


@pytest.mark.parametrize("name", ["cartoon", "slides", "screen", "drawing", "diagram", "qr-code"])
def test_drawings_and_screens_are_no_photos(name: str) -> None:
    for seed in (1, 2):
        assert described(name, seed).picture_class in ("drawn", "screen")


@pytest.mark.parametrize("name", ["photo-jpeg", "denoised", "night", "letterbox", "frozen"])
def test_photos_however_they_were_treated_are_photos(name: str) -> None:
    assert described(name, 3).picture_class == "photo"


@pytest.mark.parametrize(
    "name", ["tone", "sweep", "keypad", "chords", "drums", "white-noise", "birds"]
)
def test_what_is_not_speech_is_not_heard_as_speech(name: str) -> None:
    seen = described(name, 4)
    assert seen.sound_class not in ("speech", None)
    assert seen.speech_s is not None
    assert seen.speech_s < 0.5


# ---------------------------------------------------------------- the gate


def features() -> tuple[dict[str, Any], Media]:
    of = media(Kind.VIDEO, audio=AudioStream("aac", 16000, 1, 2.0))
    worker = DomainExtractor()
    worker.start(of)
    for i in range(3):
        assert worker.wants(i * 0.5)
        worker.frame(scene(seed=i), i * 0.5)
    worker.samples(tone(700, 16000)[None], 16000)
    return dict(worker.finish()), of


def test_the_gate_describes_and_suspects_nothing() -> None:
    found, of = features()
    evidence = DomainGate().judge({"domain": found}, of)
    assert evidence.source == "domain"
    assert evidence.status is EvidenceStatus.PRESENT
    assert evidence.llr is None
    assert evidence.probability is None
    assert evidence.details["kind"] == "video"
    assert evidence.summary.endswith(".")
    assert "320x180" in evidence.summary
    json.dumps(dict(evidence.details), allow_nan=False)


NUMBERS = ("pictures", "histories", "thumbs", "frames", "levels", "rows", "spectrum", "totals")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("bad", ["absent", "shape", "type"])
def test_features_of_a_wrong_shape_raise(name: str, bad: str) -> None:
    found, of = features()
    if bad == "absent":
        if name == "totals":  # a file without sound has none
            del found[name]
            assert describe(found, of).sound_class is None
            return
        del found[name]
    elif bad == "shape":
        found[name] = np.zeros((3, 3, 3, 3), found[name].dtype)
    else:
        found[name] = np.array(["a", "b"])
    with pytest.raises((KeyError, ValueError)):
        describe(found, of)


def test_features_that_are_no_numbers_become_unknown() -> None:
    found, of = features()
    for name in ("pictures", "histories", "rows", "spectrum"):
        for value in (np.nan, np.inf, -np.inf, 1e30):
            bad = dict(found)
            bad[name] = np.full_like(found[name], value)
            seen = describe(bad, of)
            json.dumps(seen.as_details(), allow_nan=False)
    bad = dict(found, totals=np.full(7, np.nan))
    with pytest.raises(ValueError, match="totals"):
        describe(bad, of)


def test_empty_features_describe_nothing() -> None:
    worker = DomainExtractor()
    of = media(Kind.VIDEO)
    worker.start(of)
    seen = describe(worker.finish(), of)
    assert seen.picture_class is None
    assert seen.sound_class is None
    assert seen.still is None


def test_segments_cover_the_sound() -> None:
    for count in (1, 20, 124, 125, 126, 400, 1000):
        parts = sound.segments(count)
        assert parts[0][0] == 0
        assert parts[-1][1] == count
        assert all(a2 <= b1 for (_, b1), (a2, _) in itertools.pairwise(parts))


# ---------------------------------------------------------------- real media


def test_real_clips(shared_media: Path) -> None:
    from avsafe.media.features import examine

    target = dict.fromkeys(Kind, DomainGate.extractors)
    of, found = examine(shared_media / "real_talking/grid_bbaf2n.mpg", target, trusted=True)
    seen = describe(found["domain"], of)
    assert seen.picture_class == "photo"
    assert seen.sound_class == "speech"
    assert seen.speech_s is not None
    assert 0.7 < seen.speech_s < 2.6
    assert seen.still is False
    of, found = examine(shared_media / "c2pa/adobe-20220124-A.jpg", target, trusted=True)
    seen = describe(found["domain"], of)
    assert seen.picture_class == "photo"
    assert seen.jpeg_quality is not None
