"""Talking faces: what is measured of them, and that nothing is said where nothing was qualified."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe.calibration import Region
from avsafe.faces import GROUPS, Landmarks
from avsafe.faces.alignment import upright
from avsafe.types import EvidenceStatus, Kind, Media, VideoStream
from avsafe_detectors.audio_visual.lips import Talk
from avsafe_detectors.domain import Domain
from avsafe_detectors.talking import detector, material, measures, model
from avsafe_detectors.talking.detector import Talking
from avsafe_detectors.talking.regions import FIGURES, REGIONS, Regions, haar

COUNT = 150
FACE = upright(200).astype(np.float32) + np.float32(100)


def media() -> Media:
    video = VideoStream("h264", 400, 400, Fraction(25), None, 6.0, "yuv420p")
    return Media(Path("clip.mp4"), "", 1, "mp4", "video/mp4", Kind.VIDEO, video, None, 6.0)


def features(**changes: Any) -> dict[str, Any]:
    looks = COUNT // 5
    return {
        "points": np.tile(FACE[None], (COUNT, 1, 1)),
        "doubt": np.zeros(COUNT, np.float32),
        "faces": np.ones(COUNT, np.int16),
        "change": np.ones(COUNT, np.float32),
        "cuts": np.zeros(0, np.int32),
        "mono16k": np.zeros(0, np.int16),
        "regions": np.zeros((looks, len(REGIONS), len(FIGURES)), np.float32),
        "at": np.arange(looks, dtype=np.int32) * 5,
        "clip": np.array([25.0, 400, 400, 6.0]),
    } | changes


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    def judged(about: dict[str, Any] | None = None, **changes: Any) -> Any:
        blank = dict.fromkeys(Domain.__dataclass_fields__)
        known = {"picture_class": "photo", "still": False, "total_kbps": 600.0} | (about or {})
        monkeypatch.setattr(detector.domain, "describe", lambda f, m: Domain(**blank | known))  # type: ignore[arg-type]
        return Talking().judge({"talking": features(**changes), "domain": {}}, media())

    return judged


@pytest.mark.parametrize(
    ("about", "changes", "reason"),
    [
        ({"picture_class": "drawn"}, {}, "drawn"),
        ({"picture_class": "blank"}, {}, "blank"),
        ({"still": True}, {}, "nothing moves"),
        ({}, {"points": np.full((COUNT, 152, 2), np.nan, np.float32)}, "no face"),
        ({}, {"points": np.tile(FACE[None] / 4, (COUNT, 1, 1))}, "too small"),
        ({}, {"clip": np.array([10.0, 400, 400, 15.0])}, "10 frames a second"),
        ({}, {"clip": np.array([1000.0, 400, 400, 0.1])}, "0.1 s"),
        ({}, {"cuts": np.arange(1, COUNT, 20, dtype=np.int32)}, "no cut"),
        ({}, {"faces": np.full(COUNT, 2, np.int16)}, "one face"),
    ],
)
def test_what_was_not_measured_is_not_judged(
    say: Any, about: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    found = say(about, **changes)
    assert found.status is EvidenceStatus.ABSTAINED
    assert reason in found.summary


@pytest.mark.parametrize(
    "changes",
    [
        {"regions": np.zeros((3, 4, 10), np.float32)},
        {"regions": np.zeros((30, 4, 9), np.float32)},
        {"points": np.zeros((COUNT, 2), np.float32)},
        {"clip": np.array([math.nan, 1, 1, 1])},
    ],
)
def test_features_that_are_none_raise(say: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        say(**changes)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e9])
def test_wild_looks_are_never_flagged(say: Any, value: float) -> None:
    regions = np.full((30, len(REGIONS), len(FIGURES)), value, np.float32)
    assert say(regions=regions).status is not EvidenceStatus.PRESENT


def test_a_condition_that_measurement_refused_is_not_used(
    say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, arrays, region = model.loaded()
    wide = Region(region.centre, region.axes, region.spread, region.residual, 1e9)
    weak = tuple(replace(c, where={**c.where, "auc_low": 0.55}) for c in known.conditions)
    good = tuple(replace(c, where={**c.where, "auc_low": 0.65}, threshold=1e3)
                 for c in known.conditions)  # fmt: skip
    monkeypatch.setattr(model, "loaded", lambda: (replace(known, conditions=weak), arrays, wide))
    found = say()
    assert found.status is EvidenceStatus.ABSTAINED
    assert "refused by measurement" in found.summary
    assert "0.55" in found.summary
    monkeypatch.setattr(model, "loaded", lambda: (replace(known, conditions=good), arrays, wide))
    judged = say()
    assert judged.status is EvidenceStatus.ABSENT
    assert judged.calibration_id == known.calibration_id
    assert len(judged.details["timeline"]) == 1
    near = Region(region.centre, region.axes, region.spread, region.residual, 1e-9)
    monkeypatch.setattr(model, "loaded", lambda: (replace(known, conditions=good), arrays, near))
    assert "as far from" in say().summary


def test_what_ships_was_refused_and_abstains(say: Any) -> None:
    known, _, _ = model.loaded()
    assert all(detector.refused(condition) for condition in known.conditions)
    found = say()
    assert found.status is EvidenceStatus.ABSTAINED
    assert "refused by measurement (AUC on people and systems left out" in found.summary
    assert found.llr is None


# ---------------------------------------------------------------- pixels


def looked_at(frames: list[Any]) -> Any:
    regions = Regions()
    for number, frame in enumerate(frames):
        regions.take(frame, Landmarks(FACE), number, first=number % 2 == 0)
    return regions.whole()


def noise(sigma: float, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    flat = np.full((400, 400, 3), 120.0)
    return np.clip(flat + rng.normal(0, sigma, (400, 400, 1)), 0, 255).astype(np.uint8)


def of(rows: Any, region: str, figure: str) -> float:
    return float(rows[0, REGIONS.index(region), FIGURES.index(figure)])


def test_detail_of_the_finest_scale_is_what_it_is() -> None:
    checks = np.indices((8, 8)).sum(0) % 2 * 2.0
    diagonal, upright_, rest = haar(checks.astype(np.float32))
    assert np.abs(diagonal).min() == 2.0
    assert np.abs(upright_).max() == 0.0
    assert np.all(rest == 1.0)


def test_a_mouth_without_noise_is_seen_against_the_rest() -> None:
    frame = noise(6)
    remade = material.remade([frame, frame], np.stack([FACE, FACE]), "low")
    before, _ = looked_at([frame, frame])
    after, _ = looked_at(remade)
    assert of(after, "mouth", "fine") < of(before, "mouth", "fine") - 1.0
    assert abs(of(after, "upper", "fine") - of(before, "upper", "fine")) < 0.05
    assert of(before, "mouth", "stays") == pytest.approx(1.0)


def test_noise_that_is_new_in_every_frame_does_not_stay() -> None:
    rows, at = looked_at([noise(6, 1), noise(6, 2), noise(6, 3)])
    assert at.tolist() == [0]
    assert abs(of(rows, "upper", "stays")) < 0.2
    assert of(rows, "upper", "noise") > math.log(1.0)


def test_regions_outside_the_picture_have_no_figures() -> None:
    regions = Regions()
    away = Landmarks(FACE - np.float32(1000))
    for number in range(2):
        regions.take(noise(3), away, number, first=number == 0)
    rows, _ = regions.whole()
    assert np.isnan(rows).all()


@pytest.mark.parametrize("how", material.REMADE)
def test_a_remade_film_changes_the_face_and_little_else(how: str) -> None:
    frames = [noise(8, k) for k in range(3)]
    made = material.remade(frames, np.stack([FACE] * 3), how)
    x0, y0 = (int(v) - 30 for v in FACE.min(0))
    x1, y1 = (int(v) + 30 for v in FACE.max(0))
    difference = np.abs(made[1].astype(int) - frames[1]).sum(2)
    assert difference[y0:y1, x0:x1].sum() > 0
    difference[y0:y1, x0:x1] = 0
    assert difference.sum() == 0


# ---------------------------------------------------------------- motion


def moved(change: Any) -> dict[str, float]:
    points = np.tile(FACE[None], (COUNT, 1, 1)).astype(np.float32)
    change(points)
    values = measures.motion(Talk.of(features(points=points)))
    return dict(zip(measures.MOTION, values.tolist(), strict=True))


def shut(points: Any, at: int) -> None:
    for side in ("left_eye", "right_eye"):
        eye = list(GROUPS[side])
        points[at : at + 4, eye, 1] = points[0, eye, 1].mean()


def test_blinks_are_counted() -> None:
    def twice(points: Any) -> None:
        shut(points, 30)
        shut(points, 90)

    assert moved(twice)["blinks_per_minute"] == pytest.approx(20.0)
    assert moved(lambda p: None)["blinks_per_minute"] == 0.0


def test_smooth_and_shaking_heads_differ() -> None:
    rng = np.random.default_rng(0)
    swing = np.sin(np.arange(COUNT) * 0.1)

    def turning(points: Any) -> None:
        points[:, :, 0] += (points[0, :, 1] - 200)[None] * 0.1 * swing[:, None]

    def shaking(points: Any) -> None:
        points[:, :, 0] += (points[0, :, 1] - 200)[None] * 0.1 * rng.standard_normal((COUNT, 1))

    assert moved(turning)["turn_jerk"] < 0.3 < 1.2 < moved(shaking)["turn_jerk"]
    assert moved(turning)["turn_fast"] < 0.1 < 0.4 < moved(shaking)["turn_fast"]


def test_too_short_a_stretch_has_no_figures() -> None:
    talk = Talk.of(features())
    assert np.isnan(measures.motion(talk.part(0, 40))).all()
    assert np.isnan(measures.pixels(np.zeros((2, 4, 10)))).all()


def test_the_model_learns_what_separates_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, len(measures.NAMES)))
    families = ["real"] * 60 + ["a"] * 30 + ["b"] * 30
    x[60:, model.USED[0]] += 3
    arrays = model.learned(x, families, [str(i) for i in range(120)])
    scores = model.scored(x, arrays)
    assert (scores[:60, None] < scores[None, 60:]).mean() > 0.95
    assert int(np.abs(arrays["slope"]).argmax()) == 0
    assert np.isfinite(model.scored(np.full((1, x.shape[1]), np.nan), arrays)).all()
