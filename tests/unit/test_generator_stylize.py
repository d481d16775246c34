"""The stylize generator: styles, steadiness in time, sound, words, hostile input."""

from itertools import pairwise

import cv2  # noqa: TID253  to make and read test pictures
import numpy as np
import pytest

from avsafe.errors import Cancelled, NotUnderstood, UnreadableMedia, UsageError
from avsafe.media import EncodeSpec, encode, probe
from avsafe.testing import check_generator, textured_clip
from avsafe.types import (
    GenerationRequest,
    Generator,
    InputMedia,
    Principal,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe_generators.stylize import Stylize, cells, clip, generator, steady, words


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stylize")
    encode(textured_clip(0.5, 128, 96, seed=2), folder / "clip.mp4", EncodeSpec())
    cv2.imwrite(str(folder / "photo.png"), np.zeros((96, 128, 3), np.uint8))
    return folder


def ask(place, prompt="", name="clip.mp4", **more):
    inputs = (InputMedia(probe(place / name), "video"),) if name else ()
    return GenerationRequest(
        Principal("u"), Task.STYLIZE_VIDEO, "stylize", prompt, inputs=inputs, **more
    )


def frames_of(raw):
    return [frame.copy() for frame in raw.frames]


def noisy(count=12, sigma=6.0, seed=0):
    """A still scene of five shades with noise that is new in every frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:96, 0:128]
    scene = np.select([x < 30, y < 40, x > 100, y > 80], [60, 200, 120, 30], 90)
    scene = np.stack([scene, 0.8 * scene + 20, 0.9 * scene], axis=-1)
    return [
        np.clip(scene + sigma * rng.standard_normal(scene.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def restless(frames):
    pairs = pairwise(frames[4:])
    return float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairs]))


def drawn(style, frames, how):
    found = clip.survey(frames, len(frames), no_progress, never_cancelled)
    drawer = generator.make(style, 128, 96, np.random.default_rng(0), found)
    stable = steady.Steady(drawer.draw, drawer.memory, 128, 96, how)
    return [stable.frame(frame).copy() for frame in frames]


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("style", ["watercolor", "pixel", "vintage"])
def test_the_contract_of_a_generator(place, style):
    assert isinstance(Stylize(), Generator)
    raw = check_generator(
        Stylize(), ask(place, parameters={"style": style, "flicker": 1}, duration_s=0.24)
    )
    assert raw.samples is not None


@pytest.mark.parametrize("style", words.STYLES)
def test_every_style_changes_the_picture_and_keeps_its_layout(place, style):
    raw = Stylize().generate(ask(place, parameters={"style": style}, duration_s=0.2))
    frames = frames_of(raw)
    source = next(iter(textured_clip(0.5, 128, 96, seed=2).frames))
    assert frames[0].shape == source.shape
    assert np.abs(frames[0].astype(int) - source).mean() > 6
    assert frames[0].std() > 12, "nothing is left of the picture"


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("style", words.STYLES)
def test_noise_of_the_source_does_not_flicker(style):
    frames = noisy()
    naive, calm = restless(drawn(style, frames, 0.0)), restless(drawn(style, frames, 1.0))
    assert calm < 0.75 * naive + 0.05, f"{style}: {calm:.2f} against {naive:.2f} frame by frame"


def test_a_cut_leaves_no_ghost():
    """After a hard cut the drawing is that of the new scene alone."""
    one, other = noisy(3), [255 - frame for frame in noisy(3, seed=1)]
    after = drawn("duotone", one + other, 1.0)[3]
    alone = drawn("duotone", one + other, 0.0)[3]
    assert np.abs(after.astype(int) - alone).mean() < 1.0


def test_the_drawing_moves_along():
    """A shifted scene: the motion found is the shift, with confidence."""
    source = next(iter(textured_clip(0.1, 160, 120, seed=3).frames))
    motion = steady.Motion(120, 90)
    assert motion.step(np.ascontiguousarray(source[10:100, 20:140])) is None
    x, y, sure = motion.step(np.ascontiguousarray(source[10:100, 23:143]))
    gy, gx = np.mgrid[0:90, 0:120]
    assert abs(np.median((x - gx)[15:-15, 15:-15]) - 3) < 0.3
    assert abs(np.median((y - gy)[15:-15, 15:-15])) < 0.3
    assert sure[15:-15, 15:-15].mean() > 0.8


def test_a_pixel_keeps_its_colour_under_noise():
    """Hysteresis: fewer pixels change with it than without it."""
    frames = noisy(8, sigma=8)
    found = clip.survey(frames, 8, no_progress, never_cancelled)
    changes = []
    for stay in (cells.Pixel._STAY, -1.0):
        drawer = cells.Pixel(128, 96, np.random.default_rng(0), found)
        drawer._STAY = stay
        shown = [drawer.draw(frame) for frame in frames]
        changes.append(np.mean([(a != b).mean() for a, b in pairwise(shown)]))
    assert changes[0] < 0.6 * changes[1]


def test_vintage_flickers_only_when_asked(place):
    def brightness(flicker):
        frames = frames_of(
            Stylize().generate(ask(place, parameters={"style": "vintage", "flicker": flicker}))
        )
        return float(np.diff([frame.mean() for frame in frames]).std())

    assert brightness(1.0) > 3 * brightness(0.0)


# ---------------------------------------------------------------- strength, sound, length


def test_strength_blends_from_nothing_to_all(place):
    source = frames_of(Stylize().generate(ask(place, "noir", parameters={"strength": 0})))
    full = frames_of(Stylize().generate(ask(place, "noir")))
    half = frames_of(Stylize().generate(ask(place, "noir", parameters={"strength": 0.5})))
    from avsafe.media import decode

    decoded = frames_of(decode(place / "clip.mp4"))
    assert all(np.array_equal(a, b) for a, b in zip(source, decoded, strict=True))
    middle = (full[5].astype(float) + decoded[5]) / 2
    assert np.abs(half[5] - middle).max() <= 1


def test_the_sound_is_the_source_s(place):
    from avsafe.media import decode

    raw, own = Stylize().generate(ask(place, "comic")), decode(place / "clip.mp4")
    heard = np.concatenate(list(raw.samples), axis=1)
    assert np.array_equal(heard, np.concatenate(list(own.samples), axis=1))
    assert raw.rate_hz == own.rate_hz
    short = Stylize().generate(ask(place, "comic", duration_s=0.2))
    assert short.frame_count == len(frames_of(short)) == 5
    assert sum(block.shape[1] for block in short.samples) == round(0.2 * raw.rate_hz)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("as a watercolour", "watercolor"),
        ("come un acquerello", "watercolor"),
        ("like an oil painting by van gogh", "oil"),
        ("pittura a olio", "oil"),
        ("schizzo a matita", "pencil"),
        ("fumetto", "comic"),
        ("bianco e nero", "noir"),
        ("8-bit video game", "pixel"),
        ("mosaico", "mosaic"),
        ("not a cartoon, a sketch", "pencil"),
    ],
)
def test_words_choose_the_style(place, text, style):
    assert Stylize().generate(ask(place, text)).details["style"] == style


def test_what_was_ignored_is_said(place):
    details = Stylize().generate(ask(place, "subtle sketch with purple zebras, mosaic")).details
    assert details["style"] == "pencil"
    assert details["strength"] == 0.5
    assert details["understood"] == ["subtle", "sketch"]
    assert details["ignored"] == ["purple", "zebras", "mosaic"]
    assert details["n_ignored"] == 3


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("prompt", ["", "xyzzy", "no comic", "z" * 10_000])
def test_no_style_is_not_understood(place, prompt):
    with pytest.raises(NotUnderstood, match="watercolor"):
        Stylize().generate(ask(place, prompt))


@pytest.mark.parametrize(
    "more",
    [
        {"name": None},
        {"parameters": {"style": "cubism"}},
        {"parameters": {"strength": 2}},
        {"parameters": {"nonsense": 1}},
        {"width": 33, "height": 64},
        {"duration_s": float("nan")},
    ],
)
def test_bad_requests(place, more):
    with pytest.raises(UsageError):
        Stylize().generate(ask(place, "comic", **more))


def test_hostile_input(place):
    with pytest.raises(UnreadableMedia):
        Stylize().generate(ask(place, "comic", name="photo.png"))
    media = probe(place / "clip.mp4")
    broken = place / "broken.mp4"
    broken.write_bytes((place / "clip.mp4").read_bytes()[:1500])
    item = InputMedia(type(media)(**{**vars(media), "path": broken}), "video")
    request = GenerationRequest(
        Principal("u"), Task.STYLIZE_VIDEO, "stylize", "comic", inputs=(item,)
    )
    with pytest.raises(UnreadableMedia):
        frames_of(Stylize().generate(request))
    hours = type(media)(**{**vars(media), "duration_s": 8 * 3600.0})
    request = GenerationRequest(
        Principal("u"), Task.STYLIZE_VIDEO, "stylize", "comic",
        inputs=(InputMedia(hours, "video"),),
    )  # fmt: skip
    with pytest.raises(UsageError, match="60"):
        Stylize().generate(request)


@pytest.mark.parametrize("after", [0, 3, 15, 30])
def test_cancelled_at_any_step(place, after):
    calls = iter(range(10**6))
    with pytest.raises(Cancelled):
        frames_of(Stylize().generate(ask(place, "comic"), cancelled=lambda: next(calls) >= after))
