"""The watermark keys of a state folder: one to mark with, and those before it, still looked for.

    watermark.key  32 bytes
    watermark.old  a line of hex for each older key, the newest first

A key is put among the old ones before another takes its place: cut short, a rotation leaves the old
key or the new, and a mark never without its key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from avsafe.errors import UsageError
from avsafe.home import locked, secret, write_private
from avsafe.types import Detection, Features, Watermarker

KEY_FILE = "watermark.key"
OLD_FILE = "watermark.old"


def current(folder: Path) -> bytes:
    """The key to mark with, made on first use."""
    return secret(folder, KEY_FILE)


def ring(folder: Path) -> tuple[bytes, ...]:
    """The keys to look for, the newest first; none when nothing was ever marked here.

    Raises UsageError when the list of old keys is damaged.
    """
    path, old = folder / KEY_FILE, folder / OLD_FILE
    found = [path.read_bytes()] if path.exists() else []
    for line in old.read_text("ascii", "replace").split() if old.exists() else ():
        try:
            found.append(bytes.fromhex(line))
        except ValueError:
            raise UsageError(f"{old} is damaged. Restore it from a backup.") from None
    return tuple(dict.fromkeys(found))


def draw() -> bytes:
    """A new key, for ``install``."""
    return secrets.token_bytes(32)


def install(folder: Path, key: bytes) -> None:
    """Mark with ``key`` from now on; what was marked before is still found."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder / f"{KEY_FILE}.lock"):
        older = "".join(one.hex() + "\n" for one in ring(folder) if one != key)
        write_private(folder / OLD_FILE, older.encode())
        write_private(folder / KEY_FILE, key)


def name_of(key: bytes) -> str:
    """What may be said of a key in public: 16 hex digits that tell it from others.

    >>> name_of(bytes(32))
    '6ff3c84d8eae0b4a'
    """
    return hashlib.sha256(b"avsafe watermark key\n" + key).hexdigest()[:16]


def detect(marker: Watermarker, features: Features, keys: Sequence[bytes]) -> Detection:
    """Look for the mark of each key in turn, and end with the first that is there.

    ``p_value`` is charged with the keys that were tried. A marker with a ``detect_any`` of its own
    does what depends on no key only once.
    """
    several = getattr(marker, "detect_any", None)
    if several is not None:
        found: Detection = several(features, keys)
        return found
    return among(marker.detect(features, key) for key in keys)


def among(detections: Iterable[Detection]) -> Detection:
    """The first detection that is present, or the likeliest, charged with all that were tried.

    >>> among([Detection(False, None, 0.5), Detection(True, 7, 1e-9)]).p_value
    2e-09
    """
    tried: list[Detection] = []
    for found in detections:
        tried.append(found)
        if found.present:
            break
    best = min(tried, key=lambda one: (not one.present, one.p_value))
    return replace(best, p_value=min(1.0, best.p_value * len(tried)))
