"""edit: instructions understood, local edits local, and sound that stays with its pictures."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import NotUnderstood, UnreadableMedia, UsageError
from avsafe.media import EncodeSpec
from avsafe.testing import check_generator, flash_beep_clip, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_generators.edit import Edit, framing, pixels, regions, timing
from avsafe_generators.edit.clip import Clip
from avsafe_generators.edit.generator import done
from avsafe_generators.edit.parse import Operation, parse
from avsafe_generators.edit.stretch import stretched
from avsafe_generators.inpaint.marks import refuse_removal

SENTENCES = Path(__file__).parents[1] / "assets" / "edit_instructions.jsonl"
WIDTH, HEIGHT = 160, 96


def held(raw):
    """Raw media as a clip under edit, without any file."""
    frames = list(raw.frames)
    sound = np.concatenate(list(raw.samples), 1) if raw.samples is not None else None
    return Clip(
        lambda: ((frame, None) for frame in frames),
        raw.frame_rate, len(frames), raw.width, raw.height,
        None if sound is None else lambda: sound, raw.rate_hz, raw.channels,
    )  # fmt: skip


@pytest.fixture(scope="module")
def textured():
    return held(textured_clip(0.6, WIDTH, HEIGHT))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("edit") / "clip.mp4"
    media.encode(textured_clip(0.5, WIDTH, HEIGHT), path, EncodeSpec())
    return path


def ask(file, prompt, mask=None, **more):
    parameters = {} if mask is None else {"mask": mask}
    return GenerationRequest(
        Principal("u"), Task.EDIT_VIDEO, "edit", prompt,
        inputs=(InputMedia(media.probe(file), "video"),), parameters=parameters, **more,
    )  # fmt: skip


def apply(clip, prompt):
    for operation in parse(prompt).operations:
        clip = done(clip, operation, False)
    return clip


def frames(clip):
    return [frame for frame, _ in clip.pairs()]


# ---------------------------------------------------------------- the parser


def outcome(text):
    try:
        refuse_removal(text, takes_away=False)
        return "understood", [operation.as_json() for operation in parse(text).operations]
    except NotUnderstood:
        return "not understood", []
    except UsageError as error:
        return ("refused" if "never offers" in str(error) else "cannot"), []


@pytest.mark.parametrize(("half", "least"), [("development", 1.0), ("held-out", 0.95)])
def test_sentences(half, least):
    rows = [json.loads(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["half"] == half]
    assert len(rows) >= 60
    right = 0
    for row in rows:
        what, found = outcome(row["text"])
        wanted = row["operations"]
        right += (
            what == row["outcome"]
            and len(found) == len(wanted)
            and all(item.items() <= got.items() for item, got in zip(wanted, found, strict=True))
        )
    assert right / len(rows) >= least


@pytest.mark.parametrize(
    "text",
    ["", "   ", "xyzzy plugh", "bellissimo tramonto", "...", "12345", "\u200b", "e and then poi"],
)
def test_nothing_understood(text):
    with pytest.raises(NotUnderstood, match="It can do"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "make the red car blue and add a dragon", "slow down and make him smile",
        "put a crown on her head", "replace the car with a horse", "make her look like a celebrity",
        "trasforma il cane in un leone", "metti un cappello all'uomo", "fai nevicare",
        "let him say hello", "undress her",
    ],
)  # fmt: skip
def test_what_no_operator_can_do_is_said_and_nothing_is_done_by_halves(text):
    with pytest.raises(UsageError, match="can't do this") as caught:
        parse(text)
    assert not isinstance(caught.value, NotUnderstood)


def test_too_much_is_refused():
    with pytest.raises(UsageError, match="at most 1000"):
        parse("brighter " * 1200)
    with pytest.raises(UsageError, match="at most 12"):
        parse(", ".join(["reverse"] * 13))


def test_order_and_ignored_words():
    found = parse("reverse it, then blur the background of my lovely garden and mute it")
    assert [operation.name for operation in found.operations] == ["reverse", "blur", "mute"]
    assert found.ignored == ("lovely", "garden")


def test_a_parser_survives_any_text():
    rng = np.random.default_rng(5)
    letters = list("abc è'\"’%:,.0123x&+()[]\\{}\n and then e poi qtext0 add crop 2x red")
    for _ in range(300):
        text = "".join(rng.choice(letters, 40))
        try:
            parse(text)
        except UsageError:
            continue


# ---------------------------------------------------------------- sound stays with the pictures


def flashes_s(clip):
    bright = [frame.mean() > 120 for frame in frames(clip)]
    return [
        n / float(clip.rate) for n, on in enumerate(bright) if on and (n == 0 or not bright[n - 1])
    ]


def beeps_s(clip):
    """Beginnings of the beeps; (begin, end) pairs' begin, in seconds."""
    loud = np.abs(clip.sound()[0]) > 0.2
    at = np.flatnonzero(loud) / clip.rate_hz
    return [] if not len(at) else [at[0], *at[1:][np.diff(at) > 0.2]]


@pytest.mark.parametrize(
    "prompt",
    [
        "slow down 2x", "slow down by half and trim the first 0.4 seconds", "speed up 2x",
        "cut from second 1 to second 3", "loop it 2 times", "reverse", "boomerang",
        "hold the first frame for 1 second",
    ],
)  # fmt: skip
def test_flash_and_beep_stay_together(prompt):
    source = held(flash_beep_clip(duration_s=3.0, width=64, height=64))
    clip = apply(source, prompt)
    flash, beep = flashes_s(clip), beeps_s(clip)
    assert len(flash) >= 2
    if "speed up" in prompt:  # leaving out frames may take a flash of one frame with it
        assert len(beep) == 3
    else:
        assert len(flash) == len(beep)
    apart = [min(abs(one - other) for other in beep) for one in flash]
    assert max(apart) <= 0.041  # one frame at 25 a second
    assert clip.sound().shape[1] == pytest.approx(clip.seconds * clip.rate_hz, abs=2)
    assert len(frames(clip)) == clip.count


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.7, 3.0])
def test_stretching_keeps_pitch_and_place(factor):
    rate_hz = 16000
    t = np.arange(2 * rate_hz) / rate_hz
    tone = (0.4 * np.sin(2 * np.pi * 440 * t))[None].astype(np.float32)
    made = stretched(tone, factor, rate_hz)
    assert made.shape[1] == round(tone.shape[1] / factor)
    middle = made[0, made.shape[1] // 8 : -made.shape[1] // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
    peak_hz = np.argmax(spectrum) * rate_hz / middle.size
    assert abs(peak_hz - 440) < 4
    assert np.std(middle) == pytest.approx(np.std(tone), rel=0.1)


# ---------------------------------------------------------------- time


def test_trim_reverse_and_loop_give_the_very_frames(textured):
    source = frames(textured)
    assert all(map(np.array_equal, frames(timing.reverse(textured)), source[::-1]))
    assert all(map(np.array_equal, frames(timing.trim(textured, 0.2, 0.4)), source[5:10]))
    assert all(map(np.array_equal, frames(timing.loop(textured, 2)), source * 2))
    held_end = frames(timing.freeze(textured, "end", 0.2))
    assert all(map(np.array_equal, held_end, source + [source[-1]] * 5))
    with pytest.raises(UsageError, match="nothing is left"):
        timing.trim(textured, 5.0)
    with pytest.raises(UsageError, match="at most 120"):
        timing.loop(timing.loop(textured, 20), 20)


def test_reverse_in_parts_equals_reverse_at_once(textured, monkeypatch):
    whole = frames(timing.reverse(textured))
    monkeypatch.setattr(timing, "_HELD", 1)  # the least: eight frames
    assert all(map(np.array_equal, frames(timing.reverse(textured)), whole))


def test_frames_between_lie_between():
    """A texture that slides by 4 pixels a frame: at half speed the frames between are the picture
    that slid by 2, and better than a mixture of the two neighbours."""
    wide = next(iter(textured_clip(0.04, 320, HEIGHT, sound=False).frames))
    slid = [np.ascontiguousarray(wide[:, 2 * n : 2 * n + WIDTH]) for n in range(9)]
    clip = Clip(lambda: ((f, None) for f in slid[::2]), Fraction(25), 5, WIDTH, HEIGHT)
    made = frames(timing.speed(clip, 0.5))
    assert len(made) == 10
    inner = (slice(8, -8), slice(12, -12))
    for n in (1, 3, 5, 7):
        error = np.abs(made[n][inner].astype(float) - slid[n][inner]).mean()
        mixed = (slid[n - 1].astype(float) + slid[n + 1]) / 2
        assert error < 0.5 * np.abs(mixed[inner] - slid[n][inner]).mean()


def test_fades_only_touch_their_ends(textured):
    made, source = frames(timing.fade(textured, True, 0.2)), frames(textured)
    assert made[0].max() == 0
    assert all(map(np.array_equal, made[5:], source[5:]))


# ---------------------------------------------------------------- pixels


def test_operators_do_what_their_name_says(textured):
    picture = frames(textured)[3].astype(np.float32)
    luma = lambda p: float((p @ np.array([0.299, 0.587, 0.114])).mean())  # noqa: E731
    colourful = lambda p: float((p.max(2) - p.min(2)).mean())  # noqa: E731
    detail = lambda p: float(np.abs(np.diff(p, axis=1)).mean())  # noqa: E731
    assert luma(pixels.brightness(picture, 0.3)) > luma(picture) + 8
    assert luma(pixels.brightness(picture, -0.3)) < luma(picture) - 8
    assert pixels.contrast(picture, 0.3).std() > 1.2 * picture.std()
    assert colourful(pixels.saturation(picture, 0.5)) > 1.3 * colourful(picture)
    assert colourful(pixels.saturation(picture, -1.0)) < 1
    warm, cool = pixels.temperature(picture, 0.35), pixels.temperature(picture, -0.35)
    assert (warm[..., 0] - warm[..., 2]).mean() > (cool[..., 0] - cool[..., 2]).mean() + 20
    assert abs(luma(warm) - luma(picture)) < 6
    assert colourful(pixels.greyscale(picture)) == 0
    sepia = pixels.sepia(picture)
    assert (sepia[..., 0] >= sepia[..., 1]).all()
    assert (sepia[..., 1] >= sepia[..., 2]).all()
    assert luma(pixels.night(picture)) < 0.6 * luma(picture)
    assert detail(pixels.blur(picture)) < 0.7 * detail(picture)
    assert detail(pixels.sharpen(picture)) > 1.1 * detail(picture)
    rng = np.random.default_rng(1)
    noisy = (picture + rng.normal(0, 8, picture.shape)).astype(np.float32)
    error = lambda p: float(np.square(p - picture).mean())  # noqa: E731
    assert error(pixels.denoise(noisy)) < 0.7 * error(noisy)
    assert np.array_equal(pixels.invert(pixels.invert(picture)), picture)
    vignette = pixels.vignette(picture)
    assert np.array_equal(vignette[48, 80], picture[48, 80])
    assert vignette[0, 0].sum() < 0.7 * picture[0, 0].sum()
    for name in ("cartoon", "sketch", "oil", "watercolour", "poster", "emboss"):
        made = pixels.style(picture, name)
        assert made.shape == picture.shape
        assert np.isfinite(made).all()
        assert np.abs(np.clip(made, 0, 255) - picture).mean() > 3


def painted_scene():
    frame = np.full((HEIGHT, WIDTH, 3), (120, 125, 118), np.uint8)
    shade = np.linspace(0.6, 1.0, 40)[None, :, None]
    frame[20:60, 20:60] = (np.array([200, 40, 35]) * shade).astype(np.uint8)
    frame[30:70, 100:140] = (60, 160, 70)
    return frame


def test_recolour_paints_the_thing_and_nothing_else():
    import cv2

    frame = painted_scene()
    clip = Clip(lambda: iter([(frame, None)]), Fraction(25), 1, WIDTH, HEIGHT)
    (made,) = frames(apply(clip, "make the red car blue"))
    hue = cv2.cvtColor(made.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[24:56, 24:56, 0]
    assert np.abs(hue - 225).max() < 25
    bright = made[24:56, 24:56].sum(2).mean(0)
    assert (np.diff(bright) > -1).all()  # light and shade stay
    far = np.ones((HEIGHT, WIDTH), bool)
    far[15:65, 15:65] = False
    assert np.array_equal(made[far], frame[far])


def test_masks_by_colour_do_not_flicker():
    rng = np.random.default_rng(2)
    base = painted_scene().astype(int)
    noise = rng.normal(0, 3, (6, *base.shape))
    masks = [regions.of_colour(np.clip(base + n, 0, 255).astype(np.uint8), "red") for n in noise]
    assert np.abs(np.diff(masks, axis=0)).mean() < 0.01
    assert min(float(mask[24:56, 24:56].min()) for mask in masks) > 0.9


def test_local_edits_leave_the_rest_bit_by_bit(file):
    raw = Edit().generate(ask(file, "blur the background", mask="0.25,0.25,0.5,0.5"))
    source = list(media.decode(file).frames)
    inside = (slice(24, 72), slice(40, 120))
    for old, new in zip(source, raw.frames, strict=True):
        assert np.array_equal(old[inside], new[inside])
        assert not np.array_equal(old[:20], new[:20])
    assert "bit by bit" in raw.details["untouched"]
    raw = Edit().generate(ask(file, "add the text 'Ciao' at the bottom"))
    for old, new in zip(source, raw.frames, strict=True):
        assert np.array_equal(old[: HEIGHT // 2], new[: HEIGHT // 2])
        assert not np.array_equal(old[HEIGHT // 2 :], new[HEIGHT // 2 :])


def test_remove_fills_the_mask_only(file):
    raw = Edit().generate(ask(file, "remove the ball", mask="0.4,0.4,0.2,0.2"))
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[34:62, 58:102] = False
    changed = 0
    for old, new in zip(media.decode(file).frames, raw.frames, strict=True):
        assert np.array_equal(old[outside], new[outside])
        changed += not np.array_equal(old, new)
    assert changed == raw.frame_count


# ---------------------------------------------------------------- the frame


def test_turns_and_mirrors(textured):
    source = frames(textured)[0]
    turned = framing.rotate(textured, 90)
    assert (turned.width, turned.height) == (HEIGHT, WIDTH)
    assert np.array_equal(frames(turned)[0], np.rot90(source, -1))
    assert np.array_equal(frames(framing.rotate(textured, 180))[0], source[::-1, ::-1])
    assert np.array_equal(frames(framing.flip(textured, "horizontal"))[0], source[:, ::-1])
    assert np.array_equal(frames(framing.flip(textured, "vertical"))[0], source[::-1])


@pytest.mark.parametrize(
    ("shape", "size"),
    [("1:1", (96, 96)), ("16:9", (160, 90)), ("left half", (80, 96)), ("4:3", (128, 96))],
)
def test_crops(textured, shape, size):
    clip = framing.crop(textured, shape)
    assert (clip.width, clip.height) == size
    assert frames(clip)[0].shape == (size[1], size[0], 3)


def test_crops_too_small_or_strange_are_refused(textured):
    for shape in ("top half", "1:10", "1:99", "mask"):
        with pytest.raises(UsageError):
            framing.crop(textured, shape)


def test_stabilise_takes_out_a_known_shake():
    wide = next(iter(textured_clip(0.04, 240, 180, sound=False).frames))
    rng = np.random.default_rng(4)
    shifts = rng.integers(-4, 5, (20, 2))
    shaken = [
        np.ascontiguousarray(wide[20 + dy : 20 + dy + 128, 20 + dx : 20 + dx + 192])
        for dx, dy in shifts
    ]
    clip = Clip(lambda: ((f, None) for f in shaken), Fraction(25), 20, 192, 128)
    steady = frames(framing.stabilise(clip))
    inner = (slice(24, -24), slice(24, -24))

    def unrest(some):
        cut = [f[inner].astype(float) for f in some]
        return np.mean([np.abs(a - b).mean() for a, b in zip(cut, cut[1:], strict=False)])  # noqa: RUF007

    assert unrest(steady) < 0.5 * unrest(shaken)


# ---------------------------------------------------------------- the whole generator


@pytest.mark.parametrize(
    "prompt", ["make it brighter and slow down 2x", "rotate 90 degrees, reverse, fade out"]
)
def test_contract(file, prompt):
    assert isinstance(Edit(), Generator)
    raw = check_generator(Edit(), ask(file, prompt))
    assert raw.details["operations"][0]["name"] in ("brightness", "rotate")
    assert Edit().info.digital_source_type.endswith("/algorithmicallyEnhanced")


def test_mute_leaves_no_sound(file):
    raw = Edit().generate(ask(file, "mute it"))
    assert raw.samples is None
    assert raw.rate_hz == 0


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("remove the person", "--mask"), ("blur the background", "--mask"),
        ("make the car blue", "which colour it has"),
        ("replace the background with green", "--mask"),
        ("remove the watermark", "never offers"), ("blur the logo", "never offers"),
        ("togli la filigrana", "never offers"),
    ],
)  # fmt: skip
def test_refusals_come_before_any_work(file, prompt, message):
    with pytest.raises(UsageError, match=message):
        Edit().generate(ask(file, prompt))


def test_hostile_inputs(file, tmp_path):
    broken = tmp_path / "broken.mp4"
    data = file.read_bytes()
    broken.write_bytes(data[: len(data) // 3])
    with pytest.raises(UnreadableMedia):
        list(Edit().generate(ask(broken, "brighter")).frames)
    with pytest.raises(UsageError, match="at most 1000"):
        Edit().generate(ask(file, "brighter " * 1200))
    with pytest.raises(UsageError, match="no parameter"):
        Edit().generate(
            GenerationRequest(Principal("u"), Task.EDIT_VIDEO, "edit", "brighter",
                              parameters={"power": 3})
        )  # fmt: skip
    tiny = tmp_path / "tiny.mp4"
    small = RawMedia(Kind.VIDEO, frames=[np.zeros((16, 16, 3), np.uint8)] * 3,
                     frame_rate=Fraction(25), frame_count=3, width=16, height=16)  # fmt: skip
    media.encode(small, tiny, EncodeSpec())
    with pytest.raises(UsageError, match="at least 64"):
        Edit().generate(ask(tiny, "brighter"))


def test_every_operation_of_the_parser_has_an_operator(textured):
    """No form may name an operation that nothing does."""
    from avsafe_generators.edit.forms import FORMS

    given = {
        "recolour": {"target": "blue", "source": "red"}, "segment": {"source": "red"},
        "detect": {"source": "red"}, "speed": {"factor": 2.0}, "loop": {"times": 2},
        "crop": {"shape": "1:1"}, "rotate": {"degrees": 90}, "flip": {"axis": "vertical"},
        "zoom": {"factor": 2.0}, "text": {"text": "x"}, "volume": {"factor": 2.0},
    }  # fmt: skip
    masked = Clip(
        lambda: ((f, np.pad(np.ones((20, 20), np.float32), ((0, 76), (0, 140))))
                 for f in frames(textured)[:3]),
        Fraction(25), 3, WIDTH, HEIGHT,
    )  # fmt: skip
    for name in sorted({form.name for form in FORMS} - {"fade"}):
        parameters = given.get(name, {"target": "white"} if name == "background" else {})
        clip = done(masked, Operation(name, "", parameters), True)
        assert len(frames(clip)) == clip.count
