"""Maps as PNG files in a folder."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avsafe.errors import UnreadableMedia, UsageError
from avsafe.maps import heatmap, timeline
from avsafe.maps.details import (
    Heat,
    Lane,
    Unfit,
    condition_of,
    details_of,
    heat_of,
    lane_of,
    source_of,
)
from avsafe.maps.drawing import cut
from avsafe.media import Limits

if TYPE_CHECKING:
    from PIL.Image import Image

    from avsafe.types import Evidence, Frame, Verdict

MOST_MAPS = 16  # heat maps of one file, and lanes of its timeline
_MARK = b"avsafe map"  # in a PNG's text: the file is one of ours, and may be written again
_HEAD_BYTES = 512


class Maps(list[Path]):
    """The files that were written. ``warnings`` says, in sentences, what was left out and why."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []


def write_maps(
    verdict: Verdict, folder: Path, *, limits: Limits | None = None, force: bool = False
) -> Maps:
    """Draw what the detectors of a verdict saw; the folder is made when absent.

    - ``NAME.SOURCE.png`` for evidence with a heat map: tiles over the picture, or over the frame of
      its time; with no tile flagged also ``NAME.SOURCE.plain.png`` without tiles
    - ``NAME.timeline.png`` when any evidence has a timeline

    Every file appears whole or not at all. A file of that name is replaced only when it is a map
    of avsafe, or with ``force``; otherwise it stays, and a warning says so. Pictures are decoded in
    the limited process. Raises UsageError when the folder cannot be made or written.

    >>> import tempfile
    >>> from avsafe.types import Label, Verdict
    >>> write_maps(Verdict(Path("a.png"), "", Label.INCONCLUSIVE, ()), Path(tempfile.mkdtemp()))
    []
    """
    limits = limits or Limits()
    maps = Maps()
    _ready(folder)
    name = _file_name(verdict.path.name, "media")
    for stem, image in _images(verdict, limits, maps.warnings):
        _write(image, folder / f"{name}.{stem}.png", maps, force)
    return maps


def _images(verdict: Verdict, limits: Limits, warnings: list[str]) -> Iterator[tuple[str, Image]]:
    """What to call each picture, and the picture; one at a time."""
    shown = verdict.path.name
    heats = _heats(verdict, limits, warnings)
    pictures = _pictures(verdict, [heat for _, _, heat in heats], limits, warnings)
    for stem, item, heat in heats:
        picture = pictures.get(heat.time_s or 0.0)
        if picture is None:
            if pictures:
                warnings.append(f"{stem}: the clip shows no frame at {heat.time_s:g} s.")
            continue
        for suffix, tiles in (("", True), (".plain", False)):
            if tiles or not heat.flagged.any():
                yield (
                    stem + suffix,
                    heatmap.draw(
                        heat,
                        picture,
                        source=source_of(item),
                        condition=condition_of(item),
                        summary=str(item.summary),
                        name=shown,
                        tiles=tiles,
                    ).image,
                )
    if lanes := _lanes(verdict, limits, warnings):
        yield "timeline", timeline.draw(lanes, name=shown, label=str(verdict.label))


def _heats(
    verdict: Verdict, limits: Limits, warnings: list[str]
) -> list[tuple[str, Evidence, Heat]]:
    found: list[tuple[str, Evidence, Heat]] = []
    taken: set[str] = set()
    for item in verdict.evidence:
        if details_of(item).get("heatmap") is None:
            continue
        source = cut(source_of(item), 14, 400)
        if len(found) == MOST_MAPS:
            warnings.append(f"{source}: more than {MOST_MAPS} heat maps; the rest is left out.")
            break
        try:
            heat = heat_of(item, limits.max_duration_s)
        except Unfit as error:
            warnings.append(f"The heat map of {source} cannot be drawn: {error}.")
            continue
        stem = _file_name(source_of(item), "detector")
        while stem.lower() in taken or stem.lower() == "timeline":
            stem += "-2"
        taken.add(stem.lower())
        found.append((stem, item, heat))
    return found


def _lanes(verdict: Verdict, limits: Limits, warnings: list[str]) -> list[Lane]:
    found: list[Lane] = []
    for item in verdict.evidence:
        if details_of(item).get("timeline") is None:
            continue
        source = cut(source_of(item), 14, 400)
        if len(found) == MOST_MAPS:
            warnings.append(f"{source}: more than {MOST_MAPS} timelines; the rest is left out.")
            break
        try:
            lane = lane_of(item, limits.max_duration_s)
        except Unfit as error:
            warnings.append(f"The timeline of {source} cannot be drawn: {error}.")
            continue
        if lane.left_out:
            warnings.append(f"The timeline of {source} is drawn without {lane.left_out}.")
        found.append(lane)
    return found


def _pictures(
    verdict: Verdict, heats: list[Heat], limits: Limits, warnings: list[str]
) -> dict[float, Frame]:
    """Time -> frame of the very file that was verified."""
    from avsafe.maps.frames import frames_at
    from avsafe.media import sha256_of

    if not heats:
        return {}
    try:
        if sha256_of(verdict.path) != verdict.sha256:
            warnings.append("The file is no longer the one that was verified: no heat map.")
            return {}
        times = [heat.time_s or 0.0 for heat in heats]
        return frames_at(verdict.path, times, limits, heatmap.MOST_PX)
    except (OSError, UnreadableMedia) as error:
        warnings.append(f"No heat map: the picture cannot be read again ({error}).")
        return {}


# ---------------------------------------------------------------- files


def _file_name(text: str, otherwise: str) -> str:
    """Letters, digits, dot, dash and underscore of a name; never empty, hidden or long."""
    safe = re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._-")
    return safe[:80].rstrip("._-") or otherwise


def _ready(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be made ({error.strerror}). Name another one for the maps."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} is closed to you. Name another one for the maps.")


def _write(image: Image, path: Path, maps: Maps, force: bool) -> None:
    """Whole or not at all; nobody else's file is replaced."""
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("Comment", _MARK.decode())
    temporary = path.with_name(f".{path.name[-80:]}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            image.save(file, "PNG", pnginfo=note)
        if force or _ours(path):
            os.replace(temporary, path)
        else:
            _name(temporary, path)
    except FileExistsError:
        maps.warnings.append(f"{path.name} exists and is no map of avsafe: it was left alone.")
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)
    maps.append(path)


def _name(temporary: Path, path: Path) -> None:
    """Raises FileExistsError when somebody has that name, also since we looked."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError from None
        os.replace(temporary, path)


def _ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.startswith(b"\x89PNG") and _MARK in head
