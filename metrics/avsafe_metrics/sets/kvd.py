"""KVD: squared MMD of I3D logits of windows of video (Unterthiner et al. 2019)."""

from __future__ import annotations

from dataclasses import replace

from avsafe.types import Column
from avsafe_metrics.sets.figures import KernelMetric
from avsafe_metrics.sets.fvd import Fvd


class Kvd(KernelMetric, Fvd):
    """KVD over ``windows`` windows of ``frames`` frames a clip, with KID's kernel over all pairs.
    Weights: ``i3d``."""

    info = replace(
        Fvd.info,
        name="kvd",
        title="KVD",
        columns=(Column("", "", "lower", "about 0 for equal distributions, and below it too"),),
        source="Unterthiner et al. 2019 (arXiv:1812.01717), polynomial MMD²; unbiased, all pairs",
    )
    least_clips = 10
