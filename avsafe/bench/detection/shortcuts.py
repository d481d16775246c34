"""The shortcut audit: are real and synthetic files told apart by how they look from outside?

File size, container, duration, leading silence, bitrate, frame rate and picture size alone are
given to a logistic regression, cross-validated by source. What it reaches, any detector may have
reached in the same way: above ``LIMIT`` figures on these files say little.

Legend: ``n`` units, ``d`` columns; a number that is not there is a column of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.bench.detection import curves, figures
from avsafe.bench.detection.figures import Figure, Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]
    Bool = NDArray[np.bool_]

LIMIT = 0.55
FOLDS = 5
_RIDGE = 1.0  # of standardised columns, against a mean loss of ``n`` units: that of scikit-learn
_WORDS = 12  # different texts of a column; rarer ones are "other"


def audit(
    columns: Mapping[str, NDArray[Any]],
    synthetic: Bool,
    source: NDArray[Any],
    *,
    draws: int = figures.DRAWS,
) -> dict[str, Any]:
    """The area under the curve from all columns together and from each alone, both classes.

    ``columns`` hold numbers (None or NaN where a file has no such thing) or texts. ``met`` is None
    where there is nothing to judge by.
    """
    if not columns:
        return {"met": None, "limit": LIMIT, "all": Figure(
            None, n_expected=len(synthetic), reason="no column says how the files look outside"
        ).plain(), "each": {}}  # fmt: skip
    tables = {name: encoded(values) for name, values in columns.items()}
    together = _area(np.hstack(list(tables.values())), synthetic, source, draws)
    each = {name: _area(t, synthetic, source, draws).plain() for name, t in tables.items()}
    met = None if together.value is None else together.value <= LIMIT
    return {"met": met, "limit": LIMIT, "all": together.plain(), "each": each}


def encoded(values: NDArray[Any]) -> F64:
    """(n,) values -> (n, d): numbers as signed logarithms, and a column for those absent; texts as
    one column each.

    >>> encoded(np.array([1.0, None, 3.0], object)).shape, encoded(np.array(["a", "b"])).shape
    ((3, 2), (2, 2))
    """
    plain = list(values.tolist())
    if any(isinstance(value, str) for value in plain):
        words = ["" if value is None else str(value) for value in plain]
        names = sorted(set(words), key=lambda w: (-words.count(w), w))[:_WORDS]
        return np.array([[float(word == name) for name in names] for word in words])
    numbers = np.array([math.nan if value is None else float(value) for value in plain])
    absent = ~np.isfinite(numbers)
    signed = np.sign(numbers) * np.log1p(np.abs(numbers))
    signed[absent] = signed[~absent].mean() if (~absent).any() else 0.0
    return np.column_stack([signed, absent.astype(np.float64)])


def _area(table: F64, synthetic: Bool, source: NDArray[Any], draws: int) -> Figure:
    judged = Judged(np.zeros(len(synthetic)), synthetic, source, len(synthetic))
    if lacks := judged.lacks():
        return judged.none(lacks)
    if judged.fewest < FOLDS:
        return judged.none(
            f"{judged.fewest} sources of one class: cross-validation takes {FOLDS} of each"
        )
    if _mixed(synthetic, source):
        return judged.none("a source has real and synthetic units: it would be in both halves")
    fold = folds(synthetic, source)
    score = np.zeros(len(synthetic))
    for k in range(FOLDS):
        score[fold == k] = _fitted(table[fold != k], synthetic[fold != k], table[fold == k])
    value = float(within(score, synthetic, fold, np.ones((1, len(score))))[0])
    blocks = [
        within(score, synthetic, fold, weight)
        for weight in curves.drawn(synthetic, source, draws)
    ]  # fmt: skip
    low, high, said = figures.ends(value, blocks, judged.fewest)
    return Figure(value, low, high, len(score), len(score), judged.n_sources, interval=said)


def _mixed(synthetic: Bool, source: NDArray[Any]) -> bool:
    return bool(set(source[synthetic].tolist()) & set(source[~synthetic].tolist()))


def folds(synthetic: Bool, source: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) fold of each unit: whole sources, the largest first, each class spread over all."""
    fold = np.zeros(len(synthetic), np.int64)
    for label in (False, True):
        names, count = np.unique(source[synthetic == label], return_counts=True)
        load = np.zeros(FOLDS)
        for place in np.lexsort((names, -count)):
            k = int(np.argmin(load))
            fold[(source == names[place]) & (synthetic == label)] = k
            load[k] += count[place]
    return fold


def within(score: F64, synthetic: Bool, fold: NDArray[np.int64], weight: F64) -> F64:
    """(d,) areas from pairs of one fold: scores of two folds are of two models, and pooling them
    pulls the area of useless ones below one half (Parker, Guenther and Bedo 2007, BMC
    Bioinformatics 8:326)."""
    won, pairs = np.zeros(len(weight)), np.zeros(len(weight))
    for k in np.unique(fold):
        mine = fold == k
        w, y = weight[:, mine], synthetic[mine]
        size = (w * ~y).sum(1) * (w * y).sum(1)
        won += size * curves.auc(*curves.roc(score[mine], y, w))
        pairs += size
    return np.asarray(np.divide(won, pairs, out=np.full(len(won), 0.5), where=pairs > 0))


def _fitted(x: F64, y: Bool, other: F64) -> F64:
    """Log-odds of ``other`` by a logistic regression with ridge; both classes weigh the same."""
    from scipy.optimize import minimize

    centre, spread = x.mean(0), x.std(0)
    spread[spread < 1e-9] = 1.0
    z = np.column_stack([(x - centre) / spread, np.ones(len(x))])
    sign = np.where(y, 1.0, -1.0)
    weight = curves.balanced(y) * len(y)
    ridge = np.append(np.full(x.shape[1], _RIDGE), 0.0)

    def loss(b: F64) -> tuple[float, F64]:
        margin = sign * (z @ b)
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        value = float((weight * np.logaddexp(0, -margin)).sum() + (ridge * b * b).sum() / 2)
        return value, z.T @ pull + ridge * b

    found = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(np.column_stack([(other - centre) / spread, np.ones(len(other))]) @ found.x)
