"""Which containers we read, how their first bytes look, and which demuxer may touch them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avsafe.errors import EmptyFile, UnsupportedMedia
from avsafe.types import Kind

HEAD_BYTES = 64 * 1024  # enough for the brands of an ftyp box and for two MPEG audio frames


@dataclass(frozen=True)
class Container:
    """One container: its name, MIME type, usual kind, suffixes and FFmpeg demuxer.

    ``demuxer`` is always forced: FFmpeg never guesses, so a playlist or a device cannot be opened
    by a file that pretends. Still images have none; Pillow reads them, restricted to that one
    format.
    """

    name: str
    mime: str
    kind: Kind
    suffixes: tuple[str, ...]
    demuxer: str | None


CONTAINERS: dict[str, Container] = {
    item.name: item
    for item in (
        Container("mp4", "video/mp4", Kind.VIDEO, (".mp4", ".m4v"), "mov"),
        Container("mov", "video/quicktime", Kind.VIDEO, (".mov", ".qt"), "mov"),
        Container("m4a", "audio/mp4", Kind.AUDIO, (".m4a", ".m4b"), "mov"),
        Container("3gp", "video/3gpp", Kind.VIDEO, (".3gp", ".3g2"), "mov"),
        Container("webm", "video/webm", Kind.VIDEO, (".webm",), "matroska"),
        Container(
            "matroska", "video/x-matroska", Kind.VIDEO, (".mkv", ".mka", ".mk3d"), "matroska"
        ),
        Container("avi", "video/x-msvideo", Kind.VIDEO, (".avi",), "avi"),
        Container("mpeg", "video/mpeg", Kind.VIDEO, (".mpg", ".mpeg", ".vob"), "mpeg"),
        Container("mpegts", "video/mp2t", Kind.VIDEO, (".ts", ".m2ts", ".mts"), "mpegts"),
        Container("wav", "audio/wav", Kind.AUDIO, (".wav", ".wave"), "wav"),
        Container("flac", "audio/flac", Kind.AUDIO, (".flac",), "flac"),
        Container("mp3", "audio/mpeg", Kind.AUDIO, (".mp3",), "mp3"),
        Container("aac", "audio/aac", Kind.AUDIO, (".aac", ".adts"), "aac"),
        Container("ogg", "audio/ogg", Kind.AUDIO, (".ogg", ".oga", ".ogv", ".opus"), "ogg"),
        Container("png", "image/png", Kind.IMAGE, (".png",), None),
        Container("apng", "image/apng", Kind.VIDEO, (".apng", ".png"), "apng"),
        Container("jpeg", "image/jpeg", Kind.IMAGE, (".jpg", ".jpeg", ".jpe"), None),
        Container("webp", "image/webp", Kind.IMAGE, (".webp",), None),
        Container("gif", "image/gif", Kind.VIDEO, (".gif",), "gif"),
        Container("avif", "image/avif", Kind.IMAGE, (".avif",), None),
    )
}

MIME_BY_SUFFIX: dict[str, str] = {
    suffix: item.mime for item in reversed(CONTAINERS.values()) for suffix in item.suffixes
}

# ISO-BMFF major brands (mp4ra.org/registered-types/brands) that are not plain MP4.
_BRANDS = {
    b"qt  ": "mov",
    b"M4A ": "m4a",
    b"M4B ": "m4a",
    b"3gp": "3gp",
    b"3g2": "3gp",
    b"avif": "avif",
    b"avis": "avif",
}
_FIRST_BOXES = frozenset(
    (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof")
)
_EBML = b"\x1a\x45\xdf\xa3"

# Text and playlists that FFmpeg could open and that would make it read other files or hosts.
_REFUSED = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "an FFmpeg concat script",
    b"<?xml": "an XML file (a DASH manifest or an SVG picture)",
    b"<svg": "an SVG picture",
    b"v=0": "an SDP session description",
    b"[playlist]": "a playlist",
    b"RTSP": "an RTSP stream",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"MZ": "a Windows program",
    b"\x7fELF": "a Linux program",
    b"#!": "a script",
    b"<html": "an HTML page",
    b"<!DOCTYPE": "an HTML page",
}


def sniff(path: Path | str) -> tuple[str, str]:
    """The container and MIME type of a file by its content; its name does not matter.

    Raises ``EmptyFile`` or ``UnsupportedMedia``.

    >>> sniff("clip.mp4")  # doctest: +SKIP
    ('mp4', 'video/mp4')
    """
    path = Path(path)
    with path.open("rb") as file:
        name = sniff_bytes(head_of(file), path.name)
    return name, CONTAINERS[name].mime


def head_of(file: BinaryIO) -> bytes:
    """The first bytes of a file as ``sniff_bytes`` wants them: a long ID3 tag, such as holds a
    credential, is left out but for an empty one in its place."""
    head = file.read(HEAD_BYTES)
    end = id3_bytes(head)
    if end + 4 <= len(head):
        return head
    file.seek(end)
    return b"ID3\x04" + bytes(6) + file.read(HEAD_BYTES)


def id3_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that a file begins with; 0 without one (id3.org, ID3v2.4, 3.1).

    >>> id3_bytes(b"ID3\\x04\\x00\\x00\\x00\\x00\\x02\\x01")
    267
    """
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def sniff_bytes(head: bytes, name: str) -> str:
    """The container that the first bytes of a file belong to; ``name`` is only for messages."""
    if not head:
        raise EmptyFile(f"{name} is empty (0 bytes). Pass a media file.")
    found = (
        _sniff_riff(head)
        or _sniff_picture(head)
        or _sniff_iso(head)
        or _sniff_ebml(head)
        or _sniff_stream(head)
    )
    if found:
        return found
    for start, what in _REFUSED.items():
        if head.lstrip()[: len(start)].lower() == start.lower():
            raise UnsupportedMedia(f"{name} is {what}, not media. Pass {readable_names()}.")
    raise UnsupportedMedia(
        f"{name} is not media that avsafe reads: its first bytes ({head[:8].hex(' ')}) belong to "
        f"no known container. Pass {readable_names()}."
    )


def readable_names() -> str:
    """The containers we read, as words for a message."""
    return "one of " + ", ".join(CONTAINERS)


def _sniff_riff(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}.get(head[8:12])
    return None


def _sniff_picture(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        animated = 0 < head.find(b"acTL", 8) < (head.find(b"IDAT", 8) % len(head))
        return "apng" if animated else "png"
    if head.startswith(b"\xff\xd8\xff") and head[3:4] >= b"\xc0":
        return "jpeg"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    return None


def _sniff_iso(head: bytes) -> str | None:
    if len(head) < 8 or head[4:8] not in _FIRST_BOXES:
        return None
    if head[4:8] != b"ftyp":
        return "mov"  # QuickTime files may begin without an ftyp box
    major = head[8:12]
    return _BRANDS.get(major) or _BRANDS.get(major[:3]) or "mp4"


def _sniff_ebml(head: bytes) -> str | None:
    if not head.startswith(_EBML):
        return None
    return "webm" if b"\x42\x82\x84webm" in head[:128] else "matroska"


def _sniff_stream(head: bytes) -> str | None:
    if head.startswith(b"fLaC"):
        return "flac"
    if head.startswith(b"OggS\x00"):
        return "ogg"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    if head[:1] == b"\x47" and len(head) > 376 and head[188] == head[376] == 0x47:
        return "mpegts"
    if head[4:5] == b"\x47" and len(head) > 388 and head[196] == head[388] == 0x47:
        return "mpegts"  # Blu-ray: four bytes of time code before each packet
    if tag := id3_bytes(head):  # a signed FLAC file begins with one, too
        return "flac" if head[tag : tag + 4] == b"fLaC" else "mp3"
    return _sniff_mpeg_audio(head)


def _sniff_mpeg_audio(head: bytes) -> str | None:
    """Three frame headers, each where the one before says: chance gives that once in 10^9 files."""
    for name, frame_bytes, fixed in (
        ("aac", adts_frame_bytes, (0xFF, 0xFF, 0xFD, 0xC0)),  # the private bit may change
        ("mp3", mpeg_audio_frame_bytes, (0xFF, 0xFF, 0x0C, 0x00)),  # bit rate and padding may
    ):
        offset = 0
        for _ in range(3):
            here = head[offset : offset + 8]
            same = all(a & m == b & m for a, b, m in zip(here, head, fixed, strict=False))
            size = frame_bytes(here) if len(here) == 8 and same else None
            if size is None:
                break
            offset += size
        else:
            return name
    return None


def adts_frame_bytes(header: bytes) -> int | None:
    """The length in bytes of an AAC frame by its ADTS header (ISO/IEC 13818-7, 6.2)."""
    if header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else None


_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 layer III
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 layer III


def mpeg_audio_frame_bytes(header: bytes) -> int | None:
    """The length in bytes of an MPEG layer III frame by its header (ISO/IEC 11172-3, 2.4.2.3)."""
    if header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    halvings = {3: 0, 2: 1, 0: 2}[version]  # MPEG-1, MPEG-2, MPEG-2.5
    rate_hz = (44100, 48000, 32000)[rate] >> halvings
    kbps = (_KBPS_2 if halvings else _KBPS_1)[bitrate]
    return (72 if halvings else 144) * kbps * 1000 // rate_hz + (header[2] >> 1 & 1)
