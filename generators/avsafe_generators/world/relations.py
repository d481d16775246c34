"""What objects do to one another: strike, push, chase, circle, stand on or beside.

Legend: lengths in units, times in seconds, as in ``tracks``. Bodies that touch move along one line
across the frame; between contacts each has a steady acceleration, so contact times are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from avsafe_generators.world.tracks import Flight, Line, Meeting, Track, resting

if TYPE_CHECKING:
    from avsafe_generators.world.parse import Wish
    from avsafe_generators.world.scene import Body

# Density against water: handbook values, a hollow shell's for what is seldom solid.
DENSITY = {
    "rubber": 1.1, "plastic": 0.9, "metal": 5.0, "gold": 9.0, "silver": 7.0, "copper": 6.5,
    "wood": 0.7, "glass": 2.5, "stone": 2.6, "marble": 2.7, "ice": 0.92, "clay": 1.8, "light": 0.5,
}  # fmt: skip
_ROLLING, _SLIDING = 0.35, 0.95  # units/s² that rolling and sliding take off
_GAP, _EXIT, _BETWEEN = (
    0.62,
    0.34,
    0.05,
)  # free way before a contact, behind it, between struck ones
_SLOW = 0.04  # units/s: a contact slower than this ends the motion
_MAX_CONTACTS = 24
_LEVEL = 0.97  # cosine of the camera's pitch: how high the middle of a flat top is seen
_CHASE_LAG = 1.25  # radians between the one who chases and the other


@dataclass
class _Puck:
    """One body on the line, while its motion is worked out."""

    x: float
    v: float
    a: float
    mass: float
    drag: float
    driven: bool
    rows: list[tuple[float, float, float, float]]  # time, x, v, a

    def on(self, span: float) -> None:
        self.x += self.v * span + 0.5 * self.a * span * span
        self.v += self.a * span

    def free(self, time: float) -> None:
        """From here on only the floor slows it."""
        self.driven = False
        self.v = 0.0 if abs(self.v) < 1e-9 else self.v
        self.a = -self.drag * float(np.sign(self.v))
        self.rows.append((time, self.x, self.v, self.a))

    def stops_in(self) -> float:
        return abs(self.v / self.a) if self.a * self.v < 0 else np.inf


def _closes_in(one: _Puck, two: _Puck, reach: float) -> float:
    """Seconds until two neighbours touch; inf when they don't."""
    gap = max(two.x - one.x - reach, 0.0)
    dv, da = two.v - one.v, two.a - one.a
    if gap < 1e-9:
        return 0.0 if dv < -1e-9 else np.inf
    if abs(da) < 1e-12:
        return gap / -dv if dv < 0 else np.inf
    inside = dv * dv - 2 * da * gap
    if inside < 0:
        return np.inf
    root = float(np.sqrt(inside))
    # of gap + dv t + da t²/2 = 0 the least positive solution, in the form that cancels nothing
    times = [t for t in (2 * gap / (-dv + root) if -dv + root else -1.0,
                         2 * gap / (-dv - root) if -dv - root else -1.0) if t > 1e-9]  # fmt: skip
    return min(times, default=np.inf)


def collide(
    pucks: list[_Puck], reaches: Sequence[float], bounce: Sequence[float], start_s: float
) -> list[tuple[float, float, int, int]]:
    """Let bodies on a line strike one another until all rest; (time, speed, left, right) of each
    contact. Momentum is kept at each, and a share ``bounce`` of the closing speed."""
    time, met = start_s, list[tuple[float, float, int, int]]()
    for _ in range(12 * _MAX_CONTACTS):
        hits = [_closes_in(a, b, r) for a, b, r in zip(pucks, pucks[1:], reaches, strict=False)]
        stops = [p.stops_in() for p in pucks]
        span = min(*hits, *stops) if hits else min(stops)
        if not np.isfinite(span):
            break
        time += span
        for puck, stop in zip(pucks, stops, strict=True):
            puck.on(span)
            if stop <= span + 1e-9:
                puck.v = 0.0
                puck.free(time)
        if hits and min(hits) <= span + 1e-12:
            left = int(np.argmin(hits))
            one, two = pucks[left], pucks[left + 1]
            closing = one.v - two.v
            if closing < _SLOW or len(met) >= _MAX_CONTACTS:
                one.v = two.v = 0.0
            else:
                met.append((time, closing, left, left + 1))
                total = one.mass + two.mass
                middle = (one.mass * one.v + two.mass * two.v) / total
                one.v = middle - bounce[left] * closing * two.mass / total
                two.v = middle + bounce[left] * closing * one.mass / total
            one.free(time)
            two.free(time)
    return met


def _line(rows: list[tuple[float, float, float, float]], sign: float) -> Line:
    starts, xs, vs, accs = (np.array(column) for column in zip(*rows, strict=True))
    return Line(starts, sign * xs, sign * vs, sign * accs)


def _wide(body: Body) -> float:
    from avsafe_generators.world.solids import orientation, reach

    if body.shape == "ball":
        return 0.98 * body.radius
    return reach(body.shape, orientation(body.track.yaw, 0.0, 0.0))[1] * body.radius


def _touch(one: Body, two: Body) -> float:
    """Distance of the middles at which two bodies on one floor touch."""
    if one.shape == two.shape == "ball":  # unlike balls touch above the smaller one's middle
        return float(1.96 * np.sqrt(one.radius * two.radius))
    return _wide(one) + _wide(two)


def _tall(body: Body) -> float:
    """Height of the top above the lowest point."""
    from avsafe_generators.world.solids import orientation, reach

    below = reach(body.shape, orientation(0.0, 0.0, 0.0))[0]
    above = reach(body.shape, orientation(0.0, float(np.pi), 0.0))[0]
    return (below + above * _LEVEL) * body.radius


def arrange(
    wishes: Sequence[Wish], bodies: list[Body], half_width: float, duration_s: float
) -> list[Body]:
    """The bodies again, with the tracks that their relations ask for. ``wishes`` has one entry for
    each body, the same object for those of one wish."""
    from avsafe_generators.world.scene import SPEED

    places: dict[int, list[int]] = {}
    for index, wish in enumerate(wishes):
        places.setdefault(id(wish), []).append(index)
    out, done = list(bodies), set[int]()
    order = sorted(  # what stands on something comes after that something has moved
        {id(w): w for w in wishes if w.target is not None}.values(),
        key=lambda w: (w.relation == "stack", -places[id(w)][0]),
    )
    for wish in order:
        target = wish.target
        if target is None or id(target) not in places or wish.relation is None:
            continue
        mine, theirs = places[id(wish)], places[id(target)]
        if target is wish:
            mine, theirs = mine[:1], mine[1:]
        if not theirs:
            continue
        pace = SPEED.get(wish.speed or "", 1.0)
        sign = -1.0 if wish.motions.get("across") == "left" else 1.0
        one = mine[0]
        match wish.relation:
            case "hit":
                _strike(out, one, theirs, half_width, duration_s, pace, sign, both=target is wish)
            case "push":
                _push(out, one, theirs[0], half_width, duration_s, pace, sign)
            case "chase":
                _chase(out, one, theirs, half_width, pace)
            case "around":
                _around(out, one, theirs[0], half_width, pace)
            case "stack":
                below = theirs[0]
                if target is wish:  # a pile of equal ones: each on the one before
                    for upper, lower in zip(theirs, [one, *theirs], strict=False):
                        _on_top(out, upper, lower)
                        out[upper] = replace(out[upper], relation="stack", target=lower)
                    _centre(out, [one, *theirs], half_width)
                else:
                    _on_top(out, one, below)
            case _:
                _beside(out, one, theirs[0], half_width, wish.relation)
        if not (wish.relation == "stack" and target is wish):
            out[one] = replace(out[one], relation=wish.relation, target=theirs[0])
        done |= {*mine, *theirs}
    if done and any(w.relation in ("hit", "push", "chase", "around") for w in order):
        for index, body in enumerate(out):  # the others stay behind what moves
            if index not in done:
                z = body.track.z + 0.75
                out[index] = replace(body, track=replace(body.track, z=z))
    return out


def _plain(track: Track, **more: object) -> Track:
    """A track on the floor that keeps only looks and turning."""
    base = Track(x=track.x, z=track.z, radius=track.radius, spin=track.spin, shake=track.shake,
                 phase=track.phase, yaw=track.yaw, soft=track.soft)  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def _shrunk(out: list[Body], group: Sequence[int], half_width: float, ways: float) -> None:
    """Make a group smaller where its widths and the free ways don't fit into the frame."""
    need = sum(2 * _wide(out[i]) for i in group)
    share = min(1.0, (2 * half_width - ways) / max(need, 1e-6))
    share = max(share, 0.3)
    for i in group:
        body, radius = out[i], out[i].radius * share
        out[i] = replace(body, radius=radius, track=replace(body.track, radius=radius))


def _puck(body: Body, x: float, drag: float) -> _Puck:
    from avsafe_generators.world.scene import ROUND

    slows = _ROLLING if body.shape in ROUND else _SLIDING
    mass = DENSITY[body.material] * body.radius**3
    return _Puck(x, 0.0, 0.0, mass, slows * drag, False, [(0.0, x, 0.0, 0.0)])


def _strike(
    out: list[Body], one: int, struck: Sequence[int], half_width: float, duration_s: float,
    pace: float, sign: float, *, both: bool,
) -> None:  # fmt: skip
    from avsafe_generators.world.scene import RESTITUTION, ROUND

    group = [one, *struck]
    gap = _GAP if len(struck) == 1 else 0.7 * _GAP
    ways = gap + _EXIT + _BETWEEN * (len(struck) - 1)
    _shrunk(out, group, half_width, ways)
    bodies = [out[i] for i in group]
    head_on = both and len(struck) == 1  # "two balls collide": both come
    reaches = [_touch(a, b) for a, b in pairwise(bodies)]
    bounce = [
        0.9 * float(np.sqrt(RESTITUTION[a.material] * RESTITUTION[b.material]))
        for a, b in pairwise(bodies)
    ]
    hurry = min(1.0, duration_s / 2.5)
    low = -half_width + _wide(bodies[0])
    xs = [low, low + reaches[0] + gap]
    if head_on:
        xs[1] = half_width - _wide(bodies[1])
    for reach in reaches[1:]:
        xs.append(xs[-1] + reach + _BETWEEN)
    gap = (xs[1] - xs[0] - reaches[0]) / (2 if head_on else 1)
    speed = float(np.clip(pace * gap / 0.40 / hurry, 0.9, 3.0))
    delay, ramp = 0.30 * hurry, min(0.22 * hurry, 1.2 * gap / speed)
    for tries in range(14):
        pucks = [_puck(body, x, 1.35**tries) for body, x in zip(bodies, xs, strict=True)]
        for puck, way in ((pucks[0], 1.0), (pucks[1], -1.0 if head_on else 0.0)):
            if way:
                puck.rows.append((delay, puck.x, 0.0, way * speed / ramp))
                puck.x, puck.v, puck.driven = puck.x + way * 0.5 * speed * ramp, way * speed, True
                puck.rows.append((delay + ramp, puck.x, puck.v, 0.0))
        met = collide(pucks, reaches, bounce, delay + ramp)
        ends = [(p.x, _wide(b)) for p, b in zip(pucks, bodies, strict=True)]
        if all(abs(x) <= half_width - wide + 1e-6 for x, wide in ends):
            break
    for at, (index, puck) in enumerate(zip(group, pucks, strict=True)):
        meets = tuple(
            Meeting(time, closing, group[right if at == left else left], leads=at == left)
            for time, closing, left, right in met
            if at in (left, right)
        )
        body = out[index]
        rolls = body.shape in ROUND
        track = _plain(body.track, z=0.1, line=_line(puck.rows, sign), roll=rolls, meets=meets)
        moved = ("right" if sign > 0 else "left",) if index == one else ()
        out[index] = replace(body, track=track, motions=(*moved, *(("roll",) if rolls else ())))


def _push(
    out: list[Body], one: int, two: int, half_width: float, duration_s: float, pace: float,
    sign: float,
) -> None:  # fmt: skip
    from avsafe_generators.world.scene import ROUND

    _shrunk(out, (one, two), half_width, _GAP + _EXIT)
    mover, pushed = out[one], out[two]
    touch = _touch(mover, pushed)
    hurry = min(1.0, duration_s / 3.0)
    low = -half_width + _wide(mover)
    gap = _GAP * 0.7
    x_two = low + touch + gap
    far = half_width - _wide(pushed)
    speed = pace * 0.9 / hurry
    delay, ramp = 0.25 * hurry, min(0.2 * hurry, gap / speed)
    met = delay + ramp + (gap - 0.5 * speed * ramp) / speed
    slower = 0.75 * speed
    brake = min(0.25, 0.4 * (far - x_two))
    glide = max(far - x_two - brake, 0.0) / slower
    slow_s = 2 * brake / slower
    rows_one = [
        (0.0, low, 0.0, 0.0), (delay, low, 0.0, speed / ramp),
        (delay + ramp, low + 0.5 * speed * ramp, speed, 0.0),
    ]  # fmt: skip
    rows_two = [(0.0, x_two, 0.0, 0.0)]
    for rows, x in ((rows_one, x_two - touch), (rows_two, x_two)):
        rows += [
            (met, x, slower, 0.0),
            (met + glide, x + slower * glide, slower, -slower / max(slow_s, 1e-6)),
            (met + glide + slow_s, x + slower * glide + brake, 0.0, 0.0),
        ]
    for index, rows, other, leads in ((one, rows_one, two, True), (two, rows_two, one, False)):
        body = out[index]
        rolls = body.shape in ROUND
        meets = (Meeting(met, speed, other, leads=leads),)
        track = _plain(body.track, z=0.1, line=_line(rows, sign), roll=rolls, meets=meets)
        way = ("right" if sign > 0 else "left",) if leads else ()
        out[index] = replace(body, track=track, motions=(*way, *(("roll",) if rolls else ())))


def _chase(
    out: list[Body], one: int, others: Sequence[int], half_width: float, pace: float
) -> None:
    group = [*others, one]
    count = len(group)
    limit = 0.24 if count == 2 else 0.16
    for i in group:
        radius = min(out[i].radius, limit)
        out[i] = replace(out[i], radius=radius, track=replace(out[i].track, radius=radius))
    widest = max(_wide(out[i]) for i in group)
    half = min(0.75, half_width - widest)
    lag = min(_CHASE_LAG, 2 * np.pi / (count + 1))
    rate = 2 * np.pi / 4.2 * pace
    for place, index in enumerate(group):
        body = out[index]
        phase = out[one].track.phase + lag * (count - 1 - place)
        track = _plain(body.track, x=0.0, z=0.66, orbit=(half, 0.55, rate), phase=phase, spin=0.0)
        out[index] = replace(body, track=track, motions=())
    for place, index in enumerate(group[1:-1], 1):
        out[index] = replace(out[index], relation="chase", target=group[place - 1])


def _around(out: list[Body], one: int, two: int, half_width: float, pace: float) -> None:
    for i, limit in ((one, 0.17), (two, 0.24)):
        radius = min(out[i].radius, limit)
        out[i] = replace(out[i], radius=radius, track=replace(out[i].track, radius=radius))
    half = min(0.30 + _wide(out[one]) + _wide(out[two]), half_width - _wide(out[one]))
    deep = _wide(out[one]) + _wide(out[two]) + 0.14
    centre = replace(out[two].track, x=0.0, z=0.25 + deep, line=None, reach=None, orbit=None)
    out[two] = replace(out[two], track=centre)
    track = _plain(out[one].track, x=0.0, z=centre.z, orbit=(half, deep, 2 * np.pi / 3.6 * pace))
    out[one] = replace(out[one], track=track, motions=())


def _on_top(out: list[Body], upper: int, lower: int) -> None:
    """Let one body ride on another, whatever that one does."""
    ride, body = out[lower].track, out[upper]
    height = _tall(out[lower])
    room = 1.5 - height
    if height + 2 * body.radius > 1.5:
        radius = max(0.1, room / 2)
        body = replace(body, radius=min(body.radius, radius))
    own = body.track
    flight = Flight(ride.flight.starts, ride.flight.heights + height, ride.flight.speeds,
                    ride.flight.pulls)  # fmt: skip
    track = replace(
        ride, radius=body.radius, flight=flight, roll=False, spin=own.spin, yaw=own.yaw,
        shake=own.shake, soft=0.0, meets=(), growth=(1.0, 1.0), z=ride.z - 0.004,
        hover=None if ride.hover is None else (ride.hover[0] + height, *ride.hover[1:]),
        climb=None if ride.climb is None else (ride.climb[0] + height, ride.climb[1] + height),
    )  # fmt: skip
    own_motions = tuple(m for m in body.motions if m in ("spin", "shake"))
    out[upper] = replace(body, track=track, motions=own_motions)


def _centre(out: list[Body], group: Sequence[int], half_width: float) -> None:
    """Bring a pile to the middle, and make it lower than the frame."""
    tall = sum(_tall(out[i]) for i in group)
    share = min(1.0, 1.5 / tall)
    x = float(np.clip(out[group[0]].track.x, -0.1, 0.1)) if half_width > 0.1 else 0.0
    height = 0.0
    for i in group:
        radius = out[i].radius * share
        yaw = out[i].track.yaw * (1.0 if i == group[0] else 0.6)
        track = replace(out[i].track, radius=radius, x=x, yaw=yaw,
                        flight=resting(height))  # fmt: skip
        out[i] = replace(out[i], radius=radius, track=track)
        height += _tall(out[i])


def _beside(out: list[Body], one: int, two: int, half_width: float, how: str) -> None:
    a, b = out[one], out[two]
    if how in ("behind", "front"):
        near, far = (two, one) if how == "behind" else (one, two)
        x = float(np.clip(out[near].track.x, -half_width * 0.5, half_width * 0.5))
        shift = 0.62 * (_wide(a) + _wide(b)) / 2
        side = 1.0 if x <= 0 else -1.0
        out[near] = replace(out[near], track=replace(out[near].track, x=x, z=0.05))
        behind = x + side * shift
        out[far] = replace(out[far], track=replace(out[far].track, x=behind, z=0.75))
        return
    apart = _wide(a) + _wide(b) + 0.06
    sign = {"leftof": -1.0, "rightof": 1.0}.get(how) or (-1.0 if a.track.x <= b.track.x else 1.0)
    room = half_width - max(_wide(a), _wide(b))
    x = float(np.clip(b.track.x, -max(room - apart, 0.0), max(room - apart, 0.0)))
    if room < apart:
        x = -sign * apart / 2
    out[two] = replace(b, track=replace(b.track, x=x, z=b.track.z))
    out[one] = replace(a, track=replace(a.track, x=x + sign * apart, z=b.track.z))
