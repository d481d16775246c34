"""Clips whose folder says what they are, and how each looks from outside.

    DIR/real/...                real; also DIR/real_NAME/...
    DIR/synthetic/FAMILY/...    made by FAMILY; also DIR/synthetic_FAMILY/...
    DIR/benign/SET/...          real and unusual: a control set; also DIR/benign_SET/...

A folder below these is a source (a person, a camera), and so is what stands before the first ``_``
in the name of a file that lies in none: files of one source are not independent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from avsafe import media
from avsafe.bench.asked import spread
from avsafe.bench.clips import load_sound
from avsafe.errors import AvsafeError, MissingStream, UsageError
from avsafe.types import Kind, Media

Role = Literal["real", "synthetic", "benign"]
_ROLES: tuple[Role, ...] = ("real", "synthetic", "benign")
_HEARD_S = 5.0  # of the sound, for the silence before it
_SILENT = 10 ** (-50 / 20)  # rms of 10 ms: -50 dBFS


@dataclass(frozen=True)
class Clip:
    """One file of known origin."""

    unit: str  # its path below the folder that was given
    path: Path
    role: Role
    group: str  # generator or set
    source: str

    @property
    def synthetic(self) -> bool:
        return self.role == "synthetic"


def find(folders: Sequence[Path], limit: int | None = None) -> list[Clip]:
    """The clips of folders, at most ``limit`` a group, evenly spaced.

    UsageError for a folder that is none, or in which no folder says real or synthetic.
    """
    groups: dict[tuple[Role, str], list[Clip]] = {}
    names = set[str]()
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--media {folder}: there is no such folder.")
        for clip in _clips(folder):
            if clip.unit in names:
                raise UsageError(f"Two clips are called {clip.unit}: rename a folder, for rows are "
                                 "kept by this name.")  # fmt: skip
            names.add(clip.unit)
            groups.setdefault((clip.role, clip.group), []).append(clip)
    if not groups:
        raise UsageError(
            f"There is no clip of known origin in {', '.join(f.name for f in folders)}: expected "
            "folders real, synthetic/FAMILY and benign/SET in it (docs/bench-detectors.md)."
        )
    return [clip for clips in groups.values() for clip in spread(clips, limit)]


def _clips(folder: Path) -> Iterator[Clip]:
    for top in sorted(path for path in folder.iterdir() if path.is_dir()):
        role, _, name = top.name.lower().partition("_")
        if role not in _ROLES:
            continue
        for path in _files(top):
            below = list(path.relative_to(top).parts[:-1])
            if name:
                group = name if role != "real" else f"real {name}"
            elif role == "real":
                group = "real"
            else:
                group = below.pop(0) if below else role
            source = below[0] if below else path.stem.partition("_")[0]
            unit = path.relative_to(folder).as_posix()
            yield Clip(unit, path, role, group, f"{role}/{group}/{source}")


def _files(top: Path) -> list[Path]:
    """The media files below a folder; links to folders are followed, each folder once."""
    found: list[Path] = []
    known = set[str]()
    for place, inside, files in os.walk(top, followlinks=True):
        real = os.path.realpath(place)
        if real in known:
            inside.clear()
            continue
        known.add(real)
        found += [path for name in files if (path := Path(place, name)).is_file()
                  and path.suffix.lower() in media.MIME_BY_SUFFIX]  # fmt: skip
    return sorted(found)


# ---------------------------------------------------------------- from outside


def outside(path: Path) -> tuple[Kind, dict[str, float | str | None]]:
    """The kind of a file, and what can be told of it without looking at what it shows; None where
    it has no such thing. Raises what ``media.probe`` raises."""
    seen = media.probe(path)
    length = seen.duration_s or None
    return seen.kind, {
        "size_bytes": float(seen.size_bytes),
        "container": seen.container,
        "duration_s": length,
        "kbps": seen.size_bytes * 8 / 1000 / length if length else None,
        "leading_silence_s": _silence_s(path, seen),
        **_picture(seen),
    }


def _picture(seen: Media) -> dict[str, float | None]:
    video = seen.video
    rate = video.frame_rate if video is not None else None
    return {
        "frame_rate": float(rate) if rate else None,
        "width": float(video.width) if video else None,
        "height": float(video.height) if video else None,
    }


def _silence_s(path: Path, seen: Media) -> float | None:
    """Seconds before the first 10 ms above -50 dBFS, at most 5."""
    if seen.audio is None:
        return None
    try:
        sound = load_sound(path, _HEARD_S)
    except (MissingStream, AvsafeError):
        return None
    piece = max(1, sound.rate_hz // 100)
    mono = sound.samples.mean(0)
    blocks = mono[: len(mono) // piece * piece].reshape(-1, piece)
    loud = np.flatnonzero(np.sqrt(np.square(blocks, dtype=np.float64).mean(1)) > _SILENT)
    return float(loud[0] / 100) if len(loud) else min(_HEARD_S, len(blocks) / 100)
