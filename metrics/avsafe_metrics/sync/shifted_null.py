"""What unrelated sound would score: the same clip with its sound moved round in a circle.

Legend: ``s`` circular shifts of the sound, all of them, index 0 is the clip as it is.

If sound and picture are unrelated and neither has a beginning or an end, every shift is as likely
as any other, so the rank of shift 0 among all is uniform: a randomisation test, exact for any
statistic (Good 2005, "Permutation, Parametric and Bootstrap Tests of Hypotheses", ch. 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def p_value(scores: NDArray[Any]) -> float:
    """(s,) score of every shift, higher is better -> share that is as good as shift 0; 1/s to 1.

    >>> p_value(np.array([0.9, 0.1, 0.3, 0.2]))
    0.25
    """
    return float(np.mean(scores >= scores[0] - 1e-12))


def excess(scores: NDArray[Any], near: int) -> float:
    """(s,) -> score of shift 0 less the mean of the shifts more than ``near`` from it.

    >>> excess(np.array([0.9, 0.5, 0.1, 0.3, 0.5]), 1)
    0.7
    """
    far = scores[near + 1 : scores.size - near]
    return float(scores[0] - far.mean())


def best_within(scores: NDArray[Any], reach: int) -> NDArray[np.float64]:
    """(s,) -> for every shift, the best of the shifts up to ``reach`` from it, in a circle.

    >>> best_within(np.array([0.0, 1.0, 0.0, 0.0, 0.0]), 1).tolist()
    [1.0, 1.0, 1.0, 0.0, 0.0]
    """
    from scipy.ndimage import maximum_filter1d

    return np.asarray(maximum_filter1d(scores, 2 * reach + 1, mode="wrap"), np.float64)
