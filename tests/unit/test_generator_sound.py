"""The sound of the world generator: in sync, at sane levels, never silent, never clipped."""

from dataclasses import replace

import numpy as np
import pytest

from avsafe.types import GenerationRequest, Principal, Task
from avsafe_generators.world import World, parse, scene, sound

PROMPTS = (
    "a red rubber ball bouncing by the sea at sunset",
    "a glass cube falling and a golden star jumping in a room",
    "three wooden balls falling on a meadow",
    "a metal ring rolling right in the city at night, rain",
    "a glowing heart floating in space",
    "two green cubes sliding left in the desert",
    "a marble pyramid, snow",
    "a stone ball falling in a studio",
    "mountains at dawn",
    "music, a pink star spinning in the sky",
    "an ice ball bouncing in a forest",
)


def samples(prompt, **more):
    request = GenerationRequest(
        Principal("u"), Task.TEXT_TO_VIDEO, "world", prompt, width=64, height=64, **more
    )
    raw = World().generate(request)
    return np.concatenate(list(raw.samples), axis=1), raw


def decibel(value):
    return 20 * np.log10(np.maximum(value, 1e-12))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_levels(prompt):
    sound_, _ = samples(prompt, seed=4)
    assert decibel(np.abs(sound_).max()) <= -3.0 + 1e-6
    assert -26.0 <= decibel(np.sqrt((sound_**2).mean())) <= -20.0
    for channel in sound_:
        quiet = [
            np.sqrt((channel[i : i + 4800] ** 2).mean())
            for i in range(0, channel.size - 4799, 4800)
        ]
        assert decibel(min(quiet)) > -55  # the ambience never falls silent
        assert abs(channel.mean()) < 0.01


@pytest.mark.parametrize("material", sorted(scene.RESTITUTION))
@pytest.mark.parametrize("setting", ["room", "desert", "snowfield"])
def test_a_contact_is_heard_when_it_happens(material, setting):
    """Onsets are found in the sound alone: where its short-time energy jumps."""
    world = scene.plan(
        parse.parse("a ball bouncing"), width=512, height=512, duration_s=3.0, seed=2
    )
    body = replace(world.bodies[0], material=material)
    world = replace(world, bodies=(body,), setting=setting)
    hits = [hit.time_s for hit in body.impacts if hit.speed > 1.5]
    assert len(hits) >= 3
    events = np.concatenate([e for e, _ in sound.stems(world, 3 * sound.RATE_HZ)], axis=1)
    energy = (events.sum(axis=0).reshape(-1, 24) ** 2).sum(axis=1)  # half a millisecond each
    late = np.convolve(energy, np.ones(8))[7:][: energy.size - 8]
    early = np.convolve(energy, np.ones(40))[: energy.size - 8] + 1e-9
    rise = np.log(late[1:] / early[:-1])
    for hit in hits:
        at = round(hit * 2000)
        window = slice(max(0, at - 60), at + 60)
        onset = max(0, at - 60) + int(np.argmax(rise[window])) + 1
        assert abs(onset / 2 - hit * 1000) <= 5.0  # milliseconds


def test_nothing_sounds_before_the_contact():
    world = scene.plan(
        parse.parse("a steel ball falling in a studio"),
        width=512,
        height=512,
        duration_s=2.0,
        seed=1,
    )
    first = world.bodies[0].impacts[0].time_s
    events = np.concatenate([e for e, _ in sound.stems(world, 2 * sound.RATE_HZ)], axis=1)
    edge = int(np.floor(first * sound.RATE_HZ))
    assert np.abs(events[:, :edge]).max() < 1e-12  # the rounding of the reverberation
    assert np.abs(events[:, edge : edge + 96]).max() > 0.01


def test_contacts_get_quieter_with_the_speed():
    world = scene.plan(
        parse.parse("a wooden ball falling in a studio"),
        width=512,
        height=512,
        duration_s=3.0,
        seed=1,
    )
    events = np.concatenate([e for e, _ in sound.stems(world, 3 * sound.RATE_HZ)], axis=1)
    peaks = [
        np.abs(events[:, int(h.time_s * 48000) :][:, :2400]).max()
        for h in world.bodies[0].impacts[:3]
    ]
    assert peaks[0] > peaks[1] > peaks[2]


@pytest.mark.parametrize(
    ("material", "seconds"), [("metal", (0.4, 3.0)), ("wood", (0.02, 0.3)), ("stone", (0.01, 0.25))]
)
def test_materials_ring_as_long_as_they_should(material, seconds):
    world = scene.plan(
        parse.parse(f"a {material} ball falling in a studio"),
        width=512,
        height=512,
        duration_s=4.0,
        seed=1,
    )
    body = world.bodies[0]
    flight = replace(body.track.flight, impacts=body.track.flight.impacts[:1])
    world = replace(world, bodies=(replace(body, track=replace(body.track, flight=flight)),))
    events = np.concatenate([e for e, _ in sound.stems(world, 4 * sound.RATE_HZ)], axis=1)[0]
    level = np.sqrt((events[: events.size // 480 * 480].reshape(-1, 480) ** 2).mean(axis=1))
    top = int(level.argmax())
    fall = np.flatnonzero(level[top:] < level[top] * 0.05)[0] * 0.01  # -26 dB
    assert seconds[0] <= fall <= seconds[1]


def test_the_modes_are_in_the_spectrum():
    world = scene.plan(
        parse.parse("a metal cube falling in a studio"),
        width=512,
        height=512,
        duration_s=3.0,
        seed=1,
    )
    from scipy.signal import find_peaks

    voice = sound._Voice(world.bodies[0], world, 0)
    events = np.concatenate([e for e, _ in sound.stems(world, 3 * sound.RATE_HZ)], axis=1).sum(
        axis=0
    )
    start = int(world.bodies[0].impacts[0].time_s * 48000)
    spectrum = np.abs(np.fft.rfft(events[start : start + 16384] * np.hanning(16384)))
    peaks = find_peaks(spectrum, prominence=spectrum.max() * 0.02)[0] * 48000 / 16384
    for hz, _, _ in voice.modes[:3]:
        assert np.abs(peaks - hz).min() < 8


def test_sides_follow_the_object():
    left, _ = samples("a metal ball on the left jumping, studio", seed=1, duration_s=2.0)
    right, _ = samples("a metal ball on the right jumping, studio", seed=1, duration_s=2.0)
    assert (left[0] ** 2).sum() > 1.3 * (left[1] ** 2).sum()
    assert (right[1] ** 2).sum() > 1.3 * (right[0] ** 2).sum()


def test_rolling_sounds_while_it_moves_and_stops_with_it():
    world = scene.plan(
        parse.parse("a stone ball rolling right fast in a studio"),
        width=512,
        height=512,
        duration_s=4.0,
        seed=1,
    )
    track = world.bodies[0].track
    events = np.concatenate([e for e, _ in sound.stems(world, 4 * sound.RATE_HZ)], axis=1)
    power = lambda a, b: float((events[:, int(a * 48000) : int(b * 48000)] ** 2).mean())  # noqa: E731
    stop = track.travel_s
    assert power(0.5, 1.5) > 20 * power(stop + 0.42, stop + 0.55)


def test_the_knee_never_passes_the_ceiling():
    loud = np.linspace(-50, 50, 10_001)
    bent = sound.soften(loud)
    assert np.abs(bent).max() <= sound.CEILING
    assert (np.diff(bent) >= 0).all()
    assert np.array_equal(sound.soften(loud * 0.009), loud * 0.009)


def test_blocks_do_not_click():
    """A join of two blocks is no louder in its differences than the middle of a block."""
    events, _ = samples("a metal ring rolling right in a room", seed=2)
    step = np.abs(np.diff(events.mean(axis=0)))
    joins = step[sound.BLOCK - 1 :: sound.BLOCK]
    assert joins.max() <= np.quantile(step, 0.9999)
