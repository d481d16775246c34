"""Impacts, textures, music and voices into one sound, block by block.

Legend: ``n`` samples at 48 kHz; stems are (2, n) float64, blocks that leave (2, n) float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.errors import Cancelled as Stopped
from avsafe.types import Cancelled, Progress, Samples
from avsafe_generators.foley.music import Music
from avsafe_generators.foley.strikes import TAIL, strike
from avsafe_generators.foley.textures import Texture
from avsafe_generators.world.sound import BLOCK, CEILING, RATE_HZ, Reverb, soften

Array = NDArray[Any]

TARGET = 10 ** (-23 / 20)  # RMS of what sounds: gated, as BS.1770 gates, but not weighted
_DRIVE = 2.2  # how far the loudest impact may reach above the ceiling before it is bent
_GATE_DB = 10.0
_WINDOW = 19_200  # samples: 400 ms
_BED, _MUSIC, _TONE = 0.6, 0.4, 0.02  # RMS beside impacts and voices, in shares of the target
_DUCKED = 0.35  # amplitude of bed and music under a voice
SOFT = {"hit": 1.0, "flash": 1.0, "stroke": 0.8, "start": 0.25, "shake": 0.3}


@dataclass(frozen=True)
class Hit:
    """One impact to be heard."""

    time_s: float
    material: str
    strength: float
    x: float  # 0 left .. 1 right
    seed: int


@dataclass
class Plan:
    """All that the sound is made of; equal plans give equal sound."""

    total: int  # samples
    seed: int
    hits: list[Hit] = field(default_factory=list)
    textures: tuple[str, ...] = ()
    room: bool = False  # a faint tone, so that the pauses are not dead
    drive: Array = field(default_factory=lambda: np.zeros(2))  # 0..1, one a frame
    frame_rate: float = 25.0
    music: tuple[float, float] | None = None  # bpm, time of a beat
    lines: list[tuple[float, Array]] = field(default_factory=list)  # time_s, (n,)


@dataclass(frozen=True)
class Levels:
    """Factors of the stems (impacts, bed, music, voice) from one measuring pass."""

    hits: float
    bed: float
    music: float
    voice: float


def _stems(plan: Plan) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
    """Blocks of (impacts, bed, music, voice, duck): (2, n) each, duck (n,)."""
    names = plan.textures or (("room",) if plan.room else ())
    textures = [Texture(name, plan.seed, i) for i, name in enumerate(names)]
    music = Music(plan.seed, plan.total / RATE_HZ, *plan.music) if plan.music else None
    reverb = Reverb("studio")
    spill = np.zeros((2, BLOCK + TAIL))
    hits, following, duck_now = sorted(plan.hits, key=lambda h: h.time_s), 0, 1.0
    frame_times = np.arange(len(plan.drive)) / plan.frame_rate
    for start in range(0, plan.total, BLOCK):
        count = min(BLOCK, plan.total - start)
        while following < len(hits):
            hit = hits[following]
            at = int(np.ceil(hit.time_s * RATE_HZ)) - start
            if at >= count:
                break
            sound = strike(hit.material, hit.strength, hit.seed)
            angle = ((2 * hit.x - 1) * 0.8 + 1) * np.pi / 4  # constant power
            spill[0, at : at + sound.size] += np.cos(angle) * sound
            spill[1, at : at + sound.size] += np.sin(angle) * sound
            following += 1
        dry = spill[:, :count].copy()
        spill = np.concatenate([spill[:, count:], np.zeros((2, count))], axis=1)
        t = (start + np.arange(count)) / RATE_HZ
        drive = np.interp(t, frame_times, plan.drive) if len(frame_times) else np.zeros(count)
        bed = np.zeros((2, count))
        for texture in textures:
            bed += texture.block(start, drive)
        voice, talking = _voices(plan, start, count)
        wanted = _DUCKED if talking else 1.0
        duck = np.linspace(duck_now, wanted, count)
        duck_now = wanted
        tune = music.block(start, count) if music else np.zeros((2, count))
        yield dry + reverb.block(dry.sum(axis=0)), bed, tune, voice, duck


def _voices(plan: Plan, start: int, count: int) -> tuple[Array, bool]:
    out, talking = np.zeros((2, count)), False
    for time_s, line in plan.lines:
        first = int(time_s * RATE_HZ)
        a, b = max(first, start), min(first + line.size, start + count)
        if a < b:
            out[:, a - start : b - start] += line[a - first : b - first] * 0.7071
            talking = True
    return out, talking


class _Loudness:
    """Gated RMS and peak of a stem, streaming."""

    def __init__(self) -> None:
        self.peak, self._held, self._powers = 0.0, np.zeros(0), [0.0]

    def take(self, stem: Array) -> None:
        self.peak = max(self.peak, float(np.abs(stem).max(initial=0.0)))
        power = np.concatenate([self._held, (stem**2).mean(axis=0)])
        whole = power.size // _WINDOW * _WINDOW
        self._powers += power[:whole].reshape(-1, _WINDOW).mean(axis=1).tolist()
        self._held = power[whole:]

    def rms(self) -> float:
        powers = np.array(
            self._powers[1:] + ([float(self._held.mean())] if self._held.size else [])
        )
        if not powers.size or powers.max() < 1e-12:
            return 0.0
        loud = powers[powers > 1e-7 * powers.max()]
        loud = loud[loud > loud.mean() * 10 ** (-_GATE_DB / 10)]
        return float(np.sqrt(loud.mean()))


def balance(
    plan: Plan, progress: Progress, cancelled: Cancelled, span: tuple[float, float]
) -> Levels:
    """Measure every stem once and choose their levels: what sounds near -23 dBFS."""
    meters = [_Loudness() for _ in range(4)]
    done = 0
    for stems in _stems(plan):
        if cancelled():
            raise Stopped("The foley generator was asked to stop while it measured its sound.")
        for meter, stem in zip(meters, stems[:4], strict=True):
            meter.take(stem)
        done += stems[0].shape[1]
        progress(span[0] + (span[1] - span[0]) * done / plan.total, "sound")
    hits, bed, tune, voice = (meter.rms() for meter in meters)
    front = hits > 0 or voice > 0
    out = [0.0, 0.0, 0.0, 0.0]
    if hits > 0:
        out[0] = min(TARGET / hits, _DRIVE * CEILING / meters[0].peak)
    if tune > 0:
        out[2] = TARGET * (_MUSIC if front else 0.9) / tune
    if bed > 0:
        share = 1.0 if not (front or tune > 0) else _BED
        out[1] = TARGET * (share if plan.textures else _TONE) / bed
    if voice > 0:
        out[3] = TARGET / voice
    return Levels(*out)


def render(
    plan: Plan, levels: Levels, original: Iterable[Array] | None = None
) -> Iterator[Samples]:
    """Blocks of the finished sound, (2, n) float32, below -3 dBFS; ``original`` is added."""
    under = iter(original) if original is not None else None
    held = np.zeros((2, 0))
    for hits, bed, tune, voice, duck in _stems(plan):
        mix = levels.hits * hits + duck * (levels.bed * bed + levels.music * tune)
        mix += levels.voice * voice
        count = mix.shape[1]
        while under is not None and held.shape[1] < count:
            block = next(under, None)
            if block is None:
                held = np.pad(held, ((0, 0), (0, count - held.shape[1])))
                break
            held = np.concatenate([held, block], axis=1)
        if under is not None:
            mix += held[:, :count]
            held = held[:, count:]
        yield soften(mix).astype(np.float32)


def at_48k(blocks: Iterable[Samples], rate_hz: int) -> Iterator[Array]:
    """Stereo at 48 kHz of any blocks, a second at a time, with room at both sides for filters."""
    from scipy.signal import resample_poly

    ratio = Fraction(RATE_HZ, rate_hz)
    step = max(1, rate_hz // ratio.denominator) * ratio.denominator  # input samples a piece
    edge = 4 * ratio.denominator
    edge *= max(1, 256 // edge)
    held, first = np.zeros((2, edge)), True
    for block in blocks:
        held = np.concatenate([held, _stereo(block)], axis=1)
        while held.shape[1] >= step + 2 * edge:
            yield _piece(resample_poly, held[:, : step + 2 * edge], ratio, edge)
            held, first = held[:, step:], False
    if held.shape[1] > edge or first:
        rest = np.pad(held, ((0, 0), (0, edge)))
        yield _piece(resample_poly, rest, ratio, edge)


def _stereo(block: Samples) -> Array:
    """(2, n) of any channels; more than two are mixed down as ITU-R BS.775 does (its order: left,
    right, centre, low frequencies, left and right surround), so that no voice is lost."""
    channels = block.shape[0]
    if channels == 1:
        return np.asarray(block.repeat(2, axis=0), np.float64)
    shares = np.full((2, channels), 0.7071)
    shares[:, :2] = np.eye(2)
    if channels == 6:
        shares[:, 3], shares[:, 4:] = 0.5, 0.7071 * np.eye(2)
    return np.asarray(shares @ block.astype(np.float64))


def _piece(resample: Any, samples: Array, ratio: Fraction, edge: int) -> Array:
    out = resample(samples, ratio.numerator, ratio.denominator, axis=1)
    cut = edge * ratio.numerator // ratio.denominator
    return np.asarray(out[:, cut : out.shape[1] - cut])
