"""Where motion breaks: a point's path is two smooth branches that meet between two frames.

Legend: displacements ``d`` are (p, k, 2) pixels per frame; interval ``k`` lies between frames k and
k+1. Before and after the break d is a line in k with one slope for both (gravity stays the same at
a contact): least squares over three intervals on each side. Where the branches are extended to the
interval of the break, its own displacement is the mean of the two weighted by the time before and
after: that is the time of the contact within the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.foley.flow import HISTORY, Points

Array = NDArray[Any]

CENTRE = HISTORY // 2
# intervals before and after the break; the short ones serve the ends of a clip and fast rhythms
_WINDOWS = ((3, 3), (2, 2), (3, 1), (1, 3))
LEAST_JUMP = 0.5  # sides per second: change of velocity
_ROUGH = 0.28  # most noise of the branches, in shares of the jump
_VOTES = 6  # points that must agree
_SHARE = 0.35  # of the moving points around them
_REACH, _ALIKE = 0.16, 0.35  # sides, share of the jump: how near and how similar votes are
_SHADOW_S = 0.25
_ON = 0.4  # of the motion, beside the points: the thing goes on without them
_TORN = 1  # displacements of a window that may fail the test there and back
_SCORE = 28.0  # least sum of the jumps of all votes


@dataclass
class Break:
    """One abrupt change of motion, in sides (square root of the area) and seconds."""

    time_s: float
    at: tuple[float, float]  # pixels of the small frame
    jump: Array  # (2,) sides/s
    before: Array
    after: Array
    votes: int
    score: float
    rough: float
    names: Array = field(repr=False)

    @property
    def braking(self) -> float:
        """The part of the motion before that the break took away, sides/s; negative: it pushed."""
        return float(-(self.jump @ self.before) / max(float(np.hypot(*self.jump)), 1e-9))


@cache
def _solver(before: int, after: int) -> tuple[Array, Array]:
    k = np.r_[-before:0, 1 : after + 1].astype(float)
    design = np.stack([(k < 0) * 1.0, (k > 0) * 1.0, k], axis=1)
    return design, np.linalg.pinv(design)


def breaks(
    points: Points,
    fields: list[Array],
    interval: int,
    rate: float,
    side: float,
    *,
    after_it: int = CENTRE,
    from_start: int = CENTRE,
) -> list[Break]:
    """The breaks in the interval that now lies in the middle of the history; the clip has
    ``after_it`` intervals after it and
    ``from_start`` before it, as far as is known."""
    found: list[Break] = []
    taken: set[int] = set()
    served = np.zeros(len(points.at), bool)
    for before, after in _WINDOWS:
        if (after == 1 and after_it != 1) or (before == 1 and from_start != 1):
            continue  # a lone interval says little: only where the clip has no more
        window = np.r_[CENTRE - before : CENTRE, CENTRE + 1 : CENTRE + 1 + after]
        whole = slice(CENTRE - before, CENTRE + 1 + after)
        ok = ~np.isnan(points.moved[:, whole]).any(axis=(1, 2))
        ok &= (points.torn[:, whole].sum(axis=1) <= _TORN) & ~served
        served |= ok
        if ok.sum() < _VOTES:
            continue
        d = points.moved[ok]
        design, solve = _solver(before, after)
        branches = np.einsum("ij,pjc->pic", solve, d[:, window])
        off = d[:, window] - np.einsum("ji,pic->pjc", design, branches)
        free = 2 * max(before + after - 3, 1)
        noise = np.sqrt((off**2).sum(axis=(1, 2)) / free)
        old, new = branches[:, 0], branches[:, 1]
        jump = new - old
        size = np.maximum(np.hypot(*jump.T), 1e-9)
        share = ((d[:, CENTRE] - new) * (old - new)).sum(axis=1) / size**2
        unit = rate / side
        good = (share > -0.15) & (share < 1.15) & (noise < _ROUGH * size)
        good &= size * unit > LEAST_JUMP
        moving = np.maximum(np.hypot(*old.T), np.hypot(*new.T)) * unit > 0.15
        places = points.places[ok][:, CENTRE]
        names = points.name[ok]
        if before != after:  # a window with one side of one interval proves less: the rest must fit
            good &= noise < 0.5 * _ROUGH * size
        for members in _agreeing(places, jump, size, np.nonzero(good)[0], moving, side):
            if len(taken.intersection(names[members].tolist())) > 0.3 * len(members):
                continue
            if _goes_on(fields, after_it, places[members], d[members, CENTRE], old, new, members):
                continue
            taken.update(names[members].tolist())
            middle = np.median(places[members], axis=0)
            mean, was, became = (
                np.median(rows[members], axis=0) * unit for rows in (jump, old, new)
            )
            found.append(
                Break(
                    float((interval + np.median(share[members])) / rate),
                    (float(middle[0]), float(middle[1])),
                    mean,
                    was,
                    became,
                    len(members),
                    float(len(members) * np.hypot(*mean)),
                    float(np.median(noise[members] / size[members])),
                    names[members],
                )
            )
    return found


def _goes_on(
    fields: list[Array], after_it: int, places: Array, step: Array, old: Array, new: Array,
    members: Array,
) -> bool:  # fmt: skip
    """Whether the thing goes on as before, or came already as after, beside these points: then it
    lost them or picked them up, and nothing broke."""
    was, became = np.median(old[members], axis=0), np.median(new[members], axis=0)
    if len(fields) > after_it >= 1 and np.hypot(*was) > 1.0:
        ahead = _fastest(fields[len(fields) - after_it], places + was, was)
        if ahead > _ON:
            return True
    if len(fields) > after_it + 1 and np.hypot(*became) > 1.0:
        behind = _fastest(fields[-after_it - 2], places + step - 2 * became, became)
        if behind > _ON:
            return True
    return False


def _fastest(field: Array, at: Array, like: Array) -> float:
    """How much of the motion ``like`` the field has around these places: the upper quartile."""
    h, w = field.shape[:2]
    inside = (at[:, 0] >= 0) & (at[:, 1] >= 0) & (at[:, 0] < w) & (at[:, 1] < h)
    if inside.sum() < 3:
        return 0.0
    x, y = at[inside].astype(int).T
    return float(np.percentile(field[y, x] @ like, 60) / (like @ like))


def _agreeing(
    places: Array, jump: Array, size: Array, left: Array, moving: Array, side: float
) -> list[Array]:
    """Groups of votes near one another with similar jumps, the heaviest first."""
    groups = []
    for _ in range(5):
        if len(left) < _VOTES:
            break
        seeds = left[np.linspace(0, len(left) - 1, min(48, len(left))).astype(int)]
        apart = np.linalg.norm(places[left][None] - places[seeds][:, None], axis=2)
        unlike = np.linalg.norm(jump[left][None] - jump[seeds][:, None], axis=2)
        near = (apart < _REACH * side) & (unlike < _ALIKE * size[seeds][:, None])
        best = near[int(np.argmax((near * size[left]).sum(axis=1)))]
        members, left = left[best], left[~best]
        if len(members) < _VOTES:
            continue
        middle = np.median(places[members], axis=0)
        reach = np.median(np.linalg.norm(places[members] - middle, axis=1))
        around = np.linalg.norm(places - middle, axis=1) < max(1.2 * reach, 0.05 * side)
        inside = np.nonzero(around & moving)[0]
        if len(inside) and np.isin(inside, members).mean() > _SHARE:
            groups.append(members)
    return groups


def chosen(found: list[Break], rate: float, side: float) -> list[tuple[Break, str]]:
    """What is left when one contact is told once: (break, "hit" | "start" | "shake").

    A break that shares points with a stronger one nearby in time is its echo: the windows overlap.
    """
    kept: list[Break] = []
    near_s = max(0.1, 3.6 / rate)
    for one in sorted(found, key=lambda b: -b.score):
        if one.score < _SCORE:
            continue
        for other in kept:
            dt = abs(one.time_s - other.time_s)
            weak = one.score < 0.3 * other.score
            apart = float(np.hypot(one.at[0] - other.at[0], one.at[1] - other.at[1])) / side
            if weak and dt < _SHADOW_S and apart < 0.35:
                break  # the ragged edge of a stronger one
            if dt > near_s:
                continue
            shared = np.isin(one.names, other.names).mean() if len(one.names) else 0.0
            if shared > 0.25 or apart < (0.25 if dt < 0.06 else 0.12):
                break
        else:
            kept.append(one)
    named = []
    for one in sorted(kept, key=lambda b: b.time_s):
        kind = "hit"
        if one.braking < 0.3 * float(np.hypot(*one.after)):
            kind = "start"
        if _shaken(one, found, side):
            kind = "shake"
        named.append((one, kind))
    return named


def _shaken(one: Break, found: list[Break], side: float) -> bool:
    """Beside two opposite breaks of about its size within a third of a second: it vibrates."""
    size = float(np.hypot(*one.jump))
    sides = []
    for other in found:
        dt = other.time_s - one.time_s
        if other is one or abs(dt) > 0.34 or abs(dt) < 0.02:
            continue
        theirs = float(np.hypot(*other.jump))
        opposite = float(other.jump @ one.jump) < -0.8 * size * theirs
        apart = np.hypot(one.at[0] - other.at[0], one.at[1] - other.at[1]) / side
        if (
            opposite
            and 0.55 < theirs / size < 1.8
            and apart < 0.15
            and other.votes > 0.4 * one.votes
        ):
            sides.append(dt)
    return bool(sides) and max(sides) - min(sides) > 0.08
