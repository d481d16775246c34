"""``python -m avsafe_detectors.image.train --packages DIR --media DIR --out DIR``: the weights.

1. photographs of the packages, frames of the clips (``data``); a reduced copy of each photograph
2. twelve small networks learn to re-synthesise them, about 20 CPU-seconds each (``autoencoders``)
3. the pool: pictures and re-syntheses, damaged alike, as features of tiles (``pool``)
4. every cell of the protocol, five folds by source (``protocol``)
5. conditions, null of tiles, region from the folds' scores; a network of everything ships
   (``calibrating``), and the table of the protocol

What is there is not computed again; ``--seconds`` stops between parts, to go on later.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsafe_detectors.image import autoencoders, calibrating, data, model, pool, protocol

log = logging.getLogger(__name__)
MEMBERS = 2
SEED = 0


def reduced(packages: Path, kept: Path) -> list[Any]:
    """One crop of each photograph at a size of chance, for the networks."""
    if not kept.is_file():
        rng = np.random.default_rng(SEED)
        crops = [
            data.crop(one.picture, rng, float(rng.uniform(0.35, 0.8)), 512)
            for one in data.photos(packages)
        ]
        np.savez(kept, *crops)
    with np.load(kept) as stored:
        return [stored[name] for name in stored.files]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avsafe_detectors.image.train",
                                     description=(__doc__ or "").split("\n\n")[0])  # fmt: skip
    parser.add_argument("--packages", type=Path, default=Path("/"), help=data.HOW)
    parser.add_argument("--media", type=Path, required=True, help="folder of media")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=model.WEIGHTS.parent)
    parser.add_argument("--table", type=Path, help="parquet of the protocol")
    parser.add_argument("--net-seconds", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()

    def spent() -> bool:
        return bool(time.monotonic() - began > given.seconds)

    given.out.mkdir(parents=True, exist_ok=True)
    crops = reduced(given.packages, given.out / "crops.npz")
    nets = autoencoders.kept(given.out / "nets", crops, given.net_seconds)
    if not pool.built(given.packages, given.media, nets, given.out / "pool", spent):
        log.info("the pool is not complete yet: run again")
        return 0
    rows, features = pool.loaded(given.out / "pool")
    table = protocol.Table.of(rows, features)
    log.info("%d rows, %d tiles, %d real sources", len(rows), len(table.x),
             len(set(table.source[~table.synthetic & ~table.control])))  # fmt: skip
    found = protocol.run(table, given.out / "cells", wanted=lambda cell: not spent())
    if protocol.IN_DOMAIN not in found:
        log.info("the cell in domain is not there yet: run again")
        return 0
    weights = table.fitted(table.trainable, steps=protocol.STEPS, seed=SEED, members=MEMBERS)
    summaries = table.summaries(weights)
    where = calibrating.assigned(table, summaries)
    known = calibrating.shipped(table, found[protocol.IN_DOMAIN], where, weights, given.weights)
    for one in known.conditions:
        log.info("%s: %d real (%d sources), %d synthetic, found %.2f, ECE %.3f", one.name,
                 one.n_real, one.n_real_sources, one.n_synthetic, one.true_positive_rate,
                 one.ece)  # fmt: skip
    if given.table:
        unfit = calibrating.unfit_units(
            given.packages, given.media, given.out / "pool" / "unfit.json"
        )
        calibrating.written(table, found, where, unfit, given.table)
    for line in protocol.figures(table, found):
        log.info("%-28s %-10s %5s real %5s synthetic AUC %s", *line)
    if missing := set(protocol.cells()) - set(found):
        log.info("not there yet: %s; run again", ", ".join(sorted(missing)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
