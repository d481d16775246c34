"""A scene as media: its frames and its sound, made while they are iterated.

For every generator whose result is a scene, however it came to be: planned, or sampled by a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from avsafe.types import Cancelled, Frame, Kind, Progress, RawMedia, Samples, no_progress
from avsafe_generators.asking import Watched
from avsafe_generators.world.scene import Scene


def played(
    scene: Scene, rate: Fraction, count: int, details: Mapping[str, Any], progress: Progress,
    cancelled: Cancelled, *, begun: float = 0.0,
) -> RawMedia:  # fmt: skip
    """``count`` frames at ``rate`` with their sound; ``begun`` is the share of the work done."""
    from avsafe_generators.world import sound

    left = 1.0 - begun
    total = round(Fraction(count) / rate * sound.RATE_HZ)

    def heard(share: float, stage: str) -> None:
        progress(begun + left * share, stage)

    heard(0.02, "sound")
    levels = sound.balance(scene, total, heard, cancelled)
    heard(0.1, "frames")

    def samples() -> Iterator[Samples]:
        return sound.render(scene, total, levels)

    return RawMedia(
        Kind.VIDEO,
        frames=_frames(scene, rate, range(count), progress, cancelled, begun + 0.1 * left),
        frame_rate=rate,
        frame_count=count,
        width=scene.width,
        height=scene.height,
        samples=Watched(samples, None, no_progress, cancelled, stage="sound"),
        rate_hz=sound.RATE_HZ,
        channels=2,
        details=details,
    )


def still(
    scene: Scene, rate: Fraction, number: int, details: Mapping[str, Any], progress: Progress,
    cancelled: Cancelled,
) -> RawMedia:  # fmt: skip
    """Frame ``number`` as a picture."""
    return RawMedia(
        Kind.IMAGE,
        frames=_frames(scene, rate, range(number, number + 1), progress, cancelled, 0.1),
        frame_count=1,
        width=scene.width,
        height=scene.height,
        details=details,
    )


def _frames(
    scene: Scene, rate: Fraction, numbers: range, progress: Progress, cancelled: Cancelled,
    begun: float,
) -> Watched[Frame]:  # fmt: skip
    def drawn() -> Iterator[Frame]:
        from avsafe_generators.world.render import Renderer

        renderer = Renderer(scene, rate)
        return (renderer.frame(number) for number in numbers)

    return Watched(drawn, len(numbers), progress, cancelled, span=(begun, 1.0))
