"""Files that a user qualifies a detector on: real, synthetic and benign, each with its source.

A *source* is what files have in common that a detector could learn: a person, a camera, a
generator. It is the first folder below the one that was named; a file that lies in none is a source
of its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avsafe import media
from avsafe.errors import UsageError

Role = Literal["real", "synthetic", "benign"]
MAX_FILES = 20_000


@dataclass(frozen=True)
class Item:
    """One file; ``name`` is its path below the folder of its role."""

    path: Path
    name: str
    role: Role
    source: str
    sha256: str


def gather(folders: dict[Role, Path]) -> list[Item]:
    """Every media file below the folders, once; links and hidden files are passed over.

    Raises UsageError for a folder without media, and for a file that stands under two roles.
    """
    found: list[Item] = []
    seen: dict[str, Item] = {}
    for role, folder in folders.items():
        if not folder.is_dir():
            raise UsageError(f"--{role} names no folder: {folder}.")
        before = len(found)
        for path in _files(folder):
            relative = path.relative_to(folder)
            source = relative.parts[0] if len(relative.parts) > 1 else relative.name
            item = Item(path, str(relative), role, source, media.sha256_of(path))
            known = seen.get(item.sha256)
            if known is None:
                seen[item.sha256] = item
                found.append(item)
            elif known.role != role:
                raise UsageError(
                    f"{item.name} stands under --{known.role} and --{role} (the same bytes). A "
                    "file has one role."
                )
            if len(found) > MAX_FILES:
                raise UsageError(f"More than {MAX_FILES} files; name smaller folders.")
        if len(found) == before:
            raise UsageError(f"There is no media file below {folder} (--{role}).")
    return found


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            known = path.suffix.lower() in media.MIME_BY_SUFFIX
            if known and not name.startswith(".") and not path.is_symlink():
                yield path


def described(items: list[Item]) -> dict[str, Any]:
    """What a record keeps of the files: a digest and counts, no name."""
    lines = sorted(f"{one.role} {one.sha256} {one.source}" for one in items)
    counts = {}
    for role in ("real", "synthetic", "benign"):
        own = [one for one in items if one.role == role]
        counts[role] = {"files": len(own), "sources": len({one.source for one in own})}
    return {"sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(), **counts}
