"""The worst clips of a score, and what is unusual about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avsafe.bench.runfolder import Key, RunFolder

SHOWN = 6
_UNUSUAL = 3.0  # robust standard deviations
_SHAPE = (("duration_s", "duration", "s"), ("width", "width", "pixels"),
          ("height", "height", "pixels"), ("frame_rate", "frame rate", "fps"))  # fmt: skip


def worst_clips(found: RunFolder, most: int = SHOWN) -> dict[str, list[dict[str, Any]]]:
    """Headline score -> its worst clips; only scores of clips with a direction, and with spread."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for name, info in found.scores.items():
        values = found.values[name]
        if not info.headline or info.scope != "clip" or info.better == "none":
            continue
        if len(set(values.values())) < 2:
            continue
        sign = 1 if info.better == "higher" else -1
        order = sorted(values, key=lambda key: (sign * values[key], key))
        lines[name] = [
            {
                "system": key[0],
                "item": key[1],
                "sample": key[2],
                "value": values[key],
                "others": _others(found, name, key),
                "why": unusual(found, name, key),
            }
            for key in order[: min(most, len(order) // 2)]
        ]
    return lines


def _others(found: RunFolder, name: str, key: Key) -> float | None:
    """The mean of the other systems on the same item: is it the item or the system?"""
    other = [v for k, v in found.values[name].items() if k[1] == key[1] and k[0] != key[0]]
    return math.fsum(sorted(other)) / len(other) if other else None


def unusual(found: RunFolder, name: str, key: Key, most: int = 3) -> list[str]:
    """In words: where a clip lies far from the clips of its system, by other scores and by shape;
    and what could not be scored on it."""
    said: list[tuple[float, str]] = []
    own = found.scores[name].metric
    for other, info in found.scores.items():
        values = found.of(other, key[0])
        if info.metric == own or key not in values:
            continue
        z = robust_z(values[key], list(values.values()))
        if abs(z) >= _UNUSUAL:
            middle = float(np.median(list(values.values())))
            said.append((abs(z), f"{info.title} {values[key]:.3g} (median {middle:.3g})"))
    for column, title, unit in _SHAPE:
        shapes = _shapes(found, key[0], column)
        if key not in shapes:
            continue
        z = robust_z(shapes[key], list(shapes.values()))
        if abs(z) >= _UNUSUAL:
            middle = float(np.median(list(shapes.values())))
            said.append((abs(z), f"{title} {shapes[key]:g} {unit} (median {middle:g})"))
    words = [text for _, text in sorted(said, key=lambda pair: (-pair[0], pair[1]))[:most]]
    missing = sorted({
        reasons[key] for other, reasons in found.reasons.items()
        if key in reasons and found.scores[other].metric != own
    })  # fmt: skip
    return words + [f"not scored elsewhere: {why}" for why in missing[:1]]


def _shapes(found: RunFolder, system: str, column: str) -> Mapping[Key, float]:
    shapes = {}
    for key in found.expected(system):
        number = _as_number(found.clips[key].get(column))
        if number is not None:
            shapes[key] = number
    return shapes


def _as_number(value: Any) -> float | None:
    """A number, or a rate such as "30000/1001".

    >>> _as_number("25/1"), _as_number(None)
    (25.0, None)
    """
    if isinstance(value, str) and "/" in value:
        over, _, under = value.partition("/")
        try:
            return float(over) / float(under)
        except (ValueError, ZeroDivisionError):
            return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def robust_z(value: float, values: Sequence[float]) -> float:
    """Distance from the median in units of 1.4826 times the median absolute deviation; where more
    than half the values are equal, of the mean absolute deviation (Iglewicz and Hoaglin 1993).

    >>> round(robust_z(9.0, [1.0, 2.0, 3.0, 4.0, 9.0]), 2)
    4.05
    """
    data = np.asarray(values, np.float64)
    if len(data) < 5:
        return 0.0
    middle = float(np.median(data))
    away = np.abs(data - middle)
    scale = 1.4826 * float(np.median(away)) or 1.2533 * math.fsum(away) / len(away)
    return (value - middle) / scale if scale > 0 else 0.0
