"""Files made to deceive or to break the reader: one status each, never a crash, never "none"."""

from __future__ import annotations

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avsafe.errors import AvsafeError
from avsafe.provenance import formats, settings, sign
from avsafe.provenance.manifest import definition
from avsafe.provenance.read import read, read_sandboxed
from avsafe.provenance.report import CredentialStatus
from avsafe.provenance.signer import LocalSigner
from tests.provenance_kit import make_manifest, make_media, make_signer

LOST = {CredentialStatus.NONE, CredentialStatus.UNREADABLE, CredentialStatus.REMOTE_ONLY}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> LocalSigner:
    return make_signer(tmp_path_factory.mktemp("keys"))


def signed(folder: Path, suffix: str, signer: LocalSigner) -> tuple[Path, Path, int, int]:
    """The media, the file that holds the store, and where the store starts and ends."""
    path = folder / f"s.{suffix}"
    done = sign.sign_file(make_media(folder / f"a.{suffix}"), path, make_manifest(), signer)
    holder = done.sidecar or path
    start = holder.read_bytes().find(done.manifest_bytes)
    assert start >= 0
    return path, holder, start, start + len(done.manifest_bytes)


@pytest.mark.parametrize("suffix", ["mp4", "png", "jpg", "wav", "webm"])
def test_a_flipped_bit_in_the_credential_never_hides_it(
    tmp_path: Path, signer: LocalSigner, suffix: str
) -> None:
    path, holder, start, end = signed(tmp_path, suffix, signer)
    original = holder.read_bytes()
    chance = random.Random(suffix)
    head = max(0, start - 24)  # the container's own header of the slot
    positions = [*range(head, start + 60), *(chance.randrange(start, end) for _ in range(140))]
    for position in positions:
        data = bytearray(original)
        data[position] ^= 1 << chance.randrange(8)
        holder.write_bytes(data)
        report = read(path, anchors=signer.anchors_pem)
        assert report.status not in LOST, (position - start, report.reason)


@pytest.mark.parametrize("suffix", ["mp4", "png", "jpg", "webm"])
def test_a_truncated_credential_is_damaged(
    tmp_path: Path, signer: LocalSigner, suffix: str
) -> None:
    path, holder, start, end = signed(tmp_path, suffix, signer)
    original = holder.read_bytes()
    for length in range(start + 80, end, (end - start) // 25):
        holder.write_bytes(original[:length])
        report = read(path, anchors=signer.anchors_pem)
        assert report.status is CredentialStatus.DAMAGED, length


def test_a_file_cut_before_its_credential_is_unreadable_or_none(
    tmp_path: Path, signer: LocalSigner
) -> None:
    """A WAV keeps its credential at the end: a cut takes it away, and leaves a broken WAV."""
    path, _, start, _ = signed(tmp_path, "wav", signer)
    path.write_bytes(path.read_bytes()[: start // 2])
    report = read(path, anchors=signer.anchors_pem)
    assert report.status in (CredentialStatus.UNREADABLE, CredentialStatus.NONE)


@pytest.mark.parametrize("suffix", ["mp4", "png"])
def test_a_zeroed_credential_is_not_silently_gone(
    tmp_path: Path, signer: LocalSigner, suffix: str
) -> None:
    """The slot is still there, which means something was wiped: that is said."""
    path, holder, start, end = signed(tmp_path, suffix, signer)
    data = bytearray(holder.read_bytes())
    data[start + 200 : end] = bytes(end - start - 200)
    holder.write_bytes(data)
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.DAMAGED


def test_a_foreign_credential_does_not_fit(tmp_path: Path, signer: LocalSigner) -> None:
    """The store of one file moved into another of the same kind."""
    first, _, start, end = signed(tmp_path, "png", signer)
    other = tmp_path / "other.png"
    manifest = make_manifest(title="another")
    sign.sign_file(make_media(tmp_path / "b.png", seed=9), other, manifest, signer)
    donor, taker = first.read_bytes(), other.read_bytes()
    chunk = donor[start - 8 : end + 4]
    at = taker.find(b"caBX") - 4
    length = int.from_bytes(taker[at : at + 4], "big") + 12
    other.write_bytes(taker[:at] + chunk + taker[at + length :])
    assert read(other, anchors=signer.anchors_pem).status is CredentialStatus.ALTERED


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"plain text about nothing",
        bytes(5000),
        b"\x00\x00\x00\x18ftypisom" + bytes(12) + (b"\x00\x00\x00\x01free" + b"\xff" * 8),
        b"RIFF\xff\xff\xff\xffWAVE",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffcaBX",
        b"\xff\xd8\xff\xeb\x00\x02",
        b"\xff\xd8" + b"\xff\xeb\x00\x02" * 50,
        b"\x1a\x45\xdf\xa3" + bytes(50),
        b"\x00\x00\x00\x08moov" * 500,
    ],
    ids=[str(number) for number in range(11)],
)
@pytest.mark.parametrize("suffix", ["mp4", "bin"])
def test_junk_has_a_status(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"junk.{suffix}"
    path.write_bytes(content)
    report = read(path, anchors="")
    assert report.status in (
        CredentialStatus.NONE,
        CredentialStatus.UNREADABLE,
        CredentialStatus.DAMAGED,
    )
    assert report.reason
    assert not report.declares_ai


def test_random_bytes_never_raise(tmp_path: Path) -> None:
    chance = random.Random(5)
    heads = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF....WAVE", b"\0\0\0\x10ftypisom", b"")
    path = tmp_path / "x.mp4"
    for number in range(60):
        path.write_bytes(heads[number % len(heads)] + chance.randbytes(chance.randrange(900)))
        read(path, anchors="")


@pytest.mark.parametrize("anchors", ["no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_broken_anchors_trust_nobody(tmp_path: Path, signer: LocalSigner, anchors: str) -> None:
    path, *_ = signed(tmp_path, "png", signer)
    assert read(path, anchors=anchors).status is not CredentialStatus.TRUSTED


def test_a_text_that_mentions_c2pa_is_no_credential(tmp_path: Path) -> None:
    path = make_media(tmp_path / "a.png")
    path.write_bytes(path.read_bytes() + b"this talks about c2pa.actions")
    assert read(path, anchors="").status is CredentialStatus.NONE


def test_a_huge_sidecar_is_not_loaded(tmp_path: Path) -> None:
    path = make_media(tmp_path / "a.webm")
    with formats.sidecar_path(path).open("wb") as file:
        file.truncate(1 << 33)  # sparse: 8 GB that take no room
    report = read(path, anchors="")
    assert report.status is CredentialStatus.DAMAGED
    assert "larger than" in report.reason


@pytest.mark.parametrize("suffix", ["mp4", "png", "wav", "webm"])
def test_the_sandbox_reads_the_same(tmp_path: Path, signer: LocalSigner, suffix: str) -> None:
    path, *_ = signed(tmp_path, suffix, signer)
    inside = read_sandboxed(path, anchors=signer.anchors_pem)
    assert inside == read(path, anchors=signer.anchors_pem)
    assert inside.status is CredentialStatus.TRUSTED


def test_a_hundred_thousand_boxes_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "boxes.mp4"
    path.write_bytes(b"\x00\x00\x00\x10ftypisom\0\0\0\0" + b"\x00\x00\x00\x08free" * 100_000)
    with pytest.raises(AvsafeError, match=r"(?i)box"):
        read_sandboxed(path, anchors="")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_file_that_only_names_an_address_is_not_fetched(
    tmp_path: Path, signer: LocalSigner, suffix: str
) -> None:
    """The address of this test would answer: nothing may ask it."""
    import c2pa

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/manifest.c2pa"
    container = formats.sniff(make_media(tmp_path / f"a.{suffix}"))
    assert container is not None
    try:
        with (
            settings.context(settings.signing(signer.anchors_pem)) as context,
            c2pa.Signer.from_callback(
                signer.sign, c2pa.C2paSigningAlg.ES256, signer.chain_pem
            ) as native,
            c2pa.Builder(definition(make_manifest()), context=context) as builder,
            (tmp_path / f"a.{suffix}").open("rb") as readable,
            (tmp_path / f"s.{suffix}").open("w+b") as writable,
        ):
            builder.set_no_embed()
            builder.set_remote_url(url)
            builder.sign(native, container.mime, readable, writable)
        report = read(tmp_path / f"s.{suffix}", anchors=signer.anchors_pem)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert report.status is CredentialStatus.REMOTE_ONLY
    assert report.remote_url == url
    assert asked == []
