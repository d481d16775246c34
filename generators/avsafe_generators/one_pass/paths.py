"""Objects over time: what was seen in single frames -> smooth paths with their contacts.

Legend: ``t`` frames at RATE a second; lengths in units (half the frame), ``y`` of the lowest point
above the floor. A path is smoothed between contacts, never across one, because there the speed
jumps; a contact's time is where the parabolas of both sides reach the floor.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.one_pass import maps
from avsafe_generators.one_pass.maps import Seen

Array = NDArray[np.float64]

RATE = 16  # frames a second
_FAR = 3.5  # cost (cells, and traits in cells' worth) of a link that is no longer believed
_MERGE = 1.0  # cells
_COVER = 0.4  # share of the frames that an object must be seen in
_LANDS, _JUMPS = -0.8, 1.1  # units/s: slowest fall and least change of speed of a contact
_NEAR_FLOOR = 0.3  # units
_LEAP = 2.0  # cells: a fast contact lies up to 1.7 from the median of its neighbours
_WINDOW = 9  # frames of the smoothing


@dataclass(frozen=True)
class Path:
    """One object of the clip, as decoded."""

    x: Array  # (t,)
    y: Array
    z: Array
    radius: Array
    contacts: tuple[tuple[float, float], ...]  # (seconds, units/s)
    color: str
    shape: str
    cover: float  # share of the frames it was seen in
    jitter: float  # RMS of what the smoothing took away, units


@dataclass
class _Thread:
    """Sightings of one object while they are being linked."""

    frames: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    traits: Array = field(default_factory=lambda: np.zeros(7))

    def add(self, frame: int, one: Seen) -> None:
        fresh = _traits(one)
        self.traits = fresh if not self.seen else 0.8 * self.traits + 0.2 * fresh
        self.frames.append(frame)
        self.seen.append(one)

    def cost(self, one: Seen, frame: int) -> float:
        last, gap = self.seen[-1], frame - self.frames[-1]
        far = np.hypot(one.x - last.x, one.y - last.y)
        if len(self.seen) > 3:  # or as far from where it was going: two that cross go on
            before, span = self.seen[-4], self.frames[-1] - self.frames[-4]
            ahead = min(gap, 4) / span
            x = last.x + (last.x - before.x) * ahead
            y = last.y + (last.y - before.y) * ahead
            far = 0.5 * far + 0.5 * min(far, float(np.hypot(one.x - x, one.y - y)))
        return float(far / (1 + 0.3 * (gap - 1)) + 2.0 * np.abs(_traits(one) - self.traits).mean())


def _traits(one: Seen) -> Array:
    return np.array([*(2 * np.array(one.rgb) - 1), *one.shape])


def follow(sightings: Sequence[Sequence[Seen]], most: int) -> tuple[list[Path], int]:
    """Link, clean and smooth. Returns up to ``most`` paths, left to right, and how many threads
    were left out as too short or too many."""
    threads = _link(sightings)
    count = len(sightings)
    whole = sorted(
        (t for t in threads if len(t.frames) >= _COVER * count),
        key=lambda t: (-len(t.frames), t.frames[0]),
    )
    paths = [_path(thread, count) for thread in whole[:most]]
    return sorted(paths, key=lambda p: float(p.x[0])), len(threads) - len(paths)


def _link(sightings: Sequence[Sequence[Seen]]) -> list[_Thread]:
    from scipy.optimize import linear_sum_assignment

    threads: list[_Thread] = []
    for frame, seen in enumerate(sightings):
        if not seen or _merged(threads, seen):
            continue
        free = set(range(len(seen)))
        if threads:
            cost = np.array([[thread.cost(one, frame) for one in seen] for thread in threads])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] < _FAR:
                    threads[row].add(frame, seen[column])
                    free.discard(int(column))
        for column in sorted(free):
            threads.append(_Thread())
            threads[-1].add(frame, seen[column])
    return threads


def _merged(threads: list[_Thread], seen: Sequence[Seen]) -> bool:
    """One bump where two objects just were: it says nothing of either."""
    near = [
        t
        for t in threads
        if len(t.seen) > 4 and np.hypot(t.seen[-1].x - seen[0].x, t.seen[-1].y - seen[0].y) < _MERGE
    ]
    return len(seen) == 1 and len(near) > 1


def _path(thread: _Thread, count: int) -> Path:
    from scipy.ndimage import gaussian_filter1d

    at = np.arange(count)

    def line(values: list[float]) -> Array:
        return np.interp(at, thread.frames, values)

    z = gaussian_filter1d(
        _cleaned(line([one.depth for one in thread.seen]), 0.3), 3.0, mode="nearest"
    )
    size = np.exp(
        gaussian_filter1d(
            _cleaned(np.log(line([one.size for one in thread.seen])), 0.2), 4.0, mode="nearest"
        )
    )
    raw_x, raw_y, radius = maps.unproject(
        _cleaned(line([one.x for one in thread.seen]), _LEAP),
        _cleaned(line([one.y for one in thread.seen]), _LEAP), size, z,
    )  # fmt: skip
    x = _smooth(raw_x)
    y, contacts = fly(raw_y)
    # medians: where two cross, each takes on some of the other
    rgb = np.median([one.rgb for one in thread.seen], axis=0)
    code = np.median([one.shape for one in thread.seen], axis=0)
    jitter = float(np.sqrt(np.mean((raw_x - x) ** 2 + (raw_y - y) ** 2)))
    return Path(
        x, y, z, radius, contacts, maps.nearest_color(rgb), maps.nearest_shape(code),
        len(thread.frames) / count, jitter,
    )  # fmt: skip


def _cleaned(values: Array, most: float) -> Array:
    """Values further than ``most`` from the median of their five neighbours become that median."""
    from scipy.ndimage import median_filter

    middle = median_filter(values, 5, mode="nearest")
    return np.where(np.abs(values - middle) > most, middle, values)


def _smooth(values: Array) -> Array:
    """Local parabolas; a piece shorter than four frames stays as it is."""
    from scipy.signal import savgol_filter

    window = min(_WINDOW, len(values) - (len(values) + 1) % 2)
    if window < 4:
        return values
    return np.asarray(savgol_filter(values, window, 2, mode="interp"))


def fly(raw: Array) -> tuple[Array, tuple[tuple[float, float], ...]]:
    """Heights over the floor (t,), noisy -> smooth heights and contacts (seconds, units/s).

    >>> t = np.arange(32) / RATE
    >>> fly(np.abs(1 - 4.5 * t * t) * (t < 0.7))[1][0][0] > 0.4
    True
    """
    hits = _turns(raw)
    cuts = [0, *hits, len(raw)]
    meetings = [
        _meeting(raw[first:hit], raw[hit:last], hit)
        for first, hit, last in zip(cuts, hits, cuts[2:], strict=False)
    ]
    # a floor that was read a little too high or low
    base = float(np.median([height for _, height, _ in meetings])) if hits else 0.0
    y = raw - float(np.clip(base, -_NEAR_FLOOR, _NEAR_FLOOR))
    out = y.copy()
    for first, last in itertools.pairwise(cuts):
        out[first:last] = _piece(y[first:last])
    contacts = tuple((when / RATE, speed) for when, _, speed in meetings if speed > -_LANDS)
    return np.maximum(out, 0.0), contacts


def _piece(y: Array) -> Array:
    """One parabola where one fits, as in free flight; local ones elsewhere."""
    if len(y) < 5:
        return y
    at = np.arange(len(y))
    whole: Array = np.asarray(np.polyval(np.polyfit(at, y, 2), at), np.float64)
    return whole if float(np.sqrt(np.mean((whole - y) ** 2))) < 0.04 else _smooth(y)


def _turns(y: Array) -> list[int]:
    """First frames after a contact: a fall that ends abruptly near the floor."""
    floor = float(np.percentile(y, 5))
    found: list[tuple[float, int]] = []
    for k in range(2, len(y) - 1):
        fall = float(np.min(np.diff(y[max(0, k - 2) : k + 1]))) * RATE
        rise = float(np.max(np.diff(y[k : k + 3]))) * RATE
        low = y[k] <= y[max(0, k - 2) : k + 3].min() + 0.04 and y[k] < floor + _NEAR_FLOOR
        if low and fall < _LANDS and rise - fall > _JUMPS:
            found.append((float(y[k] - y[k - 1]), k))  # of neighbours, the one that fell
    hits: list[int] = []
    for _, k in sorted(found):
        if all(abs(k - other) > 2 for other in hits):
            hits.append(k)
    return sorted({_cut(y, k) for k in hits})


def _cut(y: Array, k: int) -> int:
    """The lowest frame lies before or after the contact: whichever both flights fit better."""

    def misfit(cut: int) -> float:
        return _flight(y[max(0, cut - 5) : cut][::-1])[1] + _flight(y[cut : cut + 5])[1]

    return min((k, k + 1), key=misfit) if k + 4 < len(y) else k


def _flight(y: Array) -> tuple[Array, float]:
    """Through the frames from a contact on: a parabola, or, where none fits five of them, a line
    through three. Coefficients, and the squared misfit."""
    at = np.arange(len(y))
    if len(y) > 3:
        fit = np.polyfit(at, y, 2)
        miss = float(((np.polyval(fit, at) - y) ** 2).sum())
        if miss < 0.004:
            return fit, miss
    at, y = at[:3], y[:3]
    fit = np.polyfit(at, y, min(1, len(y) - 1))
    return fit, float(((np.polyval(fit, at) - y) ** 2).sum())


def _meeting(before: Array, after: Array, hit: int) -> tuple[float, float, float]:
    """Where the flights before and after meet: frame number with fraction, height, speed of the
    fall. ``after`` begins at frame ``hit``."""
    if min(len(before), len(after)) < 2:
        edge = (before if len(before) > 1 else after)[-1 if len(before) > 1 else 0]
        return float(hit), float(edge), 0.0
    grid = np.linspace(-1.3, 0.3, 161)  # frames from ``hit``
    fall, rise = _flight(before[:-6:-1])[0], _flight(after[:5])[0]
    ago = -1 - grid  # frames before the last one of the fall
    down, up = np.polyval(fall, ago), np.polyval(rise, grid)
    best = int((np.abs(down - up) + 0.05 * np.abs(grid + 0.5)).argmin())
    speed = float(np.polyval(np.polyder(fall), ago[best])) * RATE
    return max(hit + float(grid[best]), 0.0), float(down[best] + up[best]) / 2, speed
