"""What a client asks, as plain data."""

from __future__ import annotations

import pytest

from avsafe.errors import UsageError
from avsafe.server import asked
from avsafe.server.settings import EMBEDDED


def test_a_form_as_the_official_client_writes_it():
    said = {"prompt": "a ball", "parameters[server]": "studio", "parameters[poll_s]": "0.5",
            "consent_ids[]": "c-1,c-2"}  # fmt: skip
    found = asked.video(said, EMBEDDED)
    assert found["parameters"] == {"server": "studio", "poll_s": "0.5"}
    assert found["consent_ids"] == ["c-1", "c-2"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"parameters": "{}", "parameters[a]": "1"}, "given twice"),
        ({"parameters[a][b]": "1"}, "not understood"),
        ({"parameters[]": "1"}, "not understood"),
        ({"parameters[__class__]": "1"}, "not understood"),
        ({"task": "text-to-speech"}, "/v1/audio/speech"),
        ({"task": "text-to-image"}, "/v1/images/generations"),
    ],
)
def test_a_form_that_says_something_else(fields, why):
    with pytest.raises(UsageError, match=why):
        asked.video({"prompt": "a ball"} | fields, EMBEDDED)


def test_speech_as_plain_data():
    said = {"input": "hello", "voice": "nova", "speed": 1.5, "instructions": "", "seed": 3,
            "response_format": "flac", "parameters": {"pitch": 60}}  # fmt: skip
    found = asked.speech(said, EMBEDDED)
    assert found["parameters"] == {"voice": "nova", "speed": 1.5, "pitch": 60}
    assert (found["prompt"], found["generator"], found["seed"]) == ("hello", "speech", 3)
    assert asked.suffix(found) == ".flac"
    assert asked.suffix(asked.speech({"input": "hello"}, EMBEDDED)) == ".mp3"


@pytest.mark.parametrize(
    ("fields", "suffix"),
    [
        ({"task": "text-to-speech", "prompt": "hello", "speaker": "it"}, ".mp3"),
        ({"task": "text-to-image", "prompt": "a ball"}, ".png"),
        ({"task": "text-to-video", "prompt": "a ball", "seconds": "2"}, ".mp4"),
    ],
)
def test_one_form_of_a_page_asks_for_every_task(fields, suffix):
    assert asked.suffix(asked.of_page(fields, EMBEDDED)) == suffix
    if suffix != ".mp3":  # no field of another task is ignored
        with pytest.raises(UsageError, match="not understood"):
            asked.of_page(fields | {"speaker": "it"}, EMBEDDED)
