"""Uploads: streamed, capped, under a random name, gone afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from starlette.requests import Request

from avsafe.server.scratch import scratch, sweep
from avsafe.server.uploads import BadUpload, received, shown_name

BOUNDARY = b"--xyz"


def request(chunks, *, kind="multipart/form-data; boundary=xyz", pause_s=0.0, **headers):
    """A request whose body comes in these chunks."""
    parts = iter(chunks)

    async def receive():
        if pause_s:
            await asyncio.sleep(pause_s)
        chunk = next(parts, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    given = {"content-type": kind} | {k.replace("_", "-"): v for k, v in headers.items()}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }
    return Request(scope, receive)


def part(data: bytes, name: bytes = b"file", filename: bytes | None = b"a.png") -> bytes:
    disposition = b'form-data; name="' + name + b'"'
    if filename is not None:
        disposition += b'; filename="' + filename + b'"'
    return (
        BOUNDARY + b"\r\nContent-Disposition: " + disposition + b"\r\n"
        b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"
    )


def take(asked, folder, *, max_bytes=1000, within_s=5.0):
    async def run():
        async with received(asked, folder, max_bytes=max_bytes, within_s=within_s) as form:
            upload = form.file
            assert upload.path.parent.stat().st_mode & 0o077 == 0
            return upload, upload.path.read_bytes()

    return asyncio.run(run())


def left(folder):
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_form_in_any_pieces_gives_its_bytes(tmp_path, size):
    data = bytes(range(256)) + b"\r\n--xy" + b"\r\n--xyzz"[:5]
    whole = part(b"no", b"other", None) + part(data, filename=b"clip \xc3\xa9.mp4") + b"--xyz--\r\n"
    upload, found = take(
        request([whole[i : i + size] for i in range(0, len(whole), size)]), tmp_path
    )
    assert found == data
    assert (upload.name, upload.size_bytes) == ("clip é.mp4", len(data))
    assert left(tmp_path) == []


def test_only_the_first_file_is_taken(tmp_path):
    whole = part(b"one") + part(b"two", filename=b"b.png") + b"--xyz--\r\n"
    assert take(request([whole]), tmp_path)[1] == b"one"


def test_a_body_is_a_file(tmp_path):
    upload, found = take(
        request([b"ab", b"cd"], kind="image/png", x_filename="../../x\x01.png"), tmp_path
    )
    assert (found, upload.name) == (b"abcd", "x.png")


def test_files_and_texts_by_field(tmp_path):
    whole = (
        part(b"a red ball", b"prompt", None)
        + part(b"face", b"portrait")
        + part(b"x" * 900, b"unasked")
        + part(b"sound", b"voice", b"v.wav")
        + part(b"second", b"prompt", None)
        + b"--xyz--\r\n"
    )

    async def run():
        async with received(
            request([whole]), tmp_path, max_bytes=10, within_s=5.0, files=("portrait", "voice")
        ) as form:
            return form.texts, {k: u.path.read_bytes() for k, u in form.files.items()}

    texts, files = asyncio.run(run())
    assert texts == {"prompt": "a red ball"}
    assert files == {"portrait": b"face", "voice": b"sound"}
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request([b"x" * 600, b"x" * 600], kind="video/mp4"), 413),
        (request([part(b"x" * 1100)]), 413),
        (request([], content_length="99999999"), 413),
        (request([], kind="video/mp4"), 400),
        (request([part(b"")[:-2] + b"\r\n--xyz--\r\n"]), 400),
        (request([part(b"x", b"other") + b"--xyz--\r\n"]), 400),
        (request([part(b"x", filename=None) + b"--xyz--\r\n"]), 400),
        (request([part(b"x")]), 400),  # no end
        (request([b"nonsense"]), 400),
        (request([part(b"x")], kind="multipart/form-data"), 400),
        (request([b"file=x"], kind="application/x-www-form-urlencoded"), 415),
        (request([BOUNDARY + b"\r\nA: " + b"b" * 50_000 + b"\r\n\r\nx"]), 400),
        (request([(BOUNDARY + b"\r\nA: b\r\n\r\nx\r\n") * 1_000]), 400),
        (request([(BOUNDARY + b"\r\nA: b\r\n\r\nx\r\n") * 20_000]), 413),
        (request([part(b"x" * 70_000, b"prompt", None)]), 413),
    ],
)
def test_what_is_no_upload_is_refused_and_leaves_nothing(tmp_path, asked, status):
    with pytest.raises(BadUpload) as caught:
        take(asked, tmp_path)
    assert caught.value.status == status
    assert left(tmp_path) == []


def test_a_slow_upload_is_dropped(tmp_path):
    with pytest.raises(BadUpload) as caught:
        take(request([b"x"] * 100, kind="video/mp4", pause_s=0.05), tmp_path, within_s=0.2)
    assert caught.value.status == 408
    assert left(tmp_path) == []


def test_a_failure_while_it_is_used_leaves_nothing(tmp_path):
    async def run():
        async with received(
            request([b"x"], kind="video/mp4"), tmp_path, max_bytes=10, within_s=5.0
        ):
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(run())
    assert left(tmp_path) == []


def test_a_sweep_takes_what_the_dead_left_and_nothing_of_the_living(tmp_path):
    folder = tmp_path / "uploads"
    made = "import os, sys; from pathlib import Path; from avsafe.server.scratch import scratch\n"
    dies = made + "with scratch(Path(sys.argv[1])) as own: (own / 'x').touch(); os._exit(1)"
    subprocess.run([sys.executable, "-c", dies, folder], check=False)
    (died,) = left(folder)
    with scratch(folder) as lives:
        assert sweep(folder) == 1
        assert not died.exists()
        assert left(folder) == [lives]
        assert sweep(folder) == 0
    assert left(folder) == []
    assert sweep(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "file"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a/b/", "file"),
        ("x" * 500, "x" * 120),
        ("\u202egpj.exe", "gpj.exe"),
    ],
)
def test_names_are_only_shown(given, shown):
    assert shown_name(given) == shown


def test_parts_that_nobody_takes_end_as_well(tmp_path):
    endless = (BOUNDARY + b'\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n',)
    sent = []

    def chunks():
        yield from endless
        while True:
            sent.append(1)
            yield b"x" * 4096

    with pytest.raises(BadUpload) as caught:
        take(request(chunks()), tmp_path)
    assert caught.value.status == 413
    assert len(sent) < 100
    assert left(tmp_path) == []


def test_a_body_is_no_file_where_none_is_asked_for(tmp_path):
    async def run():
        body = request([b"x"], kind="image/png")
        async with received(body, tmp_path, max_bytes=9, within_s=5.0, files=("mask",)):
            pass

    with pytest.raises(BadUpload) as caught:
        asyncio.run(run())
    assert caught.value.status == 415
    assert left(tmp_path) == []


def test_who_sends_a_little_now_and_then_is_dropped(tmp_path, monkeypatch):
    from avsafe.server import uploads

    monkeypatch.setattr(uploads, "_GRACE_S", 0.2)
    drops = (b"x" for _ in range(1000))
    with pytest.raises(BadUpload) as caught:
        take(request(drops, kind="image/png", pause_s=0.05), tmp_path, within_s=60.0)
    assert caught.value.status == 408
    assert left(tmp_path) == []


def test_a_full_disk_takes_no_file(tmp_path, monkeypatch):
    from collections import namedtuple

    from avsafe.server import uploads

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: usage(9, 9, 1 << 20))
    with pytest.raises(BadUpload) as caught:
        take(request([b"x"], kind="image/png"), tmp_path)
    assert (caught.value.status, caught.value.code) == (503, "no-room")
