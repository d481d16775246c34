"""A track that a model sampled: the world's renderer and synthesiser take it as any other.

Legend: ``t`` times; a path is ``(t, 6)``: x, y, z in units, yaw, roll in radians, scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.tracks import Impact, State, Track

Array = NDArray[np.float64]

CHANNELS = ("x", "y", "z", "yaw", "roll", "scale")
NEAR = 0.24  # units: a minimum of the height below this is a contact with the floor
LEAP = 0.14  # units: an arc lower than this is no bounce
SLOWEST = 0.7  # units/s: a contact slower than this is not heard
# of the arc's height: a worse parabola leaves the path as it was sampled; less where one end is
# open, since a body may wait before it falls
_MISFIT, _MISFIT_OPEN = 0.35, 0.12


@dataclass(frozen=True)
class Sampled(Track):
    """A motion given by its path at a steady rate, read between the points by straight lines.

    >>> still = np.tile([0.0, 0.0, 0.1, 0.0, 0.0, 1.0], (5, 1))
    >>> track = Sampled(x=0.0, z=0.1, radius=0.2, path=still, rate=4.0)
    >>> track.at(np.array([0.5])).z.tolist(), track.impacts()
    ([0.1], ())
    """

    path: Array = field(default_factory=lambda: np.zeros((2, 6)), repr=False)
    rate: float = 64.0  # points a second
    contacts: tuple[tuple[float, float], ...] = ()  # (time_s, speed in units/s)

    def at(self, t: Array) -> State:
        grid = np.arange(len(self.path)) / self.rate
        x, y, z, yaw, roll, scale = (np.interp(t, grid, column) for column in self.path.T)
        squash = np.zeros_like(t)
        if self.soft and self.contacts:
            times, speeds = np.array(self.contacts).T
            nearest = np.abs(np.asarray(t)[:, None] - times[None]).argmin(axis=1)
            since = t - times[nearest]
            squash = np.minimum(self.soft * speeds[nearest], 0.28) * np.exp(-((since / 0.035) ** 2))
        return State(x, y, z, yaw, roll, scale, squash)

    def impacts(self) -> tuple[Impact, ...]:
        if not self.contacts:
            return ()
        xs = self.at(np.array([time for time, _ in self.contacts])).x
        return tuple(
            Impact(time, speed, float(x))
            for (time, speed), x in zip(self.contacts, xs, strict=True)
        )

    def floor_speed(self, t: Array) -> Array:
        now, later = self.at(t), self.at(t + 1e-2)
        speed = np.hypot(later.x - now.x, later.z - now.z) / 1e-2
        return np.where((now.y < 0.02) & (speed > 0.05), speed, 0.0)


def grounded(path: Array, rate: float) -> tuple[Array, tuple[tuple[float, float], ...]]:
    """A sampled path that keeps to the physics of the floor, and its contacts.

    A sampled path is smooth, so a ball would turn above the floor as if on a cushion. Between two
    minima of the height that lie near the floor the path becomes the parabola that fits it best;
    nothing goes below the floor. Where no parabola fits, the path stays as it was.

    Args:
        path: ``(t, 6)`` at ``rate`` points a second.
    Returns:
        the path, and ``(time_s, speed)`` of every contact, in order.
    """
    out = path.copy()
    y = np.maximum(path[:, 1], 0.0)
    low = [i for i in range(1, len(y) - 1) if y[i] <= y[i - 1] and y[i] < y[i + 1] and y[i] < NEAR]
    low = _apart(low, y, int(0.12 * rate))
    contacts: dict[int, float] = {}
    edges = [0, *low, len(y) - 1]
    for first, last in pairwise(edges):
        if last - first < 0.1 * rate:
            continue
        arc = _arc(y[first : last + 1], open_left=first not in low, open_right=last not in low)
        if arc is None:
            continue
        heights, speed_left, speed_right = arc
        y[first : last + 1] = heights
        if first in low:
            contacts[first] = max(contacts.get(first, 0.0), speed_left * rate)
        if last in low:
            contacts[last] = max(contacts.get(last, 0.0), speed_right * rate)
    out[:, 1] = np.maximum(y, 0.0)
    return out, tuple((i / rate, v) for i, v in sorted(contacts.items()) if v >= SLOWEST)


def _apart(low: list[int], y: Array, least: int) -> list[int]:
    """Minima at least so many points apart; of close ones the lowest stays."""
    kept: list[int] = []
    for i in low:
        if kept and i - kept[-1] < least:
            if y[i] < y[kept[-1]]:
                kept[-1] = i
        else:
            kept.append(i)
    return kept


def _arc(y: Array, *, open_left: bool, open_right: bool) -> tuple[Array, float, float] | None:
    """The best parabola with its closed ends on the floor: heights, speeds at the ends."""
    if y.max() - min(y[0], y[-1]) < LEAP or (open_left and open_right):
        return None
    s = np.arange(len(y), dtype=np.float64)
    end = s[-1]
    if not open_left and not open_right:
        basis = [s * (end - s)]
    elif open_left:  # falls onto the floor at the end
        basis = [end - s, (end - s) * s]
    else:
        basis = [s, s * (end - s)]
    matrix: Any = np.stack(basis, axis=1)
    heights = matrix @ np.linalg.lstsq(matrix, y, rcond=None)[0]
    misfit = _MISFIT_OPEN if open_left or open_right else _MISFIT
    if np.abs(heights - y).max() > misfit * np.ptp(y):
        return None
    heights = np.maximum(heights, 0.0)
    return heights, float(abs(heights[1] - heights[0])), float(abs(heights[-2] - heights[-1]))
