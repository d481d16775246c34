"""The photo-motion generator: moves, parallax, borders, words, hostile input."""

from itertools import pairwise

import cv2  # noqa: TID253  to make and read test pictures
import numpy as np
import pytest

from avsafe.errors import Cancelled, MissingStream, UsageError
from avsafe.media import EncodeSpec, encode, probe
from avsafe.testing import check_generator, still, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Principal, Task
from avsafe_generators.photo_motion import PhotoMotion, camera, layout, render, subject, words


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo")
    encode(still(192, 128, seed=4), folder / "photo.png")
    encode(textured_clip(0.4, 160, 120), folder / "clip.mp4", EncodeSpec())
    cv2.imwrite(str(folder / "flat.png"), np.full((96, 128, 3), 90, np.uint8))
    cv2.imwrite(str(folder / "scene.png"), scene()[..., ::-1])
    mask = np.zeros((128, 192), np.uint8)
    mask[48:110, 80:112] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    return folder


NEAR, FAR = slice(106, 122), slice(58, 66)  # rows of ``scene``


def scene():
    """A blue sky over textured ground, with a red box that stands on it."""
    picture = next(iter(still(192, 128, seed=7).frames)).copy()
    sky = np.linspace(150, 190, 56)[:, None]
    picture[:56] = np.stack([sky - 60, sky - 20, sky + 50], axis=-1) + np.zeros((56, 192, 3))
    picture[48:110, 80:112] = (200, 40, 30)
    return picture


def ask(place, prompt="", image="photo.png", mask=None, **more):
    named = (("image", image), ("mask", mask))
    inputs = tuple(InputMedia(probe(place / name), role) for role, name in named if name)
    more = {"duration_s": 0.5} | more
    return GenerationRequest(
        Principal("u"), Task.IMAGE_TO_VIDEO, "photo-motion", prompt, inputs=inputs, **more
    )


def make(place, prompt="", **more):
    raw = PhotoMotion().generate(ask(place, prompt, **more))
    return raw, [frame.copy() for frame in raw.frames]


def flow(one, other):
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (one, other)]
    return cv2.DISOpticalFlow_create(2).calc(*grey, None)


# ---------------------------------------------------------------- contract


def test_the_contract_of_a_generator(place):
    assert isinstance(PhotoMotion(), Generator)
    check_generator(PhotoMotion(), ask(place, "zoom in"))
    check_generator(PhotoMotion(), ask(place, "water flowing, pan left", mask="mask.png"))


# ---------------------------------------------------------------- moves


@pytest.mark.parametrize(
    ("move", "axis", "sign"),
    [("pan-left", 0, 1), ("pan-right", 0, -1), ("pan-up", 1, 1), ("pan-down", 1, -1)],
)
def test_a_pan_moves_the_picture_the_other_way(place, move, axis, sign):
    _, frames = make(place, parameters={"move": move})
    found = flow(frames[3], frames[6])[20:-20, 20:-20]
    assert sign * np.median(found[..., axis]) > 0.3
    assert abs(np.median(found[..., 1 - axis])) < 0.2


def test_a_zoom_spreads_and_the_other_one_gathers(place):
    for move, sign in (("zoom-in", 1), ("zoom-out", -1)):
        _, frames = make(place, parameters={"move": move, "parallax": 0})
        found = flow(frames[3], frames[7])
        assert sign * (found[:, 150:180, 0].mean() - found[:, 12:42, 0].mean()) > 0.5


def test_near_things_move_more_than_far_ones(place):
    """Rows at the foot of the picture against rows at the horizon, both sides of the middle."""
    apart = []
    for parallax in (1, 0):
        wanted = {"move": "orbit", "amount": 2, "parallax": parallax}
        _, frames = make(place, image="scene.png", parameters=wanted)
        found = flow(frames[4], frames[8])[..., 0]
        low, high = (np.r_[found[rows, 20:70], found[rows, 122:172]] for rows in (NEAR, FAR))
        apart.append(float(low.mean() - high.mean()))
    assert apart[0] > 0.8
    assert abs(apart[1]) < 0.3


@pytest.mark.parametrize("move", words.MOVES)
def test_no_border_is_ever_shown(place, move, monkeypatch):
    """Every output pixel of every frame has its source inside the photo."""
    worst = []
    maps = render.Renderer._maps

    def watched(self, view, near, shape):
        x, y = maps(self, view, near, shape)
        worst.append(max(-x.min(), -y.min(), x.max() - shape[1] + 1, y.max() - shape[0] + 1))
        return x, y

    monkeypatch.setattr(render.Renderer, "_maps", watched)
    for wanted in ({"amount": 2, "parallax": 2}, {"amount": 1, "loop": True}):
        raw, frames = make(place, image="scene.png", parameters={"move": move} | wanted)
        assert len(frames) == raw.frame_count
    assert max(worst, default=0) < 0.51


def test_without_the_crop_a_border_would_show(place, monkeypatch):
    """The negative control: the same look at the maps with no enlargement."""
    monkeypatch.setattr(camera, "crop", lambda *_: 1.0)
    path = camera.Path("pan-left", 1.0, 1.0, False)
    picture = scene()
    found = layout.layout(picture, None)
    renderer = render.Renderer(picture, picture, found, None, path, (192, 128), 10, None)
    x, _ = renderer._maps(path.at(0.0), renderer._near, picture.shape)
    assert x.min() < -2 or x.max() > 193


def test_a_loop_comes_back(place):
    for move in ("orbit", "pan-left", "breathing"):
        _, frames = make(place, duration_s=1.0, parameters={"move": move, "loop": True})
        steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(frames)]
        assert np.abs(frames[-1].astype(int) - frames[0]).mean() < 1.5 * max(steps)
    _, frames = make(place, duration_s=1.0, parameters={"move": "pan-left"})
    assert np.abs(frames[-1].astype(int) - frames[0]).mean() > 5


def test_the_ease_has_no_jerk():
    way = np.array([camera.eased(u) for u in np.linspace(0, 1, 101)])
    speed = np.diff(way)
    assert way[0] == 0
    assert abs(way[-1] - 1) < 1e-9
    assert (speed > -1e-12).all()
    assert speed[0] < 0.02 * speed.max()
    assert np.abs(np.diff(speed)).max() < 0.15 * speed.max()


# ---------------------------------------------------------------- depth and layers


def test_the_map_knows_sky_and_ground():
    found = layout.layout(scene(), None)
    assert found.sky[:40].mean() > 0.8
    assert found.sky[70:].mean() < 0.05
    assert found.ground[-8:].mean() > found.ground[60:70].mean() > found.ground[:20].mean()


def test_a_flat_picture_has_no_subject_and_works(place):
    raw, frames = make(place, image="flat.png")
    assert raw.details["relief"]["subject"] is None
    assert all((frame == 90).all() for frame in frames)


def test_a_mask_cuts_the_subject_and_the_ground_goes_on_behind_it():
    picture = scene()
    mask = np.zeros((128, 192), np.float32)
    mask[48:110, 80:112] = 1
    cut = subject.given(picture, mask)
    assert cut.matte[60:100, 86:106].mean() > 0.95
    assert cut.matte[:, :70].max() == 0
    behind = render.behind(picture, cut)
    red = (behind[..., 0].astype(int) - behind[..., 1] > 100).mean()
    assert red < 0.002, "red of the box was left behind it"
    assert np.array_equal(behind[:, :70], picture[:, :70])


def test_a_cut_subject_keeps_its_shape(place):
    _, frames = make(place, image="scene.png", mask="mask.png", parameters={"move": "orbit"})
    areas = [((f[..., 0].astype(int) - f[..., 1]) > 100).sum() for f in frames]
    assert max(areas) < 1.12 * min(areas)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("english", "italian", "move"),
    [
        ("slow zoom in", "zoom avanti lento", "zoom-in"),
        ("pan to the left", "panoramica a sinistra", "pan-left"),
        ("vertigo effect", "effetto vertigo", "dolly-zoom"),
        ("orbit around it", "orbita intorno", "orbit"),
        ("right", "verso destra", "pan-right"),
        ("", "", "orbit"),
    ],
)
def test_words_choose_the_move(english, italian, move):
    assert words.read(english).move == words.read(italian).move == move


def test_a_direction_belongs_to_what_moves():
    plan = words.read("clouds drifting left, zoom out")
    assert plan.move == "zoom-out"
    assert plan.ambient
    assert plan.said.of("dir") == ["left"]


def test_no_known_word_is_the_default_move_and_said_so(place):
    raw, _ = make(place, "xyzzy plugh")
    assert raw.details["default_move"]
    assert raw.details["understood"] == []
    assert raw.details["ignored"] == ["xyzzy", "plugh"]


def test_the_sky_moves_without_a_mask_and_water_does_not(place):
    raw, frames = make(place, "clouds drifting", image="scene.png", duration_s=1.0)
    assert raw.details["ambient"]["motion"] == "flow"
    assert np.array_equal(frames[0][70:], frames[7][70:])
    raw, frames = make(place, "water flowing", image="scene.png")
    assert raw.details["ambient"] is None
    assert raw.details["ignored"] == ["water", "flowing"]
    assert "mask" in raw.details["note"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "more",
    [
        {"image": None},
        {"parameters": {"move": "teleport"}},
        {"parameters": {"amount": 3}},
        {"parameters": {"nonsense": 1}},
        {"width": 33, "height": 64},
        {"duration_s": 1000},
        {"duration_s": float("nan")},
    ],
)
def test_bad_requests(place, more):
    with pytest.raises(UsageError):
        PhotoMotion().generate(ask(place, **more))


def test_hostile_input(place, tmp_path):
    with pytest.raises(MissingStream):
        PhotoMotion().generate(ask(place, image="clip.mp4"))
    cv2.imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(UsageError):
        PhotoMotion().generate(ask(tmp_path, image="dot.png"))
    raw, frames = make(tmp_path, image="dot.png", width=64, height=64)
    assert len(frames) == raw.frame_count
    raw, _ = make(place, "zoom " + "z" * 9990)
    assert raw.details["move"] == "zoom-in"


@pytest.mark.parametrize("after", [0, 1, 2, 3, 6])
def test_cancelled_at_any_step(place, after):
    calls = iter(range(10**6))
    with pytest.raises(Cancelled):
        list(PhotoMotion().generate(ask(place), cancelled=lambda: next(calls) >= after).frames)
