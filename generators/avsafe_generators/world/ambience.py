"""The sound of a place: wind, sea, rain, the tone of a room, birds, crickets, and music on request.

Legend: ``n`` samples at 48 kHz; blocks are (2, n) float64. Blocks must be asked for in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.scene import Scene

Array = NDArray[np.float64]

_RATE_HZ = 48_000
_TAIL = 96_000  # the longest single event, in samples
_UNIT = 0.02  # RMS of a bed at level 1; the balance with other sounds is set later


class Noise:
    """White noise that is the same for the same seed, stream and position."""

    def __init__(self, seed: int, stream: int) -> None:
        self.seed, self.stream = seed, stream

    def block(self, start: int, count: int) -> Array:
        """(2, count) with unit variance; depends on ``start`` alone, not on earlier calls."""
        sequence = np.random.SeedSequence([self.seed, self.stream, start])
        return np.random.Generator(np.random.PCG64(sequence)).standard_normal((2, count))


@dataclass
class Bed:
    """Filtered noise whose loudness follows ``swell``."""

    low_hz: float
    high_hz: float
    level: float
    swell: Callable[[Array], Array]
    width: float = 0.7  # 0 mono, 1 two independent sides
    state: Array | None = None


def steady(t: Array) -> Array:
    return np.ones_like(t)


def gusts(period_s: float, depth: float, phase: float) -> Callable[[Array], Array]:
    def swell(t: Array) -> Array:
        slow = np.sin(2 * np.pi * t / period_s + phase) + 0.6 * np.sin(
            2 * np.pi * t / (period_s * 0.37) + 2 * phase
        )
        return np.exp(depth * slow)

    return swell


def surf(period_s: float, phase: float) -> Callable[[Array], Array]:
    def swell(t: Array) -> Array:
        s = np.mod(t / period_s + phase, 1.0)
        return (
            0.25 + np.exp(-(((s - 0.42) / 0.17) ** 2)) + 0.4 * np.exp(-(((s - 0.75) / 0.12) ** 2))
        )

    return swell


class Ambience:
    """The bed of one scene."""

    def __init__(self, scene: Scene) -> None:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([scene.seed, 3])))
        self.noise, self.scene = [Noise(scene.seed, 10 + i) for i in range(6)], scene
        phase = float(rng.uniform(0, 2 * np.pi))
        self.beds = _beds(scene, phase)
        self.night = scene.time == "night"
        self.songs: list[tuple[float, float, float, float]] = []  # time, Hz, sweep, pan
        if scene.setting in ("grass", "forest") and not self.night and not scene.weather:
            self._birds(rng)
        self.crickets = (
            self.night
            and scene.setting in ("grass", "forest", "sea", "desert")
            and not scene.weather
        )
        self.notes = _melody(scene, rng) if scene.music else []
        self.spill = np.zeros((2, 8192 + _TAIL))
        self.tune = np.zeros((2, 8192 + _TAIL))

    def _birds(self, rng: np.random.Generator) -> None:
        time = float(rng.uniform(0.2, 1.2))
        while time < self.scene.duration_s:
            hz, pan = float(rng.uniform(2600, 4800)), float(rng.uniform(-0.8, 0.8))
            for _ in range(int(rng.integers(2, 5))):
                self.songs.append(
                    (time, hz * float(rng.uniform(0.92, 1.08)), float(rng.uniform(-0.3, 0.3)), pan)
                )
                time += float(rng.uniform(0.11, 0.19))
            time += float(rng.uniform(0.7, 2.2))

    def block(self, start: int, count: int) -> Array:
        """(2, count) of ambience, never silent."""
        t = (start + np.arange(count)) / _RATE_HZ
        out = np.zeros((2, count))
        for index, bed in enumerate(self.beds):
            white = self.noise[index].block(start, count)
            white[1] = bed.width * white[1] + (1 - bed.width) * white[0]
            shaped = coloured(bed, white)
            out += _UNIT * bed.level * bed.swell(t) * shaped
        if self.crickets:
            out += 0.35 * _UNIT * chirping(t)
        self._sing(start, count)
        out += self.spill[:, :count]
        self.spill = np.concatenate([self.spill[:, count:], np.zeros((2, count))], axis=1)
        return out

    def _sing(self, start: int, count: int) -> None:
        while self.songs and self.songs[0][0] * _RATE_HZ < start + count:
            time, hz, sweep, pan = self.songs.pop(0)
            t = np.arange(int(0.11 * _RATE_HZ)) / _RATE_HZ
            tone = (
                np.sin(2 * np.pi * hz * (t + sweep * t * t / 0.22)) * np.sin(np.pi * t / 0.11) ** 2
            )
            at = max(int(time * _RATE_HZ) - start, 0)
            sides = np.array([[1 - pan], [1 + pan]]) * 0.5
            self.spill[:, at : at + t.size] += 1.3 * _UNIT * sides * tone

    def music(self, start: int, count: int) -> Array | None:
        """(2, count) of plucked notes; None when the scene has no music."""
        if not self.scene.music:
            return None
        while self.notes and self.notes[0][0] * _RATE_HZ < start + count:
            time, hz, level, pan = self.notes.pop(0)
            t = np.arange(_TAIL - 1024) / _RATE_HZ
            tone = sum(
                np.sin(2 * np.pi * hz * k * t) * np.exp(-t * (1.8 + 1.3 * k)) / k**1.4
                for k in range(1, 6)
            )
            tone = tone * np.minimum(t / 0.004, 1.0)
            at = max(int(time * _RATE_HZ) - start, 0)
            angle = (pan + 1) * np.pi / 4
            self.tune[:, at : at + t.size] += (
                0.05 * level * np.array([[np.cos(angle)], [np.sin(angle)]]) * tone
            )
        out = self.tune[:, :count].copy()
        self.tune = np.concatenate([self.tune[:, count:], np.zeros((2, count))], axis=1)
        return out


def coloured(bed: Bed, white: Array) -> Array:
    from scipy.signal import butter, sosfilt

    sos = butter(2, (bed.low_hz, bed.high_hz), "bandpass", fs=_RATE_HZ, output="sos")
    if bed.state is None:
        bed.state = np.zeros((sos.shape[0], 2, 2))
    shaped, bed.state = sosfilt(sos, white, axis=1, zi=bed.state)
    return np.asarray(shaped * np.sqrt(_RATE_HZ / 2 / (bed.high_hz - bed.low_hz)))


def _beds(scene: Scene, phase: float) -> list[Bed]:
    wind = Bed(120, 700, 1.0, gusts(3.7, 0.45, phase))
    places: dict[str, list[Bed]] = {
        "studio": [Bed(60, 420, 1.0, steady, 0.3), Bed(400, 6000, 0.22, steady)],
        "stage": [Bed(50, 320, 1.0, steady, 0.3), Bed(300, 4000, 0.2, steady)],
        "room": [Bed(50, 320, 1.0, steady, 0.3), Bed(300, 5000, 0.25, steady)],
        "sky": [wind, Bed(500, 2600, 0.35, gusts(2.9, 0.6, phase + 1))],
        "sea": [Bed(150, 1300, 1.1, surf(5.0, phase)),
                Bed(1000, 7500, 0.6, surf(5.0, phase - 0.05)),
                Bed(60, 260, 0.7, gusts(7.0, 0.2, phase))],
        "desert": [Bed(180, 900, 1.0, gusts(4.3, 0.6, phase)),
                   Bed(1500, 6000, 0.2, gusts(2.3, 0.7, phase))],
        "grass": [wind, Bed(1800, 7000, 0.35, gusts(2.6, 0.5, phase))],
        "forest": [wind, Bed(1500, 6500, 0.5, gusts(3.1, 0.5, phase))],
        "mountains": [Bed(150, 850, 1.1, gusts(4.1, 0.6, phase)),
                      Bed(700, 2500, 0.25, gusts(2.4, 0.6, phase))],
        "snowfield": [Bed(250, 1100, 1.0, gusts(4.6, 0.6, phase)),
                      Bed(1200, 4000, 0.25, gusts(3.3, 0.5, phase))],
        "city": [Bed(45, 260, 1.1, gusts(5.3, 0.2, phase)),
                 Bed(300, 2200, 0.4, gusts(3.9, 0.3, phase))],
        "space": [Bed(40, 130, 1.1, gusts(6.1, 0.3, phase), 0.4),
                  Bed(300, 1200, 0.2, gusts(4.0, 0.5, phase))],
    }  # fmt: skip
    beds = places[scene.setting]
    if "rain" in scene.weather:
        beds += [
            Bed(900, 9000, 1.3, gusts(5.7, 0.12, phase)),
            Bed(3500, 14000, 0.6, gusts(1.1, 0.1, phase), 1.0),
        ]
    return beds


def chirping(t: Array) -> Array:
    """(2, n): two crickets, each with pulses at about 30 Hz in groups of three a second."""
    sides = []
    for hz, rate, shift in ((4350.0, 2.7, 0.0), (4680.0, 3.1, 0.4)):
        group = np.clip(np.sin(2 * np.pi * (rate * t + shift)) * 4, 0, 1)
        pulse = np.clip(np.sin(2 * np.pi * 31.0 * t + shift), 0, 1)
        sides.append(np.sin(2 * np.pi * hz * t) * group * pulse)
    return np.stack(sides)


def _melody(scene: Scene, rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Plucked notes of a pentatonic scale: (time, Hz, level, pan). A walk, so it sounds like a
    tune."""
    scale = [0, 2, 4, 7, 9, 12, 14, 16, 19]
    root, beat, place, notes = 220.0 * 2 ** (int(rng.integers(-3, 4)) / 12), 60 / 104, 4, []
    for index in range(int(scene.duration_s / beat * 2)):
        if index % 4 == 0 or rng.uniform() < 0.55:
            place = int(np.clip(place + rng.integers(-2, 3), 0, len(scale) - 1))
            level = 1.0 if index % 4 == 0 else 0.65
            notes.append(
                (
                    index * beat / 2,
                    root * 2 ** (scale[place] / 12),
                    level,
                    float(rng.uniform(-0.4, 0.4)),
                )
            )
    return notes
