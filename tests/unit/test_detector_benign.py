"""Benign control sets: deterministic, what their names say, and writable."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avsafe import media, testing
from avsafe.errors import UnreadableMedia, UsageError
from avsafe.types import Kind, RawMedia
from avsafe_detectors.benign import SETS
from avsafe_detectors.benign.control import mono
from avsafe_detectors.benign.sound import mu_law

SHORT_S = 0.2  # enough for what is asked of every set
WHOLE = [name for name, control in SETS.items() if control.damage is None]
DAMAGED = [name for name, control in SETS.items() if control.damage is not None]


def frames(raw: RawMedia) -> np.ndarray:
    return np.stack(list(raw.frames or ()))


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_seed_is_the_same_medium_and_another_is_another(name: str) -> None:
    control = SETS[name]
    raw = control.raw(1, seconds=SHORT_S)
    testing.check_raw_media(raw)
    assert raw.kind is control.kind

    def values(of: RawMedia) -> np.ndarray:
        return mono(of) if of.frames is None else frames(of)

    assert np.array_equal(values(raw), values(control.raw(1, seconds=SHORT_S)))
    if name not in ("silence", "black", "bars"):
        other = values(control.raw(2, seconds=SHORT_S))
        assert other.shape != values(raw).shape or not np.array_equal(values(raw), other)


@pytest.mark.parametrize("name", ["engine", "photo-webp", "screen", "music-video", "cut-short"])
def test_files_repeat_to_the_byte(name: str, tmp_path: Path) -> None:
    first = SETS[name].write(tmp_path, 4, seconds=SHORT_S).read_bytes()
    assert SETS[name].write(tmp_path, 4, seconds=SHORT_S).read_bytes() == first
    assert len(first) < 400_000


def test_files_are_read_as_what_they_are(tmp_path: Path) -> None:
    for name, kind in (("chords", Kind.AUDIO), ("photo-jpeg", Kind.IMAGE), ("slides", Kind.VIDEO)):
        path = SETS[name].write(tmp_path, seconds=SHORT_S)
        assert media.probe(path, trusted=True).kind is kind
    assert media.probe(SETS["photo-webp"].write(tmp_path), trusted=True).container == "webp"


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_have_no_frames_of_their_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="damaged"):
        SETS[name].raw()
    path = SETS[name].write(tmp_path, seconds=SHORT_S)
    whole = replace(SETS[name], damage=None).write(tmp_path / "..", seconds=SHORT_S)
    assert path.read_bytes() != whole.read_bytes()
    whole.unlink()


@pytest.mark.parametrize("name", ["cut-short", "header-only"])
def test_files_without_their_index_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia):
        media.probe(SETS[name].write(tmp_path, seconds=SHORT_S), trusted=True)


# ---------------------------------------------------------------- sound


def test_silence_is_zero_and_a_room_is_nearly() -> None:
    assert not mono(SETS["silence"].raw()).any()
    room = mono(SETS["faint"].raw())
    assert -80 < 10 * np.log10(np.mean(room**2)) < -70


def test_a_tone_has_one_line() -> None:
    sound = mono(SETS["tone"].raw(5))
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    top = int(power.argmax())
    assert power[max(0, top - 4) : top + 5].sum() > 0.999 * power.sum()


def test_noise_is_white_or_pink() -> None:
    for name, slope in (("white-noise", 0.0), ("pink-noise", -1.0)):
        power = np.abs(np.fft.rfft(mono(SETS[name].raw(seconds=4.0)))) ** 2
        low, high = power[400:800].mean(), power[40_000:80_000].mean()
        assert np.log(high / low) / np.log(100) == pytest.approx(slope, abs=0.05), name


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000])
def test_a_telephone_passes_300_to_3400_hz_in_mu_law(rate_hz: int) -> None:
    noise = np.random.default_rng(0).standard_normal((1, 2 * rate_hz)).astype(np.float32) * 0.1
    given = RawMedia(Kind.AUDIO, samples=[noise], rate_hz=rate_hz, channels=1)
    line = SETS["telephone"].raw(given=given)
    assert line.rate_hz == 8000
    sound = mono(line)
    assert len(sound) == pytest.approx(2 * 8000, abs=2)
    assert len(np.unique(sound)) <= 255
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / 8000)
    inside = power[(hz > 500) & (hz < 3000)].mean()
    assert power[hz < 100].mean() < 0.02 * inside
    assert power[hz > 3900].mean() < 0.2 * inside


def test_mu_law_keeps_its_38_db() -> None:
    """G.711 keeps 37 to 39 dB over its range of levels (ITU-T G.712)."""
    t = np.arange(8000) / 8000
    for level in (0.9, 0.3, 0.1):
        tone = level * np.sin(2 * np.pi * 1004 * t)
        error = mu_law(tone) - tone
        assert 35 < 10 * np.log10(np.mean(tone**2) / np.mean(error**2)) < 42


# ---------------------------------------------------------------- moving pictures

GIVEN = testing.textured_clip(1.0, 160, 120, Fraction(25), sound=False)


def test_doubled_time_lapse_letterbox_and_brief_clips_are_made_of_what_is_given() -> None:
    original = frames(GIVEN)
    twice = SETS["doubled"].raw(given=GIVEN)
    assert twice.frame_rate == 50
    assert np.array_equal(frames(twice)[::2], original)
    assert np.array_equal(frames(twice)[1::2], original)
    lapse = SETS["time-lapse"].raw(given=GIVEN)
    assert np.array_equal(frames(lapse), original[::8])
    assert lapse.frame_count == len(original[::8])
    boxed = frames(SETS["letterbox"].raw(given=GIVEN))
    assert np.array_equal(boxed[:, 20:-20], original)
    assert not boxed[:, :20].any()
    assert not boxed[:, -20:].any()
    assert np.array_equal(frames(SETS["three-frames"].raw(given=GIVEN)), original[:3])
    assert np.array_equal(frames(SETS["one-frame"].raw(given=GIVEN)), original[:1])
    assert frames(SETS["tiny-clip"].raw(given=GIVEN)).shape[1:3] == (16, 16)
    for name in ("doubled", "time-lapse", "letterbox", "recompressed"):
        testing.check_raw_media(SETS[name].raw(given=GIVEN))


def test_still_sets_do_not_move_and_moving_ones_do() -> None:
    for name, control in SETS.items():
        if control.kind is Kind.VIDEO and control.damage is None:
            shown = frames(control.raw(3, seconds=1.2))
            still = bool((shown == shown[0]).all())
            assert still == (name in ("black", "bars", "frozen", "one-frame")), name


def test_the_stand_in_camera_has_noise_of_its_own_in_every_frame() -> None:
    shown = frames(SETS["clip"].raw(1, seconds=0.2)).astype(float)
    fine = shown[..., 1] - np.roll(shown[..., 1], 1, axis=2)
    steps = fine[1:] - fine[:-1]
    assert np.median(np.abs(steps)) > 0.5


def test_ken_burns_of_a_given_photo_keeps_its_shape() -> None:
    photo = testing.still(400, 600)
    raw = SETS["ken-burns"].raw(given=photo, seconds=SHORT_S)
    assert (raw.width, raw.height) == (640, 960)
    assert np.abs(frames(raw)[0].mean((0, 1)) - next(iter(photo.frames)).mean((0, 1))).max() < 30


def test_slides_with_a_voice_last_as_long_as_it() -> None:
    voice = testing.sound_only(1.0, 16_000)
    raw = SETS["narrated"].raw(given=voice)
    assert raw.frame_count == 25
    assert np.allclose(mono(raw), mono(voice))


# ---------------------------------------------------------------- misuse


def test_what_is_given_must_fit() -> None:
    sound = testing.sound_only(0.5)
    for name in ("frozen", "doubled", "denoised", "letterbox"):
        with pytest.raises(UsageError, match="no picture"):
            SETS[name].raw(given=sound)
    with pytest.raises(UsageError, match="no sound"):
        SETS["telephone"].raw(given=testing.still())
    with pytest.raises(UsageError, match="no moving picture"):
        SETS["doubled"].raw(given=testing.still())


def test_the_floor_of_the_catalogue() -> None:
    """What users of the sets rely on: kinds, demands, names fit for files."""
    assert {c.kind for c in SETS.values()} == set(Kind)
    assert {c.demand for c in SETS.values()} == {"quiet", "abstain", "refuse"}
    assert all(name == control.name for name, control in SETS.items())
    assert all(name.replace("-", "").isalnum() for name in SETS)


def test_a_qr_code_can_be_read() -> None:
    import cv2

    code = frames(SETS["qr-code"].raw(2))[0]
    assert cv2.QRCodeDetector().detectAndDecode(code)[0].startswith("https://example.org/")
