"""From frames to events: what strikes, flashes and moves in a clip, frame by frame.

Legend: luma frames are (h, w) uint8. Times in seconds from the first frame; x from 0 (left) to 1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.foley import kinks
from avsafe_generators.foley.flow import HISTORY, Flow, Points, shrunk

Array = NDArray[Any]


_CELLS = (16, 10)  # columns and rows of the map of change
_STROKE = 4.0  # grey levels by which the change in a cell must fall or rise at once
_STROKE_GAP_S = 0.18


@dataclass(frozen=True)
class Event:
    """Something that would be heard."""

    time_s: float
    kind: str  # hit | start | shake | flash | stroke
    strength: float  # 0..1
    x: float  # 0 left .. 1 right
    y: float
    speed: float  # sides per second that it lost (hit) or got


@dataclass
class Seen:
    """What a clip shows that sound can follow."""

    frame_count: int
    rate: float
    events: list[Event] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    motion: Array = field(default_factory=lambda: np.zeros(0))  # (f,) mean own speed, sides/s
    where: Array = field(default_factory=lambda: np.zeros(0))  # (f,) 0..1
    camera: Array = field(default_factory=lambda: np.zeros(0))  # (f,) sides/s
    light: Array = field(default_factory=lambda: np.zeros(0))  # (f,) mean luma
    cells: Array = field(default_factory=lambda: np.zeros((0, 160)))  # (f, 160) change, grey levels


class Watcher:
    """Feed frames in order, then ``finish``. Memory doesn't grow but for a few numbers a frame."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._flow, self._points = Flow(), Points()
        self._found: list[kinks.Break] = []
        self._fields: deque[Array] = deque(maxlen=HISTORY)  # own motion of the last intervals
        self._before: Array | None = None
        self._count = 0
        self._numbers: list[tuple[float, float, float, float]] = []
        self._cells: list[Array] = []
        self.cuts: list[int] = []

    def frame(self, luma: Array) -> None:
        small = shrunk(luma)
        light = float(small.mean())
        if self._before is None:
            self._numbers.append((0.0, 0.5, 0.0, light))
        elif _is_cut(self._before, small):
            self._numbers.append((0.0, 0.5, 0.0, light))
            self.cuts.append(self._count)
            self._end_scene()
        else:
            self._step(self._before, small, light)
        if len(self._cells) <= self._count:
            self._cells.append(np.zeros(_CELLS[0] * _CELLS[1], np.float16))
        self._before = small
        self._count += 1

    def _step(self, before: Array, small: Array, light: float) -> None:
        import cv2

        side = float(np.sqrt(small.size))
        flow, left, torn = self._flow.between(before, small)
        self._points.step(flow, left, torn, self.rate)
        self._fields.append(left)
        cells = cv2.resize(self._flow.change, _CELLS, interpolation=cv2.INTER_AREA)
        self._cells.append(cells.astype(np.float16).ravel())
        self._look(side, kinks.CENTRE, self._count - 1)
        speed = np.hypot(left[::2, ::2, 0], left[::2, ::2, 1]) * (self.rate / side)
        total = float(speed.sum())
        across = np.arange(speed.shape[1]) / max(speed.shape[1] - 1, 1)
        where = float((speed.sum(axis=0) @ across) / total) if total > 0 else 0.5
        camera = float(np.hypot(*self._flow.camera[:, 2])) * self.rate / side
        self._numbers.append((total / speed.size, where, camera, light))

    def _look(self, side: float, after_it: int, newest: int) -> None:
        interval = newest - after_it
        if interval >= self._scene_start():
            self._found += kinks.breaks(
                self._points, list(self._fields), interval, self.rate, side, after_it=after_it,
                from_start=interval - self._scene_start(),
            )  # fmt: skip

    def _scene_start(self) -> int:
        return self.cuts[-1] if self.cuts else 0

    def _end_scene(self) -> None:
        """No more frames of this scene: the last intervals, with what there is after them."""
        if self._before is None:
            return
        side = float(np.sqrt(self._before.size))
        for after_it in range(kinks.CENTRE - 1, 0, -1):
            self._points.shift()
            self._look(side, after_it, self._count - 2)
        self._points = Points()
        self._fields.clear()

    def finish(self) -> Seen:
        self._end_scene()
        numbers = np.array(self._numbers, float).reshape(-1, 4)
        seen = Seen(
            self._count, self.rate, [], [c / self.rate for c in self.cuts],
            numbers[:, 0], numbers[:, 1], numbers[:, 2], numbers[:, 3],
        )  # fmt: skip
        seen.cells = np.array(self._cells)
        if self._before is not None:
            h, w = self._before.shape
            side = float(np.sqrt(self._before.size))
            rows = kinks.chosen(self._found, self.rate, side)
            seen.events = _events(rows, w, h) + _flashes(seen)
            seen.events.sort(key=lambda e: e.time_s)
        return seen


def _events(rows: list[tuple[kinks.Break, str]], w: int, h: int) -> list[Event]:
    if not rows:
        return []
    force = np.array([np.hypot(*b.jump) * b.votes**0.5 for b, _ in rows])
    strength = np.clip(force / 25.0, 0.05, 1.0)  # a ball of a quarter of the frame, fast: about 1
    return [
        Event(max(b.time_s, 0.0), kind, float(s), min(max(b.at[0] / w, 0.0), 1.0),
              min(max(b.at[1] / h, 0.0), 1.0), max(abs(b.braking), 0.0))
        for (b, kind), s in zip(rows, strength, strict=True)
    ]  # fmt: skip


def _flashes(seen: Seen) -> list[Event]:
    """Sudden light that soon goes again: a shot, lightning."""
    light, out = seen.light, []
    span = max(2, round(0.3 * seen.rate))
    cut = {round(c * seen.rate) for c in seen.cuts}
    for k in range(1, len(light) - 1):
        if any(abs(k - c) <= 1 for c in cut):
            continue
        base = float(np.median(light[max(0, k - span) : k]))
        later = float(light[k + 1 : k + 1 + span].min())
        rise = light[k] - base
        if rise > 10 and light[k] - light[k - 1] > 0.6 * rise and later < base + 0.5 * rise:
            out.append(
                Event(k / seen.rate, "flash", float(np.clip(rise / 60, 0.3, 1)), 0.5, 0.5, 0)
            )
    return out


def strokes(seen: Seen, *, rising: bool) -> list[Event]:
    """Weak evidence, for where words say that something strikes but no path could be followed: the
    change within a small part of the picture ends at once (or begins at once: a shot)."""
    if seen.frame_count < 4:
        return []
    cells = seen.cells.astype(np.float64)
    step = np.diff(cells, axis=0) * (1 if rising else -1)
    for cut in seen.cuts:
        k = round(cut * seen.rate)
        step[max(0, k - 2) : k + 2] = 0
    usual = np.maximum(cells.std(axis=0), 1.0)
    step[step < _STROKE] = 0
    best = (step / usual).max(axis=1)
    where = (step / usual).argmax(axis=1)
    gap = max(1, round(_STROKE_GAP_S * seen.rate))
    out: list[Event] = []
    floor = max(1.0, 0.4 * float(np.percentile(best, 98)))
    for k in range(len(best)):
        if best[k] > floor and best[k] == best[max(0, k - gap) : k + gap + 1].max():
            x, y = where[k] % _CELLS[0], where[k] // _CELLS[0]
            time_s = (
                k + 0.5
            ) / seen.rate  # within the interval where the change broke off or began
            out.append(Event(time_s, "stroke", float(np.clip(best[k] / 8, 0.2, 0.8)),
                             (x + 0.5) / _CELLS[0], (y + 0.5) / _CELLS[1], 0.0))  # fmt: skip
    return out


def _is_cut(before: Array, after: Array) -> bool:
    """Another picture altogether: neither the grey levels nor the edges agree."""
    import cv2

    a = cv2.resize(before, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    b = cv2.resize(after, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    if np.abs(a - b).mean() < 12:
        return False
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return norm > 1e-6 and float((a * b).sum()) / norm < 0.5
