"""FD sound-texture: the Fréchet distance of weight-free features of seconds of sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from avsafe.errors import Unscorable
from avsafe.types import Clip, Column, Gathered, Meter, MetricInfo
from avsafe_metrics.base import QuietMeter
from avsafe_metrics.sets.backbones import sound_texture
from avsafe_metrics.sets.feeding import Backbone
from avsafe_metrics.sets.figures import FrechetMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FdSoundTexture(FrechetMetric):
    """Distance of how the clips sound from how the reference does (our own features, see
    ``backbones.sound_texture``; no published metric), a row each second of up to 30."""

    info = MetricInfo(
        name="fd_sound_texture",
        version="1",
        title="FD sound-texture",
        columns=(Column("", "", "lower", "distance of sound textures, no weights", 0.0),),
        wants=("mono16k",),
        family="set",
        scope="set",
        source="Fréchet distance of 37 features of our own; docs/metrics/sets.md",
    )
    least_clips = 10

    def make_backbone(self) -> Backbone:
        return _None()

    def open(self, clip: Clip) -> Meter:
        return _Meter()


class _None:
    """Nothing to load."""

    def __init__(self) -> None:
        self.name, self.digests = "sound_texture", dict[str, str]()

    def features(self, given: object) -> dict[str, NDArray[np.float32]]:
        raise NotImplementedError


class _Meter(QuietMeter):
    def finish(self, gathered: Gathered) -> Mapping[str, NDArray[np.float32]]:
        if gathered.mono16k is None:
            raise Unscorable("the clip has no sound")
        return {"features": sound_texture.rows(gathered.mono16k)}
