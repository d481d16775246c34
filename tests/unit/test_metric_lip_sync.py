"""Lip-sync: what the model sees, its arithmetic, and what is said when there is nothing to judge.

Real people are in tests/integration/test_metric_lip_sync_media.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avsafe import testing
from avsafe.errors import Unscorable
from avsafe.faces import FaceTrack
from avsafe.faces.alignment import template
from avsafe.faces.points import GROUPS
from avsafe.media.replay import Replay
from avsafe.types import Clip, Gathered, Kind, RawMedia, Sample, Shape
from avsafe_metrics.sync.lip_sync import LipSync, features, judgement, metric, model

RNG = np.random.default_rng(5)
LOWER = sorted({GROUPS["lips_outer"][i] for i in range(1, 10)})


def spoken(seconds=6.0, seed=0, rate=25.0):
    """A drawn face whose lower lip follows syllables of noise, and those syllables."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 16000)
    knots = rng.random(int(seconds * 5) + 3) * (rng.random(int(seconds * 5) + 3) > 0.25)

    def loud(t):
        return np.interp(t * 5, np.arange(knots.size), knots)

    sound = 0.2 * rng.standard_normal(n) * loud(np.arange(n) / 16000)
    frames = round(seconds * rate)
    points = np.repeat(template()[None, :, :2] * 60 + 200, frames, 0)
    points[:, LOWER, 1] += 18 * loud((np.arange(frames) + 0.5) / rate)[:, None]
    return points.astype(np.float32), sound.astype(np.float32)


# ---------------------------------------------------------------- features


def test_head_motion_in_the_plane_is_taken_out():
    points, _ = spoken(1.0)
    turn = np.exp(0.2j) * 1.7
    moved = (points @ np.array([1, 1j])) * turn + 31 - 12j
    other = np.stack([moved.real, moved.imag], -1).astype(np.float32)
    assert np.allclose(features.mouth(points), features.mouth(other), atol=2e-4)
    drop = features.mouth(points)[:, :, 1].std(0).max()
    assert drop > 0.05, "the lips still move"


def test_every_rate_becomes_25_a_second_at_the_same_times():
    for rate in (25, 30, 50, 24000 / 1001):
        t = (np.arange(round(4 * rate)) + 0.5) / rate
        values = np.sin(2 * np.pi * t)[:, None, None].astype(np.float32) * np.ones((1, 2, 2))
        found, runs = features.at_rate(values, rate)
        expected = np.sin(2 * np.pi * (np.arange(len(found)) + 0.5) / 25)
        assert runs == ((0, len(found)),)
        assert np.abs(found[1:-1, 0, 0] - expected[1:-1]).max() < 0.02


def test_short_gaps_are_bridged_and_long_ones_and_cuts_divide():
    values = np.arange(100, dtype=np.float32)[:, None, None] * np.ones((1, 1, 2), np.float32)
    values[10:12] = np.nan
    values[40:50] = np.nan
    found, runs = features.at_rate(values, 25.0, cuts=(70,))
    assert runs == ((0, 40), (50, 70), (70, 100))
    assert np.allclose(found[:40, 0, 0], np.arange(40))
    assert np.isnan(found[40:50]).all()


def test_mel_power_agrees_with_librosa():
    librosa = pytest.importorskip("librosa")
    sound = RNG.standard_normal(16000).astype(np.float32) * 0.1
    padded = np.pad(sound, (176, 512))
    theirs = librosa.feature.melspectrogram(
        y=padded, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False,
        n_mels=40, fmin=60, fmax=7600, htk=True, norm=None,
    )[:, :100]  # fmt: skip
    assert np.allclose(features.power(sound), theirs, rtol=1e-4, atol=1e-5)


def test_gain_does_not_matter_and_long_sound_is_the_same_in_pieces():
    sound = RNG.standard_normal(16000 * 21).astype(np.float32) * 0.1
    whole = features.power(sound)
    assert np.allclose(whole[:, 1990:2010], features.power(sound[310 * 1024 :])[:, 6:26], rtol=1e-3)
    assert np.allclose(features.log_mel(whole), features.log_mel(whole * 0.01), atol=1e-3)


# ---------------------------------------------------------------- arithmetic


def test_numpy_gives_what_torch_gives():
    torch = pytest.importorskip("torch")
    from safetensors.numpy import load, save

    from avsafe_metrics.sync.lip_sync import network

    torch.manual_seed(1)
    net = network.network().train()
    for side, size in model.INPUTS.items():  # so that the normalisations are not those of the start
        network.encoded(net, torch.randn(4, size, 60) * 2 + 1, side)
    net.eval()
    points, sound = spoken(4.0)
    mouths, _ = features.at_rate(features.mouth(points), 25.0)
    shown = model.window(mouths, features.power(sound), 10, 85)
    with torch.no_grad():
        v = network.encoded(net, torch.from_numpy(shown.lips)[None], "lips")
        a = network.encoded(net, torch.from_numpy(shown.sound)[None], "sound")
        theirs = net.scale.exp() * network.agreement(v, a, torch.from_numpy(shown.heard)[None])
    written = load(save(network.exported(net, "0.")))
    weights = {name: array.astype(np.float32) for name, array in written.items()}
    ours = model.evidence([shown], weights, ["0."])[0]
    assert theirs.std() > 0.01
    assert np.abs(ours - theirs[0].numpy()).max() < 5e-3, "weights are kept in half precision"


def test_two_networks_give_the_mean_of_their_evidence():
    weights = model.load()
    members = model.members_of(weights)
    points, sound = spoken(4.0)
    mouths, runs = features.at_rate(features.mouth(points), 25.0)
    seen = [model.window(mouths, features.power(sound), *span) for span in model.starts(runs)]
    single = [model.evidence(seen, weights, [member]) for member in members]
    assert np.allclose(model.evidence(seen, weights, members), np.mean(single, 0), atol=1e-4)


def test_evidence_moves_with_the_sound_frame_by_frame():
    points, sound = spoken(8.0)
    mouths, _ = features.at_rate(features.mouth(points), 25.0)
    energy = features.power(sound)
    first = model.window(mouths, energy, 60, 135)
    later = model.window(mouths, energy, 60, 135, offset=4)
    weights = model.load()
    a, b = model.evidence([first, later], weights, model.members_of(weights))
    assert np.abs(a[8:27] - b[4:23]).max() < 0.25 * np.ptp(a)


@pytest.mark.parametrize("seed", [0, 1])
def test_drawn_lips_read_how_late_their_sound_is(seed):
    """200 ms to each side are read within a step; gain is nothing; other sound agrees less."""
    points, sound = spoken(8.0, seed)
    own = metric.judge(points, 25.0, sound)
    assert abs(own.offset_ms) <= 40
    assert own.in_sync_score > 0.9
    late = metric.judge(points, 25.0, np.concatenate([np.zeros(3200, np.float32), sound]))
    early = metric.judge(points, 25.0, sound[3200:])
    for moved, offset_ms in ((late, 200), (early, -200)):
        assert abs(moved.offset_ms - own.offset_ms - offset_ms) <= 40
        assert moved.in_sync_score < 0.1
        assert moved.confidence == pytest.approx(own.confidence, abs=0.3), "it is of the offset"
    quiet = metric.judge(points, 25.0, 0.1 * sound)
    assert quiet.confidence == pytest.approx(own.confidence, abs=0.05)
    other = metric.judge(points, 25.0, spoken(8.0, seed + 50)[1])
    assert other.confidence < own.confidence - 3


# ---------------------------------------------------------------- judgement


def test_p_counts_the_null_and_grows_sure_with_length():
    null = np.sort(RNG.gamma(4, 0.3, 400))
    known = judgement.Calibration((75, 300), (tuple(null), tuple(null / 2)), 1.0, 0.5)
    fresh = RNG.gamma(4, 0.3, 4000)
    p = np.array([judgement.p_value(v, 75, known) for v in fresh])
    assert abs((p < 0.05).mean() - 0.05) < 0.025
    assert abs((p < 0.5).mean() - 0.5) < 0.06
    middle = float(null[300])
    assert judgement.p_value(middle, 300, known) < judgement.p_value(middle, 150, known)
    assert judgement.p_value(middle, 150, known) < judgement.p_value(middle, 75, known)
    assert judgement.p_value(99.0, 75, known) == pytest.approx(1 / 401)


def test_in_sync_is_the_share_of_the_offsets_near_zero():
    known = judgement.Calibration((75,), ((0.0,),), 1.0, 0.5)
    flat = np.zeros((1, 31), np.float32)
    assert judgement.in_sync(flat, 75, known) == pytest.approx(5 / 31)
    peak = flat.copy()
    peak[0, 15] = 20
    assert judgement.in_sync(peak, 75, known) > 0.999
    assert judgement.in_sync(np.roll(peak, 3, 1), 75, known) < 0.001


# ---------------------------------------------------------------- reasons


def reason(points, sound, rate=25.0, **more):
    with pytest.raises(Unscorable) as caught:
        metric.judge(points, rate, sound, **more)
    return str(caught.value)


def test_what_cannot_be_judged_says_why():
    points, sound = spoken(4.0)
    assert "silent (below -60 dBFS)" in reason(points, sound * 1e-3)
    assert "the lips do not move" in reason(np.repeat(points[:1], 100, 0), sound)
    assert "stretch with a face and no cut has 1.0 s; expected 1.6 s" in reason(points[:25], sound)
    assert "has 1.2 s" in reason(points, sound, cuts=range(30, 100, 30))
    assert "less than 1.6 s of sound" in reason(points, sound[:8000])
    late = np.concatenate([np.zeros(48000, np.float32), sound[:16000]])
    gone = points.copy()
    gone[50:] = np.nan
    assert "silent while there is a face" in reason(gone, late)


@pytest.mark.filterwarnings("error")
def test_a_face_of_noise_and_a_long_gap_do_not_break_it():
    points, sound = spoken(6.0)
    points[60:90] = np.nan
    found = metric.judge(points, 25.0, sound)
    assert found.frames == 120
    assert metric.judge(points, 25.0, sound).evidence.tolist() == found.evidence.tolist()
    other = metric.judge(points + RNG.standard_normal(points.shape).astype(np.float32), 25.0, sound)
    assert np.isfinite(other.evidence).all()


def followed(points, faces):
    """A face track of one person, or of one among several."""
    t = len(points)
    return FaceTrack(
        points, points, np.full(t, 0.03, np.float32), np.full(t, faces), np.ones(t, bool), (),
        Fraction(25),
    )  # fmt: skip


def test_one_person_is_scored_and_several_are_not():
    points, sound = spoken(4.0)
    meter = LipSync().open(Clip(Sample("memory", {}), Shape(Kind.VIDEO)))
    alone = meter.finish(Gathered(100, followed(points, 1), sound))
    assert -600 <= alone["offset_ms"] <= 600
    assert 0 < alone["p_value"] <= 1
    with pytest.raises(Unscorable, match="several people: up to 2 faces"):
        meter.finish(Gathered(100, followed(points, 2), sound))
    few = points.copy()
    few[50:] = np.nan
    with pytest.raises(Unscorable, match="no face in 50 of 100 frames"):
        meter.finish(Gathered(100, followed(few, 1), sound))


def scene(frames=50, rate=Fraction(25), sound=True):
    raw = testing.textured_clip(frames / 25, 160, 120, rate, sound=sound)
    return replace(raw, frame_count=frames)


def test_clips_without_a_face_or_sound_give_reasons():
    found = testing.measured(LipSync(), scene(12))
    assert set(found.values) == {
        "lip_sync.offset_ms", "lip_sync.confidence", "lip_sync.p_value", "lip_sync.in_sync_score"
    }  # fmt: skip
    assert set(found.values.values()) == {"no face in 12 frames"}
    assert set(testing.measured(LipSync(), scene(12, sound=False)).values.values()) == {
        "the clip has no sound"
    }
    tiny = RawMedia(
        Kind.VIDEO, frames=Replay(lambda: iter([np.zeros((1, 1, 3), np.uint8)])),
        frame_rate=Fraction(25), frame_count=1, width=1, height=1,
        samples=Replay(lambda: iter([np.full((1, 640), 0.1, np.float32)])),
        rate_hz=16000, channels=1,
    )  # fmt: skip
    assert set(testing.measured(LipSync(), tiny).values.values()) == {"no face in 1 frames"}


def test_the_card_names_the_weights():
    card = model.WEIGHTS.with_name("card.md").read_text()
    for name, digest in LipSync().digests().items():
        path = model.WEIGHTS.with_name(name)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest in card, f"the card's SHA-256 of {name} is not the file's"
    assert sum(w.nbytes for w in model.load().values()) < 8e6
