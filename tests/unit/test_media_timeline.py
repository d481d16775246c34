"""Rates, grids and time zeros from timestamps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avsafe.media.timeline import Retimer, choose_rate, common_zero, held_frames, is_variable


@pytest.mark.parametrize(
    "rate", [Fraction(30000, 1001), Fraction(43, 2), Fraction(374, 25), Fraction(8)]
)
def test_a_constant_file_keeps_its_declared_rate(rate: Fraction) -> None:
    times = np.arange(100) / float(rate)
    assert choose_rate(times, rate, 240) == rate
    assert not is_variable(times, rate)


def test_millisecond_timestamps_are_not_variable() -> None:
    rate = Fraction(24000, 1001)
    times = np.round(np.arange(2000) / float(rate), 3)
    assert choose_rate(times, rate, 240) == rate
    assert not is_variable(times, rate)


def test_a_wrong_declared_rate_yields_to_the_timestamps() -> None:
    times = np.arange(60) / 30
    assert choose_rate(times, Fraction(90000), 240) == 30
    assert choose_rate(times, Fraction(15), 240) == 30
    assert choose_rate(times, None, 240) == 30


def test_pauses_do_not_lower_the_rate() -> None:
    times = np.concatenate([np.arange(30) / 30, 5 + np.arange(30) / 30])
    assert choose_rate(times, Fraction(11), 240) == 30
    assert is_variable(times, Fraction(30))


def test_one_frame_and_equal_timestamps_have_a_rate() -> None:
    assert choose_rate(np.array([0.5]), None, 240) == 25
    assert choose_rate(np.zeros(5), Fraction(10), 240) == 10


def grid(times: list[float], rate: int) -> list[int]:
    retimer: Retimer[int] = Retimer(Fraction(rate))
    out = []
    for index, time in enumerate(times):
        out += [item for frame, n in retimer.push(time, index) for item in [frame] * n]
    return out + [item for frame, n in retimer.finish() for item in [frame] * n]


def test_the_grid_repeats_and_drops_by_time() -> None:
    assert grid([0, 0.1, 0.2, 0.3], 10) == [0, 1, 2, 3]
    assert grid([0, 0.1, 0.4], 10) == [0, 1, 1, 1, 2]
    assert grid([0, 0.02, 0.04, 0.1], 10) == [2, 3]
    assert grid([0.3], 10) == [0, 0, 0, 0]
    assert grid([0.3, 0.4], 10) == [0, 0, 0, 0, 1]
    assert grid([], 10) == []


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_every_slot_shows_a_frame_due_by_then(times: list[float]) -> None:
    times = sorted(times)
    shown = grid(times, 10)
    assert len(shown) == max(0, round(times[-1] * 10)) + 1
    assert shown == sorted(shown)
    for slot, index in enumerate(shown):
        if index:
            assert times[index] <= (slot + 0.5) / 10 + 1e-9


def test_sound_and_picture_share_a_zero() -> None:
    rate = Fraction(25)
    assert common_zero(0.0, 0.0, rate) == 0
    assert common_zero(0.08, None, rate) == 0.08
    assert common_zero(None, 1.5, None) == 1.5
    assert common_zero(0.0, 0.5, rate) == 0  # late sound: silence is put before it
    assert held_frames(0.08, 0.0, rate) == 2  # late picture: its first frame is held
    assert common_zero(0.08, 0.0, rate) == pytest.approx(0.0)
    assert held_frames(0.01, 0.0, rate) == 0  # a quarter of a frame: encoder priming
    assert common_zero(0.01, 0.0, rate) == 0.01


@given(st.floats(0, 5), st.floats(0, 5))
def test_no_more_than_half_a_frame_of_sound_is_cut(video_s: float, audio_s: float) -> None:
    rate = Fraction(30)
    zero = common_zero(video_s, audio_s, rate)
    assert zero - audio_s <= 0.5 / 30 + 1e-6
    frames = (video_s - zero) * 30
    assert abs(frames - round(frames)) < 1e-6
