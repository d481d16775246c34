"""Training: how often each copy is drawn, and the networks.

Legend: ``n`` copies of utterances, ``d`` statistics of each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech.network import NOISE, network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.speech.corpus import Row

    F32 = NDArray[np.float32]
else:
    F32 = Any

BATCH, RATE, STEPS = 128, 3e-3, 900
CLASSES = (0.45, 0.33, 0.22)  # real, synthetic, re-rendered
CONDITIONS = {"clean": 0.4, "low rate": 0.35, "rough": 0.25}


def shares(rows: Sequence[Row]) -> NDArray[np.float64]:
    """How often each copy is drawn: classes as ``CLASSES``; within a class each group (engine,
    kind) as the root of its sources, each source as the root of its units."""
    sources = Counter((r.label, r.group, r.source) for r in rows)
    groups: dict[tuple[int, str], int] = Counter((label, group) for label, group, _ in sources)
    within: dict[tuple[int, str], float] = defaultdict(float)
    for (label, group, _), count in sources.items():
        within[label, group] += count**0.5
    total: dict[int, float] = defaultdict(float)
    for (label, _), count in groups.items():
        total[label] += count**0.5
    out = []
    for r in rows:
        own = sources[r.label, r.group, r.source]
        share = CLASSES[r.label] * groups[r.label, r.group] ** 0.5 / total[r.label]
        out.append(share * own**0.5 / within[r.label, r.group] / own * CONDITIONS[r.condition])
    weight = np.array(out)
    return np.asarray(weight / weight.sum())


def trained(z: F32, rows: Sequence[Row], seed: int, steps: int = STEPS) -> Any:
    """A network that learned from standardised statistics (n, d) of these copies."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    share = shares(rows)
    label = torch.tensor([r.label for r in rows])
    known = torch.from_numpy(np.asarray(z, np.float32))
    net = network(z.shape[1]).train()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=5e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for _ in range(steps):
        at = rng.choice(len(rows), BATCH, p=share)
        x = known[at] + NOISE * torch.randn(BATCH, z.shape[1])
        loss = cross_entropy(net(x), label[at], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()
    return net.eval()
