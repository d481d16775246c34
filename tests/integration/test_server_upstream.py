"""The gateway in front of a server that speaks the OpenAI shape: client, gate, upstream, and back.

Whatever the upstream sends is decided before, and marked, signed and logged after; it never reaches
the client as it came.
"""

from __future__ import annotations

import base64
import shutil
import threading
from dataclasses import replace

import openai
import pytest
from fastapi.testclient import TestClient

from avsafe import likeness, media, testing
from avsafe.policy.engine import DEFAULT_FOLDER
from avsafe.server.app import create_app
from avsafe.verify import verify
from avsafe.workspace import Lookup, open_workspace
from tests.integration.test_server_gateway import Place, _work_for
from tests.unit.test_generator_openai import Server

MODEL = "openai-compatible"
ASKED = {"parameters": {"server": "studio", "model": "film-2", "poll_s": 0.05}}
KEY = "sk-of-the-upstream"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstream")
    media.encode(testing.textured_clip(1.2, 320, 240), folder / "clip.mp4")
    media.encode(testing.still(320, 320), folder / "picture.png")
    media.encode(testing.sound_only(5.0), folder / "speech.wav")
    made = Server(*((folder / n).read_bytes() for n in ("clip.mp4", "picture.png", "speech.wav")))
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(scope="module")
def place(tmp_path_factory, upstream):
    """A gateway that offers the upstream and nothing else. Its owner wrote where that is; a client
    names it."""
    folder = tmp_path_factory.mktemp("gateway")
    models = folder / "models.toml"
    models.write_text(
        f'[servers.studio]\nbase_url = "{upstream.url}"\nkey_env = "STUDIO_KEY"\n'
        'licence = "contract 2026-17"\ncommercial_ok = true\n'
    )
    models.chmod(0o600)
    made = Place(folder / "home")
    made.settings = replace(made.settings, generators=MODEL, wait_s=40)
    made.app = create_app(made.settings)
    made.http = TestClient(made.app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVSAFE_MODELS", str(models))
        patch.setenv("STUDIO_KEY", KEY)
        patch.setenv("http_proxy", "http://127.0.0.1:9")  # not for this machine
        yield made
    made.database.close()


@pytest.fixture
def working(place):
    thread = threading.Thread(target=_work_for, args=(place, 1))
    thread.start()
    yield
    thread.join()


def seen_of(place, path):
    verdict = verify(path, Lookup(place.home), detectors=["none"])
    return str(verdict.label), {one.source: one for one in verdict.evidence}


def test_a_video_of_the_upstream(place, upstream, tmp_path):
    upstream.polls = 0
    client = place.client()
    asked = client.videos.create(model=MODEL, prompt="a fox", seconds="4", extra_body=ASKED)
    place.work()
    video = client.videos.retrieve(asked.id)
    assert (video.status, video.error) == ("completed", None)
    path = tmp_path / "got.mp4"
    client.videos.download_content(video.id).write_to_file(path)
    assert path.read_bytes() != upstream.files["clip"]
    label, seen = seen_of(place, path)
    assert label == "synthetic-declared"
    assert seen["watermark.video"].details["release_id"] == video.release_id
    sent = [one for one in upstream.seen if one[1] == "/v1/videos"]
    assert [one[2]["Authorization"] for one in sent] == [f"Bearer {KEY}"]
    assert b"film-2" in sent[0][3]
    with open_workspace(place.home) as workspace:
        intent = next(e for e in workspace.ledger.entries(video.release_id) if e.type == "intent")
    assert "L4-creator-label-photorealistic" in intent.body["decision"]["rules"]


def test_a_picture_of_the_upstream(place, working, tmp_path):
    found = place.client().images.generate(model=MODEL, prompt="a fox", extra_body=ASKED)
    path = tmp_path / "got.png"
    path.write_bytes(base64.b64decode(found.data[0].b64_json))
    label, seen = seen_of(place, path)
    assert label == "synthetic-declared"
    assert seen["watermark.image"].status == "present"


def say(place, **more):
    fields = {"model": MODEL, "voice": "ash", "input": "Good morning to all of you."} | more
    return place.client().audio.speech.create(**fields, extra_body=ASKED)


def test_a_voice_that_is_only_named_may_be_somebodys(place, working, upstream):
    upstream.seen.clear()
    with pytest.raises(openai.PermissionDeniedError) as caught:
        say(place)
    assert caught.value.body["code"] == "F3-likeness-without-consent"
    assert upstream.seen == []  # nothing left this machine


def test_speech_of_the_upstream_in_a_voice_that_is_nobodys(place, working, upstream, tmp_path):
    """Listed by the installation; sound that could be taken for a person's says so audibly."""
    shutil.copytree(DEFAULT_FOLDER, place.home.policy)
    (place.home.policy / likeness.VOICES).write_text(f"{MODEL}:ash\n")
    sound = say(place, response_format="wav", speed=1.25, instructions="Speak calmly.")
    path = tmp_path / "got.wav"
    sound.write_to_file(path)
    assert path.read_bytes() != upstream.files["speech"]
    label, seen = seen_of(place, path)
    assert label == "synthetic-declared"
    assert seen["watermark.audio"].status == "present"
    body = upstream.body("/v1/audio/speech")
    assert b'"speed": 1.25' in body
    assert b"Speak calmly." in body
    with open_workspace(place.home) as workspace:
        release = sound.response.headers["avsafe-release"]
        ended = next(e for e in workspace.ledger.entries(release) if e.type == "outcome")
    assert ended.body["label"] == "audible notice"


def test_a_client_chooses_no_server(place):
    for parameters in ({"base_url": "http://169.254.169.254/"}, {"key_env": "HOME"}):
        asked = place.client().videos.create(
            model=MODEL, prompt="a fox", extra_body={"parameters": parameters}
        )
        place.work()
        failed = place.client().videos.retrieve(asked.id)
        assert (failed.status, failed.error.code) == ("failed", "usage_error")
        assert "169.254" not in failed.error.message


def test_what_the_upstream_refuses_is_told_without_its_key(place, working, upstream):
    from tests.unit.test_generator_openai import say as answer

    upstream.answers["POST", "/v1/images/generations"] = lambda call: answer(
        call, {"error": {"message": f"no credit for {KEY}", "code": "quota"}}, 429
    )
    try:
        with pytest.raises(openai.InternalServerError) as caught:
            place.client().images.generate(model=MODEL, prompt="a fox", extra_body=ASKED)
    finally:
        upstream.answers.clear()
    assert caught.value.body["code"] in ("refused", "generator_failed")
    assert KEY not in str(caught.value.body)
