"""What goes on: wind, water, rain, fire, engine, crowd... louder where the picture moves more.

Legend: blocks are (2, n) float64 at 48 kHz, asked for in order; ``drive`` is (n,) 0..1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.ambience import (
    Bed,
    Noise,
    chirping,
    coloured,
    gusts,
    steady,
    surf,
)
from avsafe_generators.world.sound import BLOCK, RATE_HZ

Array = NDArray[Any]

_GRAIN = 4096  # samples of the longest grain
# texture: how much of it follows the picture; 0 steady, 1 silent where nothing moves
FOLLOWS = {"wind": 0.6, "water": 0.6, "waves": 0.5, "rain": 0.2, "fire": 0.5, "engine": 0.7,
           "crowd": 0.5, "applause": 0.7, "birds": 0.0, "crickets": 0.0, "city": 0.2, "room": 0.0,
           "whoosh": 1.0}  # fmt: skip
# grains: how many a second, seconds, lowest and highest Hz, level
_GRAINS = {
    "rain": (260.0, 0.004, 2500, 9000, 0.5), "fire": (28.0, 0.006, 800, 6000, 2.6),
    "applause": (190.0, 0.012, 800, 3200, 1.6), "water": (40.0, 0.03, 350, 1600, 0.9),
    "birds": (3.0, 0.07, 2600, 4800, 1.5),
}  # fmt: skip


def _beds(name: str, phase: float) -> list[Bed]:
    table = {
        "wind": [Bed(120, 700, 1.0, gusts(3.7, 0.45, phase)),
                 Bed(500, 2600, 0.3, gusts(2.9, 0.6, phase + 1))],
        "water": [Bed(300, 2600, 0.9, gusts(1.3, 0.15, phase)),
                  Bed(2000, 8000, 0.4, gusts(0.9, 0.2, phase))],
        "waves": [Bed(150, 1300, 1.1, surf(5.0, phase)),
                  Bed(1000, 7500, 0.6, surf(5.0, phase - 0.05))],
        "rain": [Bed(900, 9000, 1.0, gusts(5.7, 0.12, phase)),
                 Bed(3500, 14000, 0.6, gusts(1.1, 0.1, phase), 1.0)],
        "fire": [Bed(50, 350, 1.0, gusts(1.7, 0.35, phase)),
                 Bed(400, 3000, 0.25, gusts(0.8, 0.4, phase))],
        "engine": [Bed(80, 900, 0.35, steady, 0.3)],
        "crowd": [Bed(180, 520, 0.9, gusts(0.9, 0.3, phase)),
                  Bed(500, 1300, 0.7, gusts(0.55, 0.4, phase + 2)),
                  Bed(1300, 3400, 0.35, gusts(0.4, 0.5, phase + 4))],
        "applause": [Bed(600, 5000, 0.5, gusts(2.3, 0.15, phase))],
        "birds": [Bed(120, 700, 0.25, gusts(3.7, 0.4, phase))],
        "crickets": [Bed(120, 600, 0.25, gusts(4.1, 0.3, phase))],
        "city": [Bed(45, 260, 1.1, gusts(5.3, 0.2, phase)),
                 Bed(300, 2200, 0.4, gusts(3.9, 0.3, phase))],
        "room": [Bed(50, 320, 1.0, steady, 0.3), Bed(300, 5000, 0.25, steady)],
        "whoosh": [Bed(300, 1500, 1.0, steady), Bed(1500, 5000, 0.4, steady)],
    }  # fmt: skip
    return table[name]


class Texture:
    """One of ``FOLLOWS``; every block is a function of the seed and of the blocks before it."""

    def __init__(self, name: str, seed: int, stream: int) -> None:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))
        self.name, self._seed = name, np.random.SeedSequence([seed, stream, 1])
        self._beds = _beds(name, float(rng.uniform(0, 2 * np.pi)))
        self._noise = [Noise(seed, 40 + 8 * stream + i) for i in range(len(self._beds))]
        self._spill = np.zeros((2, BLOCK + _GRAIN))
        self._turn = float(rng.uniform(0, 1))  # phase of the engine

    def block(self, start: int, drive: Array) -> Array:
        """(2, n) for the ``drive.size`` samples from ``start``."""
        count = drive.size
        t = (start + np.arange(count)) / RATE_HZ
        out = np.zeros((2, count))
        for bed, noise in zip(self._beds, self._noise, strict=True):
            white = noise.block(start, count)
            white[1] = bed.width * white[1] + (1 - bed.width) * white[0]
            out += 0.02 * bed.level * bed.swell(t) * coloured(bed, white)
        if self.name == "engine":
            out += self._engine(drive)
        if self.name == "crickets":
            out += 0.02 * chirping(t)
        if self.name in _GRAINS:
            out += self._grains(start, count)
        share = FOLLOWS[self.name]
        return np.asarray(out * (1 - share + share * drive))

    def _engine(self, drive: Array) -> Array:
        turns = self._turn + np.cumsum(22.0 + 45.0 * drive) / RATE_HZ
        self._turn = float(turns[-1])
        tone = sum(np.sin(2 * np.pi * k * turns + k * k) / k**0.8 for k in range(1, 14))
        return np.asarray(0.012 * tone * (1 + 0.25 * np.sin(np.pi * turns)))[None].repeat(2, 0)

    def _grains(self, start: int, count: int) -> Array:
        rate, length_s, low, high, level = _GRAINS[self.name]
        entropy = [*np.atleast_1d(np.asarray(self._seed.entropy)).tolist(), start]
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        t = np.arange(_GRAIN) / RATE_HZ
        for at in rng.integers(0, count, rng.poisson(rate * count / RATE_HZ)):
            hz, pan = float(rng.uniform(low, high)), float(rng.uniform(0.1, 0.9))
            size = min(_GRAIN, int(6 * length_s * RATE_HZ))
            body = (
                np.sin(2 * np.pi * hz * t[:size])
                if self.name in ("birds", "water")
                else (rng.standard_normal(size) * np.sin(2 * np.pi * hz * t[:size]))
            )
            if self.name in ("birds", "water"):
                shape = np.sin(np.pi * np.arange(size) / size) ** 2
            else:
                shape = np.exp(-t[:size] / length_s)
            grain = 0.02 * level * float(rng.uniform(0.3, 1)) * body * shape
            self._spill[0, at : at + size] += grain * np.cos(pan * np.pi / 2)
            self._spill[1, at : at + size] += grain * np.sin(pan * np.pi / 2)
        out = self._spill[:, :count].copy()
        self._spill = np.concatenate([self._spill[:, count:], np.zeros((2, count))], axis=1)
        return out
