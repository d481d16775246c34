"""Clips that the video detector is trained and measured on, all brought to one size and one codec.

``clips.tsv`` lists every clip: where it lies (``media``: the folder of test media; else a public
repository, as ``owner/name``), whether it is generated, its generator (``group``), what it shares
content with (``source``: a person, a place, a prompt, a filmed original) and what it is used for.
Both classes pass the same preparation, so that neither size, shape, frame rate, codec, length nor
sound says which is which:

1. the central square, resized to 256 (or 480) pixels, no sound;
2. two frame rates: as published and about 8 a second (frames dropped), since generators make 6
   to 30 a second and cameras 20 to 60;
3. H.264 at the same CRF, preset and distance of key frames drawn from the clip's number.

Legend: ``t`` frames, ``h`` ``w`` pixels.
"""

from __future__ import annotations

import csv
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.video.controls import MADE
from avsafe_detectors.video.extractor import step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = list[NDArray[np.uint8]]

LIST = Path(__file__).with_name("clips.tsv")
FRAMES = 32  # looked at of the published rate at 256 px, CRF 23: two windows; elsewhere one of 16
CONDITIONS = {"256 px, CRF 23": (256, 23), "256 px, CRF 35": (256, 35), "480 px, CRF 26": (480, 26)}
MIN_SIDE = {256: 170, 480: 432}  # of the square; smaller clips are not enlarged further


@dataclass(frozen=True)
class Clip:
    """One line of the list."""

    number: int
    root: str
    path: str
    synthetic: bool
    group: str
    source: str
    use: str  # "train" | "test" | "control"
    category: str

    @property
    def name(self) -> str:
        """Of its files: no path in it."""
        return f"{self.number:04d}"


def listed(path: Path = LIST) -> list[Clip]:
    """All clips, in the list's order.

    >>> sum(c.group == "real" for c in listed()) > 100
    True
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Clip(i, r["root"], r["path"], r["synthetic"] == "1", r["group"], r["source"], r["use"],
             r["category"])
        for i, r in enumerate(rows)
    ]  # fmt: skip


def locate(clip: Clip, media: Path, repositories: Path | None, cache: Path) -> Path | None:
    """The clip's file; None where it can't be had. ``repositories`` holds clones (with or without
    a work tree) in folders named ``owner+name``."""
    if clip.root == "media":
        path = media / clip.path
        return path if path.exists() else None
    for copy in copies(clip):
        if (media / copy).exists():
            return media / copy
    if repositories is None:
        return None
    kept = cache / "published" / (clip.name + Path(clip.path).suffix)
    if kept.exists():
        return kept
    folder = repositories / clip.root.replace("/", "+")
    tree = folder / clip.path
    if tree.exists():
        return tree
    for git in (folder, folder / "repo", folder / "repo" / ".git", folder / ".git"):
        if not git.is_dir():
            continue
        shown = subprocess.run(
            ["git", "-C", str(git), "show", f"HEAD:{clip.path}"],  # noqa: S607
            capture_output=True,
            check=False,
        )
        if shown.returncode == 0:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(shown.stdout)
            return kept
    return None


def copies(clip: Clip) -> list[str]:
    """Where the folder of test media keeps a clip of a repository.

    >>> copies(Clip(0, "Vchitect/LaVie-project", "static/videos/7.mp4", True, "", "", "", ""))
    ['synthetic_other/lavie_7.mp4']
    """
    parts = Path(clip.path).parts
    if clip.root == "Vchitect/LaVie-project":
        return [f"synthetic_other/lavie_{parts[-1]}"]
    if clip.root.startswith("lumiere-video/"):
        return [f"synthetic_lumiere/{parts[1]}__{parts[-1]}"]
    return []


def versions(rate: float) -> dict[str, int]:
    """Name -> every how manieth frame is kept.

    >>> versions(30.0), versions(16.0), versions(8.0)
    ({'published': 1, '8': 4}, {'published': 1, '8': 2}, {'published': 1})
    """
    every = round(rate / 8)
    return {"published": 1} | ({"8": every} if every >= 2 else {})


def squares(path: Path) -> tuple[dict[int, Frames], float]:
    """The first frames' central squares (side, side, 3) uint8 RGB by side, and the frame rate.

    A side for which the picture is too small is missing.
    """
    import av
    import cv2

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        smaller = min(stream.width, stream.height)
        found: dict[int, Frames] = {s: [] for s, least in MIN_SIDE.items() if smaller >= least}
        n = max(FRAMES * step(rate), FRAMES // 2 * round(rate / 8))
        for number, frame in enumerate(container.decode(stream)):
            if number == n or not found:
                break
            picture = square(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            for side, frames in found.items():
                if side != 256 and number >= FRAMES // 2 * step(rate):
                    continue
                way = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_CUBIC
                resized = cv2.resize(picture, (side, side), interpolation=way)
                frames.append(np.asarray(resized, np.uint8))
    return found, rate


def square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The central square of (h, w, ...)."""
    h, w = picture.shape[:2]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    return picture[top : top + side, left : left + side]


def encode(frames: Frames, rate: float, path: Path, crf: int, draw: int) -> None:
    """H.264 without sound; ``draw`` picks preset and distance of key frames."""
    import av

    side = frames[0].shape[0]
    partial = path.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as container:
        stream: Any = container.add_stream("libx264", Fraction(rate).limit_denominator(1001))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {
            "crf": str(crf),
            "preset": ("veryfast", "medium")[draw % 2],
            "g": ("250", "48", "12")[draw // 2 % 3],
            "threads": "1",
        }
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    partial.rename(path)


def prepare(clip: Clip, path: Path, folder: Path) -> list[Path]:
    """All versions of a clip under all conditions, as files ``NUMBER_VERSION_CONDITION.mp4``."""
    written: list[Path] = []
    found, rate = squares(path)
    for side, frames in found.items():
        for version, every in versions(rate).items():
            if side != 256 and version != "published":
                continue
            sparse = frames[::every]
            for number, (size, crf) in enumerate(CONDITIONS.values()):
                if size != side or (version, crf) == ("8", 35):
                    continue
                out = folder / f"{clip.name}_{version}_{number}.mp4"
                n = FRAMES if (number, version) == (0, "published") else FRAMES // 2
                kept = sparse[: n * step(rate / every)]
                if len(kept) < FRAMES // 2:
                    continue
                if not out.exists():
                    draw = zlib.crc32(f"{clip.number} {version}".encode())
                    encode(kept, rate / every, out, crf, draw)
                written.append(out)
        if side == 256 and clip.group == "real" and clip.use == "train":
            written += _controls(clip, frames, rate, folder)
    return written


def _controls(clip: Clip, frames: Frames, rate: float, folder: Path) -> list[Path]:
    """A benign film made from a filmed clip, at 256 px, CRF 23."""
    made = clip.number % len(MADE)
    n = FRAMES // 2 * step(rate)
    kept = list(MADE.values())[made](frames[: 2 * n])[:n]
    out = folder / f"{clip.name}_made{made}_0.mp4"
    if len(kept) < FRAMES // 2:
        return []
    if not out.exists():
        encode(kept, rate, out, 23, clip.number)
    return [out]


def prepared(
    clips: list[Clip], media: Path, repositories: Path | None, cache: Path
) -> Iterator[tuple[Clip, list[Path]]]:
    """Each clip with its prepared files; clips that can't be had or read are left out."""
    import av

    folder = cache / "prepared"
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        done = folder / f"{clip.name}.done"
        if done.exists():
            yield clip, [folder / name for name in done.read_text().split()]
            continue
        path = locate(clip, media, repositories, cache)
        if path is None:
            continue
        try:
            written = prepare(clip, path, folder)
        except (av.error.FFmpegError, OSError, ValueError):
            continue
        done.write_text("\n".join(p.name for p in written))
        yield clip, written
