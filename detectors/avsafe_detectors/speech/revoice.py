"""Re-rendering: a real voice taken apart by a vocoder and put together again.

Legend: ``n`` samples at 16 kHz, float32; ``t`` frames; ``f`` bins.

| kind | what |
|---|---|
| world | WORLD (Morise et al. 2016): pitch, envelope, aperiodicity, and back |
| converted | WORLD with pitch and formants moved: another voice |
| griffin-lim | phases thrown away (or all but mel bands) and found again (Griffin, Lim 1984) |
| lpc | linear prediction with a pulse and noise residual, as in a simple vocoder |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

RATE_HZ = 16_000


def _pyworld() -> Any:
    try:
        import pyworld  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(
            'pyworld is missing. Install: pip install pyworld "setuptools<81"'
        ) from error
    return pyworld


def _parts(x: Array, rng: np.random.Generator) -> tuple[Any, Any, Any, Any, float]:
    world = _pyworld()
    sound = x.astype(np.float64)
    period = float(rng.choice([5.0, 5.0, 8.0]))
    pitch, times = world.dio(sound, RATE_HZ, frame_period=period)
    pitch = world.stonemask(sound, pitch, times, RATE_HZ)
    envelope = world.cheaptrick(sound, pitch, times, RATE_HZ)
    noise = world.d4c(sound, pitch, times, RATE_HZ)
    if rng.random() < 0.5:  # coded, as a parametric system keeps it
        size = int(rng.choice([24, 40]))
        kept = world.code_spectral_envelope(envelope, RATE_HZ, size)
        envelope = world.decode_spectral_envelope(kept, RATE_HZ, (envelope.shape[1] - 1) * 2)
    return world, pitch, envelope, noise, period


def world(x: Array, rng: np.random.Generator) -> Array:
    how, pitch, envelope, noise, period = _parts(x, rng)
    y = how.synthesize(pitch, envelope, noise, RATE_HZ, period)
    return np.asarray(y[: len(x)], np.float32)


def converted(x: Array, rng: np.random.Generator) -> Array:
    """Pitch by 0.6 to 1.7, formants by 0.84 to 1.2."""
    how, pitch, envelope, noise, period = _parts(x, rng)
    higher = rng.random() < 0.5
    factor = rng.uniform(1.15, 1.7) if higher else rng.uniform(0.6, 0.87)
    stretch = rng.uniform(1.02, 1.2) if higher else rng.uniform(0.84, 0.98)
    bins = envelope.shape[1]
    at = np.clip(np.arange(bins) / stretch, 0, bins - 1)
    low = np.minimum(at.astype(int), bins - 2)
    share = at - low
    moved = envelope[:, low] * (1 - share) + envelope[:, low + 1] * share
    y = how.synthesize(pitch * factor, np.ascontiguousarray(moved), noise, RATE_HZ, period)
    return np.asarray(y[: len(x)], np.float32)


def griffin_lim(x: Array, rng: np.random.Generator) -> Array:
    """Magnitudes, or those that 40 to 128 mel bands leave, and phases found in 12 to 60 rounds."""
    from scipy.signal import istft, stft

    size, hop = (1024, 256) if rng.random() < 0.6 else (512, 128)
    fast = 0.99 if rng.random() < 0.5 else 0.0  # Perraudin et al. 2013
    _, _, z = stft(x, nperseg=size, noverlap=size - hop)
    magnitude = np.abs(z)
    if rng.random() < 0.7:
        bands = _mel(int(rng.choice([40, 64, 80, 128])), magnitude.shape[0])
        kept = bands @ magnitude
        magnitude = np.maximum(np.linalg.pinv(bands) @ kept, 1e-6)
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape))
    before = np.zeros_like(z)
    for _ in range(int(rng.integers(12, 60))):
        _, y = istft(magnitude * phase, nperseg=size, noverlap=size - hop)
        _, _, now = stft(y, nperseg=size, noverlap=size - hop)
        now = now[:, : z.shape[1]]
        now = np.pad(now, ((0, 0), (0, z.shape[1] - now.shape[1])))
        phase = np.exp(1j * np.angle(now + fast * (now - before)))
        before = now
    _, y = istft(magnitude * phase, nperseg=size, noverlap=size - hop)
    return np.asarray(y[: len(x)], np.float32)


def _mel(bands: int, bins: int) -> NDArray[np.float64]:
    """Triangles (bands, f) over 0 to 8 kHz."""
    top = 2595 * np.log10(1 + 8_000 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1) / 8_000 * (bins - 1)
    f = np.arange(bins)
    up = (f - edges[:-2, None]) / np.maximum(edges[1:-1, None] - edges[:-2, None], 0.5)
    down = (edges[2:, None] - f) / np.maximum(edges[2:, None] - edges[1:-1, None], 0.5)
    return np.asarray(np.maximum(0, np.minimum(up, down)))


def lpc(x: Array, rng: np.random.Generator) -> Array:
    """Linear prediction of order 16 to 24; the residual is pulses where voiced, and noise."""
    from scipy.linalg import solve_toeplitz
    from scipy.signal import lfilter

    order, hop = int(rng.integers(16, 25)), 160
    world = _pyworld()
    pitch, times = world.dio(x.astype(np.float64), RATE_HZ, frame_period=10.0)
    pitch = world.stonemask(x.astype(np.float64), pitch, times, RATE_HZ)
    mixed = rng.uniform(0.05, 0.35)
    window = np.hanning(480)
    padded = np.pad(x.astype(np.float64), (160, 480))
    state, phase = np.zeros(order), 0.0
    out = np.zeros(len(x))
    for t in range(len(x) // hop):
        frame = padded[t * hop : t * hop + 480] * window
        r = np.correlate(frame, frame, "full")[479 : 480 + order]
        r[0] = r[0] * 1.0001 + 1e-9
        a = solve_toeplitz(r[:-1], r[1:])
        gain = np.sqrt(max(r[0] - a @ r[1:], 1e-12) / np.square(window).sum())
        source = rng.standard_normal(hop)
        f0 = pitch[min(t, len(pitch) - 1)]
        if f0 > 0:
            turns = phase + np.arange(1, hop + 1) * f0 / RATE_HZ
            pulse = np.diff(np.floor(np.concatenate([[phase], turns])))
            source = pulse * np.sqrt(RATE_HZ / f0) * (1 - mixed) + source * mixed
            phase = turns[-1] % 1.0
        out[t * hop : (t + 1) * hop], state = lfilter(
            [gain], np.concatenate([[1.0], -a]), source, zi=state
        )
    return np.asarray(out, np.float32)


KINDS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "world": world,
    "converted": converted,
    "griffin-lim": griffin_lim,
    "lpc": lpc,
}
