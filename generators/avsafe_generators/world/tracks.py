"""Where an object is at any time: closed-form motion, so that a contact time is exact.

Legend: ``t`` seconds; lengths in units (half the shorter side of the frame, at depth 0); ``x`` to
the right, ``y`` up from the floor to the object's lowest point, ``z`` away from the viewer; angles
in radians. All functions take an array of times and return arrays of the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRAVITY = 9.0  # units/s²; with 1 unit as 1.1 m a fall looks natural
REST_SPEED = 0.3  # units/s; a rebound slower than this is not seen any more
STOP_S = 0.6  # pause at the end of a leg before the way back


@dataclass(frozen=True)
class Impact:
    """One contact, with the floor or with another object."""

    time_s: float
    speed: float  # units/s at contact
    x: float
    other: int = -1  # number of the other object; -1 is the floor
    leads: bool = True  # False for the second of the two that touch, so that each is listed once


@dataclass(frozen=True)
class Meeting:
    """One contact with another object."""

    time_s: float
    speed: float  # closing, units/s
    other: int
    leads: bool


@dataclass(frozen=True)
class Line:
    """Across the frame: from ``starts[k]`` on, x = xs[k] + speeds[k] s + pulls[k] s²/2."""

    starts: Array
    xs: Array
    speeds: Array
    pulls: Array

    def at(self, t: Array) -> Array:
        k = np.clip(np.searchsorted(self.starts, t, side="right") - 1, 0, None)
        s = np.maximum(t - self.starts[k], 0.0)
        return self.xs[k] + self.speeds[k] * s + 0.5 * self.pulls[k] * s * s


@dataclass(frozen=True)
class Flight:
    """Piecewise parabolas: from ``starts[k]`` on, y = heights[k] + speeds[k] s - pulls[k] s²/2."""

    starts: Array
    heights: Array
    speeds: Array
    pulls: Array
    impacts: tuple[tuple[float, float], ...] = ()  # (time_s, speed)

    def at(self, t: Array) -> Array:
        k = np.clip(np.searchsorted(self.starts, t, side="right") - 1, 0, None)
        s = np.maximum(t - self.starts[k], 0.0)
        return np.maximum(self.heights[k] + self.speeds[k] * s - 0.5 * self.pulls[k] * s * s, 0.0)

    def since_impact(self, t: Array) -> tuple[Array, Array]:
        """Seconds to the nearest impact (signed, + is after) and its speed."""
        if not self.impacts:
            return np.full_like(t, np.inf), np.zeros_like(t)
        times = np.array([time for time, _ in self.impacts])
        speeds = np.array([speed for _, speed in self.impacts])
        k = np.abs(t[:, None] - times[None]).argmin(axis=1)
        return t - times[k], speeds[k]


def resting(height: float = 0.0) -> Flight:
    zero = np.zeros(1)
    return Flight(zero, np.array([height]), zero, zero)


def falling(
    height: float, restitution: float, *, start_s: float, end_s: float, pull: float = GRAVITY,
    driven: bool = False,
) -> Flight:  # fmt: skip
    """A drop from ``height`` at ``start_s`` (may be negative: already on the way at 0).

    Each contact keeps ``restitution`` of the speed. ``driven``: a contact that would rebound to
    less than a third of the height gives the whole height back, so the bouncing never ends.

    >>> falling(1.0, 0.5, start_s=0.0, end_s=1.0, pull=2.0).impacts[0]
    (1.0, 2.0)
    """
    rows = [(min(start_s, 0.0), height, 0.0, 0.0), (start_s, height, 0.0, pull)]
    impacts: list[tuple[float, float]] = []
    full = float(np.sqrt(2 * pull * height))
    time, speed = start_s + full / pull, full
    while time <= end_s:
        impacts.append((float(time), float(speed)))
        speed *= restitution
        if driven and speed * speed / (2 * pull) < height / 3:
            speed = full
        if speed < REST_SPEED:
            rows.append((time, 0.0, 0.0, 0.0))
            break
        rows.append((time, 0.0, speed, pull))
        time += 2 * speed / pull
    return _flight(rows, [i for i in impacts if i[0] >= 0.0])


def jumping(height: float, *, start_s: float, end_s: float, pull: float, pause_s: float) -> Flight:
    """Hops of one height with a pause on the floor; the landings are the impacts."""
    speed = float(np.sqrt(2 * pull * height))
    rows, impacts, time = [(0.0, 0.0, 0.0, 0.0)], [], start_s
    while time < end_s:
        rows.append((time, 0.0, speed, pull))
        time += 2 * speed / pull
        rows.append((time, 0.0, 0.0, 0.0))
        if time <= end_s:
            impacts.append((time, speed))
        time += pause_s
    return _flight(rows, impacts)


def _flight(
    rows: list[tuple[float, float, float, float]], impacts: list[tuple[float, float]]
) -> Flight:
    starts, heights, speeds, pulls = (np.array(column) for column in zip(*rows, strict=True))
    return Flight(starts, heights, speeds, pulls, tuple(impacts))


@dataclass(frozen=True)
class State:
    """Arrays over time."""

    x: Array
    y: Array
    z: Array
    yaw: Array
    roll: Array
    scale: Array
    squash: Array  # 0 none; 0.2 is 20 % flatter


@dataclass(frozen=True)
class Track:
    """The whole motion of one object. Components add up; each is still by default."""

    x: float
    z: float
    radius: float
    flight: Flight = field(default_factory=resting)
    reach: tuple[float, float] | None = None  # across: from, to
    travel_s: float = 4.0  # time of one leg across, in depth or upwards
    roll: bool = False  # turn as it moves across, without slipping
    spin: float = 0.0  # radians/s about the vertical
    orbit: tuple[float, float, float] | None = None  # half width, half depth, radians/s
    hover: tuple[float, float, float] | None = None  # height, amplitude, radians/s
    climb: tuple[float, float] | None = None  # height from, to
    swing: tuple[float, float, float] | None = None  # length, angle, radians/s
    depth: tuple[float, float] | None = None  # z from, to
    growth: tuple[float, float] = (1.0, 1.0)
    shake: float = 0.0  # units
    phase: float = 0.0
    yaw: float = 0.0
    soft: float = 0.0  # squash per unit/s of impact speed
    line: Line | None = None  # across, pushed and stopped by other objects
    meets: tuple[Meeting, ...] = ()

    def at(self, t: Array) -> State:
        """The state at each time of ``t`` (1-D)."""
        x, z = np.full_like(t, self.x), np.full_like(t, self.z)
        y, yaw, roll = self.flight.at(t), self.yaw + self.spin * t, np.zeros_like(t)
        if self.reach:
            x = self.reach[0] + (self.reach[1] - self.reach[0]) * leg(t, self.travel_s)
            if self.roll:
                roll = -(x - self.reach[0]) / self.radius
        if self.line:
            x = self.line.at(t)
            if self.roll:
                roll = -(x - self.line.xs[0]) / self.radius
        if self.orbit:
            angle = self.orbit[2] * t + self.phase
            x, z = self.x + self.orbit[0] * np.cos(angle), self.z + self.orbit[1] * np.sin(angle)
        if self.hover:
            y = self.hover[0] + self.hover[1] * np.sin(self.hover[2] * t + self.phase)
        if self.climb:
            y = self.climb[0] + (self.climb[1] - self.climb[0]) * leg(t, self.travel_s)
        if self.swing:
            angle = self.swing[1] * np.sin(self.swing[2] * t + self.phase)
            x = self.x + self.swing[0] * np.sin(angle)
            y = self.hover_base + self.swing[0] * (1 - np.cos(angle))
            roll = angle
        if self.depth:
            z = self.depth[0] + (self.depth[1] - self.depth[0]) * leg(t, self.travel_s)
        if self.shake:
            x = x + self.shake * np.sin(2 * np.pi * 9.0 * t + self.phase)
            roll = roll + self.shake * np.sin(2 * np.pi * 7.0 * t)
        scale = self.growth[0] + (self.growth[1] - self.growth[0]) * leg(t, self.travel_s)
        return State(x, y, z, yaw, roll, scale, self._squash(t))

    @property
    def hover_base(self) -> float:
        """Lowest height of a swinging object."""
        return self.hover[0] if self.hover else 0.12

    def _squash(self, t: Array) -> Array:
        if self.soft == 0.0:
            return np.zeros_like(t)
        since, speed = self.flight.since_impact(t)
        return np.minimum(self.soft * speed, 0.28) * np.exp(-((since / 0.035) ** 2))

    def impacts(self) -> tuple[Impact, ...]:
        """Contacts with the floor and with other objects, in order."""
        if not self.meets:
            return self._landings()
        xs = self.at(np.array([meeting.time_s for meeting in self.meets])).x
        met = [
            Impact(m.time_s, m.speed, float(x), m.other, m.leads)
            for m, x in zip(self.meets, xs, strict=True)
        ]
        return tuple(sorted([*self._landings(), *met], key=lambda impact: impact.time_s))

    def _landings(self) -> tuple[Impact, ...]:
        if self.hover or self.climb or self.swing:
            return ()
        if not self.flight.impacts:
            return ()
        xs = self.at(np.array([time for time, _ in self.flight.impacts])).x
        return tuple(
            Impact(time, speed, float(x))
            for (time, speed), x in zip(self.flight.impacts, xs, strict=True)
        )

    def floor_speed(self, t: Array) -> Array:
        """How fast it rolls or slides on the floor, units/s; 0 in the air."""
        if not (self.reach or self.orbit or self.line) or self.hover or self.climb or self.swing:
            return np.zeros_like(t)
        step = 1e-3
        now, later = self.at(t), self.at(t + step)
        speed = np.hypot(later.x - now.x, later.z - now.z) / step
        return np.where(now.y < 1e-6, speed, 0.0)

    def air_speed(self, t: Array) -> Array:
        """Speed of the centre and of the rim through the air, units/s."""
        step = 1e-3
        now, later = self.at(t), self.at(t + step)
        speed = np.hypot(np.hypot(later.x - now.x, later.z - now.z), later.y - now.y) / step
        return speed + abs(self.spin) * self.radius


def leg(t: Array, travel_s: float) -> Array:
    """0 -> 1 in ``travel_s`` with soft ends, a pause, back to 0, a pause, and again.

    >>> leg(np.array([0.0, 2.0, 4.0]), 4.0).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    period = 2 * (travel_s + STOP_S)
    phase = np.mod(t, period)
    back = phase >= travel_s + STOP_S
    s = np.clip(np.where(back, phase - travel_s - STOP_S, phase) / travel_s, 0.0, 1.0)
    # linear with rounded ends: the speed is steady for most of the way
    soft = 0.12
    ramp = np.where(
        s < soft,
        s * s / (2 * soft),
        np.where(s > 1 - soft, 1 - soft - (1 - s) ** 2 / (2 * soft), s - soft / 2),
    ) / (1 - soft)  # fmt: skip
    return np.where(back, 1 - ramp, ramp)
