"""The sound of a scene: struck bodies by modal synthesis, rolling, air, the hum of the place.

Legend: ``n`` samples at RATE_HZ; stems are (2, n) float64, blocks that leave are (2, n) float32.
A body is a bank of two-pole resonators (van den Doel and Pai, "The sounds of physical shapes",
Presence 7, 1998) which contacts excite with a short pulse that begins exactly at the contact time.
Everything is made block by block with carried state: memory doesn't grow with the duration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe.types import Cancelled, Progress, Samples, never_cancelled, no_progress
from avsafe_generators.world.ambience import Ambience, Noise
from avsafe_generators.world.scene import SURFACE, Body, Scene

Array = NDArray[np.float64]

RATE_HZ = 48_000
BLOCK = 8192
CEILING = 10 ** (-3 / 20)  # -3 dBFS: room for the overshoot of a lossy codec
_KNEE = 0.5  # amplitudes above this are bent towards the ceiling
_TARGET = 10 ** (-23 / 20)  # RMS of the whole
_BED = (10 ** (-33 / 20), 10 ** (-26.5 / 20))  # RMS of the ambience below events: least, most
_BED_ALONE = 10 ** (-25 / 20)
_DRIVE = 1.7  # how far the loudest contact may reach above the ceiling, before the knee bends it
_KNOCK = 2.2  # loudness of a contact between two free bodies against that with the floor
_HIT_SPEED = 4.6  # units/s: a fall from 1.2 units, the reference loudness
_TAIL = 24_000  # samples that the noise of one contact may last beyond its block

# (Hz, seconds to -60 dB, strength) of a body of medium size. Ratios: metal is a free bar
# (1 : 2.76 : 5.40 : 8.93, Fletcher and Rossing, "The Physics of Musical Instruments", ch. 2), the
# others follow recordings of small objects by ear.
MODES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "wood": ((310, 0.16, 1.0), (830, 0.11, 0.7), (1570, 0.07, 0.4), (2620, 0.05, 0.25)),
    "metal": ((540, 1.7, 0.7), (1490, 1.3, 0.8), (2916, 0.9, 0.55), (4822, 0.6, 0.4),
              (7180, 0.4, 0.25)),
    "gold": ((470, 1.2, 0.8), (1300, 0.9, 0.7), (2540, 0.6, 0.4), (4200, 0.4, 0.2)),
    "silver": ((690, 2.1, 0.7), (1905, 1.6, 0.8), (3730, 1.1, 0.6), (6160, 0.7, 0.4)),
    "copper": ((430, 1.5, 0.8), (1190, 1.1, 0.7), (2320, 0.8, 0.5), (3840, 0.5, 0.3)),
    "glass": ((1180, 0.75, 0.8), (2790, 0.55, 0.9), (4520, 0.38, 0.6), (6830, 0.25, 0.4),
              (9400, 0.15, 0.2)),
    "rubber": ((96, 0.22, 1.4), (187, 0.14, 0.8), (420, 0.07, 0.35), (760, 0.04, 0.15)),
    "plastic": ((390, 0.11, 1.0), (1080, 0.08, 0.6), (2350, 0.05, 0.4), (3600, 0.04, 0.2)),
    "stone": ((690, 0.08, 1.0), (1420, 0.06, 0.8), (2680, 0.05, 0.5), (4300, 0.035, 0.3)),
    "marble": ((880, 0.16, 0.9), (1990, 0.12, 0.8), (3420, 0.08, 0.5), (5300, 0.05, 0.3)),
    "ice": ((1020, 0.28, 0.8), (2350, 0.2, 0.8), (3980, 0.13, 0.5), (6300, 0.08, 0.3)),
    "clay": ((760, 0.34, 0.9), (1830, 0.26, 0.7), (3140, 0.18, 0.5), (4700, 0.12, 0.3)),
    "light": ((659, 1.4, 0.8), (1319, 1.1, 0.5), (1978, 0.8, 0.3), (2640, 0.6, 0.2)),
}  # fmt: skip
# Contact time on a hard floor, milliseconds: harder bodies touch for a shorter time and sound
# bright.
TOUCH_MS = {"metal": 0.2, "silver": 0.2, "glass": 0.2, "ice": 0.25, "stone": 0.3, "marble": 0.25,
             "gold": 0.35, "copper": 0.3, "clay": 0.3, "wood": 0.6, "plastic": 0.5, "rubber": 2.2,
             "light": 0.5}  # fmt: skip
# surface: hardness, level / decay (s) / upper frequency (Hz) of the noise of its own
_SURFACES: dict[str, tuple[float, float, float, float]] = {
    "hard": (1.0, 0.22, 0.012, 6000), "stone": (1.0, 0.25, 0.014, 7000),
    "wood": (0.85, 0.45, 0.035, 1600), "earth": (0.5, 0.8, 0.045, 1200),
    "grass": (0.42, 0.7, 0.06, 2600), "sand": (0.36, 0.9, 0.07, 3200),
    "snow": (0.3, 1.0, 0.09, 4200), "cloud": (0.35, 0.5, 0.12, 1500),
}  # fmt: skip
# setting: seconds to -60 dB, share of reverberation
_ROOMS = {
    "studio": (0.30, 0.20), "room": (0.45, 0.34), "forest": (0.7, 0.12), "city": (0.9, 0.18),
    "mountains": (1.2, 0.16), "space": (1.2, 0.40), "sky": (0.9, 0.14), "stage": (0.8, 0.26),
}  # fmt: skip


class _Voice:
    """One body: its resonators, and the noise of the floor that it strikes or rolls on."""

    def __init__(self, body: Body, scene: Scene, stream: int) -> None:
        self.body, self.half_width = body, scene.width / min(scene.width, scene.height)
        rng = np.random.Generator(np.random.PCG64(body.seed))
        self.noise = Noise(scene.seed, 100 + stream)
        self.hardness, self.grit, self.grit_s, self.grit_hz = _SURFACES[SURFACE[scene.setting]]
        pitch = (0.25 / body.radius) ** 0.6 * float(rng.uniform(0.95, 1.06))
        ring = 0.3 + 0.7 * self.hardness  # a soft floor holds on to the body and damps it
        self.modes = [
            (hz * pitch * float(rng.uniform(0.985, 1.015)), t60 * ring, level)
            for hz, t60, level in MODES[body.material]
        ]
        self.hits = [hit for hit in body.impacts if hit.time_s < scene.duration_s]
        self.touch_s = 1e-3 * (TOUCH_MS[body.material] + 2.0 * (1 - self.hardness))
        self.bank = [_resonator(hz, t60) for hz, t60, _ in self.modes]
        self.states = [np.zeros(2) for _ in self.modes]
        self.spill = np.zeros(BLOCK + _TAIL)  # noise of contacts, beyond this block as well
        self.push = np.zeros(BLOCK + 1024)  # what excites the resonators
        self.next_hit = 0
        self.low = np.zeros(1)
        self.air = np.zeros(2)
        self.others = [b.material for b in scene.bodies]
        track = body.track
        self.moves = any(x is not None for x in (track.reach, track.orbit, track.line))
        self.airy = bool({"orbit", "spin", "swing", "shake", "jump", "bounce"} & set(body.motions))

    def block(self, start: int, count: int) -> tuple[Array, Array]:
        """(mono sound, pan -1..1) of ``count`` samples from ``start``."""
        from scipy.signal import lfilter

        times = (start + np.arange(0, count + 256, 256)) / RATE_HZ
        at = np.arange(count)
        grid = np.arange(0, count + 256, 256)
        self._strike(start, count)
        state = self.body.track.at(times)
        pan = np.interp(at, grid, np.clip(state.x / self.half_width, -1, 1))
        near = np.interp(at, grid, 1 / (1 + 0.3 * np.clip(state.z, -0.5, 3)))
        push, direct = self.push[:count], self.spill[:count]
        if self.moves:
            speed = np.interp(at, grid, self.body.track.floor_speed(times))
            turn = 1 + 0.35 * np.sin(2.0 * np.interp(at, grid, state.x) / self.body.radius)
            hiss = self.noise.block(start, count)[0]
            coeff = float(np.exp(-2 * np.pi * (250 + 500 * self.hardness) / RATE_HZ))
            rumble, self.low = lfilter([1 - coeff], [1, -coeff], hiss * speed * turn, zi=self.low)
            direct = direct + 0.09 * rumble
            push = push + 0.0012 * self.hardness * hiss * speed
        if self.airy:
            rush = np.interp(at, grid, np.clip(self.body.track.air_speed(times) / 5.0, 0, 2)) ** 2
            b, a = _band(420.0, 1.6)
            wind, self.air = lfilter(b, a, self.noise.block(start, count)[1] * rush, zi=self.air)
            direct = direct + 0.020 * wind
        out = direct.copy()
        for index, ((b, a), (_, _, level)) in enumerate(zip(self.bank, self.modes, strict=True)):
            sound, self.states[index] = lfilter(b, a, push, zi=self.states[index])
            out += level * sound
        self.push = np.concatenate([self.push[count:], np.zeros(count)])
        self.spill = np.concatenate([self.spill[count:], np.zeros(count)])
        return out * near, pan

    def _strike(self, start: int, count: int) -> None:
        """Write the contacts that begin in this block into the buffers."""
        while self.next_hit < len(self.hits):
            hit = self.hits[self.next_hit]
            first = hit.time_s * RATE_HZ
            if first >= start + count:
                break
            force, touch_s = hit.speed / _HIT_SPEED, self.touch_s
            if hit.other >= 0:  # the softer of the two decides how long they touch
                force *= _KNOCK
                softer = max(TOUCH_MS[self.body.material], TOUCH_MS[self.others[hit.other]])
                touch_s = 1e-3 * softer
            width = touch_s * max(force, 0.05) ** -0.2 * RATE_HZ  # Hertz: contact time ~ v^-1/5
            begin = int(np.ceil(first))
            n = np.arange(begin, min(begin + int(width) + 2, begin + 1000))
            phase = np.clip((n - first) / width, 0, 1)
            pulse = np.sin(np.pi * phase) ** 2
            pulse *= force / max(pulse.sum(), 0.5)
            self.push[begin - start : begin - start + n.size] += pulse
            rng = np.random.Generator(
                np.random.PCG64(np.random.SeedSequence([self.body.seed, self.next_hit]))
            )
            if hit.other < 0:
                self._grit(begin - start, force, rng)
            self.next_hit += 1

    def _grit(self, offset: int, force: float, rng: np.random.Generator) -> None:
        from scipy.signal import lfilter

        size = min(int(6 * self.grit_s * RATE_HZ), _TAIL - 64)
        t = np.arange(size) / RATE_HZ
        coeff = float(np.exp(-2 * np.pi * self.grit_hz / RATE_HZ))
        noise = lfilter([1 - coeff], [1, -coeff], rng.standard_normal(size))
        noise /= max(float(np.sqrt(np.mean(noise**2))), 1e-9)
        thud = np.sin(2 * np.pi * 78 * t) * np.exp(-t / 0.05) * (1.1 - self.hardness)
        burst = 0.16 * self.grit * noise * np.exp(-t / self.grit_s) + 0.5 * thud
        burst[:24] *= np.linspace(0.2, 1, 24)
        self.spill[offset : offset + size] += force * burst


def _resonator(hz: float, t60_s: float) -> tuple[Array, Array]:
    """Two poles whose impulse response is r^n sin(n w): starts at 0, peaks near 1."""
    hz = min(hz, 0.45 * RATE_HZ)
    r, w = np.exp(-6.91 / (t60_s * RATE_HZ)), 2 * np.pi * hz / RATE_HZ  # 6.91 = ln 1000
    return np.array([0.0, np.sin(w)]), np.array([1.0, -2 * r * np.cos(w), r * r])


def _band(hz: float, q: float) -> tuple[Array, Array]:
    w = 2 * np.pi * hz / RATE_HZ
    alpha = np.sin(w) / (2 * q)
    a0 = 1 + alpha
    return np.array([alpha, 0, -alpha]) / a0, np.array([a0, -2 * np.cos(w), 1 - alpha]) / a0


class Reverb:
    """Overlap-add convolution with two decaying noises, one for each ear."""

    def __init__(self, setting: str) -> None:
        t60_s, self.share = _ROOMS.get(setting, (0.5, 0.06))
        size = int(t60_s * RATE_HZ)
        rng = np.random.Generator(np.random.PCG64(7))  # the room is the same for every seed
        t = np.arange(size) / RATE_HZ
        tail = rng.standard_normal((2, size)) * np.exp(-6.91 * t / t60_s)
        tail[:, : int(0.008 * RATE_HZ)] = 0  # the first reflection comes later than the sound
        tail = np.cumsum(tail, axis=1) * 0.03 + tail * 0.4
        tail -= tail.mean(axis=1, keepdims=True)
        tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
        self.size = 1 << int(np.ceil(np.log2(BLOCK + size)))
        self.spectrum = np.fft.rfft(tail, self.size)
        self.rest = np.zeros((2, self.size))

    def block(self, mono: Array) -> Array:
        """(2, n) of reverberation; call in order, n <= BLOCK."""
        self.rest += np.fft.irfft(np.fft.rfft(mono, self.size) * self.spectrum, self.size)
        out = self.rest[:, : mono.size].copy()
        self.rest = np.concatenate([self.rest[:, mono.size :], np.zeros((2, mono.size))], axis=1)
        return out * self.share


@dataclass(frozen=True)
class Levels:
    """Factors of the two stems, from one measuring pass."""

    events: float
    bed: float


def stems(scene: Scene, total: int) -> Iterator[tuple[Array, Array]]:
    """Blocks of (events, ambience), each (2, n), ``total`` samples in all."""
    voices = [_Voice(body, scene, index) for index, body in enumerate(scene.bodies)]
    reverb, bed = Reverb(scene.setting), Ambience(scene)
    for start in range(0, total, BLOCK):
        count = min(BLOCK, total - start)
        events = np.zeros((2, count))
        send = np.zeros(count)
        for voice in voices:
            mono, pan = voice.block(start, count)
            angle = (pan * 0.8 + 1) * np.pi / 4  # constant power
            events[0] += mono * np.cos(angle)
            events[1] += mono * np.sin(angle)
            send += mono
        music = bed.music(start, count)
        if music is not None:
            events += music
            send += music.mean(axis=0)
        yield events + reverb.block(send), bed.block(start, count)


def balance(
    scene: Scene,
    total: int,
    progress: Progress = no_progress,
    cancelled: Cancelled = never_cancelled,
) -> Levels:
    """Measure both stems once and choose their levels: the whole near -23 dBFS, contacts bent
    gently into -3 dBFS, the ambience never silent."""
    from avsafe.errors import Cancelled as Stopped

    peak, events_power, bed_power, done = 0.0, 0.0, 0.0, 0
    for events, bed in stems(scene, total):
        if cancelled():
            raise Stopped("The world generator was asked to stop while it measured its sound.")
        peak = max(peak, float(np.abs(events).max(initial=0.0)))
        done += events.shape[1]
        progress(0.02 + 0.08 * done / total, "sound")
        events_power += float((events**2).sum())
        bed_power += float((bed**2).sum())
    events_rms = np.sqrt(events_power / (2 * max(total, 1)))
    bed_rms = max(np.sqrt(bed_power / (2 * max(total, 1))), 1e-9)
    if peak < 1e-4:
        return Levels(0.0 if peak == 0 else 1.0, float(_BED_ALONE / bed_rms))
    gain = min(_DRIVE * CEILING / peak, 0.95 * _TARGET / max(events_rms, 1e-9))
    missing = np.sqrt(max(_TARGET**2 - (gain * events_rms) ** 2, 0.0))
    return Levels(float(gain), float(np.clip(missing, *_BED) / bed_rms))


def render(scene: Scene, total: int, levels: Levels) -> Iterator[Samples]:
    """Blocks of the finished sound: (2, n) float32, |x| < CEILING."""
    for events, bed in stems(scene, total):
        mix = levels.events * events + levels.bed * bed
        yield soften(mix).astype(np.float32)


def soften(mix: Any) -> Any:
    """Straight up to the knee, then bent so that the ceiling is never reached.

    >>> float(soften(np.array([0.25]))[0]), bool(soften(np.array([9.0]))[0] <= CEILING)
    (0.25, True)
    """
    size = np.abs(mix)
    room = CEILING - _KNEE
    bent = _KNEE + room * np.tanh((size - _KNEE) / room)
    return np.where(size > _KNEE, np.sign(mix) * bent, mix)
