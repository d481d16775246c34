"""Measures of all prepared clips, computed once and kept.

Legend: ``n`` windows, ``d`` measures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.video.clips import Clip, prepared
from avsafe_detectors.video.controls import MADE
from avsafe_detectors.video.detector import MIN_MOVED
from avsafe_detectors.video.extractor import small, step
from avsafe_detectors.video.features import LENGTH, moved, window_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
VERSIONS = ("published", "8", *(f"made{k}" for k in range(len(MADE))))

# Generators that share a base are one family: leaving one out leaves out all.
FAMILY = {
    "self-forcing": "wan", "causvid": "wan", "magi1": "wan", "skyreels2": "wan", "stand-in": "wan",
    "boximator": "pixeldance", "seine": "lavie", "magicanimate": "animatediff",
    "gen-2": "commercial", "pika": "commercial", "sora": "commercial",
    "loopy": "talking heads", "omnihuman": "talking heads",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Table:
    """All windows. ``unit`` numbers the files they come from."""

    x: NDArray[np.float32]  # (n, d)
    clip: NDArray[Any]  # (n,) Clip
    version: NDArray[np.int64]
    condition: NDArray[np.int64]
    unit: NDArray[np.int64]
    rate: NDArray[np.float64]  # frames a second of the file
    size: NDArray[np.float64]  # bytes of the file
    moved: NDArray[np.float64]

    def of(self, field: Callable[[Clip], Any]) -> NDArray[Any]:
        return np.array([field(c) for c in self.clip])

    @property
    def made(self) -> NDArray[np.bool_]:
        """Which are benign films made from filmed clips."""
        return self.version >= 2

    @property
    def still(self) -> NDArray[np.bool_]:
        return self.moved < MIN_MOVED


def family_of(clip: Clip) -> str:
    return FAMILY.get(clip.group, clip.group)


def measure(path: Path, windows: int) -> Iterator[tuple[float, NDArray[np.float32], float]]:
    """Frame rate, measures, and movement of the first windows of a prepared file."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        rate = float(stream.average_rate or 25)
        frames: list[NDArray[np.uint8]] = []
        for number, frame in enumerate(container.decode(stream)):
            if number % step(rate):
                continue
            frames.append(small(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)))
            if len(frames) < LENGTH:
                continue
            window = np.stack(frames)
            yield rate, window_features(window)[0], moved(window[:, ::4, ::4, 1])
            frames, windows = [], windows - 1
            if not windows:
                return


def built(
    clips: Sequence[Clip], media: Path, repositories: Path | None, cache: Path,
    spent: Callable[[], bool] = lambda: False,
) -> bool:  # fmt: skip
    """Measure what is not yet measured; whether all is done."""
    folder = cache / "measures"
    folder.mkdir(parents=True, exist_ok=True)
    todo = [c for c in clips if not (folder / f"{c.name}.npz").exists()]
    for clip, files in prepared(todo, media, repositories, cache):
        x: list[Any] = []
        about: list[tuple[float, ...]] = []
        for file in files:
            _, version, condition = file.stem.split("_")
            windows = 2 if (version, condition) == ("published", "0") else 1
            for rate, values, change in measure(file, windows):
                x.append(values)
                about.append((VERSIONS.index(version), int(condition), rate, file.stat().st_size,
                              change))  # fmt: skip
        partial = folder / f"{clip.name}.part.npz"
        np.savez(partial, x=np.array(x, np.float32), about=np.array(about, np.float64))
        partial.rename(folder / f"{clip.name}.npz")
        if spent():
            return False
    return True


def loaded(clips: Sequence[Clip], cache: Path) -> Table:
    """What ``built`` kept."""
    x, about, of, unit = [], [], [], []
    units = 0
    for clip in clips:
        path = cache / "measures" / f"{clip.name}.npz"
        if not path.exists():
            continue
        with np.load(path) as kept:
            if not len(kept["x"]):
                continue
            x.append(kept["x"])
            about.append(kept["about"])
            keys = [tuple(row[:2]) for row in kept["about"]]
        numbers = {key: units + i for i, key in enumerate(dict.fromkeys(keys))}
        units += len(numbers)
        unit += [numbers[key] for key in keys]
        of += [clip] * len(keys)
    if not x:
        raise FileNotFoundError(f"{cache} holds no measures: run the training command first.")
    all_about = np.concatenate(about)
    column = np.empty(len(of), object)
    column[:] = of
    version, condition = all_about[:, 0].astype(np.int64), all_about[:, 1].astype(np.int64)
    return Table(np.concatenate(x), column, version, condition, np.array(unit, np.int64),
                 all_about[:, 2], all_about[:, 3], all_about[:, 4])  # fmt: skip
