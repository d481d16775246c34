"""Detectors over clips whose origin is known: what they judge, how often they abstain.

The label of a clip is its folder: ``real`` against ``synthetic`` (or ``fake``, ``generated``,
``ai``). Each detector is asked through ``safety.measure``, whose column ``detector_NAME`` is a
probability or the reason of an abstention; here these become figures of the set.

The suite of detectors itself is ``avsafe.bench.detection``: cells, conditions, floors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from avsafe import plugins
from avsafe.bench.detection.figures import Figure, Judged, ranking
from avsafe.bench.statistics import wilson
from avsafe.bench.work import Work
from avsafe.types import Aggregate, Value

REAL = frozenset(("real", "authentic", "camera"))
SYNTHETIC = frozenset(("synthetic", "fake", "generated", "ai"))
NONE_INSTALLED = (
    "no detector is installed: none is registered under the entry point avsafe.detectors"
)


def label_of(work: Work) -> bool | None:
    """True for synthetic, False for real, None when no folder of the clip says.

    >>> from avsafe.types import Sample
    >>> label_of(Work("s", "real/a", Sample("real/a", {}, tags=("real",))))
    False
    """
    for tag in work.sample.tags:
        if tag.lower() in REAL | SYNTHETIC:
            return tag.lower() in SYNTHETIC
    return None


def figures(
    works: Sequence[Work], values: Mapping[str, Mapping[str, Value]]
) -> dict[str, Aggregate | str]:
    """Score name -> figure or reason, for every detector: ``detector_NAME.auc``, ``.hits_at_1pct``
    and ``.abstention``.

    ``values`` has, by sample id, the columns of ``safety.measure``. Without a detector there is one
    entry, ``detectors``, with the reason.
    """
    names = list(plugins.catalogue("detectors"))
    if not names:
        return {"detectors": NONE_INSTALLED}
    found: dict[str, Aggregate | str] = {}
    for name in names:
        column = f"detector_{name}"
        asked = [
            (label_of(work), values.get(work.sample.sample_id, {}).get(f"safety.{column}"),
             work.sample.cluster or work.sample.sample_id)
            for work in works
        ]  # fmt: skip
        found |= {f"{column}.{k}": v for k, v in of_detector(asked).items()}
    return found


def of_detector(
    asked: Iterable[tuple[bool | None, Value | None, str]],
) -> dict[str, Aggregate | str]:
    """The figures of one detector from (label, probability or reason, source) of every clip.

    ``auc`` and ``hits_at_1pct`` (synthetic clips above a threshold that at most 1 % of the real
    ones reach; a reason with fewer than 100 real clips) have intervals over sources
    (``detection.figures``). ``abstention`` is the share of clips without a judgement, clips without
    a label included.

    >>> judged = [(True, 0.9, "a"), (True, 0.8, "b"), (False, 0.1, "c"), (False, "too short", "d")]
    >>> of_detector(judged)["auc"].value
    1.0
    """
    pairs = list(asked)
    n = len(pairs)
    if not n:
        return dict.fromkeys(("auc", "hits_at_1pct", "abstention"), "there is no clip")
    silent = sum(not isinstance(value, float) for _, value, _ in pairs)
    found: dict[str, Aggregate | str] = {
        "abstention": Aggregate("abstention", silent / n, *wilson(silent, n), n, n, "95 % Wilson")
    }
    known = [(label, value, of) for label, value, of in pairs
             if label is not None and isinstance(value, float)]  # fmt: skip
    judged = Judged(
        np.array([value for _, value, _ in known], np.float64),
        np.array([label for label, _, _ in known], np.bool_),
        np.array([of for _, _, of in known], object),
        sum(label is not None for label, _, _ in pairs),
    )
    ranked = ranking(judged)
    return found | {
        "auc": _aggregate("auc", ranked["auc"], judged),
        "hits_at_1pct": _aggregate("hits_at_1pct", ranked["tpr_at_1pct"], judged),
    }


def _aggregate(name: str, figure: Figure, judged: Judged) -> Aggregate | str:
    if figure.value is None:
        return figure.reason
    made = int(judged.synthetic.sum())
    return Aggregate(
        name,
        figure.value,
        math.nan if figure.low is None else figure.low,  # written as: no interval
        math.nan if figure.high is None else figure.high,
        figure.n,
        figure.n_expected,
        figure.interval,
        {"n_real": figure.n - made, "n_synthetic": made, "n_sources": figure.n_sources},
    )
