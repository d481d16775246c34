"""asking: hostile and careless requests are answered with a sentence, masks go with the time."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import UsageError
from avsafe.media import EncodeSpec
from avsafe.testing import sound_only, textured_clip
from avsafe.types import GenerationRequest, InputMedia, Kind, Principal, RawMedia, Task
from avsafe_generators import asking


def request(mask):
    return GenerationRequest(
        Principal("u"), Task.INPAINT_VIDEO, "inpaint",
        inputs=(InputMedia(media.probe(mask), "mask"),),
    )  # fmt: skip


def boxed(box):
    return GenerationRequest(
        Principal("u"), Task.INPAINT_VIDEO, "inpaint", parameters={"mask": box}
    )


def written(tmp_path, frames, rate=25, name="mask.mp4"):
    height, width = frames[0].shape[:2]
    raw = RawMedia(Kind.VIDEO, frames=frames, frame_rate=Fraction(rate), frame_count=len(frames),
                   width=width, height=height)  # fmt: skip
    media.encode(raw, tmp_path / name, EncodeSpec())
    return tmp_path / name


@pytest.mark.parametrize("value", [10**400, -(10**400), "nan", "1e999", None, [], {}, True])
def test_numbers_that_are_none(value):
    with pytest.raises(UsageError, match="a number from 0 to 1"):
        asking.Number(0, 1, 0.5).read("strength", value)


def test_messages_stay_short():
    long = "x" * 100_000
    for knob in (asking.Number(0, 1, 0), asking.Choice("a", "b"), asking.Flag(False)):
        with pytest.raises(UsageError) as caught:
            knob.read("strength", long)
        assert len(str(caught.value)) < 400
    with pytest.raises(UsageError) as caught:
        asking.region(boxed(long), 64, 64)
    assert len(str(caught.value)) < 400


def test_the_smallest_box_has_a_pixel():
    corner = boxed("0.9999,0.9999,0.0001,0.0001")
    assert asking.region(corner, 96, 64).at(0).sum() == 1


def test_an_odd_size_loses_a_line_and_keeps_its_pixels():
    frame = np.random.default_rng(0).integers(0, 256, (67, 97, 3), np.uint8)
    even = asking.inputs.covered(frame, 96, 66)
    assert np.array_equal(even, frame[:66, :96])
    assert even.flags.c_contiguous


def test_a_mask_video_of_another_rate_goes_by_time(tmp_path):
    frames = []
    for number in range(30):  # one second at 30 frames a second; white from 0.5 s on
        frames.append(np.full((64, 96, 3), 255 if number >= 15 else 0, np.uint8))
    mask = written(tmp_path, frames, rate=30)
    found = asking.region(request(mask), 96, 64, frame_rate=Fraction(10))
    shown = [bool(found.at(number).mean() > 0.5) for number in range(10)]
    assert shown == [number / 10 >= 0.5 for number in range(10)]


def test_a_mask_video_without_white_is_refused(tmp_path):
    black = written(tmp_path, [np.zeros((64, 96, 3), np.uint8)] * 5)
    with pytest.raises(UsageError, match="no white part"):
        asking.region(request(black), 96, 64).refuse_empty()
    late = [np.zeros((64, 96, 3), np.uint8)] * 4 + [np.full((64, 96, 3), 255, np.uint8)]
    asking.region(request(written(tmp_path, late, name="late.mp4")), 96, 64).refuse_empty()


def test_a_length_that_the_header_hides_is_found(tmp_path):
    """A file may not say how long it is; then what is decoded counts."""
    clip, sound = tmp_path / "clip.mp4", tmp_path / "sound.wav"
    media.encode(textured_clip(2.0, 64, 64), clip, EncodeSpec())
    media.encode(sound_only(2.0), sound, EncodeSpec())
    silent = replace(media.probe(clip), duration_s=None)
    with pytest.raises(UsageError, match="at most 1 s"):
        list(asking.footage(silent, max_duration_s=1.0).frames)
    with pytest.raises(UsageError, match="at most 1 s"):
        asking.sound(replace(media.probe(sound), duration_s=None), max_duration_s=1.0)
