"""Fitting what ships: a linear model and boosted trees, on windows of weighted sources.

Legend: ``n`` windows, ``d`` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.video import model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.video.measuring import Table
    from avsafe_detectors.video.protocol import Units

    F32 = NDArray[np.float32]

PULL = 0.01  # inverse strength of the linear model's ridge (scikit-learn's C)
TREES = {"max_iter": 80, "learning_rate": 0.09, "max_leaf_nodes": 8, "min_samples_leaf": 30,
         "l2_regularization": 5.0, "max_features": 0.3}  # fmt: skip
COLUMNS = 96  # the linear model's heaviest measures are what trees may split on
SHARE = 0.5  # of the trees in the score


def weights_of(
    y: NDArray[np.bool_],
    sources: Sequence[str] | NDArray[Any],
    families: Sequence[str] | NDArray[Any],
) -> NDArray[np.float64]:
    """One for each source, families by the root of their sources, both classes the same in sum."""
    source, family = np.asarray(sources), np.asarray(families)
    weight = np.zeros(len(y))
    for label in (False, True):
        own = y == label
        _, at, count = np.unique(source[own], return_inverse=True, return_counts=True)
        w = 1.0 / count[at]
        for one in np.unique(family[own]):
            inside = family[own] == one
            w[inside] *= np.sqrt(len(np.unique(source[own][inside]))) / w[inside].sum()
        weight[own] = w / w.sum() * len(y) / 2
    return weight


def fitted(
    x: F32,
    y: NDArray[np.bool_],
    weight: NDArray[np.float64],
    *,
    share: float = SHARE,
    seed: int = 0,
) -> dict[str, Any]:
    """Arrays for ``model.scores``."""
    from sklearn.linear_model import LogisticRegression

    centre = np.median(x, 0)
    spread = np.subtract(*np.percentile(x, (84, 16), axis=0)) / 2 + 1e-4
    found: dict[str, Any] = {"centre": centre.astype(np.float32),
                             "spread": spread.astype(np.float32),
                             "share": np.array([share], np.float32)}  # fmt: skip
    z = model.standardised(x, found)
    line = LogisticRegression(C=PULL, max_iter=300)
    line.fit(z, y, sample_weight=weight)
    found["linear.weight"] = line.coef_[0].astype(np.float32)
    found["linear.bias"] = line.intercept_.astype(np.float32)
    if share > 0:
        columns = np.argsort(-np.abs(line.coef_[0]))[:COLUMNS]
        found |= _grown(z, y, weight, columns, seed)
    return found


def _grown(
    z: F32,
    y: NDArray[np.bool_],
    weight: NDArray[np.float64],
    columns: NDArray[np.int64],
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Boosted trees on some columns, as arrays (trees, nodes)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    grown = HistGradientBoostingClassifier(random_state=seed, early_stopping=False, **TREES)
    # on a grid: bins are the midpoints between its values, found without weighted percentiles
    grown.fit(np.rint(z[:, columns] * 8) / 8, y, sample_weight=weight)
    nodes = [step[0].nodes for step in grown._predictors]
    shape = (len(nodes), max(len(n) for n in nodes))
    found: dict[str, NDArray[Any]] = {
        "feature": np.full(shape, -1, np.int16),
        "threshold": np.zeros(shape, np.float32),
        "left": np.zeros(shape, np.int16),
        "right": np.zeros(shape, np.int16),
        "value": np.zeros(shape, np.float32),
        "base": np.asarray(grown._baseline_prediction, np.float32).reshape(-1)[:1],
    }
    for i, tree in enumerate(nodes):
        n = len(tree)
        leaf = tree["is_leaf"].astype(bool)
        found["feature"][i, :n] = np.where(
            leaf, -1, columns[np.where(leaf, 0, tree["feature_idx"])]
        )
        found["threshold"][i, :n] = np.where(leaf, 0, tree["num_threshold"])
        found["left"][i, :n], found["right"][i, :n] = tree["left"], tree["right"]
        found["value"][i, :n] = tree["value"]
    return {f"trees.{k}": v for k, v in found.items()}


def condition_model(table: Table, u: Units, weights: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """A linear model that tells the conditions of files apart by their mean measures."""
    from sklearn.linear_model import LogisticRegression

    from avsafe_detectors.video.protocol import mean_of

    z = mean_of(model.standardised(table.x, weights), table.unit, len(u.source))
    ok = u.trained & ~u.still
    line = LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    line.fit(z[ok], u.condition[ok])
    return {"condition.weight": line.coef_.T.astype(np.float32),
            "condition.bias": line.intercept_.astype(np.float32)}  # fmt: skip
