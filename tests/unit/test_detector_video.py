"""The video detector: measures, windows, hostile answers of the sandbox, and its evidence."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe.errors import UsageError
from avsafe.types import EvidenceStatus, Kind, Media, VideoStream
from avsafe_detectors.video import VideoDetector, clips, controls, detector, model
from avsafe_detectors.video.extractor import (
    COUNTS,
    FACES,
    MAX_WINDOWS,
    MOVED,
    TIMES,
    WINDOWS,
    MotionExtractor,
    small,
    starts,
    step,
)
from avsafe_detectors.video.features import LENGTH, SIDE, moved, window_features

HAVE = model.WEIGHTS.exists() and model.CALIBRATION.exists()
needs_weights = pytest.mark.skipif(not HAVE, reason="no weights beside the code")


def film(duration_s: float | None = 10.0, rate: int = 25, side: int = 512) -> Media:
    stream = VideoStream("h264", side, side, Fraction(rate), None, duration_s, "yuv420p")
    return Media(Path("x.mp4"), "0" * 64, 1000, "mp4", "video/mp4", Kind.VIDEO, stream,
                 duration_s=duration_s)  # fmt: skip


def scene(seed: int = 0, noise: float = 3.0, fresh: bool = True, t: int = LENGTH) -> Any:
    """Shapes that move to the right, with noise that is new in every frame or that sticks."""
    import cv2

    rng = np.random.default_rng(seed)
    base = rng.integers(60, 200, (12, 24, 3)).astype(np.uint8)
    wide = cv2.resize(base, (SIDE * 2, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    kept = rng.standard_normal((SIDE, SIDE, 3)) * noise
    frames = []
    for i in range(t):
        grain = rng.standard_normal((SIDE, SIDE, 3)) * noise if fresh else kept
        frames.append(wide[:, 2 * i : 2 * i + SIDE] + grain)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


def named(frames: Any) -> dict[str, float]:
    values, names = window_features(frames)
    assert len(values) == len(names) == len(set(names))
    return dict(zip(names, values.tolist(), strict=True))


# ---------------------------------------------------------------- measures


def test_fresh_noise_does_not_return_in_the_next_frame_and_sticking_noise_does() -> None:
    fresh, stuck = named(scene(fresh=True)), named(scene(fresh=False))
    assert abs(fresh["fine place"]) < 0.2
    assert stuck["fine place"] > 0.8
    assert fresh["fine changing q50"] > 0.8 > 0.3 > stuck["fine changing q50"]


def test_texture_that_moves_with_the_scene_is_found_along_the_motion() -> None:
    import cv2

    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE * 2)) * 90, (0, 0), 1.6)
    wide = np.repeat(np.clip(128 + grain, 0, 255).astype(np.uint8)[..., None], 3, -1)
    found = named(np.stack([wide[:, 4 * i : 4 * i + SIDE] for i in range(LENGTH)]))
    assert found["middle along"] > 0.8
    assert found["middle place"] < 0.3


def test_enlarged_pictures_fall_off_faster() -> None:
    sharp = list(scene(noise=8.0))
    soft = controls.enlarged(sharp)
    assert named(np.stack(soft))["noise q50"] < named(np.stack(sharp))["noise q50"] - 0.5


@pytest.mark.parametrize("level", [0, 255])
def test_blank_frames_give_finite_measures(level: int) -> None:
    blank = np.full((LENGTH, SIDE, SIDE, 3), level, np.uint8)
    values, _ = window_features(blank)
    assert np.isfinite(values).all()
    assert moved(blank[..., 0]) == 0.0


def test_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match="A window is"):
        window_features(np.zeros((3, SIDE, SIDE, 3), np.uint8))


# ---------------------------------------------------------------- windows


def fed(extractor: MotionExtractor, media: Media, frames: Any, rate: float) -> dict[str, Any]:
    extractor.start(media)
    for i, frame in enumerate(frames):
        if extractor.wants(i / rate):
            extractor.frame(frame, i / rate)
    return dict(extractor.finish())


def test_every_second_frame_of_25_is_looked_at() -> None:
    found = fed(MotionExtractor(), film(40 / 25), scene(t=40), 25)
    assert found[WINDOWS].shape[0] == 1
    assert found[TIMES].tolist() == [[0.0, pytest.approx(30 / 25)]]
    assert found[COUNTS].tolist() == [40.0, 16.0, 256.0, 2.0]


def test_the_result_is_that_of_the_window_alone() -> None:
    frames = scene(t=LENGTH)
    found = fed(MotionExtractor(), film(2.0, rate=8), frames, 8)
    assert np.allclose(found[WINDOWS][0], window_features(frames)[0])


def test_three_frames_make_no_window() -> None:
    found = fed(MotionExtractor(), film(0.12), scene(t=3), 25)
    assert found[WINDOWS].shape == (0, 0)
    assert found[COUNTS][0] == 3


def test_long_films_have_few_windows() -> None:
    assert len(starts(100_000) or []) == MAX_WINDOWS
    chosen = starts(100_000) or []
    assert chosen[-1] + LENGTH == 100_000
    assert all(b - a >= LENGTH for a, b in itertools.pairwise(chosen))


@pytest.mark.parametrize("rate", [6, 8, 10, 12, 15, 16, 20, 24, 25, 30, 50, 60])
def test_films_are_looked_at_at_similar_rates(rate: int) -> None:
    assert min(rate, 9) <= rate / step(rate) <= 20


def test_pictures_are_cut_square_about_the_centre() -> None:
    wide = np.zeros((SIDE, SIDE * 2, 3), np.uint8)
    wide[:, SIDE // 2 : SIDE // 2 + SIDE] = 200
    assert (small(wide) == 200).all()
    assert small(np.zeros((720, 1280, 3), np.uint8)).shape == (SIDE, SIDE, 3)


# ---------------------------------------------------------------- data


def test_the_list_holds_every_clip_once_and_no_source_of_both_roots_apart() -> None:
    listed = clips.listed()
    assert len({(c.root, c.path) for c in listed}) == len(listed)
    assert {c.use for c in listed} == {"train", "test", "control"}
    filmed = {c.source for c in listed if not c.synthetic and c.use == "train"}
    made = {c.group for c in listed if c.synthetic and c.use == "train"}
    assert len(filmed) >= 80
    assert len(made) >= 12


def test_frame_rates_of_filmed_clips_reach_those_of_generators() -> None:
    assert clips.versions(30) == {"published": 1, "8": 4}
    assert clips.versions(25)["8"] == 3
    assert clips.versions(8) == {"published": 1}


@pytest.mark.parametrize("name", controls.MADE)
def test_benign_films_keep_the_size(name: str) -> None:
    frames = list(scene(t=24))
    made = controls.MADE[name](frames)
    assert 0 < len(made) <= len(frames)
    assert {f.shape for f in made} == {frames[0].shape}
    assert {f.dtype for f in made} == {np.dtype(np.uint8)}


# ---------------------------------------------------------------- judging


def motion(d: int, n: int = 3, **changes: Any) -> dict[str, Any]:
    weights = model.load()
    x = np.repeat(weights["centre"][None], n, 0).astype(np.float32)[:, :d]
    times = np.stack([np.arange(n), np.arange(n) + 1.0], 1).astype(np.float64)
    found = {WINDOWS: x, TIMES: times, MOVED: np.full(n, 3.0), FACES: np.zeros(n),
             COUNTS: np.array([250.0, 125.0, 512.0, 2.0])}  # fmt: skip
    return found | changes


@pytest.fixture
def photo(monkeypatch: pytest.MonkeyPatch) -> None:
    class Described:
        picture_class = "photo"
        still = False

    monkeypatch.setattr(detector, "describe", lambda features, media: Described())


def judge(found: dict[str, Any], media: Media | None = None) -> Any:
    return VideoDetector().judge({"motion": found, "domain": {}}, media or film())


@needs_weights
def test_evidence_has_a_timeline_and_a_condition(photo: None) -> None:
    d = len(model.load()["centre"])
    said = judge(motion(d))
    assert said.status in (EvidenceStatus.PRESENT, EvidenceStatus.ABSENT)
    assert said.source == "detector.video"
    assert [s["start_s"] for s in said.details["timeline"]] == [0.0, 1.0, 2.0]
    assert said.details["condition"]["name"] in clips.CONDITIONS
    assert said.details["condition"]["distance"] < 1


@needs_weights
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({COUNTS: np.array([3.0, 3.0, 512.0, 1.0])}, "3 frames"),
        ({COUNTS: np.array([250.0, 125.0, 96.0, 2.0])}, "96 pixels"),
        ({MOVED: np.zeros(3)}, "nothing moves"),
        ({FACES: np.array([0.0, 0.4, 0.5])}, "a face has 40%"),
    ],
)
def test_unfit_films_are_not_judged(photo: None, changes: Any, reason: str) -> None:
    said = judge(motion(len(model.load()["centre"]), **changes))
    assert said.status is EvidenceStatus.ABSTAINED
    assert reason in said.summary


@needs_weights
def test_films_unlike_all_measured_are_not_judged(photo: None) -> None:
    d = len(model.load()["centre"])
    rng = np.random.default_rng(0)
    far = (rng.standard_normal((3, d)) * 1e6).astype(np.float32)
    said = judge(motion(d, **{WINDOWS: far}))
    assert said.status is EvidenceStatus.ABSTAINED
    assert "unlike all films measured" in said.summary


@needs_weights
@pytest.mark.parametrize("picture", ["drawn", "screen", "cgi", "blank"])
def test_only_films_of_a_camera_are_judged(monkeypatch: pytest.MonkeyPatch, picture: str) -> None:
    class Described:
        picture_class = picture
        still = False

    monkeypatch.setattr(detector, "describe", lambda features, media: Described())
    said = judge(motion(len(model.load()["centre"])))
    assert said.status is EvidenceStatus.ABSTAINED


@needs_weights
@pytest.mark.parametrize(
    "changes",
    [
        {WINDOWS: np.zeros((3, 7), np.float32)},
        {WINDOWS: np.zeros(3, np.float32)},
        {TIMES: np.zeros((2, 2))},
        {MOVED: np.full(3, np.nan)},
        {FACES: np.zeros(4)},
        {COUNTS: np.zeros(2)},
        {MOVED: np.array(["a", "b", "c"])},
    ],
)
def test_hostile_answers_raise(photo: None, changes: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        judge(motion(len(model.load()["centre"]), **changes))


@needs_weights
def test_numbers_that_are_none_raise(photo: None) -> None:
    d = len(model.load()["centre"])
    with pytest.raises(ValueError, match="no number"):
        judge(motion(d, **{WINDOWS: np.full((3, d), np.inf, np.float32)}))
    with pytest.raises(KeyError):
        judge({})


@needs_weights
def test_trees_agree_with_a_walk_by_hand() -> None:
    weights = model.load()
    rng = np.random.default_rng(1)
    z = rng.standard_normal((5, len(weights["centre"]))).astype(np.float32)
    expected = []
    for row in z:
        total = float(weights["trees.base"][0])
        for tree in range(len(weights["trees.feature"])):
            node = 0
            while (of := int(weights["trees.feature"][tree, node])) >= 0:
                low = row[of] <= weights["trees.threshold"][tree, node]
                node = int(weights["trees.left" if low else "trees.right"][tree, node])
            total += float(weights["trees.value"][tree, node])
        expected.append(total)
    assert np.allclose(model.trees(z, weights), expected, atol=1e-4)
