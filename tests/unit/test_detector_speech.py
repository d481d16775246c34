"""The speech detector: its sandbox half, its arithmetic, its splits, and what it won't judge.

Real people are judged where the shared media are.
"""

from __future__ import annotations

import itertools
import wave
from pathlib import Path

import numpy as np
import pytest

from avsafe.calibration import Condition
from avsafe.errors import UsageError
from avsafe.media.features import examine
from avsafe.types import EvidenceStatus, Kind, Media
from avsafe_detectors.domain.extractor import DomainExtractor
from avsafe_detectors.speech import SpeechDetector, augment, data, features, fine, model
from avsafe_detectors.speech.corpus import Row
from avsafe_detectors.speech.detector import calibration, undecided, voice
from avsafe_detectors.speech.extractor import (
    BLOCKS,
    HEARD,
    LEVELS,
    MOMENTS,
    STARTS,
    Resampler,
    SpeechExtractor,
    levels,
)
from avsafe_detectors.speech.train import by_chance, out_of

DETECTOR = SpeechDetector()


def written(path: Path, x: np.ndarray, rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(x, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def judged(path: Path):
    media, found = examine(path, dict.fromkeys(Kind, DETECTOR.extractors), trusted=True)
    return DETECTOR.judge(found, media)


def babble(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Pulses and noise through moving resonances, in syllables: voice-like."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    t = np.arange(n) / rate
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * t)
    source = np.sin(2 * np.pi * np.cumsum(pitch) / rate) ** 15 + 0.02 * rng.standard_normal(n)
    spectrum = np.fft.rfft(source)
    f = np.arange(len(spectrum)) * rate / n
    shape = sum(1 / (1 + ((f - c) / w) ** 2) for c, w in ((500, 80), (1500, 120), (2600, 200)))
    y = np.fft.irfft(spectrum * (shape + 0.01), n)
    loud = np.clip(np.sin(2 * np.pi * 4 * t) + 0.3, 0.01, None)
    y = y * loud
    return np.asarray(0.3 * y / np.abs(y).max(), np.float32)


# ---------------------------------------------------------------- the sandbox half


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_place_at_any_rate_and_in_blocks_of_any_length(rate):
    rng = np.random.default_rng(rate)
    x = np.sin(2 * np.pi * 440 * np.arange(int(2.3 * rate)) / rate).astype(np.float32)
    there, parts, at = Resampler(rate), [], 0
    while at < len(x):
        step = int(rng.integers(1, 7_000))
        parts.append(there.feed(x[at : at + step]))
        at += step
    y = np.concatenate([*parts, there.flush()])
    assert len(y) == -(-len(x) * 16_000 // rate)
    want = np.sin(2 * np.pi * 440 * np.arange(len(y)) / 16_000)
    np.testing.assert_allclose(y[200:-200], want[200:-200], atol=2e-3)


def test_levels_of_a_full_scale_sine_are_zero_decibels():
    x = np.sin(2 * np.pi * 1000 * np.arange(4_000) / 16_000).astype(np.float32)
    assert abs(levels(x).max() * 0.5 - 120) <= 0.5


def extracted(x: np.ndarray, rate: int = 16_000, block: int = 4_000):
    one = SpeechExtractor()
    for at in range(0, len(x), block):
        one.samples(np.stack([x[at : at + block]] * 2).astype(np.float32), rate)
    return one.finish()


def test_a_long_sound_is_spread_over_and_memory_is_bounded():
    found = extracted(0.1 * np.random.default_rng(0).standard_normal(16_000 * 250), block=16_000)
    assert len(found[LEVELS]) <= BLOCKS
    starts = found[STARTS]
    assert starts[-1] > 230
    assert set(np.diff(starts).tolist()) == {8.0}  # 125 blocks: every second, twice


def test_silent_stretches_are_not_kept():
    x = np.zeros(16_000 * 8, np.float32)
    x[16_000 * 4 + 800 : 16_000 * 6] = babble(2.0)[800:]
    assert extracted(x)[STARTS].tolist() == [4.0]


def test_blocks_of_the_wrong_shape_and_another_rate_are_refused():
    one = SpeechExtractor()
    with pytest.raises(UsageError, match="channels"):
        one.samples(np.zeros(100, np.float32), 16_000)
    one.samples(np.zeros((1, 100), np.float32), 16_000)
    with pytest.raises(UsageError, match="changed"):
        one.samples(np.zeros((1, 100), np.float32), 8_000)


def test_values_that_are_no_numbers_count_as_silence():
    x = babble(2.0)
    x[::7] = np.nan
    assert extracted(x)[LEVELS].max() > 0


# ---------------------------------------------------------------- what the models see


def test_long_pauses_are_no_clue():
    x = babble(4.0)
    gap = np.concatenate([x[:32_000], np.zeros(32_000, np.float32), x[32_000:]])
    level = [features.loudness(features.decibels(levels(s))) for s in (x, gap)]
    kept = [int(features.heard(one).sum()) for one in level]
    assert kept[1] - kept[0] <= features.PAUSE + 6  # of 200 frames of silence


def test_a_microphone_response_and_gain_change_little():
    x = babble(3.0)
    db = features.decibels(levels(x))
    tilt = np.linspace(-5, 5, db.shape[1], dtype=np.float32)
    plain = features.normalised(db)
    np.testing.assert_allclose(features.normalised(db - 20), plain, atol=1e-3)
    assert np.corrcoef(features.normalised(db + tilt).ravel(), plain.ravel())[0, 1] > 0.98


def test_statistics_are_finite_for_what_never_changes():
    assert np.isfinite(features.summary(np.zeros((200, features.WIDTH), np.float32))).all()


def test_windows_cover_all_frames_and_a_short_voice_has_one():
    for count in (60, 192, 300, 1000):
        spans = features.windows(count)
        assert spans[0][0] == 0
        assert spans[-1][1] == count
        assert all(b - a <= features.WINDOW for a, b in spans)
        assert all(b[0] <= a[1] for a, b in itertools.pairwise(spans))


def test_pulses_stand_out_of_noise_in_the_fine_structure():
    pulses = np.zeros(32_000, np.float32)
    pulses[::133] = 1.0  # 120 Hz
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    a, b = (fine.summary(fine.moments(x)) for x in (pulses, noise))
    repeat = slice(9 * fine.BANDS, 10 * fine.BANDS)  # how strongly bands repeat with the pitch
    assert a[repeat].min() > b[repeat].max()


def test_statistics_of_one_moment_are_finite():
    assert np.isfinite(fine.summary(np.zeros((1, fine.BANDS), np.uint8))).all()


def test_the_network_in_numpy_is_that_of_torch():
    torch = pytest.importorskip("torch")
    from avsafe_detectors.speech.network import exported, network

    torch.manual_seed(0)
    net = network(40).eval()
    x = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    weights = {k: v.astype(np.float32) for k, v in exported(net, "net0.").items()}
    with torch.no_grad():
        want = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.network(x, weights, "net0."), want, atol=5e-3)


# ---------------------------------------------------------------- training data


def test_trimming_takes_silence_out_and_keeps_speech():
    x = np.concatenate([np.zeros(16_000), babble(2.0), np.zeros(16_000), babble(1.0)])
    y = data.trimmed(x.astype(np.float32))
    assert 2.6 * 16_000 < len(y) < 3.4 * 16_000


def test_utterances_are_joined_to_one_law_of_lengths():
    rng = np.random.default_rng(0)
    for seconds in (0.5, 4.9):
        made = list(data.joined((babble(seconds) for _ in range(40)), 3, rng))
        assert len(made) == 3
        assert all(2 * 16_000 <= len(x) <= 5 * 16_000 for x in made)


@pytest.mark.parametrize("name", ["g722", "mp3 32k", "aac 64k", "opus 16k", "mu-law 8k"])
def test_codecs_give_back_the_same_sound_in_its_place(name):
    x = augment.levelled(babble(2.0))
    y = augment.coded(x, name)
    assert len(y) == len(x)
    assert np.corrcoef(x, y)[0, 1] > 0.9


def row(**changes) -> Row:
    base = {"name": "a 000", "label": data.REAL, "source": "a", "group": "klettres",
            "language": "it", "speaker": "a", "way": "clean", "condition": "clean"}  # fmt: skip
    return Row(**(base | changes))


def test_a_fold_has_heard_neither_speaker_nor_engine_nor_language():
    assert out_of(row(), "fold4")  # Italian
    assert not out_of(row(), "fold1")
    assert out_of(row(label=data.RENDERED, group="world"), "fold4")  # of an unheard speaker
    assert out_of(row(label=data.RENDERED, group="world", language="en"), "fold2")  # the vocoder
    assert out_of(row(label=data.SYNTHETIC, group="espeak"), "fold4")  # the language
    assert out_of(row(label=data.SYNTHETIC, group="piper", language="en"), "fold1")
    assert out_of(row(label=data.SYNTHETIC, group="kokoro"), "neural")
    assert not out_of(row(label=data.SYNTHETIC, group="kokoro"), "final")


def test_a_rendering_is_dealt_with_the_utterance_it_is_of():
    for k in range(40):
        plain, copy = row(name=f"a {k:03}"), row(name=f"world of a {k:03}")
        assert by_chance(plain, "fold1") == by_chance(copy, "fold1")


# ---------------------------------------------------------------- what it says


def hostile(**changes):
    good = extracted(babble(4.0))
    return good | changes


@pytest.mark.parametrize(
    "changes",
    [
        {LEVELS: np.zeros((3, 200, 100), np.uint8)},
        {LEVELS: np.zeros((2, 200, 257), np.float32)},
        {LEVELS: np.zeros((BLOCKS + 9, 200, 257), np.uint8)},
        {STARTS: np.zeros(7)},
        {STARTS: np.array([np.nan, 0.0])},
        {HEARD: np.array([np.inf, 1, 16_000, 1])},
        {MOMENTS: np.zeros((1, 2000, 6), np.uint8)},
    ],
    ids=["bins", "type", "count", "starts", "nan", "inf", "moments"],
)
def test_features_that_no_extractor_makes_are_refused(changes):
    with pytest.raises(ValueError, match=r"levels|number|moments"):
        voice(hostile(**changes))


def test_features_of_nothing_are_a_voice_of_nothing():
    assert voice(SpeechExtractor().finish()).speech_s == 0.0


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("silence", np.zeros(48_000)),
        ("tone", 0.3 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000)),
        ("noise", 0.1 * np.random.default_rng(0).standard_normal(64_000)),
        ("short", babble(0.6)),
    ],
)
def test_it_abstains_with_the_reason(tmp_path, name, sound):
    said = judged(written(tmp_path / f"{name}.wav", sound))
    assert said.status is EvidenceStatus.ABSTAINED
    assert "expected" in said.details["reason"]
    assert said.llr is None


def test_a_file_without_sound_has_no_voice(tmp_path):
    found = {"speech": SpeechExtractor().finish(), "domain": DomainExtractor().finish()}
    media = Media(tmp_path / "a.mp4", "0" * 64, 9, "mp4", "video/mp4", Kind.VIDEO)
    said = DETECTOR.judge(found, media)
    assert said.status is EvidenceStatus.ABSTAINED
    assert "no sound" in said.summary


def test_a_score_between_both_or_far_away_or_refused_is_not_stated():
    one = Condition("x", 1.0, 0.0, 2.0, 0.01, 0.05, 0.9, 200, 200, 20, 10, 0.02)
    assert undecided(one, 3.0, 0.4) is None
    assert "between" in (undecided(one, 0.1, 0.4) or "")
    assert "unlike" in (undecided(one, 3.0, 1.4) or "")
    assert "no number" in (undecided(one, float("nan"), 0.4) or "")
    refused = Condition("x", 1.0, 0.0, 2.0, 0.01, 0.05, 0.9, 200, 200, 20, 10, 0.02, {"refused": 1})
    assert "failed" in (undecided(refused, 3.0, 0.4) or "")


def test_what_ships_is_calibrated_on_many_people_and_engines():
    known = calibration()
    assert {c.name for c in known.conditions} == {"clean", "low rate", "narrowband", "noisy"}
    for one in known.conditions:
        assert one.false_positive_rate <= 0.02
        assert one.n_real_sources >= 30
        assert one.n_synthetic_sources >= 10


def test_no_real_person_of_the_shared_clips_is_flagged(shared_media):
    clips = sorted((shared_media / "real_talking").glob("grid_*"))
    for path in (*clips[:3], shared_media / "real_talking" / "sadtalker_aoc.mp4"):
        said = judged(path)
        assert said.status is not EvidenceStatus.PRESENT, path.name
