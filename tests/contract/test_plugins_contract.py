"""Every installed plugin keeps the contract of its kind, built-ins like outsiders."""

from __future__ import annotations

import numpy as np
import pytest

from avsafe import plugins, testing
from avsafe.errors import MissingExtra, UsageError
from avsafe.media.replay import Replay
from avsafe.policy import local_principal
from avsafe.types import GenerationRequest, Generator, Kind, Task, Watermarker

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def clip_for(kind: Kind):
    return {
        Kind.VIDEO: lambda: testing.textured_clip(2.0, 384, 288, sound=False),
        Kind.IMAGE: lambda: testing.still(640, 480),
        Kind.AUDIO: lambda: testing.sound_only(12.0),
    }[kind]()


def tiny_for(kind: Kind):
    if kind is Kind.AUDIO:
        silent = Replay(lambda: iter([np.zeros((1, 48000), np.float32)] * 12))
        return testing.sound_only(1.0).with_samples(silent)
    clip = testing.still(32, 24)
    return clip if kind is Kind.IMAGE else testing.textured_clip(1.0, 32, 24, sound=False)


def watermarker(name: str) -> Watermarker:
    """One that works here, with a payload; the others have test_watermark_adapters.py."""
    try:
        marker: Watermarker = plugins.load("watermarkers", name)
    except MissingExtra as error:
        pytest.skip(str(error))
    if not marker.payload_bits:
        pytest.skip(f"{name} carries no payload")
    return marker


@pytest.mark.parametrize("name", plugins.catalogue("watermarkers"))
def test_watermarker_keeps_its_contract(name: str) -> None:
    marker = watermarker(name)
    testing.check_watermarker(marker, clip_for(marker.modality), KEY, OTHER)


@pytest.mark.parametrize("name", plugins.catalogue("watermarkers"))
def test_watermarker_refuses_what_it_cannot_mark(name: str) -> None:
    marker = watermarker(name)
    testing.check_refuses(marker, tiny_for(marker.modality), KEY)


@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE])
def test_world_keeps_the_generator_contract(task: Task) -> None:
    generator: Generator = plugins.load("generators", "world")
    request = GenerationRequest(
        local_principal(),
        task,
        "world",
        prompt="a red metal ball bouncing and a small blue cube",
        seed=3,
        duration_s=1.0,
        width=256,
        height=256,
    )
    raw = testing.check_generator(generator, request)
    assert raw.kind is (Kind.VIDEO if task is Task.TEXT_TO_VIDEO else Kind.IMAGE)


def test_unknown_plugin_names_what_there_is() -> None:
    with pytest.raises(UsageError, match="world"):
        plugins.load("generators", "nobody")


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    broken = EntryPoint("broken", "avsafe_not_installed:Thing", "avsafe.metrics")
    monkeypatch.setattr(plugins, "catalogue", lambda kind: {"broken": broken})
    with pytest.raises(MissingExtra, match=r"avsafe_not_installed.*avsafe\[bench\]"):
        plugins.load("metrics", "broken")


def test_flash_beep_clip_is_offset_as_it_says() -> None:
    """The yardstick of synchrony: the first loud sample against the first white frame."""
    clip = testing.flash_beep_clip(offset_ms=120, duration_s=2.0)
    testing.check_raw_media(clip)
    flash = next(i for i, frame in enumerate(clip.frames or ()) if frame.mean() > 200)
    sound = np.concatenate(list(clip.samples or ()), axis=1)[0]
    beep_s = int(np.argmax(np.abs(sound) > 0.05)) / clip.rate_hz
    assert (beep_s - flash / float(clip.frame_rate or 1)) * 1000 == pytest.approx(120, abs=1)
