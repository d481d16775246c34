"""What every loader needs: the shape of its answer, names that can be files, clips in folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from avsafe import media
from avsafe.bench.suitefile import Item, Make
from avsafe.errors import UsageError

REFERENCE = "reference"  # the role in which a set's own clip plays beside the one that is measured


@dataclass(frozen=True)
class Listing:
    """What a set has: items, and the inputs that they name."""

    items: tuple[Item, ...]
    inputs: Mapping[str, Make | Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what was left out, and why


def slug(text: str, longest: int = 80) -> str:
    """A text as a name that files may have.

    >>> slug("A café, by night!")
    'a-cafe-by-night'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:longest].strip("-") or "item"


def unique(names: Iterable[str]) -> list[str]:
    """Names, with ``~2``, ``~3``... behind those that were there before.

    >>> unique(["a", "b", "a"])
    ['a', 'b', 'a~2']
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return found


def clips_under(folder: Path, kind: str = "video") -> list[Path]:
    """The media files of a folder and its subfolders, by path; hidden ones left out."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if media.MIME_BY_SUFFIX.get(path.suffix.lower(), "").startswith(f"{kind}/")
        and path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]


def needed(root: Path, names: Iterable[str], what: str) -> Path:
    """The first of these paths under ``root`` that is there. UsageError names them all."""
    tried = list(names)
    for name in tried:
        if (root / name).exists():
            return root / name
    raise UsageError(f"{root} has no {what} (looked for: {', '.join(tried)}).")


def lines_of(path: Path) -> list[str]:
    """The filled lines of a text. UsageError for what is no UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def counted(value: object, name: str) -> int:
    """An option that is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is a whole number from 1, not {value!r}.")
    return value
