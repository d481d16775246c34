"""Metrics of talking heads on clips of people: what they say of known clips and known damage.

Tracking costs 10 to 20 ms a frame, so few clips are looked at, once. The wider figures are in
reports/talking_metrics.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import MissingExtra
from avsafe.faces import MESH_INDEX, FaceTrack, eye_opening, mouth_opening, track
from avsafe.media.replay import Replay
from avsafe.testing import measured
from avsafe.types import Gathered, Kind, RawMedia
from avsafe_metrics.talking.blink import blink_statistics, blinks
from avsafe_metrics.talking.face_coverage import FaceCoverage, face_coverage
from avsafe_metrics.talking.face_geometry import geometry_drift
from avsafe_metrics.talking.head_pose import head_motion
from avsafe_metrics.talking.mouth_motion import mouth_motion
from avsafe_metrics.talking.tracks import track_of


@pytest.fixture(scope="module", autouse=True)
def _weights() -> None:
    from avsafe.faces import detector_weights

    try:
        detector_weights()
    except MissingExtra as missing:
        pytest.skip(str(missing))


def frames_of(path: Path, count: int) -> list[np.ndarray]:
    if not path.is_file():
        pytest.skip(f"no shared test media: {path.name}")
    clip = media.play(path, pictures=("rgb",), samples=False)
    found = []
    for piece in clip:
        found.append(piece.rgb)
        if len(found) == count:
            break
    return found


@pytest.fixture(scope="module")
def grid(shared_media):
    """Two speakers of the GRID corpus: frames and tracks, 50 frames each."""
    found = {}
    for name in ("grid_lwbsza", "grid_bbaf2n"):
        frames = frames_of(shared_media / "real_talking" / f"{name}.mpg", 50)
        found[name] = (frames, track(frames, 25))
    return found


@pytest.fixture(scope="module")
def blinker(shared_media):
    """A clip in which MediaPipe's points see nine blinks: our track and its own, at 25 a second."""
    file = shared_media / "talking_crops" / "sadtalker_aoc.mp4"
    frames = frames_of(file, 200)
    with np.load(file.with_suffix(".npz"), allow_pickle=False) as stored:
        assert tuple(stored["mesh_index"].tolist()) == MESH_INDEX
        points = np.cumsum(stored["landmarks_delta"].astype(np.int64), 0)[: len(frames)] / 16
    return track(frames, 25), points.astype(np.float32)


def test_speakers_are_covered_and_move(grid):
    for _, found in grid.values():
        assert face_coverage(found) == {"": 1.0, "seen": 1.0, "people": 1.0}
        assert track_of(Gathered(len(found), found), 1.0) is found
        pose, mouth = head_motion(found), mouth_motion(found)
        assert pose["yaw_sd"] < 5
        assert 0.1 < mouth["range"] < 0.8
        assert mouth["moving"] > 0.4


def test_a_frozen_face_stops(grid):
    """The first frame again and again, under grain: nothing that moved moves."""
    frames, moving = grid["grid_lwbsza"]
    rng = np.random.default_rng(0)
    still = [
        np.clip(frames[0] + rng.normal(0, 2, frames[0].shape), 0, 255).astype(np.uint8)
        for _ in range(30)
    ]
    found = track(still, 25)
    assert mouth_motion(found)["moving"] == 0.0
    assert mouth_motion(found)["range"] < 0.2 * mouth_motion(moving)["range"]
    assert head_motion(found)["speed_deg_s"] < 0.6 * head_motion(moving)["speed_deg_s"]
    assert head_motion(found)["speed_deg_s"] < 3


def test_another_speaker_in_the_second_half_is_told(grid):
    (_, one), (_, other) = grid.values()
    own = [geometry_drift(found.points) for found in (one, other)]
    joined = geometry_drift(np.concatenate([one.points[:25], other.points[25:]]))
    assert joined > 2 * max(own), (own, joined)


def test_a_turned_picture_turns_the_roll(grid):
    """Frames that turn by 20 degrees over the clip: the roll's range grows by about 18."""
    import cv2

    frames, before = grid["grid_bbaf2n"]
    height, width = frames[0].shape[:2]
    turned = []
    for index, frame in enumerate(frames):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -20 * index / len(frames), 1.0)
        turned.append(cv2.warpAffine(frame, matrix, (width, height)))
    after = track(turned, 25)
    grown = head_motion(after)["roll_range"] - head_motion(before)["roll_range"]
    assert grown == pytest.approx(18, abs=2.5)
    assert head_motion(after)["roll_sd"] == pytest.approx(20 / 12**0.5, abs=1.0)


def test_blinks_against_mediapipe(blinker):
    """Nine blinks in 8 s by MediaPipe's points; at least seven of them, and one false at most."""
    ours, points = blinker
    count = len(points)
    theirs = FaceTrack(
        points, points, np.zeros(count, "f4"), np.ones(count, int), np.ones(count, bool), (),
        Fraction(25),
    )  # fmt: skip
    left, right = eye_opening(points)
    truth = blinks((left + right) / 2, 25.0)
    assert len(truth) == 9
    left, right = eye_opening(ours.points)
    found = blinks((left + right) / 2, 25.0)
    caught = sum(any(a < d and c < b for a, b in found) for c, d in truth)
    false = sum(not any(a < d and c < b for c, d in truth) for a, b in found)
    assert caught >= 7
    assert false <= 1
    lengths = [blink_statistics(each)["duration_ms"] for each in (ours, theirs)]
    assert lengths[0] == pytest.approx(lengths[1], abs=60)


def test_the_mouth_against_mediapipe(blinker):
    ours, points = blinker
    r = np.corrcoef(mouth_opening(ours.points), mouth_opening(points))[0, 1]
    assert r > 0.85
    assert mouth_motion(ours)["moving"] > 0.8


def test_scenery_has_no_face(shared_media):
    frames = frames_of(shared_media / "real_general" / "sam2_cups.mp4", 4)
    height, width = frames[0].shape[:2]
    raw = RawMedia(Kind.VIDEO, Replay(lambda: iter(frames)), Fraction(25), 4, width, height)
    assert measured(FaceCoverage(), raw).values["face_coverage"] == 0.0
