"""inpaint: outside the hole nothing changes, inside nothing is read, what was seen comes back."""

import itertools
from itertools import pairwise

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import MissingStream, NotUnderstood, UsageError
from avsafe.media import EncodeSpec
from avsafe.testing import check_generator, still, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_generators.inpaint import Inpaint
from avsafe_generators.inpaint.fill import hidden, smooth, spread
from avsafe_generators.inpaint.marks import refuse_removal
from avsafe_generators.inpaint.propagate import propagate

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("inpaint") / "clip.mp4"
    media.encode(textured_clip(0.8, WIDTH, HEIGHT), path, EncodeSpec())
    return path


def ask(clip, prompt="", mask="0.3,0.3,0.3,0.3", mask_file=None, **parameters):
    inputs = [InputMedia(media.probe(clip), "video")]
    if mask_file is not None:
        inputs.append(InputMedia(media.probe(mask_file), "mask"))
    elif mask is not None:
        parameters["mask"] = mask
    return GenerationRequest(
        Principal("u"), Task.INPAINT_VIDEO, "inpaint", prompt,
        inputs=tuple(inputs), parameters=parameters,
    )  # fmt: skip


def moving_holes(count, height=HEIGHT, width=WIDTH):
    """A disc that crosses the picture: whatever it hides is seen before or after."""
    ys, xs = np.mgrid[0:height, 0:width]
    return [
        (xs - width * (0.2 + 0.6 * i / count)) ** 2 + (ys - height / 2) ** 2 < (0.13 * height) ** 2
        for i in range(count)
    ]


def panning(count, height=HEIGHT, width=WIDTH, speed=1.5):
    """Texture that slides at a constant, known speed."""
    import cv2

    wide = next(iter(textured_clip(0.04, width * 2, height, sound=False).frames))
    return [
        cv2.warpAffine(wide, np.float64([[1, 0, -speed * i], [0, 1, 0]]), (width, height))
        for i in range(count)
    ]


def psnr(one, other, holes):
    squares = [
        np.square(a[m].astype(float) - b[m]).mean()
        for a, b, m in zip(one, other, holes, strict=True)
    ]
    return 10 * np.log10(255**2 / np.mean(squares))


def test_contract(clip):
    assert isinstance(Inpaint(), Generator)
    raw = check_generator(Inpaint(), ask(clip))
    assert raw.details["fill"] == "propagate"
    assert raw.samples is not None
    assert Inpaint().info.digital_source_type.endswith("/compositeSynthetic")


@pytest.mark.parametrize("fill", ["propagate", "blur", "pixelate", "color"])
def test_outside_the_mask_every_pixel_stays_and_inside_it_changes(clip, fill):
    raw = Inpaint().generate(ask(clip, fill=fill))
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[36:72, 48:96] = True
    before = list(media.decode(clip).frames)
    for old, new in zip(before, raw.frames, strict=True):
        assert np.array_equal(old[~hole], new[~hole])
        assert not np.array_equal(old[hole], new[hole])
    for old, new in zip(media.decode(clip).samples, raw.samples, strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("speed", [0.0, 1.5])
def test_what_other_frames_show_comes_back_and_better_than_frame_by_frame(speed):
    import cv2

    truth, holes = panning(24, speed=speed), moving_holes(24)
    given = [np.where(m[..., None], np.uint8(255), f) for f, m in zip(truth, holes, strict=True)]
    filled = list(propagate(zip(given, holes, strict=True)))
    alone = [
        cv2.inpaint(f, m.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        for f, m in zip(given, holes, strict=True)
    ]
    assert psnr(truth, filled, holes) > psnr(truth, alone, holes) + 4
    assert psnr(truth, filled, holes) > 26


def test_nothing_inside_the_hole_is_read():
    truth, holes = panning(12), moving_holes(12)
    outputs = []
    for colour in ((255, 0, 255), (0, 40, 10)):
        given = [
            np.where(m[..., None], np.uint8(colour), f) for f, m in zip(truth, holes, strict=True)
        ]
        outputs.append(list(propagate(zip(given, holes, strict=True))))
    for one, other in zip(*outputs, strict=True):
        assert np.array_equal(one, other)


def test_a_fill_that_no_frame_shows_stands_still():
    rng = np.random.default_rng(3)
    base = next(iter(textured_clip(0.04, WIDTH, HEIGHT, sound=False).frames)).astype(int)
    noisy = [
        np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8) for _ in range(14)
    ]
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[40:80, 50:100] = True
    filled = list(propagate((f, hole) for f in noisy))
    alone = [smooth(f.astype(np.float32), hole) for f in noisy]

    def flicker(frames):
        pairs = itertools.pairwise(frames[4:])
        return np.mean([np.abs(a[hole].astype(float) - b[hole]).mean() for a, b in pairs])

    assert flicker(filled) < 0.6 * flicker(alone)


def test_no_pixel_crosses_a_cut():
    dark = [np.full((HEIGHT, WIDTH, 3), 20, np.uint8)] * 6
    light = [np.full((HEIGHT, WIDTH, 3), 230, np.uint8)] * 6
    holes = moving_holes(12)
    filled = list(propagate(zip(dark + light, holes, strict=True)))
    for number, (frame, hole) in enumerate(zip(filled, holes, strict=True)):
        assert np.abs(frame[hole].astype(int) - (20 if number < 6 else 230)).max() <= 2


def test_the_window_bounds_what_is_held(monkeypatch):
    from avsafe_generators.inpaint import propagate as module

    alive, most = set(), 0

    class Counted(module.Slot):
        def __init__(self, *given):
            nonlocal most
            super().__init__(*given)
            alive.add(self.number)
            most = max(most, len(alive))

        def __del__(self):
            alive.discard(self.number)

    monkeypatch.setattr(module, "Slot", Counted)
    frames = panning(60, 48, 64, speed=0.5)
    list(module.propagate(zip(frames, moving_holes(60, 48, 64), strict=True), window=5))
    assert most <= 2 * 5 + module.CHUNK + 2


def test_smooth_fills_follow_a_ramp():
    ramp = np.tile(np.linspace(0, 200, 64, dtype=np.float32)[None, :, None], (48, 1, 3))
    hole = np.zeros((48, 64), bool)
    hole[16:32, 24:40] = True
    broken = ramp.copy()
    broken[hole] = 0
    flat = np.abs(ramp[hole] - ramp[hole].mean()).max()
    assert np.abs(smooth(broken, hole) - ramp).max() < 0.5 * flat
    values = spread(broken, (~hole).astype(np.float32))
    assert np.array_equal(values[~hole], broken[~hole])


@pytest.mark.parametrize("how", ["blur", "pixelate", "color"])
def test_hidden_fills_hide(how):
    frame = next(iter(textured_clip(0.04, WIDTH, HEIGHT, sound=False).frames))
    checks = frame.copy()
    checks[::4] = 255 - checks[::4]
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[20:100, 30:130] = True
    hid = hidden(checks, hole, how, (1, 2, 3))
    detail = np.abs(np.diff(hid[20:100, 30:130], axis=0)).mean()
    assert detail < 0.25 * np.abs(np.diff(checks[20:100, 30:130].astype(float), axis=0)).mean()


@pytest.mark.parametrize(
    ("prompt", "fill"),
    [
        ("", "propagate"), ("remove the red chair", "propagate"), ("togli la sedia", "propagate"),
        ("blur it", "blur"), ("sfoca", "blur"), ("pixelate", "pixelate"),
        ("colour red", "color"), ("fill with black", "color"), ("nero", "color"),
    ],
)  # fmt: skip
def test_fill_words(clip, prompt, fill):
    assert Inpaint().generate(ask(clip, prompt)).details["fill"] == fill


@pytest.mark.parametrize("prompt", ["a hat on his head", "un gatto nero che dorme qui", "xyzzy"])
def test_it_does_not_pretend_to_draw(clip, prompt):
    with pytest.raises(NotUnderstood, match="can't draw"):
        Inpaint().generate(ask(clip, prompt))


REFUSED = [
    "remove the watermark", "Remove the WATER-MARK in the corner", "erase the logo",
    "get rid of the label", "strip the content credentials", "clean the 'x' watermark away",
    "make the watermark invisible", "wat3rmark off please", "rimuovi la filigrana",
    "togli il logo in basso", "cancella l'etichetta", "elimina il bollino",
    "nascondi il marchio", "una copia senza filigrana", "remove the AI generated label",
    "delete the c2pa data", "blur the logo", "crop out the watermark", "without logo",
    "entferne das Wasserzeichen", "water\u200bmark removal",
]  # fmt: skip


@pytest.mark.parametrize("prompt", REFUSED)
@pytest.mark.parametrize("takes_away", [True, False])
def test_taking_marks_away_is_refused(prompt, takes_away):
    with pytest.raises(UsageError, match="never offers to remove"):
        refuse_removal(prompt, takes_away=takes_away)


@pytest.mark.parametrize(
    "prompt",
    [
        "remove the car", "make the logo red", "togli la macchina", "add the text 'no watermark'",
        "keep the watermark and blur the background", "crop to a square", "clean up the noise",
        "make it brighter", "slow down", "rimuovi il rumore", "make the water blue", "make a mark",
    ],
)  # fmt: skip
def test_other_wishes_are_not_refused(prompt):
    refuse_removal(prompt, takes_away=False)


def test_refused_by_the_generator(clip):
    with pytest.raises(UsageError, match="never offers to remove"):
        Inpaint().generate(ask(clip, "remove the logo"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": None}, "--mask"),
        ({"mask": "0,0,1,1"}, "covers 100%"),
        ({"mask": "0,0,2,1"}, "leaves the frame"),
        ({"fill": "magic"}, "fill is one of"),
        ({"fill": "color", "color": "octarine"}, "color is one of"),
        ({"strength": 1}, "no parameter strength"),
        ({"prompt": "blur " * 2000}, "at most 1000"),
    ],
)
def test_bad_requests(clip, change, message):
    with pytest.raises(UsageError, match=message):
        Inpaint().generate(ask(clip, **change))


def test_a_picture_is_no_video(tmp_path):
    picture = tmp_path / "a.png"
    media.encode(still(64, 64), picture, EncodeSpec())
    with pytest.raises(MissingStream):
        Inpaint().generate(ask(picture))


def test_too_long_is_refused_before_decoding(tmp_path):
    path = tmp_path / "long.mp4"
    frames = [np.full((64, 64, 3), 90, np.uint8)] * 23
    from fractions import Fraction

    media.encode(RawMedia(Kind.VIDEO, frames=frames, frame_rate=Fraction(1), frame_count=23,
                          width=64, height=64), path, EncodeSpec())  # fmt: skip
    with pytest.raises(UsageError, match="at most 20 s"):
        Inpaint().generate(ask(path))


def test_a_picture_mask_grows(clip, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[50:60, 70:90] = 255
    path = tmp_path / "mask.png"
    media.encode(RawMedia(Kind.IMAGE, frames=[mask], frame_count=1, width=WIDTH, height=HEIGHT),
                 path, EncodeSpec())  # fmt: skip
    raw = Inpaint().generate(ask(clip, mask_file=path, fill="color", color="red"))
    assert raw.details["grow_px"] == 3
    old, new = next(iter(media.decode(clip).frames)), next(iter(raw.frames))
    changed = (old != new).any(2)
    assert changed[48:62, 70:90].mean() > 0.95
    assert not changed[:46].any()


def test_grain_gives_a_smooth_fill_the_detail_of_its_surroundings() -> None:
    """Grass-like noise around a hole: the fill alone is smooth, with grain it is as rough as the
    truth; a picture without detail gets none."""
    from avsafe_generators.inpaint.fill import continued
    from avsafe_generators.inpaint.texture import grain

    rng = np.random.default_rng(0)
    truth = np.repeat(rng.normal(120, 30, (160, 200, 1)), 3, axis=2).astype(np.float32)
    hole = np.zeros((160, 200), bool)
    hole[50:110, 60:140] = True
    given = np.where(hole[..., None], 0.0, truth).astype(np.float32)
    filled = continued(given, hole)
    detail = grain(given, filled, hole)
    inner = (slice(60, 100), slice(70, 130))
    assert filled[inner].std() < 0.3 * truth[inner].std()
    assert 0.7 < (filled + detail)[inner].std() / truth[inner].std() < 1.2
    assert not detail[~hole].any()
    np.testing.assert_array_equal(detail, grain(given, filled, hole))
    flat = np.full_like(truth, 90.0)
    assert np.abs(grain(flat, flat, hole)).max() < 1e-3
    assert not grain(truth[:20, :20], truth[:20, :20], hole[50:70, 60:80]).any()  # nothing to copy


def test_grain_stands_still_while_the_picture_does() -> None:
    from avsafe_generators.inpaint.propagate import propagate

    rng = np.random.default_rng(1)
    frame = rng.integers(60, 180, (96, 128, 3), dtype=np.uint8)
    hole = np.zeros((96, 128), bool)
    hole[30:66, 40:88] = True
    shown = list(propagate(((frame, hole) for _ in range(6)), texture=1.0))
    smooth = list(propagate((frame, hole) for _ in range(6)))
    assert shown[3][hole].std() > 2 * smooth[3][hole].std()
    changes = [np.abs(a[hole].astype(int) - b[hole]).mean() for a, b in pairwise(shown)]
    assert max(changes) < 2.0
    np.testing.assert_array_equal(shown[5][~hole], frame[~hole])
