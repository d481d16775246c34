"""KID: squared MMD of Inception features of frames (Bińkowski et al. 2018)."""

from __future__ import annotations

from dataclasses import replace

from avsafe.types import Column
from avsafe_metrics.sets.fid import Fid
from avsafe_metrics.sets.figures import KernelMetric


class Kid(KernelMetric, Fid):
    """KID over ``frames`` frames a clip, over all pairs; the mean over 100 subsets of 1000 rows, as
    it is published, stands in the details where there are as many. Weights: ``inception``."""

    info = replace(
        Fid.info,
        name="kid",
        title="KID",
        columns=(Column("", "", "lower", "about 0 for equal distributions, and below it too"),),
        source="Bińkowski et al. 2018 (arXiv:1801.01401), eq. 3; unbiased over all pairs",
    )
    least_clips = 10
