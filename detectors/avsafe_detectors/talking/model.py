"""The score of a talking face: a logistic regression on standardised figures.

Legend: ``n`` stretches, ``d`` figures used (``USED``); a score is a log-odds, higher for made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe.calibration import Calibration, Region
from avsafe_detectors.talking.measures import NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F64 = NDArray[np.float64]

WEIGHTS = Path(__file__).with_name("weights")
# How people look and move differs from person to person and from film to film: colours (make-up,
# background) and how much somebody moves are no sign of anything, and are not used.
_LOOSE = ("turn", "turn_speed", "mouth_opens", "mouth_speed", "eyes_open", "brow_moves",
          "blink_depth", "eyes_vary")  # fmt: skip
USED = tuple(
    place for place, name in enumerate(NAMES)
    if name not in _LOOSE and not name.startswith("upper-around")
    and not any(word in name for word in ("blue", "red", "colour"))
)  # fmt: skip
FAR = 4.0  # deviations at which a figure is cut off
RIDGE = 0.2  # on the weights, of a loss whose weights sum to 1


def used(x: NDArray[Any]) -> F64:
    """(n, all figures) or (all,) -> (n, d)."""
    return np.atleast_2d(np.asarray(x, np.float64))[:, list(USED)]


def standardised(x: F64, arrays: Mapping[str, NDArray[Any]]) -> F64:
    """(n, d) by the mean and deviation of training; what is not known counts as the mean."""
    z = (x - arrays["mean"]) / arrays["spread"]
    known = np.nan_to_num(z, nan=0.0, posinf=FAR, neginf=-FAR)
    return np.asarray(np.clip(known, -FAR, FAR), np.float64)


def scored(x: NDArray[Any], arrays: Mapping[str, NDArray[Any]]) -> F64:
    """(n,) of figures (n, all)."""
    z = standardised(used(x), arrays)
    return np.asarray(z @ arrays["slope"] + float(arrays["constant"][0]), np.float64)


def learned(x: NDArray[Any], families: Sequence[str], clips: Sequence[str]) -> dict[str, F64]:
    """Arrays of a model from figures (n, all): "real" against every other family. Both classes
    weigh the same, within a class every family, within a family every clip."""
    from scipy.optimize import minimize

    values, of, named = used(x), np.asarray(families), np.asarray(clips)
    y = of != "real"
    weight = np.zeros(len(y))
    for family in np.unique(of):
        members = of == family
        names = np.unique(named[members])
        for name in names:
            mine = members & (named == name)
            weight[mine] = 1 / mine.sum() / len(names)
        if family != "real":
            weight[members] /= len(np.unique(of[y]))
    weight /= weight.sum()
    mean = np.nan_to_num(np.nanmean(values, 0))
    spread = np.nan_to_num(np.nanstd(values, 0)) + 1e-6
    z = standardised(values, {"mean": mean, "spread": spread})
    sign = np.where(y, 1.0, -1.0)

    def loss(w: F64) -> tuple[float, F64]:
        margin = sign * (z @ w[:-1] + w[-1])
        pull = -weight * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = float((weight * np.logaddexp(0, -margin)).sum())
        value += RIDGE / 2 * float(np.square(w[:-1]).sum())
        return value, np.append(z.T @ pull + RIDGE * w[:-1], pull.sum())

    w = minimize(loss, np.zeros(z.shape[1] + 1), jac=True).x
    return {"mean": mean, "spread": spread, "slope": w[:-1], "constant": w[-1:]}


@lru_cache(maxsize=1)
def loaded() -> tuple[Calibration, Mapping[str, NDArray[Any]], Region]:
    """What ships."""
    from safetensors.numpy import load_file

    arrays = load_file(WEIGHTS / "talking.safetensors")
    own = {k: v.astype(np.float64) for k, v in arrays.items() if not k.startswith("region")}
    return Calibration.load(WEIGHTS / "calibration.json"), own, Region.from_arrays(arrays)
