"""CMMD: MMD of CLIP embeddings of frames (Jayasumana et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from avsafe.types import Aggregate, Clip, Column, Meter, MetricInfo
from avsafe_metrics.sets import kernel
from avsafe_metrics.sets.backbones.weights import path_of, require_torch
from avsafe_metrics.sets.feeding import Backbone, PictureMeter
from avsafe_metrics.sets.figures import GROUPS, SPLITS, SetMetricBase, figure
from avsafe_metrics.sets.resampling import around, dealt_groups, split_half

if TYPE_CHECKING:
    from avsafe_metrics.sets.figures import Items


class Cmmd(SetMetricBase):
    """CMMD over ``frames`` frames a clip. Weights: ``clip``, with ``architecture`` for a plain
    checkpoint. Published figures use ViT-L/14 at 336 pixels; the details name the model in use."""

    info = MetricInfo(
        name="cmmd",
        version="1",
        title="CMMD",
        columns=(Column("", "", "lower", "1000 MMD² of CLIP embeddings of frames", 0.0, 2000.0),),
        wants=("rgb",),
        family="set",
        scope="set",
        weights=("clip",),
        source="Jayasumana et al. 2024 (arXiv:2401.09603); biased estimator, sigma 10, x 1000",
    )
    least_clips = 10

    def __init__(
        self, *, weights: Mapping[str, str] | None = None, device: str = "cpu", frames: int = 8,
        architecture: str = "", allow_download: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self._weights, self._device, self._frames = weights, device, frames
        self._architecture, self._allow_download = architecture, allow_download

    def make_backbone(self) -> Backbone:
        require_torch()
        from avsafe_metrics.sets.backbones.clip import Clip as Tower

        given = dict(self._weights or {}).get("clip", "")
        if not self._allow_download:
            given = str(path_of(self._weights, "clip", "a CLIP model of open_clip"))
        return Tower(given, self._architecture, self._device, allow_download=self._allow_download)

    def open(self, clip: Clip) -> Meter:
        return PictureMeter(self.backbone, clip, self._frames)

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        found = self.both(items, reference)
        if isinstance(found, str):
            return {"": found}
        x, y = found
        try:
            value = kernel.cmmd(x.values, y.values)
        except ValueError as error:
            return {"": str(error)}
        rbf = kernel.gaussian(kernel.CMMD_SIGMA)
        left = kernel.CMMD_SCALE * kernel.mmd2_without(
            kernel.unit(x.values), dealt_groups(x, groups=GROUPS), kernel.unit(y.values), rbf,
            biased=True,
        )  # fmt: skip
        interval = around(value, left)
        interval = replace(interval, low=max(0.0, interval.low))
        floor = split_half(x, y, kernel.cmmd, splits=SPLITS)
        model = getattr(self.backbone, "model", "unknown")
        return {
            "": figure("cmmd", x, y, value, interval, len(items), floor, model=model,
                       estimator="biased MMD², Gaussian kernel of sigma 10, x 1000")
        }  # fmt: skip
