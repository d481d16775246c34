"""Which containers can carry a credential, told from their first bytes and not from their name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Container:
    name: str
    mime: str
    embedded: bool  # False: the credential stands in a .c2pa file next to it


# name -> MIME type that the C2PA library knows. Measured with c2pa-rs 0.91.
EMBEDDED = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "avi": "video/avi",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "heic": "image/heic",
}
# The library refuses to embed here; the whole file is hashed and the manifest stands beside it.
SIDECAR = {"webm": "video/webm", "mkv": "video/x-matroska", "ogg": "audio/ogg"}

_BRANDS = {
    b"M4A ": "m4a",
    b"M4B ": "m4a",
    b"qt  ": "mov",
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"mif1": "heic",
}


def sniff(path: Path) -> Container | None:
    """The container of a file, or None for one that cannot be signed."""
    with path.open("rb") as file:
        return sniff_bytes(file.read(64))


def sniff_bytes(head: bytes) -> Container | None:
    """The same from the first 64 bytes.

    >>> sniff_bytes(bytes.fromhex("89504e470d0a1a0a")).name
    'png'
    """
    name = _name(head)
    if name in EMBEDDED:
        return Container(name, EMBEDDED[name], embedded=True)
    if name in SIDECAR:
        return Container(name, SIDECAR[name], embedded=False)
    return None


def _name(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "mp4")
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"styp"):
        return "mov"  # QuickTime files older than the ftyp box, or fragments
    if head.startswith((b"RIFF", b"RF64")):
        return {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}.get(head[8:12], "")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head else "mkv"
    if head.startswith(b"ID3") or _is_mpeg_audio(head):
        return "mp3"
    for magic, name in (
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpg"),
        (b"GIF8", "gif"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
    ):
        if head.startswith(magic):
            return name
    return ""


def _is_mpeg_audio(head: bytes) -> bool:
    """A frame of MPEG audio without a tag: 11 bits of ones, and a layer (not JPEG's FF D8)."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and bool(head[1] & 0x06)


def sidecar_path(media: Path) -> Path:
    """Where we write a sidecar: ``clip.webm`` -> ``clip.webm.c2pa``, so that clip.webm and clip.mkv
    in one folder do not share one."""
    return media.with_name(media.name + ".c2pa")


def find_sidecar(media: Path) -> Path | None:
    """A sidecar next to a file: ``name.ext.c2pa``, or ``name.c2pa`` as other tools write it."""
    for candidate in (sidecar_path(media), media.with_suffix(".c2pa")):
        if candidate != media and candidate.is_file():
            return candidate
    return None
