"""The service end to end: a release is recognised, also when stripped; hostile files answered."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from avsafe import gate
from avsafe.errors import AvsafeError
from avsafe.home import Home
from avsafe.policy import local_principal
from avsafe.server import analysis
from avsafe.server.app import create_app
from avsafe.server.settings import UPLOADS, Settings
from avsafe.server.turns import Turns
from avsafe.types import GenerationRequest, Label, Task, Verdict
from avsafe.workspace import open_workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A state folder with one released picture in it."""
    root = tmp_path_factory.mktemp("serve")
    path = root / "ball.png"
    with open_workspace(Home(root / "home")) as workspace:
        request = GenerationRequest(
            principal=local_principal(),
            task=Task.TEXT_TO_IMAGE,
            generator="world",
            prompt="a red metal ball on grass",
            width=512,
            height=512,
        )
        release = gate.generate(request, path, workspace)
    return root, path, release


@pytest.fixture(scope="module")
def client(place):
    settings = Settings(home=Home(place[0] / "home"), max_upload_mb=4, detectors="none")
    with TestClient(create_app(settings)) as opened:
        yield opened


@pytest.fixture
def stripped(place, tmp_path):
    """The released picture without its credential."""
    path = tmp_path / "stripped.png"
    Image.open(place[1]).convert("RGB").save(path)
    return path


def left(place):
    folder = place[0] / "home" / UPLOADS
    return [p for p in folder.iterdir() if p.name != ".ready"] if folder.is_dir() else []


# ---------------------------------------------------------------- verdicts


def test_a_release_is_recognised_by_its_credential(client, place):
    answer = client.post("/api/verify", files={"file": ("a.png", place[1].read_bytes())}).json()
    assert answer["label"] == "synthetic-declared"
    assert answer["name"] == "a.png"
    assert "path" not in answer
    assert left(place) == []


def test_a_stripped_release_is_recovered_as_a_body(client, place, stripped):
    answer = client.post("/api/verify", content=stripped.read_bytes()).json()
    assert answer["label"] == "synthetic-recovered"
    assert str(place[0]) not in json.dumps(answer)


@pytest.mark.parametrize(("language", "title"), [("en", "AI-made"), ("it", "Fatto con l")])
def test_the_page_says_it_in_words_and_ends_whole(client, stripped, place, language, title):
    with client.stream(
        "POST", f"/{language}/verify", files={"file": ("x.png", stripped.read_bytes())}
    ) as answer:
        text = "".join(answer.iter_text())
    assert title in html.unescape(re.search(r"<h1[^>]*>(.*?)</h1>", text)[1])
    assert text.rstrip().endswith("</html>")
    assert text.count("<main") == text.count("</main>") == 1
    data = re.search(r'href="data:application/json;base64,([^"]+)"', text)[1]
    assert json.loads(base64.b64decode(data))["label"] == "synthetic-recovered"
    paper = re.search(r'href="data:application/pdf;base64,([^"]+)"', text)[1]
    assert base64.b64decode(paper).startswith(b"%PDF-")
    assert left(place) == []


def test_no_script_is_needed_and_no_other_host(client):
    page = client.get("/en/").text
    assert '<form class="drop"' in page
    assert 'method="post"' in page
    assert "http" not in re.sub(r"<!--.*?-->", "", page)
    policy = client.get("/en/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_names_and_fields_of_a_file_are_text(client, place):
    name = '"><img src=x onerror=alert(1)>.png'
    text = client.post("/en/verify", files={"file": (name, place[1].read_bytes())}).text
    assert "<img" not in text
    assert "&lt;img" in text or "%3Cimg" in text  # browsers and clients may encode names


def test_the_root_leads_to_the_language_asked_for(client):
    answer = client.get("/", headers={"accept-language": "it-CH"}, follow_redirects=False)
    assert answer.headers["location"] == "/it/"


# ---------------------------------------------------------------- resolution


def test_a_mark_leads_to_its_manifest(client, place):
    release = place[2]
    mark = release.marks[0]
    raw = mark.payload.to_bytes(mark.payload_bits // 8, "big")
    asked = {"alg": mark.algorithm, "value": base64.b64encode(raw).decode()}
    found = client.get("/matches/byBinding", params=asked).json()
    assert found == {"matches": [{"manifestId": release.manifest_id}]}
    assert client.post("/matches/byBinding", json=asked).json() == found
    manifest = client.get(f"/manifests/{release.manifest_id}")
    assert manifest.headers["content-type"] == "application/c2pa"
    assert manifest.content[4:8] == b"jumb"


def test_content_leads_to_its_manifest(client, place, stripped):
    found = client.post("/matches/byContent", content=stripped.read_bytes()).json()["matches"]
    assert found[0]["manifestId"] == place[2].manifest_id
    assert found[0]["similarityScore"] > 80


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/matches/byBinding?alg=org.avsafe.tile.2&value=AAAA", 200),
        ("/matches/byBinding?alg=org.avsafe.tile.2&value=%25%25", 400),
        ("/matches/byBinding?alg=org.avsafe.tile.2&value=", 400),
        ("/matches/byBinding?alg=com.other.mark&value=AAAA", 400),
        ("/matches/byBinding?alg=org.avsafe.tile.2&value=" + "A" * 5000, 414),
        ("/matches/byBinding?alg=org.avsafe.tile.2&value=AAAA&maxResults=0", 422),
        ("/matches/byBinding", 422),
        ("/manifests/urn:c2pa:none", 404),
        ("/manifests/../../keys/root.key", 404),
        ("/services/supportedAlgorithms", 200),
        ("/static/../../../keys", 404),
        ("/nowhere", 404),
        ("/healthz", 200),
        ("/readyz", 200),
    ],
)
def test_queries_are_answered(client, path, status):
    assert client.get(path).status_code == status


# ---------------------------------------------------------------- hostile


def boxes(n: int) -> bytes:
    return b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + struct.pack(">I4s", 8, b"free") * n


def bomb() -> bytes:
    """A PNG that claims 60,000 x 60,000 pixels."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


HOSTILE = {
    "boxes": boxes(100_000),
    "bomb": bomb(),
    "text": b"<html><script>alert(1)</script>" * 50,
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "zip": b"PK\x03\x04" + bytes(500),
    "noise": bytes(range(256)) * 64,
    "half": b"\x89PNG\r\n\x1a\n" + bytes(40),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_unreadable_and_leave_nothing(client, place, name):
    answer = client.post("/api/verify", files={"file": (f"../../{name}.mp4", HOSTILE[name])})
    assert answer.status_code == 200
    assert answer.json()["label"] == "unreadable"
    assert client.post("/matches/byContent", content=HOSTILE[name]).status_code == 415
    assert left(place) == []


@pytest.mark.parametrize(("path", "kind"), [("/api/verify", "json"), ("/it/verify", "html")])
def test_too_large_is_answered_in_its_own_form(client, place, path, kind):
    answer = client.post(path, files={"file": ("a.mp4", bytes(5 << 20))})
    assert answer.status_code == 413
    assert kind in answer.headers["content-type"]
    assert "4 MB" in answer.text
    assert left(place) == []


def test_an_unknown_detector_is_a_wrong_question(client, place):
    answer = client.post("/api/verify?detectors=nobody", content=place[1].read_bytes())
    assert answer.status_code == 400
    assert "nobody" in answer.json()["error"]["message"]


def test_a_fault_of_ours_is_told_and_leaves_nothing(client, place, monkeypatch):
    def broken(*_):
        raise AvsafeError("secret /path")

    monkeypatch.setattr(analysis, "verify_upload", broken)
    text = client.post("/en/verify", files={"file": ("a.png", b"x")}).text
    assert "Something went wrong on our side" in text
    assert "secret" not in text
    assert left(place) == []


# ---------------------------------------------------------------- many at once


def test_only_so_many_run_and_the_rest_wait_their_turn(place, monkeypatch):
    running, most, lock = 0, 0, threading.Lock()

    def slow(upload, lookup, detectors, limits):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        assert upload.path.read_bytes() == b"x"
        return Verdict(Path("x"), "0" * 64, Label.INCONCLUSIVE, ())

    monkeypatch.setattr(analysis, "verify_upload", slow)
    settings = Settings(home=Home(place[0] / "home"), at_once=2, waiting=18)
    app = create_app(settings)

    async def ask(n):
        import httpx

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as asked:
            answers = [asked.post("/api/verify", content=b"x") for _ in range(n)]
            return [a.status_code for a in await asyncio.gather(*answers)]

    assert asyncio.run(ask(20)) == [200] * 20
    assert most == 2
    codes = asyncio.run(ask(30))
    assert codes.count(200) == 20
    assert codes.count(503) == 10
    assert left(place) == []


def test_who_leaves_gives_his_place_back(place, monkeypatch):
    release = threading.Event()

    def slow(*_):
        release.wait(5)
        return Verdict(Path("x"), "0" * 64, Label.INCONCLUSIVE, ())

    monkeypatch.setattr(analysis, "verify_upload", slow)
    analyses = analysis.Analyses(Settings(home=Home(place[0] / "home"), at_once=1, waiting=5))

    async def run():
        from avsafe.server.uploads import Upload

        first = asyncio.ensure_future(analyses.verdict(Upload(place[1], "a", 1)))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(analyses.verdict(Upload(place[1], "b", 1)))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = asyncio.ensure_future(analyses.verdict(Upload(place[1], "c", 1)))
        await asyncio.sleep(0.05)
        assert not third.done()
        release.set()
        return await asyncio.wait_for(asyncio.gather(first, third), 5)

    assert len(asyncio.run(run())) == 2


def test_processes_share_the_turns_of_a_machine_and_a_killed_one_holds_none(tmp_path):
    """What another process holds is waited for, until it ends, however it ends."""
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from avsafe.server.turns import Turns\n"
        "async def hold():\n"
        "    turns = Turns(Path(sys.argv[1]), 2)\n"
        "    held = [await turns.take(), await turns.take()]\n"
        "    print('held', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(hold())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"

        async def take():
            mine = Turns(tmp_path, 2)
            taking = asyncio.ensure_future(mine.take())
            done, _ = await asyncio.wait((taking,), timeout=0.2)
            assert not done
            other.kill()
            turn = await asyncio.wait_for(taking, 10)
            second = await asyncio.wait_for(mine.take(), 10)
            third = asyncio.ensure_future(mine.take())
            await asyncio.sleep(0.06)
            assert not third.done()
            Turns.give_back(second)
            Turns.give_back(await asyncio.wait_for(third, 10))
            Turns.give_back(turn)

        asyncio.run(take())
