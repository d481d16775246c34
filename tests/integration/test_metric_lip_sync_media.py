"""Lip-sync on a drawn head that speaks, and on real films, from the pictures to the columns.

The shipped networks have seen these people (reports/lip_sync has the figures on unseen ones): this
tests that offsets, confidence and p-value follow what is done to a film.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avsafe import faces, media, testing
from avsafe.media.replay import Replay
from avsafe.metering import Mono
from avsafe.types import GenerationRequest, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_generators.portrait import Portrait
from avsafe_generators.talking_head import TalkingHead
from avsafe_metrics.sync.lip_sync import LipSync, metric

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def films(shared_media):
    """Two people of the GRID corpus: frames and sound in memory."""
    found = {}
    for name in ("grid_bbaf2n", "grid_lbbc2a"):
        raw = media.decode(shared_media / "real_talking" / f"{name}.mpg", trusted=True)
        frames = list(raw.frames or ())
        sound = np.concatenate(list(raw.samples or ()), axis=1)
        found[name] = (raw, frames, sound)
    return found


def clip(film, *, frames=None, sound=None, rate=None):
    raw, own_frames, own_sound = film
    frames = own_frames if frames is None else frames
    sound = own_sound if sound is None else sound
    return replace(
        raw, frames=Replay(lambda: iter(frames)), frame_count=len(frames),
        frame_rate=rate or raw.frame_rate, samples=Replay(lambda: iter([sound])),
    )  # fmt: skip


def late(film, frames):
    """The sound moved by whole frames of 25 a second; silence where there is none."""
    raw, _, sound = film
    step = frames * raw.rate_hz // 25
    pad = np.zeros((sound.shape[0], abs(step)), np.float32)
    moved = (pad, sound[:, :-step]) if step > 0 else (sound[:, -step:], pad)
    return np.concatenate(moved, axis=1) if step else sound


def columns(raw):
    found = testing.measured(LipSync(), raw).values
    return {name.removeprefix("lip_sync."): value for name, value in found.items()}


@pytest.fixture(scope="module")
def as_is(films):
    return {name: columns(clip(film)) for name, film in films.items()}


def test_real_sound_is_found_in_sync(films, as_is):
    for name, found in as_is.items():
        assert abs(found["offset_ms"]) <= 80, name
        assert found["p_value"] < 0.05, name
        assert found["in_sync_score"] > 0.5, name


def test_moved_sound_moves_the_offset_by_as_much(films, as_is):
    film, before = films["grid_bbaf2n"], as_is["grid_bbaf2n"]
    for frames in (-5, 5, 8):
        found = columns(clip(film, sound=late(film, frames)))
        assert abs(found["offset_ms"] - before["offset_ms"] - 40 * frames) <= 40, frames
        assert found["in_sync_score"] < 0.2 < before["in_sync_score"]


def test_other_peoples_sound_is_not_confident(films, as_is, shared_media):
    frames = films["grid_lbbc2a"][1]
    track = faces.track(frames, 25)
    found = []
    for name in ("latentsync_1", "sadtalker_aoc", "retalking_2", "grid_brbk7n"):
        path = next((shared_media / "real_talking").glob(f"{name}.*"))
        raw = media.decode(path, trusted=True)
        mono = Mono(raw.rate_hz)
        for block in raw.samples or ():
            mono.take(block)
        found.append(metric.judge(track.raw, 25.0, mono.whole()[: 3 * 16000]))
    own = as_is["grid_lbbc2a"]
    assert np.mean([f.confidence for f in found]) < 0.8 * own["confidence"]
    assert np.median([f.p_value for f in found]) > 0.1 > own["p_value"]


def test_thirty_frames_a_second_give_the_same(films, as_is):
    frames = films["grid_bbaf2n"][1]
    more = [frames[min(len(frames) - 1, round(i * 25 / 30))] for i in range(90)]
    found = columns(clip(films["grid_bbaf2n"], frames=more, rate=Fraction(30)))
    assert abs(found["offset_ms"] - as_is["grid_bbaf2n"]["offset_ms"]) <= 40
    assert found["p_value"] < 0.05


def test_what_cannot_be_judged_says_why(films):
    film = films["grid_lbbc2a"]
    _, frames, sound = film
    assert set(columns(clip(film, frames=frames[:1] * 50)).values()) == {"the lips do not move"}
    silent = columns(clip(film, frames=frames[:45], sound=sound * 0))
    assert set(silent.values()) == {"the sound is silent (below -60 dBFS)"}
    short = columns(clip(film, frames=frames[:25]))
    assert set(short.values()) == {"1.0 s with a face (25 frames); expected at least 1.6 s"}


def test_the_same_twice(films):
    testing.check_metric(LipSync(), clip(films["grid_lbbc2a"], frames=films["grid_lbbc2a"][1][:50]))


# ---------------------------------------------------------------- a head of our own, known in sync


def speech(seconds, seed):
    """Babble in syllables of uneven length and loudness, with pauses: (n,) at 16 kHz."""
    rng = np.random.default_rng(seed)
    voice = np.concatenate(testing.babble(seconds, 16000, seed), axis=1)[0]
    edges = np.cumsum(rng.uniform(0.08, 0.38, 60))
    loud = np.where(rng.random(60) < 0.35, 0.02, rng.uniform(0.4, 1.0, 60))
    places = np.searchsorted(edges, np.arange(voice.size) / 16000)
    smooth = np.hanning(641) / np.hanning(641).sum()
    return (voice * np.convolve(loud[places], smooth, "same")).astype(np.float32)


def test_a_head_made_from_sound_is_in_sync_with_it_and_with_no_other(tmp_path):
    me, voice, face = Principal("test"), tmp_path / "voice.wav", tmp_path / "face.png"
    sound = speech(3.6, 0)
    media.encode(RawMedia(Kind.AUDIO, samples=[sound[None]], rate_hz=16000, channels=1), voice)
    asked = GenerationRequest(
        me, Task.TEXT_TO_IMAGE, "portrait", "a woman with brown hair", seed=3, width=256, height=256
    )
    media.encode(Portrait().generate(asked), face)
    inputs = (InputMedia(media.probe(face), "portrait"), InputMedia(media.probe(voice), "voice"))
    made = TalkingHead().generate(
        GenerationRequest(me, Task.TALKING_HEAD, "talking-head", inputs=inputs)
    )
    track = faces.track(made.frames, made.frame_rate)
    own = metric.judge(track.raw, 25.0, sound)
    assert abs(own.offset_ms) <= 40
    assert own.p_value < 0.05
    assert own.in_sync_score > 0.5
    late = metric.judge(track.raw, 25.0, np.concatenate([np.zeros(3200, np.float32), sound]))
    assert abs(late.offset_ms - own.offset_ms - 200) <= 40
    assert late.in_sync_score < 0.5 * own.in_sync_score
    others = [metric.judge(track.raw, 25.0, speech(3.6, seed)) for seed in (1, 2, 3, 4)]
    assert np.mean([other.confidence for other in others]) < own.confidence - 1
    assert np.median([other.p_value for other in others]) > own.p_value


@pytest.mark.slow
def test_training_gives_the_arrays_that_ship_and_the_same_for_a_seed(shared_media, tmp_path):
    pytest.importorskip("torch")
    from safetensors.numpy import load_file

    from avsafe_metrics.sync.lip_sync import model, train

    crops = tmp_path / "media" / "talking_crops"
    crops.mkdir(parents=True)
    for name in ("grid_bbaf2n", "wav2lip_mona"):
        for suffix in (".mp4", ".ogg", ".npz"):
            (crops / (name + suffix)).symlink_to(shared_media / "talking_crops" / (name + suffix))
    found = []
    for out in ("a", "b"):
        where = tmp_path / out
        if found:  # tracks are kept
            (where / "tracks").parent.mkdir()
            (where / "tracks").symlink_to(tmp_path / "a" / "tracks")
        arguments = ["--media", str(crops.parent), "--out", str(where), "--steps", "4"]
        assert train.main([*arguments, "--only", "all", "--seed", "7"]) == 0
        found.append(load_file(where / "lip_sync.safetensors"))
    shipped = model.load()
    assert {k: v.shape for k, v in found[0].items()} == {k: v.shape for k, v in shipped.items()}
    for name, array in found[0].items():
        assert np.array_equal(array, found[1][name]), name
