"""The marks that a credential leaves in a file, found without parsing it as media.

Used only when the C2PA library says "none": a truncated or scrambled credential must be reported as
damaged, not as absent.
"""

from __future__ import annotations

from pathlib import Path

# The JUMBF description box of a manifest store: type UUID 63327061-0011-0010-8000-00AA00389B71
# ("c2pa") and the label. Either one alone survives a broken byte in the other.
_MARKS = (
    bytes.fromhex("63327061001100108000"),
    bytes.fromhex("d8fec3d61b0e483c92975828877ec481"),  # BMFF uuid box of C2PA
    b"c2pa.claim",
    b"c2pa.signature",
    b"c2pa.assertions",
    b"c2pa.actions",
    b"urn:c2pa:",
    b"caBX",  # PNG chunk
)
_CHUNK = 1 << 20
_OVERLAP = 32
_ENOUGH = 2  # distinct marks; one alone may be chance or a text about C2PA


def has_traces(path: Path) -> bool:
    """True when two different marks of a credential stand in the file (one for its own container
    slots, which mean nothing else)."""
    found: set[bytes] = set()
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            window = tail + chunk
            found |= {mark for mark in _MARKS if mark not in found and mark in window}
            if len(found) >= _ENOUGH or _MARKS[1] in found:
                return True
            tail = window[-_OVERLAP:]
    return False
