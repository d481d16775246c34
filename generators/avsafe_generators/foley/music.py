"""A bed of music: four chords under plucked notes, in the tempo of what moves.

Legend: a note is (time_s, Hz, level, seconds, pan, soft); blocks are (2, n) float64 at 48 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.sound import BLOCK, RATE_HZ

Array = NDArray[Any]
Note = tuple[float, float, float, float, float, bool]

_CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))  # I vi IV V, semitones
_TAIL = 4 * RATE_HZ
_PLAIN_BPM = 96.0


def tempo(times: Sequence[float]) -> tuple[float, float]:
    """(beats a minute, time of a beat): from the usual gap between events, where there is one.

    >>> tempo([0.5, 1.0, 1.5, 2.0, 2.5])
    (120.0, 0.5)
    """
    gaps = np.diff(np.asarray(times, float))
    gaps = gaps[gaps > 0.12]
    if gaps.size < 3:
        return _PLAIN_BPM, 0.0
    gap = float(np.median(gaps))
    if float(np.median(np.abs(gaps - gap))) > 0.15 * gap:
        return _PLAIN_BPM, 0.0
    bpm = 60.0 / gap
    while bpm > 140:
        bpm /= 2
    while bpm < 70:
        bpm *= 2
    return round(bpm, 3), float(times[0])


class Music:
    """Notes from a seed; asked for in order, block by block."""

    def __init__(self, seed: int, duration_s: float, bpm: float, first_beat_s: float) -> None:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 77])))
        root = 196.0 * 2 ** (int(rng.integers(-4, 5)) / 12)
        beat = 60.0 / bpm
        self.notes: list[Note] = []
        start = first_beat_s - 4 * beat * int(np.ceil(first_beat_s / (4 * beat)))
        for bar in range(int((duration_s - start) / (4 * beat)) + 1):
            chord = _CHORDS[bar % 4]
            at = start + bar * 4 * beat
            for k, step in enumerate(chord):
                hz = root * 2 ** (step / 12)
                self.notes.append((at, hz / 2 if k == 0 else hz, 0.35, 4 * beat, 0.0, True))
            for half in range(8):
                if half % 4 == 0 or rng.uniform() < 0.6:
                    step = chord[int(rng.integers(3))] + 12 * int(rng.integers(1, 3))
                    pan = float(rng.uniform(-0.5, 0.5))
                    level = 0.8 if half % 4 == 0 else 0.5
                    hz = root * 2 ** (step / 12)
                    self.notes.append((at + half * beat / 2, hz, level, 1.6, pan, False))
        self.notes = sorted(note for note in self.notes if 0 <= note[0] < duration_s)
        self._next = 0
        self._spill = np.zeros((2, BLOCK + _TAIL))

    def block(self, start: int, count: int) -> Array:
        """(2, count) from sample ``start``."""
        while self._next < len(self.notes):
            time_s, hz, level, long_s, pan, soft = self.notes[self._next]
            at = int(time_s * RATE_HZ) - start
            if at >= count:
                break
            t = np.arange(min(_TAIL, int(long_s * RATE_HZ))) / RATE_HZ
            if soft:
                tone = sum(np.sin(2 * np.pi * hz * k * t + k) / k**2 for k in range(1, 5))
                tone = tone * np.minimum(1, t / 0.25) * np.minimum(1, (t[-1] - t) / 0.4)
            else:
                tone = sum(
                    np.sin(2 * np.pi * hz * k * t) * np.exp(-t * (2.0 + 1.4 * k)) / k**1.4
                    for k in range(1, 6)
                )
                tone = tone * np.minimum(1, t / 0.004) * np.minimum(1, (t[-1] - t) / 0.02)
            angle = (pan + 1) * np.pi / 4
            self._spill[0, at : at + t.size] += 0.1 * level * np.cos(angle) * tone
            self._spill[1, at : at + t.size] += 0.1 * level * np.sin(angle) * tone
            self._next += 1
        out = self._spill[:, :count].copy()
        self._spill = np.concatenate([self._spill[:, count:], np.zeros((2, count))], axis=1)
        return out
