"""The label is large and legible on any ground; the notice has the rhythm of GB 45438-2025."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from avsafe.errors import UsageError
from avsafe.media.label import (
    LETTER_SHARE,
    UNIT_S,
    _font,
    audible_notice,
    burn_label,
    letter_height,
    notice,
)


def ground(value: int, width: int = 640, height: int = 360) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def luminance(level: float) -> float:
    """Relative luminance of a grey level (WCAG 2.2)."""
    share = level / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720), (720, 1280), (128, 96)])
def test_every_letter_reaches_five_percent(width: int, height: int) -> None:
    font = _font(LETTER_SHARE * min(width, height), None)
    assert letter_height(font) >= 0.05 * min(width, height)
    frame = next(iter(burn_label([ground(0, width, height)], "xx", frame_rate=None)))
    rows = np.flatnonzero((frame[..., 0] > 100).any(1))  # small letters are grey at their edges
    assert rows[-1] - rows[0] + 1 >= 0.05 * min(width, height)


@pytest.mark.parametrize("value", [0, 90, 180, 255])
def test_the_contrast_is_enough_on_any_ground(value: int) -> None:
    frame = next(iter(burn_label([ground(value)], "AI-generated", frame_rate=None)))
    changed = np.flatnonzero((frame != value).any(2).any(1))
    rows = slice(changed[0] + 4, changed[-1] - 4)
    columns = np.flatnonzero((frame != value).any(2)[rows].any(0))
    plate = frame[rows, columns[0] + 6 : columns[-1] - 6, 0]
    letters, behind = plate.max(), np.median(plate)
    ratio = (luminance(letters) + 0.05) / (luminance(float(behind)) + 0.05)
    assert letters == 255
    assert ratio > 4.5  # WCAG 2.2, 1.4.3


def test_the_label_ends_when_asked_and_starts_again() -> None:
    clip = [ground(10)] * 30
    labelled = burn_label(clip, "AI", frame_rate=Fraction(10), duration_s=2.0)
    for _ in range(2):
        assert [bool((frame != 10).any()) for frame in labelled] == [True] * 20 + [False] * 10
    assert (clip[0] == 10).all()
    assert all((frame != 10).any() for frame in burn_label(clip, "AI", frame_rate=None))


def test_a_long_label_is_broken_and_an_impossible_one_refused() -> None:
    text = "AI-generated with avsafe and not a record of a real event"
    one = next(iter(burn_label([ground(0)], "AI-generated", frame_rate=None)))
    more = next(iter(burn_label([ground(0)], text, frame_rate=None)))
    assert (more > 200).any(2).any(1).sum() > 1.5 * (one > 200).any(2).any(1).sum()
    for bad, words in (("x" * 200, "does not fit"), ("  ", "needs a text"), ("AI 人工", "lacks")):
        with pytest.raises(UsageError, match=words):
            next(iter(burn_label([ground(0)], bad, frame_rate=None)))
    with pytest.raises(UsageError, match="frame rate"):
        burn_label([ground(0)], "AI", frame_rate=None, duration_s=2.0)


@pytest.mark.parametrize("rate_hz", [8000, 44100, 48000])
def test_the_notice_is_short_long_short_short(rate_hz: int) -> None:
    tone = notice(rate_hz)[0]
    unit = round(UNIT_S * rate_hz)
    loud = [
        float(np.abs(tone[index * unit : (index + 1) * unit]).max()) > 0.1 for index in range(9)
    ]
    assert loud == [True, False, True, True, True, False, True, False, True]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert abs(np.argmax(spectrum) * rate_hz / len(tone) - 880) < 10


def test_the_notice_is_mixed_across_blocks_without_clipping() -> None:
    music = np.random.default_rng(0).uniform(-1, 1, (2, 96000)).astype(np.float32)
    whole = np.concatenate(list(audible_notice([music], 48000)), 1)
    pieces = audible_notice([music[:, at : at + 777] for at in range(0, 96000, 777)], 48000)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(pieces), 1), whole)
    assert np.abs(whole).max() <= 1
    n = notice(48000).shape[1]
    np.testing.assert_array_equal(whole[:, n:], music[:, n:])
    short = next(iter(audible_notice([np.zeros((1, 100), np.float32)], 48000)))
    assert short.shape == (1, 100)
