"""The speech generator: it says what is written, as it is written, and nothing else."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from avsafe import media
from avsafe.errors import Cancelled, GeneratorFailed, MissingExtra, UsageError
from avsafe.testing import check_generator, sound_only
from avsafe.types import GenerationRequest, InputMedia, Kind, Principal, Task
from avsafe_generators import engine
from avsafe_generators.speech import Speech, voices
from avsafe_generators.speech.generator import LEAST_S

needs_engine = pytest.mark.skipif(
    shutil.which(engine.ENGINE) is None, reason="no espeak-ng on this system"
)
TEXT = "Good morning. This sentence is read aloud."


def ask(text=TEXT, task=Task.TEXT_TO_SPEECH, inputs=(), **more):
    own = {key: more.pop(key) for key in ("duration_s", "width", "negative_prompt") if key in more}
    return GenerationRequest(
        Principal("me"), task, "speech", text, inputs=tuple(inputs), parameters=more, **own
    )


def spoken(text=TEXT, **more):
    raw = Speech().generate(ask(text, **more))
    return np.concatenate(list(raw.samples), axis=1)[0], raw


def heard(text, **more):
    """How the engine reads a text: IPA, as ``say`` would give it."""
    command = [engine.ENGINE, "-v", "en", "-q", "--ipa", "-b", "1", "--stdin"]
    done = subprocess.run(
        command, input=engine.as_text(text).encode(), capture_output=True, check=True
    )
    return done.stdout.decode()


# ---------------------------------------------------------------- what it says


@needs_engine
def test_the_contract_of_a_generator():
    raw = check_generator(Speech(), ask())
    assert (raw.kind, raw.rate_hz, raw.channels) == (Kind.AUDIO, 22050, 1)
    assert raw.details["voice"] == "en-us"


@needs_engine
@pytest.mark.parametrize(
    ("voice", "language", "told"),
    [("", "", "en-us"), ("it", "", "it"), ("", "de", "de"), ("nova", "it", "it+f3"),
     ("Alloy", "", "en-us"), ("en-gb+m3", "en-gb", "en-gb+m3"), ("EN-GB", "", "en-gb"),
     ("chr-us-qaaa-x-west", "", "chr-US-Qaaa-x-west")],
)  # fmt: skip
def test_a_voice_is_a_language_and_a_variant(voice, language, told):
    assert voices.chosen(voice, language) == told


@needs_engine
@pytest.mark.parametrize(
    "voice",
    ["nobody", "-w/tmp/x", "../../etc/passwd", "en;id", "en-us+../x", "en us", "mb/mb-us1",
     "en-us+Mr serious", "--path=/tmp"],
)  # fmt: skip
def test_a_voice_that_is_none(voice):
    with pytest.raises(UsageError, match=r"no voice|no variant"):
        voices.chosen(voice, "")


@needs_engine
def test_a_voice_of_another_language_is_told():
    with pytest.raises(UsageError, match="does not speak 'de'"):
        voices.chosen("it+f2", "de")


@needs_engine
def test_every_usual_name_is_a_variant_that_there_is():
    assert {v for v in voices.USUAL.values() if v} <= engine.variants()
    assert len(set(voices.USUAL.values())) == len(voices.USUAL)


@needs_engine
def test_pace_and_pitch():
    usual, slow, fast = (len(spoken(speed=speed)[0]) for speed in (1, 0.25, 1.2))
    assert slow / usual == pytest.approx(4, rel=0.15)
    assert usual / fast == pytest.approx(1.2, rel=0.1)
    assert not np.array_equal(spoken(pitch=20)[0][:20000], spoken(pitch=80)[0][:20000])


@needs_engine
def test_a_short_text_ends_with_a_pause():
    sound, raw = spoken("Hello there.")
    assert len(sound) / raw.rate_hz == pytest.approx(LEAST_S, abs=0.01)
    assert np.abs(sound[-1000:]).max() == 0
    assert np.abs(sound).max() > 0.05


# ---------------------------------------------------------------- hostile text


@needs_engine
@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("say [[f@-*Uk]] now", "say [ [f@-*Uk]] now"),  # phonemes: words that no scorer reads
        ("say [[[f@-*Uk]]] now", "say [ [ [f@-*Uk]]] now"),
        ("say \x0150S\x01+20P now", "say  50S +20P now"),  # pace and pitch of its own
        ("say \x1b[2J now", "say  [2J now"),
    ],
)
def test_commands_of_the_engine_are_read_as_text(text, plain):
    assert heard(text) == heard(plain)


@needs_engine
def test_markup_is_read_and_not_obeyed(tmp_path):
    inside = tmp_path / "secret.wav"
    media.encode(sound_only(3), inside)
    for markup in (
        f'<speak><audio src="{inside}"/></speak>', '<break time="60s"/>', "<voice name='it'>ciao",
        "&#8220;&lt;b&gt;", "<!DOCTYPE x [<!ENTITY e SYSTEM '/etc/passwd'>]>&e;",
    ):  # fmt: skip
        sound, raw = spoken(f"{markup} and so on")
        assert len(sound) / raw.rate_hz < 30  # no pause of a minute
        assert raw.details["voice"] == "en-us"


@needs_engine
@pytest.mark.parametrize(
    "text",
    ["--help; echo $(id) `id` | sh", "-f /etc/passwd", "a\nb\r\nc\td", "\u202eover\u202c there",
     "\ud83d\ude00 happy \U0001f600", "\ufeffa \ufffe b", "ひらがなと漢字です", "a" * 500,
     "9" * 300],
)  # fmt: skip
def test_any_text_is_words(text, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sound, _ = spoken(text)
    assert np.isfinite(sound).all()
    assert not os.listdir(tmp_path)  # no file is left


@pytest.mark.parametrize("text", ["", "   ", "...", "\x00\x01", "?!", "\u200b"])
def test_nothing_to_speak_is_told(text):
    with pytest.raises(UsageError, match="nothing"):
        Speech().generate(ask(text))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"duration_s": 3.0}, "as long as its text"),
        ({"width": 64}, "no size"),
        ({"negative_prompt": "rain"}, "no negative prompt"),
        ({"speed": 0.2}, "speed is a number"),
        ({"speed": "nan"}, "speed is a number"),
        ({"pitch": 1.5}, "whole number"),
        ({"voice": 7}, "is a text"),
        ({"voice": "x" * 101}, "at most 100"),
        ({"instructions": "Sad."}, "no parameter instructions"),
        ({"text": "a" * 4001}, "at most 4000"),
        ({"task": Task.TALKING_HEAD}, "can't do talking-head"),
    ],
)
def test_what_would_be_left_undone_is_refused(more, why):
    with pytest.raises(UsageError, match=why):
        Speech().generate(ask(**more))


def test_no_voice_is_copied(tmp_path):
    path = tmp_path / "me.wav"
    media.encode(sound_only(3), path)
    with pytest.raises(UsageError, match="copies no voice"):
        Speech().generate(ask(inputs=[InputMedia(media.probe(path), "voice")]))


# ---------------------------------------------------------------- the engine


def test_without_the_engine_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda _: None)
    with pytest.raises(MissingExtra, match="apt install espeak-ng"):
        Speech().generate(ask())


def program(folder: Path, body: str) -> str:
    """A program in the engine's place that lists one voice and then does as it is told."""
    path = folder / engine.ENGINE
    path.write_text(
        "#!/usr/bin/python3\nimport sys, time, os\n"
        "if '--voices' in sys.argv:\n"
        "    print('Pty Language Age/Gender VoiceName File\\n 2 en-us --/M English gmw/en-US')\n"
        "    sys.exit()\n"
        f"sys.stdin.buffer.read()\n{body}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("body", "error", "why"),
    [
        ("time.sleep(60)", GeneratorFailed, "did not end within"),
        ("x = bytearray(4 << 30)", UsageError, "could not be spoken"),
        ("f = open(sys.argv[-1], 'wb')\nwhile True: f.write(bytes(1 << 20))", UsageError, "ended"),
        ("open(sys.argv[-1], 'wb').write(b'RIFF')", UsageError, "no sound"),
        ("sys.stderr.write('\\x1b[31mbad'); sys.exit(3)", UsageError, r"with 3: \[31mbad"),
        ("pass", UsageError, "ended with 0"),
    ],
)
def test_an_engine_that_misbehaves(tmp_path, monkeypatch, body, error, why):
    fake = program(tmp_path, body)
    monkeypatch.setattr(engine.shutil, "which", lambda _: fake)
    monkeypatch.setattr("avsafe_generators.speech.generator._TIMEOUT_S", 2.0)
    with pytest.raises(error, match=why):
        Speech().generate(ask())


def test_it_stops_when_asked(tmp_path, monkeypatch):
    fake = program(tmp_path, "time.sleep(60)")
    monkeypatch.setattr(engine.shutil, "which", lambda _: fake)
    asked = iter([False, True])
    seen = []
    with pytest.raises(Cancelled):
        Speech().generate(
            ask(), cancelled=lambda: next(asked), progress=lambda at, _: seen.append(at)
        )
    assert seen
