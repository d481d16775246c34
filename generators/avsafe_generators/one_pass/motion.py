"""Which motion a path shows, by rules: for captions, and to measure the model.

Legend: values are those of ``traits.MOTIONS``, one at most on each axis. The rules are checked on
the paths of true maps before they judge generated ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.one_pass.paths import RATE, Path

Array = NDArray[np.float64]

_MOVED = 0.3  # units: less than this is no motion across or in height
_DEEP = 0.45  # units of depth
_GROWN = 0.4  # octaves of the radius
_LOW = 0.08  # units: on the floor


def motions(path: Path) -> dict[str, str]:
    """Axis -> motion; nothing on an axis along which it rests."""
    out: dict[str, str] = {}
    far_x, far_z = _farthest(path.x), _farthest(path.z)
    if _circles(path):
        out["across"] = "orbit"
    elif abs(far_x) > _MOVED:
        out["across"] = "right" if far_x > 0 else "left"
    if "across" not in out and abs(far_z) > _DEEP:
        out["depth"] = "recede" if far_z > 0 else "approach"
    growth = _farthest(np.log2(path.radius))
    if abs(growth) > _GROWN:
        out["scale"] = "grow" if growth > 0 else "shrink"
    if height := _height(path):
        out["height"] = height
    return out


def _farthest(values: Array) -> float:
    """The largest signed distance from where it began."""
    start = float(np.median(values[:3]))
    away = values - start
    return float(away[np.abs(away).argmax()])


def _circles(path: Path) -> bool:
    """To and fro across and in depth, a quarter of a turn apart."""
    x, z = path.x - path.x.mean(), path.z - path.z.mean()
    if x.std() < 0.15 or z.std() < 0.1:
        return False
    turn = np.gradient(x) * z - np.gradient(z) * x  # keeps its sign on a circle
    return bool(abs(np.sign(turn).mean()) > 0.7 and np.ptp(x) > 0.4 and np.ptp(z) > 0.3)


def _height(path: Path) -> str | None:
    y = path.y
    low = float((y < _LOW).mean())
    if path.contacts:
        if y[:2].min() < 0.15 and low > 0.1:
            return "jump"
        last = y[-int(1.6 * RATE) :]
        return "fall" if last.max() < 0.3 * y.max() else "bounce"
    moved = _farthest(y)
    turns = np.diff(np.sign(np.diff(y[4:-4])))
    if abs(moved) > _MOVED:
        return "up" if moved > 0 else "down"
    if np.ptp(y) > 0.06 and np.count_nonzero(turns) >= 1 and y.min() > 0.15:
        return "float"
    return None
