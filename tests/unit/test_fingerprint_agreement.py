"""Copies agree, other clips do not, and what cannot be told is never an agreement."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsafe.errors import RegistryError
from avsafe.media.colour import grey
from avsafe.registry import agreement, fingerprint
from avsafe.registry.fingerprint import KEYFRAMES, Fingerprint, FingerprintExtractor, compare
from avsafe.types import Frame, Kind, Media, Samples

RATE = Fraction(24)


def scene(seed: int, seconds: float = 4.0, *, take: int = 0, moving: float = 1.0) -> list[Frame]:
    """A textured background that ``seed`` draws, and discs whose paths ``take`` draws."""
    import cv2

    look, path = np.random.default_rng(seed), np.random.default_rng((seed, take))
    h, w = 180, 320
    coarse = look.uniform(0, 255, (9, 16, 3)).astype(np.float32)
    background = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    background += look.normal(0, 12, (h, w, 1)).astype(np.float32)
    speed, phase = path.uniform(0.7, 2.0, (3, 2)), path.uniform(0, 6.28, (3, 2))
    colours = look.uniform(0, 255, (3, 3))
    frames = []
    for number in range(int(seconds * RATE)):
        picture = background.copy()
        for disc in range(3):
            at = 0.5 + 0.42 * moving * np.sin(speed[disc] * number / float(RATE) + phase[disc])
            centre = (int(at[0] * w), int(at[1] * h))
            cv2.circle(picture, centre, 34, colours[disc].tolist(), -1)
        frames.append(np.clip(picture, 0, 255).astype(np.uint8))
    return frames


def extract(
    frames: Iterable[Frame] = (), rate: Fraction = RATE, sound: Samples | None = None, hz: int = 0
) -> Fingerprint:
    extractor = FingerprintExtractor()
    extractor.start(Media(Path("clip"), "", 0, "mp4", "video/mp4", Kind.VIDEO))
    for number, frame in enumerate(frames):
        extractor.frame(grey(frame), float(number / rate))
    if sound is not None:
        for block in np.array_split(sound, 50, axis=1):
            extractor.samples(block, hz)
    return fingerprint.from_features(extractor.finish())


def stored(clip: Fingerprint) -> Fingerprint:
    """As it comes back from the registry."""
    return Fingerprint.from_bytes(clip.to_bytes())


def h264(frames: list[Frame], crf: int, rate: Fraction = RATE) -> list[Frame]:
    import io

    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = (side // 2 * 2 for side in frames[0].shape[:2])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "veryfast"}
        for frame in frames:
            even = np.ascontiguousarray(frame[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


FRAMES = scene(1)
CLIP = extract(FRAMES)
REGISTERED = stored(CLIP)


# ---------------------------------------------------------------- copies


def resized(frames: list[Frame], w: int, h: int) -> list[Frame]:
    import cv2

    return [cv2.resize(frame, (w, h), interpolation=cv2.INTER_AREA) for frame in frames]


def letterboxed(frames: list[Frame]) -> list[Frame]:
    return [np.pad(frame, ((30, 30), (0, 0), (0, 0))) for frame in frames]


@pytest.mark.parametrize(
    ("copy", "rate"),
    [
        (lambda f: f, RATE),
        (lambda f: h264(f, 28), RATE),
        (lambda f: h264(f, 40), RATE),
        (lambda f: resized(f, 128, 72), RATE),
        (lambda f: resized(f, 180, 180), RATE),  # squeezed to a square
        (lambda f: [np.clip(x * 1.2 + 15, 0, 255).astype(np.uint8) for x in f], RATE),
        (lambda f: f[24:48], RATE),  # one second
        (lambda f: f[31:], RATE),  # starts off the sampling grid
        (lambda f: f[::2], RATE / 2),
        (lambda f: f[::4], RATE / 4),
        (lambda f: scene(2, 2) + f + scene(3, 2), RATE),  # the clip inside a longer one
        (lambda f: [x[9:-9, 16:-16] for x in f], RATE),  # crop 10 %
        (lambda f: [x[:-30, 60:] for x in f], RATE),  # off-centre crop
        (letterboxed, RATE),
        (lambda f: [x[:, ::-1] for x in f], RATE),
    ],
)
def test_a_copy_agrees(copy, rate: Fraction) -> None:
    result = compare(extract(copy(FRAMES), rate), REGISTERED)
    assert result.agrees, result
    assert result.similarity > 0.6
    assert result.n_compared >= 4


def test_a_still_picture_agrees_with_itself_and_its_copy() -> None:
    picture = scene(4, 0.05)
    image = stored(extract(picture))
    assert compare(extract(h264(picture * 2, 30)), image).agrees
    assert not compare(extract(scene(5, 0.05)), image).agrees


def test_a_still_clip_agrees_with_itself() -> None:
    frames = scene(6, 2, moving=0.0)
    assert compare(extract(h264(frames, 32)), stored(extract(frames))).agrees


# ---------------------------------------------------------------- other clips


def test_twenty_other_scenes_do_not_agree() -> None:
    others = [extract(scene(100 + seed, 2)) for seed in range(20)]
    found = [compare(other, REGISTERED, search=False) for other in others]
    assert [result.reason for result in found if result.agrees] == []
    assert not any(compare(other, REGISTERED).agrees for other in others[:4])


def test_another_take_of_the_same_scene_does_not_agree() -> None:
    """One background, one set of discs, other paths: what a fixed camera sees on another day."""
    for take in (1, 2, 3):
        result = compare(extract(scene(1, take=take)), REGISTERED)
        assert not result.agrees, result


def test_flat_pictures_never_agree() -> None:
    for level in (0, 128, 255):
        flat = [np.full((90, 160, 3), level, np.uint8)] * 48
        result = compare(extract(flat), stored(extract(flat)))
        assert (result.agrees, result.similarity) == (False, 0.0)
        assert "too little content" in result.reason


def test_black_between_scenes_does_not_make_two_clips_one() -> None:
    black = [np.zeros((180, 320, 3), np.uint8)] * 72
    a, b = extract([*black, *FRAMES[:24]]), extract([*black, *scene(7, 1)])
    assert not compare(a, stored(b)).agrees
    assert compare(a, stored(a)).agrees


def test_nothing_registered_never_agrees() -> None:
    assert not compare(CLIP, None).agrees
    assert not compare(extract(), REGISTERED).agrees
    assert not compare(CLIP, stored(extract())).agrees


# ---------------------------------------------------------------- alignment


def test_the_best_offset_is_found() -> None:
    part = extract(FRAMES[36:72])  # from 1.5 s
    q = np.unpackbits(part.hashes, axis=1).astype(bool)
    r = np.unpackbits(CLIP.hashes, axis=1).astype(bool)
    pairs = agreement.align(q, part.times_ms, r, CLIP.times_ms)
    assert (pairs[:, 1] - pairs[:, 0]).tolist() == [12] * 12
    back = agreement.align(r, CLIP.times_ms, q, part.times_ms)
    assert (back[:, 0] - back[:, 1]).tolist() == [12] * len(back)


def test_long_clips_are_compared_by_a_bounded_number_of_frames() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (3000, 32), np.uint8)
    bits = np.unpackbits(hashes, axis=1).astype(bool)
    times = np.arange(3000, dtype=np.int32) * 125
    pairs = agreement.align(bits[400:2400], times[:2000], bits, times)
    assert len(pairs) == agreement.FRAMES_COMPARED
    assert set(pairs[:, 1] - pairs[:, 0]) == {400}


def test_keyframes_are_few_and_even_whatever_the_length() -> None:
    extractor = FingerprintExtractor()
    extractor.start(Media(Path("clip"), "", 0, "mp4", "video/mp4", Kind.VIDEO))
    for number in range(1600):
        extractor.frame(grey(FRAMES[number % 96]), number / 8)
    features = extractor.finish()
    times = features["thumb_times_ms"]
    assert KEYFRAMES // 2 < len(times) <= KEYFRAMES
    assert len(set(np.diff(times))) == 1


# ---------------------------------------------------------------- sound


def melody(seed: int, seconds: float = 8.0, hz: int = 22050) -> Samples:
    random = np.random.default_rng(seed)
    n = int(seconds * hz)
    time = np.arange(n) / hz
    notes = random.choice([220, 262, 294, 330, 392, 440, 523], (int(seconds * 4) + 1, 2))
    pitch = notes[(time * 4).astype(int)]
    tones = np.sin(2 * np.pi * pitch * time[:, None]) + 0.3 * np.sin(
        4 * np.pi * pitch * time[:, None]
    )
    return (0.2 * tones.sum(1) + random.normal(0, 0.01, n))[None].astype(np.float32)


chromaprint = pytest.mark.skipif(
    extract(sound=melody(0), hz=22050).n_sound == 0, reason="libchromaprint is not installed"
)


@chromaprint
def test_sound_agrees_with_its_copies_and_with_no_other() -> None:
    registered = stored(extract(sound=melody(1), hz=22050))
    noise = np.random.default_rng(9).normal(0, 0.02, melody(1).shape).astype(np.float32)
    for copy in (melody(1), melody(1) * 0.3, melody(1) + noise, melody(1)[:, 30_000:150_000]):
        assert compare(extract(sound=copy, hz=22050), registered).agrees
    stereo = np.repeat(melody(1), 2, axis=0)
    assert compare(extract(sound=stereo, hz=22050), registered).agrees
    for seed in range(2, 12):
        assert not compare(extract(sound=melody(seed), hz=22050), registered).agrees


@chromaprint
def test_silence_and_steady_tones_never_agree() -> None:
    tone = (0.3 * np.sin(np.arange(22050 * 8) / 8))[None].astype(np.float32)
    for sound in (np.zeros((1, 22050 * 8), np.float32), tone):
        clip = extract(sound=sound, hz=22050)
        result = compare(clip, stored(clip))
        assert not result.agrees
        assert "too little content" in result.reason


@chromaprint
def test_pictures_decide_where_both_have_pictures() -> None:
    borrowed = extract(scene(8), sound=melody(1), hz=22050)
    registered = stored(extract(FRAMES, sound=melody(1), hz=22050))
    assert not compare(borrowed, registered).agrees
    assert compare(extract(sound=melody(1), hz=22050), registered).agrees


def test_without_the_library_the_reason_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chromaprint", None)  # importing it fails
    clip = extract(sound=melody(1), hz=22050)
    assert clip.n_sound == 0
    assert "install libchromaprint" in stored(clip).sound_missing
    result = compare(clip, stored(clip))
    assert not result.agrees
    assert "install libchromaprint" in result.reason


@pytest.mark.parametrize("hz", [0, 1, 1000, 10**7])
def test_an_absurd_rate_is_a_reason_and_not_a_crash(hz: int) -> None:
    clip = extract(sound=melody(1, 1), hz=hz)
    assert clip.n_sound == 0
    assert f"unusual rate, {hz} Hz" in clip.sound_missing


@chromaprint
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_do_no_harm(value: float) -> None:
    sound = melody(1)
    sound[:, ::7] = value
    assert extract(sound=sound, hz=22050).n_sound > 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 4000), (4000, 1), (3, 5)])
def test_tiny_and_narrow_pictures_are_hashed(shape: tuple[int, int]) -> None:
    frames = [np.random.default_rng(n).integers(0, 256, (*shape, 3), np.uint8) for n in range(12)]
    assert extract(frames).n_frames == 4


# ---------------------------------------------------------------- bytes


def test_stored_bytes_hold_no_picture_and_come_back_equal() -> None:
    back = stored(CLIP)
    for name in ("times_ms", "hashes", "middles", "quality", "middle_quality", "sound"):
        assert np.array_equal(getattr(back, name), getattr(CLIP, name))
    assert len(CLIP.thumbs) > 0
    assert len(back.thumbs) == 0
    assert len(CLIP.to_bytes()) < 80 * CLIP.n_frames + 4 * CLIP.n_sound + 200
    assert back.to_bytes() == CLIP.to_bytes()


@pytest.mark.parametrize("kind", ["noise", "smooth", "flat", "ramp", "steps", "black"])
def test_the_picture_hash_is_that_of_imagehash(kind: str) -> None:
    """Bit for bit; also where most coefficients are 0, and rounding must not draw the bits."""
    import imagehash
    from PIL import Image

    rng = np.random.default_rng(7)
    ramp = np.tile(np.arange(160, dtype=np.uint8), (160, 1))
    picture = {
        "noise": rng.integers(0, 256, (160, 160)).astype(np.uint8),
        "smooth": fingerprint.thumbnail(grey(scene(3)[0])),
        "flat": np.full((160, 160), 90, np.uint8),
        "ramp": ramp,
        "steps": ramp.T // 40 * 40,
        "black": np.zeros((160, 160), np.uint8),
    }[kind]
    for one in (picture, fingerprint.middle_of(picture)):
        truth = imagehash.phash(Image.fromarray(one), hash_size=16).hash.ravel()
        assert np.array_equal(fingerprint.picture_hash(one), np.packbits(truth))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_bytes_are_refused(junk: bytes, cut: int) -> None:
    whole = CLIP.to_bytes()
    for data in (junk, b"AVFP" + junk, whole[:cut], whole + junk if junk else b""):
        with pytest.raises(RegistryError):
            Fingerprint.from_bytes(data)


def test_a_newer_format_is_refused() -> None:
    newer = replace(CLIP, format=2).to_bytes()
    with pytest.raises(RegistryError, match="format 2"):
        Fingerprint.from_bytes(newer)
