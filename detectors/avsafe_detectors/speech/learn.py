"""Training: windows drawn and disturbed, the network, the trees.

Legend: ``b`` windows of 128 frames and 216 bins, in units of 10 dB; ``d`` numbers of an utterance.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avsafe_detectors.speech import features
from avsafe_detectors.speech.network import network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from avsafe_detectors.speech.corpus import Corpus, Row

    F32 = NDArray[np.float32]
else:
    F32 = Any

log = logging.getLogger(__name__)
BATCH, RATE = 32, 2e-3
CLASSES = (0.45, 0.33, 0.22)  # real, synthetic, re-rendered
CONDITIONS = {"clean": 0.4, "low rate": 0.35, "rough": 0.25}


def shares(rows: Sequence[Row]) -> NDArray[np.float64]:
    """How often each copy is drawn: classes as ``CLASSES``; within a class each group (engine,
    kind) as the root of its sources, each source as the root of its units."""
    sources = Counter((r.label, r.group, r.source) for r in rows)
    groups: dict[tuple[int, str], int] = Counter((label, group) for label, group, _ in sources)
    within: dict[tuple[int, str], float] = Counter()
    for (label, group, _), count in sources.items():
        within[label, group] += count**0.5
    total = Counter({0: 0.0, 1: 0.0, 2: 0.0})
    for (label, _), count in groups.items():
        total[label] += count**0.5
    out = []
    for r in rows:
        own = sources[r.label, r.group, r.source]
        share = CLASSES[r.label] * groups[r.label, r.group] ** 0.5 / total[r.label]
        out.append(share * own**0.5 / within[r.label, r.group] / own * CONDITIONS[r.condition])
    weight = np.array(out)
    return np.asarray(weight / weight.sum())


def disturbed(x: F32, rng: np.random.Generator) -> F32:
    """A window (128, 216): other formants (all frequencies stretched), more noise, a low-pass,
    bands and moments missing."""
    bins = x.shape[1]
    if rng.random() < 0.5:
        at = np.clip(np.arange(bins) * rng.uniform(0.88, 1.12), 0, bins - 1)
        low = np.minimum(at.astype(int), bins - 2)
        share = (at - low).astype(np.float32)
        x = x[:, low] * (1 - share) + x[:, low + 1] * share
    if rng.random() < 0.5:
        level = rng.uniform(-4.5, -0.5) + 0.8 * np.interp(
            np.arange(bins), np.linspace(0, bins, 6), rng.standard_normal(6)
        )
        noise = 10 ** (level / 1.0) * rng.exponential(1, x.shape)
        x = np.log10(10**x + noise).astype(np.float32)
        x = x - x.mean(0)
    if rng.random() < 0.2:
        x = x.copy()
        x[:, int(rng.uniform(100, bins)) :] = 0
    if rng.random() < 0.4:
        x = x.copy()
        band = int(rng.integers(bins - 30))
        x[:, band : band + int(rng.integers(4, 30))] = 0
        moment = int(rng.integers(len(x) - 20))
        x[moment : moment + int(rng.integers(2, 20))] = 0
    return np.asarray(x, np.float32)


def window(x: F32, rng: np.random.Generator) -> F32:
    if len(x) < features.WINDOW:
        x = np.resize(x, (features.WINDOW, x.shape[1]))
    first = int(rng.integers(len(x) - features.WINDOW + 1))
    return x[first : first + features.WINDOW]


def trained(corpus: Corpus, rows: Sequence[Row], steps: int, seed: int, name: str) -> Any:
    """A network that learned from these copies."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    began = time.process_time()
    share = shares(rows)
    net = network().train()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=2e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.15)
    running = 0.0
    for step in range(steps):
        chosen = rng.choice(len(rows), BATCH, p=share)
        batch = np.stack([disturbed(window(corpus.x(rows[i]), rng), rng) for i in chosen])
        label = torch.tensor([rows[i].label for i in chosen])
        loss = cross_entropy(net(torch.from_numpy(batch)), label, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()
        running = 0.98 * running + 0.02 * loss.item() if step else loss.item()
        if step % 200 == 199:
            spent = time.process_time() - began
            log.info("%s step %d loss %.3f, %.0f CPU-s", name, step + 1, running, spent)
    return net.eval()


def boosted(x: F32, made: NDArray[np.bool_], weight: F32, seed: int = 0) -> dict[str, Any]:
    """Gradient-boosted trees on statistics (n, d), as arrays for ``model.trees``."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    booster = HistGradientBoostingClassifier(
        max_iter=160, learning_rate=0.08, max_leaf_nodes=12, min_samples_leaf=30,
        l2_regularization=5.0, max_features=0.3, random_state=seed,
    ).fit(x, made, sample_weight=weight / weight.mean())  # fmt: skip
    held = [stage[0].nodes for stage in booster._predictors]
    size = max(map(len, held))
    out = {n: np.zeros((len(held), size), np.float32) for n in ("threshold", "value")}
    out |= {n: np.zeros((len(held), size), np.int16) for n in ("feature", "left", "right")}
    out["feature"] -= 1
    for tree, nodes in enumerate(held):
        k = len(nodes)
        leaf = nodes["is_leaf"].astype(bool)
        out["feature"][tree, :k] = np.where(leaf, -1, nodes["feature_idx"])
        out["threshold"][tree, :k] = nodes["num_threshold"]
        out["value"][tree, :k] = np.where(leaf, nodes["value"], 0)
        out["left"][tree, :k], out["right"][tree, :k] = nodes["left"], nodes["right"]
    base = np.asarray(booster._baseline_prediction, np.float32).ravel()
    return {f"trees.{k}": v for k, v in out.items()} | {"trees.base": base}
