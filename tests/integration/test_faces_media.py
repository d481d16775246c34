"""Detection, landmarks and tracking on pictures: drawn faces, noise, and clips of people.

The weights of the detector are not ours: without them these tests skip and print the command.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from avsafe import faces
from avsafe.errors import Cancelled, MissingExtra, UsageError
from avsafe.testing import media_folder


@pytest.fixture(autouse=True)
def _weights() -> None:
    try:
        faces.detector_weights()
    except MissingExtra as missing:
        pytest.skip(str(missing))


def drawn_face(frame: np.ndarray, x: float, y: float, eyes: float, skin: tuple[int, ...]) -> None:
    """A simple shaded portrait around (x, y), ``eyes`` px between its eyes."""
    import cv2

    def spot(dx: float, dy: float, rx: float, ry: float, colour: tuple[int, ...]) -> None:
        centre = (round((x + dx * eyes) * 16), round((y + dy * eyes) * 16))
        axes = (round(rx * eyes * 16), round(ry * eyes * 16))
        cv2.ellipse(frame, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, 4)

    dark = tuple(int(c * 0.75) for c in skin)
    hair = (45, 30, 25)
    spot(0, -0.25, 1.3, 1.55, hair)
    spot(0, 1.5, 0.5, 0.7, dark)
    spot(0, 0.05, 1.08, 1.32, skin)
    spot(0, -1.15, 0.9, 0.35, hair)
    for side in (-1, 1):
        spot(side * 0.5, -0.42, 0.24, 0.13, dark)
        spot(side * 0.5, -0.42, 0.21, 0.10, (245, 245, 245))
        spot(side * 0.5, -0.42, 0.09, 0.09, (50, 35, 30))
        spot(side * 0.5, -0.70, 0.27, 0.05, hair)
        spot(side * 0.12, 0.12, 0.05, 0.035, tuple(int(c * 0.45) for c in skin))
    spot(0, 0.0, 0.1, 0.16, tuple(min(255, int(c * 1.08)) for c in skin))
    spot(0, 0.14, 0.17, 0.06, dark)
    spot(0, 0.60, 0.36, 0.12, (175, 70, 75))
    spot(0, 0.60, 0.28, 0.025, (90, 25, 30))
    # light: falling off to the sides, in the sockets, beside the nose and under it and the lip
    rows, columns = np.mgrid[0 : frame.shape[0], 0 : frame.shape[1]]
    v, u = (rows - y) / eyes, (columns - x) / eyes
    head = np.hypot(u / 1.08, (v - 0.05) / 1.32)
    light = np.where(head < 1, 1 - 0.4 * head**3 - 0.12 * u, 1.0)
    for dx, dy, reach, depth in (
        *((-0.5, -0.5, 0.26, 0.22), (0.5, -0.5, 0.26, 0.22), (0.2, 0.05, 0.14, 0.14)),
        *((0.0, 0.27, 0.14, 0.22), (0.0, 0.82, 0.2, 0.15), (0.0, -0.1, 0.09, -0.12)),
        *((-0.6, 0.2, 0.3, -0.1), (0.6, 0.2, 0.3, -0.08)),
    ):
        light *= 1 - depth * np.exp(-((u - dx) ** 2 + (v - dy) ** 2) / (2 * reach**2))
    near = np.hypot(u, v) < 2.5
    shaded = np.clip(frame * light[..., None], 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(shaded, (0, 0), max(0.5, eyes / 60))
    frame[near] = blurred[near]


DRAWN = 0.3  # the score that docs/faces.md names for drawings
SKINS = ((224, 180, 150), (200, 150, 120), (240, 200, 175), (150, 105, 80), (210, 165, 130))


def five_faces() -> np.ndarray:
    frame = np.full((440, 640, 3), (110, 140, 160), np.uint8)
    places = ((110, 120), (320, 110), (530, 120), (215, 320), (430, 320))
    for (x, y), skin in zip(places, SKINS, strict=True):
        drawn_face(frame, x, y, 52, skin)
    return frame


def test_five_drawn_faces_are_five() -> None:
    found = faces.detect(five_faces())
    assert len(found) == 5
    centres = sorted((round(face.centre[0], -1), round(face.centre[1], -1)) for face in found)
    for (x, y), (cx, cy) in zip(
        sorted(((110, 120), (320, 110), (530, 120), (215, 320), (430, 320))), centres, strict=True
    ):
        assert abs(x - cx) < 20
        assert abs(y - cy) < 30


def test_landmarks_of_a_drawn_face_lie_on_it() -> None:
    frame = np.full((300, 300, 3), (110, 140, 160), np.uint8)
    drawn_face(frame, 150, 150, 70, SKINS[0])
    (face,) = faces.detect(frame, min_score=DRAWN)
    found = faces.landmarks(frame, face)
    truth = np.array([(115, 120.6), (185, 120.6), (150, 155), (125, 192), (175, 192)])
    errors = np.hypot(*(found.five - truth).T) / 70
    assert errors[:2].max() < 0.15, f"eyes: {errors.round(3)}"
    assert errors.max() < 0.3, f"nose and mouth: {errors.round(3)}"
    pose = faces.head_pose(found)
    assert abs(pose.yaw) < 12
    assert abs(pose.roll) < 6


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 4000, 3), (4000, 20, 3), (97, 131, 3)])
@pytest.mark.parametrize("kind", ["black", "noise"])
def test_no_face_in_nothing(shape: tuple[int, int, int], kind: str) -> None:
    frame = np.zeros(shape, np.uint8)
    if kind == "noise":
        frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert faces.detect(frame) == ()


def test_impossible_options_are_refused() -> None:
    with pytest.raises(UsageError, match="max_side"):
        faces.detect(np.zeros((9, 9, 3), np.uint8), max_side=3)
    with pytest.raises(UsageError, match="min_score"):
        faces.detect(np.zeros((9, 9, 3), np.uint8), min_score=0)


# ---------------------------------------------------------------- tracking


def clip(count: int = 30) -> Iterator[np.ndarray]:
    """A face that moves 2 px a frame; from frame 20 on, another scene with a face elsewhere."""
    for index in range(count):
        first = index < 20
        frame = np.full((200, 260, 3), (110, 140, 160) if first else (30, 60, 20), np.uint8)
        if not first:
            frame[:, :130] = (200, 210, 90)
        drawn_face(frame, 70 + 2 * index if first else 180, 100, 40, SKINS[0 if first else 2])
        yield frame


def test_track_follows_a_face_and_sees_the_cut() -> None:
    found = faces.track(clip(), 25, min_score=DRAWN)
    assert len(found) == 30
    assert found.seen.mean() > 0.9
    assert found.cuts == (20,)
    assert found.people == 1
    assert found.searched.sum() < 10, "in between, landmarks say where to look"
    assert list(found.runs(5)) == [(0, 20), (20, 30)]
    x = found.points[:20, :, 0].mean(1)
    assert np.polyfit(np.arange(20), x, 1)[0] == pytest.approx(2, abs=0.25)
    assert np.ptp(found.points[21:, :, 0].mean(1)) < 4


def test_track_of_nothing_and_of_no_face() -> None:
    assert len(faces.track([], 25)) == 0
    empty = faces.track([np.zeros((64, 64, 3), np.uint8)] * 6, 25)
    assert not empty.seen.any()
    assert empty.at(0) is None
    assert empty.people == 0


def test_track_stops_when_asked_and_refuses_a_bad_rate() -> None:
    with pytest.raises(Cancelled):
        faces.track(clip(3), 25, cancelled=lambda: True)
    for rate in (0, -1, float("nan"), "fast"):
        with pytest.raises(UsageError, match="frame_rate"):
            faces.track(clip(3), rate)  # type: ignore[arg-type]


# ---------------------------------------------------------------- shared media


def frame_of(path: Path, at: int) -> np.ndarray:
    import cv2

    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_POS_FRAMES, at)
    read, frame = capture.read()
    assert read, path.name
    return np.ascontiguousarray(frame[..., ::-1])


def shared(name: str) -> Path:
    folder = media_folder()
    if folder is None or not (folder / name).is_file():
        pytest.skip(f"no shared test media: {name}")
    return folder / name


@pytest.mark.parametrize(
    "name",
    [
        "real_talking/grid_lwbsza.mpg",
        "real_talking/latentsync_1.mp4",
        "synthetic_loopy/loopy_side_4.mp4",
        "synthetic_loopy/loopy_nonhuman_1.mp4",
    ],
)
def test_one_person_is_one_face(name: str) -> None:
    frame = frame_of(shared(name), 20)
    (face,) = faces.detect(frame)
    found = faces.landmarks(frame, face)
    assert found.doubt < 0.1
    x0, y0, x1, y1 = found.box
    assert abs((x0 + x1) / 2 - face.centre[0]) < 0.25 * face.width
    assert abs((y0 + y1) / 2 - face.centre[1]) < 0.25 * face.height


@pytest.mark.parametrize("name", ["cotracker_bear", "da_dolphins", "intel_bottles", "sam2_cups"])
def test_scenery_has_no_face(name: str) -> None:
    assert faces.detect(frame_of(shared(f"real_general/{name}.mp4"), 20)) == ()


@pytest.mark.parametrize("name", ["grid_lwbsza", "sadtalker_aoc"])
def test_landmarks_of_people_never_seen(name: str) -> None:
    shared(f"talking_crops/{name}.npz")
    from avsafe_generators.train._face_figures import figures
    from avsafe_generators.train.landmarks import read_clips

    clips = read_clips(shared(f"talking_crops/{name}.npz").parent, (name,), 30)
    row = figures(clips, jitter=1.0)["mean"]
    assert row["all"] < 6, row
    assert row["lips"] < 5.5, row
    assert row["mouth correlation"] > 0.4, row
