"""The pre-scan answers for every hostile or broken structure, and lets good files pass."""

from __future__ import annotations

import io
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from avsafe.errors import (
    EmptyFile,
    MediaTooLarge,
    TruncatedMedia,
    UnreadableMedia,
    UnsupportedMedia,
)
from avsafe.media import Limits, prescan, sniff
from avsafe.media.structure import mislabelled

FTYP = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom")


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def stsz(each: int, count: int) -> bytes:
    table = box(b"stsz", struct.pack(">III", 0, each, count))
    for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        table = box(kind, table)
    return table


def visual(width: int, height: int) -> bytes:
    entry = box(b"avc1", bytes(24) + struct.pack(">HH", width, height) + bytes(50))
    table = box(b"stsd", struct.pack(">II", 0, 1) + entry)
    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(13))
    media = box(b"mdia", handler + box(b"minf", box(b"stbl", table)))
    return box(b"moov", box(b"trak", media))


def png(width: int, height: int, *, data: bytes = b"\0") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def picture(form: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(out, form, **options)
    return out.getvalue()


def ebml(*elements: bytes) -> bytes:
    return bytes.fromhex("1a45dfa3 8b 4282 88") + b"matroska" + b"".join(elements)


def wav(data_size: int, present: int) -> bytes:
    head = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + b"fmt " + struct.pack("<I", 16) + head + b"data"
    return (
        b"RIFF"
        + struct.pack("<I", 36 + data_size & 0xFFFFFFFF)
        + body
        + struct.pack("<I", data_size)
        + bytes(present)
    )


JPEG, WEBP, GIF = picture("JPEG"), picture("WEBP"), picture("GIF")
HUGE_GIF = GIF[:6] + struct.pack("<HH", 65535, 65535) + GIF[10:]
SOF = JPEG.index(b"\xff\xc0")
HUGE_JPEG = JPEG[: SOF + 5] + b"\xff\xff\xff\xff" + JPEG[SOF + 9 :]
TRACK_8K = bytes.fromhex("1654ae6b 8c ae 8a e0 88 b0 82 ffff ba 82 ffff")

BAD = {
    "empty.mp4": (b"", EmptyFile, "0 bytes"),
    "random.mp4": (random.Random(1).randbytes(5000), UnsupportedMedia, "no known container"),
    "text.mp4": (b"hello, this is a text", UnsupportedMedia, "no known container"),
    "list.mp4": (b"#EXTM3U\nhttp://x/y.ts", UnsupportedMedia, "HLS"),
    "concat.mp4": (b"ffconcat version 1.0\nfile /etc/passwd", UnsupportedMedia, "concat"),
    "archive.png": (b"PK\x03\x04" + bytes(100), UnsupportedMedia, "ZIP"),
    "free.mp4": (FTYP + box(b"free") * 100_000, MediaTooLarge, "top-level boxes"),
    "wide.mp4": (FTYP + box(b"moov", box(b"free") * 100_000), MediaTooLarge, "within boxes"),
    "deep.mp4": (
        FTYP + b"".join(struct.pack(">I4s", 8 * (20_000 - i), b"moov") for i in range(20_000)),
        MediaTooLarge,
        "deep",
    ),
    "huge-size.mp4": (
        FTYP + struct.pack(">I4sQ", 1, b"mdat", 1 << 62),
        TruncatedMedia,
        "4611686018427387",
    ),
    "cut.mp4": (FTYP + box(b"moov") + box(b"mdat", bytes(900))[:-400], TruncatedMedia, "400 bytes"),
    "no-index.mp4": (FTYP + box(b"mdat", bytes(900)), TruncatedMedia, "no index"),
    "tiny-box.mp4": (FTYP + struct.pack(">I4s", 3, b"moov"), UnreadableMedia, "size of 3"),
    "overrun.mp4": (
        FTYP + box(b"moov", struct.pack(">I4s", 99, b"trak")),
        UnreadableMedia,
        "larger than the box",
    ),
    "samples.mp4": (FTYP + stsz(1, 0xFFFFFFFF), UnreadableMedia, "4294967295 samples"),
    "pixels.mp4": (FTYP + visual(65535, 65535), MediaTooLarge, "65535 x 65535"),
    "trun.mp4": (
        FTYP + box(b"moof", box(b"traf", box(b"trun", struct.pack(">II", 0, 1 << 30)))),
        UnreadableMedia,
        "forged",
    ),
    "bomb.png": (png(60_000, 60_000), MediaTooLarge, "60000 x 60000"),
    "cut.png": (png(10, 10, data=bytes(5000))[:-14], TruncatedMedia, "cut off"),
    "bomb.jpg": (HUGE_JPEG, MediaTooLarge, "65535 x 65535"),
    "cut.jpg": (JPEG[:-200], TruncatedMedia, "end marker"),
    "bomb.gif": (HUGE_GIF, MediaTooLarge, "65535 x 65535"),
    "cut.gif": (GIF[:-20], TruncatedMedia, "cut off"),
    "cut.webp": (WEBP[:-20], TruncatedMedia, "declares"),
    "cut.wav": (wav(16_000, 8_000), TruncatedMedia, "'data'"),
    "bare.wav": (b"RIFF" + struct.pack("<I", 4) + b"WAVE", TruncatedMedia, "fmt"),
    "pixels.mkv": (
        ebml(bytes.fromhex("18538067") + bytes([0x80 | len(TRACK_8K)]) + TRACK_8K),
        MediaTooLarge,
        "65535 x 65535",
    ),
    "cut.mkv": (
        ebml(bytes.fromhex("18538067 01 00000000001000 1f43b675 81 00")),
        TruncatedMedia,
        "cut",
    ),
    "voids.mkv": (ebml(bytes.fromhex("ec80") * 100_000), MediaTooLarge, "elements"),
    "tag.mp3": (b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(50), TruncatedMedia, "ID3"),
    "header.flac": (b"fLaC\x80\0\0\x22" + bytes(34), TruncatedMedia, "no sound"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_structure_is_named(name: str, tmp_path: Path) -> None:
    data, error, words = BAD[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(error, match=words) as caught:
        prescan(path)
    assert type(caught.value) is error
    assert name in str(caught.value)


def test_the_100_000_boxes_cost_a_bounded_number_of_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is in docs/media.md; what a test can hold is that the walk stops at the limit."""
    from avsafe.media import boxes

    path = tmp_path / "free.mp4"
    path.write_bytes(FTYP + box(b"free") * 100_000)
    seen = []
    monkeypatch.setattr(boxes, "_look", lambda *args: seen.append(args))
    with pytest.raises(MediaTooLarge):
        prescan(path, replace(Limits(), max_boxes=500))
    assert len(seen) == 500


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("good.png", png(2, 2, data=bytes(14))),
        ("good.jpg", JPEG),
        ("good.webp", WEBP),
        ("good.gif", GIF),
        ("good.wav", wav(8_000, 8_000)),
        ("streamed.wav", wav(0xFFFFFFFF, 8_000)),
        ("trailing.jpg", JPEG + bytes(500)),
        ("quicktime.mov", FTYP + box(b"moov", box(b"udta", bytes(4)))),
    ],
)
def test_good_structure_passes(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    prescan(path)


def test_content_decides_and_the_wrong_name_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(JPEG)
    prescan(path)
    assert sniff(path) == ("jpeg", "image/jpeg")
    assert "named .mp4 but holds jpeg" in caplog.text
    assert "image/jpeg" in (mislabelled(path) or "")
    right = path.rename(tmp_path / "holiday.jpg")
    assert mislabelled(right) is None


def test_a_folder_and_a_missing_file_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.mp4"):
        with pytest.raises(UnreadableMedia, match="not a file"):
            prescan(path)


@pytest.mark.parametrize("tag_bytes", [0, 300, 200_000])
def test_behind_a_tag_of_any_length(tmp_path: Path, tag_bytes: int) -> None:
    """A credential in an ID3 tag may be longer than what is read of a file to know it."""
    size = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\0\0" + size + bytes(tag_bytes)
    flac = b"fLaC\x80\0\0\x22" + bytes(64)
    for name, body in (("flac", flac), ("mp3", bytes(64))):
        path = tmp_path / f"x.{name}"
        path.write_bytes(tag + body)
        assert sniff(path)[0] == name
        prescan(path)
    path.write_bytes(tag[:-1] if tag_bytes else tag)
    with pytest.raises(TruncatedMedia):
        prescan(path)


def test_random_files_never_look_like_media() -> None:
    """Random bytes pass the sync words of MPEG audio by chance unless two frames must agree."""
    from avsafe.media.containers import sniff_bytes

    source = random.Random(7)
    for _ in range(3000):
        head = b"\xff" + source.randbytes(3000)
        with pytest.raises(UnsupportedMedia):
            sniff_bytes(head, "x")
