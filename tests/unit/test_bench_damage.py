"""The damages do what their titles say; a benchmark with a broken attack would flatter the mark."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avsafe.bench.clips import Shot, Sound, find, picture_figures
from avsafe.bench.watermark import attacks, picture_damage, quality, sound_damage, trial
from avsafe.bench.watermark.floors import FLOORS, check, group
from avsafe.errors import UsageError
from avsafe.types import Kind

RATE = 16_000


def numbered(count: int, rate: int = 30, height: int = 64, width: int = 96) -> Shot:
    """Frames whose brightness is their number."""
    frames = [np.full((height, width, 3), index, np.uint8) for index in range(count)]
    return Shot(frames, Fraction(rate), count, height, width)


def tone(hz: float = 1000.0, seconds: float = 4.0) -> Sound:
    t = np.arange(round(seconds * RATE)) / RATE
    return Sound((0.3 * np.sin(2 * np.pi * hz * t)).astype(np.float32)[None], RATE)


def loudest_hz(sound: Sound) -> float:
    middle = sound.samples[0, len(sound.samples[0]) // 4 :][: sound.rate_hz]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(spectrum.argmax() * sound.rate_hz / len(middle))


def shown(shot: Shot) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in shot.frames]


def test_frames_are_resampled_by_time() -> None:
    halved = picture_damage.retime(15)(numbered(30))
    assert halved.rate == 15
    assert shown(halved) == list(range(0, 30, 2))
    to_24 = picture_damage.retime(24)(numbered(30))
    assert shown(to_24)[:6] == [0, 1, 2, 3, 5, 6]  # the frame on screen at k / 24 s
    doubled = picture_damage.retime(30)(numbered(15, rate=15))
    assert shown(doubled)[:5] == [0, 0, 1, 1, 2]


def test_a_trim_starts_off_the_key_frames() -> None:
    cut = picture_damage.trim(1)(numbered(150))
    assert cut.duration_s == 1
    assert shown(cut)[0] % 60 != 0
    with pytest.raises(picture_damage.Inapplicable, match="no more than 3 s"):
        picture_damage.trim(3)(numbered(60))


def test_sizes_are_what_the_titles_say() -> None:
    shot = numbered(1, height=720, width=1280)
    sizes = {
        name: next(iter(attack.damage(shot).frames)).shape[:2]
        for name, attack in attacks.table(Kind.VIDEO).items()
        if attack.group in ("size", "crop", "shape", "rotation")
    }
    assert sizes["resize_360"] == (360, 640)
    assert sizes["crop_30"] == (504, 896)  # 70 % of each side
    assert sizes["crop_50"] == (360, 640)
    assert sizes["narrow"] == (720, 960)
    assert sizes["wide"] == (720, 1600)
    assert sizes["letterbox"] == (900, 1280)
    assert sizes["rotate_90"] == (1280, 720)
    assert sizes["rotate_5"] == (720, 1280)


def test_every_picture_damage_changes_what_it_should_and_declares_its_size() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (160, 240, 3), np.uint8) for _ in range(60)]
    shot = Shot(frames, Fraction(25), 60, 160, 240)
    for name, attack in attacks.table(Kind.VIDEO).items():
        if attack.damage is picture_damage.same or name in ("trim_3s",):
            continue
        damaged = attack.damage(shot)
        got = list(damaged.frames)
        assert len(got) == damaged.count, name
        assert {frame.shape for frame in got} == {(damaged.height, damaged.width, 3)}, name
        assert {frame.dtype.name for frame in got} == {"uint8"}, name
        if got[0].shape == frames[0].shape and damaged.count == 60:
            assert not np.array_equal(got[5], frames[5]), f"{name} changes nothing"


def test_noise_has_the_strength_it_names() -> None:
    grey = [np.full((200, 200, 3), 128, np.uint8)] * 2
    shot = Shot(grey, Fraction(25), 2, 200, 200)
    noisy = np.stack(list(picture_damage.noise(10)(shot).frames)).astype(float) - 128
    assert noisy.std() == pytest.approx(10, rel=0.02)
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.02
    sound = Sound(np.full((1, RATE), 0.1, np.float32), RATE)
    added = sound_damage.noise(20)(sound).samples - sound.samples
    assert 10 * np.log10(0.01 / (added**2).mean()) == pytest.approx(20, abs=0.3)


@pytest.mark.parametrize("factor", [0.9, 1.05])
def test_speed_moves_pitch_and_length_and_tempo_only_the_length(factor: float) -> None:
    faster = sound_damage.speed(factor)(tone())
    assert faster.duration_s == pytest.approx(4 / factor, abs=0.03)
    assert loudest_hz(faster) == pytest.approx(1000 * factor, abs=2)
    shorter = sound_damage.tempo(factor)(tone())
    assert shorter.duration_s == pytest.approx(4 / factor, abs=0.1)
    assert loudest_hz(shorter) == pytest.approx(1000, abs=3)


def test_pitch_moves_by_a_semitone_and_keeps_the_length() -> None:
    higher = sound_damage.pitch(1)(tone())
    assert higher.duration_s == pytest.approx(4, abs=0.1)
    assert loudest_hz(higher) == pytest.approx(1000 * 2 ** (1 / 12), abs=3)


def test_the_low_pass_passes_low_and_stops_high() -> None:
    low, high = (sound_damage.low_pass(4000)(tone(hz)).samples.std() for hz in (1000.0, 7000.0))
    assert low == pytest.approx(0.3 / 2**0.5, rel=0.02)
    assert high < 0.003


def test_music_is_mixed_at_its_level() -> None:
    sound = tone()
    added = sound_damage.music(-10)(sound).samples - sound.samples
    assert 10 * np.log10((sound.samples**2).mean() / (added**2).mean()) == pytest.approx(
        10, abs=0.2
    )


def test_every_sound_damage_is_stored_and_read_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sound = Sound(np.clip(rng.normal(0, 0.1, (2, 6 * 44_100)), -1, 1).astype(np.float32), 44_100)
    for name, attack in attacks.table(Kind.AUDIO).items():
        if attack.codec is None or name == "trim_10s":
            continue
        written = trial.apply(attack, sound, tmp_path / name)
        got = trial.load_sound(written, 0, trusted=True)
        assert 1.9 < got.duration_s < 7.0, name
        assert np.isfinite(got.samples).all(), name
        assert got.samples.std() > 0.01, name


def test_unknown_attacks_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"No attack crf28\..*h264_crf28.*mp3_64k"):
        attacks.choose(["crf28"], [Kind.VIDEO, Kind.AUDIO], quick=False)


def test_every_floor_names_an_attack_that_exists() -> None:
    for floor in FLOORS:
        assert set(floor.attacks) <= set(attacks.table(floor.kind))


def test_a_floor_is_met_or_missed_by_its_own_group() -> None:
    def row(exact: bool, duration_s: float) -> dict[str, object]:
        return {"attack": "h264_crf35", "status": "ok", "exact": exact, "duration_s": duration_s}

    rows = [row(True, 5.0)] * 19 + [row(False, 4.98)] + [row(False, 3.0)] * 50
    (line,) = check(rows, Kind.VIDEO)
    assert (line["k"], line["n"], line["met"]) == (19, 20, True)
    (line,) = check([*rows, row(False, 9.0)], Kind.VIDEO)
    assert not line["met"]
    assert not group({}, 3.0)


def test_quality_is_perfect_for_the_same_and_known_for_a_known_change() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(40, 200, (96, 128, 3), np.uint8)
    frames = [base, np.roll(base, 3, 1), np.roll(base, 6, 1)]
    same = quality.picture_quality(frames, frames, Fraction(25))
    assert same["ssim"] == pytest.approx(1, abs=1e-4)
    assert same["vif"] == pytest.approx(1, abs=1e-3)
    assert same["flicker"] == 0
    lighter = [frame + 2 for frame in frames]
    moved = quality.picture_quality(frames, lighter, Fraction(25))
    assert moved["psnr_db"] == pytest.approx(20 * np.log10(255 / 2), abs=1e-3)
    assert moved["flicker"] == 0  # it does not change from frame to frame
    shaky = [frames[0], frames[1] + 2, frames[2]]
    assert quality.picture_quality(frames, shaky, Fraction(25))["flicker"] == pytest.approx(2)


def test_texture_and_motion_tell_clips_apart() -> None:
    flat = numbered(6)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(6)]
    busy = Shot(frames, Fraction(25), 6, 64, 96)
    assert picture_figures(flat)["texture"] < 1 < picture_figures(busy)["texture"]
    assert picture_figures(flat)["motion"] < 2 < picture_figures(busy)["motion"]


def test_clips_are_spread_over_the_folders(tmp_path: Path) -> None:
    for folder, count in (("a", 9), ("b", 2)):
        (tmp_path / folder).mkdir()
        for index in range(count):
            (tmp_path / folder / f"{index}.mp4").touch()
    (tmp_path / "a" / "README.md").touch()
    names = [sample.sample_id for sample in find([tmp_path], 5)]
    assert names == ["a/0.mp4", "a/4.mp4", "a/8.mp4", "b/0.mp4", "b/1.mp4"]
    assert len(find([tmp_path])) == 11
    with pytest.raises(UsageError, match="no clip"):
        find([_empty(tmp_path)])


def _empty(folder: Path) -> Path:
    empty = folder / "empty"
    empty.mkdir()
    return empty
