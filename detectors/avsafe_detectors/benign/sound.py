"""Sounds that are no speech, and real speech through a telephone.

Legend: ``n`` samples, at ``RATE_HZ`` unless said otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.types import RawMedia
from avsafe_detectors.benign.control import RATE_HZ, heard, mono

F64 = NDArray[np.float64]
Rng = np.random.Generator
TELEPHONE_HZ = 8_000
MU = 255.0  # mu-law (ITU-T G.711)
_SEMITONE = 2 ** (1 / 12)


def _time(seconds: float, rate_hz: int = RATE_HZ) -> F64:
    return np.arange(max(1, round(seconds * rate_hz))) / rate_hz


def _note_hz(midi: float) -> float:
    return float(440.0 * _SEMITONE ** (midi - 69))


def silence(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Digital silence."""
    return heard(np.zeros(len(_time(seconds))))


def faint(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """An open microphone in a silent room: hiss at -75 dB, a trace of hum."""
    t = _time(seconds)
    hiss = rng.standard_normal(len(t)) * 10 ** (-75 / 20)
    return heard(hiss + 6e-5 * np.sin(2 * np.pi * 50 * t), peak=None)


def tone(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """One pure tone."""
    return heard(np.sin(2 * np.pi * rng.uniform(80, 6000) * _time(seconds)))


def sweep(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A tone that rises through the whole band."""
    t = _time(seconds)
    low, high = rng.uniform(40, 100), rng.uniform(8_000, 18_000)
    k = np.log(high / low) / seconds
    return heard(np.sin(2 * np.pi * low * np.expm1(k * t) / k))


def keypad(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Telephone keys (two tones each, ITU-T Q.23) and pauses."""
    t = _time(seconds)
    out = np.zeros(len(t))
    step = round(0.2 * RATE_HZ)
    for at in range(0, len(t), step):
        part = t[: step // 2]
        row, column = rng.choice([697, 770, 852, 941]), rng.choice([1209, 1336, 1477, 1633])
        both = np.sin(2 * np.pi * row * part) + np.sin(2 * np.pi * column * part)
        out[at : at + len(part)] = both[: len(out) - at]
    return heard(out)


def chords(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Held chords of harmonic tones with a slow attack, as an organ or strings play them."""
    t = _time(seconds)
    out = np.zeros(len(t))
    root = int(rng.integers(45, 57))
    beat = rng.uniform(0.8, 1.4)
    for number in range(int(np.ceil(seconds / beat))):
        at = round(number * beat * RATE_HZ)
        part = t[: min(round(beat * RATE_HZ), len(t) - at)]
        if not len(part):
            break
        third = int(rng.choice([3, 4]))
        swell = np.minimum(1, part / 0.08) * np.minimum(1, (part[-1] - part) / 0.08)
        for step in (-12, 0, third, 7):
            f0 = _note_hz(root + step)
            for h in range(1, 12):
                if h * f0 > 0.45 * RATE_HZ:
                    break
                wobble = 0.004 * np.sin(2 * np.pi * 5.2 * part + h)
                out[at : at + len(part)] += swell * np.sin(2 * np.pi * h * f0 * part + wobble) / h
        root += int(rng.choice([-5, -2, 2, 5]))
    return heard(out)


def plucked(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A melody on strings (Karplus and Strong 1983)."""
    from scipy.signal import lfilter

    n = len(_time(seconds))
    out = np.zeros(n)
    scale = np.array([0, 2, 4, 7, 9])
    base = int(rng.integers(50, 62))
    step = round(rng.uniform(0.16, 0.3) * RATE_HZ)
    for at in range(0, n, step):
        midi = base + int(rng.choice(scale)) + 12 * int(rng.integers(0, 2))
        period = round(RATE_HZ / _note_hz(midi))
        pick = np.zeros(min(n - at, round(1.2 * RATE_HZ)))
        pick[:period] = rng.uniform(-1, 1, min(period, len(pick)))
        loop = np.zeros(period + 2)
        loop[0], loop[period], loop[period + 1] = 1, -0.4985, -0.4985
        out[at : at + len(pick)] += lfilter([1.0], loop, pick)
    return heard(out)


def drums(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A drum loop: kick, snare, hi-hat."""
    n = len(_time(seconds))
    out = np.zeros(n)
    eighth = round(60 / rng.uniform(85, 140) / 2 * RATE_HZ)
    t = _time(0.4)
    kick = np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-30 * t)))) * np.exp(-9 * t)
    snare = (0.7 * rng.standard_normal(len(t)) + np.sin(2 * np.pi * 190 * t)) * np.exp(-18 * t)
    hat = np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-60 * t)
    for number, at in enumerate(range(0, n, eighth)):
        hits = [0.25 * hat]
        if number % 8 in (0, 5) or rng.random() < 0.1:
            hits.append(kick)
        if number % 8 in (2, 6):
            hits.append(0.6 * snare)
        for hit in hits:
            out[at : at + len(hit)] += hit[: n - at]
    return heard(out)


def white_noise(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    return heard(rng.standard_normal(len(_time(seconds))), peak=0.4)


def pink_noise(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Noise whose power falls with the frequency: rain, a waterfall."""
    n = len(_time(seconds))
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return heard(np.fft.irfft(spectrum, n), peak=0.4)


def birds(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Chirps over a faint wind."""
    t = _time(seconds)
    out = 0.01 * np.convolve(rng.standard_normal(len(t)), np.ones(8) / 8, "same")
    for _ in range(round(4 * seconds)):
        length = round(rng.uniform(0.05, 0.18) * RATE_HZ)
        at = int(rng.integers(0, max(1, len(t) - length)))
        u = np.linspace(0, 1, min(length, len(t) - at))
        pitch = rng.uniform(2500, 6000) * (1 + rng.uniform(-0.3, 0.3) * u)
        trill = 1 + 0.06 * np.sin(2 * np.pi * rng.uniform(15, 40) * u)
        chirp = np.sin(2 * np.pi * np.cumsum(pitch * trill) / RATE_HZ) * np.sin(np.pi * u) ** 2
        out[at : at + len(u)] += rng.uniform(0.2, 1) * chirp
    return heard(out)


def engine(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """A motor that speeds up: harmonics of a low pitch, and noise."""
    t = _time(seconds)
    pitch = rng.uniform(28, 45) * (1 + rng.uniform(0.2, 0.9) * t / seconds)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    strength = rng.uniform(0.3, 1, 40) / np.arange(1, 41) ** 0.8
    out = sum(a * np.sin((h + 1) * phase) for h, a in enumerate(strength))
    rough: Any = np.convolve(rng.standard_normal(len(t)), np.ones(24) / 24, "same")
    return heard(out + 1.5 * rough)


def telephone(rng: Rng, seconds: float, given: RawMedia | None) -> RawMedia:
    """Speech through the telephone network: 300 to 3400 Hz, 8 kHz, mu-law (ITU-T G.711)."""
    from scipy.signal import butter, resample_poly, sosfilt

    if given is None:
        from avsafe.testing import sound_only

        given = sound_only(seconds, 16_000, int(rng.integers(1 << 16)))
    common = int(np.gcd(given.rate_hz, TELEPHONE_HZ))
    whole = mono(given)[: int(min(seconds, 3600.0) * given.rate_hz)]
    low = resample_poly(whole, TELEPHONE_HZ // common, given.rate_hz // common)
    line = sosfilt(butter(4, (300, 3400), "bandpass", fs=TELEPHONE_HZ, output="sos"), low)
    return heard(mu_law(line / max(1e-9, float(np.abs(line).max())) * 0.7), TELEPHONE_HZ, None)


def mu_law(samples: F64) -> F64:
    """Through 8 bits of mu-law and back (ITU-T G.711, its continuous form).

    >>> bool(abs(mu_law(np.array([0.5]))[0] - 0.5) < 0.02)
    True
    """
    squeezed = np.sign(samples) * np.log1p(MU * np.abs(samples)) / np.log1p(MU)
    kept = np.round(squeezed * 127) / 127
    return np.asarray(np.sign(kept) * np.expm1(np.abs(kept) * np.log1p(MU)) / MU)
