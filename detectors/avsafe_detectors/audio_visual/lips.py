"""Lips against sound, by the metric ``lip_sync`` of whoever has it installed.

Detectors import no metric: it is found in the catalogue (entry points ``avsafe.metrics``) and used
through the contract of ``avsafe.types.Metric``.

Legend: ``t`` frames at ``rate`` a second from time 0; ``n`` samples at 16 kHz from time 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import MissingExtra, Unscorable
from avsafe.faces import FaceTrack
from avsafe.types import Clip, Gathered, Kind, Metric, Sample, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe.types import Features

HZ = 16_000
NAME = "lip_sync"
MOST_FRAMES = 31 * 60 + 31  # that an extractor may send
LONGEST_S = 75.0  # of sound


@dataclass(frozen=True)
class Found:
    """What the metric says of a stretch. ``offset_ms`` positive: sound late. ``p`` is the chance of
    that ``confidence`` with other sound, ``in_sync`` that of at most 80 ms, one offset being right.
    """

    offset_ms: float
    confidence: float
    p: float
    in_sync: float


def metric() -> Metric:
    """The metric, ready. Raises MissingExtra when none of that name is installed."""
    from importlib.metadata import entry_points

    known = {point.name: point for point in entry_points(group="avsafe.metrics")}
    if NAME not in known:
        raise MissingExtra(
            f"whether lips follow a sound is judged by the metric {NAME!r}, which is not installed "
            f"(found: {', '.join(sorted(known)) or 'no metric'}). Run: pip install 'avsafe[bench]'"
        )
    try:
        found: Metric = known[NAME].load()()
        found.prepare()
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the metric {NAME!r}, which judges whether lips follow a sound, needs the package "
            f"{error.name!r}, which is not installed. Run: pip install 'avsafe[bench]'"
        ) from error
    return found


@dataclass(frozen=True, eq=False)
class Talk:
    """Features of the extractor, checked: the face's track and the sound."""

    points: NDArray[np.float32]  # (t, 152, 2) px
    faces: NDArray[np.int64]  # (t,)
    change: NDArray[np.float32]  # (t,)
    cuts: tuple[int, ...]
    sound: NDArray[np.float32]  # (n,)
    rate: float

    @property
    def seen(self) -> NDArray[np.bool_]:
        return np.isfinite(self.points[:, 0, 0])

    def part(self, first: int, end: int) -> Talk:
        """Frames ``first`` to ``end`` with their sound; time 0 is then the first of them."""
        a, b = round(first * HZ / self.rate), round(end * HZ / self.rate)
        cuts = tuple(c - first for c in self.cuts if first < c < end)
        return Talk(self.points[first:end], self.faces[first:end], self.change[first:end], cuts,
                    self.sound[a:b], self.rate)  # fmt: skip

    @classmethod
    def of(cls, features: Features) -> Talk:
        """Raises KeyError and ValueError for features of another shape."""
        points = np.array(features["points"], np.float32)
        rate = float(np.asarray(features["clip"], np.float64).reshape(4)[0])
        count = len(points)
        if points.shape != (count, 152, 2) or count > MOST_FRAMES:
            raise ValueError(f"points {points.shape} are not (t, 152, 2)")
        if not (math.isfinite(rate) and 0 <= rate <= 1000) or (count and not rate):
            raise ValueError(f"{rate} frames a second")
        usable = (np.isfinite(points) & (np.abs(points) < 1e5)).reshape(count, -1).all(axis=1)
        points[~usable] = np.nan
        sound = np.asarray(features["mono16k"])
        if sound.ndim != 1 or sound.dtype != np.int16 or sound.size > LONGEST_S * HZ:
            raise ValueError(f"sound {sound.shape} {sound.dtype} is not (n,) int16")
        cuts = np.asarray(features["cuts"], np.int64).reshape(-1)
        return cls(
            points,
            np.asarray(features["faces"], np.int64).reshape(count),
            np.asarray(
                np.nan_to_num(np.asarray(features["change"], np.float32).reshape(count)), np.float32
            ),
            tuple(sorted({int(c) for c in cuts if 0 < c < count})),
            np.asarray(sound / np.float32(32768), np.float32),
            rate,
        )


def track(talk: Talk) -> FaceTrack:
    from avsafe.faces.tracking import smoothed

    nothing = np.zeros(len(talk.points), bool)
    return FaceTrack(
        points=smoothed(talk.points, talk.rate, talk.cuts),
        raw=talk.points,
        doubt=np.where(talk.seen, 0.0, np.nan).astype(np.float32),
        faces=talk.faces,
        searched=nothing,
        cuts=talk.cuts,
        frame_rate=Fraction(talk.rate).limit_denominator(100_000),
    )


def found(by: Metric, talk: Talk) -> Found:
    """What the metric says. Raises Unscorable with its reason, ValueError for an answer that is
    none."""
    if not len(talk.points):
        raise Unscorable("no frame was looked at")
    followed = track(talk)
    shape = Shape(Kind.VIDEO, frame_rate=followed.frame_rate, frame_count=len(followed),
                  rate_hz=HZ, channels=1)  # fmt: skip
    meter = by.open(Clip(Sample("", {}), shape))
    values = meter.finish(Gathered(len(followed), faces=followed, mono16k=talk.sound))
    return Found(*(_number(values, name) for name in
                   ("offset_ms", "confidence", "p_value", "in_sync_score")))  # fmt: skip


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values[name]
    if isinstance(value, str):
        raise Unscorable(value)
    if not math.isfinite(value):
        raise ValueError(f"{NAME}.{name} is {value}")
    return float(value)
