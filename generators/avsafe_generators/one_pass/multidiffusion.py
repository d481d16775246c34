"""Clips longer than the model's window: overlapping windows whose predictions are averaged in every
step (Bar-Tal et al., "MultiDiffusion", 2023; Lumiere uses it over time for its super-resolution).

Legend: clips are (b, c, t, h, w). A model is called on each window with its number; where windows
overlap, predictions of the clean clip are averaged with weights that fall towards a window's ends,
so no seam can be told. One window gives exactly what the model gives.

Imports torch, and is itself imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

WindowModel = Callable[[Tensor, Tensor, int], Tensor]  # (noisy window, level, its number) -> clean


def windows(frames: int, window: int, overlap: int) -> list[int]:
    """First frames of windows that cover a clip, evenly spread, at least ``overlap`` in common.

    Raises ValueError when one window doesn't fit or the overlap fills it.

    >>> windows(160, 80, 40)
    [0, 40, 80]
    """
    if not 0 <= overlap < window <= frames:
        raise ValueError(
            f"Windows of {window} frames with {overlap} in common don't cover {frames} frames: "
            "0 <= overlap < window <= frames was expected."
        )
    count = 1 + -(-(frames - window) // (window - overlap))
    return [round(k * (frames - window) / max(count - 1, 1)) for k in range(count)]


def fade(window: int) -> Tensor:
    """(window,) weights of the frames of a window: a triangle, never 0."""
    at = torch.arange(window, dtype=torch.float32)
    return torch.minimum(at + 1, window - at) / ((window + 1) // 2)


def fused(model: WindowModel, starts: Sequence[int], window: int) -> Callable[..., Tensor]:
    """The model of the long clip: (noisy (b, c, t, h, w), level (b,)) -> clean, from that of its
    windows. The order of ``starts`` doesn't matter."""
    weights = fade(window)

    def clean(x: Tensor, level: Tensor) -> Tensor:
        if len(starts) == 1:
            return model(x, level, 0)
        total = torch.zeros_like(x, dtype=torch.float64)
        share = torch.zeros(x.shape[2], dtype=torch.float64, device=x.device)
        weight = weights.to(x.device, torch.float64)
        for number, first in sorted(enumerate(starts), key=lambda item: item[1]):
            part = slice(first, first + window)
            predicted = model(x[:, :, part].contiguous(), level, number)
            total[:, :, part] += weight[:, None, None] * predicted
            share[part] += weight
        return (total / share[:, None, None]).to(x.dtype)

    return clean
