"""The talking head: what it refuses, what it promises, and that lips follow the sound they hear."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsafe import faces
from avsafe.errors import Cancelled, MissingExtra, MissingStream, UsageError
from avsafe.faces import GROUPS
from avsafe.media import encode, probe
from avsafe.testing import babble, check_generator
from avsafe.types import GenerationRequest, InputMedia, Kind, Media, Principal, RawMedia, Task
from avsafe_generators import layers
from avsafe_generators.talking_head import (
    TalkingHead,
    anatomy,
    behaviour,
    features,
    fitting,
    likeness,
)
from avsafe_generators.talking_head import generator as module
from avsafe_generators.talking_head import motion as model
from avsafe_generators.talking_head import speech as speaking
from avsafe_generators.talking_head.eyes import Eyes
from avsafe_generators.talking_head.render import Renderer

SIDE = 160
ME = Principal("me")
# eyes, nose tip and mouth corners of ``drawn_face``, in fractions
FIVE = (0.39, 0.42, 0.61, 0.42, 0.5, 0.56, 0.42, 0.68, 0.58, 0.68)
FACE = ",".join(map(str, FIVE))


def drawn_face(side: int = SIDE) -> Any:
    """A simple head with eyes and closed lips on a striped backdrop."""
    import cv2

    big = 4 * side
    img = np.full((big, big, 3), 120, np.uint8)
    img[:, :: max(2, big // 16)] = 150

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * big), round(y * big)

    cv2.ellipse(img, at(0.5, 0.52), at(0.24, 0.33), 0, 0, 360, (214, 168, 140), -1)
    for x in (0.39, 0.61):
        cv2.ellipse(img, at(x, 0.42), at(0.055, 0.024), 0, 0, 360, (245, 245, 245), -1)
        cv2.circle(img, at(x, 0.42), big // 48, (60, 40, 20), -1)
    cv2.ellipse(img, at(0.5, 0.68), at(0.09, 0.026), 0, 0, 360, (180, 80, 80), -1)
    cv2.line(img, at(0.42, 0.68), at(0.58, 0.68), (70, 20, 20), big // 160)
    return cv2.resize(img, (side, side), interpolation=cv2.INTER_AREA)


def _still(frame: Any) -> RawMedia:
    height, width = frame.shape[:2]
    return RawMedia(Kind.IMAGE, frames=[frame], frame_count=1, width=width, height=height)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Media:
    path = tmp_path_factory.mktemp("portrait") / "face.png"
    encode(_still(drawn_face()), path)
    return probe(path)


def _voice(folder: Path, seconds: float, *, silent: bool = False, rate_hz: int = 16000) -> Media:
    blocks = babble(seconds, rate_hz, 0)
    if silent:
        blocks = [np.zeros_like(block) for block in blocks]
    path = folder / f"voice{seconds}{silent}{rate_hz}.wav"
    encode(RawMedia(Kind.AUDIO, samples=blocks, rate_hz=rate_hz, channels=1), path)
    return probe(path)


def _request(
    portrait: Media | None, voice: Media | None, prompt: str = "", **parameters: Any
) -> GenerationRequest:
    inputs = [InputMedia(portrait, "portrait")] if portrait else []
    inputs += [InputMedia(voice, "voice")] if voice else []
    return GenerationRequest(
        ME, Task.TALKING_HEAD, "talking-head", prompt, inputs=tuple(inputs), seed=3,
        width=SIDE, height=SIDE, parameters={"face": FACE, **parameters},
    )  # fmt: skip


# ---------------------------------------------------------------- the contract


def test_it_keeps_the_contract_of_a_generator(portrait: Media, tmp_path: Path) -> None:
    raw = check_generator(TalkingHead(), _request(portrait, _voice(tmp_path, 0.32)))
    assert raw.kind is Kind.VIDEO
    assert (raw.frame_count, raw.rate_hz) == (8, 16000)
    assert (
        module.__file__ and Path(module.__file__).parents[1] / TalkingHead().info.card
    ).is_file()


def test_the_sound_of_the_clip_is_the_speech_itself(portrait: Media, tmp_path: Path) -> None:
    from avsafe.media import decode

    voice = _voice(tmp_path, 0.4, rate_hz=22050)
    raw = TalkingHead().generate(_request(portrait, voice))
    heard = np.concatenate(list(raw.samples or ()), axis=1)
    given = np.concatenate(list(decode(voice.path).samples or ()), axis=1)
    assert np.array_equal(heard, given)
    assert raw.rate_hz == 22050


def test_a_shorter_duration_cuts_frames_and_sound_alike(portrait: Media, tmp_path: Path) -> None:
    request = replace(_request(portrait, _voice(tmp_path, 0.8), frame_rate=30), duration_s=0.4)
    raw = TalkingHead().generate(request)
    assert raw.frame_count == 12
    assert sum(block.shape[1] for block in raw.samples or ()) == 6400


def test_another_seed_moves_otherwise(portrait: Media, tmp_path: Path) -> None:
    request = _request(portrait, _voice(tmp_path, 0.32))
    one, two = (
        np.stack(list(TalkingHead().generate(r).frames or ()))
        for r in (request, replace(request, seed=4))
    )
    assert not np.array_equal(one, two)


def test_cancelling_in_the_middle_of_sampling_stops(portrait: Media, tmp_path: Path) -> None:
    polls = iter(range(10**6))
    raw = TalkingHead().generate(
        _request(portrait, _voice(tmp_path, 0.32)), cancelled=lambda: next(polls) > 6
    )
    with pytest.raises(Cancelled):
        list(raw.frames or ())


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("face", "words"),
    [
        ("0.1,0.2", "face"),
        ("a,b,c,d,e,f,g,h,i,j", "face"),
        ("nan,0.42,0.61,0.42,0.5,0.56,0.42,0.68,0.58,0.68", "face"),
        ("0.61,0.42,0.39,0.42,0.5,0.56,0.42,0.68,0.58,0.68", "left and right"),
        ("0.5,0.42,0.52,0.42,0.51,0.43,0.5,0.45,0.52,0.45", "pixels apart"),
    ],
)
def test_faces_that_make_no_sense(face: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        likeness.place(drawn_face(), face, "face.png")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"emotion": "furious"}, "neutral"),
        ({"frame_rate": "nan"}, "frame_rate"),
        ({"smile": 1}, "no parameter smile"),
    ],
)
def test_parameters_that_make_no_sense(
    portrait: Media, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        TalkingHead().generate(_request(portrait, None, "hello", **parameters))


def test_speech_and_portrait_are_needed(portrait: Media, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--audio"):
        TalkingHead().generate(_request(portrait, None, " "))
    with pytest.raises(UsageError, match="portrait"):
        TalkingHead().generate(_request(None, _voice(tmp_path, 0.3)))
    with pytest.raises(MissingStream):
        TalkingHead().generate(_request(portrait, portrait))


def test_speech_that_is_too_short_or_too_long(portrait: Media, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least"):
        TalkingHead().generate(_request(portrait, _voice(tmp_path, 0.12)))
    voice = _voice(tmp_path, 0.3)
    endless = replace(voice, duration_s=8 * 3600.0, path=tmp_path / "not-even-read.wav")
    with pytest.raises(UsageError, match="28800"):
        TalkingHead().generate(_request(portrait, endless))


def test_a_picture_of_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    encode(_still(np.zeros((1, 1, 3), np.uint8)), path)
    with pytest.raises(UsageError, match="1 x 1"):
        TalkingHead().generate(_request(probe(path), _voice(tmp_path, 0.3)))


@pytest.mark.parametrize("count", [0, 5])
def test_no_face_or_five(
    portrait: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    points = np.zeros((5, 2), np.float32)
    found = tuple(faces.Face(10 * i, 5, 10 * i + 9, 15, 0.9, points) for i in range(count))
    monkeypatch.setattr(faces, "detect", lambda frame: found, raising=False)
    with pytest.raises(UsageError, match="5 faces" if count else "No face") as caught:
        TalkingHead().generate(_request(portrait, _voice(tmp_path, 0.3), face=""))
    assert "face=x1,y1" in str(caught.value)


# ---------------------------------------------------------------- speech


def test_what_the_engine_can_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="10000"):
        speaking.spoken("a" * 10_000)
    with pytest.raises(UsageError, match="voice"):
        speaking.spoken("hello", "-w/etc/passwd")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingExtra, match="espeak-ng"):
        speaking.spoken("hello")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="no espeak-ng on this system")
def test_a_prompt_is_spoken_and_leaves_no_file(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    said = speaking.spoken("--help; echo hello")  # words, no options and no shell
    assert 0.3 < said.duration_s < 6
    assert np.abs(said.heard).max() > 0.05
    assert not os.listdir(tmp_path)
    with pytest.raises(UsageError):
        speaking.spoken("\x00")


# ---------------------------------------------------------------- motion


def _opening(latents: Any) -> Any:
    weights = layers.load("talking-head")
    mouth = latents[:, anatomy.MOUTH_AT] * weights["scale"][anatomy.MOUTH_AT]
    return anatomy.opening(np.tensordot(mouth, weights["components"][anatomy.BROW :], 1))


def test_numpy_and_torch_agree() -> None:
    torch = pytest.importorskip("torch")
    from avsafe_generators.train.talking_head import network

    weights = layers.load("talking-head")
    net = network(torch).eval()
    net.load_state_dict(
        {k[4:]: torch.tensor(v) for k, v in weights.items() if k.startswith("net.")}
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, model.FRAMES, anatomy.CHANNELS)).astype(np.float32)
    known = (np.arange(model.FRAMES) < model.PAST).astype(np.float32)[None].repeat(2, 0)
    t = np.array([0.1, 0.8], np.float32)
    mel = rng.standard_normal((2, 40, 4 * (model.FRAMES + 2 * model.MARGIN))).astype(np.float32)
    control = rng.standard_normal((2, model.CONTROLS)).astype(np.float32)
    given = np.array([[1, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0]], np.float32)
    with torch.no_grad():
        theirs = net(*map(torch.tensor, (x, known, t, mel, np.ones(2, np.float32), control, given)))
    ours = model.predict(weights, x, known, t, model.hear(weights, mel), control, given)
    assert np.abs(ours - theirs.numpy()).max() < 1e-4


def test_lips_rest_in_silence_and_open_with_a_voice() -> None:
    """Silence of 2 s between voices of 2 s; the head moves on."""
    voice = babble(2.0, features.RATE_HZ, 0)
    sound = np.concatenate([*voice, np.zeros((1, 32000), np.float32), *voice], axis=1)[0]
    mel = features.log_mel(sound, 150)
    track = model.Track(model.Model.load(), mel, model.Wishes(), 1).whole()
    gap = _opening(track)
    assert np.abs(gap[58:90]).max() < 0.01  # of the distance between the eyes: 0.6 mm
    assert np.quantile(gap[8:45], 0.8) > 0.05
    assert track[60:90, :3].std() > 0.005
    assert np.isfinite(track).all()
    assert np.abs(track).max() < 8


def test_motion_goes_on_over_the_seam_of_two_windows() -> None:
    sound = np.concatenate(babble(5.0, features.RATE_HZ, 2), axis=1)[0]
    mel = features.log_mel(sound, 125)
    track = model.Track(model.Model.load(), mel, model.Wishes(), 1).whole()
    steps = np.abs(np.diff(track[:, :3], axis=0)).max(1)
    assert steps[model.NEW - 1] < 3 * np.quantile(steps, 0.9)


def test_a_wish_to_look_aside_turns_the_head() -> None:
    mel = np.zeros((64, 160), np.float32)
    net = model.Model.load()
    yaw = []
    for side in (-1.0, 1.0):
        asked = {"gaze_x": side, "gaze_y": 0.0, "emotion": "neutral", "motion": 1.0, "blink": 1.0,
                 "control_strength": 0.6, "sound_strength": 0.0}  # fmt: skip
        wish = module.wishes(asked, net.weights)
        yaw.append(float(model.Track(net, mel, wish, 2).whole()[:, anatomy.YAW].mean()))
    assert yaw[1] - yaw[0] > 0.3


def test_people_blink_ten_to_forty_times_a_minute() -> None:
    scale = np.ones(anatomy.CHANNELS)
    for amount, low, high in ((1.0, 9, 18), (2.0, 18, 36), (0.0, 0, 0)):
        rest = behaviour.Rest(1, amount, (0.0, 0.0))
        lids = np.array(
            [rest.at(i / 25, np.zeros(anatomy.CHANNELS), scale)[0] for i in range(25 * 60)]
        )
        blinks = int(((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum())
        assert low <= blinks <= high


# ---------------------------------------------------------------- drawing


def _drawn_points(side: int = SIDE) -> Any:
    given = [(FIVE[i] * side, FIVE[i + 1] * side) for i in range(0, 10, 2)]
    return np.asarray(faces.from_five_points(given).points, np.float64)


def test_lips_are_moved_to_the_dark_line() -> None:
    frame, points = drawn_face(), _drawn_points()
    lips = list(GROUPS["lips_inner"] + GROUPS["lips_outer"])
    points[lips, 1] += 0.68 * SIDE + 2.5 - points[list(GROUPS["lips_inner"]), 1].mean()
    inner = list(GROUPS["lips_inner"])
    points[inner, 1] = 0.3 * points[inner, 1] + 0.7 * points[inner, 1].mean()
    fitted = fitting.fitted(frame, points)
    line = fitted[list(GROUPS["lips_inner"][3:8]), 1]
    assert np.abs(line - 0.68 * SIDE).max() < 1.2
    blank = np.full_like(frame, 128)
    lips = list(GROUPS["lips_outer"])
    assert np.allclose(fitting.fitted(blank, points)[lips], points[lips])  # nothing to be seen


def test_a_blink_covers_the_iris_and_leaves_the_rest() -> None:
    frame = drawn_face()
    points = fitting.fitted(frame, _drawn_points())
    eyes = Eyes(frame, points)
    open_, shut = frame.copy(), frame.copy()
    eyes.draw(open_, 0.0, (0.0, 0.0))
    eyes.draw(shut, 1.0, (0.0, 0.0))
    y, x = round(0.42 * SIDE), round(0.39 * SIDE)
    assert frame[y, x].mean() < 90
    assert np.abs(open_.astype(int) - frame).max() <= 1
    assert shut[y - 1, x].mean() > 120
    assert np.array_equal(shut[SIDE // 2 :], frame[SIDE // 2 :])


def test_a_turned_head_holds_the_background_and_moves_the_nose() -> None:
    weights = layers.load("talking-head")
    frame, points = drawn_face(), _drawn_points()
    renderer = Renderer(frame, points, weights)
    latent = np.zeros(anatomy.CHANNELS)
    still = renderer.frame(latent)
    assert np.abs(still.astype(int) - frame).mean() < 2.5
    latent[anatomy.YAW] = np.radians(10) / weights["scale"][anatomy.YAW]
    turned = renderer.frame(latent).astype(int)
    for corner in (np.s_[:10, :10], np.s_[:10, -10:], np.s_[-10:, :10], np.s_[-10:, -10:]):
        assert np.abs(turned[corner] - frame[corner]).max() <= 2
    nose = anatomy.PLACE[4]
    from avsafe_generators.talking_head.warp import Pose

    face = np.zeros((152, 2))
    moved = renderer.head.landmarks(face, Pose(yaw=math.radians(10)))[nose]
    assert moved[0] - renderer.head.landmarks(face, Pose())[nose, 0] > 3


def test_an_open_mouth_is_dark_inside() -> None:
    weights = layers.load("talking-head")
    frame = drawn_face(256)
    renderer = Renderer(frame, fitting.fitted(frame, _drawn_points(256)), weights)
    first = weights["components"][anatomy.BROW]
    sign = 1 if anatomy.opening(first) > 0 else -1
    latent = np.zeros(anatomy.CHANNELS)
    shut = renderer.frame(latent)
    latent[anatomy.MOUTH_AT.start] = 2.0 * sign
    wide = renderer.frame(latent)
    y, x = round(0.705 * 256), 128
    assert wide[y - 3 : y + 8, x - 3 : x + 4].min(axis=(0, 1)).mean() < 75
    assert shut[y : y + 8, x - 3 : x + 4].mean() > 90


def test_silence_and_noise_are_taken(portrait: Media, tmp_path: Path) -> None:
    raw = TalkingHead().generate(_request(portrait, _voice(tmp_path, 0.3, silent=True)))
    assert raw.details["silent"] is True
    noise = RawMedia(
        Kind.AUDIO, samples=[np.random.default_rng(0).uniform(-1, 1, (2, 8000)).astype(np.float32)],
        rate_hz=16000, channels=2,
    )  # fmt: skip
    encode(noise, tmp_path / "noise.wav")
    raw = TalkingHead().generate(_request(portrait, probe(tmp_path / "noise.wav")))
    assert raw.details["silent"] is False
    assert len(list(raw.frames or ())) == 12


# ---------------------------------------------------------------- two readers at once


def test_a_voice_that_takes_long_holds_nobody(
    portrait: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read beside the portrait: a cancel ends the wait, a bad portrait is told at once."""
    from threading import Event

    free = Event()
    monkeypatch.setattr(speaking, "given", lambda *_: free.wait(20))
    request, polls = _request(portrait, _voice(tmp_path, 0.32)), iter(range(1000))
    try:
        with pytest.raises(Cancelled):
            TalkingHead().generate(request, cancelled=lambda: next(polls) > 4)
        with pytest.raises(UsageError, match="face="):
            TalkingHead().generate(_request(portrait, _voice(tmp_path, 0.32), face="1,2"))
    finally:
        free.set()


def test_odd_text_is_spoken_and_never_an_option(portrait: Media) -> None:
    if shutil.which(speaking.ENGINE) is None:
        pytest.skip("no speech engine")
    assert speaking.spoken("hello \ud800 world").duration_s > 0.2
    for odd in ("-w /etc/passwd", "--help", "$(id); `id`", "a\x00b", "<speak>hi</speak>"):
        assert speaking.spoken(odd).duration_s > 0.2
