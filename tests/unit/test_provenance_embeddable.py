"""Signing in place: the file's form, the library's version, what happens when it goes wrong."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avsafe import media, testing
from avsafe.errors import CredentialInvalid, SigningFailed
from avsafe.media import EncodeSpec, layout, roomy
from avsafe.provenance import direct, embeddable, sign
from avsafe.provenance.coverage import _walk
from avsafe.provenance.read import read
from avsafe.provenance.report import CredentialStatus
from avsafe.provenance.signer import CallbackSigner, LocalSigner
from avsafe.types import Kind, RawMedia
from tests.provenance_kit import make_authority, make_manifest, make_media, make_signer


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> LocalSigner:
    return make_signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    media.encode(testing.textured_clip(1.0, 128, 96), path)
    return path


def packets(path: Path) -> list[bytes]:
    """What a demuxer that is not ours finds, by the chunk offsets."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def boxes(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [name[1:] for name, _ in _walk(file) if name.count("/") == 1]


def padded(source: Path, target: Path, megabytes: int) -> Path:
    """The clip with so much more media data, which its index does not use."""
    with source.open("rb", 0) as file:
        movie = layout.survey(file)
        file.seek(movie.payload[0])
        data = file.read(movie.payload[1] - movie.payload[0])
    data += bytes(range(256)) * 4096 * megabytes
    start = movie.start_with(100_000)
    before, after, room = layout.Movie(movie.ftyp, movie.moov, movie.payload).front(start)
    header = struct.pack(">I4sQ", 1, b"mdat", layout.LARGE_HEADER + len(data))
    free = struct.pack(">I4s", room, b"free") + b"left over".ljust(room - 8, b".")
    target.write_bytes(before + free + after[: -len(header)] + header + data)
    return target


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4a"])
def test_signed_in_place_and_still_the_same_media(
    tmp_path: Path, signer: LocalSigner, suffix: str
) -> None:
    source = make_media(tmp_path / f"a.{suffix}")
    before = packets(source)
    done = sign.sign_file(source, tmp_path / f"s.{suffix}", make_manifest(), signer)
    assert (done.way, done.way_reason) == (sign.Way.IN_PLACE, "")
    assert packets(tmp_path / f"s.{suffix}") == before
    assert packets(source) == before, "a source that is not consumed stays as it was"
    assert boxes(tmp_path / f"s.{suffix}") == ["ftyp", "uuid", "free", "moov", "mdat"]
    report = read(tmp_path / f"s.{suffix}", anchors=signer.anchors_pem)
    assert report.manifest_id == done.manifest_id
    assert not any("mdat" in item.what for item in report.uncovered), "its leaves cover it"


def test_a_large_file_is_signed_where_it_stands(
    tmp_path: Path, clip: Path, signer: LocalSigner
) -> None:
    source = padded(clip, tmp_path / "a.mp4", 18)
    inode = source.stat().st_ino
    done = sign.sign_file(source, tmp_path / "s.mp4", make_manifest(), signer, consume=True)
    assert done.way is sign.Way.IN_PLACE
    assert (tmp_path / "s.mp4").stat().st_ino == inode, "moved, not copied"
    assert not source.exists()
    assert packets(tmp_path / "s.mp4") == packets(clip)
    free = [
        item
        for item in read(tmp_path / "s.mp4", anchors=signer.anchors_pem).uncovered
        if "free" in item.what
    ]
    assert [item.blank for item in free] == [True], "what lay in the old free box is gone"


@pytest.mark.parametrize("megabytes", [0, 1, 3, 18])
def test_each_part_is_covered_and_a_second_verifier_agrees(
    tmp_path: Path, clip: Path, signer: LocalSigner, megabytes: int
) -> None:
    encypher = pytest.importorskip("encypher_c2pa")
    path = tmp_path / "s.mp4"
    source = padded(clip, tmp_path / "a.mp4", megabytes)
    sign.sign_file(source, path, make_manifest(), signer, consume=True)

    def opinions() -> tuple[CredentialStatus, str]:
        second = encypher.verify(
            str(path),
            trust_pem=signer.anchors_pem,
            no_default_trust=True,
            telemetry=False,
            online=False,
        )
        return read(path, anchors=signer.anchors_pem).status, second["hard_binding"]

    assert opinions() == (CredentialStatus.TRUSTED, "match")
    with path.open("rb") as file:
        found = dict(_walk(file))
    data, index = found["/mdat"], found["/moov/mvhd"]
    # The first and last byte of the data, both sides of a leaf's edge, the header, the index.
    edge = data.start + 16 + (1 << 20)
    places = [data.start + 15, data.start + 16, data.end - 1, index.start + 20]
    for position in [*places, *(item for item in (edge - 1, edge) if item < data.end)]:
        with path.open("r+b") as file:
            file.seek(position)
            old = file.read(1)
            file.seek(position)
            file.write(bytes([old[0] ^ 1]))
            file.flush()
            status = read(path, anchors=signer.anchors_pem).status
            assert status is not CredentialStatus.TRUSTED, position
            if position != data.start + 15:  # the size of the box: no file any more
                assert opinions() == (CredentialStatus.ALTERED, "mismatch"), position
            file.seek(position)
            file.write(old)
    assert opinions() == (CredentialStatus.TRUSTED, "match")
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + 4, b"mdat") + b"more")
    assert read(path, anchors=signer.anchors_pem).status is CredentialStatus.ALTERED


def test_a_remux_strips_it_and_keeps_the_media(
    tmp_path: Path, clip: Path, signer: LocalSigner
) -> None:
    sign.sign_file(clip, tmp_path / "s.mp4", make_manifest(), signer)
    with av.open(str(tmp_path / "s.mp4")) as old, av.open(str(tmp_path / "r.mp4"), "w") as new:
        streams = {item.index: new.add_stream_from_template(item) for item in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    assert packets(tmp_path / "r.mp4") == packets(clip)
    assert read(tmp_path / "r.mp4", anchors=signer.anchors_pem).status is CredentialStatus.NONE


# ---------------------------------------------------------------- when it is not for us


@pytest.mark.parametrize(
    ("library", "binding", "what"),
    [("0.90.9", "0.38.1", "c2pa-rs"), ("0.92.0", "0.38.1", "c2pa-rs"), ("0.91.3", "1.0", "python")],
)
def test_an_unknown_version_is_left_alone(library: str, binding: str, what: str) -> None:
    with pytest.raises(embeddable.Unavailable, match=what):
        embeddable._load(library, binding)


def test_a_library_without_the_calls_is_left_alone() -> None:
    with pytest.raises(embeddable.Unavailable, match="has no c2pa_builder_placeholder"):
        embeddable.Native(object())  # type: ignore[arg-type]


def test_the_library_signs_what_cannot_be_signed_in_place(
    tmp_path: Path, clip: Path, signer: LocalSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> embeddable.Native:
        raise embeddable.Unavailable("not today")

    monkeypatch.setattr(embeddable, "load", unavailable)
    done = sign.sign_file(clip, tmp_path / "s.mp4", make_manifest(), signer)
    assert (done.way, done.way_reason) == (sign.Way.LIBRARY, "not today")
    assert read(tmp_path / "s.mp4", anchors=signer.anchors_pem).status is CredentialStatus.TRUSTED


def second_data(data: bytes) -> bytes:
    return data + struct.pack(">I4s", 12, b"mdat") + b"more"


def unknown_box(data: bytes) -> bytes:
    return data + struct.pack(">I4s", 12, b"abcd") + b"more"


def offset_beside(data: bytes) -> bytes:
    at = data.rindex(b"stco") + 12
    return data[:at] + b"\xff\xff\xff\xf0" + data[at + 4 :]


def many_offsets(data: bytes) -> bytes:
    at = data.rindex(b"stco") + 8
    return data[:at] + b"\x7f\xff\xff\xff" + data[at + 4 :]


@pytest.mark.parametrize("change", [second_data, unknown_box, offset_beside, many_offsets])
def test_other_forms_are_unsuited(tmp_path: Path, clip: Path, change: Any) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(change(clip.read_bytes()))
    with path.open("rb", 0) as file, pytest.raises(layout.Unsuited):
        layout.survey(file)


def test_several_pieces_of_data_go_to_the_library(
    tmp_path: Path, clip: Path, signer: LocalSigner
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(second_data(clip.read_bytes()))
    done = sign.sign_file(path, tmp_path / "s.mp4", make_manifest(), signer)
    assert done.way is sign.Way.LIBRARY
    assert "mdat" in done.way_reason


@pytest.mark.parametrize("megabytes", [0, 18])
def test_a_credential_that_does_not_verify_is_made_again_by_the_library(
    tmp_path: Path,
    clip: Path,
    signer: LocalSigner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    megabytes: int,
) -> None:
    honest = embeddable.Native.hash_leaf

    def wrong(self: embeddable.Native, builder: Any, buffer: Any, count: int) -> None:
        buffer[0] ^= 1
        honest(self, builder, buffer, count)

    monkeypatch.setattr(embeddable.Native, "hash_leaf", wrong)
    source = padded(clip, tmp_path / "a.mp4", megabytes)
    done = sign.sign_file(source, tmp_path / "s.mp4", make_manifest(), signer, consume=True)
    assert (done.way, done.way_reason) == (sign.Way.LIBRARY, "it read back as altered")
    assert "went wrong" in caplog.text
    report = read(tmp_path / "s.mp4", anchors=signer.anchors_pem)
    assert report.status is CredentialStatus.TRUSTED
    assert report.manifest_id == done.manifest_id
    assert packets(tmp_path / "s.mp4") == packets(clip)
    assert boxes(tmp_path / "s.mp4").count("uuid") == 1


def test_a_signer_that_fails_is_asked_once(tmp_path: Path, clip: Path, signer: LocalSigner) -> None:
    asked = []

    def refuse(data: bytes) -> bytes:
        asked.append(len(data))
        raise ConnectionError("the key store is away")

    store = CallbackSigner(refuse, signer.chain_pem, anchors_pem=signer.anchors_pem)
    with pytest.raises(SigningFailed, match="the key store is away"):
        sign.sign_file(clip, tmp_path / "s.mp4", make_manifest(), store)
    assert len(asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_signer_that_is_not_trusted_writes_nothing(
    tmp_path: Path, clip: Path, signer: LocalSigner
) -> None:
    stranger = LocalSigner(signer.key_path, signer.chain_pem, make_authority("another").pem)
    with pytest.raises(CredentialInvalid, match="intact-unknown-signer"):
        sign.sign_file(clip, tmp_path / "s.mp4", make_manifest(), stranger)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- room, made while encoding


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v"])
def test_the_encoder_leaves_room(tmp_path: Path, clip: Path, suffix: str) -> None:
    path, plain = tmp_path / f"r.{suffix}", tmp_path / f"p.{suffix}"
    media.encode(testing.textured_clip(1.0, 128, 96), path, EncodeSpec(signing_room=True))
    media.encode(testing.textured_clip(1.0, 128, 96), plain)
    assert packets(path) == packets(plain)
    assert boxes(path) == ["ftyp", "free", "moov", "mdat"]


def test_an_index_larger_than_the_room_stays_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avsafe.media.writing.room_for", lambda raw: 1000)
    path, plain = tmp_path / "r.mp4", tmp_path / "p.mp4"
    media.encode(testing.textured_clip(1.0, 128, 96), path, EncodeSpec(signing_room=True))
    media.encode(testing.textured_clip(1.0, 128, 96), plain)
    assert packets(path) == packets(plain)
    assert boxes(path) == ["ftyp", "free", "mdat", "moov"]


def test_room_follows_the_length() -> None:
    second, hour = (
        roomy.room_for(
            RawMedia(Kind.VIDEO, (), Fraction(25), 25 * seconds, samples=(), rate_hz=48000)
        )
        for seconds in (1, 3600)
    )
    assert 66_000 < second < 80_000
    assert hour > second + 3600 * (25 * 24 + 47 * 16)  # FFmpeg's entries for a frame, a packet
    assert roomy.room_for(RawMedia(Kind.AUDIO, samples=(), rate_hz=48000)) == 1 << 20


def test_sound_of_unknown_length_gets_room(tmp_path: Path) -> None:
    block = np.random.default_rng(1).uniform(-0.3, 0.3, (1, 48000)).astype(np.float32)
    raw = RawMedia(Kind.AUDIO, samples=[block, block], rate_hz=48000, channels=1)
    media.encode(raw, tmp_path / "a.m4a", EncodeSpec(signing_room=True))
    media.encode(raw, tmp_path / "b.m4a")
    assert boxes(tmp_path / "a.m4a") == ["ftyp", "free", "moov", "mdat"]
    assert packets(tmp_path / "a.m4a") == packets(tmp_path / "b.m4a")


def test_leaves_grow_with_the_file() -> None:
    assert [direct.leaf_bytes(size) >> 20 for size in (1, 1 << 30, (1 << 30) + 1, 1 << 36)] == [
        1,
        1,
        2,
        8,
    ]
