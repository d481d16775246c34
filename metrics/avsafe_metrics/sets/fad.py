"""FAD: the Fréchet distance of VGGish features of sound (Kilgour et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping

from avsafe.types import Clip, Column, Meter, MetricInfo
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.feeding import Backbone, SoundMeter
from avsafe_metrics.sets.figures import FrechetMetric

EXPECTED = "VGGish in torchvggish's layout (vggish-10086976.pth)"


class Fad(FrechetMetric):
    """FAD over patches of 0.96 s of the first minute of each clip. Weights: ``vggish``.

    ``activation=False`` takes the features before the last rectifier, as some packages do; the two
    give different numbers.
    """

    info = MetricInfo(
        name="fad",
        version="1",
        title="FAD",
        columns=(Column("", "", "lower", "distance of VGGish features of 0.96 s", 0.0),),
        wants=("sound",),
        family="set",
        scope="set",
        weights=("vggish",),
        source="Kilgour et al. 2019 (arXiv:1812.08466); torchvggish's front end",
    )

    def __init__(
        self, *, weights: Mapping[str, str] | None = None, device: str = "cpu",
        activation: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self._weights, self._device, self._activation = weights, device, activation

    def make_backbone(self) -> Backbone:
        require_torch()
        from avsafe_metrics.sets.backbones.vggish import Vggish

        path = path_of(self._weights, "vggish", EXPECTED)
        return Vggish(path, self._device, activation=self._activation)

    def open(self, clip: Clip) -> Meter:
        return SoundMeter(self.backbone, clip.shape)
