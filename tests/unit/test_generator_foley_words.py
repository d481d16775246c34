"""What the foley generator reads in a prompt; tempo; resampling of the clip's own sound."""

import numpy as np
import pytest

from avsafe_generators.foley import words
from avsafe_generators.foley.mixing import at_48k
from avsafe_generators.foley.music import tempo
from avsafe_generators.foley.strikes import MATERIALS, strike
from avsafe_generators.foley.textures import FOLLOWS, Texture


@pytest.mark.parametrize(
    ("prompt", "strike_", "textures", "music"),
    [
        ("someone hammers on a metal plate", "hammer", (), False),
        ("passi su ghiaia, vento e pioggia", "footsteps", ("wind", "rain"), False),
        ("drums without music, crowd", "drum", ("crowd",), False),
        ("senza musica né vento, onde", None, ("waves",), False),
        ("no wind or rain but fire", None, ("fire",), False),
        ("music and rain", None, ("rain",), True),
        ("banana", None, (), False),
    ],
)
def test_prompts(prompt, strike_, textures, music):
    wish = words.read(prompt)
    assert (wish.strike, wish.textures, wish.music) == (strike_, textures, music)


def test_lines_and_languages():
    wish = words.read("A voice says 'don't go', una voce dice «ciao»")
    assert wish.lines == ("don't go", "ciao")
    assert words.read('una voce dice "ciao a tutti"').italian
    assert not words.read("a voice says 'hi'").italian
    assert words.read("a voice says 'hi'", "speech").lines == ()


@pytest.mark.parametrize("prompt", ["", "\x00" * 50, "'" * 5000, "no " * 5000, 'says "' * 2001])
def test_odd_prompts_never_fail(prompt):
    wish = words.read(prompt)
    assert wish.strike is None
    assert not wish.textures
    assert not wish.music


def test_every_word_has_a_sound():
    values = {words.meaning(w) for w in words._lookup()[0]}
    values |= {value for _, value in words._lookup()[1]}
    assert {v for k, v in values if k == "strike"} <= set(MATERIALS)
    assert {v for k, v in values if k == "texture"} == set(FOLLOWS)


@pytest.mark.parametrize("material", MATERIALS)
def test_strikes_begin_at_once_and_end_quietly(material):
    wave = strike(material, 0.7, 1)
    assert np.abs(wave[:480]).max() > 0.05 * np.abs(wave).max()
    assert np.abs(wave[-48:]).max() < 0.05 * np.abs(wave).max()
    assert np.isfinite(wave).all()
    assert not np.array_equal(wave, strike(material, 0.7, 2))


@pytest.mark.parametrize("name", sorted(FOLLOWS))
def test_textures_sound_and_repeat(name):
    one, two = Texture(name, 5, 0), Texture(name, 5, 0)
    drive = np.full(8192, 0.8)
    blocks = [one.block(k * 8192, drive) for k in range(3)]
    again = [two.block(k * 8192, drive) for k in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(blocks, again, strict=True))
    assert np.sqrt((np.concatenate(blocks, axis=1) ** 2).mean()) > 1e-3


def test_tempo_of_a_rhythm_and_of_none():
    assert tempo([1.0, 1.25, 1.5, 1.75, 2.0]) == (120.0, 1.0)
    assert tempo([0.1, 0.9, 1.2, 3.0, 3.4])[0] == 96.0
    assert tempo([]) == (96.0, 0.0)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resampling_in_pieces_keeps_a_tone(rate):
    t = np.arange(int(2.3 * rate)) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * t))[None].astype(np.float32)
    blocks = [tone[:, k : k + 1000] for k in range(0, tone.shape[1], 1000)]
    out = np.concatenate(list(at_48k(blocks, rate)), axis=1)
    assert abs(out.shape[1] - 2.3 * 48000) < 60
    truth = 0.3 * np.sin(2 * np.pi * 440 * np.arange(out.shape[1]) / 48000)
    assert np.abs(out[0] - truth)[500:-1500].max() < 0.01
