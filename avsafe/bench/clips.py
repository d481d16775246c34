"""The media of a run: files found in folders, decoded in the sandbox; and clips of our own.

Legend: ``t`` frames, ``h`` ``w`` pixels; a frame is (h, w, 3) uint8 RGB; sound is (c, n) float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsafe import media, plugins
from avsafe.errors import MissingStream, UsageError
from avsafe.types import (
    Frame,
    GenerationRequest,
    Kind,
    Principal,
    RawMedia,
    Sample,
    Samples,
    Task,
)

OWN_PROMPTS = (
    "a red ball bouncing on wood",
    "a blue cube sliding on ice at night",
    "three yellow balls rolling on grass",
    "a green sphere falling on metal in the rain",
)


@dataclass(frozen=True)
class Shot:
    """Moving pictures in memory, or made while they are iterated (re-iterable)."""

    frames: Iterable[Frame]
    rate: Fraction
    count: int
    height: int
    width: int

    @property
    def duration_s(self) -> float:
        return self.count / float(self.rate)

    def as_raw(self, kind: Kind = Kind.VIDEO) -> RawMedia:
        still = kind is Kind.IMAGE
        return RawMedia(
            kind=kind,
            frames=self.frames,
            frame_rate=None if still else self.rate,
            frame_count=self.count,
            width=self.width,
            height=self.height,
        )


@dataclass(frozen=True)
class Sound:
    samples: Samples
    rate_hz: int

    @property
    def duration_s(self) -> float:
        return float(self.samples.shape[1] / self.rate_hz)

    def as_raw(self) -> RawMedia:
        blocks = [
            np.ascontiguousarray(self.samples[:, start : start + self.rate_hz // 10])
            for start in range(0, self.samples.shape[1], self.rate_hz // 10)
        ]
        return RawMedia(
            kind=Kind.AUDIO,
            samples=blocks,
            rate_hz=self.rate_hz,
            channels=self.samples.shape[0],
        )


def find(folders: Sequence[Path], limit: int | None = None) -> list[Sample]:
    """The media files of folders and their subfolders as samples, ``folder/name`` their ids.

    With ``limit``, clips are taken from all subfolders in turn, evenly spaced within each. Files
    without a suffix of media are passed over. UsageError for a folder that is none, or empty.
    """
    groups: dict[str, list[Sample]] = {}
    seen: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder. Pass a folder of clips with --media.")
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix.lower() in media.MIME_BY_SUFFIX:
                name = f"{path.parent.name}/{path.name}"
                if name in seen and seen[name].samefile(path):
                    continue  # folders that overlap
                if name in seen:
                    raise UsageError(
                        f"Two clips are called {name}: {seen[name]} and {path}. Rename a folder: "
                        "rows are kept by this name."
                    )
                seen[name] = path
                sample = Sample(name, {"media": path}, tags=(path.parent.name,))
                groups.setdefault(str(path.parent), []).append(sample)
    if not groups:
        raise UsageError(f"There is no clip in {', '.join(map(str, folders))}.")
    if limit is None:
        return [sample for group in groups.values() for sample in group]
    shares = [0] * len(groups)
    sizes = [len(group) for group in groups.values()]
    while sum(shares) < min(limit, sum(sizes)):
        free = [i for i in range(len(sizes)) if shares[i] < sizes[i]]
        shares[min(free, key=lambda i: shares[i])] += 1
    chosen: list[Sample] = []
    for group, count in zip(groups.values(), shares, strict=True):
        places = np.linspace(0, len(group) - 1, count).round().astype(int)
        chosen += [group[int(place)] for place in places]
    return chosen


def load_shot(path: Path, seconds: float, *, trusted: bool = False) -> Shot:
    """The first ``seconds`` of a file's pictures, decoded into memory (0: all of it)."""
    raw = media.decode(path, trusted=trusted, max_duration_s=seconds or None)
    if raw.frames is None:
        raise MissingStream(f"{path.name} has no picture.")
    rate = raw.frame_rate or Fraction(25)  # a still picture: any rate shows it
    most = round(seconds * rate) if seconds else None
    frames: list[Frame] = []
    for frame in raw.frames:
        if most is not None and len(frames) >= most:
            break
        frames.append(frame)
    if not frames:
        raise MissingStream(f"{path.name} has no frame that can be decoded.")
    return Shot(frames, rate, len(frames), *frames[0].shape[:2])


def load_sound(path: Path, seconds: float, *, trusted: bool = False) -> Sound:
    """The first ``seconds`` of a file's sound, decoded into memory (0: all of it)."""
    raw = media.decode(path, trusted=trusted, max_duration_s=seconds or None)
    if raw.samples is None:
        raise MissingStream(f"{path.name} has no sound.")
    whole = np.hstack([np.zeros((raw.channels, 0), np.float32), *raw.samples])
    if seconds:
        whole = whole[:, : round(seconds * raw.rate_hz)]
    if not whole.shape[1]:
        raise MissingStream(f"{path.name} has no sound that can be decoded.")
    return Sound(np.ascontiguousarray(whole), raw.rate_hz)


def own_clips(count: int = 4, seconds: float = 2.0, side: int = 512) -> list[tuple[str, Shot]]:
    """Clips made by the ``world`` generator, all that a report may show; [] without it."""
    if "world" not in plugins.catalogue("generators"):
        return []
    world = plugins.load("generators", "world")
    made = []
    for seed, prompt in enumerate(OWN_PROMPTS[:count]):
        request = GenerationRequest(
            Principal("bench"),
            Task.TEXT_TO_VIDEO,
            "world",
            prompt,
            seed=seed,
            width=side,
            height=side,
            duration_s=seconds,
        )
        raw = world.generate(request)
        frames = list(raw.frames)
        made.append((prompt, Shot(frames, raw.frame_rate, len(frames), *frames[0].shape[:2])))
    return made


# ---------------------------------------------------------------- why a clip is hard


def picture_figures(shot: Shot) -> dict[str, float]:
    """``texture`` (mean standard deviation in 9 x 9 pixels), ``motion`` (mean change from frame to
    frame), ``brightness``: all in levels of luma, at 360 pixels of the short side."""
    import cv2

    scale = 360 / min(shot.height, shot.width)
    size = (max(16, round(shot.width * scale)), max(16, round(shot.height * scale)))
    textures, motions, levels = [], [], []
    before: NDArray[np.float32] | None = None
    for index, frame in enumerate(shot.frames):
        if index % 3 == 2:  # two frames of three: neighbours for motion, and a third less work
            before = None
            continue
        luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        mean = cv2.blur(small, (9, 9))
        power = cv2.blur(small * small, (9, 9)) - mean * mean
        textures.append(float(np.sqrt(np.maximum(power, 0)).mean()))
        levels.append(float(small.mean()))
        if before is not None:
            motions.append(float(np.abs(small - before).mean()))
        before = np.asarray(small, np.float32)
    return {
        "texture": float(np.mean(textures)),
        "motion": float(np.mean(motions)) if motions else 0.0,
        "brightness": float(np.mean(levels)),
    }


def sound_figures(sound: Sound) -> dict[str, float]:
    """``level_dbfs`` (rms) and ``silence`` (share of 20 ms pieces below -50 dBFS)."""
    mono = sound.samples.mean(axis=0).astype(np.float64)
    piece = max(1, sound.rate_hz // 50)
    pieces = mono[: len(mono) // piece * piece].reshape(-1, piece)
    power = (pieces**2).mean(axis=1) if len(pieces) else np.array([float((mono**2).mean())])
    return {
        "level_dbfs": float(10 * np.log10(power.mean() + 1e-12)),
        "silence": float((power < 1e-5).mean()),
    }
