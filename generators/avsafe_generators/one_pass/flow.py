"""Flow matching with x-prediction: the straight path from noise to a clip, and the way along it.

Legend: ``level`` 0 is noise and 1 the clip: noisy = level x clip + (1 - level) x noise (Lipman et
al., "Flow Matching for Generative Modeling", 2023; Liu et al., "Flow Straight and Fast", 2023). A
model says what the clean clip is; the velocity follows as (clean - noisy) / (1 - level).

Imports torch, and is itself imported only inside functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

Model = Callable[[Tensor, Tensor], Tensor]  # (noisy (b, c, t, h, w), level (b,)) -> clean
_SHIFT = 3.0  # maps repeat themselves in space and time, so the decisions fall at high noise


def noisy(clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """A clip on the path, at ``level`` (b,)."""
    at = level.view(-1, *[1] * (clean.ndim - 1))
    return at * clean + (1 - at) * noise


def levels(count: int, generator: torch.Generator, centre: float = -1.0) -> Tensor:
    """(count,) levels to train at, around sigmoid(``centre``): where a clip moves is decided at
    higher noise than what it shows, since every frame is a reading of it."""
    return torch.sigmoid(1.2 * torch.randn(count, generator=generator) + centre)


def loss(
    predicted: Tensor,
    clean: Tensor,
    level: Tensor,
    weight: Tensor | None = None,
    steepest: float = 0.3,
) -> Tensor:
    """Squared error of the clip, weighted as that of the velocity, (b,) ``level``, up to a least
    1 - level of ``steepest``. ``weight`` (like the clip, or broadcast) says which cells count."""
    steep = (1 - level).clamp(min=steepest).view(-1, *[1] * (clean.ndim - 1))
    error = ((predicted - clean) / steep) ** 2
    if weight is None:
        return error.mean()
    return (error * weight).sum() / weight.expand_as(error).sum().clamp(min=1)


def schedule(steps: int) -> list[float]:
    """``steps + 1`` levels from 0 to 1, closer together near the noise.

    >>> schedule(2)
    [0.0, 0.25, 1.0]
    """
    share = [k / steps for k in range(steps + 1)]
    return [u / (u + _SHIFT * (1 - u)) for u in share]


def sample(
    model: Model,
    noise: Tensor,
    steps: int,
    *,
    known: Tensor | None = None,
    mask: Tensor | None = None,
    watch: Callable[[int], None] | None = None,
) -> Tensor:
    """From noise to a clip by Euler steps. Where ``mask`` is 1 the clip is held to ``known`` on the
    whole path, so that it comes out exactly. ``watch`` is called before each step."""
    path = schedule(steps)
    x = noise
    for step, (now, then) in enumerate(itertools.pairwise(path)):
        if watch is not None:
            watch(step)
        at = torch.full((x.shape[0],), now, dtype=x.dtype, device=x.device)
        clean = model(x, at)
        if known is not None and mask is not None:
            clean = torch.where(mask.bool(), known, clean)
        x = x + (then - now) * (clean - x) / (1 - now)
        if known is not None and mask is not None:
            x = torch.where(mask.bool(), then * known + (1 - then) * noise, x)
    return x
