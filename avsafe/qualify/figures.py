"""What scores of real and of synthetic files say of a detector. Pure; a source counts once.

Legend: ``n`` files, ``s`` sources; a score is higher for synthetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avsafe.calibration import ALARM_RATE, ece, platt, probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]
    Flags = NDArray[np.bool_]

DRAWS = 1000
FOLDS = 5


def auc(x: F64, y: Flags, sources: Sequence[str]) -> float:
    """Area under the ROC curve, every source weighing the same within its class.

    >>> auc(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]), list("abcd"))
    1.0
    """
    return float(_wins(x, y, sources).mean())


def auc_interval(x: F64, y: Flags, sources: Sequence[str], *, seed: int = 0) -> tuple[float, float]:
    """95 % of the area, sources drawn anew within each class."""
    wins = _wins(x, y, sources)
    rng = np.random.default_rng(seed)
    made, real = wins.shape
    up = rng.multinomial(made, np.full(made, 1 / made), DRAWS) / made
    down = rng.multinomial(real, np.full(real, 1 / real), DRAWS) / real
    drawn = np.einsum("bm,mr,br->b", up, wins, down, optimize=True)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _wins(x: F64, y: Flags, sources: Sequence[str]) -> F64:
    """(synthetic sources, real sources): how often the synthetic one scores higher; ties half."""
    of = np.asarray(sources)
    real, real_at = np.unique(of[~y], return_inverse=True)
    made = np.unique(of[y])
    per_real = np.bincount(real_at, minlength=len(real))
    rows = []
    for name in made:
        own = x[y & (of == name)][:, None]
        share = ((own > x[~y]) + 0.5 * (own == x[~y])).mean(0)
        rows.append(np.bincount(real_at, share, len(real)) / per_real)
    return np.array(rows, np.float64)


def eer(x: F64, y: Flags) -> float:
    """Equal error rate: where as many real files are above a threshold as synthetic ones below.

    >>> eer(np.array([0.0, 2.0, 1.0, 3.0]), np.array([False, False, True, True]))
    0.5
    """
    cuts = np.unique(np.concatenate([x, [np.inf]]))
    alarms = np.array([(x[~y] >= cut).mean() for cut in cuts])
    misses = np.array([(x[y] < cut).mean() for cut in cuts])
    at = int(np.argmin(np.abs(alarms - misses)))
    return float((alarms[at] + misses[at]) / 2)


def threshold_of(real: F64) -> float:
    """What ``calibration.fit`` takes: at most 1 % of real files above, another one counted in."""
    ordered = np.sort(real)
    allowed = max(0, math.floor(ALARM_RATE * (len(ordered) + 1)) - 1)
    return float(ordered[len(ordered) - 1 - allowed])


def out_of_fold(x: F64, y: Flags, sources: Sequence[str], *, seed: int = 0) -> dict[str, float]:
    """Calibration error and rates of files whose source the calibration had not seen.

    Sources go into five folds, a source with files of both classes into one. Keys: ``ece``,
    ``fpr``, ``tpr``; {} when a fold would leave a class without two files.
    """
    of = np.asarray(sources)
    names = np.unique(of)
    np.random.default_rng(seed).shuffle(names)
    fold = {str(name): place % FOLDS for place, name in enumerate(names)}
    at = np.array([fold[str(name)] for name in of])
    p, above = np.zeros(len(x)), np.zeros(len(x), bool)
    for left_out in range(FOLDS):
        test = at == left_out
        if not test.any():
            continue
        train = ~test
        if min(int(y[train].sum()), int((~y[train]).sum())) < 2:
            return {}
        slope, intercept = platt(x[train], y[train], _weights(y[train], of[train]))
        p[test] = [probability(v) for v in slope * x[test] + intercept]
        above[test] = x[test] > threshold_of(x[train & ~y])
    return {"ece": ece(p, y), "fpr": float(above[~y].mean()), "tpr": float(above[y].mean())}


def _weights(y: Flags, of: NDArray[np.str_]) -> F64:
    """Both classes the same in sum, every source the same within its class."""
    weight = np.zeros(len(y))
    for label in (False, True):
        members = y == label
        names, place, count = np.unique(of[members], return_inverse=True, return_counts=True)
        weight[members] = 1.0 / count[place] / max(1, len(names))
    return weight


def told_apart(values: Sequence[str], y: Flags) -> float:
    """AUC with which a label such as the codec alone tells the classes apart; at least 0.5.

    >>> told_apart(["png", "png", "jpeg", "jpeg"], np.array([False, False, True, True]))
    1.0
    """
    of = np.asarray(values)
    share = {name: float(y[of == name].mean()) for name in np.unique(of)}
    x = np.array([share[name] for name in of])
    return auc(x, y, [str(i) for i in range(len(x))])
