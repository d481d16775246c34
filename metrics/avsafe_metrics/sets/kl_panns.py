"""KL_PANNs: how far what a tagger hears in a clip is from what it hears in the clip's reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from avsafe.types import Aggregate, Column
from avsafe_metrics.sets.fd_panns import FdPanns
from avsafe_metrics.sets.figures import over_clips
from avsafe_metrics.sets.posterior_kl import posterior_kl
from avsafe_metrics.sets.rows import paired

if TYPE_CHECKING:
    from avsafe_metrics.sets.figures import Items


class KlPanns(FdPanns):
    """Mean KL(reference || clip) over clips that have a reference of the same name; softmax of
    Cnn14's logits. Weights: ``panns``. A clip without a reference counts in n_expected."""

    info = replace(
        FdPanns.info,
        name="kl_panns",
        title="KL PANNs",
        columns=(Column("", "nats", "lower", "0: the tagger hears the same", 0.0),),
        source="as in AudioLDM (arXiv:2301.12503) and MMAudio (arXiv:2412.15322), KL_PANNs",
    )

    def reduce(self, items: Items, reference: Items) -> Mapping[str, Aggregate | str]:
        if not reference:
            return {"": "KL PANNs needs a reference: a folder of real clips (--reference DIR)"}
        try:
            ours, theirs, names = paired(items, reference, "logits")
        except ValueError as error:
            return {"": str(error)}
        if not names:
            return {"": "no clip has a reference of its own name; KL compares pairs"}
        values = posterior_kl(ours, theirs)
        unpaired = len(items) - len(names)
        return {
            "": over_clips(
                "kl_panns", values, len(items), pairs=len(names), without_reference=unpaired
            )
        }
