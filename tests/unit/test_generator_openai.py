"""The openai-compatible generator against a server on this machine, friendly and hostile."""

from __future__ import annotations

import base64
import gc
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from avsafe import gate, media
from avsafe.errors import Cancelled, GeneratorFailed, UsageError
from avsafe.policy import local_principal
from avsafe.testing import check_generator, sound_only, still, textured_clip
from avsafe.types import GenerationRequest, Generator, InputMedia, Kind, Principal, Task
from avsafe_generators.openai_compatible import OpenAICompatible
from avsafe_generators.openai_compatible.address import Address

KEY = "sk-loopback-0123456789"


class Server:
    """Speaks the interface on 127.0.0.1; a test replaces answers by (method, path) -> function."""

    def __init__(self, clip, picture, speech):
        self.files = {"clip": clip, "picture": picture, "speech": speech}
        self.seen, self.answers, self.polls, self.deleted = [], {}, 0, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                outer.seen.append((self.command, self.path, dict(self.headers), body))
                answer = outer.answers.get((self.command, self.path)) or outer.usual
                try:
                    answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = do  # noqa: N815

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def usual(self, call):
        path, method = call.path, call.command
        if method == "DELETE":
            self.deleted.append(path)
            say(call, {"deleted": True})
        elif (method, path) == ("POST", "/v1/videos"):
            say(call, {"id": "video_1", "status": "queued", "progress": 0})
        elif path == "/v1/videos/video_1":
            self.polls += 1
            done = self.polls >= 3
            say(call, {"id": "video_1", "status": "completed" if done else "in_progress",
                       "progress": 100 if done else 40 * self.polls})  # fmt: skip
        elif path == "/v1/videos/video_1/content":
            send(call, "video/mp4", self.files["clip"])
        elif path in ("/v1/images/generations", "/v1/images/edits"):
            text = base64.b64encode(self.files["picture"]).decode()
            say(call, {"data": [{"b64_json": text, "revised_prompt": "a fox,\x1b[31m red"}]})
        elif path == "/v1/audio/speech":
            send(call, "audio/wav", self.files["speech"])
        else:
            say(call, {"error": {"message": f"no such path {path}"}}, 404)

    def body(self, path, method="POST"):
        return next(item[3] for item in self.seen if item[:2] == (method, path))


def say(call, content, status=200):
    send(call, "application/json", json.dumps(content).encode(), status)


def send(call, kind, content, status=200, **headers):
    call.send_response(status)
    call.send_header("Content-Type", kind)
    call.send_header("Content-Length", str(len(content)))
    for name, value in headers.items():
        call.send_header(name, value)
    call.end_headers()
    call.wfile.write(content)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    media.encode(textured_clip(0.5, 128, 96), folder / "clip.mp4")
    media.encode(still(128, 96), folder / "picture.png")
    media.encode(sound_only(0.4), folder / "speech.wav")
    return folder


@pytest.fixture
def server(files):
    made = Server(*((files / n).read_bytes() for n in ("clip.mp4", "picture.png", "speech.wav")))
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Private folders below one place, a key, and a proxy that is not for this machine."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("AVSAFE_MODELS", raising=False)
    monkeypatch.setenv("STUDIO_KEY", KEY)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    return folder


def ask(server, task=Task.TEXT_TO_VIDEO, prompt="a fox", inputs=(), **more):
    names = ("width", "height", "duration_s", "negative_prompt", "seed")
    own = {key: more.pop(key) for key in names if key in more}
    parameters = {"base_url": server.url, "model": "m", "poll_s": 0.05, "timeout_s": 20} | more
    return GenerationRequest(
        Principal("u"), task, "openai-compatible", prompt, inputs=tuple(inputs),
        parameters=parameters, **own,
    )  # fmt: skip


def input_of(files, name, role):
    return InputMedia(media.probe(files / name), role)


def generate(request, **more):
    return OpenAICompatible().generate(request, **more)


def form(body):
    """Field -> content of a multipart body."""
    mark = body.partition(b"\r\n")[0]
    found = {}
    for part in body.split(mark)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        found[re.search(rb'name="([^"]+)"', head)[1].decode()] = content[:-2]
    return found


# ---------------------------------------------------------------- what works


def test_the_contract_of_a_generator(server):
    assert isinstance(OpenAICompatible(), Generator)
    raw = check_generator(OpenAICompatible(), ask(server))
    assert (raw.kind, raw.width, raw.height) == (Kind.VIDEO, 128, 96)
    assert raw.details["server"] == "127.0.0.1"
    assert raw.details["job"] == "video_1"


def test_a_video_job_from_begin_to_end(server):
    seen = []
    request = ask(server, key_env="STUDIO_KEY", width=1280, height=720, duration_s=4)
    generate(request, progress=lambda at, stage: seen.append(at))
    fields = form(server.body("/v1/videos"))
    assert {k: v.decode() for k, v in fields.items()} == {
        "prompt": "a fox", "model": "m", "seconds": "4", "size": "1280x720",
    }  # fmt: skip
    assert all(h["Authorization"] == f"Bearer {KEY}" for _, _, h, _ in server.seen)
    assert seen == sorted(seen)
    assert len({round(at, 2) for at in seen}) >= 4  # the 40 % and 80 % of the server are among them
    assert server.deleted == []


def test_pictures_and_video_go_along_under_names_of_ours(server, files):
    picture = input_of(files, "picture.png", "image")
    generate(ask(server, Task.IMAGE_TO_VIDEO, inputs=[picture]))
    body = server.body("/v1/videos")
    assert form(body)["input_reference"] == (files / "picture.png").read_bytes()
    assert b'filename="input_reference.png"' in body
    server.seen.clear()
    server.polls = 0
    generate(ask(server, Task.EDIT_VIDEO, inputs=[input_of(files, "clip.mp4", "video")]))
    assert form(server.body("/v1/videos"))["input_reference"] == (files / "clip.mp4").read_bytes()


def test_a_prompt_cannot_break_out_of_its_field(server):
    prompt = '\r\n--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nother'
    generate(ask(server, prompt=prompt))
    fields = form(server.body("/v1/videos"))
    assert fields["prompt"].decode() == prompt
    assert fields["model"] == b"m"


def test_images_made_and_changed(server, files):
    raw = check_generator(OpenAICompatible(), ask(server, Task.TEXT_TO_IMAGE))
    assert (raw.kind, raw.frame_rate) == (Kind.IMAGE, None)
    assert raw.details["revised_prompt"] == "a fox, [31m red"  # no control character
    body = json.loads(server.body("/v1/images/generations"))
    assert (body["response_format"], body["n"]) == ("b64_json", 1)
    generate(ask(server, Task.TEXT_TO_IMAGE, inputs=[input_of(files, "picture.png", "image")]))
    assert form(server.body("/v1/images/edits"))["image"] == (files / "picture.png").read_bytes()
    server.seen.clear()
    generate(ask(server, Task.TEXT_TO_IMAGE, model="gpt-image-1"))
    assert "response_format" not in json.loads(server.body("/v1/images/generations"))


def test_speech_alone_and_under_a_video(server, files):
    spoken = ask(server, Task.TEXT_TO_SPEECH, "hello", voice="ash", speed=1.5, instructions="Sad.")
    raw = check_generator(OpenAICompatible(), spoken)
    assert raw.kind is Kind.AUDIO
    assert json.loads(server.body("/v1/audio/speech")) == {
        "input": "hello", "model": "m", "voice": "ash", "speed": 1.5, "instructions": "Sad.",
        "response_format": "wav",
    }  # fmt: skip
    clip = input_of(files, "clip.mp4", "video")
    raw = generate(ask(server, Task.VIDEO_TO_AUDIO, "hello", inputs=[clip]))
    assert raw.kind is Kind.VIDEO
    whole = np.concatenate(list(raw.samples), axis=1)
    assert whole.shape[1] / raw.rate_hz == pytest.approx(raw.frame_count / raw.frame_rate, abs=0.01)
    assert np.abs(whole[:, : raw.rate_hz // 3]).max() > 0.05
    assert np.abs(whole[:, -raw.rate_hz // 20 :]).max() == 0  # 0.4 s of speech in 0.5 s


def test_what_speech_would_leave_undone_is_refused(server, files):
    picture = input_of(files, "picture.png", "image")
    voice = input_of(files, "speech.wav", "voice")
    for request, why in (
        (ask(server, Task.TEXT_TO_SPEECH, "hello", inputs=[voice]), "sends no recording"),
        (ask(server, Task.TEXT_TO_SPEECH, "hello", duration_s=3), "no negative prompt, length"),
        (ask(server, Task.TEXT_TO_SPEECH, "hello", speed=5), "from 0.25 to 4"),
        (ask(server, Task.IMAGE_TO_VIDEO, inputs=[picture], instructions="Sad."), "for speech"),
        (ask(server, Task.VIDEO_TO_AUDIO, "hello"), "text-to-speech is speech alone"),
    ):
        with pytest.raises(UsageError, match=why):
            generate(request)


def test_speech_longer_than_its_video_is_not_cut(server, files, tmp_path):
    media.encode(sound_only(1.5), tmp_path / "long.wav")
    server.files["speech"] = (tmp_path / "long.wav").read_bytes()
    clip = input_of(files, "clip.mp4", "video")
    with pytest.raises(UsageError, match=r"lasts 1\.5 s and clip\.mp4 0\.5 s"):
        generate(ask(server, Task.VIDEO_TO_AUDIO, "hello", inputs=[clip]))


def test_the_extended_dialect_sends_seed_and_more(server):
    request = ask(server, dialect="extended", steps=12, fps=16, guidance=4.5, seed=77,
                  negative_prompt="rain")  # fmt: skip
    assert generate(request).details["seed_sent"] is True
    fields = {k: v.decode() for k, v in form(server.body("/v1/videos")).items()}
    assert fields["seed"] == "77"
    assert fields["negative_prompt"] == "rain"
    assert (fields["num_inference_steps"], fields["guidance_scale"]) == ("12", "4.5")
    with pytest.raises(UsageError, match=r"no negative_prompt.*dialect=extended"):
        generate(ask(server, negative_prompt="rain"))


def test_the_file_lives_as_long_as_the_media(server, surroundings):
    raw = generate(ask(server))
    frames = raw.frames
    del raw
    gc.collect()
    assert len(list(frames)) == len(list(frames)) > 0
    del frames
    gc.collect()
    assert list(surroundings.iterdir()) == []


# ---------------------------------------------------------------- servers that say no


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, {"error": {"message": f"bad key {KEY}"}}, r"did not accept the key.*bad key \[key\]"),
        (429, {"error": {"message": "slow", "code": "rate_limit"}}, "too many requests.*slow"),
        (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, "no quota left.*pay"),
        (400, {"error": {"message": "no", "code": "moderation_blocked"}}, "own moderation"),
        (422, {"detail": [{"msg": "size must be 16n"}]}, "did not accept the request.*16n"),
        (404, {"error": "no model m"}, "no such model or address.*no model m"),
        (500, "<html>\x1b]0;gotcha\x07</html>", r"failed \(HTTP 500\)$"),
        (503, {"error": {"message": "a\x1b[2Jb\u202ec" * 500}}, "failed"),
    ],
)
def test_a_refusal_is_told_in_clean_words(server, status, body, says):
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    server.answers["POST", "/v1/videos"] = lambda call: send(
        call, "application/json", content, status
    )
    with pytest.raises(GeneratorFailed, match=says) as caught:
        generate(ask(server, key_env="STUDIO_KEY"))
    text = str(caught.value)
    assert KEY not in text
    assert text.isprintable()
    assert len(text) < 700


def test_a_job_that_fails_gives_its_reason_and_is_deleted(server):
    server.answers["GET", "/v1/videos/video_1"] = lambda call: say(
        call, {"id": "video_1", "status": "failed",
               "error": {"code": "moderation_blocked", "message": "no foxes"}},
    )  # fmt: skip
    with pytest.raises(GeneratorFailed, match="own moderation: no foxes"):
        generate(ask(server))
    assert server.deleted == ["/v1/videos/video_1"]


def test_cancel_deletes_the_job(server):
    server.answers["GET", "/v1/videos/video_1"] = lambda call: say(
        call, {"id": "video_1", "status": "in_progress"}
    )
    calls = []

    def cancelled():
        calls.append(1)
        return any(path == "/v1/videos/video_1" for _, path, _, _ in server.seen)

    with pytest.raises(Cancelled):
        generate(ask(server), cancelled=cancelled)
    assert server.deleted == ["/v1/videos/video_1"]


def test_cancel_ends_a_request_that_is_not_answered(server):
    arrived, free = threading.Event(), threading.Event()

    def hang(call):
        arrived.set()
        free.wait(20)

    server.answers["POST", "/v1/images/generations"] = hang
    beats = []
    start = time.monotonic()
    with pytest.raises(Cancelled):
        generate(
            ask(server, Task.TEXT_TO_IMAGE),
            cancelled=lambda: arrived.is_set() and time.monotonic() - start > 1.5,
            progress=lambda at, stage: beats.append(at),
        )
    free.set()
    assert len(beats) >= 3  # told while it waited


# ---------------------------------------------------------------- hostile servers


def test_a_job_that_never_ends_times_out_and_is_deleted(server):
    server.answers["GET", "/v1/videos/video_1"] = lambda call: say(
        call, {"id": "video_1", "status": "thinking", "progress": float("1e999")}
    )
    with pytest.raises(GeneratorFailed, match="timeout_s = 1"):
        generate(ask(server, timeout_s=1))
    assert server.deleted == ["/v1/videos/video_1"]


def test_a_server_that_drips_is_bounded_by_the_clock(server):
    def drip(call):
        call.send_response(200)
        call.send_header("Content-Type", "video/mp4")
        call.end_headers()
        for _ in range(400):
            call.wfile.write(b"x")
            time.sleep(0.05)

    server.answers["GET", "/v1/videos/video_1/content"] = drip
    with pytest.raises(GeneratorFailed, match="timeout_s = 1"):
        generate(ask(server, timeout_s=1))


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_without_end_is_cut_off(server, announced, surroundings):
    sent = []

    def flood(call):
        call.send_response(200)
        call.send_header("Content-Type", "video/mp4")
        if announced:
            call.send_header("Content-Length", str(1 << 40))
        call.end_headers()
        for _ in range(4096):
            call.wfile.write(b"\0" * (1 << 16))
            sent.append(1)

    server.answers["GET", "/v1/videos/video_1/content"] = flood
    with pytest.raises(GeneratorFailed, match="more than 1 MiB"):
        generate(ask(server, max_mib=1))
    assert len(sent) < 4096
    gc.collect()
    assert [path for path in surroundings.rglob("*") if path.is_file()] == []


def test_a_body_that_ends_too_soon(server, files):
    def short(call):
        call.send_response(200)
        call.send_header("Content-Type", "video/mp4")
        call.send_header("Content-Length", "100000")
        call.end_headers()
        call.wfile.write(b"\0" * 100)
        call.wfile.flush()
        call.connection.shutdown(socket.SHUT_RDWR)
        call.close_connection = True

    server.answers["GET", "/v1/videos/video_1/content"] = short
    with pytest.raises(GeneratorFailed, match=r"too soon|can't be talked to"):
        generate(ask(server))


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest/meta-data/", "https://127.0.0.1/v1/x", "//evil.test/",
              "file:///etc/passwd", "http://127.0.0.1:1/v1/x", "http://[::"],
)  # fmt: skip
def test_a_redirect_to_elsewhere_is_not_followed(server, place):
    server.answers["GET", "/v1/videos/video_1/content"] = lambda call: send(
        call, "text/plain", b"", 302, Location=place
    )
    with pytest.raises(GeneratorFailed, match="not followed"):
        generate(ask(server, key_env="STUDIO_KEY"))


def test_a_redirect_on_the_same_server_is_followed_but_not_for_ever(server):
    server.answers["GET", "/v1/videos/video_1/content"] = lambda call: send(
        call, "text/plain", b"", 307, Location="/files/1.mp4?sig=2"
    )
    server.answers["GET", "/files/1.mp4?sig=2"] = lambda call: send(
        call, "video/mp4", server.files["clip"]
    )
    assert generate(ask(server)).width == 128
    round_again = server.answers["GET", "/v1/videos/video_1/content"]
    server.answers["GET", "/files/1.mp4?sig=2"] = round_again
    with pytest.raises(GeneratorFailed, match="in circles"):
        generate(ask(server))
    server.answers["POST", "/v1/videos"] = round_again
    with pytest.raises(GeneratorFailed, match="only reading follows"):
        generate(ask(server))


@pytest.mark.parametrize(
    ("path", "kind", "content", "says"),
    [
        ("/v1/videos", "text/html", b"<html>login\x1b[0m</html>", "no JSON object"),
        ("/v1/videos", "application/json", b"[" * 60_000, "no JSON object"),
        ("/v1/videos", "application/json", b'{"id": "../../admin", "status": "x"}', "usable id"),
        ("/v1/videos", "application/json", b'{"id": 7}', "usable id"),
        ("/v1/videos/video_1", "application/json", b"", "no JSON object"),
        ("/v1/videos/video_1/content", "text/html", b"<html></html>", "in place of video"),
        ("/v1/videos/video_1/content", "video/mp4", b"", "with nothing"),
        (
            "/v1/videos/video_1/content",
            "video/mp4",
            b"not a video at all",
            "can't be read as media",
        ),
    ],
)
def test_nonsense_is_named_as_such(server, path, kind, content, says):
    method = "POST" if path == "/v1/videos" else "GET"
    server.answers[method, path] = lambda call: send(call, kind, content)
    with pytest.raises(GeneratorFailed, match=says) as caught:
        generate(ask(server))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"data": [{"url": "http://169.254.169.254/x.png"}]}, r"link \(169\.254\.169\.254\)"),
        ({"data": [{"b64_json": "%%%"}]}, "no base64"),
        ({"data": []}, "without a picture"),
        ({"data": [{"b64_json": base64.b64encode(b"hello").decode()}]}, "can't be read as media"),
    ],
)
def test_pictures_that_are_none(server, answer, says):
    server.answers["POST", "/v1/images/generations"] = lambda call: say(call, answer)
    with pytest.raises(GeneratorFailed, match=says):
        generate(ask(server, Task.TEXT_TO_IMAGE))


def test_a_picture_in_place_of_a_video(server):
    server.files["clip"] = server.files["picture"]
    with pytest.raises(GeneratorFailed, match="image in place of video"):
        generate(ask(server))


def test_no_server_there():
    request = GenerationRequest(
        Principal("u"), Task.TEXT_TO_VIDEO, "openai-compatible", "a fox",
        parameters={"base_url": "http://127.0.0.1:9/v1"},
    )  # fmt: skip
    with pytest.raises(GeneratorFailed, match=r"can't be talked to.*refused"):
        generate(request)


# ---------------------------------------------------------------- who may call what


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("", "", "Which server"),
        ("ftp://host/v1", "", "http or https"),
        ("file:///etc/passwd", "", "http or https"),
        ("http://example.com/v1", "", "in the clear"),
        ("http://localhost.example.com/v1", "", "in the clear"),
        ("https://user:pw@example.com/v1", "", "key_env"),
        ("https://example.com/v1?key=1", "", "alone"),
        ("https://example.com:99999/v1", "", "no address"),
        ("https://exa mple.com/v1\r\nX: y", "", "characters"),
        ("https://example.com/v1", "sk-123", "never a parameter"),
        ("https://example.com/v1", "NO_SUCH_KEY_HERE", "is not set"),
        ("https://example.com/v1", "AVSAFE_HOME", "names an environment variable"),
    ],
)
def test_addresses_and_keys_that_are_refused(url, key, says):
    with pytest.raises(UsageError, match=says):
        Address.parse(url, key)


def test_an_address_never_shows_its_key():
    address = Address.parse("https://example.com/v1", "STUDIO_KEY")
    assert KEY not in f"{address} {address!r}"
    assert Address.parse("http://10.0.0.7:8000/v1", insecure=True).port == 8000


def test_a_listed_server_is_all_there_is(server, tmp_path, monkeypatch):
    path = tmp_path / "servers.toml"
    path.write_text(
        f'[servers.studio]\nbase_url = "{server.url}"\nkey_env = "STUDIO_KEY"\nmodel = "own"\n'
        'licence = "contract 2026-17"\ncommercial_ok = true\n'
    )
    path.chmod(0o600)
    monkeypatch.setenv("AVSAFE_MODELS", str(path))
    info = OpenAICompatible().info
    assert (info.licence, info.commercial_ok) == ("contract 2026-17", True)
    request = GenerationRequest(
        Principal("u"), Task.TEXT_TO_VIDEO, "openai-compatible", "a fox",
        parameters={"server": "studio", "poll_s": 0.05},
    )  # fmt: skip
    generate(request)
    assert form(server.body("/v1/videos"))["model"] == b"own"
    with pytest.raises(UsageError, match="no parameter base_url"):
        generate(ask(server))
    own = OpenAICompatible.from_file(path, "studio")
    assert own.info.name == "studio"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": Task.TALKING_HEAD}, "can't do talking-head"),
        ({"prompt": " "}, "needs a prompt"),
        ({"task": Task.IMAGE_TO_VIDEO}, "needs a picture"),
        ({"timeout_s": "NaN"}, "timeout_s is a number"),
        ({"key": "sk"}, "no parameter key"),
    ],
)
def test_requests_that_make_no_sense(server, change, says):
    with pytest.raises(UsageError, match=says):
        generate(ask(server, **change))
    assert server.seen == []


def test_a_long_prompt_arrives_whole(server):
    prompt = "a fox " * 2000
    generate(ask(server, prompt=prompt))
    assert form(server.body("/v1/videos"))["prompt"].decode() == prompt


def test_the_info_assumes_the_worst():
    info = OpenAICompatible().info
    assert (info.commercial_ok, info.realism) == (False, "photorealistic")
    assert {"base_url", "key_env"} <= set(info.controls)
    assert Path(info.card).suffix == ".md"


def test_a_picture_passes_the_gate_with_its_label(server, workspace, tmp_path):
    """Photorealistic output carries a visible label; a picture has no first seconds for it."""
    media.encode(still(512, 384), tmp_path / "large.png")
    server.files["picture"] = (tmp_path / "large.png").read_bytes()
    asked = ask(server, Task.TEXT_TO_IMAGE)
    request = GenerationRequest(
        local_principal(), asked.task, asked.generator, "a fox", parameters=asked.parameters
    )
    released = gate.generate(request, tmp_path / "fox.png", workspace)
    assert released.manifest.visible_label
    before, after = (
        next(iter(media.decode(tmp_path / n).frames)) for n in ("large.png", "fox.png")
    )
    changed = np.abs(before.astype(int) - after).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.2  # the label, and not the whole picture


# ---------------------------------------------------------------- what must not be told, or crash


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://me:hunter2@host:bad/v1", ""),
        ("ftp://me:hunter2@host", ""),
        ("https://me:hunter2@[", ""),
        ("https://host/v1?key=hunter2", ""),
        ("https://host/v1", "sk-hunter2"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(url, key):
    with pytest.raises(UsageError) as refused:
        Address.parse(url, key)
    assert "hunter2" not in str(refused.value)


def test_a_server_that_repeats_the_key_does_not_get_it_into_a_message(server):
    server.answers["POST", "/v1/videos"] = lambda call: say(
        call, {"id": "video_1", "status": "failed", "error": {"message": f"bad header {KEY}"}}
    )
    with pytest.raises(GeneratorFailed) as failed:
        generate(ask(server, key_env="STUDIO_KEY"))
    assert KEY not in str(failed.value)
    assert "[key]" in str(failed.value)
    for kind, content, status in (
        ("text/plain", f"you sent {KEY}".encode(), 200),
        ("text/plain", b"x" * 390 + KEY.encode(), 400),  # the cut for the message goes through it
    ):
        answer = kind, content, status
        server.answers["POST", "/v1/videos"] = lambda call, answer=answer: send(call, *answer)
        with pytest.raises(GeneratorFailed) as failed:
            generate(ask(server, key_env="STUDIO_KEY"))
        assert KEY[:8] not in str(failed.value)
    text = base64.b64encode(server.files["picture"]).decode()
    server.answers["POST", "/v1/images/generations"] = lambda call: say(
        call, {"data": [{"b64_json": text, "revised_prompt": f"a fox {KEY}"}]}
    )
    raw = generate(ask(server, Task.TEXT_TO_IMAGE, key_env="STUDIO_KEY"))
    assert KEY not in repr(raw.details)


@pytest.mark.parametrize("link", ["http://[", "http://a]b", "//[::", 7, "\ud800"])
def test_a_link_that_is_no_address_is_the_servers_fault(server, link):
    server.answers["POST", "/v1/images/generations"] = lambda call: say(
        call, {"data": [{"url": link}]}
    )
    with pytest.raises(GeneratorFailed, match="link"):
        generate(ask(server, Task.TEXT_TO_IMAGE))


def test_text_that_is_no_unicode_is_sent_with_marks_in_its_place(server):
    generate(ask(server, prompt="a fox \ud800"))
    assert b"a fox ?" in server.body("/v1/videos")


def test_an_error_of_any_kind_in_the_thread_is_typed(server, monkeypatch):
    from avsafe_generators.openai_compatible import client

    def fails(*_):
        raise RecursionError("deep")

    monkeypatch.setattr(client, "_connection", fails)
    with pytest.raises(GeneratorFailed, match="deep"):
        generate(ask(server))
