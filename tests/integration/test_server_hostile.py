"""Hostile uploads over a real connection: each gets a verdict or a clear error, nothing is run,
nothing stays on disk. (Forms in pieces and slow ones: tests/unit/test_server_uploads.py; addresses:
tests/unit/test_server_fetching.py; in a browser: tests/e2e/test_service_in_a_browser.py.)"""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
import socket
import struct
import threading
import time
import zipfile
import zlib
from contextlib import closing

import httpcore
import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from avsafe.home import Home
from avsafe.provenance import keys, sign
from avsafe.server import analysis, fetching, patience
from avsafe.server.app import create_app
from avsafe.server.settings import UPLOADS, Settings
from avsafe.types import Label, Verdict
from tests.provenance_kit import make_manifest, make_media

uvicorn = pytest.importorskip("uvicorn")
SCRIPT = "<script>hacked=1</script>"
IMG = '"><img src=x onerror=hacked=1>'
SVG = "<svg onload=hacked=1>"


class Running:
    """The service on a port of its own; addresses lead to ``inside``, a server that must never be
    asked."""

    def __init__(self, root):
        self.uploads = root / UPLOADS
        settings = Settings(
            home=Home(root), detectors="none", max_upload_mb=2, fetch=True, receive_s=20
        )
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(create_app(settings), http=patience.Impatient, log_level="warning")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)

    def left(self):
        """Uploads that lie on disk, after a moment for whoever just hung up."""
        for _ in range(100):
            found = [p for p in self.uploads.rglob("*") if not p.name.startswith(".")]
            if not found:
                break
            time.sleep(0.05)
        return found

    def post(self, path="/api/verify", **given):
        return httpx.post(self.address + path, timeout=60, trust_env=False, **given)

    def said(self, data: bytes, *, listens: bool = True) -> bytes:
        """What the service answers to these bytes; b"" when it cut the line, or nobody listens."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=30)) as line:
            found = b""
            try:
                line.sendall(data)
                while listens and (more := line.recv(65536)):
                    found += more
            except (ConnectionResetError, BrokenPipeError):
                pass
            return found


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("hostile"))
    yield running
    running.server.should_exit = True
    running.thread.join(timeout=20)
    assert running.left() == []


@pytest.fixture
def unread(monkeypatch):
    """Uploads are received and not analysed."""

    def verdict(upload, *_):
        return Verdict(upload.path, "0" * 64, Label.INCONCLUSIVE, ())

    monkeypatch.setattr(analysis, "verify_upload", verdict)


def post(head: str, body: bytes = b"") -> bytes:
    first = b"POST /api/verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return first + head.encode() + b"\r\n" + body


# ---------------------------------------------------------------- files


def picture(**info) -> bytes:
    out, text = io.BytesIO(), PngInfo()
    for key, value in info.items():
        text.add_text(key, value)
    Image.effect_noise((96, 96), 60).convert("RGB").save(out, "PNG", pnginfo=text)
    return out.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as inside:
        inside.writestr("../../evil.sh", bytes(1 << 20))
    return out.getvalue()


def bomb(kind: bytes, head: bytes = b"a\0\0") -> bytes:
    """A small picture with a chunk of text or colours that expands to 64 MB."""
    whole, packed = picture(), zlib.compress(bytes(64 << 20), 9)
    return whole[:33] + png_chunk(kind, head + packed) + whole[33:]


def wav(chunks: bytes) -> bytes:
    sound = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    data = sound + chunks + struct.pack("<4sI", b"data", 16000) + bytes(16000)
    return struct.pack("<4sI4s", b"RIFF", len(data) + 4, b"WAVE") + data


FILES = {
    "png and zip": lambda: picture() + archive(),
    "png and page": lambda: picture() + SCRIPT.encode(),
    "text bomb": lambda: bomb(b"zTXt"),
    "colour bomb": lambda: bomb(b"iCCP"),
    "international text bomb": lambda: bomb(b"iTXt", b"a\0\1\0\0\0"),
    "page and film": lambda: (
        b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + struct.pack(">I4s", 8 + len(SCRIPT), b"free")
        + SCRIPT.encode()
    ),
    "page before a film": lambda: SCRIPT.encode() + b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
    "gif and script": lambda: b"GIF89a/*" + bytes(40) + b"*/=1;hacked=1;",
    "pdf and png": lambda: b"%PDF-1.7\n" + picture(),
    "sound with a page in it": lambda: wav(b"LIST" + struct.pack("<I", 28) + SCRIPT.encode()
                                           + b" " * (28 - len(SCRIPT))),
    "xml entities": lambda: picture(**{"XML:com.adobe.xmp": "<!DOCTYPE x [<!ENTITY a 'aaaa'>"
                                       + "".join(f"<!ENTITY e{n} '{'&a;' * 50}'>"
                                                 for n in range(50)) + "]><x>&e49;</x>"}),
    "concat list": lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "mpd": lambda: b'<?xml version="1.0"?><MPD><BaseURL>http://169.254.169.254/</BaseURL></MPD>',
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_gets_a_verdict(service, name):
    answer = service.post(files={"file": (f"../../{name}.png", FILES[name]())})
    assert answer.status_code == 200
    assert answer.json()["label"] in ("unreadable", "inconclusive")
    assert answer.json()["name"] == f"{name}.png"
    assert service.left() == []


# ---------------------------------------------------------------- forms and connections


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % (h.encode(), d) for h, d in parts) + b"--b--\r\n"


FIELD = 'Content-Disposition: form-data; name="file"; filename='
MULTIPART = "multipart/form-data; boundary=b"
FORMS = {
    "traversal": (form((FIELD + '"../../../etc/cron.d/x"', b"x")), "x"),
    "traversal, backslashes": (form((FIELD + '"..\\..\\x.exe"', b"x")), "x.exe"),
    "traversal, extended": (
        form((FIELD[:-9] + "filename*=UTF-8''..%2F..%2Fy.png", b"x")), None),
    "null": (form((FIELD + '"a\0/../b.png"', b"x")), None),
    "absolute": (form((FIELD + '"/etc/passwd"', b"x")), "passwd"),
    "dots": (form((FIELD + '".."', b"x")), None),
    "nested": (
        form((FIELD + '"a"\r\nContent-Type: multipart/mixed; boundary=c',
              b'--c\r\nContent-Disposition: file; filename="z"\r\n\r\nz\r\n--c--')), "a"),
    "transfer encoding": (form((FIELD + '"a"\r\nContent-Transfer-Encoding: base64', b"QQ==")), "a"),
    "long name": (form((FIELD + f'"{"n" * 900}"', b"x")), "n" * 120),
    "name of slashes": (form((FIELD + f'"{"/" * 3000}"', b"x")), "file"),
    "name of quotes": (form((FIELD + '"' + '\\"' * 4000 + '"', b"x")), None),
    "semicolons": (form((FIELD + '"a"' + ";=" * 4000, b"x")), None),
    "many parts": (
        form(*[(f'Content-Disposition: form-data; name="{n}"', b"") for n in range(999)]), None),
    "huge part header": (form((FIELD + '"a"\r\nX: ' + "y" * 99_999, b"x")), None),
    "two files": (form((FIELD + '"a"', b"x"), (FIELD + '"b"', b"y")), "a"),
    "boundary in boundary": (b"--b\r\n--b\r\n--b--", None),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_gets_a_verdict_or_an_error(service, unread, name):
    body, shown = FORMS[name]
    answer = service.post(content=body, headers={"content-type": MULTIPART})
    assert answer.status_code in ((200,) if shown else (200, 400))
    if shown:
        assert answer.json()["name"] == shown
    elif answer.status_code == 200:
        assert "/" not in answer.json()["name"]
    else:
        assert answer.json()["error"]["code"] in ("bad-form", "no-file")
    assert service.left() == []


CLOSED = (b"400", b"")  # the answer may be lost when the line is cut while there is more to say
LINES = {
    "huge header": (post(f"X: {'y' * 100_000}\r\n"), CLOSED),
    "many headers": (post("X: y\r\n" * 20_000), CLOSED),
    "endless boundary": (
        post(f"Content-Type: multipart/form-data; boundary={'b' * 5000}\r\nContent-Length: 1\r\n",
             b"x"), (b"400",)),
    "length that is none": (post("Content-Length: 1e9\r\n"), (b"400",)),
    "negative length": (post("Content-Length: -5\r\n"), (b"400",)),
    "two lengths": (post("Content-Length: 1\r\nContent-Length: 2\r\n", b"xx"), (b"400",)),
    "other codings": (post("Transfer-Encoding: gzip, chunked\r\n", b"x"), (b"400", b"501")),
    "endless length": (post(f"Content-Length: {'9' * 20}\r\n"), (b"413",)),
    "too large, said": (post("Content-Length: 99999999\r\n", b"x"), (b"413",)),
    "chunks beyond the limit": (
        post("Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n",
             b"300000\r\n" + b"x" * 0x300000 + b"\r\n300000\r\n"), (b"413", b"")),
    "chunk that is none": (post("Transfer-Encoding: chunked\r\n", b"zz\r\n"), (b"400",)),
    "bytes that expand": (
        post("Content-Encoding: gzip\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n",
             zlib.compress(bytes(9_000_000), 9, 31)[:1000]), (b"200",)),
    "ranges": (b"GET /static/style.css HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes="
               + b"0-1," * 9000 + b"0-1\r\n\r\n", (b"200", b"206", b"400", b"416")),
    "languages": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Language: "
                  + b"it;q=0.1," * 6000 + b"\r\n\r\n", (b"307",)),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00" * 50 + b"\r\n\r\n", (b"400",)),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_a_hostile_line_gets_an_error(service, unread, name):
    sent, status = LINES[name]
    answer = service.said(sent)
    assert answer[9:12] in status, answer[:200]
    assert service.left() == []


CUT = {
    "shorter than it says": post("Content-Type: image/png\r\nContent-Length: 9999\r\n", b"x"),
    "chunk without end": post("Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n",
                              b"5\r\nab"),
    "form without end": post(f"Content-Type: {MULTIPART}\r\nContent-Length: 9999\r\n",
                             form((FIELD + '"a"', b"x"))[:-9]),
    "address without end": post("Content-Type: application/json\r\nContent-Length: 99\r\n", b'{"u'),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_who_hangs_up_leaves_nothing_and_is_no_fault_of_ours(service, name, caplog):
    with caplog.at_level(logging.WARNING):
        service.said(CUT[name], listens=False)
        assert service.left() == []
        assert httpx.get(f"{service.address}/readyz").json()["inside"] == 0
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_who_says_nothing_or_drop_by_drop_is_left(service, unread, monkeypatch):
    monkeypatch.setattr(patience, "HEADERS_S", 0.3)
    lines = [socket.create_connection(("127.0.0.1", service.port), timeout=10) for _ in range(3)]
    silent, drops, again = lines
    parts = iter(lambda: again.recv(65536), b"")
    again.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert next(parts).startswith(b"HTTP/1.1 200")
    again.sendall(b"GET /hea")  # the second request of a connection
    for byte in range(40):
        try:
            drops.sendall(b"G" if byte == 0 else b"x")
        except OSError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("a request without end was waited for")
    assert silent.recv(1) == b""
    assert len(b"".join(parts)) < 50  # what was left of the first answer, and no second
    for line in lines:
        line.close()


def test_a_slow_body_is_not_taken_for_slow_headers(service, unread, monkeypatch):
    monkeypatch.setattr(patience, "HEADERS_S", 0.1)
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=10)) as line:
        for part in (post("Content-Type: image/png\r\nContent-Length: 5\r\n"), *[b"x"] * 5):
            line.sendall(part)
            time.sleep(0.06)
        assert line.recv(65536).startswith(b"HTTP/1.1 200")


# ---------------------------------------------------------------- addresses

INSIDE = [
    "http://127.0.0.1:{port}/healthz", "http://localhost/", "http://[::1]/", "http://0.0.0.0/",
    "http://169.254.169.254/latest/meta-data/", "http://2130706433/", "http://0x7f.1/",
    "http://[::ffff:127.0.0.1]/", "http://user@127.0.0.1/", "file:///etc/passwd", "gopher://x.org/",
    "https://inside.example/x", "http://" + "a." * 900 + "b/", "http://" + "a-" * 900 + "/",
    "http://[" + ":" * 1500 + "]/", "http://x.org/" + "%" * 1900, "\n", "x" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE, ids=lambda a: a[:30])
def test_no_address_leads_inside(service, address, monkeypatch):
    dialled = []

    async def connect(self, host, *_, **__):
        dialled.append(host)
        raise httpcore.ConnectError

    async def resolved(self, host, port):
        return ["10.0.0.7"] if host.endswith(".example") else [host]

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    monkeypatch.setattr(fetching.Resolver, "__call__", resolved)
    address = address.replace("{port}", str(service.port))
    answer = service.post(json={"url": address})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("address", "not-fetched")
    assert "127.0.0.1" not in answer.text
    assert "10.0.0.7" not in answer.text
    page = service.post("/it/verify", files={"url": (None, address)})
    assert page.status_code == 400
    assert "Non ha funzionato" in page.text
    assert dialled == []
    assert service.left() == []


@pytest.mark.parametrize(
    "body", ["{", "[]", '"x"', '{"url": 1}', '{"url": null}', "[" * 60_000, '{"url": {}}', "{}"]
)
def test_what_is_no_address_in_json(service, body):
    answer = service.post(content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("bad-form", "no-file")


def test_addresses_are_taken_only_where_they_are_switched_on(tmp_path):
    from fastapi.testclient import TestClient

    with TestClient(create_app(Settings(home=Home(tmp_path)))) as client:
        answer = client.post("/api/verify", json={"url": "https://example.org/x.png"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "no-addresses")
        assert 'name="url"' not in client.get("/en/").text


# ---------------------------------------------------------------- what a file says of itself


def test_nothing_that_a_file_says_is_more_than_text(service, tmp_path):
    signer = keys.load_signer(keys.init(tmp_path / "keys", organization=f"Org {IMG}").folder)
    manifest = make_manifest(
        mime="image/png", generator=SCRIPT, generator_version=SVG, title=SCRIPT
    )
    path = tmp_path / "signed.png"
    sign.sign_file(make_media(tmp_path / "a.png"), path, manifest, signer)
    data = path.read_bytes()
    given = {"file": (f"{SVG}.png", data)}
    answer = service.post(files=given).json()
    details = answer["evidence"][0]["details"]
    assert details["issuer"] == f"Org {IMG}"
    assert SCRIPT in details["actions"][0]["software_agent"]
    text = service.post("/en/verify", files=given).text
    shown = re.sub(r'href="data:[^"]*"', "", text)
    assert f"Org {IMG}" in html.unescape(shown)  # as text
    for hostile in (SCRIPT, IMG, SVG):
        assert hostile not in shown
    assert "<script src=" in shown
    assert len(re.findall("<script", shown)) == 1  # our own
    found = json.loads(base64.b64decode(re.search(r"application/json;base64,([^\"]+)", text)[1]))
    assert found["evidence"][0]["details"]["issuer"] == f"Org {IMG}"
    pypdf = pytest.importorskip("pypdf")
    paper = base64.b64decode(re.search(r"application/pdf;base64,([^\"]+)", text)[1])
    reader = pypdf.PdfReader(io.BytesIO(paper))
    written = "".join("".join(p.extract_text() for p in reader.pages).split())
    assert "<imgsrc=xonerror=hacked=1>" in written
    assert b"/JavaScript" not in paper
    assert not any(page.get("/Annots") for page in reader.pages)
    assert service.left() == []


# ---------------------------------------------------------------- faults of ours


@pytest.mark.parametrize("path", ["/api/verify", "/it/"])
def test_what_nobody_foresaw_is_answered_and_quotes_nothing(service, monkeypatch, caplog, path):
    from avsafe.server import pages

    def broken(*_, **__):
        raise RuntimeError("a prompt of ada@example.org")

    monkeypatch.setattr(analysis, "verify_upload", broken)
    monkeypatch.setattr(pages, "form", broken)
    with caplog.at_level(logging.DEBUG):
        if path == "/it/":
            answer = httpx.get(service.address + path)
            assert "Qualcosa è andato storto" in answer.text
        else:
            answer = service.post(content=b"x")
            assert answer.json()["error"]["code"] == "failed"
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    told = " ".join(f"{r.getMessage()} {r.exc_text} {r.__dict__}" for r in caplog.records)
    assert "RuntimeError" in told
    assert "ada@" not in told + answer.text
    assert service.left() == []


def test_half_an_answer_does_not_look_whole(service, monkeypatch):
    from fastapi.responses import StreamingResponse

    from avsafe.server import pages

    def half(*_):
        async def parts():
            yield "half "
            raise RuntimeError("ada@example.org")

        return StreamingResponse(parts())

    monkeypatch.setattr(pages, "form", half)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{service.address}/en/")


def test_verdicts_of_unknown_kind_are_still_pages(service, monkeypatch):
    from avsafe.types import Evidence, EvidenceStatus

    def odd(upload, *_):
        bad = {"heatmap": {"llr": [[9e999]], "flagged": [[True]], "box": "x"}, "timeline": "x"}
        found = Evidence("detector.<b>", EvidenceStatus.PRESENT, IMG, details=bad)
        return Verdict(upload.path, "0" * 64, Label.INCONCLUSIVE, (found,))

    monkeypatch.setattr(analysis, "verify_upload", odd)
    text = service.post("/en/verify", content=b"x").text
    assert text.rstrip().endswith("</html>")
    assert "<b>detector" not in text
    assert IMG not in text
