"""Detectors over clips whose origin is known: what they judge, how often they abstain.

The label of a clip is its folder: ``real`` against ``synthetic`` (or ``fake``, ``generated``,
``ai``). Each detector is asked through ``safety.measure``, whose column ``detector_NAME`` is a
probability or the reason of an abstention; here these become figures of the set.

Legend: ``n`` clips judged; a score is higher for synthetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from avsafe import plugins
from avsafe.bench.statistics import wilson
from avsafe.bench.work import Work
from avsafe.types import Aggregate, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

REAL = frozenset(("real", "authentic", "camera"))
SYNTHETIC = frozenset(("synthetic", "fake", "generated", "ai"))
NONE_INSTALLED = (
    "no detector is installed: none is registered under the entry point avsafe.detectors"
)
ALARMS = 0.01  # share of false alarms at which hits are counted
_DRAWS = 2000


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
        asked = [(label_of(work), values.get(work.sample.sample_id, {}).get(f"safety.{column}"))
                 for work in works]  # fmt: skip
        found |= {f"{column}.{k}": v for k, v in of_detector(asked).items()}
    return found


def of_detector(asked: Iterable[tuple[bool | None, Value | None]]) -> dict[str, Aggregate | str]:
    """The figures of one detector from (label, probability or reason) of every clip.

    ``auc`` is the chance that a synthetic clip scores above a real one, ties half (Hanley and
    McNeil 1982), with a bootstrap interval over the clips of each label. ``hits_at_1pct`` is the
    share of synthetic clips above the threshold that at most 1 % of the real ones pass, with
    Wilson's interval; a reason with fewer than 100 real clips, among which 1 % cannot be seen.
    ``abstention`` is the share of clips without a judgement, clips without a label included.

    >>> judged = [(True, 0.9), (True, 0.8), (False, 0.1), (False, "abstained: too short")]
    >>> of_detector(judged)["auc"].value
    1.0
    """
    pairs = list(asked)
    n = len(pairs)
    if not n:
        return dict.fromkeys(("auc", "hits_at_1pct", "abstention"), "there is no clip")
    silent = sum(not isinstance(value, float) for _, value in pairs)
    found: dict[str, Aggregate | str] = {
        "abstention": Aggregate("abstention", silent / n, *wilson(silent, n), n, n, "95 % Wilson")
    }
    real = _scores(pairs, False)
    made = _scores(pairs, True)
    if not real.size or not made.size:
        lacks = "real" if not real.size else "synthetic"
        reason = f"no clip of a folder called {lacks} was judged"
        return found | {"auc": reason, "hits_at_1pct": reason}
    labelled = sum(label is not None for label, _ in pairs)
    low, high = _interval(real, made)
    found["auc"] = Aggregate(
        "auc", auc(real, made), low, high, real.size + made.size, labelled,
        details={"n_real": int(real.size), "n_synthetic": int(made.size)},
    )  # fmt: skip
    found["hits_at_1pct"] = _hits(real, made, labelled)
    return found


def auc(real: F64, made: F64) -> float:
    """The area under the ROC curve, by ranks.

    >>> auc(np.array([0.1, 0.5]), np.array([0.5, 0.9]))
    0.875
    """
    below = np.searchsorted(np.sort(real), made, "left")
    upto = np.searchsorted(np.sort(real), made, "right")
    return float((below + upto).sum() / (2 * real.size * made.size))


def _scores(pairs: Iterable[tuple[bool | None, Value | None]], label: bool) -> F64:
    return np.array([v for of, v in pairs if of is label and isinstance(v, float)], np.float64)


def _interval(real: F64, made: F64) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    drawn = [auc(rng.choice(real, real.size), rng.choice(made, made.size)) for _ in range(_DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _hits(real: F64, made: F64, labelled: int) -> Aggregate | str:
    least = round(1 / ALARMS)
    if real.size < least:
        return f"1 % of {real.size} real clips cannot be seen: at least {least} must be judged"
    allowed = real.size // least
    threshold = np.sort(real)[::-1][allowed]  # so many real scores may lie above
    k = int((made > threshold).sum())
    return Aggregate(
        "hits_at_1pct", k / made.size, *wilson(k, made.size), int(made.size), labelled,
        "95 % Wilson", {"threshold": float(threshold)},
    )  # fmt: skip
