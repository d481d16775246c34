"""The sound of one impact: modes that ring and the noise of the contact, by material.

Legend: ``n`` samples at 48 kHz, mono, beginning exactly at the contact; about 1 at the loudest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.world.sound import MODES, RATE_HZ, TOUCH_MS

Array = NDArray[Any]
Modes = tuple[tuple[float, float, float], ...]  # Hz, seconds to -60 dB, strength

TAIL = int(2.6 * RATE_HZ)  # no impact lasts longer

# Membrane: 1 : 1.59 : 2.14 : 2.30 : 2.65 (Fletcher and Rossing, "The Physics of Musical
# Instruments", ch. 3); bell: hum, prime, tierce, quint, nominal (ch. 21).
_MORE: dict[str, Modes] = {
    "drum": ((118, 0.55, 1.2), (188, 0.35, 0.8), (252, 0.25, 0.5), (271, 0.22, 0.4),
             (313, 0.2, 0.35)),
    "bell": ((262, 2.5, 0.5), (524, 2.4, 0.8), (623, 2.0, 0.6), (786, 1.6, 0.4), (1048, 1.4, 0.7),
             (2093, 0.8, 0.3)),
    "thud": ((82, 0.16, 1.2), (131, 0.12, 0.8), (214, 0.08, 0.3)),
    "footsteps": ((95, 0.1, 0.8), (190, 0.07, 0.4)),
    "hammer": ((1850, 0.16, 0.7), (3120, 0.12, 0.6), (4870, 0.08, 0.4), (330, 0.09, 0.7)),
    "clap": (), "gun": (), "explosion": (), "thunder": (), "splash": (),
}  # fmt: skip
# noise of the contact: layers of level, seconds to 1/e, lowest and highest Hz
_NOISE: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "drum": ((0.5, 0.018, 200, 5000),), "thud": ((0.35, 0.02, 40, 700),),
    "footsteps": ((0.7, 0.02, 60, 1200), (0.25, 0.045, 1500, 6000)),
    "clap": ((1.0, 0.011, 700, 3800),), "hammer": ((0.5, 0.006, 800, 9000),),
    "gun": ((1.0, 0.006, 400, 16000), (0.9, 0.07, 50, 1500), (0.25, 0.35, 60, 900)),
    "explosion": ((0.5, 0.02, 100, 9000), (1.0, 0.45, 25, 400), (0.3, 0.6, 100, 2500)),
    "thunder": ((0.4, 0.03, 200, 7000), (1.0, 0.7, 25, 250), (0.3, 0.5, 80, 1200)),
    "splash": ((0.7, 0.12, 600, 9000), (0.4, 0.25, 300, 2500)),
}  # fmt: skip
MATERIALS = tuple(sorted({*MODES, *_MORE}))


def strike(material: str, strength: float, seed: int) -> Array:
    """(n,) float64. Harder strikes are louder and brighter; ``seed`` varies pitch and noise.

    >>> float(np.abs(strike("wood", 1.0, 0)[:480]).max()) > 0.1
    True
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    modes = MODES.get(material) or _MORE[material]
    touch_s = 1e-3 * TOUCH_MS.get(material, 0.8) * max(strength, 0.05) ** -0.2
    longest = max([t60 for _, t60, _ in modes] + [6.9 * s for _, s, _, _ in _layers(material)])
    n = min(TAIL, int((longest + 0.02) * RATE_HZ))
    t = np.arange(n) / RATE_HZ
    out = np.zeros(n)
    pitch = float(rng.uniform(0.97, 1.03))
    for hz, t60, level in modes:
        hz *= pitch * float(rng.uniform(0.992, 1.008))
        soft = float(np.exp(-((hz * touch_s) ** 2)))  # a long touch excites no high modes
        out += level * soft * np.exp(-6.91 * t / t60) * np.sin(2 * np.pi * hz * t)
    for level, decay_s, low_hz, high_hz in _layers(material):
        out += level * _burst(rng, t, decay_s, low_hz, high_hz, strength)
    if material == "clap":
        for delay_s, level in ((0.009, 0.7), (0.019, 0.5)):
            lag = int(delay_s * RATE_HZ)
            out[lag:] += level * _burst(rng, t, 0.011, 700, 3800, strength)[:-lag]
    out *= np.minimum(1.0, (n - np.arange(n)) / 960.0)  # no click at its end
    peak = float(np.abs(out).max())
    return np.asarray(out * (max(strength, 0.02) ** 0.7 / max(peak, 1e-9)))


def _layers(material: str) -> tuple[tuple[float, float, float, float], ...]:
    return _NOISE.get(material, ((0.16, 0.006, 300, 6000),))


def _burst(
    rng: np.random.Generator, t: Array, decay_s: float, low_hz: float, high_hz: float,
    strength: float,
) -> Array:  # fmt: skip
    from scipy.signal import butter, sosfilt

    top = max(high_hz * (0.5 + 0.5 * strength), 2 * low_hz)
    sos = butter(1, (low_hz, min(top, 0.45 * RATE_HZ)), "bandpass", fs=RATE_HZ, output="sos")
    noise = sosfilt(sos, rng.standard_normal(t.size))
    noise /= max(float(noise.std()), 1e-9)
    return np.asarray(0.4 * noise * np.exp(-t / decay_s))
