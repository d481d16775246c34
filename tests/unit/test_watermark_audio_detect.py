"""The two halves of detection apart: hostile sound to features, hostile features to a verdict."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsafe import testing
from avsafe.errors import UnreadableMedia, UsageError
from avsafe.watermark import audio_chips as chips
from avsafe.watermark import audio_detect, channel
from avsafe.watermark.audio_features import (
    BINS,
    FIRST_BIN,
    LEVELS,
    MAX_FRAMES,
    SECONDS,
    AudioFeatureExtractor,
    LevelMeter,
    to_db,
)

KEY = bytes(range(32))


def levels_of(blocks, rate_hz: int):
    meter = LevelMeter(rate_hz)
    for block in blocks:
        meter.feed(block)
    return meter.finish()[LEVELS]


# ---------------------------------------------------------------- the pattern


def test_the_pattern_of_a_key_never_changes() -> None:
    """Recorded values: marks in released files must stay readable for ever."""
    layout = chips.layout(KEY)
    assert int(layout.sync.sum()) == chips.CELLS // 7
    counts = np.bincount(layout.owner[~layout.sync], minlength=chips.CODED_BITS)
    assert set(counts.tolist()) == {2, 3}
    assert layout.owner[0, :8].tolist() == [66, 508, 958, 361, 595, 324, 687, 166]
    assert layout.sign[0, :8].tolist() == [1, -1, -1, 1, -1, -1, -1, 1]


def test_soft_bits_undo_chips() -> None:
    layout = chips.layout(KEY)
    soft = layout.soft_bits(layout.chips(12345).astype(float))
    assert channel.decode(soft, 32).payload == 12345
    assert np.array_equal(np.sign(soft), channel.encode(12345, 32))


def test_keys_are_independent() -> None:
    a, b = chips.layout(KEY).chips(1), chips.layout(KEY[::-1]).chips(1)
    assert abs(int((a * b.astype(int)).sum())) < 5 * np.sqrt(chips.CELLS)


# ---------------------------------------------------------------- the features


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000, 96_000])
def test_levels_of_a_full_scale_sine(rate_hz: int) -> None:
    t = np.arange(rate_hz * 2) / rate_hz
    levels = to_db(levels_of([np.sin(2 * np.pi * 1000 * t)[None].astype(np.float32)], rate_hz))
    bin_ = 64 - FIRST_BIN  # 1000 Hz
    assert np.abs(levels[:, bin_]).max() <= 0.5
    assert levels[:, bin_ + 20].max() < -60


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 44_100), max_size=12))
def test_features_do_not_depend_on_blocks(cuts: list[int]) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 44_100)).astype(np.float32)
    edges = [0, *sorted(cuts), 44_100]
    blocks = [sound[:, a:b] for a, b in pairwise(edges)]
    assert np.array_equal(levels_of(blocks, 44_100), levels_of([sound], 44_100))


def test_features_are_small_and_capped() -> None:
    minute = levels_of([np.ones((1, 8_000), np.float32)] * 60, 8_000)
    assert minute.nbytes < 0.9e6
    meter = LevelMeter(4_000)
    for _ in range(11):
        meter.feed(np.ones((1, 4_000 * 60), np.float32))
    features = meter.finish()
    assert len(features[LEVELS]) == MAX_FRAMES
    assert features[SECONDS].tolist() == [600.0, 660.0]


def test_hostile_sound_gives_finite_features() -> None:
    rng = np.random.default_rng(0)
    bad = rng.normal(0, 1e30, (1, 16_000)).astype(np.float32)
    bad[0, ::7], bad[0, ::11], bad[0, ::13] = np.nan, np.inf, -np.inf
    assert levels_of([bad], 16_000).dtype == np.uint8
    for rate_hz in (1, 100, 10_000_000):
        assert levels_of([bad], rate_hz).shape == (0, BINS)
    assert levels_of([np.zeros((0, 0), np.float32)], 16_000).shape == (0, BINS)
    with pytest.raises(UsageError, match="channels"):
        levels_of([bad, np.vstack([bad, bad])], 16_000)
    with pytest.raises(UsageError, match="block"):
        levels_of([bad[0]], 16_000)


def test_extractor_without_sound_and_with_two_rates() -> None:
    extractor = AudioFeatureExtractor()
    extractor.start(testing._as_media(testing.sound_only(1.0)))
    extractor.frame(np.zeros((2, 2, 3), np.uint8), 0.0)
    assert extractor.finish()[LEVELS].shape == (0, BINS)
    extractor.samples(np.zeros((1, 10), np.float32), 8_000)
    with pytest.raises(UsageError, match="rate changed"):
        extractor.samples(np.zeros((1, 10), np.float32), 16_000)


# ---------------------------------------------------------------- the search


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"other": np.zeros(3)},
        {LEVELS: [[1, 2]]},
        {LEVELS: np.zeros((50, BINS))},
        {LEVELS: np.full((50, BINS), np.nan)},
        {LEVELS: np.zeros((50, BINS - 1), np.uint8)},
        {LEVELS: np.zeros(BINS, np.uint8)},
        {LEVELS: np.zeros((2, 2, BINS), np.uint8)},
        {LEVELS: np.broadcast_to(np.uint8(1), (10**9, BINS))},
        {LEVELS: np.array([["x"]], object)},
        None,
    ],
)
def test_features_of_another_form_are_refused(features) -> None:
    with pytest.raises(UnreadableMedia, match="analyse the file again"):
        audio_detect.detect(features, KEY)


@pytest.mark.parametrize(
    "levels",
    [
        np.zeros((0, BINS), np.uint8),
        np.zeros((1, BINS), np.uint8),
        np.zeros((300, BINS), np.uint8),
        np.full((300, BINS), 255, np.uint8),
        np.tile(np.array([0, 255], np.uint8), (300, BINS // 2)),
        np.random.default_rng(0).integers(0, 256, (500, BINS)).astype(np.uint8),
        np.eye(400, BINS, dtype=np.uint8) * 200,
    ],
)
def test_odd_features_find_nothing(levels) -> None:
    found = audio_detect.detect({LEVELS: levels}, KEY)
    assert (found.present, found.payload) == (False, None)
    assert 0.0 < found.p_value <= 1.0
    assert found.details["reason"]


def test_planted_pattern_is_read_from_features_alone() -> None:
    """Independent of the embedder: chips written straight into a flat spectrum."""
    rows = np.repeat(chips.layout(KEY).chips(99), 4, axis=0)
    field = np.zeros((len(rows), BINS))
    first = chips.LOW_BIN - FIRST_BIN
    field[:, first : first + 3 * chips.BANDS] = np.repeat(rows, 3, axis=1)
    noise = np.random.default_rng(0).normal(0, 4, (432, BINS))
    levels = np.rint(120 + 2 * (1.5 * np.roll(np.tile(field, (4, 1)), 33, axis=0) + noise))
    found = audio_detect.detect({LEVELS: levels.astype(np.uint8)}, KEY)
    assert (found.present, found.payload) == (True, 99)


@pytest.mark.slow
def test_false_positives_obey_the_bound() -> None:
    """80 wrong keys: the sync p-value is a bound, so it is never smaller than chance allows."""
    rng = np.random.default_rng(7)
    p = []
    for seed in range(2):
        blocks = testing.babble(5.0, 16_000, seed)
        prepared = audio_detect.Prepared({LEVELS: levels_of(blocks, 16_000)})
        results = [audio_detect.search(prepared, rng.bytes(32)) for _ in range(40)]
        assert not any(result.present for result in results)
        p += [result.p_value for result in results]
    assert np.mean(np.array(p) <= 0.1) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / len(p))


def test_the_bound_on_false_marks_holds_for_every_search() -> None:
    """What the bound counts: never more words than it says, and under 1e-6 per file."""
    assert audio_detect.FALSE_MARK_P <= 1e-6
    noise = np.random.default_rng(1).integers(100, 140, (900, BINS)).astype(np.uint8)
    words = 0

    def counted(soft, bits):
        nonlocal words
        words += len(soft)
        return decode_many(soft, bits)

    decode_many = channel.decode_many
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel, "decode_many", counted)
        found = audio_detect.detect({LEVELS: noise}, KEY)
    assert not found.present
    assert found.details["words"] == words
    assert 48 < words <= audio_detect.ROUNDS * audio_detect.TRIES_PER_ROUND


def test_p_value_never_exceeds_the_bound() -> None:
    """Data cells alone, without the sync cells, are a mark, with the p-value of the decoder."""
    layout = chips.layout(KEY)
    rows = np.repeat(np.where(layout.sync, 0, layout.chips(99)), 4, axis=0)
    field = np.zeros((len(rows), BINS))
    first = chips.LOW_BIN - FIRST_BIN
    field[:, first : first + 3 * chips.BANDS] = np.repeat(rows, 3, axis=1)
    noise = np.random.default_rng(0).normal(0, 2, (432, BINS))
    levels = np.rint(120 + 6 * np.tile(field, (4, 1)) + noise).astype(np.uint8)
    found = audio_detect.detect({LEVELS: levels}, KEY)
    assert not found.present or 1e-12 < found.p_value <= audio_detect.FALSE_MARK_P


def test_short_key_is_refused() -> None:
    with pytest.raises(UsageError, match="key"):
        audio_detect.detect({LEVELS: np.zeros((300, BINS), np.uint8)}, b"x")
