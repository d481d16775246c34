"""The marks that a credential leaves in a file, found without parsing it as media.

Used only when the C2PA library says "none": a truncated or scrambled credential must be reported as
damaged, not as absent.
"""

from __future__ import annotations

from pathlib import Path

_BMFF_SLOT = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # uuid box; means nothing else
_PNG_SLOT = b"caBX"
# Each stands for itself after a broken byte in another. All have the letters "c2pa" in them (the
# first is the JUMBF type of a manifest store), so a file without those needs one search.
_NAMES = (
    bytes.fromhex("63327061001100108000"),
    b"c2pa.claim",
    b"c2pa.signature",
    b"c2pa.assertions",
    b"c2pa.actions",
    b"urn:c2pa:",
)
_CHUNK = 1 << 20
_OVERLAP = 32
_ENOUGH = 2  # distinct marks; one alone may be chance or a text about C2PA


def has_traces(path: Path) -> bool:
    """True when two different marks of a credential stand in the file, or the slot of an MP4."""
    found: set[bytes] = set()
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            window = tail + chunk
            if _BMFF_SLOT in window:
                return True
            if _PNG_SLOT in window:
                found.add(_PNG_SLOT)
            if b"c2pa" in window:
                found |= {name for name in _NAMES if name in window}
            if len(found) >= _ENOUGH:
                return True
            tail = window[-_OVERLAP:]
    return False
