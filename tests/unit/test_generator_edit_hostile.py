"""edit: numbers without end, words of its own inside, letters that it can't draw."""

from fractions import Fraction

import numpy as np
import pytest

from avsafe.errors import UsageError
from avsafe.testing import textured_clip
from avsafe_generators.edit import framing, timing
from avsafe_generators.edit.clip import Clip
from avsafe_generators.edit.generator import done
from avsafe_generators.edit.parse import parse, plain

WIDTH, HEIGHT = 320, 192
NINES = "9" * 400


@pytest.fixture(scope="module")
def clip():
    raw = textured_clip(0.4, WIDTH, HEIGHT, rate_hz=8000)
    frames, sound = list(raw.frames), np.concatenate(list(raw.samples), 1)
    return Clip(
        lambda: ((frame, None) for frame in frames), Fraction(25), len(frames), WIDTH, HEIGHT,
        lambda: sound, 8000, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "prompt",
    [
        f"trim from {NINES} to 3 seconds", f"keep the first {NINES} seconds",
        f"keep the last {NINES} seconds", f"volume {NINES}x", f"volume {NINES}%",
        f"quieter {NINES}x", f"brighter by {NINES}%", f"crop to {NINES}:{NINES}",
        f"freeze the last frame for {NINES} seconds", f"loop {NINES} times",
        f"slow down {NINES}x", f"speed up {NINES}x", f"zoom in {NINES}x", "volume 0x", "volume 0%",
    ],
)  # fmt: skip
def test_any_number_is_refused_or_done(clip, prompt):
    try:
        edited = clip
        for operation in parse(prompt).operations:
            edited = done(edited, operation, False)
    except UsageError:
        return
    assert sum(1 for _ in edited.pairs()) == edited.count
    if edited.sound is not None:
        assert np.isfinite(edited.sound()).all()
        assert np.abs(edited.sound()).max(initial=0) <= 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("speed up 1000000x", "0.125 to 8"), ("slow down 100x", "0.125 to 8"),
        ("slow down by 100%", "0.125 to 8"), ("loop it 500 times", "2 to 20"),
        ("zoom in 100x", "1 to 8"), ("freeze the last frame for 500 seconds", "0 to 30"),
        ("volume 100x", "0 to 8"), ("fade out over 100 seconds", "0 to 10"),
    ],
)  # fmt: skip
def test_no_number_is_changed_in_silence(prompt, message):
    with pytest.raises(UsageError, match=message):
        parse(prompt)


@pytest.mark.parametrize("prompt", ["add the text qtext5", "add the text qtext0", "qtext٣ qtext99"])
def test_its_own_marker_for_quotations_is_plain_text(prompt):
    try:
        operations = parse(prompt).operations
    except UsageError:
        return
    assert operations[0].parameters["text"].startswith("q")


def test_quotations_survive_markers_beside_them():
    assert plain("qtext0 'Ciao'")[1] == ["Ciao"]
    assert parse("add the text 'Ciao' qtext1").operations[0].parameters["text"] == "Ciao"


def ink(clip, text):
    frame, _ = next(framing.text(clip, text).pairs())
    plain_frame, _ = next(clip.pairs())
    return (frame != plain_frame).any(2)


@pytest.mark.parametrize(("letter", "base"), [("è", "e"), ("ù", "u"), ("É", "E"), ("ñ", "n")])
def test_accents_are_drawn(clip, letter, base):
    """An accent is ink above the letter, and no box in place of it."""
    with_it, without = ink(clip, letter * 3), ink(clip, base * 3)
    assert with_it.sum() > without.sum()
    assert with_it.sum() < 1.6 * without.sum()
    assert not np.array_equal(ink(clip, "è"), ink(clip, "é"))  # two boxes would be equal


def test_letters_without_a_shape_are_refused(clip):
    with pytest.raises(UsageError, match="can't draw"):
        framing.text(clip, "ciao 😀")
    with pytest.raises(UsageError, match="right to left"):
        framing.text(clip, "שלום")
    assert ink(clip, "Привет").any()
    assert ink(clip, "what?").any()  # a question mark is a letter like others


def test_control_characters_draw_nothing(clip):
    assert np.array_equal(ink(clip, "a\x00\x07\u202e b"), ink(clip, "a b"))
    with pytest.raises(UsageError, match="no letter"):
        framing.text(clip, "\x00\x07")


def test_a_text_that_does_not_fit_is_refused(clip):
    with pytest.raises(UsageError, match="too long"):
        framing.text(clip, "wide words " * 18)
    with pytest.raises(UsageError, match="at most 200"):
        parse(f"add the text '{'a' * 300}'")


@pytest.mark.parametrize("where", ["top", "centre", "bottom"])
def test_text_stays_inside_the_frame(clip, where):
    for text in ("Ågj|", "wwwwwwwwwwwwwwwwwwwwwwww"):
        shown = framing.text(clip, text, where=where)
        frame, _ = next(shown.pairs())
        changed = (frame != next(clip.pairs())[0]).any(2)
        ys, xs = np.nonzero(changed)
        assert 0 < ys.min() < ys.max() < HEIGHT - 1
        assert 0 < xs.min() < xs.max() < WIDTH - 1


def test_a_fade_out_ends_with_the_pictures():
    """Sound shorter than the pictures is not faded before they are."""
    frames = [np.full((64, 64, 3), 200, np.uint8)] * 50
    tone = np.full((1, 4000), 0.5, np.float32)  # half a second under two seconds of pictures
    rate = Fraction(25)
    clip = Clip(lambda: ((f, None) for f in frames), rate, 50, 64, 64, lambda: tone, 8000, 1)
    faded = timing.fade(clip, False, seconds=1.0).sound()
    assert np.array_equal(faded[:, :4000], tone)
    longer = Clip(
        clip.pairs, clip.rate, 50, 64, 64, lambda: np.full((1, 24000), 0.5, np.float32), 8000, 1
    )
    faded = timing.fade(longer, False, seconds=1.0).sound()
    assert faded[0, 8000] == pytest.approx(0.5, abs=1e-3)
    assert np.abs(faded[0, 15990:]).max() < 1e-2


def test_louder_without_sound_is_said():
    from avsafe_generators.edit.generator import _notes

    notes = _notes(parse("make it louder, mute it").operations, False, sound=False)
    assert sum("no sound" in note for note in notes) == 1
    assert not _notes(parse("make it louder").operations, False, sound=True)
