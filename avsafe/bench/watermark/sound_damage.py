"""What happens to sound in the world. Each function makes a damage: ``Sound -> Sound``.

Legend: samples are (c, n) float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from avsafe.bench.clips import Sound
from avsafe.bench.watermark.picture_damage import Inapplicable
from avsafe.bench.watermark.recode import filtered
from avsafe.types import Samples

Damage = Callable[[Sound], Sound]


def same(sound: Sound) -> Sound:
    return sound


def chain(*steps: Damage) -> Damage:
    def damage(sound: Sound) -> Sound:
        for step in steps:
            sound = step(sound)
        return sound

    return damage


def _limited(samples: Samples, rate_hz: int) -> Sound:
    return Sound(np.clip(samples, -1, 1).astype(np.float32), rate_hz)


def trim(seconds: float) -> Damage:
    """So many seconds from within, from a place that is on no grid of ours."""

    def damage(sound: Sound) -> Sound:
        count = round(seconds * sound.rate_hz)
        if count > sound.samples.shape[1]:
            raise Inapplicable(f"there are {sound.duration_s:.1f} s, less than {seconds:g} s")
        start = round((sound.samples.shape[1] - count) * 0.4137)
        return Sound(sound.samples[:, start : start + count], sound.rate_hz)

    return damage


def resample(rate_hz: int) -> Damage:
    """Down to another rate; the file then has that rate."""

    def damage(sound: Sound) -> Sound:
        if sound.rate_hz <= rate_hz:
            raise Inapplicable(f"the sound has {sound.rate_hz} Hz already")
        return filtered(sound, f"aresample={rate_hz}", rate_hz)

    return damage


def noise(snr_db: float) -> Damage:
    """White noise, so far below the mean power of the sound."""

    def damage(sound: Sound) -> Sound:
        power = float((sound.samples.astype(np.float64) ** 2).mean())
        drawn = np.random.default_rng(7).standard_normal(sound.samples.shape)
        level = np.sqrt(power / 10 ** (snr_db / 10))
        return _limited(sound.samples + (level * drawn).astype(np.float32), sound.rate_hz)

    return damage


def echo(sound: Sound) -> Sound:
    """Two reflections: 90 ms at -6 dB, 170 ms at -10 dB."""
    out = sound.samples.copy()
    for delay_s, level in ((0.09, 0.5), (0.17, 0.32)):
        shift = round(delay_s * sound.rate_hz)
        if shift < out.shape[1]:
            out[:, shift:] += level * sound.samples[:, :-shift]
    return _limited(out / 1.3, sound.rate_hz)


def low_pass(cut_hz: float) -> Damage:
    """A Butterworth filter of order 8."""

    def damage(sound: Sound) -> Sound:
        from scipy.signal import butter, sosfilt

        if sound.rate_hz <= 2 * cut_hz:
            raise Inapplicable(
                f"the sound has {sound.rate_hz} Hz: nothing lies above {cut_hz:g} Hz"
            )
        sections = butter(8, cut_hz, "low", fs=sound.rate_hz, output="sos")
        return _limited(sosfilt(sections, sound.samples, axis=1), sound.rate_hz)

    return damage


def gain(db: float) -> Damage:
    """Louder or softer; what goes beyond full scale is clipped."""
    return lambda sound: _limited(sound.samples * np.float32(10 ** (db / 20)), sound.rate_hz)


def clipping(share: float) -> Damage:
    """The loudest ``share`` of the samples cut off, then raised to full scale."""

    def damage(sound: Sound) -> Sound:
        level = float(np.quantile(np.abs(sound.samples), 1 - share)) or 1.0
        return _limited(np.clip(sound.samples, -level, level) / level * 0.95, sound.rate_hz)

    return damage


def speed(factor: float) -> Damage:
    """Tempo and pitch together, as a tape that runs faster."""

    def damage(sound: Sound) -> Sound:
        faster = round(sound.rate_hz * factor)
        return filtered(sound, f"asetrate={faster},aresample={sound.rate_hz}")

    return damage


def tempo(factor: float) -> Damage:
    """Faster at the same pitch (WSOLA: FFmpeg's atempo)."""
    return lambda sound: filtered(sound, f"atempo={factor}")


def pitch(semitones: float) -> Damage:
    """Higher at the same tempo: played faster, then slowed down by atempo."""
    factor = 2 ** (semitones / 12)

    def damage(sound: Sound) -> Sound:
        faster = round(sound.rate_hz * factor)
        steps = f"asetrate={faster},aresample={sound.rate_hz},atempo={sound.rate_hz / faster:.6f}"
        return filtered(sound, steps)

    return damage


def music(level_db: float) -> Damage:
    """Plucked chords, bass and beat, made here, so far below the mean power of the sound."""

    def damage(sound: Sound) -> Sound:
        n, rate = sound.samples.shape[1], sound.rate_hz
        tune = _tune(n, rate)
        power = float((sound.samples.astype(np.float64) ** 2).mean())
        level = np.sqrt(power * 10 ** (level_db / 10) / max(float((tune**2).mean()), 1e-12))
        return _limited(sound.samples + (level * tune).astype(np.float32), rate)

    return damage


def _tune(n: int, rate_hz: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    out = np.zeros(n)
    chords = (
        (220.0, 261.6, 329.6),
        (174.6, 220.0, 261.6),
        (261.6, 329.6, 392.0),
        (196.0, 246.9, 293.7),
    )
    rng = np.random.default_rng(3)
    beat_s = 0.25
    for beat in range(int(n / rate_hz / beat_s) + 1):
        start = round(beat * beat_s * rate_hz)
        m = min(n - start, rate_hz)
        if m <= 0:
            break
        t = np.arange(m) / rate_hz
        chord = chords[(beat // 8) % len(chords)]
        note = chord[beat % 3] * (2 if beat % 4 == 3 else 1)
        for harmonic in range(1, 7):
            if note * harmonic < rate_hz / 2:
                out[start : start + m] += (
                    np.sin(2 * np.pi * note * harmonic * t) * np.exp(-t * (3 + harmonic)) / harmonic
                )
        if beat % 4 == 0:
            out[start : start + m] += 1.2 * np.sin(2 * np.pi * chord[0] / 2 * t) * np.exp(-2 * t)
        if beat % 2:
            out[start : start + m] += 0.4 * rng.standard_normal(m) * np.exp(-t * 60)
    return out
