"""The network in torch, for training; ``model`` runs what it learned in numpy.

Legend: ``n`` utterances, ``d`` standardised statistics of each (``features.summary``).

Two hidden layers and three classes: real, synthetic, re-rendered. Noise on the input and dropout
instead of size: what it sees are some four thousand utterances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIDDEN, LAYERS = 64, 3
DROPPED_IN, DROPPED, NOISE = 0.2, 0.4, 0.3


def network(inputs: int) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Dropout(DROPPED_IN),
        nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(DROPPED),
        nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(DROPPED),
        nn.Linear(HIDDEN, 3),
    )  # fmt: skip


def exported(net: Any, prefix: str) -> dict[str, NDArray[np.float16]]:
    """Arrays laid out for ``model``."""
    linear = [layer for layer in net if hasattr(layer, "weight")]
    out: dict[str, Any] = {}
    for number, layer in enumerate(linear):
        out[f"{prefix}kernel{number}"] = layer.weight.T
        out[f"{prefix}bias{number}"] = layer.bias
    return {n: np.ascontiguousarray(v.detach().numpy(), np.float16) for n, v in out.items()}
