"""Which bytes of a signed file no hash covers, by name.

"Trusted" does not mean byte-identical: a claim lists what its hash leaves out, and the credential
cannot hash itself. What may change unnoticed is small and harmless in an honest file, but a reader
should be able to see it: an appended 1 MB ``free`` box leaves an MP4 trusted.

Legend: ranges are half-open byte offsets; a *box* is an ISO base media (BMFF) or JUMBF box.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from avsafe.provenance.report import ByteRange

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.x, "Embedding in BMFF"
_CONTAINERS = frozenset(
    b"moov trak mdia minf stbl dinf edts udta mvex moof traf mfra meta iprp ipco".split()
)
_MAX_BOXES = 20_000  # more is refused by the pre-scan before anything reads the file
_CHUNK = 1 << 16

_NAMES = {
    "ftyp": "the file type box (brand names)",
    "free": "a free box (unused space, any content)",
    "skip": "a skip box (unused space, any content)",
    "mfra": "the fragment index",
    "stco": "chunk offsets (where the media data lie)",
    "co64": "chunk offsets (where the media data lie)",
    "iloc": "item offsets",
    "uuid": "the credential itself (its claim is covered by the signature)",
}


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    header: int  # bytes before the payload
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


def uncovered(
    media: Path, assertions: Mapping[str, Any], *, sidecar: Path | None = None
) -> tuple[ByteRange, ...]:
    """What the hard binding of one manifest leaves out, and the padding of its signature.

    ``assertions`` are those of the binding manifest, as ``Reader.crjson()`` gives them. A
    sidecar's binding covers all of the media, so only the sidecar itself is named.
    """
    ranges: list[ByteRange] = []
    with media.open("rb") as file:
        for label, data in assertions.items():
            if not isinstance(data, Mapping):
                continue
            if label.startswith("c2pa.hash.bmff"):
                ranges += _bmff(file, data.get("exclusions") or (), data.get("merkle") or ())
            elif label.startswith("c2pa.hash.data"):
                ranges += _excluded_ranges(file, data.get("exclusions") or ())
            elif label.startswith("c2pa.hash.boxes"):
                ranges += _credential_boxes(file)
        credential = [item for item in ranges if item.what == _NAMES["uuid"]]
        ranges += [item for outer in credential for item in _padding(file, outer, "file")]
    if sidecar is not None:
        with sidecar.open("rb") as file:
            whole = ByteRange(0, _size(file), _NAMES["uuid"], blank=False, where="sidecar")
            ranges += [whole, *_padding(file, whole, "sidecar")]
    return tuple(sorted(set(ranges), key=lambda item: (item.where, item.start, -item.end)))


# ---------------------------------------------------------------- ISO base media


def _bmff(
    file: BinaryIO,
    exclusions: Sequence[Mapping[str, Any]],
    leaves: Sequence[Mapping[str, Any]],
) -> list[ByteRange]:
    ranges = []
    boxes = list(_walk(file))
    # Leaves in blocks cover all of the media data. Those of single samples or of fragments do not:
    # what lies between samples, or is left out of a fragment, stays uncovered.
    in_blocks = all("fixedBlockSize" in item or "variableBlockSizes" in item for item in leaves)
    hashed = bool(leaves) and in_blocks and not any(path == "/moof" for path, _ in boxes)
    for exclusion in exclusions:
        xpath = str(exclusion.get("xpath", ""))
        if hashed and xpath == "/mdat":
            continue
        for path, box in boxes:
            if path == xpath and _selected(file, box, exclusion):
                for start, end in _subsets(box, exclusion):
                    ranges.append(_range(file, start, end, _box_name(path)))
    return ranges


def _walk(file: BinaryIO) -> Iterator[tuple[str, _Box]]:
    """Every box as (xpath, box), parents first."""
    count = 0
    stack: list[tuple[str, int, int]] = [("", 0, _size(file))]
    while stack:
        parent, position, end = stack.pop()
        while position + 8 <= end and count < _MAX_BOXES:
            box = _box_at(file, position, end)
            if box is None:
                break
            count += 1
            path = f"{parent}/{box.kind.decode('latin-1')}"
            yield path, box
            if box.kind in _CONTAINERS and path.count("/") < 10:
                extra = 4 if box.kind == b"meta" else 0  # a full box: version and flags first
                stack.append((path, box.start + box.header + extra, box.end))
            position = box.end


def _box_at(file: BinaryIO, position: int, end: int) -> _Box | None:
    file.seek(position)
    head = file.read(16)
    if len(head) < 8:
        return None
    size, kind = struct.unpack(">I4s", head[:8])
    header = 8
    if size == 1 and len(head) == 16:
        size, header = struct.unpack(">Q", head[8:])[0], 16
    elif size == 0:
        size = end - position
    if size < header or position + size > end:
        return None
    return _Box(kind, position, header, size)


def _selected(file: BinaryIO, box: _Box, exclusion: Mapping[str, Any]) -> bool:
    """Whether the exclusion's further conditions hold (C2PA 2.x, "BMFF-based hash")."""
    length = exclusion.get("length")
    if length is not None and length != box.size:
        return False
    file.seek(box.start + box.header)
    full = file.read(4)  # version and flags, where the box has them
    version, flags = exclusion.get("version"), exclusion.get("flags")
    if version is not None and full[:1] != bytes([int(version) & 0xFF]):
        return False
    if flags is not None:
        wanted, found = int.from_bytes(_octets(flags), "big"), int.from_bytes(full[1:4], "big")
        exact = exclusion.get("exact") is not False
        if found != wanted if exact else (wanted | found) != wanted:
            return False
    for item in exclusion.get("data") or ():
        value = _octets(item.get("value"))
        file.seek(box.start + int(item.get("offset", 0)))
        if file.read(len(value)) != value:
            return False
    return True


def _subsets(box: _Box, exclusion: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    subsets = exclusion.get("subset")
    if not subsets:
        yield box.start, box.end
        return
    for subset in subsets:
        start = box.start + int(subset.get("offset", 0))
        length = int(subset.get("length", 0))
        end = box.end if length == 0 else min(box.end, start + length)
        if start < end:
            yield start, end


def _box_name(path: str) -> str:
    kind = path.rsplit("/", 1)[-1]
    return _NAMES.get(kind, f"box {path}")


# ---------------------------------------------------------------- other containers


def _excluded_ranges(file: BinaryIO, exclusions: Sequence[Mapping[str, Any]]) -> list[ByteRange]:
    """Ranges of a data hash: what lies in the credential's own segments, and what lies beyond."""
    own = _segments(file)
    ranges = []
    for exclusion in exclusions:
        start, length = int(exclusion.get("start", 0)), int(exclusion.get("length", 0))
        end = min(start + length, _size(file))
        if start >= end:
            continue
        position = start
        for low, high in own:
            low, high = max(low, start), min(high, end)
            if low >= high:
                continue
            if position < low:
                ranges.append(_range(file, position, low, "excluded by the claim, no credential"))
            ranges.append(_range(file, low, high, _NAMES["uuid"]))
            position = high
        if position < end:
            ranges.append(_range(file, position, end, "excluded by the claim, no credential"))
    return ranges


def _credential_boxes(file: BinaryIO) -> list[ByteRange]:
    return [_range(file, start, end, _NAMES["uuid"]) for start, end in _segments(file)]


def _segments(file: BinaryIO) -> list[tuple[int, int]]:
    """Where a JPEG, PNG, RIFF, GIF, FLAC or MP3 file keeps its credential."""
    file.seek(0)
    head = file.read(12)
    if head.startswith(b"\xff\xd8"):
        return _joined(_jpeg(file))
    if head.startswith(b"\x89PNG"):
        return list(_png(file))
    if head[:4] in (b"RIFF", b"RF64"):
        return list(_riff(file))
    if head.startswith((b"ID3", b"fLaC")):
        return list(_tagged(file))
    return []


def _jpeg(file: BinaryIO) -> Iterator[tuple[int, int]]:
    position = 2
    while True:
        file.seek(position)
        head = file.read(6)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xDA, 0xD9):
            return
        length = struct.unpack(">H", head[2:4])[0]
        if head[1] == 0xEB and head[4:6] == b"JP":  # APP11 with a JUMBF packet, ISO 19566-5
            yield position, position + 2 + length
        position += 2 + length


def _png(file: BinaryIO) -> Iterator[tuple[int, int]]:
    position = 8
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"caBX":
            yield position, position + 12 + length
        position += 12 + length


def _riff(file: BinaryIO) -> Iterator[tuple[int, int]]:
    position = 12
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        size = 8 + length + length % 2
        if kind == b"C2PA":
            yield position, position + size
        position += size


def _tagged(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """An ID3 tag (MP3) or the metadata blocks (FLAC): the store starts at its JUMBF header."""
    file.seek(0)
    data = file.read(1 << 22)
    found = data.find(b"jumb")
    if found >= 4:
        start = found - 4
        yield start, start + struct.unpack(">I", data[start:found])[0]


def _joined(segments: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in segments:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


# ---------------------------------------------------------------- inside the credential


def _padding(file: BinaryIO, outer: ByteRange, where: str) -> Iterator[ByteRange]:
    """The padding of each COSE signature: an unprotected header "pad" (C2PA 2.x, "Signing a
    claim"), reserved before the signature's size was known and hashed by nothing."""
    file.seek(outer.start)
    data = file.read(min(outer.size, 1 << 26))
    for name in (b"\x63pad", b"\x64pad2"):  # CBOR text strings
        position = data.find(name)
        while position >= 0:
            begin, length = _byte_string(data, position + len(name))
            if length and begin + length <= len(data) and _in_signature(data, position):
                blank = not any(data[begin : begin + length])
                start = outer.start + begin
                yield ByteRange(start, start + length, "padding of the signature", blank, where)
            position = data.find(name, position + 1)


def _in_signature(data: bytes, position: int) -> bool:
    """Whether the last labelled JUMBF box before a position is a claim signature. Hash assertions
    have padding too, but theirs is covered like all of an assertion."""
    labels = (b"c2pa.assertions\0", b"c2pa.claim\0", b"c2pa.claim.v2\0", b"c2pa.hash.")
    last = data.rfind(b"c2pa.signature\0", 0, position)
    return last >= 0 and last > max(data.rfind(label, 0, position) for label in labels)


def _byte_string(data: bytes, position: int) -> tuple[int, int]:
    """Where a CBOR byte string starts and how long it is; (0, 0) when none is there (RFC 8949)."""
    if position >= len(data) or data[position] >> 5 != 2:
        return 0, 0
    low = data[position] & 0x1F
    if low < 24:
        return position + 1, low
    width = {24: 1, 25: 2, 26: 4}.get(low)
    if width is None:
        return 0, 0
    value = int.from_bytes(data[position + 1 : position + 1 + width], "big")
    return position + 1 + width, value


def _range(file: BinaryIO, start: int, end: int, what: str) -> ByteRange:
    file.seek(start)
    left, blank = end - start, True
    if what == _NAMES["uuid"]:
        return ByteRange(start, end, what, blank=False)
    skip = 8 if what in (_NAMES["free"], _NAMES["skip"]) else 0  # the header is never blank
    left -= len(file.read(min(skip, left)))
    while blank and left > 0:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            break
        blank, left = not any(chunk), left - len(chunk)
    return ByteRange(start, end, what, blank)


def _size(file: BinaryIO) -> int:
    file.seek(0, 2)
    return file.tell()


def _octets(value: Any) -> bytes:
    """Bytes as the library prints them: a list of numbers, ``b64'...'``, or plain base64."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bytes(int(item) & 0xFF for item in value)
    text = str(value or "")
    if text.startswith("b64'"):
        text = text[4:].rstrip("'")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
