"""Small regions, many spoken lines, walls of spaces, six channels: what broke generators once."""

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import Cancelled, UsageError
from avsafe.media import EncodeSpec
from avsafe.testing import check_raw_media, still, textured_clip
from avsafe.types import GenerationRequest, InputMedia, Principal, Task
from avsafe_generators.cinemagraph import Cinemagraph
from avsafe_generators.cinemagraph.wishes import MOTIONS
from avsafe_generators.edit import Edit
from avsafe_generators.foley import Foley, mixing, speech, words
from avsafe_generators.inpaint import Inpaint
from avsafe_generators.photo_motion import PhotoMotion


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "photo.png"
    media.encode(still(140, 100, seed=3), path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "clip.mp4"
    media.encode(textured_clip(1.0, 96, 64, rate_hz=8000), path, EncodeSpec())
    return path


def ask(task, name, path, role, prompt="", **more):
    return GenerationRequest(
        Principal("u"), task, name, prompt, inputs=(InputMedia(media.probe(path), role),), **more
    )


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("box", ["0.5,0.5,0.5,0.01", "0.5,0,0.007,1", "0.5,0.5,0.001,0.001"])
def test_a_region_one_pixel_thin_works_or_is_refused(photo, motion, box):
    request = ask(Task.CINEMAGRAPH, "cinemagraph", photo, "image", duration_s=1.0,
                  parameters={"mask": box, "motion": motion})  # fmt: skip
    try:
        raw = Cinemagraph().generate(request)
    except UsageError:
        return
    check_raw_media(raw)


def test_a_thin_region_of_a_photo(photo):
    request = ask(Task.IMAGE_TO_VIDEO, "photo-motion", photo, "image", "water flowing",
                  duration_s=0.5, parameters={"mask": "0.1,0.5,0.5,0.01"})  # fmt: skip
    with pytest.raises(UsageError, match="4 pixels"):
        PhotoMotion().generate(request)


@pytest.mark.parametrize("space", [" ", "\t\n", "\u3000 "])
def test_walls_of_space_are_read_in_one_go(space):
    """Twice the spaces, twice the steps: a pattern that tries every split would not end."""
    wish = words.read(("says" + space * 200_000 + "'a' wind") * 2)
    assert wish.textures == ("wind",)
    assert wish.lines == ("a", "a")


def test_lines_that_the_clip_has_no_time_for_are_not_spoken(clip, monkeypatch):
    spoken = []

    def counted(line, *, italian=False):
        spoken.append(line)
        return np.full(24_000, 0.1, np.float32)

    monkeypatch.setattr(speech, "spoken", counted)
    prompt = " ".join(f"says 'line {number}'" for number in range(500))
    raw = Foley().generate(ask(Task.VIDEO_TO_AUDIO, "foley", clip, "video", prompt))
    assert len(spoken) <= 2
    assert raw.details["lines"] == spoken
    assert sum("ends before" in note for note in raw.details["notes"]) == 1


def test_speaking_can_be_cancelled(clip, monkeypatch):
    asked = []
    monkeypatch.setattr(
        speech, "spoken", lambda line, italian=False: asked.append(1) or np.zeros(4800, np.float32)
    )
    with pytest.raises(Cancelled):
        Foley().generate(
            ask(Task.VIDEO_TO_AUDIO, "foley", clip, "video", "says 'a' says 'b' says 'c'"),
            cancelled=lambda: bool(asked),
        )
    assert len(asked) == 1


def test_no_channel_of_the_clip_is_lost():
    """The centre of 5.1 carries the voices: it is in both sides of the stereo."""
    for channel in range(6):
        block = np.zeros((6, 48_000), np.float32)
        block[channel] = 0.5 * np.sin(np.arange(48_000) * 0.05)
        heard = np.concatenate(list(mixing.at_48k([block], 48_000)), 1)
        assert np.abs(heard).max() > 0.1
    stereo = np.stack([np.full(48_000, 0.25), np.full(48_000, -0.25)]).astype(np.float32)
    heard = np.concatenate(list(mixing.at_48k([stereo], 48_000)), 1)
    assert heard[:, 24_000] == pytest.approx([0.25, -0.25], abs=1e-3)


@pytest.mark.parametrize(
    ("generator", "task", "prompt"),
    [
        (Edit(), Task.EDIT_VIDEO, "stabilise"), (Edit(), Task.EDIT_VIDEO, "reverse"),
        (Inpaint(), Task.INPAINT_VIDEO, ""),
    ],
)  # fmt: skip
def test_reading_ahead_is_told(clip, generator, task, prompt):
    """Before the first frame is given, all that is read for it has been reported."""
    told = []
    request = ask(task, generator.info.name, clip, "video", prompt,
                  parameters={} if prompt else {"mask": "0.3,0.3,0.3,0.3"})  # fmt: skip
    raw = generator.generate(request, progress=lambda fraction, _: told.append(fraction))
    told.clear()
    next(iter(raw.frames))
    assert len(told) >= 20
    assert told == sorted(told)


def test_the_names_of_the_styles_are_words_for_them():
    from avsafe_generators.stylize.words import KNOWN, STYLES

    assert {style for style in STYLES if KNOWN.get(style) != f"style:{style}"} == set()
