"""Metrics of a talking head on landmark tracks that were made: turns, blinks and mouths are known.

The faces are avsafe.faces' mean face in three dimensions, turned by scipy's rotations; clips of
people are in tests/integration/test_metric_talking_media.py.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from avsafe.errors import MissingExtra, Unscorable
from avsafe.faces import GROUPS, Face, FaceTrack, eye_opening, mouth_opening
from avsafe.faces.alignment import template
from avsafe.media.replay import Replay
from avsafe.testing import check_metric, measured, sound_only, textured_clip
from avsafe.types import Clip, Gathered, Kind, RawMedia, Sample, Shape
from avsafe_metrics.talking import face_embedding, speech_motion
from avsafe_metrics.talking.blink import Blink, blink_statistics, blinks
from avsafe_metrics.talking.face_coverage import FaceCoverage, face_coverage
from avsafe_metrics.talking.face_geometry import FIRM, FaceGeometryDrift, geometry_drift, own_shape
from avsafe_metrics.talking.head_pose import HeadPoseMotion, head_motion
from avsafe_metrics.talking.identity_consistency import IdentityConsistency
from avsafe_metrics.talking.identity_similarity import IdentitySimilarity
from avsafe_metrics.talking.mouth_motion import MouthMotion, mouth_motion
from avsafe_metrics.talking.speech_motion import SpeechMotion

RATE = 25


def another(seed: int, size: float = 0.03) -> np.ndarray:
    """The face of somebody else: every point of the mean face elsewhere, smoothly, by about
    ``size`` eye distances."""
    rng = np.random.default_rng(seed)
    face = template().astype(np.float64)
    centres = face[rng.integers(0, len(face), 12)]
    near = np.exp(-np.sum((face[:, None] - centres) ** 2, -1) / (2 * 0.4**2))
    moved = near @ rng.standard_normal((12, 3))
    return face + size * moved / moved.std()


def turned(degrees: np.ndarray):
    """Rz(roll) Ry(-yaw) Rx(pitch), by scipy."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("ZYX", degrees[:, [2, 0, 1]] * [1, -1, 1], degrees=True)


def made(
    degrees: np.ndarray,
    *,
    face: np.ndarray | None = None,
    lids: np.ndarray | None = None,
    mouth: np.ndarray | None = None,
    noise_px: float = 0.0,
    rate: int = RATE,
    seed: int = 0,
) -> FaceTrack:
    """A track of a head turned by (t, 3) yaw, pitch, roll, 80 px between the eyes; ``lids`` (t,)
    closes the eyes (0 as they are, 1 shut), ``mouth`` (t,) parts the lips by eye distances."""
    count = len(degrees)
    shape = template().astype(np.float64) if face is None else face
    points = np.repeat(shape[None], count, 0)
    for index in range(count):
        if lids is not None:
            for group in ("left_eye", "right_eye"):
                row = list(GROUPS[group])
                eye = points[index, row].copy()
                for k in range(1, 8):
                    low, high = eye[k], eye[16 - k]
                    points[index, row[16 - k]] = high + lids[index] * (low - high)
        if mouth is not None:
            for group in ("lips_inner", "lips_outer"):
                points[index, list(GROUPS[group])[1:10], 1] += mouth[index]
    turns = turned(degrees).as_matrix()
    flat = 80 * np.einsum("tnk,tjk->tnj", points, turns[:, :2]) + [320, 240]
    flat += np.random.default_rng(seed).normal(0, noise_px, flat.shape)
    return whole(flat.astype(np.float32), rate)


def whole(points: np.ndarray, rate: int = RATE, cuts: tuple[int, ...] = ()) -> FaceTrack:
    count = len(points)
    seen = np.isfinite(points[:, 0, 0])
    return FaceTrack(
        points, points, np.where(seen, 0.03, np.nan).astype(np.float32), seen.astype(np.int64),
        np.ones(count, bool), cuts, Fraction(rate),
    )  # fmt: skip


def still(count: int = 150) -> np.ndarray:
    return np.zeros((count, 3))


def of_track(metric, track: FaceTrack | None, mono: np.ndarray | None = None):
    """What a metric says of a track: its values, or the reason."""
    shape = Shape(Kind.VIDEO, 640, 480, Fraction(RATE), rate_hz=16000, channels=1)
    meter = metric.open(Clip(Sample("made", {}), shape))
    try:
        return dict(meter.finish(Gathered(0 if track is None else len(track), track, mono)))
    except Unscorable as reason:
        return str(reason)


# ---------------------------------------------------------------- head pose


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sweep_has_its_range_and_its_speed(axis):
    """From -20 to 20 degrees in 6 s on one axis: 36 degrees between percentiles, 6.7 a second."""
    degrees = still()
    degrees[:, axis] = np.linspace(-20, 20, 150)
    found = head_motion(made(degrees))
    for place, name in enumerate(("yaw", "pitch", "roll")):
        wanted = 36.0 if place == axis else 0.0
        assert found[f"{name}_range"] == pytest.approx(wanted, abs=0.2)
        assert found[f"{name}_sd"] == pytest.approx(40 / 12**0.5 if wanted else 0, abs=0.3)
    assert found["speed_deg_s"] == pytest.approx(40 / 149 * RATE, rel=0.02)


def test_turns_on_two_axes_add_as_rotations_do():
    degrees = still()
    degrees[:, 0] = 15 * np.sin(np.arange(150) / 20)
    degrees[:, 2] = 10 * np.cos(np.arange(150) / 15)
    turns = turned(degrees)
    wanted = np.degrees((turns[:-5].inv() * turns[5:]).magnitude()).mean() / 0.2
    assert head_motion(made(degrees))["speed_deg_s"] == pytest.approx(wanted, rel=0.01)


def test_a_still_head_under_jitter_is_slow():
    """Noise of 1 % of the eye distance: below what heads do, and the ranges stay small."""
    found = head_motion(made(still(), noise_px=0.8))
    assert found["speed_deg_s"] < 6
    assert found["roll_range"] < 2
    assert found["yaw_range"] < 4


def test_a_cut_is_no_turn():
    degrees = still()
    degrees[75:, 0] = 30.0
    track = made(degrees)
    assert head_motion(whole(track.points, cuts=(75,)))["speed_deg_s"] == pytest.approx(0, abs=0.01)
    assert head_motion(track)["speed_deg_s"] > 0.5


# ---------------------------------------------------------------- blinks


def lids_of(starts_s: list[float], seconds: float, rate: int, length_s: float = 0.24) -> np.ndarray:
    """Lids that close and open along a raised cosine; half depth lasts half of ``length_s``."""
    t = np.arange(round(seconds * rate)) / rate
    lids = np.zeros(len(t))
    for start in starts_s:
        inside = (t >= start) & (t <= start + length_s)
        lids[inside] = 0.5 - 0.5 * np.cos(2 * np.pi * (t[inside] - start) / length_s)
    return lids


@pytest.mark.parametrize("rate", [25, 50])
def test_known_blinks_are_counted_and_timed(rate):
    starts = [1.0, 2.5, 4.1, 6.0, 8.2]
    track = made(still(10 * rate), lids=lids_of(starts, 10, rate, 0.32), rate=rate)
    found = blink_statistics(track)
    assert found["count"] == 5
    assert found["per_minute"] == pytest.approx(30)
    assert found["duration_ms"] == pytest.approx(160, abs=1000 / rate + 1)
    assert blink_statistics(made(still(10 * rate), rate=rate))["count"] == 0


def test_blinks_under_turns_and_jitter():
    degrees = still(300)
    degrees[:, 0] = 15 * np.sin(np.arange(300) / 40)
    degrees[:, 1] = 8 * np.sin(np.arange(300) / 25)
    starts = [1.0, 3.0, 5.5, 7.7, 10.0]
    track = made(degrees, lids=lids_of(starts, 12, RATE, 0.28), noise_px=0.8)
    assert blink_statistics(track)["count"] == 5
    assert blink_statistics(made(degrees, noise_px=0.8))["count"] == 0


def test_half_blinks_long_looks_down_and_twitches_are_not_counted():
    eye = np.full(250, 0.3)
    half, shut, twitch = eye.copy(), eye.copy(), eye.copy()
    half[100:105] = 0.23
    shut[100:140] = 0.03  # 1.6 s: a closed eye
    twitch[100] = 0.03  # one frame: 40 ms
    assert blinks(half, 25.0) == blinks(shut, 25.0) == blinks(twitch, 25.0) == []
    double = eye.copy()
    double[100:104] = double[108:112] = 0.03
    assert blinks(double, 25.0) == [(100, 104), (108, 112)]
    edge = eye.copy()
    edge[:4] = edge[-4:] = 0.03  # their length is not known
    assert blinks(edge, 25.0) == []


# ---------------------------------------------------------------- mouth


def test_mouth_range_is_that_of_the_opening():
    t = np.arange(150) / RATE
    mouth = 0.1 * (1 - np.cos(2 * np.pi * 4 * t))  # four syllables a second
    track = made(still(), mouth=mouth)
    found = mouth_motion(track)
    opening = mouth_opening(track.points)
    low, high = np.percentile(opening, (5, 95))
    assert found["range"] == pytest.approx(high - low, abs=1e-9)
    assert found["range"] > 0.2
    assert found["moving"] == 1.0
    assert found["sd"] == pytest.approx(np.std(opening), abs=1e-9)
    assert found["mean"] == pytest.approx(np.mean(opening), abs=1e-9)
    closed = mouth_motion(made(still()))
    assert found["mean"] - closed["mean"] == pytest.approx(found["range"] / 2, rel=0.1)
    double = mouth_motion(made(still(), mouth=2 * mouth))
    assert double["sd"] == pytest.approx(2 * found["sd"], rel=0.05)
    assert double["range"] == pytest.approx(2 * found["range"], rel=0.05)
    frozen = mouth_motion(made(still(), noise_px=0.8))
    assert frozen["moving"] < 0.1
    assert frozen["range"] < 0.04


def test_half_of_the_time():
    mouth = np.zeros(200)
    mouth[100:] = 0.1 * (1 - np.cos(2 * np.pi * 4 * np.arange(100) / RATE))
    assert mouth_motion(made(still(200), mouth=mouth))["moving"] == pytest.approx(0.5, abs=0.04)


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    n = round(seconds * 16000)
    return (level * np.random.default_rng(0).standard_normal(n)).astype(np.float32)


def test_a_mouth_that_moves_in_speech_and_one_that_does_not():
    """3 s of sound, 3 s without: the mouth moves with it, against it, or never."""
    moves = 0.1 * (1 - np.cos(2 * np.pi * 4 * np.arange(75) / RATE))
    rests = np.zeros(75)
    mono = np.concatenate([noise(3), noise(3, 1e-4)])
    wanted = {"with": (1, 0), "against": (0, 1), "never": (0, 0)}
    mouths = {"with": (moves, rests), "against": (rests, moves), "never": (rests, rests)}
    for name, parts in mouths.items():
        found = of_track(SpeechMotion(), made(still(), mouth=np.concatenate(parts)), mono)
        assert found["loud"] == pytest.approx(wanted[name][0], abs=0.08), name
        assert found["quiet"] == pytest.approx(wanted[name][1], abs=0.08), name


def test_short_pauses_belong_to_speech():
    mono = np.concatenate([noise(0.5), noise(0.1, 1e-4), noise(0.5), noise(0.4, 1e-4)])
    found = speech_motion.loud(mono)
    assert found[:55].all()
    assert not found[56:].any()


def test_silence_and_short_sound_are_reasons():
    track = made(still())
    assert of_track(SpeechMotion(), track, np.zeros(96000, np.float32)) == "the sound is silent"
    assert of_track(SpeechMotion(), track, np.zeros(3, np.float32)) == "the sound is silent"
    found = of_track(SpeechMotion(), track, noise(0.5))
    assert all("less than 1 s" in value for value in found.values())
    found = of_track(SpeechMotion(), track, noise(6))
    assert "less than 1 s of quiet time" in found["quiet"]
    assert found["loud"] == 0.0  # a frozen face under speech


# ---------------------------------------------------------------- geometry


def turning(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(count) / RATE
    return np.stack(
        [a * np.sin(2 * np.pi * f * t + p) for a, f, p in zip((10, 6, 5), rng.uniform(0.1, 0.5, 3),
                                                             rng.uniform(0, 6, 3), strict=True)], 1
    )  # fmt: skip


def test_own_shape_forgets_turn_place_and_size():
    for face in (template().astype(np.float64), another(1)):
        shapes = own_shape(made(np.zeros((1, 3)), face=face).points)
        leaning = made(np.array([[0.0, 0.0, 25.0]]), face=face).points * 0.4 + [50, -9]
        np.testing.assert_allclose(own_shape(leaning), shapes, atol=1e-3)
    assert np.abs(own_shape(made(still(1)).points)).max() < 1e-5


def test_another_face_in_the_second_half_is_told():
    """Swaps of ten pairs against the same ten faces throughout, all turning, with jitter."""
    same, swapped, late = [], [], []
    for seed in range(10):
        one, two = (
            made(turning(150, 10 * seed + k), face=another(seed + 20 * k), noise_px=0.8, seed=seed)
            for k in (0, 1)
        )
        same.append(geometry_drift(one.points))
        swapped.append(geometry_drift(np.concatenate([one.points[:75], two.points[75:]])))
        late.append(geometry_drift(np.concatenate([one.points[:112], two.points[112:]])))
    assert max(same) < min(swapped)
    assert np.median(swapped) > 2 * np.median(same)
    assert np.median(late) == pytest.approx(np.median(swapped) / 2, rel=0.3)


def test_drift_has_the_size_of_the_change():
    """Without turn and jitter it is the distance of the two own shapes, to the digit."""
    faces = [another(1), another(2)]
    halves = [made(still(50), face=face).points for face in faces]
    apart = own_shape(halves[0])[0] - own_shape(halves[1])[0]
    wanted = 100 * np.sqrt(np.mean(np.sum(apart**2, 1)))
    assert geometry_drift(np.concatenate(halves)) == pytest.approx(wanted, rel=1e-4)
    assert wanted > 1
    assert len(FIRM) == len(set(FIRM)) == 47


def test_talking_and_blinking_are_no_drift():
    mouth = np.zeros(150)
    mouth[75:] = 0.2
    lids = lids_of([4.0, 5.0], 6, RATE)
    assert geometry_drift(made(still(), mouth=mouth, lids=lids).points) < 1e-3


# ---------------------------------------------------------------- coverage, and when there is none


def holes(track: FaceTrack, where: slice) -> FaceTrack:
    points = track.points.copy()
    points[where] = np.nan
    return whole(points)


def test_coverage_counts_frames():
    track = holes(made(still(100)), slice(0, 30))
    found = face_coverage(track)
    assert found == {"": 0.7, "seen": 0.7, "people": 1.0}
    assert face_coverage(made(still(100))) == {"": 1.0, "seen": 1.0, "people": 1.0}
    several = FaceTrack(**{**vars(track), "faces": np.where(np.arange(100) < 50, 2, 1)})
    assert face_coverage(several) == {"": 0.5, "seen": 0.7, "people": 2.0}


METRICS = [HeadPoseMotion(), Blink(), MouthMotion(), SpeechMotion(), FaceGeometryDrift()]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.info.name)
def test_reasons(metric):
    mono = noise(6)
    track = made(still(), mouth=0.1 * np.sin(np.arange(150)))
    assert isinstance(of_track(metric, track, mono), dict)
    assert of_track(metric, holes(track, slice(None)), mono) == "no face in 150 frames"
    assert of_track(metric, holes(track, slice(0, 80)), mono) == "no face in 80 of 150 frames"
    assert "px between the eyes" in of_track(metric, whole(track.points * 0.2), mono)
    assert "expected at least" in of_track(metric, whole(track.points[:12]), mono)
    crowd = FaceTrack(**{**vars(track), "faces": np.full(150, 3)})
    assert "several people: up to 3 faces" in of_track(metric, crowd, mono)
    assert of_track(metric, whole(track.points[:0]), mono) == "no face was looked for"
    assert of_track(metric, None, mono) == "no face was looked for"


def test_blinks_need_frames():
    slow = made(still(100), rate=10)
    assert of_track(Blink(), slow) == "10 frames a second; a blink needs 15"
    assert of_track(Blink(), made(still()))["duration_ms"] == "no blink"


def test_scenery_through_the_pass():
    """Through the driver, with the tracker: a number for coverage, a reason for all others."""
    try:
        from avsafe.faces import detector_weights

        detector_weights()
    except MissingExtra as missing:
        pytest.skip(str(missing))
    raw = textured_clip(0.4, 96, 64)
    assert check_metric(FaceCoverage(), raw).values == {
        "face_coverage": 0.0, "face_coverage.seen": 0.0, "face_coverage.people": 0.0
    }  # fmt: skip
    for metric in METRICS:
        assert set(measured(metric, raw).values.values()) == {"no face in 10 frames"}
    assert measured(METRICS[0], sound_only(0.5)).values["head_pose.yaw_sd"] == (
        "the clip has no pictures"
    )


# ---------------------------------------------------------------- embedding networks that are given


def test_openings_of_the_made_face():
    """The tracks above are faces: eyes open or shut, the mouth nearly closed."""
    track = made(still(2), lids=np.array([0.0, 1.0]))
    opened, shut = np.mean(eye_opening(track.points), 0)
    assert opened > 0.2
    assert shut < 0.05


@pytest.fixture
def network(tmp_path):
    """An ONNX network whose features are the mean colour of the crop's middle, to be known."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "mean",
        [helper.make_tensor_value_info("x", kind, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "mean.onnx"
    onnx.save(model, str(path))
    return {"face": str(path)}


FIVE = np.array([(60, 60), (100, 60), (80, 85), (65, 105), (95, 105)], np.float32)
GREY, RED, CYAN = (200, 200, 200), (250, 10, 10), (10, 250, 250)


@pytest.fixture
def seen(monkeypatch):
    """Stands for the detector: a face in every frame that is not black."""
    monkeypatch.setattr(
        face_embedding, "detect",
        lambda frame: (Face(30, 30, 130, 130, 0.9, FIVE),) if frame.any() else (),
    )  # fmt: skip
    monkeypatch.setattr("avsafe.faces.detector_weights", lambda: None)


def coloured(*colours: tuple[int, ...]) -> RawMedia:
    frames = [np.full((160, 160, 3), colour, np.uint8) for colour in colours]
    return RawMedia(Kind.VIDEO, Replay(lambda: iter(frames)), Fraction(2), len(frames), 160, 160)


@pytest.mark.usefixtures("seen")
def test_identity_follows_the_swap(network):
    """(-1, 0, 0)-like and its opposite: cosines of +1 and -1, and the mean of what is mixed."""
    metric = IdentitySimilarity(weights=network)

    def value(clip, reference):
        return measured(metric, coloured(*clip), coloured(*reference)).values["identity_similarity"]

    assert value([RED] * 4, [RED] * 4) == pytest.approx(1, abs=1e-6)
    assert value([CYAN] * 4, [RED] * 4) == pytest.approx(-1, abs=0.02)
    assert value([RED, RED, RED, CYAN], [RED] * 4) == pytest.approx(0.5, abs=0.02)
    assert value([RED] * 4, [(0, 0, 0)] * 4) == "no face in 4 of 4 frames of the source"
    assert "no face in 2 of 4" in value([RED, RED, (0, 0, 0), (0, 0, 0)], [RED] * 4)


@pytest.mark.usefixtures("seen")
def test_identity_consistency_is_the_mean_over_pairs(network):
    metric = IdentityConsistency(weights=network)

    def value(*clip):
        return measured(metric, coloured(*clip)).values["identity_consistency"]

    assert value(*[RED] * 4) == pytest.approx(1, abs=1e-6)
    # three and three: 6 pairs agree, 9 are opposite
    assert value(*[RED] * 3, *[CYAN] * 3) == pytest.approx((6 - 9) / 15, abs=0.02)
    assert "consistency needs two" in value(RED)
    check_metric(metric, coloured(RED, GREY, RED))


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("kind", [IdentitySimilarity, IdentityConsistency])
def test_a_network_that_gives_no_numbers_gives_no_score(kind):
    class Overflows:
        def vector(self, frame, face):
            return np.array([np.nan, 1.0], np.float32)

    class Given(kind):
        def prepare(self):
            self._embedder = Overflows()

    beside = coloured(RED, RED) if kind.info.beside else None
    found = measured(Given(), coloured(RED, RED), beside).values
    assert set(found.values()) == {"the value is nan"}


@pytest.mark.usefixtures("seen")
def test_a_portrait_stands_beside(network):
    still = RawMedia(Kind.IMAGE, Replay(lambda: coloured(RED).frames.__iter__()), None, 1, 160, 160)
    metric = IdentitySimilarity(weights=network)
    found = measured(metric, coloured(RED, RED, CYAN, CYAN), still).values["identity_similarity"]
    assert found == pytest.approx(0, abs=0.02)


def test_the_crop_lies_where_arcface_wants_it():
    """Against Umeyama's similarity, written out: five points land where they must."""
    rng = np.random.default_rng(0)
    angle, size = 0.4, 1.7
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (face_embedding.PLACES @ turn.T + [70, 40] + rng.normal(0, 1, (5, 2))).astype("f4")
    frame = np.zeros((400, 400, 3), np.uint8)
    for channel, (x, y) in enumerate(points[:3]):  # a dot of its own colour on three points
        ys, xs = np.mgrid[0:400, 0:400]
        frame[..., channel] = 255 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 18)
    crop = face_embedding.face_crop(frame, points).astype(np.float64)
    a, b = points - points.mean(0), face_embedding.PLACES - face_embedding.PLACES.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, np.sign(np.linalg.det(u @ vt))])
    matrix = (u @ sign @ vt) * np.trace(np.diag(s) @ sign) / np.sum(a**2)
    wanted = a @ matrix.T + face_embedding.PLACES.mean(0)
    ys, xs = np.mgrid[0:112, 0:112]
    for channel in range(3):
        weight = crop[..., channel] / crop[..., channel].sum()
        found = ((xs * weight).sum(), (ys * weight).sum())
        assert np.hypot(*(found - wanted[channel])) < 0.2


@pytest.mark.parametrize("kind", [IdentitySimilarity, IdentityConsistency])
def test_absent_embeddings_say_what_to_give(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("avsafe.faces.detector_weights", lambda: None)
    with pytest.raises(MissingExtra, match="it knows nobody"):
        kind().prepare()
    with pytest.raises(MissingExtra, match="there is no file"):
        kind(weights={"face": str(tmp_path / "none.onnx")}).prepare()
    pytest.importorskip("onnxruntime")
    stray = tmp_path / "stray.onnx"
    stray.write_bytes(b"not a network")
    with pytest.raises(MissingExtra, match="no face embedding network"):
        kind(weights={"face": str(stray)}).prepare()


@pytest.mark.usefixtures("seen")
def test_digest_of_the_network(network):
    import hashlib
    from pathlib import Path

    metric = IdentityConsistency(weights=network)
    metric.prepare()
    wanted = hashlib.sha256(Path(network["face"]).read_bytes()).hexdigest()
    assert metric.digests() == {"mean.onnx": wanted}
