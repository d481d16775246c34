"""The audio mark end to end in memory: what goes in, what comes back, and how alike they are."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsafe import testing
from avsafe.errors import CannotMark, GeneratorFailed, UsageError
from avsafe.types import Kind, RawMedia
from avsafe.watermark.audio import AudioWatermarker
from avsafe.watermark.audio_embed import STRENGTH_DB, AudioEmbedder
from avsafe.watermark.audio_features import LevelMeter

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
PAYLOAD = 0xDEADBEEF
MARKER = AudioWatermarker()


def babble(duration_s: float, rate_hz: int, channels: int = 1, seed: int = 0):
    return np.hstack(testing.babble(duration_s, rate_hz, seed, channels))


def embed(sound, rate_hz: int, *, cuts=(), attempt: int = 0, payload: int = PAYLOAD, key=KEY):
    """Marked sound and the embedder, fed in blocks that end at ``cuts``."""
    embedder = AudioEmbedder(rate_hz, len(sound), payload, key, attempt=attempt)
    edges = [0, *sorted(cuts), sound.shape[1]]
    parts = [embedder.samples(sound[:, a:b]) for a, b in pairwise(edges)]
    return np.hstack([*parts, embedder.flush()]), embedder


def read(sound, rate_hz: int, key=KEY):
    meter = LevelMeter(rate_hz)
    meter.feed(sound)
    return MARKER.detect(meter.finish(), key)


@pytest.mark.parametrize(
    ("rate_hz", "channels"),
    [(8_000, 1), (16_000, 1), (22_050, 2), (44_100, 2), (48_000, 1), (96_000, 1)],
)
def test_payload_comes_back_at_every_rate(rate_hz: int, channels: int) -> None:
    sound = babble(7.3, rate_hz, channels)
    marked, embedder = embed(sound, rate_hz)
    assert marked.shape == sound.shape
    assert marked.dtype == np.float32
    found = read(marked, rate_hz)
    assert (found.present, found.payload) == (True, PAYLOAD)
    assert found.p_value < 1e-11
    snr_db = 10 * np.log10(np.square(sound).sum() / np.square(marked - sound).sum())
    mark = embedder.mark()
    assert mark.snr_db == pytest.approx(snr_db, abs=0.02)
    assert (mark.payload, mark.payload_bits, mark.modality) == (PAYLOAD, 32, Kind.AUDIO)


@pytest.mark.parametrize("payload", [0, 1, 2**32 - 1])
def test_extreme_payloads(payload: int) -> None:
    marked, _ = embed(babble(6, 16_000), 16_000, payload=payload)
    assert read(marked, 16_000).payload == payload


def test_unmarked_and_wrong_key_find_nothing() -> None:
    sound = babble(8, 16_000)
    marked, _ = embed(sound, 16_000)
    assert not read(sound, 16_000).present
    wrong = read(marked, 16_000, OTHER)
    assert (wrong.present, wrong.payload) == (False, None)
    assert wrong.p_value > 1e-4


def test_any_offset_of_a_cut_is_found() -> None:
    marked, _ = embed(babble(13, 16_000), 16_000)
    for first in (0, 1, 7_777, 31_415, 100_003):
        found = read(marked[:, first : first + 5 * 16_000], 16_000)
        assert (found.present, found.payload) == (True, PAYLOAD), first


@pytest.mark.parametrize("factor", [0.95, 0.97, 1.0123, 1.05])
def test_speed_is_searched(factor: float) -> None:
    from scipy.signal import resample_poly

    ratio = Fraction(1 / factor).limit_denominator(1000)
    marked, _ = embed(babble(10, 16_000), 16_000)
    played = resample_poly(marked, ratio.numerator, ratio.denominator, axis=1)
    found = read(played.astype(np.float32), 16_000)
    assert (found.present, found.payload) == (True, PAYLOAD)
    assert found.details["tempo"] == pytest.approx(factor, abs=0.004)
    assert found.details["pitch"] == pytest.approx(factor, abs=0.004)


def test_a_long_file_whose_middle_was_cut_out() -> None:
    marked, _ = embed(babble(40, 8_000), 8_000)
    cut = np.hstack([marked[:, : 8_000 * 12], marked[:, 8_000 * 13 + 4_321 :]])
    assert read(cut, 8_000).payload == PAYLOAD


def test_opposite_channels_do_not_cancel() -> None:
    sound = babble(7, 16_000)
    stereo = np.vstack([sound, -sound])
    marked, _ = embed(stereo, 16_000)
    assert read(marked, 16_000).payload == PAYLOAD
    np.testing.assert_allclose(marked[0], -marked[1], atol=1e-7)
    assert read(marked[:1], 16_000).payload == PAYLOAD


SOUND = babble(6.01, 8_000, 2)
WHOLE, _ = embed(SOUND, 8_000)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, SOUND.shape[1]), max_size=30))
def test_blocks_do_not_influence_the_result(cuts: list[int]) -> None:
    marked, _ = embed(SOUND, 8_000, cuts=cuts)
    assert np.array_equal(marked, WHOLE)


def test_blocks_of_one_sample() -> None:
    marked, _ = embed(SOUND[:, :3_000], 8_000, cuts=range(1, 3_000))
    assert np.array_equal(marked, embed(SOUND[:, :3_000], 8_000)[0])


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 40_000), st.sampled_from([8_000, 11_025, 44_100, 48_000]))
def test_length_is_kept(length: int, rate_hz: int) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (1, length)).astype(np.float32)
    assert embed(sound, rate_hz, cuts=[length // 3])[0].shape == (1, length)


def test_same_in_another_process() -> None:
    program = (
        "import hashlib, numpy as np\n"
        "from avsafe.watermark.audio_embed import AudioEmbedder\n"
        "x = np.random.default_rng(3).normal(0, .1, (1, 32000)).astype(np.float32)\n"
        "e = AudioEmbedder(8000, 1, 5, bytes(32))\n"
        "y = np.hstack([e.samples(x), e.flush()])\n"
        "print(hashlib.sha256(y.tobytes()).hexdigest())\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    sound = np.random.default_rng(3).normal(0, 0.1, (1, 32_000)).astype(np.float32)
    marked, _ = embed(sound, 8_000, payload=5, key=bytes(32))
    assert hashlib.sha256(marked.tobytes()).hexdigest() == other


def test_silence_stays_silence_and_no_echo_runs_ahead() -> None:
    sound = np.zeros((1, 6 * 16_000), np.float32)
    sound[:, 32_000:64_000] = babble(2, 16_000)
    marked, _ = embed(sound, 16_000)
    assert not marked[:, :32_000].any()
    assert not marked[:, 64_000:].any()
    click = np.full((1, 64_000), 0.0, np.float32)
    click += np.random.default_rng(0).normal(0, 1e-4, click.shape).astype(np.float32)
    click[:, 32_000:33_000] = babble(1, 16_000)[:, :1_000]
    change = embed(click, 16_000)[0] - click
    ahead = np.sqrt(np.mean(change[:, 31_000:31_900] ** 2))
    assert ahead < 0.36 * 1e-4  # below the sound that is there, however loud what follows


def test_never_beyond_full_scale() -> None:
    sound = np.sign(babble(6, 16_000)).astype(np.float32)
    marked, _ = embed(sound, 16_000, attempt=1)
    assert np.abs(marked).max() <= 1.0
    assert read(marked, 16_000).payload == PAYLOAD


def test_no_click_at_any_seam() -> None:
    """The change to a steady host has no step larger than its own body at the period borders."""
    sound = (0.2 * np.random.default_rng(1).standard_normal((1, 16_000 * 9))).astype(np.float32)
    change = (embed(sound, 16_000)[0] - sound)[0].astype(np.float64)
    loud = np.sqrt(np.convolve(change**2, np.ones(64) / 64, "same"))[1_000:-1_000]
    assert loud.max() < 3 * np.median(loud)
    assert loud.min() > 0.1 * np.median(loud)


def test_attempt_one_is_stronger() -> None:
    sound = babble(8, 16_000)
    weak, strong = (embed(sound, 16_000, attempt=n)[1].mark().snr_db for n in (0, 1))
    gain_db = 20 * np.log10(STRENGTH_DB[1] / STRENGTH_DB[0])
    assert weak - strong == pytest.approx(gain_db, abs=1.0)


# ---------------------------------------------------------------- what can't be marked


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (np.zeros((1, 0), np.float32), "too short for an audio mark: 0.0 s < 2.0 s"),
        (babble(0.1, 16_000), "too short for an audio mark: 0.1 s < 2.0 s"),
        (babble(1.99, 16_000), "too short for an audio mark: 1.9 s < 2.0 s"),
        (np.zeros((2, 16_000 * 10), np.float32), "too quiet for an audio mark: at most -110 dB"),
        (1e-4 * babble(5, 16_000), "too quiet for an audio mark: at most -1"),
        (
            np.pad(babble(0.8, 16_000), ((0, 0), (0, 160_000))),
            "too little to hear for an audio mark: 0.8 s audible between 0.6 and 5.5 kHz < 1.5 s",
        ),
    ],
)
def test_short_and_silent_sound_is_refused(sound, reason: str) -> None:
    raw = RawMedia(Kind.AUDIO, samples=[sound], rate_hz=16_000, channels=len(sound))
    assert reason in (MARKER.can_mark(raw) or "")
    with pytest.raises(CannotMark, match=re.escape(reason)):
        embed(sound, 16_000)[1].mark()


def test_two_seconds_are_enough() -> None:
    sound = babble(2.05, 16_000)
    marked, embedder = embed(sound, 16_000)
    assert embedder.mark().payload == PAYLOAD
    assert read(marked, 16_000).payload == PAYLOAD


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_channel_carries_the_mark(channels: int) -> None:
    """Mono, stereo, 5.1 with a silent channel: all together and each audible one by itself."""
    sound = babble(6, 16_000, channels)
    if channels == 6:
        sound[3] = 0.0
    marked, embedder = embed(sound, 16_000)
    assert embedder.mark().payload == PAYLOAD
    assert marked.shape == sound.shape
    assert read(marked, 16_000).payload == PAYLOAD
    for row, host in zip(marked, sound, strict=True):
        if host.any():
            assert read(row[None], 16_000).payload == PAYLOAD
        else:
            assert not row.any()


@pytest.mark.parametrize(("pitch", "tempo"), [(1.1, 1.1), (0.9, 0.9)])
def test_ten_percent_of_speed_are_searched(pitch: float, tempo: float) -> None:
    from scipy.signal import resample_poly

    ratio = Fraction(1 / pitch).limit_denominator(1000)
    marked, _ = embed(babble(8, 16_000), 16_000)
    played = resample_poly(marked, ratio.numerator, ratio.denominator, axis=1)
    found = read(played.astype(np.float32), 16_000)
    assert (found.present, found.payload) == (True, PAYLOAD)
    assert found.details["tempo"] == pytest.approx(tempo, abs=0.004)


def test_bit_error_rate() -> None:
    """0 for a clean mark, half for another key or payload, between for damage; never a guess."""
    sound = babble(8, 16_000)
    marked, _ = embed(sound, 16_000)

    def rate_of(what, key=KEY, payload=PAYLOAD) -> float:
        meter = LevelMeter(16_000)
        meter.feed(what)
        return MARKER.bit_error_rate(meter.finish(), key, payload)

    clean = rate_of(marked)
    noise = np.random.default_rng(0).normal(0, np.sqrt(np.mean(sound**2) / 30), sound.shape)
    damaged = rate_of((marked + noise).astype(np.float32))
    assert clean < 0.1
    assert clean < damaged < 0.4
    assert rate_of(marked, key=OTHER) == pytest.approx(0.42, abs=0.12)
    assert rate_of(np.zeros((1, 32_000), np.float32)) == 0.5
    assert rate_of(marked[:, :100]) == 0.5


def test_a_weak_mark_says_so() -> None:
    sound = babble(8, 16_000)
    marked, _ = embed(sound, 16_000)
    assert read(marked, 16_000).details["margin"] > 1
    faint = sound + 0.3 * (marked - sound)
    found = read(faint, 16_000)
    assert not found.present or found.details["margin"] < 1


def test_bare_tones_are_refused_at_the_last_attempt() -> None:
    t = np.arange(16_000 * 8) / 16_000
    tones = 0.2 * sum(np.sin(2 * np.pi * f * t) for f in (440, 880, 1320))[None]
    with pytest.raises(CannotMark, match="tones"):
        embed(tones.astype(np.float32), 16_000, attempt=1)[1].mark()


def test_can_mark_says_none_when_it_can() -> None:
    raw = RawMedia(Kind.AUDIO, samples=[babble(6, 16_000)], rate_hz=16_000, channels=1)
    assert MARKER.can_mark(raw) is None
    embedder = MARKER.embedder(raw, 7, KEY, attempt=1)
    embedder.samples(babble(6, 16_000))
    embedder.flush()
    assert embedder.mark().payload == 7


def test_refused_before_the_first_sample() -> None:
    def raw(**changes) -> RawMedia:
        values = {"kind": Kind.AUDIO, "samples": [], "rate_hz": 48_000, "channels": 1} | changes
        return RawMedia(**values)

    with pytest.raises(CannotMark, match="no sound"):
        MARKER.embedder(raw(samples=None), 1, KEY)
    with pytest.raises(CannotMark, match="too low for an audio mark: 6000 Hz < 8000 Hz"):
        MARKER.embedder(raw(rate_hz=6_000), 1, KEY)
    # pictures may end long before the sound does
    MARKER.embedder(raw(kind=Kind.VIDEO, frame_count=24, frame_rate=Fraction(24)), 1, KEY)
    with pytest.raises(UsageError, match="payload"):
        MARKER.embedder(raw(), 2**32, KEY)
    with pytest.raises(UsageError, match="key"):
        MARKER.embedder(raw(), 1, b"short")


def test_sound_too_short_for_a_mark_is_not_changed() -> None:
    sound = babble(1.9, 48_000)
    embedder = AudioEmbedder(48_000, 1, 7, KEY)
    out = np.hstack([embedder.samples(sound), embedder.flush()])
    assert np.array_equal(out, sound)
    with pytest.raises(CannotMark, match="too short"):
        embedder.mark()


def test_misuse_is_named() -> None:
    embedder = AudioEmbedder(16_000, 2, 1, KEY)
    with pytest.raises(UsageError, match=r"\(2, n\)"):
        embedder.samples(np.zeros((1, 10), np.float32))
    with pytest.raises(UsageError, match=r"\(2, n\)"):
        embedder.samples(np.zeros(10, np.float32))
    with pytest.raises(GeneratorFailed, match="not finite"):
        embedder.samples(np.full((2, 10), np.nan, np.float32))
    with pytest.raises(UsageError, match="flush"):
        embedder.mark()
    embedder.flush()
    assert embedder.flush().shape == (2, 0)
    with pytest.raises(UsageError, match="flushed"):
        embedder.samples(np.zeros((2, 10), np.float32))
    frame = np.zeros((2, 2, 3), np.uint8)
    assert embedder.frame(frame) is frame
