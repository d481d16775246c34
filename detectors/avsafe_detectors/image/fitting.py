"""The tile network in torch, for training; what is learned is kept as ``model`` reads it.

Tiles are judged alone, but the loss is of the whole picture as well: the mean logit of its tiles.
Every family weighs the same among synthetic rows, every source among real ones.

Legend: ``r`` rows (pictures after a damage), ``k`` tiles of each, ``d`` features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    F32 = NDArray[np.float32]
else:
    F32 = Any

HIDDEN = (96, 32)
BATCH = 192  # rows
RATE = 3e-3
DROPOUT = 0.25
DECAY = 0.02


def trained(
    x: F32, row: NDArray[np.int64], synthetic: NDArray[np.bool_], weight: NDArray[np.float64],
    *, steps: int, seed: int, members: int = 1,
) -> dict[str, F32]:  # fmt: skip
    """Arrays for ``model.logits``. ``x`` (t, d) tiles, ``row`` (t,) ascending: the row of each;
    ``synthetic``, ``weight`` of each row."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

    mean = x.mean(0)
    deviation = x.std(0) + 1e-3
    z = torch.from_numpy(np.clip((x - mean) / deviation, -5, 5))
    starts = np.searchsorted(row, np.arange(len(synthetic)))
    ends = np.searchsorted(row, np.arange(len(synthetic)), side="right")
    rng = np.random.default_rng(seed)
    share = weight / weight.sum()
    out: dict[str, F32] = {"mean": mean.astype(np.float32), "deviation": deviation}
    for member in range(members):
        torch.manual_seed(seed * 10 + member)
        net = nn.Sequential(
            nn.Linear(x.shape[1], HIDDEN[0]), nn.SiLU(), nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN[0], HIDDEN[1]), nn.SiLU(), nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN[1], 1),
        )  # fmt: skip
        optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
        for _ in range(steps):
            chosen = rng.choice(len(share), BATCH, p=share)
            index = np.concatenate([np.arange(starts[i], ends[i]) for i in chosen])
            owner = torch.from_numpy(np.repeat(np.arange(BATCH), ends[chosen] - starts[chosen]))
            label = torch.from_numpy(synthetic[chosen].astype(np.float32))
            noisy = z[index]
            noisy = noisy + 0.1 * torch.randn_like(noisy)
            logit = net(noisy)[:, 0]
            total = torch.zeros(BATCH).index_add(0, owner, logit.clamp(-6, 6))
            count = torch.bincount(owner, minlength=BATCH).clamp(min=1)
            aim = label * 0.96 + 0.02
            loss = loss_of(total / count, aim) + 0.4 * loss_of(logit, aim[owner])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            cycle.step()
        layers = [m for m in net if isinstance(m, nn.Linear)]
        for k, layer in enumerate(layers):
            out[f"m{member}.{k}.weight"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
            out[f"m{member}.{k}.bias"] = layer.bias.detach().numpy().copy()
    return out


def weights_of(
    synthetic: NDArray[np.bool_], source: NDArray[Any], group: NDArray[Any]
) -> NDArray[np.float64]:
    """Of each row, both classes the same in sum; synthetic ones by family, and half by source."""
    out = np.zeros(len(synthetic))
    for label, names in ((False, source), (True, group)):
        members = synthetic == label
        _, at, count = np.unique(names[members], return_inverse=True, return_counts=True)
        # the square root: a family with many rows may say more, but not all
        each = 1.0 / count[at] ** (0.5 if label else 0.8)
        out[members] = each / each.sum()
    return out
