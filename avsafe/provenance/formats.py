"""Which containers can carry a credential, and under which name the C2PA library knows them.

What a file is, ``avsafe.media.containers`` tells from its first bytes, and not from its name.
"""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from pathlib import Path

from avsafe.errors import UnreadableMedia
from avsafe.media import containers


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

# Where the two vocabularies differ: media's name -> ours.
_OURS = {"jpeg": "jpg", "apng": "png", "matroska": "mkv", "3gp": "mp4"}
_HEIC = (b"heic", b"heix", b"mif1")  # brands that media does not read, but that may be signed


def sniff(path: Path) -> Container | None:
    """The container of a file, or None for one that cannot be signed."""
    with path.open("rb") as file:
        return sniff_bytes(containers.head_of(file))


def sniff_bytes(head: bytes) -> Container | None:
    """The same from the first ``containers.HEAD_BYTES`` of it.

    >>> sniff_bytes(bytes.fromhex("89504e470d0a1a0a")).name
    'png'
    """
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        name = "heic"
    else:
        try:
            found = containers.sniff_bytes(head, "the file")
        except UnreadableMedia:
            return None
        name = _OURS.get(found, found)
    if name in EMBEDDED:
        return Container(name, EMBEDDED[name], embedded=True)
    if name in SIDECAR:
        return Container(name, SIDECAR[name], embedded=False)
    return None


def sidecar_path(media: Path) -> Path:
    """Where we write a sidecar: ``clip.webm`` -> ``clip.webm.c2pa``, so that clip.webm and clip.mkv
    in one folder do not share one."""
    return media.with_name(media.name + ".c2pa")


def find_sidecar(media: Path) -> Path | None:
    """A sidecar next to a file: ``name.ext.c2pa``, or ``name.c2pa`` as other tools write it."""
    for candidate in (sidecar_path(media), media.with_suffix(".c2pa")):
        if candidate != media and os.path.isfile(candidate):  # a name may be too long for a suffix
            return candidate
    return None
