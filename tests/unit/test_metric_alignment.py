"""Sound against picture: events, onsets, and the adapters to models that users bring."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avsafe import faces, testing
from avsafe.errors import MissingExtra, Unscorable, UsageError
from avsafe.media.replay import Replay
from avsafe.types import GenerationRequest, Kind, Principal, RawMedia, Task
from avsafe_generators.world import World
from avsafe_metrics.sync import shifted_null
from avsafe_metrics.sync.clap_score import ClapScore
from avsafe_metrics.sync.desync import DeSync
from avsafe_metrics.sync.event_sync import EventSync, judge, lag_scores
from avsafe_metrics.sync.event_sync.features import EventFeatures, in_step
from avsafe_metrics.sync.imagebind_score import ImageBindScore
from avsafe_metrics.sync.onset_motion_alignment import (
    OnsetMotionAlignment,
    f1_of,
    pairs,
    shifted_ious,
    sound_events,
)
from avsafe_metrics.sync.sound_onsets import log_mel, onset_strength
from avsafe_metrics.sync.syncnet import (
    SyncNet,
    lag_distances,
    offset_confidence_distance,
    score,
)
from avsafe_metrics.sync.syncnet_input import At25, Crops, FaceBoxes, mfcc, to_int16
from avsafe_metrics.sync.unseen_causes import motion_without_sound, sound_without_motion

FRAME_MS = 40.0


def moving(frames, sound=None, rate=Fraction(25), rate_hz=16000):
    """Media in memory from a list of frames and mono sound."""
    height, width = frames[0].shape[:2]
    return RawMedia(
        Kind.VIDEO, Replay(lambda: iter(frames)), rate, len(frames), width, height,
        samples=None if sound is None else Replay(lambda: iter([sound[None].astype(np.float32)])),
        rate_hz=0 if sound is None else rate_hz, channels=0 if sound is None else 1,
    )  # fmt: skip


def hopping(seconds, times, heard, seed=0, side=96):
    """A square that jumps at ``times`` and clicks at ``heard``, both in seconds."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(60, 200, (24, 24, 3)).astype(np.uint8)
    ground = rng.integers(0, 60, (side, side, 3)).astype(np.uint8)
    frames, x = [], 30
    for index in range(round(seconds * 25)):
        if any(round(time * 25) == index for time in times):
            x = 42 if x == 30 else 30
        picture = ground.copy()
        picture[40:64, x : x + 24] = texture
        frames.append(picture)
    sound = 0.002 * rng.standard_normal(round(seconds * 16000))
    for time in heard:
        start = round(time * 16000)
        click = 0.5 * rng.standard_normal(800) * np.exp(-np.arange(800) / 200)
        stop = min(sound.size, start + 800)
        sound[start:stop] += click[: stop - start]
    return moving(frames, sound)


@pytest.fixture(scope="module")
def bounced():
    """Features of two world clips whose contacts are exact; their seeds served no training."""
    found = []
    for seed, prompt in ((9501, "a wooden ball and a metal cube bouncing in a studio"),
                         (9502, "two stone balls bouncing in the room")):  # fmt: skip
        request = GenerationRequest(
            Principal("test"), Task.TEXT_TO_VIDEO, "world", prompt, seed=seed, width=160,
            height=160, duration_s=5.0, parameters={"frame_rate": 25},
        )  # fmt: skip
        got = testing.measured(EventFeatures(), World().generate(request)).features
        found.append((got["cells"], float(got["rate"][0]), got["sound"]))
    return found


# ---------------------------------------------------------------- event sync


@pytest.mark.parametrize("offset_ms", [0.0, 120.0, -80.0])
def test_flash_and_beep_read_their_offset(offset_ms):
    values = testing.measured(EventSync(), testing.flash_beep_clip(offset_ms, 4.0, 160, 120)).values
    assert values["event_sync.offset_ms"] == pytest.approx(offset_ms, abs=FRAME_MS)


@pytest.mark.parametrize("frames", [-8, -4, 0, 4, 8])
def test_contacts_shifted_by_frames_read_so(bounced, frames):
    """Sound of world clips moved by k frames; the number moves with it, within one frame."""
    for cells, rate, sound in bounced:
        moved = np.roll(sound, round(frames / 25 * 16000))
        judged = judge(lag_scores(*in_step(cells, rate, moved)))
        assert judged.offset_ms == pytest.approx(frames * FRAME_MS, abs=FRAME_MS)


def test_in_sync_drops_when_sound_is_shifted(bounced):
    for cells, rate, sound in bounced:
        here = judge(lag_scores(*in_step(cells, rate, sound)))
        away = judge(lag_scores(*in_step(cells, rate, np.roll(sound, 4800))))  # 300 ms
        assert here.in_sync > 2
        assert here.in_sync > away.in_sync + 2
        assert here.p_value < 0.05 < away.p_value


def test_confidence_stays_when_sound_is_late_and_falls_when_it_is_another_clips(bounced):
    (cells, rate, sound), (_, _, other) = bounced
    own = judge(lag_scores(*in_step(cells, rate, sound)))
    late = judge(lag_scores(*in_step(cells, rate, np.roll(sound, 4800))))  # 300 ms
    assert late.confidence == pytest.approx(own.confidence, abs=1)
    assert own.confidence > 3
    unrelated = judge(lag_scores(*in_step(cells, rate, other)))
    assert unrelated.confidence < own.confidence - 1
    louder = judge(lag_scores(*in_step(cells, rate, 0.5 * sound)))
    assert louder.in_sync == pytest.approx(own.in_sync, abs=0.5), "gain is no matter of time"


def test_unrelated_sound_gives_uniform_p_values(bounced):
    """Sound moved at random, 0.9 s or more from its place in another clip: p is uniform."""
    from scipy.stats import kstest

    rng = np.random.default_rng(5)
    found = []
    (cells, rate, _), (_, _, other) = bounced
    scores = lag_scores(*in_step(cells, rate, other))
    for _ in range(60):
        found.append(shifted_null.p_value(np.roll(scores, rng.integers(scores.size))))
    assert kstest(found, "uniform").pvalue > 0.01
    # noise that knows nothing of the picture, anew each time
    found = []
    for _ in range(24):
        noise = sum(
            np.roll(np.exp(-np.arange(80_000) / 800.0), rng.integers(80_000)) for _ in range(9)
        ) * rng.standard_normal(80_000)
        pooled = shifted_null.best_within(lag_scores(*in_step(cells[:, ::4], rate, 0.2 * noise)), 3)
        found.append(shifted_null.p_value(pooled))
    assert kstest(found, "uniform").pvalue > 0.005


def silent_like(raw):
    n = round(16000 * raw.frame_count / float(raw.frame_rate))
    return replace(raw, samples=Replay(lambda: iter([np.zeros((1, n), np.float32)])),
                   rate_hz=16000, channels=1)  # fmt: skip


def reasons(metric, raw, **given):
    values = testing.measured(metric, raw, **given).values
    assert all(isinstance(value, str) for value in values.values()), values
    return " ".join(set(values.values()))


@pytest.mark.parametrize("metric", [EventSync(), OnsetMotionAlignment()])
def test_what_cannot_be_aligned_is_a_reason(metric):
    flash = testing.flash_beep_clip(0, 3.0, 96, 96)
    assert "0 " in reasons(metric, silent_like(flash))
    still = next(iter(testing.still(96, 96).frames))
    beeps = np.concatenate(list(flash.samples), axis=1)[0][::3]
    standing = reasons(metric, moving([still] * 75, beeps))
    assert "nothing changes" in standing or "0 peaks of motion" in standing
    assert "1 " in reasons(metric, hopping(3.0, [1.5], [1.5]))
    assert "needs 2" in reasons(metric, moving([still] * 25, beeps[:16000]))
    assert "needs 2" in reasons(metric, moving([still], beeps[:640]))
    assert "no sound" in reasons(metric, moving([still] * 75))
    assert "no pictures" in reasons(metric, testing.sound_only(2.0))
    tiny = np.zeros((1, 1, 3), np.uint8)
    reasons(metric, moving([tiny] * 75, beeps))


def test_the_contract_holds():
    raw = hopping(4.0, [0.6, 1.4, 2.0, 3.1], [0.6, 1.4, 2.0, 3.1])
    for metric in (EventSync(), OnsetMotionAlignment()):
        found = testing.check_metric(metric, raw)
        assert all(isinstance(value, float) for value in found.values.values())
    metric = EventSync()
    assert metric.digests() == {}
    metric.prepare()
    assert len(metric.digests()["event_sync"]) == 64


# ---------------------------------------------------------------- onsets and motion


def test_aligned_events_exceed_their_null():
    times = [0.6, 1.1, 2.0, 3.3, 3.8, 5.1]
    good = testing.measured(OnsetMotionAlignment(), hopping(6.0, times, times)).values
    late = [time + 0.3 for time in times]
    bad = testing.measured(OnsetMotionAlignment(), hopping(6.0, times, late)).values
    assert good["onset_motion_alignment.iou"] == pytest.approx(1.0)
    assert good["onset_motion_alignment.f1"] == pytest.approx(1.0)
    assert bad["onset_motion_alignment.iou"] <= 0.1
    assert good["onset_motion_alignment.excess"] > 0.6
    assert good["onset_motion_alignment.p_value"] < 0.05
    assert bad["onset_motion_alignment.excess"] < 0.2
    assert bad["onset_motion_alignment.p_value"] > 0.1


def test_pairs_are_the_most_that_can_be():
    from itertools import permutations

    rng = np.random.default_rng(2)
    for _ in range(20):
        a, b = np.sort(rng.uniform(0, 1, 4)), np.sort(rng.uniform(0, 1, 5))
        most = max(
            sum(abs(x - y) <= 0.1 for x, y in zip(a, order, strict=False))
            for order in permutations(b, 4)
        )
        assert pairs(a, b, 0.1) == most


def test_iou_of_shifts_and_f1():
    ious = shifted_ious(np.array([1.0, 2.0, 3.0]), np.array([1.05, 2.05, 3.5]), 5.0)
    assert ious.size == 250
    assert ious[0] == pytest.approx(2 / 4)
    assert f1_of(float(ious[0])) == pytest.approx(2 * 2 / 6)


def test_onsets_agree_with_librosa():
    librosa = pytest.importorskip("librosa")
    times = [0.5, 1.21, 1.9, 2.73]
    sound = np.concatenate(list(hopping(3.5, [], times).samples), axis=1)[0]
    theirs = librosa.onset.onset_detect(y=sound, sr=16000, units="time", hop_length=160)
    ours = sound_events(sound)
    assert len(ours) == len(times)
    assert np.abs(ours - times).max() <= 0.02
    assert all(np.abs(theirs - time).min() <= 0.04 for time in ours)


def test_a_rise_is_at_the_onset_and_silence_has_none():
    assert not onset_strength(log_mel(np.zeros(8000, np.float32))).any()
    beep = np.zeros(16000)
    beep[8000:] = np.sin(np.arange(8000))
    assert abs(int(np.argmax(onset_strength(log_mel(beep)))) - 50) <= 1


def test_p_values_of_noise_are_uniform():
    from scipy.stats import kstest

    rng = np.random.default_rng(0)
    found = [shifted_null.p_value(rng.standard_normal(200)) for _ in range(200)]
    assert kstest(found, "uniform").pvalue > 0.05


def test_causes_that_are_not_seen():
    sound, motion = np.array([1.0, 2.0, 3.0]), np.array([1.05, 5.0])
    assert sound_without_motion(sound, motion) == pytest.approx(2 / 3)
    assert motion_without_sound(sound, motion) == pytest.approx(1 / 2)
    with pytest.raises(Unscorable):
        sound_without_motion(np.zeros(0), motion)


# ---------------------------------------------------------------- SyncNet, without its weights


def test_offset_of_known_features():
    rng = np.random.default_rng(1)
    sound = rng.standard_normal((80, 32)).astype(np.float32)
    lips = np.roll(sound, 4, axis=0)  # lips four frames after the sound
    offset, confidence, distance = offset_confidence_distance(lag_distances(lips, sound))
    assert offset == 4
    assert confidence > 2 * distance
    unrelated = offset_confidence_distance(
        lag_distances(lips, rng.standard_normal((80, 32)).astype(np.float32))
    )
    assert unrelated[1] < 0.3 * confidence


@pytest.mark.parametrize("frames", [-7, 0, 3, 10])
def test_features_of_known_distance_give_their_offset_confidence_and_distance(frames):
    """Features at right angles, so that any other lag is sqrt 2 away; noise adds to the least."""
    sound = np.eye(90, dtype=np.float32)
    lips = np.roll(sound, frames, axis=0)
    inner = slice(20, 70)  # away from the ends, beyond which features are 0
    offset, confidence, distance = offset_confidence_distance(lag_distances(lips, sound)[inner])
    assert offset == frames
    assert distance == pytest.approx(0, abs=1e-4)
    assert confidence == pytest.approx(2**0.5, abs=1e-3)
    noise = 0.05 * np.random.default_rng(0).standard_normal(lips.shape).astype(np.float32)
    worse = offset_confidence_distance(lag_distances(lips + noise, sound)[inner])
    added = 0.05 * 90**0.5
    assert worse == (
        frames,
        pytest.approx((2 + added**2) ** 0.5 - added, abs=0.03),
        pytest.approx(added, rel=0.05),
    )


def test_mfcc_and_rate():
    assert mfcc(np.zeros(640, np.int16)).shape == (3, 13)
    for rate, shown in ((25.0, 100), (30.0, 83), (50.0, 50), (12.5, 200)):
        clock = At25(rate)
        assert sum(clock.repeats() for _ in range(100)) == pytest.approx(shown, abs=1)


def test_boxes_of_faces_keep_no_points():
    """A view of nothing would hold on to all 152 points of every frame."""
    points = np.full((152, 2), 40.0, np.float32)
    points[0] = 10.0

    class Seen(FaceBoxes):
        def take(self, frame):
            self._points.append(points.copy())

    boxes = Seen(25)
    for _ in range(3):
        assert boxes.box_in(None).tolist() == [10.0, 10.0, 40.0, 40.0]
    assert [(kept.size, kept.base) for kept in boxes._points] == [(0, None)] * 3


def test_every_frame_gives_a_crop():
    frame = np.full((120, 160, 3), 80, np.uint8)
    for published in (False, True):
        made = Crops(published)
        crops = [c for _ in range(9) for c in made.take(frame, np.array([40.0, 20, 100, 90]))]
        crops += list(made.rest())
        assert [crop.shape for crop in crops] == [(224, 224, 3)] * 9


def test_syncnet_says_what_is_missing(tmp_path):
    with pytest.raises(MissingExtra, match=r"syncnet_v2\.model"):
        SyncNet().prepare()
    with pytest.raises(MissingExtra, match="are not at"):
        SyncNet({"syncnet": str(tmp_path / "absent")}).prepare()
    torch = pytest.importorskip("torch")
    torch.save({"other": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(MissingExtra, match="is no SyncNet"):
        SyncNet({"syncnet": str(tmp_path / "other.pth")}).prepare()
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(MissingExtra, match="state dict"):
        SyncNet({"syncnet": str(tmp_path / "junk.pth")}).prepare()
    with pytest.raises(UsageError, match="reference and fast"):
        SyncNet(mode="quick")


@pytest.fixture(scope="module")
def random_syncnet(tmp_path_factory):
    torch = pytest.importorskip("torch")
    from avsafe_metrics.sync.syncnet_network import network

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("syncnet") / "random.pth"
    torch.save(network().state_dict(), path)
    return str(path)


def test_syncnet_scores_a_face_and_nothing_else(random_syncnet):
    try:
        faces.detector_weights()
    except MissingExtra as error:
        pytest.skip(str(error))
    from avsafe_generators.portrait import Portrait

    asked = GenerationRequest(Principal("test"), Task.TEXT_TO_IMAGE, "portrait", "a woman",
                              width=256, height=256)  # fmt: skip
    face = next(iter(Portrait().generate(asked).frames))
    frames = [np.ascontiguousarray(np.roll(face, index // 2, axis=1)) for index in range(17)]
    sound = np.concatenate(testing.babble(17 / 25, 16000, 0), axis=1)[0]
    metric = SyncNet({"syncnet": random_syncnet}, mode="fast")
    found = testing.measured(metric, moving(frames, sound)).values
    encoders, boxes, made = metric._encoders, FaceBoxes(25), Crops(published=False)
    crops = [c for frame in frames for c in made.take(frame, boxes.box_in(frame))]
    crops += list(made.rest())
    lips = encoders.lips(np.stack([np.stack(crops[i : i + 5]) for i in range(13)]))
    offset, confidence, distance = score(encoders, lips, to_int16(sound))
    assert found == {
        "syncnet.fast_lse_c": pytest.approx(confidence, abs=1e-4),
        "syncnet.fast_lse_d": pytest.approx(distance, abs=1e-4),
        "syncnet.fast_offset_ms": -40.0 * offset,
    }
    assert len(metric.digests()["syncnet"]) == 64
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "sound", lambda mfcc, count: np.full((count, 1024), np.nan))
        assert "not finite" in reasons(metric, moving(frames, sound))
    assert "needs 15" in reasons(metric, moving(frames[:12], sound))
    assert "silent" in reasons(metric, moving(frames, 0 * sound))
    ground = [np.full((96, 96, 3), 90, np.uint8)] * 20
    assert "no face" in reasons(metric, moving(ground, sound))


def test_modes_never_share_a_name():
    names = [
        {metric.info.score_name(column) for column in metric.info.columns}
        for metric in (SyncNet(), SyncNet(mode="fast"))
    ]
    assert not names[0] & names[1]
    assert SyncNet().info.version != SyncNet(mode="fast").info.version


# ---------------------------------------------------------------- models that users bring


def graph(path, nodes, inputs, output, constants=(), **metadata):
    """A tiny ONNX model."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kind = onnx.TensorProto.FLOAT
    made = helper.make_graph(
        [helper.make_node(op, list(given), [out], **kw) for op, given, out, kw in nodes], "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return str(path)


VIDEO, AUDIO = [1, 120, 3, 224, 224], [1, 76800]


def tiny_synchformer(path, **metadata):
    """Logits that grow with loudness for the third of three offsets: quiet is the first."""
    nodes = [
        ("ReduceMean", ["video"], "light", {"keepdims": 0}),
        ("Abs", ["audio"], "size", {}),
        ("ReduceMean", ["size"], "loud", {"keepdims": 0}),
        ("Mul", ["loud", "slope"], "sound", {}),
        ("Mul", ["light", "nothing"], "none", {}),
        ("Add", ["sound", "none"], "tilt", {}),
        ("Add", ["tilt", "bias"], "logits", {}),
    ]
    constants = [
        ("slope", np.array([[0.0, 0.0, 10.0]], np.float32)),
        ("bias", np.array([[1.0, 0.0, 0.0]], np.float32)),
        ("nothing", np.array([0.0], np.float32)),
    ]
    return graph(path, nodes, {"video": VIDEO, "audio": AUDIO}, "logits", constants, **metadata)


def test_desync_reads_the_export(tmp_path):
    offsets = json.dumps([-0.4, 0.0, 0.2])
    path = tiny_synchformer(tmp_path / "s.onnx", model="synchformer", offsets_s=offsets)
    metric = DeSync({"synchformer": path})
    frame = np.zeros((48, 64, 3), np.uint8)
    loud = np.full(10 * 16000, 0.5)
    loud[: 5 * 16000] = 0.01  # quiet first: -0.4 s; loud last: 0.2 s
    values = testing.measured(metric, moving([frame] * 250, loud)).values
    assert values["desync"] == pytest.approx(0.3)
    assert values["desync.offset_ms"] == pytest.approx(-100)
    assert len(metric.digests()["synchformer"]) == 64
    fits = json.dumps([0.0, 0.4, -0.4])
    path = tiny_synchformer(tmp_path / "fits.onnx", model="synchformer", offsets_s=fits)
    quiet = np.full(10 * 16000, 0.01)
    for damage, sound in ((0.0, quiet), (0.4, quiet + 0.5)):  # nothing off; all of it early
        found = testing.measured(DeSync({"synchformer": path}), moving([frame] * 250, sound)).values
        assert found["desync"] == pytest.approx(damage)
        assert found["desync.offset_ms"] == pytest.approx(-1000 * damage)
    overflowing = tiny_synchformer(tmp_path / "nan.onnx", model="synchformer", offsets_s=offsets)
    broken = DeSync({"synchformer": overflowing})
    broken.prepare()
    broken._model = lambda **arrays: np.float32([[0.0, np.nan, 0.0]])
    assert "not finite" in reasons(broken, moving([frame] * 250, quiet))
    assert "4.8 s" in reasons(metric, moving([frame] * 50, loud[:32000]))
    assert "silent" in reasons(metric, moving([frame] * 130, 0 * loud[: 130 * 640]))


def test_exports_that_are_something_else_are_refused(tmp_path):
    with pytest.raises(MissingExtra, match="No weights"):
        DeSync().prepare()
    unnamed = tiny_synchformer(tmp_path / "unnamed.onnx")
    with pytest.raises(MissingExtra, match="not synchformer"):
        DeSync({"synchformer": unnamed}).prepare()
    without = tiny_synchformer(tmp_path / "without.onnx", model="synchformer")
    with pytest.raises(MissingExtra, match="offsets_s"):
        DeSync({"synchformer": without}).prepare()
    with pytest.raises(MissingExtra, match="expected the inputs"):
        ImageBindScore({"imagebind_vision": unnamed}).prepare()
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(MissingExtra, match="cannot be loaded"):
        DeSync({"synchformer": str(tmp_path / "junk.onnx")}).prepare()


def test_imagebind_score_is_the_cosine_of_the_export(tmp_path):
    """Embeddings (mean light, 0.5) and (loudness, 0.5): equal when light equals loudness."""
    half = [("half", np.array([[0.5]], np.float32)), ("shape", np.array([-1, 1], np.int64))]

    def tail(last):
        return [
            ("Reshape", [last, "shape"], "column", {}),
            ("Mul", ["column", "zero"], "nothing", {}),
            ("Add", ["nothing", "half"], "halves", {}),
            ("Concat", ["column", "halves"], "embedding", {"axis": 1}),
        ]

    constants = [*half, ("zero", np.array([[0.0]], np.float32))]
    seen = graph(
        tmp_path / "v.onnx", [("ReduceMean", ["picture"], "m", {"axes": [1, 2, 3]}), *tail("m")],
        {"picture": ["b", 3, 224, 224]}, "embedding", constants, model="imagebind",
    )  # fmt: skip
    heard = graph(
        tmp_path / "a.onnx", [("ReduceMean", ["audio"], "m", {"axes": [1]}), *tail("m")],
        {"audio": ["b", 32000]}, "embedding", constants, model="imagebind",
    )  # fmt: skip
    metric = ImageBindScore({"imagebind_vision": seen, "imagebind_audio": heard})
    frame = np.full((48, 64, 3), 204, np.uint8)  # light 0.8
    same = testing.measured(metric, moving([frame] * 50, np.full(32000, 0.8))).values
    other = testing.measured(metric, moving([frame] * 50, np.full(32000, 0.1))).values
    assert same["imagebind_score"] == pytest.approx(1.0, abs=1e-4)
    a, b = np.array([0.8, 0.5]), np.array([0.1, 0.5])
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert other["imagebind_score"] == pytest.approx(expected, abs=1e-3)
    assert "silent" in reasons(metric, moving([frame] * 50, np.zeros(32000)))


def tiny_clap(folder):
    """A ClapModel of 100 kB and its processor, at random."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers.pre_tokenizers import ByteLevel

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = {w: i for i, w in enumerate([*special, *sorted(ByteLevel.alphabet())])}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.RobertaTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt")
    )
    tokenizer.model_max_length = 64
    text = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 80,
    }
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1],
             "num_attention_heads": [1, 1, 2, 2]}  # fmt: skip
    torch.manual_seed(0)
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
    transformers.ClapModel(config).save_pretrained(folder)
    hears = transformers.ClapFeatureExtractor(truncation="rand_trunc")
    transformers.ClapProcessor(hears, tokenizer).save_pretrained(folder)
    return str(folder)


def test_clap_score_is_the_cosine_of_the_model(tmp_path):
    metric = ClapScore({"clap": tiny_clap(tmp_path)})
    raw = testing.sound_only(2.0, seed=3)
    found = testing.measured(metric, raw, text="a dog barks").values["clap_score"]
    sound = metric.sound_embedding(np.concatenate(list(raw.samples), axis=1)[0])[0]
    text = metric.text_embedding("a dog barks")[0]
    expected = sound @ text / np.linalg.norm(sound) / np.linalg.norm(text)
    assert found == pytest.approx(float(expected), abs=1e-4)
    other = testing.measured(metric, raw, text="rain on a roof").values["clap_score"]
    assert abs(other - found) > 1e-3
    assert "no prompt" in reasons(metric, raw)
    assert len(metric.digests()["clap"]) == 64


class Knowing(ClapScore):
    """Stands for a CLAP that knows two sounds: one is high, and the other low."""

    def prepare(self):
        self._model, self.pieces = self, []

    def text_embedding(self, text):
        return np.float32([[text == "high", text == "low"]])

    def sound_embedding(self, piece):
        self.pieces.append(piece.size)
        crossings = np.mean(np.diff(np.signbit(piece)) != 0)
        return np.float32([[1, 0]] if crossings > 0.02 else [[0, 1]])


def test_clap_score_follows_the_prompt_and_the_share_of_the_sound():
    """Right 1, wrong 0; half of the sound another one: the mean direction, 1 / sqrt 2."""
    n = np.arange(48000 * 10)
    high, low = (0.3 * np.sin(2 * np.pi * hz * n / 48000)[None] for hz in (4000, 100))

    def score_of(sound, text, gain=1.0):
        heard = (gain * sound).astype(np.float32)
        raw = RawMedia(Kind.AUDIO, samples=Replay(lambda: iter([heard])), rate_hz=48000, channels=1)
        metric = Knowing({})
        return testing.measured(metric, raw, text=text).values["clap_score"]

    assert score_of(high, "high") == pytest.approx(1)
    assert score_of(high, "low") == pytest.approx(0)
    assert score_of(high, "high", gain=0.01) == pytest.approx(1)
    both = np.concatenate([high, low], axis=1)
    for text in ("high", "low"):
        assert score_of(both, text) == pytest.approx(2**-0.5, abs=1e-6)


def test_clap_score_says_what_is_missing(tmp_path):
    with pytest.raises(MissingExtra, match="ClapModel"):
        ClapScore().prepare()
    pytest.importorskip("transformers")
    with pytest.raises(MissingExtra, match="save_pretrained"):
        ClapScore({"clap": str(tmp_path)}).prepare()
