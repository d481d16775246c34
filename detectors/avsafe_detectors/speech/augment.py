"""What happens to sound on its way: codecs, telephone, noise, a room. For training and tests.

Legend: ``n`` samples at 16 kHz, float32 in [-1, 1].

Every codec is a real one (PyAV), coded and decoded in memory. Both classes take the same ways.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:
    Array = Any

RATE_HZ = 16_000
# name -> encoder, container, rate at which it is coded, bits a second
CODECS: dict[str, tuple[str, str, int, int]] = {
    "g722": ("g722", "g722", 16_000, 64_000),
    "mp3 32k": ("libmp3lame", "mp3", 16_000, 32_000),
    "mp3 64k": ("libmp3lame", "mp3", 44_100, 64_000),
    "mp3 128k": ("libmp3lame", "mp3", 44_100, 128_000),
    "aac 32k": ("aac", "adts", 16_000, 32_000),
    "aac 64k": ("aac", "adts", 44_100, 64_000),
    "aac 96k": ("aac", "adts", 44_100, 96_000),
    "opus 16k": ("libopus", "ogg", 48_000, 16_000),
    "opus 24k": ("libopus", "ogg", 48_000, 24_000),
    "opus 48k": ("libopus", "ogg", 48_000, 48_000),
    "vorbis 64k": ("vorbis", "ogg", 44_100, 64_000),
    "mu-law 8k": ("pcm_mulaw", "wav", 8_000, 64_000),
    "amr 12k": ("libopencore_amrnb", "amr", 8_000, 12_200),
}
# What a condition of the calibration is made of: ways that a voice comes.
WAYS: dict[str, tuple[str, ...]] = {
    "clean": ("clean",),
    "low rate": ("mp3 32k", "mp3 64k", "aac 32k", "opus 16k", "opus 24k"),
    "narrowband": ("mu-law 8k", "amr 12k"),
    "noisy": ("noise 20 dB", "noise 10 dB", "room"),
}


def moved(x: NDArray[Any], from_hz: int, to_hz: int) -> Array:
    """Another sample rate (polyphase, band-limited)."""
    from math import gcd

    from scipy.signal import resample_poly

    if from_hz == to_hz:
        return np.asarray(x, np.float32)
    step = gcd(from_hz, to_hz)
    return np.asarray(resample_poly(x, to_hz // step, from_hz // step), np.float32)


def coded(x: Array, name: str) -> Array:
    """Through a codec and back, as long as before; the codec's delay is taken off."""
    import av

    encoder, container, rate, bits = CODECS[name]
    sound = moved(x, RATE_HZ, rate)
    held = io.BytesIO()
    with av.open(held, "w", format=container) as out:
        stream: Any = out.add_stream(encoder, rate=rate, layout="mono" if encoder != "vorbis"
                                     else "stereo")  # fmt: skip
        stream.bit_rate = bits
        if encoder == "vorbis":
            stream.codec_context.options = {"strict": "experimental"}
        pcm = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        step = 4_800
        for first in range(0, len(pcm), step):
            block = pcm[None, first : first + step]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "s16", "mono")
            frame.sample_rate, frame.pts = rate, first
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    held.seek(0)
    blocks = []
    with av.open(held, "r", format=container) as back:
        source = back.streams.audio[0]
        heard_hz = int(source.rate)
        resampler = av.AudioResampler("flt", "mono", heard_hz)
        for frame in back.decode(source):
            blocks += [f.to_ndarray()[0] for f in resampler.resample(frame)]
    y = moved(np.concatenate(blocks), heard_hz, RATE_HZ)
    return aligned(y, x)


def aligned(y: Array, x: Array) -> Array:
    """``y`` moved to where it fits ``x`` best (up to 0.2 s), and as long."""
    from scipy.signal import correlate

    n = min(len(x), len(y), 2 * RATE_HZ)
    reach = 3_200
    both = correlate(y[:n], x[:n], "full", "fft")[n - 1 - reach : n + reach]
    delay = int(both.argmax()) - reach
    y = y[delay:] if delay > 0 else np.concatenate([np.zeros(-delay, np.float32), y])
    y = y[: len(x)]
    return np.concatenate([y, np.zeros(len(x) - len(y), np.float32)]).astype(np.float32)


def noisy(x: Array, snr_db: float, rng: np.random.Generator) -> Array:
    """Coloured noise below the speech by ``snr_db``."""
    spectrum = np.fft.rfft(rng.standard_normal(len(x)))
    f = np.arange(len(spectrum)) + len(x) * 50 / RATE_HZ
    spectrum *= f ** -rng.uniform(0.0, 0.8)
    noise = np.fft.irfft(spectrum, len(x))
    noise *= np.sqrt(np.square(x).mean() / np.square(noise).mean()) * 10 ** (-snr_db / 20)
    return np.asarray(x + noise, np.float32)


def in_room(x: Array, rng: np.random.Generator) -> Array:
    """Exponentially decaying noise as a room (0.15 to 0.6 s), the direct sound before it."""
    from scipy.signal import fftconvolve

    decay_s = rng.uniform(0.15, 0.6)
    n = int(decay_s * RATE_HZ)
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    tail *= 10 ** (-rng.uniform(0, 10) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    y = fftconvolve(x, tail)[: len(x)]
    return np.asarray(y * np.sqrt(np.square(x).mean() / np.square(y).mean()), np.float32)


def tilted(x: Array, rng: np.random.Generator) -> Array:
    """Another microphone: a smooth response within some 6 dB; sometimes a low-pass."""
    spectrum = np.fft.rfft(x)
    at = np.linspace(0, 1, len(spectrum))
    knots = np.cumsum(rng.normal(0, 2.0, 7))
    gain_db = np.interp(at, np.linspace(0, 1, 7), knots - knots.mean())
    if rng.random() < 0.25:
        edge = rng.uniform(3_400, 6_500) / 8_000
        gain_db = gain_db - 60 * np.clip((at - edge) / 0.05, 0, 1)
    return np.asarray(np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(x)), np.float32)


def sent(x: Array, way: str, rng: np.random.Generator) -> Array:
    """One way by name: "clean", a codec's name, "noise K dB", "room"."""
    if way == "clean":
        return x
    if way == "room":
        return in_room(x, rng)
    if way.startswith("noise"):
        return noisy(x, float(way.split()[1]), rng)
    return coded(x, way)


def disturbed(x: Array, way: str, rng: np.random.Generator) -> Array:
    """A copy to train on: another microphone, perhaps a room and noise, then the way."""
    x = tilted(x, rng) if rng.random() < 0.7 else x
    if rng.random() < 0.25:
        x = in_room(x, rng)
    if rng.random() < 0.5:
        x = noisy(x, rng.uniform(15, 45), rng)
    return sent(levelled(x), way, rng)


def levelled(x: Array, rms: float = 0.06) -> Array:
    """At one loudness; a peak above 0.98 is brought down."""
    x = x * (rms / (float(np.sqrt(np.square(x).mean())) + 1e-9))
    peak = float(np.abs(x).max(initial=0.0))
    return np.asarray(x * min(1.0, 0.98 / (peak + 1e-9)), np.float32)


def ways(names: Sequence[str] = tuple(WAYS)) -> list[str]:
    """
    >>> ways(["narrowband"])
    ['mu-law 8k', 'amr 12k']
    """
    return [way for name in names for way in WAYS[name]]
