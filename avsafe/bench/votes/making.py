"""A ballot as a folder: the page and the blind clips for raters; the key stays outside of it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from avsafe import media
from avsafe.bench.votes.ballot import Check, plan
from avsafe.bench.votes.criteria import CRITERIA
from avsafe.errors import AvsafeError, UsageError
from avsafe.types import Frame, RawMedia, Samples

_BLOCK = 28  # pixels of a damaged picture's squares, at 360 lines
PLAYED = {".mp4", ".m4v", ".webm", ".wav", ".m4a", ".mp3", ".ogg", ".flac", ".png", ".jpg",
          ".jpeg", ".webp"}  # fmt: skip


def make(
    out: Path | str,
    systems: Mapping[str, Mapping[str, Path]],
    *,
    texts: Mapping[str, str] | None = None,
    clusters: Mapping[str, str] | None = None,
    criteria: Sequence[str] = ("quality", "faithfulness"),
    raters: int = 3,
    votes: int = 3,
    items: int | None = None,
    repeats: float = 0.1,
    checks: int = 2,
    seed: str | None = None,
) -> dict[str, Any]:
    """Plan a vote and write ``out/ballot`` (page and clips) and ``out/key.json``.

    ``checks`` of each criterion are made from the clips: a coarse picture against the clip itself,
    silence against its sound, or another item's clip under the text. The same choices as
    ``ballot.plan``. Returns counts and warnings. UsageError where ``out`` already holds a ballot
    or a browser cannot play a clip.
    """
    out = Path(out)
    if (out / "key.json").exists():
        raise UsageError(f"{out.name} already holds a ballot. Choose another --out.")
    for clips in systems.values():
        for path in clips.values():
            if path.suffix.lower() not in PLAYED:
                raise UsageError(
                    f"A browser does not play {path.name}. Convert it to MP4 or WebM first."
                )
    folder = out / "ballot"
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    (out / "checks").mkdir(exist_ok=True)
    try:
        known, warnings = _checks(out / "checks", systems, texts or {}, criteria, checks, seed)
        made = plan(
            systems, texts=texts, clusters=clusters, criteria=criteria, raters=raters, votes=votes,
            items=items, repeats=repeats, checks=known, seed=seed,
        )  # fmt: skip
        for name, path in made.files.items():
            shutil.copyfile(path, folder / "clips" / name)
            os.utime(folder / "clips" / name, (0, 0))  # times would tell systems apart
    finally:
        shutil.rmtree(out / "checks", ignore_errors=True)
    (folder / "index.html").write_text(page(made.ballot), encoding="utf-8")
    text = json.dumps(made.key, indent=1, ensure_ascii=False)
    handle = os.open(out / "key.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    return {
        "out": out,
        "page": folder / "index.html",
        "questions": made.key["questions"],
        "trials": {rater: len(given) for rater, given in made.key["raters"].items()},
        "checks": len(known),
        "clips": len(made.files),
        "warnings": warnings,
    }


def page(ballot: Mapping[str, Any]) -> str:
    """The page of a ballot: clips beside it, everything else inside."""
    data = json.dumps(ballot, ensure_ascii=False).replace("<", "\\u003c")
    home = files("avsafe.bench.votes")
    text = home.joinpath("page.html").read_text(encoding="utf-8")
    for mark, content in (
        ("/*style*/", home.joinpath("page.css").read_text(encoding="utf-8")),
        ("/*script*/", home.joinpath("page.js").read_text(encoding="utf-8")),
        ("{{title}}", escape(f"Which clip? {ballot['ballot']}")),
        ("/*ballot*/", data),
    ):
        text = text.replace(mark, content, 1)
    return text


# ---------------------------------------------------------------- checks


def _checks(
    folder: Path,
    systems: Mapping[str, Mapping[str, Path]],
    texts: Mapping[str, str],
    criteria: Sequence[str],
    count: int,
    seed: str | None,
) -> tuple[list[Check], list[str]]:
    rng = random.Random(f"checks {seed}" if seed else None)  # noqa: S311 - which clips, no secret
    found: list[Check] = []
    warnings = []
    clips = [(item, path) for system in sorted(systems)
             for item, path in sorted(systems[system].items())]  # fmt: skip
    for criterion in criteria:
        if criterion not in CRITERIA:
            continue  # plan says which there are
        order = list(clips)
        rng.shuffle(order)
        made = 0
        for item, path in order:
            if made == count:
                break
            check = _check(folder, criterion, item, path, order, texts, len(found))
            if check is not None:
                found.append(check)
                made += 1
        if made < count:
            warnings.append(f"{criterion}: {made} of {count} checks; no more clips serve for one")
    return found, warnings


def _check(
    folder: Path,
    criterion: str,
    item: str,
    path: Path,
    clips: Sequence[tuple[str, Path]],
    texts: Mapping[str, str],
    number: int,
) -> Check | None:
    text = texts.get(item, "")
    if CRITERIA[criterion].shows_text:
        others = [other for name, other in clips if texts.get(name, "") not in ("", text)]
        return Check(criterion, path, others[0], text) if others else None
    bad = folder / f"{number}{path.suffix.lower()}"
    try:
        if criterion == "sync":
            silenced(path, bad)
        else:
            coarse(path, bad)
    except AvsafeError:
        return None
    return Check(criterion, path, bad, text)


def coarse(path: Path, destination: Path) -> None:
    """A copy whose picture is of large squares: anybody sees that it is the worse one."""
    raw = media.decode(path)
    if raw.frames is None:
        raise UsageError(f"{path.name} has no picture to make a check of.")
    side = max(2, round(_BLOCK * min(raw.height, raw.width) / 360))
    media.encode(replace(raw, frames=_Mapped(raw.frames, side)), destination)


def silenced(path: Path, destination: Path) -> None:
    """A copy without its sound."""
    raw: RawMedia = media.decode(path)
    if raw.samples is None or raw.frames is None:
        raise UsageError(f"{path.name} has no picture with sound to make a check of.")
    media.encode(replace(raw, samples=_Silent(raw.samples)), destination)


@dataclass(frozen=True)
class _Mapped:
    frames: Any
    side: int

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.frames:
            small = frame[:: self.side, :: self.side]
            large = small.repeat(self.side, axis=0).repeat(self.side, axis=1)
            yield np.ascontiguousarray(large[: frame.shape[0], : frame.shape[1]])


@dataclass(frozen=True)
class _Silent:
    samples: Any

    def __iter__(self) -> Iterator[Samples]:
        for block in self.samples:
            yield np.zeros_like(block)


def folders(given: Sequence[str]) -> dict[str, dict[str, Path]]:
    """``NAME=DIR`` -> system -> item -> clip, items named by the files without their suffix.

    UsageError for a folder that is none, that is empty, or that has two clips of one name.
    """
    systems: dict[str, dict[str, Path]] = {}
    for text in given:
        name, equals, place = text.partition("=")
        folder = Path(place)
        if not equals or not name or not folder.is_dir():
            raise UsageError(f"{text!r} is no NAME=DIR with a folder of clips.")
        clips: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in PLAYED or not path.is_file():
                continue
            if path.stem in clips:
                raise UsageError(f"{name} has two clips called {path.stem}: keep one.")
            clips[path.stem] = path
        if not clips:
            raise UsageError(f"{folder.name} has no clip that a browser plays.")
        if name in systems:
            raise UsageError(f"Two systems are called {name}.")
        systems[name] = clips
    return systems
