"""``python -m avsafe_detectors.video.train --media DIR --repositories DIR --out DIR``: the weights.

1. every clip of ``clips.tsv`` that can be had, cut square, re-encoded at two frame rates and
   three sizes and qualities, and measured (``clips``, ``measuring``); kept in ``--out``
2. every cell of the protocol, five folds by source (``protocol``)
3. the model of all sources, its conditions, its region; the table of the protocol

``--repositories`` holds clones of the public repositories that the list names, in folders
``owner+name`` (git clone --mirror https://github.com/OWNER/NAME OWNER+NAME); without them only the
clips in ``--media`` are used. ``--seconds`` stops between clips, to go on later.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avsafe.calibration import Calibration
from avsafe_detectors.video import card, clips, fitting, measuring, model, protocol, unfit

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avsafe_detectors.video.train",
                                     description=(__doc__ or "").split("\n\n")[0])  # fmt: skip
    parser.add_argument("--media", type=Path, required=True, help="folder of test media")
    parser.add_argument("--repositories", type=Path, help="folder of clones")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is computed once")
    parser.add_argument("--weights", type=Path, default=model.WEIGHTS.parent)
    parser.add_argument("--table", type=Path, help="parquet of the protocol")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--partial", action="store_true", help="train on what is measured so far")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    began = time.monotonic()
    wanted = clips.listed()

    def spent() -> bool:
        return bool(time.monotonic() - began > given.seconds)

    if not given.partial and not measuring.built(
        wanted, given.media, given.repositories, given.out, spent
    ):
        log.info("not all clips are measured yet: run again")
        return 0
    table = measuring.loaded(wanted, given.out)
    log.info("%d windows of %d clips", len(table.x), len({c.number for c in table.clip}))
    measured = {c.number for c in table.clip}
    reasons = unfit.reasons([c for c in wanted if c.number in measured], given.out, spent)
    if reasons is None:
        log.info("not all clips are described yet: run again")
        return 0
    u = protocol.units(table, reasons)
    found = protocol.run(table, u, given.out, spent)
    if found is None:
        log.info("not all cells are there yet: run again")
        return 0
    cells = report(u, found)
    known = shipped(table, u, found, given.weights)
    rows = protocol.judged(u, found)
    card.write(given.weights / "card.md", table, u, cells, known, rows, protocol.shortcuts(u),
               time.process_time())  # fmt: skip
    if given.table:
        protocol.written(rows, given.table)
    return 0


def report(u: protocol.Units, found: dict[str, Any]) -> dict[str, list[float]]:
    """Cell -> AUC under every condition, and the number of generated sources."""
    cells: dict[str, list[float]] = {}
    for cell, (score, _) in found.items():
        values = [
            protocol.auc(
                u,
                score,
                protocol.members(u, cell) & (u.condition == k) & ~u.still & (u.unfit == ""),
            )
            for k in range(len(clips.CONDITIONS))
        ]
        log.info("%-32s %s", cell, " ".join(f"{v:.3f}" for v in values))
        own = protocol.members(u, cell) & u.synthetic
        cells[cell] = [*values, len(set(u.source[own].tolist()))]
    return cells


def shipped(
    table: measuring.Table, u: protocol.Units, found: dict[str, Any], folder: Path
) -> Calibration:
    """Fit on all sources; write weights and calibration."""
    import hashlib

    from safetensors.numpy import save_file

    own = (u.trained[table.unit] | table.made) & ~table.still
    synthetic, source = u.synthetic[table.unit], u.source[table.unit]
    weights = fitting.fitted(
        table.x[own], synthetic[own],
        fitting.weights_of(synthetic[own], source[own], u.family[table.unit][own]))  # fmt: skip
    weights |= fitting.condition_model(table, u, weights)
    weights |= protocol.region_of(table, u, weights, u.trained | (u.control != "")).arrays()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / model.WEIGHTS.name
    save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    known = Calibration("video", "video", f"video-{digest}",
                        tuple(protocol.conditions(u, protocol.unseen(u, found))))  # fmt: skip
    known.save(folder / model.CALIBRATION.name)
    for one in known.conditions:
        log.info("%s: %d filmed (%d sources), %d generated (%d), found %.2f, FPR %.3f, ECE %.3f",
                 one.name, one.n_real, one.n_real_sources, one.n_synthetic,
                 one.n_synthetic_sources, one.true_positive_rate, one.false_positive_rate,
                 one.ece)  # fmt: skip
    return known


if __name__ == "__main__":
    raise SystemExit(main())
