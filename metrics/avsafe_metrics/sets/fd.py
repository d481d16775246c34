"""FD over any backbone, under the backbone's own name: ``fd_videomae``, ``fd_clip``..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from avsafe.types import Column, MetricInfo
from avsafe_metrics.sets.any_backbone import FREE, OverBackbone, known, wants
from avsafe_metrics.sets.figures import FrechetMetric


class Fd(OverBackbone, FrechetMetric):
    """The Fréchet distance over ``backbone``; covariance over n - ``ddof``. It is named
    ``fd_BACKBONE``, and no published metric is meant: those have metrics of their own here."""

    info = MetricInfo(
        name="fd",
        version="1",
        title="FD",
        columns=(Column("", "", "lower", "distance of features of the backbone named", 0.0),),
        wants=("rgb",),
        family="set",
        scope="set",
        weights=("inception",),
        source="Dowson and Landau 1982, eq. 4, over the backbone named",
    )

    def __init__(
        self, *, backbone: str = "inception", weights: Mapping[str, str] | None = None,
        device: str = "cpu", frames: int = 8, windows: int = 1, architecture: str = "",
        ddof: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(backbone, weights, device, frames, windows, architecture)
        self.ddof = ddof
        self.info = replace(
            Fd.info,
            name=f"fd_{known(backbone)}",
            title=f"FD over {backbone}",
            wants=wants(backbone),
            weights=() if backbone in FREE else (backbone,),
        )
