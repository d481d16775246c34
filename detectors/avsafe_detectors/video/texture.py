"""How residuals of neighbours go together, in space and in time: shares of codes.

A residual is rounded to five steps; three neighbours make one of 125 codes, of which those that are
mirror images or negatives of each other count as one: 39 remain (co-occurrences of residuals:
Fridrich and Kodovsky 2012, "Rich models for steganalysis"; here also along time). What is coded:
the second difference in space (along its own direction, across it, and in time), the second
difference in time, and the step in space of the change in time; at full, half size, and of colour.

Legend: ``t`` frames, ``h`` ``w`` pixels.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
    Codes = NDArray[np.int16]


def _classes() -> tuple[NDArray[np.int64], int]:
    """Number of the class of each of 125 codes, and how many classes there are."""
    of, numbers = np.zeros(125, np.int64), dict[tuple[int, ...], int]()
    for code in itertools.product(range(5), repeat=3):
        negative = tuple(4 - c for c in code)
        first = min(code, code[::-1], negative, negative[::-1])
        of[code[0] * 25 + code[1] * 5 + code[2]] = numbers.setdefault(first, len(numbers))
    return of, len(numbers)


_CLASS, CLASSES = _classes()


def texture(luma: F32, chroma: F32) -> dict[str, float]:
    """(t, h, w) luma and (t, h / 2, w / 2) of one chroma -> square roots of shares, by name.

    >>> flat = np.zeros((16, 8, 8), np.float32)
    >>> round(sum(v**2 for k, v in texture(flat, flat).items() if k.startswith("bend in")), 3)
    1.0
    """
    half = luma.reshape(len(luma), luma.shape[1] // 2, 2, luma.shape[2] // 2, 2).mean((2, 4))
    shares: dict[str, NDArray[np.float64]] = {}
    for name, x, step in (("fine", luma, 3.0), ("half", half, 4.0), ("red", chroma, 2.0)):
        across, down = _codes(_second(x, 2), step), _codes(_second(x, 1), step)
        shares[f"{name} along"] = (_shares(across, 2) + _shares(down, 1)) / 2
        shares[f"{name} across"] = (_shares(across, 1) + _shares(down, 2)) / 2
        shares[f"{name} in time"] = (_shares(across, 0) + _shares(down, 0)) / 2
    bend = _codes(_second(luma, 0), 2.0)
    shares["bend in time"] = _shares(bend, 0)
    shares["bend"] = (_shares(bend, 2) + _shares(bend, 1)) / 2
    change = _codes(np.diff(np.diff(luma, axis=0), axis=2), 2.0)
    shares["change"] = _shares(change, 2)
    shares["change in time"] = _shares(change, 0)
    return {
        f"{name} {k}": float(np.sqrt(v))
        for name, values in shares.items()
        for k, v in enumerate(values.tolist())
    }


def _second(x: F32, axis: int) -> F32:
    return np.asarray(np.diff(x, 2, axis=axis), np.float32)


def _codes(residual: F32, step: float) -> Codes:
    return np.asarray(np.clip(np.rint(residual / step), -2, 2) + 2, np.int16)


def _shares(codes: Codes, axis: int) -> NDArray[np.float64]:
    """(39,) share of each class among all triples along an axis."""
    n = codes.shape[axis]
    a, b, c = (codes.take(range(k, n - 2 + k), axis) for k in range(3))
    count = np.bincount((a * 25 + b * 5 + c).ravel(), minlength=125)
    return np.asarray(np.bincount(_CLASS, count, CLASSES) / max(1, count.sum()), np.float64)
