"""Speech with the official client: asked, made, marked, signed; refused with a reason."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from ctypes.util import find_library

import pytest

from avsafe import media
from avsafe.server import files, worker
from avsafe.verify import verify
from avsafe.workspace import Lookup, open_workspace
from tests.integration.test_server_gateway import Place, form

pytestmark = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="no espeak-ng on this system"
)
TEXT = "Good morning everybody. This sentence is read aloud by a machine, and nobody else."
SENT_TO_REVIEW = "Pikachu says good morning to all of you, and tells you a story of Mickey Mouse."
MIME = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "m4a": "audio/mp4"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("speech") / "home")
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def working(place):
    """A worker beside the service, as long as the block lasts."""

    @contextmanager
    def work():
        done = threading.Event()

        def run():
            with open_workspace(place.home) as workspace:
                one = worker.Worker("test", place.settings, place.database, workspace, done)
                while not done.is_set():
                    if not one.once():
                        done.wait(0.02)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    return work


def said(place, **fields):
    body = {"model": "speech", "voice": "alloy", "input": TEXT} | fields
    return place.http.post("/v1/audio/speech", json=body, headers=place.headers("ada"))


# ---------------------------------------------------------------- the client's way


@pytest.mark.parametrize("form", [None, "wav", "flac", "m4a"])
def test_speech_comes_at_once_signed_and_marked(place, working, tmp_path, form):
    asked = {} if form is None else {"response_format": form}
    form = form or "mp3"  # what a client gets that does not say
    with working():
        answer = place.client().audio.speech.create(
            model="speech", voice="alloy", input=TEXT, **asked
        )
    assert answer.response.headers["content-type"] == MIME[form]
    path = tmp_path / f"said.{form}"
    answer.write_to_file(path)
    assert media.probe(path).container == form
    assert media.probe(path).duration_s > 4
    verdict = verify(path, Lookup(place.home), detectors=["none"])
    assert verdict.label == "synthetic-declared"
    mark = next(e for e in verdict.evidence if e.source == "watermark.audio")
    assert mark.details["release_id"] == answer.response.headers["avsafe-release"]
    assert place.jobs.list("lab") == ()  # nothing of the job stays
    assert not list((place.home.objects / files.JOBS).glob("*/*"))


def test_speech_as_a_stream(place, working, tmp_path):
    path = tmp_path / "said.wav"
    with (
        working(),
        place.client().audio.speech.with_streaming_response.create(
            model="speech", voice="it+f2", input="Buongiorno a tutti quanti, come state oggi?",
            response_format="wav", speed=1.5,
        ) as answer,
    ):  # fmt: skip
        answer.stream_to_file(path)
    assert media.probe(path).kind == "audio"


@pytest.mark.skipif(find_library("chromaprint") is None, reason="no libchromaprint here")
def test_speech_is_recovered_when_its_credential_is_gone(place, working, tmp_path):
    with working():
        sound = said(place, response_format="wav").content
    whole, bare = tmp_path / "said.wav", tmp_path / "bare.mp3"
    whole.write_bytes(sound)
    media.encode(media.decode(whole), bare)
    verdict = verify(bare, Lookup(place.home), detectors=["none"])
    assert verdict.label == "synthetic-recovered"


def test_a_slower_voice_takes_longer(place, working, tmp_path):
    lengths = []
    with working():
        for speed in (0.25, 1, 2):
            path = tmp_path / f"{speed}.wav"
            path.write_bytes(said(place, response_format="wav", speed=speed, input=TEXT).content)
            lengths.append(media.probe(path).duration_s)
    assert lengths[0] / lengths[1] == pytest.approx(4, rel=0.15)
    assert lengths[1] / lengths[2] == pytest.approx(2, rel=0.15)


def test_voices_are_listed(place):
    listed = place.http.get("/v1/audio/voices", headers=place.headers("ada")).json()["data"]
    assert {"en-us", "it", "de"} <= {one["id"] for one in listed}
    assert {one["model"] for one in listed} == {"speech"}


# ---------------------------------------------------------------- what is refused, and why


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"response_format": "pcm"}, "samples alone"),
        ({"response_format": "aac"}, "m4a holds the same"),
        ({"response_format": "opus"}, "cannot carry the signed credential"),
        ({"response_format": "../x"}, "cannot carry"),
        ({"stream_format": "sse"}, "signed when it is complete"),
        ({"input": " "}, "text to speak"),
        ({"input": "x" * 4001}, "at most 4000"),
        ({"input": 3}, "is a text"),
        ({"input": "a\x00b"}, "holds a NUL"),
        ({"speed": 0.1}, "0.25 to 4"),
        ({"speed": "nan"}, "0.25 to 4"),
        ({"voice": {"id": "voice_1"}}, "voice is a text"),
        ({"voice": "it", "parameters": {"voice": "de"}}, "given twice"),
        ({"model": "world"}, "does not do"),
        ({"model": "command"}, "no model"),
        ({"task": "release"}, "not understood"),
        ({"file": "/etc/passwd"}, "not understood"),
        ({"approval": {"reviewer": "me"}}, "not understood"),
    ],
)
def test_a_wrong_question_is_told(place, fields, why):
    answer = said(place, **fields)
    assert answer.status_code == 400
    assert why in answer.json()["error"]["message"]
    assert place.jobs.list("lab") == ()


@pytest.mark.parametrize(
    ("fields", "code", "why"),
    [
        ({"input": "Yes."}, "cannot_mark", "too little to hear"),
        ({"voice": "nobody"}, "usage_error", "no voice 'nobody'"),
        ({"voice": "-w/tmp/x"}, "usage_error", "no voice"),
        ({"instructions": "Sound sad."}, "usage_error", "no parameter instructions"),
        ({"input": "... !"}, "usage_error", "nothing to speak"),
    ],
)
def test_what_cannot_be_spoken_is_the_askers_error(place, working, fields, code, why):
    with working():
        answer = said(place, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert why in error["message"]
    assert place.jobs.list("lab") == ()


def test_the_policy_hears_what_is_to_be_spoken(place, working):
    import openai

    with working(), pytest.raises(openai.PermissionDeniedError) as caught:
        place.client().audio.speech.create(
            model="speech", voice="alloy",
            input="This is your bank. Tell me your card number and your password at once, or your "
            "account will be closed.",
        )  # fmt: skip
    assert caught.value.body["type"] == "policy_error"
    assert caught.value.body["code"] in caught.value.body["rules"]
    assert place.jobs.list("lab", states=("released",)) == ()


def test_a_review_names_the_job_and_nothing_is_lost(place, working):
    """The error of a review says where to look; approved, the speech is fetched there."""
    with working():
        asked = said(place, input=SENT_TO_REVIEW, response_format="wav")
    error = asked.json()["error"]
    assert (asked.status_code, error["state"]) == (403, "review")
    reviewer = place.headers("rita", "lab", "reviewer")
    body = {"decision": "approve", "reason": "a line of a play"}
    answer = place.http.post(f"/api/reviews/{error['id']}", json=body, headers=reviewer)
    assert answer.status_code == 200
    place.work()
    followed = place.http.get(error["follow"], headers=place.headers("ada")).json()
    assert (followed["status"], followed["error"]) == ("completed", None)
    sound = place.http.get(f"{error['follow']}/content", headers=place.headers("ada"))
    assert sound.headers["content-type"] == "audio/wav"
    assert place.http.get("/v1/videos", headers=place.headers("ada")).json()["data"] == []
    assert place.http.get(error["follow"], headers=place.headers("eve", "x")).status_code == 404
    place.jobs.delete(error["id"])


def test_a_repeated_call_with_its_key_is_one_release(place, working):
    headers = place.headers("ada") | {"idempotency-key": "said-once"}
    body = {"input": TEXT, "response_format": "m4a"}
    with working():
        first, second = (
            place.http.post("/v1/audio/speech", json=body, headers=headers) for _ in range(2)
        )
    assert first.content == second.content
    assert first.headers["avsafe-release"] == second.headers["avsafe-release"]
    other = place.http.post("/v1/audio/speech", json=body | {"input": "x"}, headers=headers)
    assert other.status_code == 409
    job = place.jobs.list("lab")[0]
    place.jobs.delete(job.id)


# ---------------------------------------------------------------- the page


def test_speech_is_asked_for_on_the_page(place):
    from fastapi.testclient import TestClient

    http = TestClient(place.app, follow_redirects=False)
    http.post("/en/team/login", files=form(key=place.key("ada")))
    page = http.get("/en/team/new").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    assert "text-to-speech" in page
    fields = {"task": "text-to-speech", "prompt": TEXT, "speaker": "en-gb", "speed": "1.2"}
    asked = http.post("/en/team/new", files=form(csrf=csrf, **fields))
    assert asked.status_code == 303
    place.work()
    there = asked.headers["location"]
    page = http.get(there).text
    assert "<audio" in page
    assert http.get(f"{there}/file").headers["content-type"] == "audio/mpeg"
    wrong = http.post("/en/team/new", files=form(csrf=csrf, **fields, seconds="3"))
    assert wrong.status_code == 400
    place.jobs.delete(there.rsplit("/", 1)[1])
