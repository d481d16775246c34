"""The cinemagraph generator: seamless loops, a still rest to the bit, words, hostile input."""

from itertools import pairwise

import cv2  # noqa: TID253  to make and read test pictures
import numpy as np
import pytest

from avsafe.errors import Cancelled, UnreadableMedia, UsageError
from avsafe.media import EncodeSpec, encode, probe
from avsafe.testing import check_generator, still, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Principal, Task
from avsafe_generators.cinemagraph import Cinemagraph, ambient, fields, filmed, phrases, wishes


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cinemagraph")
    encode(still(160, 120, seed=3), folder / "photo.png")
    encode(textured_clip(2.4, 160, 120, seed=1), folder / "clip.mp4", EncodeSpec())
    mask = np.zeros((120, 160), np.uint8)
    cv2.circle(mask, (80, 70), 36, 255, -1)
    cv2.imwrite(str(folder / "mask.png"), mask)
    cv2.imwrite(str(folder / "black.png"), np.zeros((120, 160), np.uint8))
    return folder


def ask(place, prompt="", image="photo.png", video=None, mask="mask.png", **more):
    named = (("image", image), ("video", video), ("mask", mask))
    inputs = tuple(InputMedia(probe(place / name), role) for role, name in named if name)
    more = {"duration_s": 1.0} | more
    return GenerationRequest(
        Principal("u"), Task.CINEMAGRAPH, "cinemagraph", prompt, inputs=inputs, **more
    )


def frames_of(raw):
    return [frame.copy() for frame in raw.frames]


def seam(frames):
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in pairwise(frames)]
    return float(np.abs(frames[-1].astype(int) - frames[0]).mean()) / float(np.median(steps))


# ---------------------------------------------------------------- contract


def test_the_contract_of_a_generator(place):
    assert isinstance(Cinemagraph(), Generator)
    check_generator(Cinemagraph(), ask(place, "water flowing"))


def test_the_contract_with_a_video(place):
    check_generator(Cinemagraph(), ask(place, image=None, video="clip.mp4"))


# ---------------------------------------------------------------- loops


@pytest.mark.parametrize("words", ["water flowing", "waves", "swirl", "candle", "leaves", "fumo"])
def test_the_loop_closes_and_the_rest_is_still(place, words):
    raw = Cinemagraph().generate(ask(place, words))
    frames = frames_of(raw)
    assert 0.5 < seam(frames) < 1.6, words
    mask = cv2.imread(str(place / "mask.png"), cv2.IMREAD_GRAYSCALE) > 127
    photo = cv2.imread(str(place / "photo.png"))[..., ::-1]
    moved = np.zeros(mask.shape, bool)
    for frame in frames:
        moved |= (frame != photo).any(axis=-1)
    assert not (moved & ~mask).any(), "a pixel outside the mask changed"
    assert (moved & mask).sum() > 0.5 * mask.sum(), "the region does not move"


def test_a_cut_loop_has_a_seam():
    """The negative control of ``seam``: the same flow, cut before its cycle ends."""
    photo = next(iter(still(160, 120, seed=3).frames))
    wish = wishes.Wish("flow", 0.0, 1.0, 0.0)
    loop = ambient.Ambient(photo, np.ones((120, 160), np.float32), wish, 40, 25.0, 0)
    frames = [loop.frame(i) for i in range(40)]
    assert seam(frames) < 1.6
    assert seam(frames[:11]) > 3


def test_a_flow_goes_the_way_it_is_asked_to():
    photo = next(iter(still(160, 120, seed=5).frames))
    grey = [None, None]
    for angle, way in ((0.0, 1), (180.0, -1)):
        wish = wishes.Wish("flow", angle, 1.0, 0.0)
        loop = ambient.Ambient(photo, np.ones((120, 160), np.float32), wish, 50, 25.0, 0)
        grey = [cv2.cvtColor(loop.frame(i), cv2.COLOR_RGB2GRAY) for i in (24, 26)]
        flow = cv2.DISOpticalFlow_create(1).calc(grey[0], grey[1], None)
        assert way * np.median(flow[20:-20, 20:-20, 0]) > 0.3


def test_the_best_cut_of_a_periodic_video_is_its_period():
    """A scene that repeats every 20 frames must loop after 20 or 40 frames."""
    rng = np.random.default_rng(0)
    looks = rng.standard_normal((20, 50)).astype(np.float32)
    looks = np.concatenate([looks] * 4) + 0.01 * rng.standard_normal((80, 50)).astype(np.float32)
    found = filmed.Survey([np.eye(2, 3)] * 80, looks, np.ones(80))
    chosen = filmed.cut(found, 25.0, 2.0, 0.5)
    assert chosen.count % 20 == 0
    assert chosen.start - chosen.fade >= 0


def test_a_film_keeps_its_start_outside_the_mask(place):
    raw = Cinemagraph().generate(ask(place, image=None, video="clip.mp4"))
    frames = frames_of(raw)
    mask = cv2.imread(str(place / "mask.png"), cv2.IMREAD_GRAYSCALE) > 127
    assert all(np.array_equal(frame[~mask], frames[0][~mask]) for frame in frames)
    assert any((frame != frames[0]).any() for frame in frames)
    assert raw.details["loop_frames"] == len(frames)
    assert raw.samples is None


def test_repeat_plays_the_loop_again(place):
    once = frames_of(Cinemagraph().generate(ask(place, "waves")))
    twice = frames_of(Cinemagraph().generate(ask(place, "waves", parameters={"repeat": 2})))
    assert len(twice) == 2 * len(once)
    assert np.array_equal(twice[len(once) + 3], once[3])


# ---------------------------------------------------------------- words


def test_words_in_two_languages():
    for english, italian in (
        ("slow clouds to the left", "nuvole lente verso sinistra"),
        ("waterfall", "cascata"),
        ("fast smoke", "fumo veloce"),
    ):
        found = [phrases.match(text, wishes.AMBIENT) for text in (english, italian)]
        one, other = (wishes.wish(f, "auto", "auto", 1.0) for f in found)
        assert one == other


def test_what_was_ignored_is_said(place):
    details = Cinemagraph().generate(ask(place, "a zebra and no candle, waves")).details
    assert details["understood"] == ["waves"]
    assert details["ignored"] == ["zebra"]
    assert details["motion"] == "ripple"


def test_words_can_name_the_region(place):
    raw = Cinemagraph().generate(ask(place, "waves in the bottom half", mask=None))
    photo = cv2.imread(str(place / "photo.png"))[..., ::-1]
    frames = frames_of(raw)
    assert all(np.array_equal(frame[:60], photo[:60]) for frame in frames)
    assert raw.details["region"] == "bottom half"


# ---------------------------------------------------------------- refusals


def test_a_region_is_required(place):
    with pytest.raises(UsageError, match="needs the region"):
        Cinemagraph().generate(ask(place, "waves", mask=None))


@pytest.mark.parametrize(
    "more",
    [
        {"image": None},
        {"mask": "black.png"},
        {"parameters": {"motoin": "flow"}},
        {"parameters": {"motion": "explode"}},
        {"video": "clip.mp4"},
        {"duration_s": 0.2},
        {"duration_s": float("nan")},
        {"image": None, "video": "clip.mp4", "parameters": {"fps": 25}},
    ],
)
def test_bad_requests(place, more):
    with pytest.raises(UsageError):
        Cinemagraph().generate(ask(place, "waves", **more))


def test_hostile_input(place, tmp_path):
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    dot = (InputMedia(probe(tmp_path / "dot.png"), "image"),)
    request = GenerationRequest(
        Principal("u"), Task.CINEMAGRAPH, "cinemagraph", "waves everything", inputs=dot
    )
    with pytest.raises(UsageError):
        Cinemagraph().generate(request)
    long = Cinemagraph().generate(ask(place, "blah " * 2000 + "waves"))
    assert long.details["n_ignored"] >= 1999
    data = (place / "clip.mp4").read_bytes()
    media = probe(place / "clip.mp4")
    broken = place / "broken.mp4"
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises((UnreadableMedia, UsageError)):
        frames_of(
            Cinemagraph().generate(
                ask(place, image=None).__class__(
                    Principal("u"), Task.CINEMAGRAPH, "cinemagraph", "everything",
                    inputs=(InputMedia(type(media)(**{**vars(media), "path": broken}), "video"),),
                )
            )
        )  # fmt: skip


@pytest.mark.parametrize("after", [0, 5, 40])
def test_cancelled_at_any_step(place, after):
    calls = iter(range(10**6))
    with pytest.raises(Cancelled):
        frames_of(
            Cinemagraph().generate(
                ask(place, image=None, video="clip.mp4"), cancelled=lambda: next(calls) >= after
            )
        )


def test_texture_goes_on_beyond_the_edge():
    """Filling keeps what is known, leaves no hole, and goes on with the same mean and spread."""
    photo = next(iter(still(160, 120, seed=9).frames))
    known = np.ones((120, 160), bool)
    known[40:80, 60:100] = False
    filled = fields.beyond(photo, known)
    assert np.array_equal(filled[known], photo[known])
    hole, around = filled[~known].astype(float), photo[known].astype(float)
    assert abs(hole.mean() - photo[30:90, 50:110].mean()) < 25
    assert hole.std() > 0.2 * around.std()
